//! What a node still has of the blocks that it was given.

use bitcoin::BlockHash;
use bitcoin::consensus::encode::serialize;
use hh_bitcoin::presence::look;
use hh_bitcoin::{BlockOutcome, Presence, Sought, submit_once};

use crate::node::Node;

const ON_CHAIN: fn(u32) -> Presence = |confirmations| Presence::OnBestChain { confirmations };

fn sought(hash: BlockHash, settled: bool) -> Sought {
    Sought { hash, settled }
}

async fn see(node: &Node, hashes: &[(BlockHash, bool)]) -> Vec<(BlockHash, Presence)> {
    let list: Vec<Sought> = hashes.iter().map(|(h, s)| sought(*h, *s)).collect();
    let sight = look(&node.rpc(), &list).await;
    assert!(sight.error.is_none(), "{:?}", sight.error);
    sight.seen
}

#[tokio::test]
async fn a_node_that_was_killed_forgets_blocks_it_accepted_and_takes_them_again() {
    let mut node = Node::start().await;
    // From here on it writes nothing down by itself for most of an hour.
    node.call("gettxoutsetinfo", vec!["none".into()]).await;
    let hashes = node.generate(2).await;
    let (low, high) = (hashes[0], hashes[1]);
    let mut blocks = Vec::new();
    for hash in [low, high] {
        blocks.push(serialize(&node.rpc().block(hash).await.unwrap()));
    }
    let both = [(high, true), (low, true)];
    assert_eq!(see(&node, &both).await, [(high, ON_CHAIN(1))]);

    node.restart().await;
    let gone = [(high, Presence::Unknown), (low, Presence::Unknown)];
    assert_eq!(see(&node, &both).await, gone);
    let early = submit_once(&node.rpc(), &blocks[1]).await.unwrap();
    assert_eq!(early, BlockOutcome::ParentUnknown);
    for block in &blocks {
        let outcome = submit_once(&node.rpc(), block).await.unwrap();
        assert_eq!(outcome, BlockOutcome::Accepted);
    }
    let open = [(high, true), (low, false)];
    let there = [(high, ON_CHAIN(1)), (low, ON_CHAIN(2))];
    assert_eq!(see(&node, &open).await, there);
}

#[tokio::test]
async fn a_block_on_a_side_of_the_chain_covers_no_other_and_a_dead_node_says_nothing() {
    let mut node = Node::start().await;
    let hashes = node.generate(2).await;
    let (low, high) = (hashes[0], hashes[1]);
    node.call("invalidateblock", vec![high.to_string().into()])
        .await;
    let seen = see(&node, &[(high, true), (low, true)]).await;
    assert_eq!(seen, [(high, Presence::OffBestChain), (low, ON_CHAIN(1))]);

    let rpc = node.rpc();
    node.kill();
    let sight = look(&rpc, &[sought(high, true)]).await;
    assert!(sight.seen.is_empty() && sight.error.is_some(), "{sight:?}");
}
