//! A CPU miner that speaks SV1 and SV2 and really hashes: what devnet mines with, and what tests mine with in their own
//! process.
//!
//! It owns the rig (a throttled hasher, counters, what was submitted and not answered yet) and connects again for ever; the
//! protocols are in [`sv1`] and [`sv2`]. It obeys its pool and finds nothing out about it by itself: a test that wants a wrong
//! share asks for it by [`Miner::submit`].

pub mod hasher;
mod rig;
mod sv1;
mod sv2;
#[cfg(test)]
mod tests;
mod url;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hh_mining::BlockHash;
use rig::{Command, Rig};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use url::{MinerUrl, MinerUrlError};

/// First pause before connecting again; it doubles each time that no job came.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest pause: tests and devnet wait for a miner after they restarted its pool.
const RETRY_LAST: Duration = Duration::from_secs(5);

/// Commands of a test that may wait: it submits one share at a time.
const COMMANDS: usize = 16;

/// What kind of work an SV2 miner asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ChannelKind {
    /// A standard channel, and standard jobs only (`REQUIRES_STANDARD_JOBS`).
    Standard,
    /// A standard channel that takes the extended jobs of its group.
    Group,
    /// An extended channel.
    Extended,
}

/// What a miner is to do.
#[derive(Debug, Clone)]
pub struct MinerConfig {
    pub url: MinerUrl,
    /// `user_identity` of SV2, user name of SV1.
    pub user: String,
    /// For SV2 only.
    pub channel: ChannelKind,
    /// Hashes per second at most. 0 hashes nothing: only [`Miner::submit`] does then.
    pub hashrate_hs: u64,
    /// Ends when so many shares are accepted.
    pub shares: Option<u64>,
    /// Ends when so many blocks are accepted.
    pub blocks: Option<u64>,
    /// Gets every event; those that find it full are dropped.
    pub events: Option<mpsc::Sender<Event>>,
}

impl MinerConfig {
    /// A miner on a standard channel with 100,000 hashes a second, without an end.
    #[must_use]
    pub fn new(url: MinerUrl, user: &str) -> Self {
        Self {
            url,
            user: user.to_owned(),
            channel: ChannelKind::Standard,
            hashrate_hs: 100_000,
            shares: None,
            blocks: None,
            events: None,
        }
    }
}

/// What happened, as `hh-miner` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Connected {
        peer: String,
        user: String,
        /// What the pool fixed of the extranonce, hex.
        extranonce_prefix: String,
        difficulty: f64,
    },
    Job {
        job_id: String,
        /// The block to build on, as Bitcoin Core prints it.
        prev_hash: String,
        new_tip: bool,
        difficulty: f64,
    },
    Accepted {
        job_id: String,
        hash: String,
    },
    Rejected {
        job_id: String,
        hash: String,
        reason: String,
    },
    /// A share that meets the network's target was submitted.
    Block {
        job_id: String,
        hash: String,
    },
    Disconnected {
        reason: String,
    },
}

/// What became of everything so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    /// Sessions in which a channel was opened or a user authorized.
    pub sessions: u64,
    /// Whether such a session is up.
    pub connected: bool,
    pub jobs: u64,
    /// The block that is being built on.
    pub prev_hash: Option<BlockHash>,
    /// Difficulty of the current job.
    pub difficulty: f64,
    pub submitted: u64,
    pub accepted: u64,
    /// By the pool's reason: SV2's error code, or SV1's number and text.
    pub rejected: BTreeMap<String, u64>,
    pub blocks_submitted: u64,
    /// Blocks whose share was accepted. What became of the block the pool knows.
    pub blocks_accepted: u64,
    /// Shares whose connection ended before they were answered.
    pub unanswered: u64,
    /// Why the last session ended or could not begin.
    pub last_error: Option<String>,
}

