//! A pool whose disk is full, fails or takes seconds for a sync: it mines on, says so, loses nothing that it acknowledged,
//! and its blocks are on the chain all the same.

use crate::crash::check_ledger;
use hh_ipc::api::pool::ShareLogStatus;
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::{Channel, OpenError};
use hh_tests::disk::{SmallDisk, tamper};
use hh_tests::network::{CALL, Network};
use hh_tests::wait::wait_until;
use std::time::Duration;

/// Shares sent at once.
const BATCH: usize = 100;

/// Small segments, so that a test can fill one; room for two of them, the block journal's reserve and a small ledger.
const DISK_MIB: u32 = 32;

const DEADLINE: Duration = Duration::from_secs(120);

async fn open(network: &Network, identity: &str) -> Result<Channel, OpenError> {
    Channel::open(network.pool_address, &network.pool_key, identity).await
}

async fn share_log(network: &Network) -> ShareLogStatus {
    let status = network.pool.pool().await.status(within(CALL)).await;
    status.expect("hh-pool answers").share_log
}

/// Sends shares until the pool says of its share log what `is_so` waits for.
async fn load_until(
    network: &Network,
    channel: &mut Channel,
    is_so: impl Fn(&ShareLogStatus) -> bool,
) {
    let load = async {
        while !is_so(&share_log(network).await) {
            channel.submit(BATCH).await.expect("the pool reads on");
            // Its answers to these may never come, those to earlier ones have.
            let answered = channel.settle(BATCH);
            tokio::time::timeout(Duration::from_millis(100), answered)
                .await
                .map_or(Ok(()), |answered| answered)
                .expect("the pool is there");
        }
    };
    tokio::time::timeout(DEADLINE, load)
        .await
        .expect("the share log gets to what is waited for");
}

/// Sends shares in many writes until the pool refuses to hold one more of this connection.
async fn flood_until_refused(channel: &mut Channel) {
    let before = channel.refused.len();
    let flood = async {
        while channel.refused.len() == before {
            channel.submit(BATCH / 5).await.expect("the pool reads on");
            // Takes the answers that are there.
            let answered = channel.settle(0);
            tokio::time::timeout(Duration::from_millis(1), answered)
                .await
                .map_or(Ok(()), |answered| answered)
                .expect("the pool is there");
        }
    };
    tokio::time::timeout(DEADLINE, flood)
        .await
        .expect("what is held has a limit");
}

