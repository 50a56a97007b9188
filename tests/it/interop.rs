//! The reference implementation beside ours: its pool on our template provider, its translator on our pool.

use hh_ipc::client::within;
use hh_tests::bitcoin_core::{BitcoinCore, Chain};
use hh_tests::channel::Channel;
use hh_tests::network::{CALL, authority_key, start_tp, tp_address};
use hh_tests::peers::Peer;
use hh_tests::wait::wait_for;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_sv2_mines_on_our_template_provider() {
    // On regtest every second share of an easy target is a block.
    let node = BitcoinCore::start(Chain::Regtest);
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let key = authority_key(dir.path(), "hh-tp");
    let tp = start_tp(dir.path(), &node, ([127, 0, 0, 1], 0).into());
    tp.wait_until_ready().await;
    let address = tp_address(&tp).await;

    let peer = Peer::pool(Chain::Regtest, &address.to_string(), key);
    peer.wait_until_it_listens().await;
    let pool_key = Peer::authority_public_key();
    let mut channel = Channel::open(peer.address(), &pool_key, "interop")
        .await
        .expect("pool_sv2 takes miners");

    // Three blocks: the first could be luck with a template that was never renewed.
    let height = node.height();
    while node.height() < height + 3 {
        let tip = node.tip();
        channel.submit(1).await.unwrap();
        channel.settle(0).await.unwrap();
        if node.tip() != tip {
            channel.wait_for_new_block(tip).await.unwrap();
        }
    }
    let solutions = wait_for(
        "hh-tp has the outcome of each block",
        DEADLINE,
        async || {
            let client = tp.template_provider().await;
            let status = client.status(within(CALL)).await.ok()?;
            let settled = |(_, outcome): &(String, String)| outcome == "accepted";
            let done = status
                .solutions
                .iter()
                .filter(|solution| solution.outcomes.iter().any(settled))
                .count();
            (done >= 3).then_some(status.solutions)
        },
    )
    .await;
    for solution in solutions {
        let hash = solution.hash.parse().expect("a block hash");
        assert!(node.block_on_best_chain(&hash).is_some(), "{solution:?}");
    }
}
