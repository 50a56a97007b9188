//! Who found a block is what the block says: an edge between a miner and the pool can't change it after the work is done.

use crate::mining::{check_block, settled_blocks};
use hh_mining::BlockHash;
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::Channel;
use hh_tests::daemon::Daemon;
use hh_tests::edge::Edge;
use hh_tests::edge::sv1::{Sv1Edge, Sv1Loot, WORKER};
use hh_tests::network::{Network, translator_address};
use hh_tests::sv1::Session;
use hh_tests::wait::wait_for;
use std::time::Duration;
use tokio::task::block_in_place;

const SHARES: usize = 20;

/// They are there before the miner's, mostly.
const ANSWERS: Duration = Duration::from_secs(30);

/// The one block of the network is that of `alice.rig`, by hh-pool's list and by the extranonce in its coinbase.
async fn check_finder(network: &Network, through: [&str; 2]) {
    let blocks = settled_blocks(network, 1).await;
    let [block] = &blocks[..] else {
        panic!("one block was found: {blocks:?}");
    };
    assert_eq!((&*block.account, &*block.worker), ("alice", "rig"));
    network.wait_until_shipped().await;
    assert!(check_block(network, block, through).await, "{block:?}");
}

/// Each share is alice's, once; gives the workers that the ledger has for them.
async fn check_shares(network: &Network, shares: &[BlockHash]) -> Vec<String> {
    assert_eq!(shares.len(), SHARES + 1);
    let ledger = network.ledger();
    let mut workers = Vec::new();
    for hash in shares {
        let rows = ledger.shares_by_hash(*hash).await;
        let rows = rows.expect("the ledger can be read");
        let accounts: Vec<&str> = rows.iter().map(|row| row.origin.account()).collect();
        assert_eq!(accounts, ["alice"], "{hash}");
        workers.push(rows[0].origin.worker().to_owned());
    }
    workers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_renames_workers_and_resubmits_shares_changes_nothing_about_the_finder() {
    let network = Network::start(Chain::Signet).await;
    let edge = Edge::start(network.pool_address, network.pool_key, "mallory.edge").await;
    let mut miner = Channel::open(edge.address, &edge.key, "alice.rig")
        .await
        .expect("the edge takes miners");
    miner.submit(SHARES).await.expect("the edge is there");
    miner.settle(0).await.expect("the edge is there");
    let block = block_in_place(|| miner.find_block());
    miner.send_block(block).await.expect("the edge is there");
    miner.settle(0).await.expect("the edge is there");
    assert_eq!(miner.refused, []);

    check_finder(&network, ["core", "main"]).await;
    // A name that is appended is a worker of hers at most.
    check_shares(&network, &miner.acknowledged).await;
    // On the edge's own channel each was another hash, and one in some hundred of those is good by chance.
    let loot = edge.loot();
    assert_eq!(loot.refused.len() + loot.accepted as usize, SHARES + 1);
    assert!(loot.accepted <= 2, "{loot:?}");
    let worthless = loot.refused.iter().all(|code| code == "difficulty-too-low");
    assert!(worthless, "{loot:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_sv1_proxy_that_renames_workers_and_resubmits_shares_changes_nothing_about_the_finder() {
    let network = Network::start(Chain::Signet).await;
    // Shares so easy that none of them is a block by chance.
    let config = network.translator_config(&network.pool_key);
    let config = config.replace("nominal_hashrate_hs = 1e4", "nominal_hashrate_hs = 1e2");
    let translator = Daemon::start("hh-translator", network.dir(), &config);
    translator.wait_until_ready().await;
    let lane = translator_address(&translator).await;
    let edge = Sv1Edge::start(lane, "mallory.edge").await;
    let mut miner = Session::open(edge.address, "alice.rig")
        .await
        .expect("the edge takes miners");
    miner.submit(SHARES).await.expect("the edge is there");
    miner.settle(0).await.expect("the edge is there");
    miner.submit_block().await.expect("the edge is there");
    miner.settle(0).await.expect("the edge is there");
    assert_eq!(miner.refused, []);

    check_finder(&network, ["core", "main"]).await;
    let workers = check_shares(&network, &miner.accepted).await;
    assert_eq!(workers, vec![WORKER; SHARES + 1], "a worker of hers");

    let all_answered = |loot: &Sv1Loot| loot.refused.len() + loot.accepted as usize > SHARES;
    let loot = wait_for("the answers to the proxy", ANSWERS, async || {
        Some(edge.loot()).filter(all_answered)
    })
    .await;
    // Another account is none of the connection's, and on the proxy's own each share is another hash.
    assert_eq!(loot.refused_beside.len(), SHARES + 1);
    let unauthorized = |said: &String| said.starts_with("[24,");
    assert!(loot.refused_beside.iter().all(unauthorized), "{loot:?}");
    assert_eq!(loot.refused.len() + loot.accepted as usize, SHARES + 1);
    assert!(loot.accepted <= 2, "{loot:?}");
    let worthless = |said: &String| said.starts_with("23: ");
    assert!(loot.refused.iter().all(worthless), "{loot:?}");
}
