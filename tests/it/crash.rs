//! What a miner was told stays true: through `kill -9`, and by the order of the system calls.

use futures::future::{join, join_all};
use hh_ledger::LedgerReader;
use hh_mining::BlockHash;
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::Channel;
use hh_tests::disk::attach;
use hh_tests::network::Network;
use hh_tests::syscalls::{CALLS, answers_after_syncs};
use hh_tests::wait::{wait_for, wait_until};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// Connections that load the pool at a kill.
const CONNECTIONS: usize = 4;

/// Shares that each of them has without an answer, nearly always.
const WINDOW: usize = 40;

/// Shares acknowledged in a round before the kill.
const SHARES_A_ROUND: u64 = 500;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_share_is_in_the_ledger_once_after_kill_9_under_load() {
    let rounds = if hh_tests::all() { 20 } else { 3 };
    let mut network = Network::start(Chain::Signet).await;
    // Or vardiff slows the load down to eighteen shares a minute, from the first block on.
    let config = network.pool_config();
    let flooded = config.replace("[vardiff]", "[vardiff]\nshares_per_minute = 60000.0");
    network.pool.write_config(&flooded);
    network.pool.restart();
    network.pool.wait_until_ready().await;
    let mut acknowledged = Vec::new();
    let mut in_flight = Vec::new();
    for round in 0..rounds {
        for channel in load_until_killed(&network, round).await {
            let refusals: Vec<&str> = channel.refused.iter().map(|(_, code)| &**code).collect();
            // One share in ten thousand is a block, and those on the tip before it are late.
            assert!(
                refusals.iter().all(|code| *code == "stale-share"),
                "{refusals:?}"
            );
            in_flight.extend(channel.in_flight());
            acknowledged.extend(channel.acknowledged);
        }
        network.pool.restart();
        network.pool.wait_until_ready().await;
    }
    assert!(!in_flight.is_empty(), "no kill came under load");
    network.wait_until_shipped().await;
    check_ledger(&network.ledger(), &acknowledged, &in_flight).await;
}

/// Opens channels, loads them, and kills the pool in the middle of it.
async fn load_until_killed(network: &Network, round: u32) -> Vec<Channel> {
    let acknowledged = Cell::new(0);
    let channels = join_all((0..CONNECTIONS).map(async |connection| {
        let identity = format!("crash.r{round}c{connection}");
        Channel::open(network.pool_address, &network.pool_key, &identity)
            .await
            .expect("the pool takes miners")
    }))
    .await;
    let load = join_all(channels.into_iter().map(async |mut channel| {
        // Until the pool is gone; what it had sent before that is still received.
        loop {
            let before = channel.acknowledged.len();
            let sent = channel.submit(WINDOW / 4).await;
            let settled = channel.settle(if sent.is_ok() { WINDOW } else { 0 }).await;
            let news = u64::try_from(channel.acknowledged.len() - before).expect("a count");
            acknowledged.set(acknowledged.get() + news);
            if settled.is_err() {
                return channel;
            }
        }
    }));
    let kill = async {
        wait_until("shares are acknowledged", DEADLINE, async || {
            acknowledged.get() >= SHARES_A_ROUND
        })
        .await;
        network.pool.kill();
    };
    join(load, kill).await.0
}

/// Every acknowledged share once; beside those only what was in flight at a kill, and also once.
pub(crate) async fn check_ledger(
    ledger: &LedgerReader,
    acknowledged: &[BlockHash],
    in_flight: &[BlockHash],
) {
    let mut times: BTreeMap<BlockHash, u32> = BTreeMap::new();
    for log in ledger.logs().await.expect("the ledger can be read") {
        let shares = ledger
            .shares(log.epoch, 0, usize::MAX >> 1)
            .await
            .expect("the ledger can be read");
        for share in shares {
            *times.entry(share.hash).or_default() += 1;
        }
    }
    let lost = acknowledged.iter().filter(|hash| !times.contains_key(hash));
    assert_eq!(lost.count(), 0, "acknowledged shares are missing");
    assert!(
        times.values().all(|count| *count == 1),
        "a share is there twice"
    );
    for hash in acknowledged.iter().chain(in_flight) {
        times.remove(hash);
    }
    assert!(
        times.is_empty(),
        "shares that nobody sent: {:?}",
        times.keys()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_leaves_before_the_fdatasync_that_covers_its_share_has_returned() {
    let network = Network::start(Chain::Signet).await;
    let mut channel = Channel::open(network.pool_address, &network.pool_key, "trace.one")
        .await
        .expect("the pool takes miners");
    let trace = network.dir().join("trace");
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-yy",
            "-s",
            "0",
            "-e",
            &format!("trace={CALLS}"),
            "-o",
        ])
        .arg(&trace)
        .args(["-p", &network.pool.process().id().to_string()]);
    let strace = attach(command, network.dir()).await;

    // One at a time, so that what comes between a share and the next answer belongs to that share.
    const SHARES: u32 = 50;
    for _ in 0..SHARES {
        channel.submit(1).await.expect("the pool is there");
        channel.settle(0).await.expect("the pool is there");
    }
    let answers = wait_for("strace has written the last answer", DEADLINE, async || {
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        let answers = answers_after_syncs(&text, "/shares/", channel.local_address)
            .unwrap_or_else(|error| panic!("{error}"));
        (answers >= SHARES).then_some(answers)
    })
    .await;
    assert_eq!(answers, SHARES);
    strace.terminate(DEADLINE);
}
