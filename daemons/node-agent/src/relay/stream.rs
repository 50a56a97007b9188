//! One stream of block relay. What takes long, to read a block from Bitcoin Core or to give it one, is a task beside it.

use super::chain::{self, Verdict};
use super::uploads::Uploads;
use crate::dial::{Channel, DialError};
use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use futures::stream;
use hh_bitcoin::{ChainTip, Rpc, submit_once};
use hh_daemon::{Chain, Tasks};
use hh_ipc::agent::{
    BlockAssembly, ChunkError, MAX_RELAY_HEADERS, RelayAnnounce, RelayChunk, RelayCoreMessage,
    RelayHave, RelayNodeMessage, RelayThrottled, RelayWant, chunks_of, path, relay_core_message,
    relay_node_message,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::Streaming;

/// Messages to core that wait for the connection: two parts of a block, and what is said meanwhile.
const OUTGOING_QUEUE: usize = 4;

/// Blocks that core has heard of here, or that it has told of: some hours of a busy test chain.
pub(super) const KNOWN_MAX: usize = 144;

/// Blocks that are on their way here.
const WANTED_MAX: usize = MAX_RELAY_HEADERS;

/// Blocks that are read from Bitcoin Core at once: core asks for one after the other, and may give one up.
const UPLOADS_MAX: usize = 4;

/// Blocks that wait for Bitcoin Core, which takes one after the other, as they came: parents first.
const SUBMISSIONS: usize = 16;

/// Headers of a minute that Bitcoin Core is asked about, each by two calls: core passes each block on once, and a test chain has one in seconds.
const OFFERS_PER_MINUTE: u32 = 120;
const MINUTE: Duration = Duration::from_secs(60);

/// Longest that nothing is announced because core says so.
const QUIET_MAX: Duration = Duration::from_secs(120);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("core has closed it")]
    Closed,
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("core said what is no message of block relay: {0}")]
    Protocol(&'static str),
    #[error("core sent a part of a block that is none")]
    Chunk(#[from] ChunkError),
    #[error("the agent stops")]
    Stopping,
}

pub(super) struct Stream {
    rpc: Rpc,
    tasks: Tasks,
    tip: watch::Receiver<Option<ChainTip>>,
    incoming: Streaming<RelayCoreMessage>,
    outgoing: mpsc::Sender<RelayNodeMessage>,
    /// What core was told of here, or has told of.
    known: VecDeque<BlockHash>,
    /// Of these, what it was told last.
    announced: Vec<BlockHash>,
    wanted: VecDeque<[u8; 32]>,
    download: Option<BlockAssembly>,
    uploads: Arc<Semaphore>,
    uploaded: Arc<Mutex<Uploads>>,
    /// Whole blocks, on their way to Bitcoin Core.
    whole: mpsc::Sender<BlockAssembly>,
    /// Core takes no announcement before then.
    quiet_until: Option<Instant>,
    /// Headers that core has told of since then.
    offers: (Instant, u32),
}

impl Stream {
    pub(super) async fn open(
        channel: &Channel,
        rpc: &Rpc,
        tip: &watch::Receiver<Option<ChainTip>>,
        tasks: &Tasks,
    ) -> Result<Self, DialError> {
        let (outgoing, messages) = mpsc::channel(OUTGOING_QUEUE);
        let messages = stream::unfold(messages, |mut messages| async move {
            let message = messages.recv().await?;
            Some((message, messages))
        });
        let incoming = channel.streaming(path::RELAY, messages).await?;
        let (whole, blocks) = mpsc::channel(SUBMISSIONS);
        let (stop, to) = (tasks.token().clone(), rpc.clone());
        tasks.spawn_session("block submission", async move {
            stop.run_until_cancelled(submit(&to, blocks)).await;
        });
        Ok(Self {
            rpc: rpc.clone(),
            tasks: tasks.clone(),
            tip: tip.clone(),
            incoming,
            outgoing,
            known: VecDeque::new(),
            announced: Vec::new(),
            wanted: VecDeque::new(),
            download: None,
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            uploaded: Arc::new(Mutex::new(Uploads::new(Instant::now()))),
            whole,
            quiet_until: None,
            offers: (Instant::now(), 0),
        })
    }

    pub(super) async fn run(mut self) -> End {
        // Core hears where the node stands first.
        self.tip.mark_changed();
        let Err(end) = self.talk().await;
        end
    }

    async fn talk(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            let quiet = self.quiet_until;
            tokio::select! {
                changed = self.tip.changed() => {
                    changed.map_err(|_gone| End::Stopping)?;
                    self.announce().await?;
                }
                heard = self.incoming.message() => match heard {
                    Ok(Some(message)) => self.hear(message).await?,
                    Ok(None) => return Err(End::Closed),
                    Err(status) => return Err(End::Lost(Chain(&status).to_string())),
                },
                () = until(quiet) => {
                    self.quiet_until = None;
                    self.announce().await?;
                }
            }
        }
    }

    /// Tells core of the tip, unless it may not be told now.
    async fn announce(&mut self) -> Result<(), End> {
        let tip = *self.tip.borrow_and_update();
        let Some(tip) = tip.filter(|_| self.quiet_until.is_none()) else {
            return Ok(());
        };
        if self.known.contains(&tip.hash) {
            return self.have(tip.hash).await;
        }
        let headers = match chain::headers(&self.rpc, &self.known, tip.hash).await {
            Ok(headers) => headers,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "tip not announced: Bitcoin Core does not give its header");
                return Ok(());
            }
        };
        if headers.is_empty() {
            return Ok(());
        }
        self.announced = headers.iter().map(Header::block_hash).collect();
        for header in &headers {
            self.remember(header.block_hash());
        }
        let announce = RelayAnnounce {
            headers: headers.iter().map(serialize).collect(),
            height: tip.height,
        };
        self.say(relay_node_message::Body::Announce(announce)).await
    }

    async fn hear(&mut self, message: RelayCoreMessage) -> Result<(), End> {
        match message.body {
            Some(relay_core_message::Body::Announce(announce)) => {
                if announce.headers.len() > MAX_RELAY_HEADERS {
                    return Err(End::Protocol("too many headers"));
                }
                for header in announce.headers {
                    let header = deserialize(&header);
                    let header = header.map_err(|_no_header| End::Protocol("no header"))?;
                    self.offered(&header).await?;
                }
                Ok(())
            }
            Some(relay_core_message::Body::Want(want)) => {
                self.bring(block_hash(&want.block_hash)?);
                Ok(())
            }
            Some(relay_core_message::Body::Chunk(chunk)) => self.brought(&chunk),
            Some(relay_core_message::Body::Throttled(throttled)) => {
                self.hold_back(&throttled);
                Ok(())
            }
            Some(relay_core_message::Body::Refused(refused)) => {
                tracing::info!(
                    why = refused.reason,
                    "core does not relay a block of this node"
                );
                Ok(())
            }
            // Something that a newer core says.
            None => Ok(()),
        }
    }

    /// Another node has a block: Bitcoin Core says whether it is one.
    async fn offered(&mut self, header: &Header) -> Result<(), End> {
        let hash = header.block_hash();
        if self.known.contains(&hash) || !self.may_offer() {
            return Ok(());
        }
        match chain::judge(&self.rpc, header).await {
            Ok(Verdict::Has) => {
                self.remember(hash);
                self.have(hash).await
            }
            Ok(Verdict::Wants) => {
                self.remember(hash);
                if self.wanted.len() >= WANTED_MAX {
                    self.wanted.pop_front();
                }
                self.wanted.push_back(hash.to_byte_array());
                let block_hash = hash.to_byte_array().to_vec();
                self.say(relay_node_message::Body::Want(RelayWant { block_hash }))
                    .await
            }
            Ok(Verdict::Refuses(reason)) => {
                tracing::info!(block = %hash, reason, "Bitcoin Core refuses a relayed header");
                Ok(())
            }
            Err(error) => {
                tracing::debug!(block = %hash, error = %Chain(&error), "Bitcoin Core does not judge a relayed header");
                Ok(())
            }
        }
    }

    /// Whether core has told of no more than it may.
    fn may_offer(&mut self) -> bool {
        let (since, count) = &mut self.offers;
        if since.elapsed() >= MINUTE {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
        *count <= OFFERS_PER_MINUTE
    }

    /// Core asks for a block of which it was told.
    fn bring(&self, hash: BlockHash) {
        if !self.known.contains(&hash) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.uploads).try_acquire_owned() else {
            tracing::warn!(block = %hash, "block not relayed: others are on their way to core");
            return;
        };
        if !locked(&self.uploaded).begin(hash, Instant::now()) {
            tracing::warn!(block = %hash, "block not relayed: core asks for more than it may");
            return;
        }
        let (rpc, outgoing) = (self.rpc.clone(), self.outgoing.clone());
        let uploaded = Arc::clone(&self.uploaded);
        let stop = self.tasks.token().clone();
        let uploading = async move {
            let _permit = permit;
            let upload = upload(&rpc, hash, &uploaded, &outgoing);
            stop.run_until_cancelled(upload).await;
        };
        self.tasks.spawn_session("block upload", uploading);
    }

    /// A part of a block that was asked for.
    fn brought(&mut self, chunk: &RelayChunk) -> Result<(), End> {
        let hash = block_hash(&chunk.block_hash)?.to_byte_array();
        if self.download.as_ref().map(BlockAssembly::hash) != Some(hash) {
            let Some(number) = self.wanted.iter().position(|wanted| *wanted == hash) else {
                return Ok(());
            };
            self.wanted.remove(number);
            self.download = Some(BlockAssembly::new(hash));
        }
        let Some(mut download) = self.download.take() else {
            return Ok(());
        };
        if !download.push(chunk)? {
            self.download = Some(download);
        } else if self.whole.try_send(download).is_err() {
            tracing::warn!("relayed block not submitted: Bitcoin Core is at others");
        }
        Ok(())
    }

    fn hold_back(&mut self, throttled: &RelayThrottled) {
        let pause = Duration::from_millis(throttled.retry_ms).min(QUIET_MAX);
        tracing::info!(
            why = throttled.what,
            seconds = pause.as_secs(),
            "core takes no blocks of this node for now"
        );
        self.quiet_until = Some(Instant::now() + pause);
        // It is told again then.
        let announced = std::mem::take(&mut self.announced);
        self.known.retain(|known| !announced.contains(known));
    }

    fn remember(&mut self, hash: BlockHash) {
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(hash);
    }

    async fn have(&mut self, hash: BlockHash) -> Result<(), End> {
        let block_hash = hash.to_byte_array().to_vec();
        self.say(relay_node_message::Body::Have(RelayHave { block_hash }))
            .await
    }

    async fn say(&mut self, body: relay_node_message::Body) -> Result<(), End> {
        let sent = self
            .outgoing
            .send(RelayNodeMessage { body: Some(body) })
            .await;
        sent.map_err(|_gone| End::Closed)
    }
}

