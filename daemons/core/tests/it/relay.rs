//! Block relay: between real Bitcoin Core nodes that know no peer, and against nodes that send what they should not.

mod speed;

use crate::bitcoin_node::{Node, REGTEST, anyone, executable};
use crate::simulated::{Fleet, RelayStream, Told};
use crate::site::{Daemon, Setup, Site, free_port, wait_for};
use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::serialize;
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Transaction, TxIn,
    TxMerkleNode, TxOut, transaction,
};
use hh_ipc::api::core::NodeState;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// nBits of regtest.
const EASY: u32 = 0x207f_ffff;

/// A core that relays blocks of regtest.
struct Relaying {
    site: Site,
    metrics: u16,
}

impl Relaying {
    async fn start() -> Self {
        let metrics = free_port();
        let setup = Setup {
            more: [
                format!("metrics_address = \"127.0.0.1:{metrics}\""),
                "[relay]\nchain = \"regtest\"\n".to_owned(),
            ],
            ..Setup::default()
        };
        let site = Site::start_with(setup).await;
        Self { site, metrics }
    }

    /// An agent with this Bitcoin Core.
    fn start_agent(&self, name: &str, node: &Node) -> Daemon {
        let config = format!(
            "[bitcoin]\nrpc_url = \"{}\"\nrpc_cookie_file = {:?}\n",
            node.url(),
            node.cookie_file()
        );
        self.site.start_node(name, &config, "")
    }

    /// A metric of core's, with its labels; 0 where it is not there yet.
    async fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics))
            .await
            .unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: core\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        let value = values.find_map(|rest| rest.trim().parse().ok());
        value.unwrap_or_default()
    }

    async fn outcome(&self, outcome: &str) -> f64 {
        let name = format!("hyperhash_relay_blocks_total{{outcome=\"{outcome}\"}}");
        self.metric(&name).await
    }

    async fn counted(&self, outcome: &str, expected: f64) {
        let what = format!("{expected} blocks are counted as {outcome}");
        wait_for(&what, async || {
            (self.outcome(outcome).await >= expected).then_some(())
        })
        .await;
        let counted = self.outcome(outcome).await;
        assert!((counted - expected).abs() < 0.5, "{outcome}: {counted}");
    }

    /// Waits until so many nodes have a stream, and core has heard where these real ones stand.
    async fn joined(&self, all: f64, real: f64) {
        wait_for("all nodes relay blocks", async || {
            let standing = self.outcome("anchor").await + self.outcome("duplicate").await;
            let here = self.metric("hyperhash_relay_nodes").await;
            (here >= all && standing >= real).then_some(())
        })
        .await;
    }
}

/// Waits until all of these nodes have this tip.
async fn all_at(nodes: &[Node], hash: BlockHash) {
    for (number, node) in nodes.iter().enumerate() {
        wait_for(&format!("node {number} has the block"), async || {
            (node.rpc().best_block_hash().await.ok()? == hash).then_some(())
        })
        .await;
    }
}

async fn launch() -> Node {
    Node::launch(&executable(), &REGTEST).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_found_at_one_node_is_at_all_the_others_though_none_knows_a_peer() {
    let core = Relaying::start().await;
    let nodes = [launch().await, launch().await, launch().await];
    let agents: Vec<Daemon> = nodes
        .iter()
        .zip(["berlin", "paris", "rome"])
        .map(|(node, name)| core.start_agent(name, node))
        .collect();
    core.joined(3.0, 3.0).await;
    for finder in &nodes {
        let found = finder.generate(1).await;
        all_at(&nodes, found[0]).await;
    }
    // More than one before anybody looks.
    let found = nodes[0].generate(5).await;
    all_at(&nodes, found[4]).await;
    core.counted("relayed", 8.0).await;
    for outcome in ["bad_header", "unknown_parent", "bad_block"] {
        core.counted(outcome, 0.0).await;
    }
    // An agent that comes back goes on where it was.
    agents[1].restart();
    core.joined(3.0, 4.0).await;
    let found = nodes[2].generate(1).await;
    all_at(&nodes, found[0]).await;
}

/// A block of a coinbase alone, with its work.
fn block_on(parent: BlockHash, number: u32) -> Block {
    let coinbase = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(number.to_le_bytes().to_vec()),
            ..TxIn::default()
        }],
        output: vec![TxOut {
            value: Amount::from_sat(5_000_000_000),
            script_pubkey: anyone(),
        }],
    };
    let mut block = Block {
        header: Header {
            version: Version::TWO,
            prev_blockhash: parent,
            merkle_root: TxMerkleNode::all_zeros(),
            time: u32::try_from(Timestamp::now().as_second()).unwrap(),
            bits: CompactTarget::from_consensus(EASY),
            nonce: 0,
        },
        txdata: vec![coinbase],
    };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while !has_work(&block.header) {
        block.header.nonce += 1;
    }
    block
}

