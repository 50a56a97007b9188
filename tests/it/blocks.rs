//! A found block gets to the chain, and stays there, whatever dies.

use hh_ipc::api::pool::{Block, BlockState};
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::Channel;
use hh_tests::network::{CALL, Network};
use hh_tests::wait::{wait_for, wait_until};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

async fn open(network: &Network, identity: &str) -> Channel {
    Channel::open(network.pool_address, &network.pool_key, identity)
        .await
        .expect("the pool takes miners")
}

async fn block(network: &Network, hash: hh_mining::BlockHash) -> Option<Block> {
    let pool = network.pool.pool().await;
    let blocks = pool.blocks(within(CALL), 1_000).await.ok()?.ok()?;
    let hash = hash.to_string();
    blocks.into_iter().find(|block| block.hash == hash)
}

/// Waits until the pool books the block as accepted.
async fn wait_until_accepted(network: &Network, hash: hh_mining::BlockHash) -> Block {
    wait_for("the block is accepted", DEADLINE, async || {
        let block = block(network, hash).await;
        block.filter(|block| block.state == BlockState::Accepted)
    })
    .await
}

async fn wait_until_tip(network: &Network, hash: hh_mining::BlockHash) {
    let hash = hash.to_string();
    wait_until("the block is at the tip", DEADLINE, async || {
        network.node.tip().to_string() == hash
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_their_only_node_forgets_by_kill_9_are_on_its_chain_again() {
    let mut network = Network::start(Chain::Regtest).await;
    network.node.flush();
    let mut channel = open(&network, "forgotten.node").await;
    let first = channel.submit_block().await.expect("the pool reads");
    wait_until_accepted(&network, first).await;
    channel
        .wait_for_new_block(channel.prev_hash())
        .await
        .expect("the pool is there");
    let second = channel.submit_block().await.expect("the pool reads");
    wait_until_tip(&network, second).await;
    let height = network.node.height();

    // Or hh-tp, which has them too, may be the first.
    network.tp.kill();
    network.node.restart();
    // Nobody does anything.
    wait_until_tip(&network, second).await;
    assert_eq!(network.node.height(), height);
    network.pool.wait_for_log("it gets it again").await;
    wait_until_accepted(&network, second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_on_the_chain_again_though_the_pool_dies_with_the_node() {
    let mut network = Network::start(Chain::Regtest).await;
    network.node.flush();
    let mut channel = open(&network, "forgotten.both").await;
    let hash = channel.submit_block().await.expect("the pool reads");
    wait_until_accepted(&network, hash).await;

    network.node.kill();
    network.pool.kill();
    network.tp.kill();
    network.node.restart();
    assert_ne!(network.node.tip().to_string(), hash.to_string());
    network.pool.restart();
    network.tp.restart();
    wait_until_tip(&network, hash).await;
    let block = wait_until_accepted(&network, hash).await;
    assert_eq!((&*block.account, &*block.worker), ("forgotten", "both"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stale_share_of_a_block_that_wins_in_the_end_is_in_the_ledger_once() {
    let network = Network::start(Chain::Regtest).await;
    let mut channel = open(&network, "stale.winner").await;
    network.node.generate(1);
    let other = network.node.tip();
    wait_until("the pool works on the new tip", DEADLINE, async || {
        let status = network.pool.pool().await.status(within(CALL)).await;
        let work = status.expect("hh-pool answers").work;
        work.is_some_and(|work| work.prev_hash == other.to_string())
    })
    .await;
    // The miner has not heard of it.
    let hash = channel.submit_block().await.expect("the pool reads");
    channel.settle(0).await.expect("the pool answers");
    assert_eq!(channel.refused, [(hash, "stale-share".to_owned())]);
    wait_for("the node has judged the block", DEADLINE, async || {
        let block = block(&network, hash).await?;
        let mut paths = block.paths.iter();
        paths
            .any(|path| path.outcome == "inconclusive")
            .then_some(())
    })
    .await;
    assert_eq!(shares_of(&network, hash).await, 0);

    network.node.invalidate(other);
    wait_until_accepted(&network, hash).await;
    wait_until("its share is in the ledger", DEADLINE, async || {
        shares_of(&network, hash).await > 0
    })
    .await;
    network.wait_until_shipped().await;
    assert_eq!(shares_of(&network, hash).await, 1);
}

async fn shares_of(network: &Network, hash: hh_mining::BlockHash) -> usize {
    let shares = network.ledger().shares_by_hash(hash).await;
    shares.expect("the ledger can be read").len()
}
