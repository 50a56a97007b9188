//! Passes over real stores, with a Bitcoin Core that knows only what a test tells it.

use super::*;
use crate::config::{TreasuryConfig, WindowConfig};
use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Witness,
};
use hh_bitcoin::RpcError;
use hh_ledger::books::BooksError;
use hh_ledger::{BindingRow, Ledger, LedgerError, Location, Origin, ShareRow, Shipment};
use hh_mining::{BlockReport, Network, WindowSize};
use hh_trust::{ReportKey, SaltSecret};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");

/// Long ago, so that everything that waits has waited for too long.
const FOUND_MS: i64 = 1_700_000_000_000;

/// The miner to whose channel every winning share belongs.
const PREFIX: [u8; 8] = [0, 7, 0, 0, 0, 0, 0, 1];

#[test]
fn a_block_that_nobody_has_followed_for_days_is_not_given_up() {
    let deep = 100 + DEPTH + 1;
    assert!(is_followed(BookBlockState::Tracked, 100, deep));
    assert!(is_followed(BookBlockState::Mature, 100, deep));
    assert!(!is_followed(BookBlockState::Payable, 100, deep));
    assert!(is_followed(BookBlockState::Payable, 100, deep - 1));
}

/// What the node says of a block: its height, its confirmations, and the block, where it has not been pruned.
#[derive(Clone, Debug)]
struct Known {
    height: u32,
    confirmations: i32,
    hex: Option<String>,
}

#[derive(Debug, Default)]
struct FakeCore {
    tip: u32,
    blocks: BTreeMap<String, Known>,
}

impl FakeCore {
    fn answer(&self, method: &str, hash: &str) -> Result<Value, i32> {
        match method {
            "getnetworkinfo" => Ok(
                json!({ "version": 310_000, "subversion": "/Satoshi:31.0.0/", "connections": 8 }),
            ),
            "getblockchaininfo" => Ok(json!({
                "chain": "signet", "blocks": self.tip, "headers": self.tip, "bestblockhash": "00".repeat(32),
                "chainwork": "00".repeat(32), "time": 0, "initialblockdownload": false,
            })),
            "getblockheader" => {
                let known = self.blocks.get(hash).ok_or(-5)?;
                Ok(json!({
                    "height": known.height, "confirmations": known.confirmations, "nTx": 1, "hash": hash,
                    "previousblockhash": "00".repeat(32), "time": 0, "mediantime": 0,
                }))
            }
            // "Block not available (pruned data)".
            "getblock" => self
                .blocks
                .get(hash)
                .and_then(|known| known.hex.clone())
                .map(Value::from)
                .ok_or(-1),
            _ => Err(-32_601),
        }
    }
}

/// Answers one call.
fn serve(core: &Mutex<FakeCore>, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let call: Value = serde_json::from_slice(&body)?;
    let (method, hash) = (call["method"].as_str().unwrap(), &call["params"][0]);
    let answer = core
        .lock()
        .unwrap()
        .answer(method, hash.as_str().unwrap_or_default());
    let answer = match answer {
        Ok(result) => json!({ "result": result, "error": null, "id": call["id"] }),
        Err(code) => {
            json!({ "result": null, "error": { "code": code, "message": "no" }, "id": call["id"] })
        }
    };
    let body = answer.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    reader.into_inner().write_all((head + &body).as_bytes())
}

fn listen(core: Arc<Mutex<FakeCore>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(&core, stream.unwrap()).ok();
        }
    });
    url
}

/// The follower with all that it needs.
struct Desk {
    core: Arc<Mutex<FakeCore>>,
    ledger: Ledger,
    follower: Follower,
    nudged: mpsc::Receiver<Nudge>,
    next_seq: u64,
    _dir: TempDir,
}

fn config(dir: &Path, url: &str) -> TreasuryConfig {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let text = example
        .replace("http://127.0.0.1:38332", url)
        .replace("/var/lib/bitcoind/signet/.cookie", "/dev/null");
    let path = dir.join("hh-treasury.toml");
    std::fs::write(&path, text).unwrap();
    hh_daemon::load::<TreasuryConfig>(&path).unwrap().1
}

fn script() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

fn hash(n: u8) -> BlockHash {
    BlockHash::from_byte_array([n; 32])
}

impl Desk {
    fn new(window: WindowConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let core = Arc::new(Mutex::new(FakeCore::default()));
        let url = listen(Arc::clone(&core));
        let location = Location::Sqlite(dir.path().join("pool.db"));
        let ledger = Ledger::open(&location, "pool-1").unwrap();
        let books = Location::Sqlite(dir.path().join("treasury.db"));
        let books = Books::open(&books, &dir.path().join("witness")).unwrap();
        let (nudges, nudged) = mpsc::channel(1);
        let follower = Follower {
            chain: Chain::new(&config(dir.path(), &url)).unwrap(),
            splitter: Splitter {
                books: books.clone(),
                ledger: ledger.reader().clone(),
                window,
                network: Network::Signet,
                scripts: vec![script()],
                key: Arc::new(ReportKey::generate().unwrap()),
                salts: Arc::new(hex::encode([7; 32]).parse::<SaltSecret>().unwrap()),
            },
            books,
            books_link: Link::new("books"),
            ledger: ledger.reader().clone(),
            ledger_link: Link::new("ledger"),
            tip: watch::channel(None).0,
            nudges,
        };
        Self {
            core,
            ledger,
            follower,
            nudged,
            next_seq: 1,
            _dir: dir,
        }
    }

