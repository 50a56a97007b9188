//! Templates by JSON-RPC `getblocktemplate` (BIP 22, 23 and 145) with long polling, from any Bitcoin Core.
//!
//! Owns: when the node is asked, which answer counts, and what each reservation class is given of it. Never: pushes a
//! coinbase-only template on a new tip as mining IPC does, because nothing is known of a tip before the full answer is here.
//!
//! A node can't reserve room by this call: it leaves its own `-blockreservedweight` (8000) free, whatever is asked. So one
//! answer serves every class. A class that needs more loses transactions from the end of the answer, which is their order
//! of fees, and no transaction depends on one behind it; a class that needs less gains nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::{BlockHash, Network};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::{debug, info};

use super::block::HeaderParts;
use super::{
    Pending, REQUESTS_MAX, Request, Solution, Source, SourceError, SourceEvent, TemplateHandle,
    arrived,
};
use crate::node::{NodeError, NodeInfo};
use crate::rpc::{Rpc, RpcError};
use crate::submit::{self, BlockOutcome};
use crate::template::{BlockSlot, NodeTemplate, Reservation, TemplateBlock, Trigger};

use answer::{Answer, Built};

mod answer;

/// Building a template takes tens of milliseconds; while the node connects a block it may hold its lock for seconds.
const ASK_DEADLINE: Duration = Duration::from_secs(15);
/// The node answers as soon as the tip changes, and a minute after the mempool did, so on a chain that lies still never. A
/// call that is given up keeps one of its `rpcthreads` (16) until then: a living node's is not given up.
const LONG_POLL_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
/// From one that did not last to the next.
const LONG_POLL_PAUSE: Duration = Duration::from_secs(60);
/// While a long poll is out: whether the node is alive, and whether it told us of its tip.
const LOOK: Duration = Duration::from_secs(10);
/// The same where long polls do not last, because something between us ends them.
const LOOK_WITHOUT_LONG_POLL: Duration = Duration::from_millis(250);
/// For fees. Bitcoin Core builds a new template on an unchanged tip once in more than 5 s.
const LOOK_AT_FEES: Duration = Duration::from_secs(6);
/// `RPC_CLIENT_NOT_CONNECTED` of Bitcoin Core.
const CODE_NOT_CONNECTED: i32 = -9;
/// `RPC_CLIENT_IN_INITIAL_DOWNLOAD` of Bitcoin Core.
const CODE_IN_INITIAL_DOWNLOAD: i32 = -10;

/// Templates from a node that answers, until it does not.
pub(super) async fn session(
    source: &mut Source,
    info: NodeInfo,
    connected: &mut bool,
) -> Result<Infallible, SourceError> {
    let asker = Asker {
        rpc: source.config.rpc.clone(),
        long_polls: source.long_polls.clone(),
        rules: if info.chain == Network::Signet {
            &["segwit", "signet"]
        } else {
            &["segwit"]
        },
    };
    let newest = asker.ask(None).await?;
    *connected = true;
    drop(source.events.send(SourceEvent::Connected(info)).await);
    let session = Session {
        source,
        asker,
        newest,
        given: BTreeMap::new(),
        long_poll: None,
        look: None,
        looked_at: Instant::now(),
        asked_at: Instant::now(),
        broken: None,
    };
    session.run().await
}

/// What a look at the node shows.
enum Look {
    /// The tip is still ours.
    Unchanged,
    Answer(Answer),
}

/// What a class was given last.
struct Given {
    value_sats: u64,
    at: Instant,
}

struct Session<'a> {
    source: &'a mut Source,
    asker: Asker,
    newest: Answer,
    given: BTreeMap<Reservation, Given>,
    long_poll: Pending<Answer>,
    look: Pending<Look>,
    looked_at: Instant,
    /// When the newest answer came, or one that was no news.
    asked_at: Instant,
    /// When a long poll did not last, and its id. None with that id again: the node may still hold the first.
    broken: Option<(Instant, String)>,
}

