//! How long a large block takes from one node's Bitcoin Core to the others, and its header to all nodes.

use super::{Relaying, launch};
use crate::bitcoin_node::{Node, anyone};
use crate::load::percentile;
use crate::say;
use crate::simulated::{Fleet, RelayStream, Told};
use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::{serialize, serialize_hex};
use bitcoin::hashes::Hash;
use bitcoin::opcodes::all::OP_DROP;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{
    Address, Amount, BlockHash, Network, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Witness,
    transaction,
};
use futures::future::join_all;
use hh_ipc::agent::BlockAssembly;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Simulated nodes of a run, and of a long one. Three real ones are beside them.
const NODES: [usize; 2] = [50, 500];
const REAL: [&str; 3] = ["berlin", "paris", "rome"];

/// Of these, so many ask for each block: ten nodes with the real ones.
const ASKING: usize = 7;

/// Blocks of a run, and of a long one: within the budget of each node, which is by the minute.
const ROUNDS: [usize; 2] = [9, 18];

/// Inputs with a witness of ten kB each: a block of 1.5 MB.
const INPUTS: u32 = 150;
const BLOCK_BYTES_MIN: usize = 1_500_000;

/// Of 99 in 100.
const LATENCY_P99_MAX: Duration = Duration::from_millis(500);

/// For a build that is not optimised, on a machine that does other things: it only has to be there.
const LATENCY_LOOSE_MAX: Duration = Duration::from_secs(30);

/// For all of a round.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// What a simulated node has of a block.
enum Arrival {
    Header(Vec<u8>, Instant),
    Block([u8; 32], Instant, usize),
}

/// Ten kB that anybody can spend with nothing else.
fn large_script() -> ScriptBuf {
    let push = PushBytesBuf::try_from(vec![7; 520]).unwrap();
    let pushes = (0..19).fold(Builder::new(), |script, _| {
        script.push_slice(push.clone()).push_opcode(OP_DROP)
    });
    pushes.push_int(1).into_script()
}

/// Spends these, each by that script, into as many outputs of the large script.
fn spend(from: Vec<OutPoint>, script: &ScriptBuf, each: Amount) -> Transaction {
    let inputs = from.into_iter().map(|previous_output| TxIn {
        previous_output,
        witness: Witness::from_slice(&[script.as_bytes()]),
        ..TxIn::default()
    });
    let output = TxOut {
        value: each,
        script_pubkey: ScriptBuf::new_p2wsh(&large_script().wscript_hash()),
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: inputs.collect(),
        output: vec![output; usize::try_from(INPUTS).unwrap()],
    }
}

/// Finds a block with this transaction.
async fn find(node: &Node, transaction: &Transaction) -> BlockHash {
    let address = Address::from_script(&anyone(), Network::Regtest).unwrap();
    let params = vec![
        json!(address.to_string()),
        json!([serialize_hex(transaction)]),
    ];
    let found = node.call("generateblock", params).await;
    found["hash"].as_str().unwrap().parse().unwrap()
}

/// Three nodes with the same chain, and a coinbase that can be spent.
async fn chain() -> ([Node; 3], OutPoint, Amount) {
    let nodes = [launch().await, launch().await, launch().await];
    let hashes = nodes[0].generate(101).await;
    for hash in &hashes {
        let block = nodes[0].rpc().raw_block(*hash).await.unwrap();
        for other in &nodes[1..] {
            assert_eq!(other.rpc().submit_block(&block).await.unwrap(), None);
        }
    }
    let first = nodes[0].rpc().block(hashes[0]).await.unwrap();
    let coinbase = &first.txdata[0];
    let outpoint = OutPoint::new(coinbase.compute_txid(), 0);
    (nodes, outpoint, coinbase.output[0].value)
}