    /// A block of `alice` that the pool and the node have, with some shares before it.
    async fn find(&mut self, n: u8, height: u32) {
        self.ship(n, PREFIX).await;
        self.put(n, height).await;
    }

    /// Shares of `bob`, then the winning one; alice's channel is bound to `bound`.
    async fn ship(&mut self, n: u8, bound: [u8; 8]) {
        let first_seq = self.next_seq;
        let alice = Arc::new(Origin::new("alice", "rig", "core", "main").unwrap());
        let bob = Arc::new(Origin::new("bob", "rig", "core", "main").unwrap());
        let share = |seq: u64, origin: &Arc<Origin>, hash| ShareRow {
            seq,
            accepted_at_ms: found_ms(n),
            origin: Arc::clone(origin),
            hash,
            extranonce_prefix: PREFIX,
            channel_id: 1,
            job_id: 1,
            nbits: 0x1d00_ffff,
            ntime: 1,
            nonce: 1,
            version: 1,
            work: 1 << 32,
            score: 1 << 90,
            is_block: hash != BlockHash::from_byte_array([0; 32]),
        };
        let shares = vec![
            share(first_seq + 1, &bob, BlockHash::from_byte_array([0; 32])),
            share(first_seq + 2, &alice, hash(n)),
        ];
        let binding = BindingRow {
            seq: first_seq,
            bound_at_ms: found_ms(n),
            extranonce_prefix: bound,
            origin: alice,
        };
        let shipment = Shipment {
            epoch: [7; 16],
            first_seq,
            last_seq: first_seq + 2,
            shares,
            // It is bound once.
            bindings: if first_seq == 1 {
                vec![binding]
            } else {
                Vec::new()
            },
            watermark_ms: Some(found_ms(n) + 5_000),
        };
        self.next_seq += 3;
        self.ledger.ship(Arc::new(shipment)).await.unwrap();
    }

    async fn put(&self, n: u8, height: u32) {
        let block = BlockRow {
            hash: hash(n),
            height,
            state: BlockState::Accepted,
            reason: None,
            account: "alice".to_owned(),
            worker: "rig".to_owned(),
            node: "core".to_owned(),
            lane: "main".to_owned(),
            found_at_ms: found_ms(n),
            value_sat: 5_000_000_000,
            extranonce_prefix: hex::encode(PREFIX),
            paths: Vec::new(),
        };
        self.ledger.put_block(block).await.unwrap();
        self.ledger.cut_blocks().await.unwrap();
        let known = Known {
            height,
            confirmations: 1,
            hex: Some(block_hex()),
        };
        let hash = core_name(n);
        self.core.lock().unwrap().blocks.insert(hash, known);
    }

    fn tell(&self, n: u8, change: impl FnOnce(&mut Known)) {
        let mut core = self.core.lock().unwrap();
        change(core.blocks.get_mut(&core_name(n)).unwrap());
    }

    fn set_tip(&self, height: u32) {
        let mut core = self.core.lock().unwrap();
        core.tip = height;
        for known in core.blocks.values_mut() {
            if known.confirmations > 0 {
                known.confirmations = i32::try_from(height - known.height + 1).unwrap();
            }
        }
    }

    async fn pass(&self) -> Result<(), PassError> {
        let view = self.follower.chain.view().await.unwrap();
        self.follower.pass(&view).await
    }

    async fn block(&self, n: u8) -> BookBlock {
        let block = self.follower.books.block(hash(n)).await.unwrap();
        block.unwrap()
    }

    async fn report(&self, n: u8) -> BlockReport {
        let report = self.follower.books.report(hash(n)).await.unwrap();
        BlockReport::parse(&report.unwrap().json).unwrap()
    }

    /// The block at which the round of the split that stands begins.
    async fn previous(&self, n: u8) -> Option<BlockHash> {
        match self.report(n).await.window {
            WindowSize::Round { previous } => previous,
            WindowSize::Pplns { .. } => panic!("it is split over a round"),
        }
    }
}

fn found_ms(n: u8) -> i64 {
    FOUND_MS + i64::from(n) * 10_000
}

fn core_name(n: u8) -> String {
    hex::encode([n; 32])
}

fn block_hex() -> String {
    let script_sig = Builder::new()
        .push_int(1_000)
        .push_slice([PREFIX, [9; 8]].concat().first_chunk::<16>().unwrap())
        .into_script();
    let coinbase = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig,
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(5_000_000_000),
            script_pubkey: script(),
        }],
    };
    serialize_hex(&bitcoin::Block {
        header: bitcoin::block::Header {
            version: bitcoin::block::Version::TWO,
            prev_blockhash: bitcoin::BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: 0,
            bits: CompactTarget::from_consensus(0),
            nonce: 0,
        },
        txdata: vec![coinbase],
    })
}

