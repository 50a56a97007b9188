//! Templates by `getblocktemplate`.

use std::time::Duration;

use bitcoin::consensus::encode::serialize;
use bitcoin::{Block, Network, Weight};
use hh_bitcoin::{
    BlockOutcome, Reservation, Rpc, RpcAuth, SourceConfig, SourceError, SourceEvent, Trigger,
};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::node::{Node, REGTEST, bytes, executable, take_port};
use crate::source::{Source, generate_without_mempool};
use crate::submit::{greedy, solution, solution_of, solve};

fn start(node: &Node) -> Source {
    Source::without_ipc(node.rpc())
}

#[tokio::test]
async fn a_new_tip_brings_a_template_on_it_at_once() {
    let node = Node::start().await;
    let mut source = start(&node);
    let first = source.template().await;
    assert_eq!((first.trigger, first.height), (Trigger::Start, 2));
    source.follows_each_block(&node, 3..13).await;
}

#[tokio::test]
async fn it_is_the_template_that_mining_ipc_gives() {
    let node = Node::start().await;
    let mut by_ipc = Source::start(&node);
    let mut by_rpc = start(&node);
    check_same(&mut by_ipc, &mut by_rpc, 2).await;
    // Heights are encoded in three ways up to here.
    for (blocks, height) in [(14, 16), (1, 17), (111, 128)] {
        node.generate(blocks).await;
        check_same(&mut by_ipc, &mut by_rpc, height).await;
    }
    for n in 2..9 {
        node.spend_coinbase(n, 10_000, n).await;
    }
    generate_without_mempool(&node).await;
    assert_eq!(check_same(&mut by_ipc, &mut by_rpc, 129).await, 7);
}

/// The newest of both, on that height.
async fn check_same(by_ipc: &mut Source, by_rpc: &mut Source, height: u32) -> usize {
    let newest = async |source: &mut Source| loop {
        let template = source.template().await;
        if template.height == height {
            return template;
        }
    };
    let (mut by_ipc, mut by_rpc) = (newest(by_ipc).await, newest(by_rpc).await);
    // Bits of deployments that a miner of today need not know; IPC leaves them to the node.
    by_ipc.template.version &= 0x2000_0000;
    by_rpc.template.version &= 0x2000_0000;
    assert_eq!(by_rpc.template, by_ipc.template);
    assert_eq!(by_rpc.tip.prev_hash, by_ipc.tip.prev_hash);
    assert_eq!(by_rpc.tip.nbits, by_ipc.tip.nbits);
    assert_eq!(by_rpc.coinbase_witness, by_ipc.coinbase_witness);
    let of_ipc = by_ipc.block.arrived().await.unwrap();
    let of_rpc = by_rpc.block.arrived().await.unwrap();
    assert_eq!(
        of_rpc.transactions().unwrap(),
        of_ipc.transactions().unwrap()
    );
    assert_eq!(of_rpc.fees_sats(), of_ipc.fees_sats());
    of_rpc.transaction_count()
}

#[tokio::test]
async fn higher_fees_bring_a_template_on_the_same_tip_with_its_transactions() {
    let node = Node::start().await;
    node.generate(110).await;
    let mut source = start(&node);
    let first = source.template().await;
    let spend = node.spend_coinbase(2, 10_000, 1).await;
    let next = source.template().await;
    assert_eq!(next.trigger, Trigger::Mempool);
    assert_eq!(next.tip.prev_hash, first.tip.prev_hash);
    let block = next.block.now().unwrap();
    assert_eq!(block.fees_sats(), 10_000);
    assert_eq!(block.transactions().unwrap(), [serialize(&spend)]);
}

#[tokio::test]
async fn a_solution_is_on_the_chain_and_a_bad_block_is_refused_with_the_reason() {
    let node = Node::start().await;
    node.generate(110).await;
    node.spend_coinbase(2, 10_000, 3).await;
    let mut source = start(&node);
    let template = source.template().await;
    let (header, coinbase) = solve(&template);
    let bad = greedy(&template, 1).await;
    let submit = async |block: &Block| {
        let solution = solution_of(block);
        template.handle.submit(solution).await.unwrap()
    };
    let refused = submit(&bad).await;
    assert_eq!(refused.reason(), Some("bad-cb-amount"));
    let again = submit(&bad).await;
    assert_eq!(again, refused, "also of a block that the node has refused");
    let mut easy = bad.clone();
    while easy.header.target().is_met_by(easy.block_hash()) {
        easy.header.nonce += 1;
    }
    assert_eq!(submit(&easy).await.reason(), Some("high-hash"));

    let good = solution(&header, coinbase);
    let accepted = template.handle.submit(good).await.unwrap();
    assert_eq!(accepted, BlockOutcome::Accepted);
    let info = node.rpc().blockchain_info().await.unwrap();
    assert_eq!(info.blocks, template.height);
    let tip = node.rpc().block(info.bestblockhash).await.unwrap();
    assert_eq!(tip.txdata.len(), 2);
}

