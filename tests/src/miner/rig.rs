//! The rig: what a miner has whatever protocol it speaks. The hasher, the work of now and of the block before, the shares
//! without an answer, the counters.
//!
//! A session tells it what came from the pool and sends what it hands out; it never touches a socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hh_mining::BlockHash;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use super::hasher::{Assignment, Found, Hasher, solve};
use super::{Counters, Event, MinerConfig, Outcome, Probe};

/// Shares that may wait for a session to send them.
const FOUND_MAX: usize = 256;

/// Seconds that [`Probe::FutureTime`] is ahead: nodes and pools allow two hours.
const FUTURE_S: u32 = 3 * 60 * 60;

/// A version bit outside of those that BIP 323 lets miners roll.
const FIXED_VERSION_BIT: u32 = 1 << 1;

/// A job that no pool sends: they count from the start.
const UNKNOWN_JOB_ID: &str = "4294967294";

/// A test's wish to submit a share, and where the answer goes.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) probe: Probe,
    pub(super) answer: oneshot::Sender<anyhow::Result<Outcome>>,
}

/// A share that was sent and has no answer.
struct Pending {
    job_id: String,
    hash: BlockHash,
    is_block: bool,
    answer: Option<oneshot::Sender<anyhow::Result<Outcome>>>,
}

/// What makes a session submit something.
pub(super) enum Next {
    Found(Found),
    Command(Command),
}

/// What a session has to send.
pub(super) struct ToSubmit {
    pub(super) found: Found,
    /// As it is to be sent; a probe's may differ from the assignment's.
    pub(super) job_id: String,
    pub(super) extranonce: Vec<u8>,
    answer: Option<oneshot::Sender<anyhow::Result<Outcome>>>,
}

/// See the module.
pub(super) struct Rig {
    pub(super) config: MinerConfig,
    hasher: Hasher,
    found: mpsc::Receiver<Found>,
    commands: mpsc::Receiver<Command>,
    counters: watch::Sender<Counters>,
    /// Counts sessions, so that a share found for an earlier one is not sent in this.
    session: u64,
    current: Option<Arc<Assignment>>,
    /// The last work on the block before.
    stale: Option<Arc<Assignment>>,
    last_sent: Option<Found>,
    /// By sequence number or request id.
    pending: BTreeMap<u64, Pending>,
}

impl Rig {
    pub(super) fn new(
        config: MinerConfig,
        counters: watch::Sender<Counters>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let (sender, found) = mpsc::channel(FOUND_MAX);
        Self {
            hasher: Hasher::start(config.hashrate_hs, sender),
            config,
            found,
            commands,
            counters,
            session: 0,
            current: None,
            stale: None,
            last_sent: None,
            pending: BTreeMap::new(),
        }
    }

    /// The miner may work in a session: its channel is open, its user authorized.
    pub(super) fn connected(&self, peer: &str, extranonce_prefix: &[u8], difficulty: f64) {
        self.counters.send_modify(|counters| {
            counters.connected = true;
            counters.sessions += 1;
        });
        self.tell(Event::Connected {
            peer: peer.to_owned(),
            user: self.config.user.clone(),
            extranonce_prefix: hex::encode(extranonce_prefix),
            difficulty,
        });
    }

    pub(super) fn hashes(&self) -> Arc<AtomicU64> {
        self.hasher.hashes()
    }

    /// The number of this session, for [`Assignment::session`].
    pub(super) fn session(&self) -> u64 {
        self.session
    }

    pub(super) fn jobs(&self) -> u64 {
        self.counters.borrow().jobs
    }

