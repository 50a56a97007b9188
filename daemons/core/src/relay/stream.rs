//! One node's stream: what it announces, asks for and brings, and what it is told. What a node does not read in time it loses, and nobody
//! waits for it.

use super::board::{News, Now, Place, Refusal, Wanted};
use super::budget::Over;
use super::{Relay, count};
use hh_daemon::Chain;
use hh_ipc::agent::{
    BlockAssembly, ChunkError, MAX_RELAY_HEADERS, RelayAnnounce, RelayChunk, RelayCoreMessage,
    RelayNodeMessage, RelayRefused, RelayThrottled, RelayWant, chunks_of, relay_core_message,
    relay_node_message,
};
use hh_mining::{BlockHash, BodyError, RelayedHeader};
use hh_trust::NodeId;
use metrics::{counter, histogram};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::Streaming;

/// Messages that a node has not read yet: announcements of an hour of a busy test chain, or the parts of four of the largest blocks.
const QUEUE_MAX: usize = 64;

/// For a node to bring a block: the largest one takes eleven seconds at 3 Mbit/s. Then another node that has it is asked.
const FETCH_LIMIT: Duration = Duration::from_secs(12);

/// Blocks that a node is to bring after the one that it brings.
const FETCHES_MAX: usize = MAX_RELAY_HEADERS;

/// A part of a block counts as this much at least: a message costs more than its bytes.
const CHUNK_CHARGE_MIN: usize = 1024;

