//! A miner that nobody here wrote, end to end: cpuminer's `minerd`, where MINERD_BIN names one.

use crate::mining::{check_block, settled_blocks};
use hh_ipc::api::pool::MinerQuery;
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::network::{CALL, Network};
use hh_tests::process::Process;
use hh_tests::wait::{wait_for, wait_until};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const ACCOUNT: &str = "minerd";

/// Enough to see it move from job to job.
const SHARES: u64 = 50;

/// A block takes 4.8 million hashes: a second or two of one core, and luck.
const DEADLINE: Duration = Duration::from_secs(180);

fn start(minerd: &str, network: &Network, address: SocketAddr) -> Process {
    let mut command = Command::new(minerd);
    command
        .args(["--algo", "sha256d", "--threads", "1"])
        .args(["--user", &format!("{ACCOUNT}.one"), "--pass", "x"])
        .arg(format!("--url=stratum+tcp://{address}"));
    Process::spawn("minerd", command, network.dir())
}

/// Shares that it was told are accepted: the last "accepted: 12/13" of its log.
fn accepted(minerd: &Process) -> u64 {
    let log = minerd.log();
    let last = log.rsplit_once("accepted: ");
    let count = last.and_then(|(_, rest)| rest.split_once('/'));
    count.map_or(0, |(count, _)| {
        count.parse().expect("minerd counts in digits")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minerds_shares_and_its_block_are_in_the_ledger() {
    let Ok(path) = std::env::var("MINERD_BIN") else {
        crate::say("skipped: MINERD_BIN names no minerd (github.com/pooler/cpuminer)");
        return;
    };
    let network = Network::start(Chain::Signet).await;
    let (_translator, address) = network.start_translator().await;
    let minerd = start(&path, &network, address);
    wait_until(
        "minerd has found a block and shares",
        DEADLINE,
        async || {
            assert!(minerd.is_running(), "{}", minerd.log_tail());
            let blocks = network.pool.pool().await.blocks(within(CALL), 100).await;
            let blocks = blocks.expect("hh-pool answers");
            let found = blocks.is_ok_and(|blocks| !blocks.is_empty());
            found && accepted(&minerd) >= SHARES
        },
    )
    .await;
    // It has no way to stop without shares on their way.
    minerd.terminate(DEADLINE);
    wait_for("hh-pool knows that it is gone", DEADLINE, async || {
        let pool = network.pool.pool().await;
        let page = pool.miners(within(CALL), MinerQuery::default()).await;
        page.ok()?.miners.is_empty().then_some(())
    })
    .await;

    let blocks = settled_blocks(&network, 1).await;
    network.wait_until_shipped().await;
    let mut on_best_chain = 0;
    for block in &blocks {
        assert_eq!((&*block.account, &*block.worker), (ACCOUNT, "one"));
        on_best_chain += u32::from(check_block(&network, block, ["core", "main"]).await);
    }
    assert!(on_best_chain > 0, "{blocks:?}");
    let sums = network.ledger().account_sums(100).await;
    let sums = sums.expect("the ledger can be read");
    let told = accepted(&minerd);
    let [sum] = &sums[..] else {
        panic!("one account mined: {sums:?}");
    };
    assert_eq!(sum.account, ACCOUNT);
    // Those that it was not told of any more were on their way when it was stopped.
    assert!(
        sum.shares >= told,
        "the ledger has {} of {told}",
        sum.shares
    );
    crate::say(&format!(
        "minerd was told of {told} shares, the ledger has {}, and {} blocks of which {on_best_chain} are on the best chain",
        sum.shares,
        blocks.len()
    ));
}
