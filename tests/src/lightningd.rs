//! A Core Lightning as hh-treasury's wallet, where `LIGHTNINGD_BIN` names its program, with bitcoin-cli on the `PATH`: it is no part of
//! what is built here.

use crate::bitcoin_core::{BitcoinCore, Chain};
use crate::port::Port;
use crate::process::Process;
use crate::wait::wait_until;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// It makes a wallet at its first start, and starts a dozen programs at each.
const START: Duration = Duration::from_secs(120);

/// Its program, if there is one.
#[must_use]
pub fn program() -> Option<PathBuf> {
    std::env::var_os("LIGHTNINGD_BIN").map(PathBuf::from)
}

/// One that runs on regtest; killed when it is dropped.
#[derive(Debug)]
pub struct Lightningd {
    program: PathBuf,
    arguments: Vec<String>,
    dir: PathBuf,
    process: Process,
    _peers: Port,
}

impl Lightningd {
    /// Starts it in `dir` on this Bitcoin Core, with a wallet of its own.
    ///
    /// # Panics
    /// If it takes no calls after two minutes.
    pub async fn start(program: &Path, dir: &Path, node: &BitcoinCore) -> Self {
        assert_eq!(
            node.chain,
            Chain::Regtest,
            "its chain is on its command line"
        );
        std::fs::create_dir_all(dir).expect("a test's directory can be written");
        let peers = Port::take();
        let cookie = std::fs::read_to_string(node.cookie_file()).expect("the node runs");
        let login = cookie.trim().split_once(':');
        let (user, password) = login.expect("a cookie is USER:PASSWORD");
        let url = node.rpc_url().replace("http://", "");
        let (host, port) = url.split_once(':').expect("it is HOST:PORT");
        let arguments = vec![
            "--network=regtest".to_owned(),
            format!("--lightning-dir={}", dir.display()),
            format!("--bitcoin-rpcconnect={host}"),
            format!("--bitcoin-rpcport={port}"),
            format!("--bitcoin-rpcuser={user}"),
            format!("--bitcoin-rpcpassword={password}"),
            format!("--addr=127.0.0.1:{}", peers.number),
            "--log-level=info".to_owned(),
            // It looks for a block every half a minute otherwise.
            "--developer".to_owned(),
            "--dev-bitcoind-poll=1".to_owned(),
        ];
        let lightningd = Self {
            process: spawn(program, &arguments, dir),
            program: program.to_owned(),
            arguments,
            dir: dir.to_owned(),
            _peers: peers,
        };
        lightningd.wait_until_it_answers().await;
        lightningd
    }

    /// `kill -9`, and a new process on the same directory.
    ///
    /// # Panics
    /// If it takes no calls after two minutes.
    pub async fn restart(&mut self) {
        self.process.kill();
        // It is what says that it takes calls.
        std::fs::remove_file(self.socket()).ok();
        self.process = spawn(&self.program, &self.arguments, &self.dir);
        self.wait_until_it_answers().await;
    }

    async fn wait_until_it_answers(&self) {
        let socket = self.socket();
        wait_until("lightningd takes calls", START, async || {
            tokio::net::UnixStream::connect(&socket).await.is_ok()
        })
        .await;
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("regtest/lightning-rpc")
    }

    /// What makes it hh-treasury's wallet.
    #[must_use]
    pub fn config(&self) -> String {
        format!(
            "[lightning.cln]\nsocket = \"{}\"\n",
            self.socket().display()
        )
    }
}

fn spawn(program: &Path, arguments: &[String], dir: &Path) -> Process {
    let mut command = Command::new(program);
    command.args(arguments);
    Process::spawn("lightningd", command, dir)
}