fn pplns() -> WindowConfig {
    WindowConfig::Pplns(4.0)
}

#[tokio::test]
async fn a_block_that_can_not_be_split_stops_no_other_ones_money() {
    let mut desk = Desk::new(pplns());
    for (n, height) in [(1, 100), (2, 101), (3, 102)] {
        desk.find(n, height).await;
    }
    // Of the lowest the node has the header only.
    desk.tell(1, |known| known.hex = None);
    desk.set_tip(202);
    for _ in 0..4 {
        desk.pass().await.unwrap();
    }
    assert_eq!(desk.block(1).await.split_at_ms, None);
    for n in [2, 3] {
        assert_eq!(desk.block(n).await.state, BookBlockState::Payable, "{n}");
    }
    assert!(
        desk.nudged.try_recv().is_ok(),
        "who is owed something is paid"
    );

    // The node has it again.
    desk.tell(1, |known| known.hex = Some(block_hex()));
    for _ in 0..2 {
        desk.pass().await.unwrap();
    }
    assert_eq!(desk.block(1).await.state, BookBlockState::Payable);
}

#[test]
fn only_a_store_or_a_node_that_is_away_ends_a_pass() {
    let is_away = |error: PassError| error.is_away();
    let (url, method) = (String::new(), "getblock");
    let pruned = RpcError::Refused {
        url: url.clone(),
        method,
        code: -1,
        message: "Block not available (pruned data)".to_owned(),
    };
    assert!(!is_away(pruned.into()));
    assert!(is_away(
        RpcError::TimedOut {
            url,
            method,
            seconds: 10
        }
        .into()
    ));
    let edge = LedgerError::EdgeIncomplete {
        block: hash(1),
        minute: 1,
        expected: 2,
        found: 1,
    };
    assert!(!is_away(edge.into()));
    assert!(is_away(LedgerError::Closed.into()));
    assert!(!is_away(BooksError::AnotherSplit { hash: hash(1) }.into()));
    assert!(is_away(BooksError::from(LedgerError::Closed).into()));
}

#[tokio::test]
async fn a_split_of_a_wrong_round_is_made_again_whoever_was_interrupted() {
    let mut desk = Desk::new(WindowConfig::Round);
    for (n, height) in [(1, 100), (2, 102)] {
        desk.find(n, height).await;
    }
    desk.set_tip(102);
    desk.pass().await.unwrap();
    desk.pass().await.unwrap();
    assert_eq!(desk.previous(2).await, Some(hash(1)));

    // Reversed, and then hh-treasury died.
    let books = &desk.follower.books;
    let reversed = books.reverse(hash(1), "reorg".to_owned(), FOUND_MS);
    reversed.await.unwrap();
    desk.tell(1, |known| known.confirmations = -1);
    desk.pass().await.unwrap();
    assert_eq!(desk.previous(2).await, None);
    let made = desk.block(2).await;
    desk.pass().await.unwrap();
    assert_eq!(desk.block(2).await, made, "once it is right it stays");

    // It comes back, and so does the beginning.
    desk.tell(1, |known| known.confirmations = 3);
    desk.pass().await.unwrap();
    desk.pass().await.unwrap();
    assert_eq!(desk.previous(2).await, Some(hash(1)));
    desk.follower.books.verify().await.unwrap();
}

#[tokio::test]
async fn a_block_that_is_heard_of_late_begins_the_round_of_those_above_it() {
    let mut desk = Desk::new(WindowConfig::Round);
    desk.ship(1, PREFIX).await;
    desk.find(2, 102).await;
    desk.set_tip(102);
    desk.pass().await.unwrap();
    assert_eq!(desk.previous(2).await, None);
    desk.put(1, 100).await;
    desk.set_tip(102);
    for _ in 0..2 {
        desk.pass().await.unwrap();
    }
    assert_eq!(desk.previous(1).await, None);
    assert_eq!(desk.previous(2).await, Some(hash(1)));
}

#[tokio::test]
async fn where_no_log_says_whose_block_it_is_the_pool_does() {
    let mut desk = Desk::new(pplns());
    desk.ship(1, [9; 8]).await;
    desk.put(1, 100).await;
    desk.set_tip(100);
    desk.pass().await.unwrap();
    let block = desk.block(1).await;
    assert!(block.split_at_ms.is_some());
    assert_eq!(block.finder, "alice");
}

#[tokio::test]
async fn every_report_names_the_one_before_it() {
    let mut desk = Desk::new(pplns());
    // The hashes fall while the heights rise.
    for (n, height) in [(1, 104), (2, 103), (3, 102), (4, 101)] {
        desk.find(n, height).await;
    }
    desk.set_tip(104);
    desk.pass().await.unwrap();
    let mut before = None;
    for n in [4, 3, 2, 1] {
        assert_eq!(desk.report(n).await.previous_report, before, "{n}");
        let report = desk.follower.books.report(hash(n)).await.unwrap().unwrap();
        before = Some(bitcoin::hashes::sha256::Hash::hash(&report.json).to_byte_array());
    }
}
