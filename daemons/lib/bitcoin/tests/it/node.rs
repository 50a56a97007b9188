//! A bitcoin-node on regtest in a temporary directory, killed on drop.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, BlockHash, Network, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Witness,
};
use bitcoin::{consensus::encode::serialize_hex, hashes::Hash};
use hh_bitcoin::{Rpc, RpcAuth};
use serde_json::{Value, json};

/// A loaded machine may take long to start a process.
pub(crate) const START: Duration = Duration::from_secs(60);
/// For what takes milliseconds on a quiet machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A chain of its own.
pub(crate) const REGTEST: [&str; 3] = ["-regtest", "-listen=0", "-connect=0"];

pub(crate) struct Node {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
    program: PathBuf,
    args: Vec<String>,
    _port_lock: File,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    /// Starts one that answers, with a first block (before it, the node counts as in initial download).
    pub(crate) async fn start() -> Self {
        let node = Self::launch(&executable(), &REGTEST).await;
        node.generate(1).await;
        node
    }

    /// Starts this one and waits until it answers, with these arguments beside those that every node here has.
    pub(crate) async fn launch(program: &Path, args: &[&str]) -> Self {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let dir = tempfile::Builder::new()
            .prefix("hh-node")
            .tempdir()
            .unwrap();
        let (port, port_lock) = take_port();
        let child = spawn(program, &dir, port, &args);
        let node = Self {
            child,
            dir,
            port,
            program: program.to_owned(),
            args,
            _port_lock: port_lock,
        };
        node.wait_until_it_answers().await;
        node
    }

    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again, with the same directory and port; what it had not yet written is gone.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.program, &self.dir, self.port, &self.args);
        self.wait_until_it_answers().await;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn cookie_file(&self) -> PathBuf {
        let chain = if self.args.iter().any(|arg| arg == "-regtest") {
            "regtest"
        } else {
            ""
        };
        self.dir.path().join(chain).join(".cookie")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("node.sock")
    }

    pub(crate) fn rpc(&self) -> Rpc {
        Rpc::new(&self.url(), RpcAuth::CookieFile(self.cookie_file())).unwrap()
    }

    async fn wait_until_it_answers(&self) {
        wait_for("bitcoin-node answers", START, async || {
            let answers = self.rpc().blockchain_info().await.is_ok();
            (answers && self.socket().exists()).then_some(())
        })
        .await;
    }

    pub(crate) async fn call(&self, method: &'static str, params: Vec<Value>) -> Value {
        self.rpc().call(method, params, START).await.unwrap()
    }

    /// Blocks that pay everyone; the hashes.
    pub(crate) async fn generate(&self, count: u32) -> Vec<BlockHash> {
        let address = Address::from_script(&anyone(), Network::Regtest)
            .unwrap()
            .to_string();
        let hashes = self
            .call("generatetoaddress", vec![json!(count), json!(address)])
            .await;
        serde_json::from_value(hashes).unwrap()
    }

    /// Spends the coinbase of the block at `height` (100 blocks deep) into `outputs` outputs that anyone can spend.
    pub(crate) async fn spend_coinbase(
        &self,
        height: u32,
        fee_sats: u64,
        outputs: u32,
    ) -> Transaction {
        let rpc = self.rpc();
        let block = rpc
            .block(rpc.block_hash(height).await.unwrap())
            .await
            .unwrap();
        let coinbase = &block.txdata[0];
        let from = OutPoint::new(coinbase.compute_txid(), 0);
        self.spend(from, coinbase.output[0].value, fee_sats, outputs)
            .await
    }

    pub(crate) async fn spend(
        &self,
        from: OutPoint,
        value: Amount,
        fee_sats: u64,
        outputs: u32,
    ) -> Transaction {
        let each = (value - Amount::from_sat(fee_sats)) / u64::from(outputs);
        let transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: from,
                witness: Witness::from_slice(&[anyone_witness_script().as_bytes()]),
                ..TxIn::default()
            }],
            output: (0..outputs)
                .map(|_| TxOut {
                    value: each,
                    script_pubkey: anyone(),
                })
                .collect(),
        };
        let hex = serialize_hex(&transaction);
        let _txid = self
            .call("sendrawtransaction", vec![json!(hex), json!(0)])
            .await;
        transaction
    }
}

fn spawn(program: &Path, dir: &tempfile::TempDir, port: u16, args: &[String]) -> Child {
    Command::new(program)
        .args(["-server=1", "-dnsseed=0", "-fixedseeds=0"])
        .args(args)
        .args([
            "-nodebuglogfile",
            "-maxtipage=1000000000",
            "-dbcache=16",
            "-par=1",
        ])
        .arg(format!("-datadir={}", dir.path().display()))
        .arg(format!("-rpcport={port}"))
        .arg(format!(
            "-ipcbind=unix:{}",
            dir.path().join("node.sock").display()
        ))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A port that no other test has while the file lives: below Linux's ephemeral ports, so that no connection can hold it, and
/// locked as `hh_tests::port` does.
pub(crate) fn take_port() -> (u16, File) {
    let dir = PathBuf::from("/tmp/hyperhash-test-ports");
    std::fs::create_dir_all(&dir).unwrap();
    let first = u16::try_from(std::process::id() % 12_000).unwrap();
    let candidates = (0..12_000).map(|n| 20_000 + (first + n) % 12_000);
    let mut free = candidates.filter_map(|port| {
        let path = dir.join(port.to_string());
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .unwrap();
        let free = lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok();
        free.then_some((port, lock))
    });
    free.next().unwrap()
}

pub(crate) fn executable() -> PathBuf {
    if let Some(path) = std::env::var_os("BITCOIN_NODE") {
        return path.into();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../scripts/bitcoin-core");
    let script = if PathBuf::from(script).exists() {
        script
    } else {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/bitcoin-core")
    };
    let output = Command::new(script)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "scripts/bitcoin-core found no bitcoin-node"
    );
    String::from_utf8(output.stdout).unwrap().trim().into()
}

fn anyone_witness_script() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

/// P2WSH of OP_TRUE: standard, and anyone can spend it.
pub(crate) fn anyone() -> ScriptBuf {
    ScriptBuf::new_p2wsh(&anyone_witness_script().wscript_hash())
}

/// Asks again and again until there is an answer.
pub(crate) async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let asking = async {
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        loop {
            interval.tick().await;
            if let Some(answer) = condition().await {
                return answer;
            }
        }
    };
    match tokio::time::timeout(limit, asking).await {
        Ok(answer) => answer,
        Err(_elapsed) => panic!("not within {limit:?}: {what}"),
    }
}

/// A hash as mining protocols carry it.
pub(crate) fn bytes(hash: BlockHash) -> [u8; 32] {
    hash.to_byte_array()
}
