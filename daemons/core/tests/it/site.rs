//! A core and nodes' agents on this machine, in a directory of the test's. All of it ends with it.

use hh_ipc::api::core::{CoreClient, FleetNodeDetail, NodeService, NodeState, Operation};
use hh_ipc::client;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For anything that a loaded machine takes its time for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// For a daemon to end; the slowest service of these tests takes five seconds.
const STOP: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(50);

/// Asks until there is a value.
pub(crate) async fn wait_for<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A program that was built beside this test.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name(name);
    assert!(
        path.exists(),
        "{} is not there: run `cargo build --workspace --bins` first, as scripts/test does",
        path.display()
    );
    path
}

/// A free port; whoever takes it later is told where it is by this number.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What Prometheus is told by a daemon whose `metrics_address` has this port.
pub(crate) fn scrape(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// A daemon; killed when it is dropped.
pub(crate) struct Daemon {
    name: &'static str,
    dir: PathBuf,
    child: Mutex<Child>,
}

impl Daemon {
    fn start(name: &'static str, dir: &Path) -> Self {
        let child = Self::spawn(name, dir);
        Self {
            name,
            dir: dir.to_owned(),
            child: Mutex::new(child),
        }
    }

    fn spawn(name: &str, dir: &Path) -> Child {
        let log = dir.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        Command::new(program(name))
            .arg("--config")
            .arg(dir.join(format!("{name}.toml")))
            .env_remove("HH_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().ok();
        child.wait().ok();
    }

    /// Starts it again on the same files.
    pub(crate) fn restart(&self) {
        self.kill();
        *self.child.lock().unwrap() = Self::spawn(self.name, &self.dir);
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join(format!("{}.log", self.name))).unwrap_or_default()
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "what a failed test shows")]
    /// By SIGTERM first: an agent that is killed leaves its services behind.
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        let start = Instant::now();
        while start.elapsed() < STOP && matches!(child.try_wait(), Ok(None)) {
            pause();
        }
        child.kill().ok();
        child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(30)..];
            eprintln!("---- {}:\n{}\n----", self.name, tail.join("\n"));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "no runtime is there in a drop")]
fn pause() {
    std::thread::sleep(POLL);
}

/// What hhctl said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// All of a report in JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).expect("a report in JSON")
    }

    /// The item of a report in JSON.
    #[track_caller]
    pub(crate) fn item(&self) -> Value {
        self.json()["item"].clone()
    }
}

/// A core site.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) core: Daemon,
    /// Of enrolment and of sessions.
    pub(crate) ports: [u16; 2],
    /// Of REST, plain.
    pub(crate) rest: u16,
}

/// What is not as it is at a site with one core.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// The site of another replica, whose keys this one has.
    pub(crate) keys_of: Option<&'a Site>,
    /// Where nodes find it, of enrolment and of sessions, if not at its own ports.
    pub(crate) public_ports: Option<[u16; 2]>,
    /// More of its configuration, before the first table and at the end; `{dir}` is its folder.
    pub(crate) more: [String; 2],
    /// Its keys are from before there was one for the audit log.
    pub(crate) has_no_audit_key: bool,
}

impl Site {
    /// Makes the keys of a network with hhctl, and starts a core with them.
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub(crate) async fn start_with(setup: Setup<'_>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hh-core-")
            .tempdir_in("/tmp")
            .unwrap();
        let path = dir.path();
        let context = format!("name = \"site\"\nruntime_dir = {path:?}\n");
        fs::write(path.join("context.toml"), context).unwrap();
        match setup.keys_of {
            Some(other) => copy_keys(&other.path().join("pki"), &path.join("pki")),
            None => make_keys(path),
        }
        fs::create_dir(path.join("data")).unwrap();
        let (ports, rest) = ([free_port(), free_port()], free_port());
        let config = core_config(path, ports, &setup) + &rest_config(path, rest);
        fs::write(path.join("hyperhash-core.toml"), config).unwrap();
        let core = Daemon::start("hyperhash-core", path);
        let site = Self {
            dir,
            core,
            ports,
            rest,
        };
        site.client().await;
        site
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("data/core.db")
    }

    /// Runs a command of an operator.
    pub(crate) fn hhctl(&self, words: &[&str]) -> Said {
        hhctl(self.path(), words)
    }

    /// Calls over core's control socket, as soon as it answers.
    pub(crate) async fn client(&self) -> CoreClient {
        let socket = self.path().join("hyperhash-core/control.sock");
        wait_for("core answers", async || {
            let client = client::core(client::dial(&socket).await.ok()?);
            let hello = client.hello(client::within(PATIENCE)).await;
            hello.is_ok().then_some(client)
        })
        .await
    }

    pub(crate) async fn node(&self, id: &str) -> Option<FleetNodeDetail> {
        let client = self.client().await;
        let node = client.node(client::within(PATIENCE), id.to_owned()).await;
        node.unwrap().ok()
    }

    pub(crate) async fn operation(&self, id: &str) -> Operation {
        let client = self.client().await;
        let operation = client
            .operation(client::within(PATIENCE), id.to_owned())
            .await;
        operation.unwrap().unwrap()
    }

