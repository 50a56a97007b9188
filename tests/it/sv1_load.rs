//! SV1 miners that load a translator at a given pace, connect again for ever, and remember what they were told.

use hh_mining::BlockHash;
use hh_tests::bitcoin_core::Chain;
use hh_tests::network::Network;
use hh_tests::sv1::{Session, Share, Sv1Error};
use hh_tests::wait::wait_until;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Shares that a miner sends before it waits for answers.
const WINDOW: usize = 40;

/// For a translator to take miners, or shares, again: its pauses grow to half a minute.
const DEADLINE: Duration = Duration::from_secs(120);

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(50);

/// A network whose vardiff lets a miner send as fast as it likes, and leaves its shares easy.
pub(crate) async fn easy_network() -> Network {
    let mut network = Network::start(Chain::Signet).await;
    let config = network.pool_config();
    let flooded = config.replace("[vardiff]", "[vardiff]\nshares_per_minute = 60000.0");
    network.pool.write_config(&flooded);
    network.pool.restart();
    network.pool.wait_until_ready().await;
    network
}

/// How many there are, and how hard they work.
#[derive(Clone, Copy)]
pub(crate) struct Crew {
    pub miners: usize,
    /// Between two shares of a miner.
    pub pause: Duration,
}

/// What the miners were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Connections that were made.
    pub sessions: usize,
    pub accepted: Vec<BlockHash>,
    /// With SV1's number and text.
    pub refused: Vec<(BlockHash, String)>,
    /// Sent, and cut off before the answer.
    pub in_flight: Vec<BlockHash>,
    /// The longest wait for an answer.
    pub slowest: Duration,
}

impl Told {
    /// The shares that were refused for a reason with `text` in it.
    pub(crate) fn refused_for(&self, text: &str) -> Vec<BlockHash> {
        let of_reason = self
            .refused
            .iter()
            .filter(|(_, reason)| reason.contains(text));
        of_reason.map(|(hash, _)| *hash).collect()
    }
}

/// See the module.
pub(crate) struct Sv1Load {
    miner: Miner,
    running: JoinSet<()>,
}

#[derive(Clone)]
struct Miner {
    address: SocketAddr,
    pause: Duration,
    /// Shares of all miners.
    accepted: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    told: Arc<Mutex<Told>>,
    stop: CancellationToken,
}

impl Sv1Load {
    pub(crate) fn start(address: SocketAddr, crew: Crew) -> Self {
        let miner = Miner {
            address,
            pause: crew.pause,
            accepted: Arc::default(),
            refused: Arc::default(),
            told: Arc::default(),
            stop: CancellationToken::new(),
        };
        let mut running = JoinSet::new();
        for number in 0..crew.miners {
            running.spawn(miner.clone().mine(number));
        }
        Self { miner, running }
    }

    /// Waits until so many shares more are accepted.
    pub(crate) async fn wait_for_accepted(&self, shares: u64) {
        wait_for_more(&self.miner.accepted, shares, "accepted").await;
    }

    /// Waits until so many shares more are refused.
    pub(crate) async fn wait_for_refused(&self, shares: u64) {
        wait_for_more(&self.miner.refused, shares, "refused").await;
    }

    /// Ends it once all that was sent is answered, and tells what the miners were told.
    pub(crate) async fn end(mut self) -> Told {
        self.miner.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.expect("a miner does not panic");
        }
        std::mem::take(&mut *self.miner.told.lock().expect("nobody panics with it"))
    }
}

/// The deadline begins anew with each share, for a wait may be long.
async fn wait_for_more(count: &AtomicU64, shares: u64, what: &str) {
    let enough = count.load(Ordering::Relaxed) + shares;
    loop {
        let before = count.load(Ordering::Relaxed);
        if before >= enough {
            return;
        }
        wait_until(&format!("shares are {what}"), DEADLINE, async || {
            count.load(Ordering::Relaxed) > before
        })
        .await;
    }
}

impl Miner {
    async fn mine(self, number: usize) {
        let user = format!("load.miner{number}");
        let mut cut_off = Vec::new();
        while !self.stop.is_cancelled() {
            let open = tokio::time::timeout(DEADLINE, self.open(&user));
            let mut session = open.await.expect("the translator takes miners");
            // How it ended shows in what there is to tell of it.
            self.work(&mut session, &cut_off).await.ok();
            cut_off = session.in_flight();
            self.take(session);
        }
    }

    /// Connects, when there is a translator.
    async fn open(&self, user: &str) -> Session {
        let mut again = tokio::time::interval(AGAIN);
        loop {
            again.tick().await;
            if let Ok(session) = Session::open(self.address, user).await {
                return session;
            }
        }
    }

    /// Sends what an earlier session was cut off with, as some firmware does, and then its own shares.
    async fn work(&self, session: &mut Session, again: &[Share]) -> Result<(), Sv1Error> {
        for share in again {
            session.resend(share).await?;
        }
        let mut pace = tokio::time::interval(self.pause);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.is_cancelled() {
            let before = (session.accepted.len(), session.refused.len());
            let has_room = session.waiting() < WINDOW;
            tokio::select! {
                () = self.stop.cancelled() => {}
                received = session.receive() => received?,
                _ = pace.tick(), if has_room => session.submit(1).await?,
            }
            let count =
                |count: &AtomicU64, more: usize| count.fetch_add(more as u64, Ordering::Relaxed);
            count(&self.accepted, session.accepted.len() - before.0);
            count(&self.refused, session.refused.len() - before.1);
        }
        session.settle(0).await
    }

    fn take(&self, session: Session) {
        let mut told = self.told.lock().expect("nobody panics with it");
        told.sessions += 1;
        told.in_flight
            .extend(session.in_flight().iter().map(|share| share.hash));
        told.slowest = told.slowest.max(session.slowest);
        told.accepted.extend(session.accepted);
        told.refused.extend(session.refused);
    }
}
