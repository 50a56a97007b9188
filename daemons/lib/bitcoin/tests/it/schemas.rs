//! The mining IPC of other versions of Bitcoin Core: always against a bridge that speaks their schema, and for real where the
//! environment names a node.

use std::path::{Path, PathBuf};

use bitcoin::consensus::encode::serialize;
use hh_bitcoin::{BlockOutcome, Rpc, Trigger};

use crate::bridge::{Bridge, Schema};
use crate::latency::fill;
use crate::node::{Node, REGTEST, bytes};
use crate::source::{Source, generate_without_mempool};
use crate::submit::{greedy, solution_of};

/// Everything that we ask of a node by mining IPC.
async fn check_speaks(node: &Node, socket: PathBuf, rpc: Rpc) {
    node.generate(110).await;
    let mut source = Source::of(Source::config(Some(socket.clone()), rpc.clone()));
    let first = source.template().await;
    assert_eq!((first.trigger, first.height), (Trigger::Start, 112));
    check_as_by_getblocktemplate(node, &first.template).await;
    let tip = node.generate(1).await[0];
    let next = source.template().await;
    assert_eq!((next.trigger, next.height), (Trigger::NewBlock, 113));
    assert_eq!(next.tip.prev_hash, bytes(tip));

    let spend = node.spend_coinbase(5, 10_000, 2).await;
    let mut risen = source.template().await;
    assert_eq!(risen.trigger, Trigger::Mempool);
    let block = risen.block.arrived().await.unwrap();
    assert_eq!(block.fees_sats(), 10_000);
    assert_eq!(block.transactions().unwrap(), [serialize(&spend)]);

    let bad = greedy(&risen, 1).await;
    let expected = Some("bad-cb-amount");
    let refused = risen.handle.submit(solution_of(&bad)).await.unwrap();
    assert_eq!(refused.reason(), expected);
    let again = risen.handle.submit(solution_of(&bad)).await.unwrap();
    assert_eq!(again.reason(), expected);
    let good = greedy(&risen, 0).await;
    let accepted = risen.handle.submit(solution_of(&good)).await.unwrap();
    assert_eq!(accepted, BlockOutcome::Accepted);
    let best = node.rpc().best_block_hash().await.unwrap();
    assert_eq!(best, good.block_hash());
    assert_eq!(source.template().await.trigger, Trigger::NewBlock);

    fill(node, 520).await;
    let mut source = Source::quiet(Some(socket), rpc).await;
    generate_without_mempool(node).await;
    assert_eq!(source.template().await.trigger, Trigger::CoinbaseOnly);
    let full = source.template().await;
    assert_eq!(full.trigger, Trigger::Transactions);
    check_as_by_getblocktemplate(node, &full.template).await;
}

/// The coinbase and the path, taken apart and computed in another way.
async fn check_as_by_getblocktemplate(node: &Node, template: &hh_mining::Template) {
    let mut by_rpc = Source::without_ipc(node.rpc()).template().await.template;
    by_rpc.version = template.version;
    assert_eq!(*template, by_rpc);
}

async fn check_bridge(schema: Schema, version: u32) {
    let node = Node::start().await;
    let bridge = Bridge::start(&node, schema, version).await;
    check_speaks(&node, bridge.socket.clone(), bridge.rpc.clone()).await;
}

#[tokio::test]
async fn the_schema_of_30_is_spoken() {
    check_bridge(Schema::V30, 300_000).await;
}

#[tokio::test]
async fn the_schema_of_32_is_spoken() {
    check_bridge(Schema::V32, 320_000).await;
}

#[tokio::test]
async fn a_development_build_with_the_submission_of_32_is_spoken_to() {
    check_bridge(Schema::V32, 319_900).await;
}

#[tokio::test]
async fn a_version_that_is_not_known_is_refused() {
    let node = Node::start().await;
    let bridge = Bridge::start(&node, Schema::V32, 330_000).await;
    let config = Source::config(Some(bridge.socket.clone()), bridge.rpc.clone());
    let error = Source::of(config).error().await;
    assert!(error.is_config());
    assert!(error.to_string().contains("version 33.0.0"), "{error}");
    // What it says by JSON-RPC is the same in every version.
    Source::without_ipc(bridge.rpc.clone()).template().await;
}

async fn check_real(variable: &str) {
    let Some(program) = std::env::var_os(variable) else {
        println!("skipped: {variable} names no node");
        return;
    };
    let node = Node::launch(Path::new(&program), &REGTEST).await;
    node.generate(1).await;
    check_speaks(&node, node.socket(), node.rpc()).await;
}

#[tokio::test]
async fn a_node_of_30_is_spoken_to() {
    check_real("BITCOIN_NODE_30").await;
}

#[tokio::test]
async fn a_node_of_31_is_spoken_to() {
    let node = Node::start().await;
    check_speaks(&node, node.socket(), node.rpc()).await;
}

#[tokio::test]
async fn a_node_of_32_is_spoken_to() {
    check_real("BITCOIN_NODE_32").await;
}