impl Counters {
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// A share to submit in place of what hashing finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A new share that is right in everything.
    Valid,
    /// The share submitted last, once more (a valid one first, where there is none).
    Duplicate,
    /// A nonce whose hash misses the target.
    WrongNonce,
    /// A share for the last job on the block before.
    Stale,
    /// A job that was never sent.
    UnknownJob,
    /// A time three hours ahead.
    FutureTime,
    /// A version bit that may not be rolled.
    WrongVersion,
    /// An extranonce that is a byte too long. A standard channel submits none.
    LongExtranonce,
}

/// What the pool said to a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// With the pool's reason, as in [`Counters::rejected`].
    Rejected(String),
}

/// A running miner. It stops when it is dropped.
#[derive(Debug)]
pub struct Miner {
    counters: watch::Receiver<Counters>,
    hashes: Arc<AtomicU64>,
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Miner {
    /// Starts a miner in a task of this runtime and a thread that hashes.
    #[must_use]
    pub fn start(config: MinerConfig) -> Self {
        let (counted, counters) = watch::channel(Counters::default());
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let rig = Rig::new(config, counted, commanded);
        let hashes = rig.hashes();
        tasks.spawn(mine(rig, stop.clone()));
        tasks.close();
        Self {
            counters,
            hashes,
            commands,
            stop,
            tasks,
        }
    }

    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.borrow().clone()
    }

    /// How many hashes it has made.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Waits until the counters are as `condition` says, and returns them.
    ///
    /// # Panics
    /// With `what` and the counters when `deadline` has passed.
    pub async fn wait_for(
        &self,
        what: &str,
        deadline: Duration,
        condition: impl FnMut(&Counters) -> bool,
    ) -> Counters {
        let mut counters = self.counters.clone();
        let met = tokio::time::timeout(deadline, counters.wait_for(condition)).await;
        match met {
            Ok(Ok(counters)) => counters.clone(),
            _ => panic!(
                "the miner waited {} s in vain for: {what}; {:?}",
                deadline.as_secs(),
                self.counters()
            ),
        }
    }

    /// Submits a chosen share in the session that is up, and gives the pool's answer.
    ///
    /// # Errors
    /// The miner has no work (for [`Probe::Stale`]: saw no other block before), or lost its connection before the answer.
    pub async fn submit(&self, probe: Probe) -> anyhow::Result<Outcome> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command { probe, answer }).await?;
        answered.await?
    }

    /// Waits until the miner has the shares or blocks that its configuration asks for.
    pub async fn finished(&self) {
        self.tasks.wait().await;
    }

    /// Closes the connection and tells what became of everything.
    pub async fn stop(self) -> Counters {
        self.stop.cancel();
        self.tasks.wait().await;
        self.counters()
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How a session ended that did not fail.
enum Ended {
    /// The miner has all that it was to find.
    Done,
    /// The pool asks to connect to another place.
    Moved(MinerUrl),
}

/// Sessions, one after the other.
async fn mine(mut rig: Rig, stop: CancellationToken) {
    let mut url = rig.config.url.clone();
    let mut pause = RETRY_FIRST;
    loop {
        let jobs = rig.jobs();
        match stop.run_until_cancelled(session(&mut rig, &url)).await {
            None => return rig.end("stopped"),
            Some(Ok(Ended::Done)) => return rig.end("done"),
            Some(Ok(Ended::Moved(to))) => {
                rig.end(&format!("the pool asks to connect to {to}"));
                url = to;
            }
            Some(Err(error)) => {
                rig.end(&format!("{error:#}"));
                // Where a Reconnect led to may be gone; the configured place is where to begin.
                url = rig.config.url.clone();
            }
        }
        if rig.jobs() > jobs {
            pause = RETRY_FIRST;
        }
        let waited = stop.run_until_cancelled(rig.refuse_commands_for(pause));
        if waited.await.is_none() {
            return;
        }
        pause = (pause * 2).min(RETRY_LAST);
    }
}

async fn session(rig: &mut Rig, url: &MinerUrl) -> anyhow::Result<Ended> {
    match url {
        MinerUrl::StratumV1 { address } => sv1::mine(rig, address).await,
        MinerUrl::StratumV2 { address, authority } => {
            sv2::mine(rig, address, authority.as_ref()).await
        }
    }
}
