//! A Bitcoin Core node of our own in a temporary directory, with its RPC and its mining IPC.

use crate::block_maker::make_block;
use crate::port::Port;
use crate::process::Process;
use crate::wait::wait_blocking;
use bitcoin::{Block, BlockHash};
use bitcoincore_rpc::{Auth, Client, RpcApi};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From the start of the process to the first answer: a loaded machine takes some seconds.
const START: Duration = Duration::from_secs(60);

/// The chain a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every share harder than 2^255 is a block: where only chain events matter.
    Regtest,
    /// Signet with the challenge `51` (OP_TRUE): anybody may make blocks, of 4.8 million hashes each.
    Signet,
}

impl Chain {
    /// As our daemons' configs name it, and Bitcoin Core its subdirectory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Regtest => "regtest",
            Self::Signet => "signet",
        }
    }

    /// The network in rust-bitcoin's words.
    #[must_use]
    pub fn network(self) -> bitcoin::Network {
        match self {
            Self::Regtest => bitcoin::Network::Regtest,
            Self::Signet => bitcoin::Network::Signet,
        }
    }
}

/// A running node; killed when it is dropped.
#[derive(Debug)]
pub struct BitcoinCore {
    pub chain: Chain,
    process: Process,
    rpc_port: Port,
    dir: tempfile::TempDir,
}

impl BitcoinCore {
    /// Starts one and makes its first block, without which it counts as in initial download.
    ///
    /// # Panics
    /// If there is no usable bitcoin-node, or it does not answer in a minute.
    #[must_use]
    pub fn start(chain: Chain) -> Self {
        let node = Self::start_at_genesis(chain);
        node.generate(1);
        node
    }

