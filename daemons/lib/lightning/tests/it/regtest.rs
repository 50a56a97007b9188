//! A bitcoin-node on regtest in a temporary directory, killed on drop.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bitcoin::{Address, Network, ScriptBuf, Txid};
use bitcoincore_rpc::{Auth, Client, RpcApi};
use serde_json::json;

/// A loaded machine may take long to start a process, or to settle a payment.
pub(crate) const LONG: Duration = Duration::from_secs(120);

pub(crate) struct Regtest {
    child: Child,
    dir: tempfile::TempDir,
    port: Port,
}

impl Drop for Regtest {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Regtest {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hh-bitcoin")
            .tempdir()
            .unwrap();
        let port = Port::take();
        let child = spawn(dir.path(), port.number);
        let node = Self { child, dir, port };
        node.wait_until_it_answers().await;
        node
    }

    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Ends it as systemd would, and starts it again: with another cookie.
    pub(crate) async fn restart(&mut self) {
        let _bye: serde_json::Value = self.call("stop", &[]);
        drop(self.child.wait());
        self.restart_after_kill().await;
    }

    pub(crate) async fn restart_after_kill(&mut self) {
        self.child = spawn(self.dir.path(), self.port.number);
        self.wait_until_it_answers().await;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }

    pub(crate) fn cookie_file(&self) -> PathBuf {
        self.dir.path().join("regtest").join(".cookie")
    }

    fn rpc(&self) -> Result<Client, bitcoincore_rpc::Error> {
        Client::new(&self.url(), Auth::CookieFile(self.cookie_file()))
    }

    fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        params: &[serde_json::Value],
    ) -> T {
        self.rpc().unwrap().call(method, params).unwrap()
    }

    async fn wait_until_it_answers(&self) {
        wait_for("bitcoin-node answers", async || {
            self.rpc().ok()?.get_blockchain_info().ok()
        })
        .await;
    }

    pub(crate) fn height(&self) -> u32 {
        self.call("getblockcount", &[])
    }

    pub(crate) fn is_in_mempool(&self, txid: Txid) -> bool {
        let entry: Result<serde_json::Value, _> = self
            .rpc()
            .unwrap()
            .call("getmempoolentry", &[json!(txid.to_string())]);
        entry.is_ok()
    }

    /// Blocks that pay `address`.
    pub(crate) fn generate_to(&self, count: u32, address: &Address) {
        let _hashes: Vec<String> = self.call(
            "generatetoaddress",
            &[json!(count), json!(address.to_string())],
        );
    }

    /// Blocks that pay everyone.
    pub(crate) fn generate(&self, count: u32) {
        let anyone = ScriptBuf::from_bytes(vec![0x51]);
        self.generate_to(count, &Address::p2wsh(&anyone, Network::Regtest));
    }
}

fn spawn(dir: &Path, port: u16) -> Child {
    Command::new(executable())
        .args(["-regtest", "-server=1", "-listen=0", "-connect=0"])
        .args(["-dnsseed=0", "-fixedseeds=0", "-nodebuglogfile"])
        .args(["-maxtipage=1000000000", "-dbcache=16", "-par=1"])
        .arg(format!("-datadir={}", dir.display()))
        .arg(format!("-rpcport={port}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn executable() -> PathBuf {
    if let Some(path) = std::env::var_os("BITCOIN_NODE") {
        return path.into();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../scripts/bitcoin-core");
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

/// A port that no other test has while this lives: below Linux's ephemeral ports, so that no connection can hold it, and
/// locked as `hh_tests::port` does.
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

impl Port {
    pub(crate) fn take() -> Self {
        let dir = PathBuf::from("/tmp/hyperhash-test-ports");
        std::fs::create_dir_all(&dir).unwrap();
        let first = u16::try_from(std::process::id() % 12_000).unwrap();
        let candidates = (0..12_000).map(|n| 20_000 + (first + n) % 12_000);
        let mut free = candidates.filter_map(|number| {
            let path = dir.join(number.to_string());
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)
                .unwrap();
            let free = lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok();
            free.then_some(Self {
                number,
                _lock: lock,
            })
        });
        free.next().unwrap()
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn wait_for<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        loop {
            interval.tick().await;
            if let Some(answer) = condition().await {
                return answer;
            }
        }
    };
    match tokio::time::timeout(LONG, asking).await {
        Ok(answer) => answer,
        Err(_elapsed) => panic!("not within {LONG:?}: {what}"),
    }
}