#[tokio::test]
async fn a_large_class_loses_the_last_transactions_and_its_block_is_valid() {
    let node = Node::launch(
        &executable(),
        &[&REGTEST[..], &["-blockreservedweight=2000"]].concat(),
    )
    .await;
    node.generate(120).await;
    // Each is a twelfth of a block.
    for height in 1..14 {
        node.spend_coinbase(height, 200_000, 1900).await;
    }
    let mut source = start(&node);
    let mut small = source.template().await;
    let large = Reservation::for_coinbase_outputs(100_000, 1_000).unwrap();
    source.handle.follow(large);
    let mut template = source.template().await;
    assert_eq!(template.reservation, large);

    let all = small.block.arrived().await.unwrap();
    let kept = template.block.arrived().await.unwrap();
    let lost = all.transaction_count() - kept.transaction_count();
    let lost_sats = all.fees_sats() - kept.fees_sats();
    assert!(lost_sats >= 200_000 * u64::try_from(lost).unwrap());
    assert_eq!(
        template.template.coinbase_tx_value_remaining,
        small.template.coinbase_tx_value_remaining - lost_sats
    );
    let weight = kept.weight().unwrap() + Weight::from_wu(large.weight());
    assert!(weight <= Weight::MAX_BLOCK);
    let each = all.weight().unwrap() / u64::try_from(all.transaction_count()).unwrap();
    assert!(weight + each > Weight::MAX_BLOCK, "{lost} lost");

    let (header, coinbase) = solve(&template);
    let submitted = template.handle.submit(solution(&header, coinbase)).await;
    assert_eq!(submitted.unwrap(), BlockOutcome::Accepted);
    source.handle.unfollow(large);
}

#[tokio::test]
async fn a_node_that_restarts_is_found_again_and_takes_the_blocks_of_before() {
    let mut node = Node::start().await;
    let mut source = start(&node);
    let first = source.template().await;
    let (header, coinbase) = solve(&first);
    node.kill();
    let error = source.error().await;
    assert!(!error.is_config(), "{error:?}");
    let lost = first.handle.submit(solution(&header, coinbase)).await;
    assert_eq!(lost.unwrap_err().reason(), "rpc");

    node.restart().await;
    let again = loop {
        if let SourceEvent::Template(template) = source.event().await {
            break template;
        }
    };
    assert_eq!(again.trigger, Trigger::Start);
    let tip = node.generate(1).await[0];
    let template = source.template().await;
    assert_eq!(template.trigger, Trigger::NewBlock);
    assert_eq!(template.tip.prev_hash, bytes(tip));
}

#[tokio::test]
async fn a_node_on_another_chain_is_refused() {
    let node = Node::start().await;
    let mut source = Source::of(SourceConfig {
        chain: Network::Signet,
        ..Source::config(None, node.rpc())
    });
    let error = source.error().await;
    assert!(error.is_config());
    assert!(error.to_string().contains("regtest"), "{error}");
}

#[tokio::test]
async fn a_node_without_peers_and_one_in_initial_download_say_so() {
    let (port, _lock) = take_port();
    let bind = format!("-bind=127.0.0.1:{port}");
    let _peer = Node::launch(
        &executable(),
        &["-prune=550", "-connect=0", "-listen=1", &bind],
    )
    .await;
    let node = Node::launch(&executable(), &["-prune=550", "-listen=0", "-connect=0"]).await;
    let config = SourceConfig {
        chain: Network::Bitcoin,
        ..Source::config(None, node.rpc())
    };
    let mut source = Source::of(config);
    let error = source.error().await;
    assert!(
        matches!(error, SourceError::NotConnected { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains(&node.url()), "{error}");

    let peer = format!("127.0.0.1:{port}");
    node.call("addnode", vec![json!(peer), json!("onetry")])
        .await;
    // By itself.
    loop {
        match source.error().await {
            SourceError::InitialDownload { .. } => return,
            SourceError::NotConnected { .. } => {}
            error => panic!("{error:?}"),
        }
    }
}

/// Passes connections on, and ends each after so long, as a proxy with a time-out does.
async fn impatient_proxy(node: &Node, patience: Duration) -> (JoinSet<()>, Rpc) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let to = node.url().replace("http://", "");
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            let to = to.clone();
            connections.spawn(async move {
                let mut to = TcpStream::connect(to).await.unwrap();
                drop(tokio::time::timeout(patience, copy_bidirectional(&mut from, &mut to)).await);
            });
        }
    });
    let rpc = Rpc::new(&url, RpcAuth::CookieFile(node.cookie_file())).unwrap();
    (accepting, rpc)
}

#[tokio::test]
async fn long_polls_that_are_ended_by_a_proxy_cost_no_template() {
    let node = Node::start().await;
    let patience = Duration::from_millis(200);
    let (_proxy, rpc) = impatient_proxy(&node, patience).await;
    let mut source = Source::without_ipc(rpc);
    source.template().await;
    for _ in 0..3 {
        // Long enough for a poll to be ended, twice with the transport's own second try.
        let nothing = tokio::time::timeout(5 * patience, source.event()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        let tip = node.generate(1).await[0];
        let template = source.template().await;
        assert_eq!(template.trigger, Trigger::NewBlock);
        assert_eq!(template.tip.prev_hash, bytes(tip));
    }
}
