//! Who found a block is what the block says: an edge between a miner and the pool can't change it after the work is done.

use crate::mining::{check_block, settled_blocks};
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::Channel;
use hh_tests::edge::Edge;
use hh_tests::network::Network;
use tokio::task::block_in_place;

const SHARES: usize = 20;

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

    // The block is alice's, in hh-pool's list and by the extranonce in its coinbase.
    let blocks = settled_blocks(&network, 1).await;
    let [block] = &blocks[..] else {
        panic!("one block was found: {blocks:?}");
    };
    assert_eq!((&*block.account, &*block.worker), ("alice", "rig"));
    network.wait_until_shipped().await;
    assert!(check_block(&network, block).await, "{block:?}");

    // So is every share, once: a name that is appended is a worker of hers at most.
    let ledger = network.ledger();
    assert_eq!(miner.acknowledged.len(), SHARES + 1);
    for hash in &miner.acknowledged {
        let rows = ledger.shares_by_hash(*hash).await;
        let rows = rows.expect("the ledger can be read");
        let accounts: Vec<&str> = rows.iter().map(|row| row.origin.account()).collect();
        assert_eq!(accounts, ["alice"], "{hash}");
    }
    // On the edge's own channel each was another hash, and one in some hundred of those is good by chance.
    let loot = edge.loot();
    assert_eq!(loot.refused.len() + loot.accepted as usize, SHARES + 1);
    assert!(loot.accepted <= 2, "{loot:?}");
    let worthless = loot.refused.iter().all(|code| code == "difficulty-too-low");
    assert!(worthless, "{loot:?}");
}