impl Session<'_> {
    async fn run(mut self) -> Result<Infallible, SourceError> {
        loop {
            self.converge().await?;
            self.start_long_poll();
            let look_at = self.look_at();
            tokio::select! {
                Ok(()) = self.source.followed.changed() => {}
                answer = arrived(&mut self.long_poll) => {
                    self.long_poll = None;
                    self.on_long_poll(answer).await?;
                }
                look = arrived(&mut self.look) => {
                    self.look = None;
                    self.looked_at = Instant::now();
                    if let Look::Answer(answer) = look? {
                        self.on_answer(answer).await?;
                    }
                }
                () = tokio::time::sleep_until(look_at.into()), if self.look.is_none() => {
                    let known = Instant::now() < self.fees_at();
                    self.start_look(known.then(|| self.newest.prev_hash()));
                }
            }
        }
    }

    async fn on_long_poll(
        &mut self,
        answer: Result<Answer, SourceError>,
    ) -> Result<(), SourceError> {
        match answer {
            Ok(answer) => self.on_answer(answer).await,
            Err(error) => {
                // A proxy, or the node's end. The look tells which.
                debug!(
                    error = &error as &dyn std::error::Error,
                    "long poll of getblocktemplate did not last"
                );
                self.broken = Some((Instant::now(), self.newest.id().to_owned()));
                self.start_look(None);
                Ok(())
            }
        }
    }

    /// When the node is to be looked at, if nothing comes from it by itself.
    fn look_at(&self) -> Instant {
        let interval = if self.long_poll.is_some() {
            LOOK
        } else {
            LOOK_WITHOUT_LONG_POLL
        };
        (self.looked_at + interval).min(self.fees_at())
    }

    /// When higher fees would be given out, but not before the node can have seen them.
    fn fees_at(&self) -> Instant {
        let last = self.given.values().map(|given| given.at).min();
        let due = last.unwrap_or(self.asked_at) + self.source.config.refresh_interval;
        due.max(self.asked_at + LOOK_AT_FEES)
    }

    fn start_long_poll(&mut self) {
        let may = match &self.broken {
            Some((at, id)) => at.elapsed() > LONG_POLL_PAUSE && id != self.newest.id(),
            None => true,
        };
        if may && self.long_poll.is_none() {
            self.broken = None;
            let (asker, id) = (self.asker.clone(), self.newest.id().to_owned());
            self.long_poll = Some(Box::pin(async move { asker.ask(Some(id)).await }));
        }
    }

    /// Asks for a template, unless the node's tip is still the one that is known.
    fn start_look(&mut self, known: Option<BlockHash>) {
        let asker = self.asker.clone();
        self.look = Some(Box::pin(async move {
            if let Some(tip) = known
                && asker.rpc.best_block_hash().await.map_err(NodeError::from)? == tip
            {
                return Ok(Look::Unchanged);
            }
            asker.ask(None).await.map(Look::Answer)
        }));
    }

    async fn on_answer(&mut self, answer: Answer) -> Result<(), SourceError> {
        self.asked_at = Instant::now();
        let new_tip = answer.tip_key() != self.newest.tip_key();
        self.newest = answer;
        if new_tip {
            // What is under way may be of before; the node ends its long polls by itself.
            self.long_poll = None;
            self.look = None;
            self.given.clear();
        }
        let followed = self.source.followed.borrow().clone();
        for reservation in followed {
            let built = self.newest.build(reservation)?;
            let trigger = match self.given.get(&reservation) {
                None if new_tip => Trigger::NewBlock,
                None => Trigger::Start,
                Some(given) if self.is_due(given, built.template.coinbase_tx_value_remaining) => {
                    Trigger::Mempool
                }
                Some(_) => continue,
            };
            self.publish(reservation, trigger, built).await?;
        }
        Ok(())
    }

    fn is_due(&self, given: &Given, value_sats: u64) -> bool {
        let config = &self.source.config;
        given.at.elapsed() >= config.refresh_interval
            && value_sats >= given.value_sats.saturating_add(config.fee_delta_sats)
    }

    /// Gives the newest template to a class that has none yet, and forgets one that is not followed any more.
    async fn converge(&mut self) -> Result<(), SourceError> {
        let followed = self.source.followed.borrow().clone();
        self.given.retain(|class, _| followed.contains(class));
        for reservation in followed {
            if self.given.contains_key(&reservation) {
                continue;
            }
            let built = self.newest.build(reservation)?;
            self.publish(reservation, Trigger::Start, built).await?;
        }
        Ok(())
    }

    async fn publish(
        &mut self,
        reservation: Reservation,
        trigger: Trigger,
        built: Built,
    ) -> Result<(), SourceError> {
        let value_sats = built.template.coinbase_tx_value_remaining;
        if built.dropped > 0 {
            info!(
                reserved_weight = reservation.weight(),
                dropped = built.dropped,
                "transactions dropped for the reservation, the node's own -blockreservedweight is smaller"
            );
        }
        let Built {
            template,
            tip,
            height,
            coinbase_witness,
            block,
            ..
        } = built;
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let kept = Rc::new(Kept {
            rpc: self.asker.rpc.clone(),
            header: HeaderParts::of(&template, &tip),
            block: Arc::new(block),
        });
        let slot = BlockSlot::filled(Arc::clone(&kept.block));
        tokio::task::spawn_local(kept.answer(asked));
        let announced_at = self.newest.announced_at();
        let event = NodeTemplate {
            reservation,
            trigger,
            template,
            tip,
            height,
            coinbase_witness,
            announced_at,
            fetch_time: announced_at.elapsed(),
            block: slot,
            handle: TemplateHandle { requests },
        };
        self.source
            .events
            .send(SourceEvent::Template(Box::new(event)))
            .await
            .map_err(|_stopped| SourceError::Lost)?;
        let at = Instant::now();
        self.given.insert(reservation, Given { value_sats, at });
        Ok(())
    }
}

