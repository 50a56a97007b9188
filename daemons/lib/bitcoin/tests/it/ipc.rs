//! Templates over mining IPC.

use std::time::Duration;

use bitcoin::Network;
use hh_bitcoin::{NodeError, Reservation, Solution, SourceEvent, Trigger, check_node};

use crate::latency::fill;
use crate::node::{Node, SOON, bytes, wait_for};
use crate::source::{Source, generate_without_mempool};
use crate::submit::{solution, solve};

#[tokio::test]
async fn a_new_tip_brings_a_template_on_it_at_once() {
    let node = Node::start().await;
    let mut source = Source::start(&node);
    let first = source.template().await;
    assert_eq!((first.trigger, first.height), (Trigger::Start, 2));
    assert_eq!(first.template.coinbase_tx_outputs_count, 1);
    assert_eq!(first.template.coinbase_tx_value_remaining, 5_000_000_000);
    assert_eq!(first.coinbase_witness, [0; 32]);

    source.follows_each_block(&node, 3..13).await;
}

#[tokio::test]
async fn higher_fees_bring_a_template_on_the_same_tip_with_its_transactions() {
    let node = Node::start().await;
    node.generate(110).await;
    let mut source = Source::start(&node);
    let mut first = source.template().await;
    assert_eq!(first.block.arrived().await.unwrap().transaction_count(), 0);

    let spend = node.spend_coinbase(2, 10_000, 1).await;
    let mut next = source.template().await;
    assert_eq!(next.trigger, Trigger::Mempool);
    assert_eq!(next.tip.prev_hash, first.tip.prev_hash);
    assert_eq!(next.template.coinbase_tx_value_remaining, 5_000_010_000);
    let block = next.block.arrived().await.unwrap();
    assert_eq!(block.fees_sats(), 10_000);
    assert_eq!(
        block.transactions().unwrap(),
        [bitcoin::consensus::serialize(&spend)]
    );
    assert_eq!(block.weight().unwrap(), spend.weight());
}

#[tokio::test]
async fn a_tip_over_a_full_mempool_brings_a_template_without_it_first() {
    let node = Node::start().await;
    node.generate(110).await;
    fill(&node, 600).await;
    let mut source = Source::quiet(Some(node.socket()), node.rpc()).await;
    generate_without_mempool(&node).await;
    let tip = node.rpc().best_block_hash().await.unwrap();
    let first = source.template().await;
    assert_eq!(first.trigger, Trigger::CoinbaseOnly);
    assert_eq!(first.tip.prev_hash, bytes(tip));
    assert!(first.template.merkle_path.is_empty());
    let mut full = source.template().await;
    assert_eq!(full.trigger, Trigger::Transactions);
    assert_eq!(full.tip.prev_hash, bytes(tip));
    let block = full.block.arrived().await.unwrap();
    assert_eq!(
        (block.transaction_count(), block.fees_sats()),
        (600, 600_000)
    );
    let values = [&first, &full].map(|of| of.template.coinbase_tx_value_remaining);
    assert_eq!(values[0] + 600_000, values[1]);

    // Either is good for a block.
    let (header, coinbase) = solve(&first);
    let solved = solution(&header, coinbase);
    first.handle.submit(solved).await.unwrap();
    assert_eq!(source.template().await.trigger, Trigger::CoinbaseOnly);
    let full = source.template().await;
    let (header, coinbase) = solve(&full);
    let solved = solution(&header, coinbase);
    full.handle.submit(solved).await.unwrap();
    assert_eq!(source.template().await.trigger, Trigger::CoinbaseOnly);
    let mut empty = source.template().await;
    assert_eq!(empty.trigger, Trigger::Transactions);
    let block = empty.block.arrived().await.unwrap();
    assert_eq!(block.transaction_count(), 0);

    // Without many transactions there is one template a tip.
    let tip = node.generate(1).await[0];
    let template = source.template().await;
    assert_eq!(template.trigger, Trigger::NewBlock);
    assert_eq!(template.tip.prev_hash, bytes(tip));
    node.generate(1).await;
    assert_eq!(source.template().await.trigger, Trigger::NewBlock);
}

#[tokio::test]
async fn a_second_class_gets_its_own_templates_until_nobody_needs_it() {
    let node = Node::start().await;
    let mut source = Source::start(&node);
    let large = Reservation::for_coinbase_outputs(5000, 10).unwrap();
    assert_eq!(source.template().await.reservation, Reservation::default());
    source.handle.follow(large);
    assert_eq!(source.template().await.reservation, large);

    node.generate(1).await;
    let mut classes = [
        source.template().await.reservation,
        source.template().await.reservation,
    ];
    classes.sort();
    assert_eq!(classes, [Reservation::default(), large]);

    source.handle.unfollow(large);
    // The class ends a moment after it was asked to; then each block brings one template.
    wait_for("one template a block", SOON, async || {
        node.generate(1).await;
        let first = source.template().await;
        let second = tokio::time::timeout(Duration::from_millis(300), source.template()).await;
        (first.reservation == Reservation::default() && second.is_err()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_that_restarts_is_found_again() {
    let mut node = Node::start().await;
    let mut source = Source::start(&node);
    let first = source.template().await;
    node.kill();
    let error = source.error().await;
    assert!(!error.is_config(), "{error:?}");
    // A template of the lost connection can't be submitted, and says so.
    let submitted = first
        .handle
        .submit(Solution {
            version: 1,
            ntime: 2,
            nonce: 3,
            coinbase: vec![0; 60],
        })
        .await;
    assert!(submitted.is_err());

    node.restart().await;
    let again = loop {
        if let SourceEvent::Template(template) = source.event().await {
            break template;
        }
    };
    assert_eq!(again.trigger, Trigger::Start);
    node.generate(1).await;
    assert_eq!(source.template().await.trigger, Trigger::NewBlock);
}

#[tokio::test]
async fn a_node_on_another_chain_is_refused() {
    let node = Node::start().await;
    let error = check_node(&node.rpc(), Network::Signet).await.unwrap_err();
    assert!(matches!(error, NodeError::WrongChain { .. }), "{error:?}");
    let mut source = Source::with(&node, Network::Signet, 1000, Duration::ZERO);
    let error = source.error().await;
    assert!(error.is_config());
    let message = error.to_string();
    for part in ["regtest", "signet", &node.url()] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named() {
    let node = Node::start().await;
    std::fs::remove_file(node.socket()).unwrap();
    let mut source = Source::start(&node);
    let message = source.error().await.to_string();
    assert!(
        message.contains("node.sock") && message.contains("-ipcbind=unix"),
        "{message}"
    );
}