/// Gives blocks to Bitcoin Core, one after the other, until the stream ends.
async fn submit(rpc: &Rpc, mut blocks: mpsc::Receiver<BlockAssembly>) {
    while let Some(block) = blocks.recv().await {
        let hash = BlockHash::from_byte_array(block.hash());
        let outcome = match submit_once(rpc, &block.into_bytes()).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(block = %hash, error = %Chain(&error), "relayed block not submitted");
                continue;
            }
        };
        let word = outcome.as_str();
        metrics::counter!("hyperhash_agent_relayed_blocks_total", "outcome" => word).increment(1);
        tracing::info!(block = %hash, outcome = word, reason = outcome.reason(), "relayed block submitted");
    }
}

/// Reads a block from Bitcoin Core and sends it, as fast as the line takes it.
async fn upload(
    rpc: &Rpc,
    hash: BlockHash,
    uploaded: &Mutex<Uploads>,
    outgoing: &mpsc::Sender<RelayNodeMessage>,
) {
    let block = match rpc.raw_block(hash).await {
        Ok(block) => block,
        Err(error) => {
            tracing::warn!(block = %hash, error = %Chain(&error), "block not relayed: Bitcoin Core does not give it");
            return;
        }
    };
    if !locked(uploaded).send(block.len(), Instant::now()) {
        tracing::warn!(block = %hash, "block not relayed: core asks for more than it may");
        return;
    }
    for chunk in chunks_of(hash.to_byte_array(), &block.into()) {
        let body = Some(relay_node_message::Body::Chunk(chunk));
        if outgoing.send(RelayNodeMessage { body }).await.is_err() {
            return;
        }
    }
}

fn locked(uploads: &Mutex<Uploads>) -> MutexGuard<'_, Uploads> {
    // Nothing in between can panic.
    uploads.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block_hash(bytes: &[u8]) -> Result<BlockHash, End> {
    let bytes: Result<[u8; 32], _> = bytes.try_into();
    let bytes = bytes.map_err(|_other| End::Protocol("no hash of a block"))?;
    Ok(BlockHash::from_byte_array(bytes))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