    /// New work for the hasher.
    pub(super) fn assign(&mut self, assignment: Assignment) {
        let prev_hash = assignment.header.prev_hash;
        let new_tip = match &self.current {
            Some(current) => current.header.prev_hash != prev_hash,
            None => true,
        };
        if new_tip {
            self.stale = self.current.take();
        }
        let prev_hash = BlockHash::from_byte_array(prev_hash);
        let difficulty = assignment.target.difficulty();
        self.counters.send_modify(|counters| {
            counters.jobs += 1;
            counters.prev_hash = Some(prev_hash);
            counters.difficulty = difficulty;
        });
        self.tell(Event::Job {
            job_id: assignment.job_id.clone(),
            prev_hash: prev_hash.to_string(),
            new_tip,
            difficulty,
        });
        let assignment = Arc::new(assignment);
        self.hasher.assign(Some(Arc::clone(&assignment)));
        self.current = Some(assignment);
    }

    /// What to submit next: a find, or a test's wish. Cancel-safe; [`Self::share_for`] makes a share of it.
    pub(super) async fn next(&mut self) -> Next {
        tokio::select! {
            Some(found) = self.found.recv() => Next::Found(found),
            Some(command) = self.commands.recv() => Next::Command(command),
            // The hasher is there as long as the rig.
            else => std::future::pending().await,
        }
    }

    /// The share to send, if there is one: what was found for an earlier session is none.
    pub(super) async fn share_for(&mut self, next: Next) -> Option<ToSubmit> {
        match next {
            Next::Found(found) if found.assignment.session == self.session => Some(ToSubmit {
                job_id: found.assignment.job_id.clone(),
                extranonce: found.assignment.extranonce.clone(),
                found,
                answer: None,
            }),
            Next::Found(_) => None,
            Next::Command(command) => self.prepare(command).await,
        }
    }

    /// Makes the share that a test wishes for, or tells it why not.
    async fn prepare(&mut self, Command { probe, answer }: Command) -> Option<ToSubmit> {
        let base = match probe {
            Probe::Stale => self.stale.clone(),
            _ => self.current.clone(),
        };
        let Some(assignment) = base else {
            let missing = anyhow::anyhow!("there is no work for a {probe:?} share");
            // A test that does not wait for the answer does not need it.
            drop(answer.send(Err(missing)));
            return None;
        };
        let last = self.last_sent.clone().filter(|_| probe == Probe::Duplicate);
        let made = spawn_blocking(move || make(probe, &assignment, last)).await;
        let found = made.expect("hashing does not panic");
        let mut extranonce = found.assignment.extranonce.clone();
        if probe == Probe::LongExtranonce {
            extranonce.push(0);
        }
        let job_id = match probe {
            Probe::UnknownJob => UNKNOWN_JOB_ID.to_owned(),
            _ => found.assignment.job_id.clone(),
        };
        Some(ToSubmit {
            found,
            job_id,
            extranonce,
            answer: Some(answer),
        })
    }

    /// The session has sent a share under this number.
    pub(super) fn sent(&mut self, number: u64, share: ToSubmit) {
        let is_block = share.found.is_block();
        self.counters.send_modify(|counters| {
            counters.submitted += 1;
            counters.blocks_submitted += u64::from(is_block);
        });
        if is_block {
            self.tell(Event::Block {
                job_id: share.job_id.clone(),
                hash: share.found.hash.to_string(),
            });
        }
        let pending = Pending {
            job_id: share.job_id,
            hash: share.found.hash,
            is_block,
            answer: share.answer,
        };
        self.last_sent = Some(share.found);
        self.pending.insert(number, pending);
    }

    /// The pool accepts a share.
    pub(super) fn accepted(&mut self, number: u64) {
        let Some(share) = self.pending.remove(&number) else {
            return;
        };
        self.counters.send_modify(|counters| {
            counters.accepted += 1;
            counters.blocks_accepted += u64::from(share.is_block);
        });
        self.tell(Event::Accepted {
            job_id: share.job_id,
            hash: share.hash.to_string(),
        });
        if let Some(answer) = share.answer {
            drop(answer.send(Ok(Outcome::Accepted)));
        }
    }