/// Why a stream ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the node has closed it")]
    Closed,
    #[error("the connection was lost, or it sent what is no message: {0}")]
    Lost(String),
    #[error("{0}")]
    Protocol(&'static str),
    #[error("it sent a part of a block that is none")]
    Chunk(#[from] ChunkError),
    #[error("it sent another block than that of its header")]
    Body(#[from] BodyError),
    #[error("another stream of this node has begun, or it may not be here any more")]
    Replaced,
    #[error("hyperhash-core stops")]
    Stopping,
}

enum Event {
    Message(Option<RelayNodeMessage>),
    Failed(tonic::Status),
    News(News),
    /// A message was sent.
    Sent,
    /// A block was not brought in time.
    Late,
    /// The node may go on.
    Resume,
}

struct Outgoing {
    message: relay_core_message::Body,
    /// Of the last part of a block: when that was first heard of.
    completes: Option<Instant>,
}

struct Download {
    header: RelayedHeader,
    assembly: BlockAssembly,
    until: Instant,
}

pub(super) struct Stream {
    relay: Relay,
    node: NodeId,
    place: Place,
    incoming: Streaming<RelayNodeMessage>,
    outgoing: mpsc::Sender<RelayCoreMessage>,
    queue: VecDeque<Outgoing>,
    /// What the node is to bring next.
    fetches: VecDeque<RelayedHeader>,
    download: Option<Download>,
    /// Nothing is read from a node that is over its budget.
    paused_until: Option<Instant>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.relay.leave(&self.node, self.place.serial);
    }
}

impl Stream {
    pub(super) fn new(
        relay: Relay,
        node: NodeId,
        place: Place,
        incoming: Streaming<RelayNodeMessage>,
        outgoing: mpsc::Sender<RelayCoreMessage>,
    ) -> Self {
        Self {
            relay,
            node,
            place,
            incoming,
            outgoing,
            queue: VecDeque::new(),
            fetches: VecDeque::new(),
            download: None,
            paused_until: None,
        }
    }

    pub(super) async fn run(mut self) {
        let Err(end) = self.talk().await;
        let node = &self.node;
        match &end {
            End::Protocol(_) | End::Chunk(_) | End::Body(_) => {
                tracing::warn!(%node, why = %Chain(&end), "block relay ended");
            }
            End::Closed | End::Lost(_) | End::Replaced | End::Stopping => {
                tracing::debug!(%node, why = %end, "block relay ended");
            }
        }
    }

    async fn talk(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            match self.next().await? {
                Event::Message(Some(message)) => self.hear(message).await?,
                Event::Message(None) => return Err(End::Closed),
                Event::Failed(status) => return Err(End::Lost(status.message().to_owned())),
                Event::News(news) => self.learn(news),
                Event::Sent => {}
                Event::Late => self.give_up(),
                Event::Resume => self.go_on(),
            }
        }
    }

    async fn next(&mut self) -> Result<Event, End> {
        let late = self.download.as_ref().map(|download| download.until);
        let resume = self.paused_until;
        let has_more = !self.queue.is_empty();
        tokio::select! {
            () = self.relay.0.tasks.cancelled() => Err(End::Stopping),
            () = self.place.end.cancelled() => Err(End::Replaced),
            room = self.outgoing.reserve(), if has_more => {
                let room = room.map_err(|_gone| End::Closed)?;
                if let Some(next) = self.queue.pop_front() {
                    room.send(RelayCoreMessage { body: Some(next.message) });
                    if let Some(first_seen) = next.completes {
                        histogram!("hyperhash_relay_seconds").record(first_seen.elapsed());
                    }
                }
                Ok(Event::Sent)
            }
            news = self.place.news.recv() => match news {
                Some(news) => Ok(Event::News(news)),
                None => Err(End::Replaced),
            },
            heard = self.incoming.message(), if resume.is_none() => match heard {
                Ok(message) => Ok(Event::Message(message)),
                Err(status) => Ok(Event::Failed(status)),
            },
            () = until(late) => Ok(Event::Late),
            () = until(resume) => Ok(Event::Resume),
        }
    }

    async fn hear(&mut self, message: RelayNodeMessage) -> Result<(), End> {
        match message.body {
            Some(relay_node_message::Body::Announce(announce)) => self.announced(announce),
            Some(relay_node_message::Body::Chunk(chunk)) => self.brought(chunk).await,
            Some(relay_node_message::Body::Want(want)) => {
                let hash = block_hash(&want.block_hash)?;
                if self.may_speak() {
                    self.want(hash);
                }
                Ok(())
            }
            Some(relay_node_message::Body::Have(have)) => {
                let hash = block_hash(&have.block_hash)?;
                if self.may_speak() {
                    self.relay.board().has(&self.node, hash);
                }
                Ok(())
            }
            // Something that a newer agent says.
            None => Ok(()),
        }
    }

    fn announced(&mut self, announce: RelayAnnounce) -> Result<(), End> {
        let RelayAnnounce { headers, height } = announce;
        let headers_count = headers.len();
        if !(1..=MAX_RELAY_HEADERS).contains(&headers_count) {
            return Err(End::Protocol("it announced no header, or too many"));
        }
        let now = Now::read();
        let charged = self.relay.board().charge(&self.node, headers_count, now.at);
        if let Err(over) = charged {
            self.throttle(over);
            return Ok(());
        }
        let below = u32::try_from(headers_count).unwrap_or(u32::MAX);
        let mut height = height.saturating_sub(below);
        let mut before = None;
        for bytes in headers {
            height = height.saturating_add(1);
            match self.take(&bytes, before.as_ref(), (height, now)) {
                Ok(header) => before = Some(header),
                Err(refusal) => {
                    count(refusal.as_str());
                    tracing::info!(node = %self.node, why = %refusal, "block not relayed");
                    let reason = refusal.to_string();
                    let refused = RelayRefused {
                        header: bytes,
                        reason,
                    };
                    self.say(relay_core_message::Body::Refused(refused));
                    break;
                }
            }
        }
        Ok(())
    }

    fn take(
        &self,
        bytes: &[u8],
        before: Option<&RelayedHeader>,
        (height, now): (u32, Now),
    ) -> Result<RelayedHeader, Refusal> {
        let header = RelayedHeader::read(bytes, self.relay.0.chain)?;
        let mut board = self.relay.board();
        let outcome = board.announce(&self.node, header, before, (height, now))?;
        drop(board);
        count(outcome.as_str());
        tracing::debug!(node = %self.node, block = %header.hash(), height, outcome = outcome.as_str(), "block announced");
        Ok(header)
    }

    /// A part of a block.
    async fn brought(&mut self, chunk: RelayChunk) -> Result<(), End> {
        let bytes = chunk.data.len().max(CHUNK_CHARGE_MIN);
        let charged = self
            .relay
            .board()
            .charge_bytes(&self.node, bytes, Instant::now());
        if let Err(over) = charged {
            self.give_up();
            self.throttle(over);
            return Ok(());
        }
        let Some(download) = &mut self.download else {
            return Ok(());
        };
        // One that was given up before is still on its way.
        if chunk.block_hash != download.assembly.hash() {
            return Ok(());
        }
        match download.assembly.push(&chunk)? {
            true => self.check().await,
            false => Ok(()),
        }
    }

    /// Looks whether the block that the node has brought is the one of its header: some milliseconds of work.
    async fn check(&mut self) -> Result<(), End> {
        let Some(download) = self.download.take() else {
            return Ok(());
        };
        let (header, body) = (download.header, download.assembly.into_bytes());
        let checked = tokio::task::spawn_blocking(move || {
            let checked = header.check_body(&body);
            checked.map(|()| body)
        });
        let checked = checked.await;
        let checked =
            checked.map_err(|_panicked| End::Protocol("it sent a block that can't be checked"))?;
        if checked.is_err() {
            count("bad_block");
        }
        let body = checked.inspect_err(|_error| {
            let mut board = self.relay.board();
            board.failed(&self.node, header.hash());
        })?;
        let bytes = body.len();
        self.relay.board().arrived(&self.node, header.hash(), body);
        tracing::info!(node = %self.node, block = %header.hash(), bytes, "block relayed");
        self.fetch_next();
        Ok(())
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Announce { header, height } => {
                let announce = RelayAnnounce {
                    headers: vec![header.bytes().to_vec()],
                    height,
                };
                self.say(relay_core_message::Body::Announce(announce));
            }
            News::Fetch(header) if self.fetches.len() < FETCHES_MAX => {
                self.fetches.push_back(header);
                self.fetch_next();
            }
            News::Fetch(header) => self.relay.board().failed(&self.node, header.hash()),
            News::Here(hash) => self.want(hash),
        }
    }

    /// Asks for the next block that the node is to bring, unless it brings one.
    fn fetch_next(&mut self) {
        if self.download.is_some() {
            return;
        }
        let Some(header) = self.fetches.pop_front() else {
            return;
        };
        let hash = header.hash().to_byte_array();
        self.download = Some(Download {
            header,
            assembly: BlockAssembly::new(hash),
            until: Instant::now() + FETCH_LIMIT,
        });
        let block_hash = hash.to_vec();
        self.say(relay_core_message::Body::Want(RelayWant { block_hash }));
    }

    /// The node does not bring the block that it was asked for.
    fn give_up(&mut self) {
        if let Some(download) = self.download.take() {
            count("no_block");
            let hash = download.header.hash();
            tracing::debug!(node = %self.node, block = %hash, "block not brought");
            self.relay.board().failed(&self.node, hash);
        }
        self.fetch_next();
    }

    /// The node asks for a block, or has waited for one.
    fn want(&mut self, hash: BlockHash) {
        let wanted = self.relay.board().want(&self.node, hash, Instant::now());
        match wanted {
            Ok(Some(wanted)) => self.give(&wanted),
            Ok(None) => {}
            Err(over) => self.throttle(over),
        }
    }

    /// It may go on, and is sent what was there for it meanwhile.
    fn go_on(&mut self) {
        self.paused_until = None;
        let held = self.relay.board().held_back(&self.node);
        for hash in held {
            // The next pause has the rest.
            if self.paused_until.is_none() {
                self.want(hash);
            }
        }
    }

    fn give(&mut self, wanted: &Wanted) {
        let parts: Vec<RelayChunk> = chunks_of(wanted.hash.to_byte_array(), &wanted.body).collect();
        if self.queue.len() + parts.len() > QUEUE_MAX {
            counter!("hyperhash_relay_lost_total").increment(1);
            return;
        }
        let last = parts.len().saturating_sub(1);
        for (number, part) in parts.into_iter().enumerate() {
            self.queue.push_back(Outgoing {
                message: relay_core_message::Body::Chunk(part),
                completes: (number == last).then_some(wanted.first_seen),
            });
        }
    }

    /// Whether the node has said no more about blocks than it may.
    fn may_speak(&mut self) -> bool {
        let charged = self.relay.board().charge_word(&self.node, Instant::now());
        match charged {
            Ok(()) => true,
            Err(over) => {
                self.throttle(over);
                false
            }
        }
    }

    /// Tells the node that it is over its budget, and reads nothing from it for as long as that takes.
    fn throttle(&mut self, over: Over) {
        counter!("hyperhash_relay_throttled_total").increment(1);
        tracing::info!(node = %self.node, why = %over, "block relay held back");
        self.paused_until = Some(Instant::now() + over.retry);
        let throttled = RelayThrottled {
            what: over.to_string(),
            retry_ms: u64::try_from(over.retry.as_millis()).unwrap_or(u64::MAX),
        };
        self.say(relay_core_message::Body::Throttled(throttled));
    }

    /// Never waits: a node that does not read loses what does not fit.
    fn say(&mut self, message: relay_core_message::Body) {
        if self.queue.len() >= QUEUE_MAX {
            counter!("hyperhash_relay_lost_total").increment(1);
            return;
        }
        self.queue.push_back(Outgoing {
            message,
            completes: None,
        });
    }
}

fn block_hash(bytes: &[u8]) -> Result<BlockHash, End> {
    let bytes: Result<[u8; 32], _> = bytes.try_into();
    let bytes = bytes.map_err(|_other| End::Protocol("it named a block by no hash"))?;
    Ok(BlockHash::from_byte_array(bytes))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