/// Calls `getblocktemplate`.
#[derive(Clone)]
struct Asker {
    rpc: Rpc,
    /// The same node, with a limit of its own.
    long_polls: Rpc,
    rules: &'static [&'static str],
}

impl Asker {
    /// The template now, or with the id of the last one the next: when the tip has changed, or the mempool some time ago.
    async fn ask(&self, longpollid: Option<String>) -> Result<Answer, SourceError> {
        let (rpc, deadline) = match longpollid {
            Some(_) => (&self.long_polls, LONG_POLL_DEADLINE),
            None => (&self.rpc, ASK_DEADLINE),
        };
        let mut request = json!({ "rules": self.rules });
        if let Some(id) = longpollid {
            request["longpollid"] = json!(id);
        }
        let text: Box<RawValue> = rpc
            .call("getblocktemplate", vec![request], deadline)
            .await
            .map_err(refused)?;
        let announced_at = Instant::now();
        // Megabytes of hex: not on the thread that gives out templates.
        tokio::task::spawn_blocking(move || Answer::parse(&text, announced_at))
            .await
            .map_err(|_panicked| SourceError::Lost)?
    }
}

fn refused(error: RpcError) -> SourceError {
    match error {
        RpcError::Refused {
            url,
            code: CODE_IN_INITIAL_DOWNLOAD,
            ..
        } => SourceError::InitialDownload { url },
        RpcError::Refused {
            url,
            code: CODE_NOT_CONNECTED,
            ..
        } => SourceError::NotConnected { url },
        error => NodeError::from(error).into(),
    }
}

/// A template that was given out: everything its block needs.
struct Kept {
    rpc: Rpc,
    header: HeaderParts,
    block: Arc<TemplateBlock>,
}

impl Kept {
    /// Until nobody holds the handle. Each beside the others: a second block does not wait for the verdict on the first.
    async fn answer(self: Rc<Self>, mut asked: mpsc::Receiver<Request>) {
        while let Some(Request { solution, answer }) = asked.recv().await {
            let kept = Rc::clone(&self);
            // The asker may have given up; what was submitted is with the node all the same.
            tokio::task::spawn_local(async move {
                drop(answer.send(kept.submit(&solution).await));
            });
        }
    }

    async fn submit(&self, solution: &Solution) -> Result<BlockOutcome, SourceError> {
        let Some(block) = self.header.assemble(&self.block, solution) else {
            let reason = "its coinbase cannot be read".to_owned();
            return Ok(BlockOutcome::Rejected(reason));
        };
        submit::submit_once(&self.rpc, &block)
            .await
            .map_err(|error| NodeError::from(error).into())
    }
}