/// A network whose pool writes to a disk of its own, and whose shares stay easy whatever the load: blocks that it finds would
/// take the block journal's reserves.
async fn on_small_disk() -> Option<(Network, SmallDisk)> {
    let mut network = Network::start(Chain::Signet).await;
    network.pool.kill();
    let Some(disk) = SmallDisk::mount(&network.dir().join("pool"), DISK_MIB) else {
        crate::say("skipped: no file system can be mounted here");
        return None;
    };
    let config = network.pool_config();
    let easy = "min_difficulty = 1e-9\nmax_difficulty = 1e-9";
    let config = config.replace("min_difficulty = 1e-7", easy);
    network
        .pool
        .write_config(&format!("{config}\n[share_log]\nsegment_mib = 1\n"));
    network.pool.restart();
    network.pool.wait_until_ready().await;
    Some((network, disk))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_on_a_full_disk_mines_on_and_acknowledges_when_there_is_room() {
    // The disk is dropped before the directory that it lies in.
    let Some((network, disk)) = on_small_disk().await else {
        return;
    };
    let mut channel = open(&network, "full.disk").await.expect("there is room");
    channel.submit(BATCH).await.expect("the pool is there");
    channel.settle(0).await.expect("the pool is there");
    disk.fill();

    // It says so while there is a segment left, and again when there is none.
    load_until(&network, &mut channel, |log| log.warning.is_some()).await;
    load_until(&network, &mut channel, |log| log.last_error.is_some()).await;
    network.pool.wait_for_log("share log is not writable").await;

    // New blocks get to the miner, and his to the chain. Who comes now is told to go elsewhere.
    let tip = channel.prev_hash();
    network.node.generate(1);
    channel.wait_for_new_block(tip).await.expect("jobs go on");
    let refused = open(&network, "later.disk").await;
    assert!(matches!(refused, Err(OpenError::Refused(_))), "{refused:?}");
    let block = channel.submit_block().await.expect("the pool reads on");
    wait_until_on_chain(&network, &block.to_string()).await;

    // What is more than can be held is refused, and what is held is acknowledged when there is room.
    let tip = channel.prev_hash();
    channel.wait_for_new_block(tip).await.expect("jobs go on");
    flood_until_refused(&mut channel).await;
    // Those that were held for too long are refused as well.
    while share_log(&network).await.waiting_records == 0 {
        flood_until_refused(&mut channel).await;
    }
    let before = channel.acknowledged.len();
    disk.make_room();
    channel.settle(0).await.expect("every share gets an answer");
    assert!(channel.acknowledged.len() > before, "{:?}", channel.refused);
    network.pool.wait_for_log("writable again").await;
    let known = ["share-not-stored", "stale-share"];
    let unknown = channel
        .refused
        .iter()
        .filter(|(_, code)| !known.contains(&&**code));
    assert_eq!(unknown.count(), 0, "{:?}", channel.refused);
    open(&network, "later.disk").await.expect("there is room");

    network.wait_until_shipped().await;
    check_ledger(&network.ledger(), &channel.acknowledged, &[]).await;
}

/// Files of the pool's block journal with this at the end of their names.
fn journal_files(network: &Network, suffix: &str) -> Vec<String> {
    let dir = network.dir().join("pool/blocks");
    let files = std::fs::read_dir(dir).expect("the pool has a block journal");
    let names = files.map(|file| file.expect("it can be listed").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(suffix)).collect()
}

async fn wait_until_on_chain(network: &Network, hash: &str) {
    wait_until("the block is on the chain", DEADLINE, async || {
        network.node.tip().to_string() == hash
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_found_on_a_full_disk_is_journalled_and_its_refused_share_logged_after_a_crash() {
    let Some((mut network, disk)) = on_small_disk().await else {
        return;
    };
    let reserves =
        || journal_files(&network, "reserve-0").len() + journal_files(&network, "reserve-1").len();
    wait_until("the journal has its reserve", DEADLINE, async || {
        reserves() == 2
    })
    .await;
    let mut channel = open(&network, "full.block").await.expect("there is room");
    disk.fill();
    load_until(&network, &mut channel, |log| log.last_error.is_some()).await;
    flood_until_refused(&mut channel).await;
    let block = channel.submit_block().await.expect("the pool reads on");
    let hash = block.to_string();
    wait_until_on_chain(&network, &hash).await;
    wait_until("the block is journalled", DEADLINE, async || {
        journal_files(&network, &format!("{hash}.block")).len() == 1
    })
    .await;
    let refused = async {
        while !channel.refused.iter().any(|(hash, _)| *hash == block) {
            channel
                .settle(channel.in_flight().len() - 1)
                .await
                .expect("the pool answers");
        }
    };
    tokio::time::timeout(DEADLINE, refused)
        .await
        .expect("its share is refused");

    network.pool.kill();
    disk.make_room();
    network.pool.restart();
    network.pool.wait_until_ready().await;
    wait_until("its share is in the ledger", DEADLINE, async || {
        !shares_of(&network, block).await.is_empty()
    })
    .await;
    let shares = shares_of(&network, block).await;
    assert_eq!(shares.len(), 1);
    assert!(shares[0].is_block);
    assert_eq!(
        (shares[0].origin.account(), shares[0].origin.worker()),
        ("full", "block")
    );
    network.wait_until_shipped().await;
    let in_flight = channel
        .refused
        .iter()
        .map(|(hash, _)| *hash)
        .chain(channel.in_flight());
    let in_flight: Vec<_> = in_flight.collect();
    check_ledger(&network.ledger(), &channel.acknowledged, &in_flight).await;
}

async fn shares_of(network: &Network, hash: hh_mining::BlockHash) -> Vec<hh_ledger::ShareRow> {
    let shares = network.ledger().shares_by_hash(hash).await;
    // The pool may not have opened it yet.
    shares.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_seconds_for_a_sync_does_not_hold_a_block_up() {
    const SYNC_MICROSECONDS: u32 = 5_000_000;
    let network = Network::start(Chain::Signet).await;
    let mut channel = open(&network, "slow.disk")
        .await
        .expect("the pool is there");
    let slow = tamper(
        network.pool.process(),
        "fdatasync,fsync",
        &format!("delay_enter={SYNC_MICROSECONDS}"),
        network.dir(),
    )
    .await;
    let block = channel.submit_block().await.expect("the pool is there");
    wait_until_on_chain(&network, &block.to_string()).await;
    let answered = tokio::time::timeout(Duration::ZERO, channel.settle(0)).await;
    assert!(
        answered.is_err(),
        "the share is acknowledged before it can be durable"
    );
    channel.settle(0).await.expect("the pool answers");
    assert_eq!(channel.acknowledged, [block]);
    slow.terminate(DEADLINE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_disk_failed_to_sync_is_written_again_elsewhere_before_it_is_acknowledged() {
    let network = Network::start(Chain::Signet).await;
    let mut channel = open(&network, "ill.disk").await.expect("the pool is there");
    channel.submit(BATCH).await.expect("the pool is there");
    channel.settle(0).await.expect("the pool is there");
    let ill = tamper(
        network.pool.process(),
        "fdatasync,fsync",
        "error=EIO",
        network.dir(),
    )
    .await;
    load_until(&network, &mut channel, |log| {
        let error = log.last_error.as_deref();
        error.is_some_and(|error| error.contains("Input/output error"))
    })
    .await;
    let before = channel.acknowledged.len();
    channel.submit(BATCH).await.expect("the pool reads on");
    ill.terminate(DEADLINE);
    channel.settle(0).await.expect("every share gets an answer");
    assert!(channel.acknowledged.len() >= before + BATCH);
    network.wait_until_shipped().await;
    check_ledger(&network.ledger(), &channel.acknowledged, &[]).await;
}