    /// Waits until a service of a connected node runs, and gives what is known of it.
    pub(crate) async fn running(&self, node: &str, service: &str) -> NodeService {
        wait_for(&format!("{service} of {node} runs"), async || {
            let detail = self.node(node).await?;
            let is_connected = detail.node.state == NodeState::Connected;
            let mut services = detail.services.into_iter();
            let found = services.find(|one| one.name == service)?;
            (is_connected && found.state == "running").then_some(found)
        })
        .await
    }

    /// Waits until a node is away.
    pub(crate) async fn away(&self, node: &str) {
        wait_for(&format!("{node} is away"), async || {
            let detail = self.node(node).await?;
            (detail.node.state == NodeState::Away).then_some(())
        })
        .await;
    }

    /// The folder of a node that has a token, and its agent's configuration with these services and this policy.
    pub(crate) fn prepare(&self, node: &str, services: &str, policy: &str) -> PathBuf {
        let dir = self.path().join(node);
        fs::create_dir_all(dir.join("data")).unwrap();
        let config = format!(
            "runtime_dir = {dir:?}\ndata_dir = {:?}\npolicy_file = {:?}\ntoken_file = {:?}\n{services}",
            dir.join("data"),
            dir.join("policy.toml"),
            dir.join("token"),
        );
        fs::write(dir.join("hh-node-agent.toml"), config).unwrap();
        fs::write(dir.join("policy.toml"), policy).unwrap();
        let mode = fs::Permissions::from_mode(0o644);
        fs::set_permissions(dir.join("policy.toml"), mode).unwrap();
        dir
    }

    /// An agent that joins by a token of hhctl.
    pub(crate) fn start_node(&self, node: &str, services: &str, policy: &str) -> Daemon {
        let dir = self.prepare(node, services, policy);
        let token = dir.join("token");
        let made = self.hhctl(&["token", "create", node, "--out", token.to_str().unwrap()]);
        assert_eq!(made.status, 0, "{made:?}");
        self.start_prepared(&dir)
    }

    /// An agent in a folder that [`Self::prepare`] has made.
    pub(crate) fn start_prepared(&self, dir: &Path) -> Daemon {
        Daemon::start("hh-node-agent", dir)
    }

    /// An agent that joins by a token that somebody else has used.
    pub(crate) fn start_thief(&self, token: &str) -> Daemon {
        let dir = self.prepare("thief", "", "");
        let file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(dir.join("token"));
        file.unwrap().write_all(token.as_bytes()).unwrap();
        Daemon::start("hh-node-agent", &dir)
    }
}

fn make_keys(dir: &Path) {
    let pki = dir.join("pki");
    let made = hhctl(
        dir,
        &[
            "pki",
            "init",
            "--trust-domain",
            "hyperhash.test",
            pki.to_str().unwrap(),
        ],
    );
    assert_eq!(made.status, 0, "{made:?}");
}

fn copy_keys(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            // With its mode.
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn core_config(dir: &Path, ports: [u16; 2], setup: &Setup<'_>) -> String {
    let [enrolment, sessions] = ports;
    let [public_enrolment, public_sessions] = setup.public_ports.unwrap_or(ports);
    let more = setup.more.each_ref();
    let [first, last] = more.map(|more| more.replace("{dir}", &dir.display().to_string()));
    let audit_key = match setup.has_no_audit_key {
        true => String::new(),
        false => audit_key_line(dir, "audit.key"),
    };
    let pki = dir.join("pki");
    let key = |name: &str| format!("file:{}", pki.join(name).display());
    format!(
        "runtime_dir = {dir:?}\ntrust_domain = \"hyperhash.test\"\ndata_dir = {:?}\n\
         {first}\n\
         [enrolment]\nlisten_address = \"127.0.0.1:{enrolment}\"\nurl = \"https://127.0.0.1:{public_enrolment}\"\n\
         [sessions]\nlisten_address = \"127.0.0.1:{sessions}\"\npublic_address = \"127.0.0.1:{public_sessions}\"\n\
         [pki]\ndir = {pki:?}\nnode_issuer_key = {:?}\nserver_issuer_key = {:?}\nservice_issuer_key = {:?}\nenrolment_key = {:?}\ncommand_key = {:?}\n{audit_key}{last}\n",
        dir.join("data"),
        key("node-issuer.key"),
        key("server-issuer.key"),
        key("service-issuer.key"),
        key("enrolment.key"),
        key("command.key"),
    )
}

/// In the section of the keys.
pub(crate) fn audit_key_line(dir: &Path, name: &str) -> String {
    let path = dir.join("pki").join(name);
    format!("audit_key = \"file:{}\"\n", path.display())
}

/// As many requests as a tool that tries everything sends.
fn rest_config(dir: &Path, port: u16) -> String {
    let socket = |daemon: &str| dir.join(daemon).join("view.sock");
    format!(
        "[rest]\nlisten_address = \"127.0.0.1:{port}\"\nplain = true\npool_socket = {:?}\ntreasury_socket = {:?}\n\
         public_requests_per_minute = 1000000\nrequests_per_minute = 1000000\n",
        socket("hh-pool"),
        socket("hh-treasury"),
    )
}

/// Runs a command of an operator whose context file is in `dir`.
pub(crate) fn hhctl(dir: &Path, words: &[&str]) -> Said {
    let output = Command::new(program("hhctl"))
        .args(words)
        .current_dir(dir)
        .env("HHCTL_CONTEXT", dir.join("context.toml"))
        .output()
        .unwrap();
    Said {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
