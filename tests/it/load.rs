//! Miners that load a pool all the time, connect again for ever, and remember what they were told.

use hh_mining::BlockHash;
use hh_sv2::AuthorityPublicKey;
use hh_tests::channel::Channel;
use hh_tests::network::Network;
use hh_tests::wait::{wait_for, wait_until};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Shares that each miner has without an answer, nearly always.
const WINDOW: usize = 40;

/// For a pool to take miners, or shares, again.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the miners were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub acknowledged: Vec<BlockHash>,
    /// Sent, and cut off before the answer.
    pub in_flight: Vec<BlockHash>,
    /// With the pool's code.
    pub refused: Vec<(BlockHash, String)>,
}

/// See the module.
pub(crate) struct Load {
    miner: Miner,
    threads: Vec<JoinHandle<()>>,
}

/// What one of the miners has, and a test that mines along with them.
#[derive(Clone)]
pub(crate) struct Miner {
    address: SocketAddr,
    key: AuthorityPublicKey,
    /// Shares of all miners that were acknowledged.
    count: Arc<AtomicU64>,
    told: Arc<Mutex<Told>>,
    stop: CancellationToken,
}

impl Load {
    /// So many connections, each with a thread of its own, because a miner hashes.
    pub(crate) fn start(network: &Network, connections: usize) -> Self {
        let miner = Miner {
            address: network.pool_address,
            key: network.pool_key,
            count: Arc::default(),
            told: Arc::default(),
            stop: CancellationToken::new(),
        };
        let start = |number| {
            let miner = miner.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let mining = miner.mine(number);
                runtime.expect("a runtime can be made").block_on(mining);
            })
        };
        let threads = (0..connections).map(start).collect();
        Self { miner, threads }
    }

    pub(crate) fn miner(&self) -> &Miner {
        &self.miner
    }

    /// Waits until so many shares more are acknowledged.
    pub(crate) async fn wait_for_shares(&self, shares: u64) {
        let count = || self.miner.count.load(Ordering::Relaxed);
        let enough = count() + shares;
        wait_until("shares are acknowledged", DEADLINE, async || {
            count() >= enough
        })
        .await;
    }

    /// Ends it, and tells what the miners were told. Blocks until the pool has answered what it was sent.
    pub(crate) fn end(&mut self) -> Told {
        self.miner.stop.cancel();
        for thread in self.threads.drain(..) {
            thread.join().expect("a miner does not panic");
        }
        std::mem::take(&mut *self.miner.told.lock().expect("nobody panics with it"))
    }
}

impl Miner {
    async fn mine(self, number: usize) {
        let identity = format!("load.miner{number}");
        while !self.stop.is_cancelled() {
            let mut channel = self.open(&identity).await;
            while self.batch(&mut channel).await.is_ok() {}
            self.take(channel);
        }
    }

    /// Opens a channel, when there is a pool.
    pub(crate) async fn open(&self, identity: &str) -> Channel {
        wait_for("the pool takes miners", DEADLINE, async || {
            Channel::open(self.address, &self.key, identity).await.ok()
        })
        .await
    }

    /// Sends some shares and takes answers. An error ends the connection, as the end of the load does.
    async fn batch(&self, channel: &mut Channel) -> Result<(), ()> {
        let before = channel.acknowledged.len();
        let goes_on = !self.stop.is_cancelled() && channel.submit(WINDOW / 4).await.is_ok();
        // What the pool had sent before it was killed is still received.
        let settled = channel.settle(if goes_on { WINDOW } else { 0 }).await;
        let news = channel.acknowledged.len() - before;
        self.count.fetch_add(news as u64, Ordering::Relaxed);
        if goes_on {
            settled.or(Err(()))
        } else {
            Err(())
        }
    }

    /// Adds what a channel was told to what all were told.
    pub(crate) fn take(&self, channel: Channel) {
        let mut told = self.told.lock().expect("nobody panics with it");
        told.in_flight.extend(channel.in_flight());
        told.acknowledged.extend(channel.acknowledged);
        told.refused.extend(channel.refused);
    }
}