    /// The pool accepts every share up to a number that it has not refused.
    pub(super) fn accepted_up_to(&mut self, number: u64) {
        let settled: Vec<u64> = self.pending.range(..=number).map(|(n, _)| *n).collect();
        for number in settled {
            self.accepted(number);
        }
    }

    /// The pool refuses a share.
    pub(super) fn rejected(&mut self, number: u64, reason: &str) {
        let Some(share) = self.pending.remove(&number) else {
            return;
        };
        self.counters.send_modify(|counters| {
            *counters.rejected.entry(reason.to_owned()).or_default() += 1;
        });
        self.tell(Event::Rejected {
            job_id: share.job_id,
            hash: share.hash.to_string(),
            reason: reason.to_owned(),
        });
        if let Some(answer) = share.answer {
            drop(answer.send(Ok(Outcome::Rejected(reason.to_owned()))));
        }
    }

    /// Whether the miner has what it was to find.
    pub(super) fn is_done(&self) -> bool {
        let counters = self.counters.borrow();
        let reached = |goal: Option<u64>, count| goal.is_some_and(|goal| count >= goal);
        reached(self.config.shares, counters.accepted)
            || reached(self.config.blocks, counters.blocks_accepted)
    }

    /// A session is over, or could not begin.
    pub(super) fn end(&mut self, reason: &str) {
        self.hasher.assign(None);
        self.session += 1;
        self.current = None;
        self.stale = None;
        self.last_sent = None;
        let unanswered = self.pending.len() as u64;
        for share in std::mem::take(&mut self.pending).into_values() {
            if let Some(answer) = share.answer {
                let lost = anyhow::anyhow!("the connection ended before the answer: {reason}");
                drop(answer.send(Err(lost)));
            }
        }
        self.counters.send_modify(|counters| {
            counters.connected = false;
            counters.unanswered += unanswered;
            counters.last_error = Some(reason.to_owned());
        });
        self.tell(Event::Disconnected {
            reason: reason.to_owned(),
        });
    }

    /// Waits between two sessions. A test that wants to submit is told at once that it can't.
    pub(super) async fn refuse_commands_for(&mut self, pause: Duration) {
        let refuse = async {
            while let Some(command) = self.commands.recv().await {
                drop(command.answer.send(Err(anyhow::anyhow!("not connected"))));
            }
            std::future::pending::<()>().await;
        };
        // Elapsed is what is waited for.
        tokio::time::timeout(pause, refuse)
            .await
            .unwrap_or_default();
    }

    fn tell(&self, event: Event) {
        if let Some(events) = &self.config.events {
            // Whoever does not keep up misses events, not the miner its work.
            drop(events.try_send(event));
        }
    }
}

/// The share that a probe asks for. Everything but the fault asked for is right, so that the pool's answer is about that.
fn make(probe: Probe, assignment: &Arc<Assignment>, last: Option<Found>) -> Found {
    if let Some(found) = last {
        return found;
    }
    let mut header = assignment.header;
    header.nonce = rand::random();
    match probe {
        Probe::FutureTime => header.ntime += FUTURE_S,
        Probe::WrongVersion => header.version ^= FIXED_VERSION_BIT,
        Probe::Valid
        | Probe::Duplicate
        | Probe::WrongNonce
        | Probe::Stale
        | Probe::UnknownJob
        | Probe::LongExtranonce => {}
    }
    let (header, hash) = match probe {
        Probe::WrongNonce => miss(header, assignment),
        _ => solve(header, &assignment.target),
    };
    Found {
        assignment: Arc::clone(assignment),
        header,
        hash,
    }
}

fn miss(mut header: hh_mining::Header, assignment: &Assignment) -> (hh_mining::Header, BlockHash) {
    loop {
        let hash = header.hash();
        if !assignment.target.is_met_by(&hash) {
            return (header, hash);
        }
        super::hasher::advance(&mut header);
    }
}