fn has_work(header: &Header) -> bool {
    header.target().is_met_by(header.block_hash())
}

fn genesis() -> Header {
    genesis_block(Network::Regtest).header
}

/// Some nodes with a stream each; the first stands at the first block.
async fn streams(core: &Relaying, fleet: &Fleet) -> Vec<RelayStream> {
    let mut streams = Vec::new();
    for node in &fleet.nodes {
        streams.push(node.relay().await);
    }
    streams[0].announce(vec![serialize(&genesis())]).await;
    core.counted("anchor", 1.0).await;
    streams
}

/// Announces a header and waits until core refuses it; the reason.
async fn refused(stream: &mut RelayStream, header: &Header) -> String {
    stream.announce(vec![serialize(header)]).await;
    match stream.told().await {
        Some(Told::Refused(refused)) => {
            assert_eq!(refused.header, serialize(header));
            refused.reason
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// The next that core tells of blocks is this one, whatever it says of what this node has sent.
async fn announced(stream: &mut RelayStream, block: &Block) {
    loop {
        match stream.told().await {
            Some(Told::Announce(announce)) => {
                assert_eq!(announce.headers, [serialize(&block.header)]);
                return;
            }
            Some(Told::Throttled(_) | Told::Refused(_)) => {}
            other => panic!("no announcement: {other:?}"),
        }
    }
}

async fn asked(stream: &mut RelayStream, block: &Block) {
    match stream.told().await {
        Some(Told::Want(want)) => {
            assert_eq!(want.block_hash, block.block_hash().to_byte_array());
        }
        other => panic!("not asked for: {other:?}"),
    }
}

#[tokio::test]
async fn without_work_or_parent_a_block_goes_nowhere_and_who_goes_on_is_held_back() {
    let core = Relaying::start().await;
    let fleet = Fleet::join(&core.site, 2).await;
    let mut streams = streams(&core, &fleet).await;
    let (rest, other) = streams.split_at_mut(1);
    let (stream, other) = (&mut rest[0], &mut other[0]);

    let mut idle = block_on(genesis().block_hash(), 1).header;
    while has_work(&idle) {
        idle.nonce += 1;
    }
    let why = refused(stream, &idle).await;
    assert!(why.contains("does not meet the target"), "{why}");
    core.counted("bad_header", 1.0).await;

    // Where it stands it may say a few times, as one that was cut off does.
    let stray = |number: u8| block_on(BlockHash::from_byte_array([number; 32]), 1).header;
    for number in 1..=5 {
        stream.announce(vec![serialize(&stray(number))]).await;
    }
    core.counted("anchor", 6.0).await;
    let why = refused(stream, &stray(9)).await;
    assert!(why.contains("not known"), "{why}");
    core.counted("unknown_parent", 1.0).await;

    // Of a node only the last one is known; where the other one stands the first did.
    other.announce(vec![serialize(&genesis())]).await;
    core.counted("anchor", 7.0).await;
    // Nothing of all that has reached the other node.
    let block = block_on(genesis().block_hash(), 2);
    stream.announce(vec![serialize(&block.header)]).await;
    asked(stream, &block).await;
    announced(other, &block).await;

    for _ in 0..40 {
        stream.announce(vec![serialize(&idle)]).await;
    }
    let throttled = loop {
        match stream.told().await {
            Some(Told::Throttled(throttled)) => break throttled,
            Some(Told::Refused(_)) => {}
            unexpected => panic!("{unexpected:?}"),
        }
    };
    assert!(throttled.retry_ms > 0, "{throttled:?}");
    assert!(throttled.what.contains("30 headers"), "{throttled:?}");
    assert!(core.metric("hyperhash_relay_throttled_total").await > 0.5);
    // Who has kept within his budget goes on.
    let next = block_on(block.block_hash(), 3);
    other.announce(vec![serialize(&next.header)]).await;
    asked(other, &next).await;
    announced(stream, &next).await;
}

#[tokio::test]
async fn a_block_of_two_nodes_is_sent_on_once_and_given_to_who_asks_for_it() {
    let core = Relaying::start().await;
    let fleet = Fleet::join(&core.site, 4).await;
    let mut streams = streams(&core, &fleet).await;
    let block = block_on(genesis().block_hash(), 1);
    let (hash, header) = (block.block_hash(), serialize(&block.header));
    streams[0].announce(vec![header.clone()]).await;
    asked(&mut streams[0], &block).await;
    announced(&mut streams[1], &block).await;
    streams[1].announce(vec![header.clone()]).await;
    streams[0].announce(vec![header]).await;
    core.counted("duplicate", 2.0).await;
    announced(&mut streams[2], &block).await;
    streams[2].want(hash).await;
    streams[0].bring(hash, serialize(&block)).await;
    assert_eq!(streams[2].block(hash).await, serialize(&block));
    // One that asks late gets it at once; nobody gets it twice.
    announced(&mut streams[3], &block).await;
    streams[3].want(hash).await;
    streams[3].want(hash).await;
    streams[2].want(hash).await;
    assert_eq!(streams[3].block(hash).await, serialize(&block));
    let next = block_on(hash, 2);
    streams[1].announce(vec![serialize(&next.header)]).await;
    for number in [0, 2, 3] {
        announced(&mut streams[number], &next).await;
    }
    core.counted("relayed", 2.0).await;
    let delivered = core.metric("hyperhash_relay_seconds_count").await;
    assert!((delivered - 2.0).abs() < 0.5, "{delivered}");
}

#[tokio::test]
async fn garbage_ends_the_stream_alone_and_the_block_comes_from_another_who_has_it() {
    let core = Relaying::start().await;
    let fleet = Fleet::join(&core.site, 3).await;
    let mut streams = streams(&core, &fleet).await;
    let block = block_on(genesis().block_hash(), 1);
    let (hash, header) = (block.block_hash(), serialize(&block.header));
    streams[0].announce(vec![header.clone()]).await;
    asked(&mut streams[0], &block).await;
    for stream in &mut streams[1..] {
        announced(stream, &block).await;
    }
    streams[1].announce(vec![header]).await;
    core.counted("duplicate", 1.0).await;
    streams[2].want(hash).await;
    // The header is this one's, the transactions are another's.
    let mut other = block_on(genesis().block_hash(), 2);
    other.header = block.header;
    streams[0].bring(hash, serialize(&other)).await;
    assert!(streams[0].told().await.is_none());
    core.counted("bad_block", 1.0).await;
    asked(&mut streams[1], &block).await;
    streams[1].bring(hash, serialize(&block)).await;
    assert_eq!(streams[2].block(hash).await, serialize(&block));

    let node = &fleet.nodes[0];
    wait_for("it has a session", async || {
        (node.sessions() == 1).then_some(())
    })
    .await;
    node.relay_garbage().await;
    // Its session is the one that it had, and it may try again.
    let detail = core.site.node(&node.name).await.unwrap();
    assert_eq!(detail.node.state, NodeState::Connected);
    assert_eq!(node.sessions(), 1);
    let again = node.relay().await;
    let next = block_on(hash, 3);
    again.announce(vec![serialize(&next.header)]).await;
    for stream in &mut streams[1..] {
        announced(stream, &next).await;
    }
}

#[tokio::test]
async fn a_core_that_relays_no_blocks_says_so() {
    let setup = Setup {
        more: [String::new(), "[relay]\nenabled = false\n".to_owned()],
        ..Setup::default()
    };
    let site = Site::start_with(setup).await;
    let node = launch().await;
    let config = format!(
        "[bitcoin]\nrpc_url = \"{}\"\nrpc_cookie_file = {:?}\n",
        node.url(),
        node.cookie_file()
    );
    let agent = site.start_node("berlin", &config, "");
    wait_for("the agent says that there is no relay", async || {
        agent
            .log()
            .contains("no blocks are relayed here")
            .then_some(())
    })
    .await;
    let detail = site.node("berlin").await.unwrap();
    assert_eq!(detail.node.state, NodeState::Connected);
}