/// Says what comes, and asks for each block where that is its part.
async fn listen(mut stream: RelayStream, is_asking: bool, arrivals: mpsc::Sender<Arrival>) {
    let mut assembly: Option<BlockAssembly> = None;
    while let Some(told) = stream.told().await {
        match told {
            Told::Announce(announce) => {
                let header = announce.headers.into_iter().next_back().unwrap();
                if is_asking {
                    stream.want(hash_of(&header)).await;
                }
                let arrival = Arrival::Header(header, Instant::now());
                arrivals.send(arrival).await.unwrap();
            }
            Told::Chunk(chunk) => {
                let hash: [u8; 32] = chunk.block_hash.clone().try_into().unwrap();
                let known = assembly.take().filter(|one| one.hash() == hash);
                let mut block = known.unwrap_or_else(|| BlockAssembly::new(hash));
                if block.push(&chunk).unwrap() {
                    let bytes = block.into_bytes().len();
                    let arrival = Arrival::Block(hash, Instant::now(), bytes);
                    arrivals.send(arrival).await.unwrap();
                } else {
                    assembly = Some(block);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn hash_of(header: &[u8]) -> BlockHash {
    let header: bitcoin::block::Header = bitcoin::consensus::deserialize(header).unwrap();
    header.block_hash()
}

#[expect(
    clippy::disallowed_methods,
    reason = "nodes are on their own, as the machines they stand for"
)]
fn begin(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

/// Two connections for each node are more than a shell allows at first.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// What one block took: to each node that asked for it, and its header to each that is told.
#[derive(Default)]
struct Measured {
    blocks: Vec<Duration>,
    headers: Vec<Duration>,
}

impl Measured {
    /// Waits until the block is everywhere, which was its finder's tip at `start`.
    async fn follow(
        &mut self,
        (hash, start): (BlockHash, Instant),
        (others, height): (&[&Node], u32),
        (arrivals, told): (&mut mpsc::Receiver<Arrival>, usize),
    ) {
        let real = join_all(others.iter().map(|node| async move {
            let tip = node.rpc().tip_from(height, ROUND_LIMIT).await.unwrap();
            assert_eq!(tip.hash, hash);
            start.elapsed()
        }));
        let simulated = async {
            let (mut blocks, mut headers) = (Vec::new(), Vec::new());
            while blocks.len() < ASKING || headers.len() < told {
                match arrivals.recv().await.unwrap() {
                    Arrival::Header(header, at) if hash_of(&header) == hash => {
                        headers.push(at.saturating_duration_since(start));
                    }
                    Arrival::Block(of, at, bytes) if of == hash.to_byte_array() => {
                        assert!(bytes >= BLOCK_BYTES_MIN, "{bytes}");
                        blocks.push(at.saturating_duration_since(start));
                    }
                    // Of the block before.
                    Arrival::Header(..) | Arrival::Block(..) => {}
                }
            }
            (blocks, headers)
        };
        let all = async { tokio::join!(real, simulated) };
        let all = tokio::time::timeout(ROUND_LIMIT, all).await;
        let (real, (blocks, headers)) = all.expect("the block is everywhere");
        self.blocks.extend(real);
        self.blocks.extend(blocks);
        self.headers.extend(headers);
    }

    fn p99(times: &mut [Duration], what: &str) -> Duration {
        times.sort_unstable();
        let [half, p99] = [50, 99].map(|hundredths| percentile(times, hundredths));
        say(&format!(
            "{what}: {half:.1?} (median), {p99:.1?} (99 in 100)"
        ));
        p99
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_block_is_soon_at_ten_nodes_and_its_header_at_all() {
    raise_open_files();
    let size = usize::from(std::env::var_os("HH_TEST_ALL").is_some());
    let (count, rounds) = (NODES[size], ROUNDS[size]);
    let (nodes, coinbase, value) = chain().await;
    let core = Relaying::start().await;
    let _agents: Vec<_> = nodes
        .iter()
        .zip(REAL)
        .map(|(node, name)| core.start_agent(name, node))
        .collect();
    let mut fleet = Fleet::join(&core.site, count).await;
    let (sender, mut arrivals) = mpsc::channel(4 * count);
    let mut listening = Vec::new();
    for (number, node) in fleet.nodes.iter().enumerate() {
        let stream = node.relay().await;
        let listen = listen(stream, number < ASKING, sender.clone());
        listening.push(begin(listen));
    }
    let all = u32::try_from(count + REAL.len()).unwrap();
    core.joined(all.into(), 3.0).await;

    // The small block that makes large ones possible is heard of, too.
    let each = value / u64::from(INPUTS);
    let script = ScriptBuf::from_bytes(vec![0x51]);
    let mut transaction = spend(vec![coinbase], &script, each);
    let mut tip = find(&nodes[0], &transaction).await;
    super::all_at(&nodes, tip).await;
    let mut measured = Measured::default();
    for round in 0..rounds {
        let txid = transaction.compute_txid();
        let outputs = (0..INPUTS).map(|number| OutPoint::new(txid, number));
        transaction = spend(outputs.collect(), &large_script(), each);
        assert!(serialize(&transaction).len() > BLOCK_BYTES_MIN);
        let finder = round % REAL.len();
        let height = 103 + u32::try_from(round).unwrap();
        let begun = async {
            let rpc = nodes[finder].rpc();
            rpc.tip_from(height, ROUND_LIMIT).await.unwrap();
            Instant::now()
        };
        let (found, start) = tokio::join!(find(&nodes[finder], &transaction), begun);
        tip = found;
        let others = nodes.iter().enumerate();
        let others = others.filter(|(number, _)| *number != finder);
        let others: Vec<&Node> = others.map(|(_, node)| node).collect();
        measured
            .follow(
                (tip, start),
                (others.as_slice(), height),
                (&mut arrivals, count),
            )
            .await;
    }
    super::all_at(&nodes, tip).await;
    say(&format!("block relay, {rounds} blocks of 1.5 MB:"));
    let block = Measured::p99(
        &mut measured.blocks,
        "to ten nodes, three with Bitcoin Core",
    );
    let header = Measured::p99(&mut measured.headers, &format!("header to {count} nodes"));
    listening.iter().for_each(JoinHandle::abort);
    fleet.stop().await;
    let most = match size {
        0 => LATENCY_LOOSE_MAX,
        _ => LATENCY_P99_MAX,
    };
    assert!(block < most, "{block:?}");
    assert!(header < most, "{header:?}");
}
