//! A new block: how long until every miner has work on it, from the moment at which the node says that it has the block.

use super::client::{Arrivals, Client, ClientError};
use super::connects::connect;
use super::report::{Figures, Row};
use super::samples::Samples;
use super::server::{Server, Stage};
use super::shares::{self, CONNECTIONS};
use crate::bitcoin_core::BitcoinCore;
use bitcoincore_rpc::RpcApi;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Between two blocks: everything is at rest again.
const PAUSE: Duration = Duration::from_millis(500);

/// Whoever has no work by then counts with this time.
const ARRIVAL_MAX: Duration = Duration::from_secs(5);

/// How often the arrivals are counted.
const LOOK: Duration = Duration::from_millis(20);

/// The node answers `waitfornewblock` after so long even where there is none.
const WAIT_MS: u64 = 1_000;

/// Blocks that wait to be looked at.
const BLOCKS: usize = 16;

/// The blocks of one node, each with the moment at which the node told of it.
#[derive(Debug)]
pub struct BlockWatch {
    blocks: mpsc::Receiver<(bitcoin::BlockHash, Instant)>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Deserialize)]
struct NewBlock {
    hash: bitcoin::BlockHash,
}

impl BlockWatch {
    /// Watches from now on, on a thread of its own.
    #[must_use]
    pub fn start(node: &BitcoinCore) -> Self {
        let client = node.rpc();
        let mut tip = node.tip();
        let (sender, blocks) = mpsc::channel(BLOCKS);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let arguments = [WAIT_MS.into(), tip.to_string().into()];
                let answer = client.call::<NewBlock>("waitfornewblock", &arguments);
                let now = Instant::now();
                let Ok(block) = answer else { return };
                if block.hash != tip {
                    tip = block.hash;
                    if sender.blocking_send((tip, now)).is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            blocks,
            stop,
            thread: Some(thread),
        }
    }

    /// Lets the node make a block by `make`, and waits until it tells of it.
    ///
    /// # Panics
    /// If the node makes none.
    pub async fn make_block(
        &mut self,
        make: impl FnOnce() + Send + 'static,
    ) -> ([u8; 32], Instant) {
        let making = tokio::task::spawn_blocking(make);
        let told = tokio::time::timeout(ARRIVAL_MAX, self.blocks.recv());
        let (hash, at) = told
            .await
            .expect("the node tells of a block in time")
            .expect("the node answers");
        making.await.expect("the node makes a block");
        (*AsRef::<[u8; 32]>::as_ref(&hash), at)
    }
}

impl Drop for BlockWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends within a second; a panic of its is the node's end, which has been seen.
            thread.join().ok();
        }
    }
}

/// Makes `count` blocks while `connections` miners are there that say nothing.
///
/// # Errors
/// The server refuses.
///
/// # Panics
/// If the node makes no block.
pub async fn new_blocks(
    server: &Server,
    stage: &Stage,
    connections: usize,
    count: usize,
) -> Result<Figures, ClientError> {
    let samples = measure(server, stage, connections, count, 0).await?;
    Ok(vec![
        (Row::NewBlockP50, samples.percentile_ms(50)),
        (Row::NewBlockP99, samples.percentile_ms(99)),
    ])
}

/// The same while some of the miners send shares, which shows delays that silence hides.
///
/// # Errors
/// The server refuses.
///
/// # Panics
/// If the node makes no block.
pub async fn new_blocks_under_shares(
    server: &Server,
    stage: &Stage,
    connections: usize,
    count: usize,
) -> Result<Figures, ClientError> {
    let samples = measure(server, stage, connections, count, CONNECTIONS).await?;
    Ok(vec![
        (Row::LoadedBlockP50, samples.percentile_ms(50)),
        (Row::LoadedBlockP99, samples.percentile_ms(99)),
    ])
}

async fn measure(
    server: &Server,
    stage: &Stage,
    connections: usize,
    count: usize,
    busy: usize,
) -> Result<Samples, ClientError> {
    let (_, mut clients) = connect(server, connections).await?;
    let arrivals = Arc::new(Arrivals::default());
    for client in &mut clients {
        client.note_arrivals(&arrivals);
    }
    let silent = clients.split_off(busy);
    let mut listening = JoinSet::new();
    for client in silent {
        listening.spawn(listen(client));
    }
    let _load = shares::pace_until_dropped(clients);
    Ok(sample(stage, &arrivals, connections, count).await)
}

/// Makes `count` blocks, and takes when each of `connections` clients noted them.
///
/// # Panics
/// If the node makes no block.
pub(super) async fn sample(
    stage: &Stage,
    arrivals: &Arrivals,
    connections: usize,
    count: usize,
) -> Samples {
    let mut watch = BlockWatch::start(&stage.node);
    let mut samples = Samples::default();
    for _ in 0..count {
        tokio::time::sleep(PAUSE).await;
        let client = stage.node.rpc();
        let (hash, told_at) = watch.make_block(move || generate(&client)).await;
        let arrived = arrived(arrivals, hash, connections).await;
        for at in &arrived {
            samples.push(at.saturating_duration_since(told_at));
        }
        for _ in arrived.len()..connections {
            samples.push(ARRIVAL_MAX);
        }
    }
    samples
}

/// Makes one block with what is in the mempool.
///
/// # Panics
/// If the node refuses.
pub(super) fn generate(client: &bitcoincore_rpc::Client) {
    let address = crate::bitcoin_core::anyone_can_spend(crate::bitcoin_core::Chain::Regtest);
    let arguments = [1.into(), address.to_string().into()];
    client
        .call::<Vec<bitcoin::BlockHash>>("generatetoaddress", &arguments)
        .expect("the node makes a block");
}

async fn listen(mut client: Client) -> Result<(), ClientError> {
    loop {
        client.receive().await?;
    }
}

/// When each had work on the block; waits for `count` of them, but no longer than [`ARRIVAL_MAX`].
async fn arrived(arrivals: &Arrivals, hash: [u8; 32], count: usize) -> Vec<Instant> {
    let start = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let arrived = arrivals.on(hash);
        if arrived.len() >= count || start.elapsed() > ARRIVAL_MAX {
            return arrived;
        }
    }
}