    /// Starts one whose only block is two days old, as that of a devnet that was down over a weekend. It is on regtest, the
    /// only chain on which Bitcoin Core lets its clock be set.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with_old_tip() -> Self {
        const TWO_DAYS: Duration = Duration::from_secs(2 * 24 * 60 * 60);
        let node = Self::start_at_genesis(Chain::Regtest);
        let then = SystemTime::now() - TWO_DAYS;
        let then = then.duration_since(UNIX_EPOCH).expect("it is after 1970");
        node.set_time(then.as_secs());
        node.generate(1);
        // The clock of the machine again.
        node.set_time(0);
        node
    }

    fn set_time(&self, seconds: u64) {
        let answer: Result<serde_json::Value, _> =
            self.rpc().call("setmocktime", &[seconds.into()]);
        answer.expect("regtest lets its clock be set");
    }

    fn start_at_genesis(chain: Chain) -> Self {
        let dir = crate::directory("node");
        let rpc_port = Port::take();
        let process = Self::spawn(chain, dir.path(), rpc_port.number);
        let node = Self {
            chain,
            dir,
            rpc_port,
            process,
        };
        node.wait_until_it_answers();
        node
    }

    fn spawn(chain: Chain, dir: &Path, rpc_port: u16) -> Process {
        let mut command = Command::new(executable());
        command
            .arg(format!("-datadir={}", dir.display()))
            .arg(format!("-rpcport={rpc_port}"))
            .arg(format!("-ipcbind=unix:{}", ipc_socket(dir).display()))
            // A test chain's tip may be of any age.
            .arg("-maxtipage=1000000000")
            .args([
                "-server=1",
                "-listen=0",
                "-connect=0",
                "-dnsseed=0",
                "-fixedseeds=0",
            ])
            .args(["-printtoconsole=1", "-nodebuglogfile"])
            .args(["-dbcache=16", "-par=1", "-persistmempool=0"]);
        match chain {
            Chain::Regtest => command.arg("-regtest"),
            Chain::Signet => command.args(["-signet", "-signetchallenge=51"]),
        };
        Process::spawn("bitcoin-node", command, dir)
    }

    fn wait_until_it_answers(&self) {
        wait_blocking("bitcoin-node answers RPC", START, || {
            assert!(
                self.process.is_running(),
                "bitcoin-node ended:\n{}",
                self.process.log_tail()
            );
            // The cookie is written before the server warms up, and the socket may be there later still.
            let client = self.try_rpc().ok()?;
            client.get_blockchain_info().ok()?;
            self.ipc_socket().exists().then_some(())
        });
    }

    fn try_rpc(&self) -> Result<Client, bitcoincore_rpc::Error> {
        Client::new(&self.rpc_url(), Auth::CookieFile(self.cookie_file()))
    }

    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// A new client; each has a connection of its own.
    ///
    /// # Panics
    /// If the node is down.
    #[must_use]
    pub fn rpc(&self) -> Client {
        self.try_rpc().expect("the node's cookie can be read")
    }

    #[must_use]
    pub fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc_port.number)
    }

    #[must_use]
    pub fn cookie_file(&self) -> PathBuf {
        self.dir.path().join(self.chain.name()).join(".cookie")
    }

    #[must_use]
    pub fn ipc_socket(&self) -> PathBuf {
        ipc_socket(self.dir.path())
    }

    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes `count` blocks that pay nobody in particular.
    ///
    /// # Panics
    /// If the node refuses.
    pub fn generate(&self, count: u32) -> Vec<BlockHash> {
        self.generate_to(&anyone_can_spend(self.chain), count)
    }

    /// Makes `count` blocks whose coinbases pay this address.
    ///
    /// # Panics
    /// If the node refuses.
    pub fn generate_to(&self, address: &bitcoin::Address, count: u32) -> Vec<BlockHash> {
        let client = self.rpc();
        match self.chain {
            Chain::Regtest => client
                .call(
                    "generatetoaddress",
                    &[count.into(), address.to_string().into()],
                )
                .expect("the node makes blocks"),
            Chain::Signet => {
                let script = address.script_pubkey();
                let blocks = (0..count).map(|_| make_block(&client, &script));
                blocks.collect()
            }
        }
    }

    /// How many transactions are in its mempool.
    ///
    /// # Panics
    /// If the node does not answer.
    #[must_use]
    pub fn mempool_len(&self) -> usize {
        let info = self.rpc().get_mempool_info();
        info.expect("the node answers").size
    }

    /// Height of the best chain.
    ///
    /// # Panics
    /// If the node does not answer.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.rpc().get_block_count().expect("the node answers")
    }

    /// Block at the tip of the best chain.
    ///
    /// # Panics
    /// If the node does not answer.
    #[must_use]
    pub fn tip(&self) -> BlockHash {
        self.rpc().get_best_block_hash().expect("the node answers")
    }

    /// A block, if it lies on the best chain.
    #[must_use]
    pub fn block_on_best_chain(&self, hash: &BlockHash) -> Option<Block> {
        let client = self.rpc();
        let header = client.get_block_header_info(hash).ok()?;
        (header.confirmations >= 1).then(|| client.get_block(hash).expect("its header is known"))
    }

    /// Has it write its chain to the disk: what it has learnt since it last did, a `kill -9` makes it forget.
    ///
    /// # Panics
    /// If the node does not answer.
    pub fn flush(&self) {
        let written: Result<serde_json::Value, _> =
            self.rpc().call("gettxoutsetinfo", &["none".into()]);
        written.expect("the node writes its chain");
    }

    /// Has it leave the chain of this block, for the best one without it.
    ///
    /// # Panics
    /// If the node refuses.
    pub fn invalidate(&self, hash: BlockHash) {
        let client = self.rpc();
        client.invalidate_block(&hash).expect("the node answers");
    }

    /// Has it take a block back that it was made to leave.
    ///
    /// # Panics
    /// If the node refuses.
    pub fn reconsider(&self, hash: BlockHash) {
        let client = self.rpc();
        client.reconsider_block(&hash).expect("the node answers");
    }

    /// What the block at this height of the best chain creates, in satoshi, as Bitcoin Core has it.
    ///
    /// # Panics
    /// If the node does not answer.
    #[must_use]
    pub fn subsidy_sats(&self, height: u64) -> u64 {
        let answer: Result<serde_json::Value, _> = self
            .rpc()
            .call("getblockstats", &[height.into(), ["subsidy"].into()]);
        let stats = answer.expect("the node answers");
        stats["subsidy"].as_u64().expect("it counts in satoshi")
    }

    /// `kill -9`, as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same data, port and socket.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = Self::spawn(self.chain, self.dir.path(), self.rpc_port.number);
        self.wait_until_it_answers();
    }
}

/// Of a script that anyone can spend (P2WSH of OP_TRUE).
#[must_use]
pub fn anyone_can_spend(chain: Chain) -> bitcoin::Address {
    let script = bitcoin::ScriptBuf::from_bytes(vec![0x51]);
    bitcoin::Address::p2wsh(&script, chain.network())
}

/// Kept short: a Unix socket's path holds 107 bytes.
fn ipc_socket(dir: &Path) -> PathBuf {
    dir.join("node.sock")
}

/// `$BITCOIN_NODE`, or what scripts/bitcoin-core finds or builds.
fn executable() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| match std::env::var_os("BITCOIN_NODE") {
        Some(path) => path.into(),
        None => crate::printed_by_script("bitcoin-core"),
    })
}
