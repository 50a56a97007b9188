//! The binary with its files in a temporary directory, killed on drop.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hh_ipc::api::template_provider::{TemplateProviderClient, TemplateProviderStatus};
use hh_ipc::client;
use hh_sv2::{AuthorityPublicKey, AuthoritySecretKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{Node, SOON, START, wait_for};

pub(crate) struct Tp {
    child: Child,
    dir: tempfile::TempDir,
    log: Arc<Mutex<String>>,
    collectors: Vec<JoinHandle<()>>,
    pub(crate) authority: AuthorityPublicKey,
}

impl Drop for Tp {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("log of hh-tp:\n{}", self.log());
        }
    }
}

/// The configuration for a node, without what [`Tp::with`] adds.
pub(crate) fn config(node: &Node, chain: &str) -> String {
    format!(
        "chain = \"{chain}\"\nlisten_address = \"127.0.0.1:0\"\nfee_delta_sats = 1000\ntemplate_interval_seconds = 0\n\
         return_after_seconds = 1\n{}",
        node_config(node, "first")
    )
}

/// One more node at the end of a configuration.
pub(crate) fn node_config(node: &Node, name: &str) -> String {
    format!(
        "[[nodes]]\nname = \"{name}\"\nipc_socket = {:?}\nrpc_url = \"{}\"\nrpc_cookie_file = {:?}\n",
        node.socket(),
        node.url(),
        node.cookie_file()
    )
}

impl Tp {
    pub(crate) fn start(node: &Node) -> Self {
        Self::with(&config(node, "regtest"))
    }

    pub(crate) fn with(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("hh-tp").tempdir().unwrap();
        let key = AuthoritySecretKey::generate();
        let key_file = dir.path().join("key");
        std::fs::write(&key_file, key.to_secret_hex()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key_file, mode).unwrap();
        let common = format!(
            "runtime_dir = {:?}\ndata_dir = {:?}\nauthority_secret_key = \"file:{}\"\nmetrics_address = \"127.0.0.1:0\"\n",
            dir.path(),
            dir.path().join("data"),
            key_file.display()
        );
        std::fs::write(dir.path().join("hh-tp.toml"), common + config).unwrap();
        let log = Arc::default();
        let (child, collectors) = spawn(&dir, &log);
        Self {
            child,
            dir,
            log,
            collectors,
            authority: key.public_key(),
        }
    }

    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.log.lock().unwrap().clear();
        (self.child, self.collectors) = spawn(&self.dir, &self.log);
    }

    /// All that it has written.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn blocks_dir(&self) -> PathBuf {
        self.dir.path().join("data/blocks")
    }

    /// Waits for it to end by itself, and for the last line of its log.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let status = wait_for("hh-tp ends", START, async || self.child.try_wait().unwrap()).await;
        self.collectors
            .drain(..)
            .for_each(|collector| collector.join().unwrap());
        status
    }

    /// The value of a field in the first log line with this message.
    pub(crate) async fn logged(&self, msg: &str, field: &str) -> String {
        let wanted = format!("\"msg\":\"{msg}\"");
        wait_for(msg, START, async || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(&wanted))?;
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let value = &line[field];
            Some(
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            )
        })
        .await
    }

    /// Where clients connect.
    pub(crate) async fn address(&self) -> String {
        self.logged("listening for clients", "address").await
    }

    /// What Prometheus reads.
    pub(crate) async fn metrics(&self) -> String {
        let address = self.logged("metrics served", "address").await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: tp\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The value of one series, as `name{labels}`; labels in any order.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let metrics = self.metrics().await;
        let mut lines = metrics.lines().filter(|line| line.starts_with(name));
        let is_it = |line: &&str| {
            let has = |(key, value): &(&str, &str)| line.contains(&format!("{key}=\"{value}\""));
            line[name.len()..].starts_with(['{', ' ']) && labels.iter().all(has)
        };
        let value = lines.find(is_it)?.rsplit(' ').next()?;
        Some(value.parse().unwrap())
    }

    /// Calls over its control socket.
    pub(crate) async fn control(&self) -> TemplateProviderClient {
        let path = self.dir.path().join("hh-tp/control.sock");
        let stream = wait_for("control socket", SOON, async || {
            client::dial(&path).await.ok()
        });
        client::template_provider(stream.await)
    }

    pub(crate) async fn status(&self) -> TemplateProviderStatus {
        self.control()
            .await
            .status(client::within(SOON))
            .await
            .unwrap()
    }
}

fn spawn(dir: &tempfile::TempDir, log: &Arc<Mutex<String>>) -> (Child, Vec<JoinHandle<()>>) {
    // An optimised build of elsewhere, for measurements.
    let program = std::env::var_os("HH_BIN_DIR").map(|dir| PathBuf::from(dir).join("hh-tp"));
    let mut child = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_hh-tp").into()))
        .arg("--config")
        .arg(dir.path().join("hh-tp.toml"))
        .env_remove("HH_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = collect(child.stdout.take().unwrap(), Arc::clone(log));
    let stderr = collect(child.stderr.take().unwrap(), Arc::clone(log));
    (child, vec![stdout, stderr])
}

fn collect(stream: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            *log.lock().unwrap() += &(line.unwrap() + "\n");
        }
    })
}
