//! An lnd as hh-treasury's wallet, where `LND_BIN` names its program: it is no part of what is built here.

use crate::bitcoin_core::{BitcoinCore, Chain};
use crate::port::Port;
use crate::process::Process;
use crate::wait::wait_for;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// It makes a wallet and a certificate at its first start.
const START: Duration = Duration::from_secs(120);

/// Its program, if there is one.
#[must_use]
pub fn program() -> Option<PathBuf> {
    std::env::var_os("LND_BIN").map(PathBuf::from)
}

/// One that runs on regtest; killed when it is dropped.
#[derive(Debug)]
pub struct Lnd {
    dir: PathBuf,
    rpc: Port,
    _peers: Port,
    _process: Process,
}

impl Lnd {
    /// Starts it in `dir` on this Bitcoin Core, with a wallet of its own.
    ///
    /// # Panics
    /// If it has no wallet after two minutes.
    pub async fn start(program: &Path, dir: &Path, node: &BitcoinCore) -> Self {
        assert_eq!(
            node.chain,
            Chain::Regtest,
            "its chain is on its command line"
        );
        std::fs::create_dir_all(dir).expect("a test's directory can be written");
        let (rpc, peers) = (Port::take(), Port::take());
        let cookie = std::fs::read_to_string(node.cookie_file()).expect("the node runs");
        let login = cookie.trim().split_once(':');
        let (user, password) = login.expect("a cookie is USER:PASSWORD");
        let mut command = Command::new(program);
        command
            .args(["--bitcoin.active", "--bitcoin.regtest"])
            .args(["--bitcoin.node=bitcoind", "--bitcoind.rpcpolling"])
            .args([
                "--bitcoind.blockpollinginterval=1s",
                "--bitcoind.txpollinginterval=1s",
            ])
            .arg(format!(
                "--bitcoind.rpchost={}",
                node.rpc_url().replace("http://", "")
            ))
            .arg(format!("--bitcoind.rpcuser={user}"))
            .arg(format!("--bitcoind.rpcpass={password}"))
            .args(["--noseedbackup", "--norest", "--debuglevel=warn"])
            .arg(format!("--lnddir={}", dir.display()))
            .arg(format!("--rpclisten=127.0.0.1:{}", rpc.number))
            .arg(format!("--listen=127.0.0.1:{}", peers.number));
        let lnd = Self {
            dir: dir.to_owned(),
            rpc,
            _peers: peers,
            _process: Process::spawn("lnd", command, dir),
        };
        let macaroon = wait_for("lnd has made its wallet", START, async || {
            std::fs::read(lnd.macaroon()).ok()
        })
        .await;
        crate::treasury::secret(dir, "macaroon.hex", &hex::encode(macaroon));
        lnd
    }

    fn macaroon(&self) -> PathBuf {
        self.dir.join("data/chain/bitcoin/regtest/admin.macaroon")
    }

    /// What makes it hh-treasury's wallet.
    #[must_use]
    pub fn config(&self) -> String {
        let (dir, rpc) = (self.dir.display(), self.rpc.number);
        format!(
            "[lightning.lnd]\naddress = \"127.0.0.1:{rpc}\"\ncertificate = \"{dir}/tls.cert\"\nmacaroon = \"file:{dir}/macaroon.hex\"\n"
        )
    }
}
