//! One of our daemons as a process, with its configuration and state in a directory of the test's.

use crate::process::Process;
use crate::wait::wait_for;
use hh_ipc::api::pool::PoolClient;
use hh_ipc::api::template_provider::TemplateProviderClient;
use hh_ipc::api::translator::TranslatorClient;
use hh_ipc::api::treasury::TreasuryClient;
use hh_ipc::client;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// From the start of a process to its readiness, on a loaded machine.
const START: Duration = Duration::from_secs(120);

/// A daemon ends within its grace period of 10 s; a loaded machine adds to that.
const STOP: Duration = Duration::from_secs(20);

/// What a daemon logs when it does its work.
const READY: &str = r#""msg":"readiness changed""#;

/// A daemon; killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    dir: PathBuf,
    process: Process,
    /// Length of the log when this process was started: what stands before it was written by an earlier one.
    log_start: usize,
}

impl Daemon {
    /// Writes `DIR/NAME.toml` and starts the daemon on it. `config` is its own part of the file: where sockets and logs
    /// go stands before it.
    ///
    /// # Panics
    /// If its binary has not been built.
    #[must_use]
    pub fn start(name: &'static str, dir: &Path, config: &str) -> Self {
        write_config(name, dir, config);
        let process = spawn(name, dir, &[]);
        Self {
            name,
            dir: dir.to_owned(),
            process,
            log_start: 0,
        }
    }

    /// Waits until it does its work.
    ///
    /// # Panics
    /// If it ends, or is not ready in half a minute.
    pub async fn wait_until_ready(&self) {
        wait_for(&format!("{} is ready", self.name), START, async || {
            assert!(self.process.is_running(), "{} has ended", self.name);
            let log = self.log();
            let line = log.lines().rfind(|line| line.contains(READY))?;
            line.contains(r#""ready":true"#).then_some(())
        })
        .await;
    }

    /// Waits until its log since its last start has a line with `text`.
    ///
    /// # Panics
    /// If no such line comes in half a minute.
    pub async fn wait_for_log(&self, text: &str) -> String {
        wait_for(&format!("{} logs {text:?}", self.name), START, async || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(text))?;
            Some(line.to_owned())
        })
        .await
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// If it is still running after a minute: its start timeout and its grace period have passed by then.
    pub fn wait_for_exit(&self) -> ExitStatus {
        self.process.wait(START + START)
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// If it does not end within its grace period.
    pub fn terminate(&self) -> ExitStatus {
        self.process.terminate(STOP)
    }

    /// Starts it again on the same files, after killing what still runs.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// As [`Self::restart`], with these variables in its environment.
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) {
        self.process.kill();
        self.log_start = self.process.log().len();
        self.process = spawn(self.name, &self.dir, environment);
    }

    /// Gives it another configuration, for its next start.
    pub fn write_config(&self, config: &str) {
        write_config(self.name, &self.dir, config);
    }

    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// All that it has written since its last start, on stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log().split_off(self.log_start)
    }

    /// Calls over its control socket, for hh-pool.
    ///
    /// # Panics
    /// If nobody listens on it.
    pub async fn pool(&self) -> PoolClient {
        client::pool(self.dial().await)
    }

    /// Calls over its control socket, for hh-tp.
    ///
    /// # Panics
    /// If nobody listens on it.
    pub async fn template_provider(&self) -> TemplateProviderClient {
        client::template_provider(self.dial().await)
    }

    /// Calls over its control socket, for hh-translator.
    ///
    /// # Panics
    /// If nobody listens on it.
    pub async fn translator(&self) -> TranslatorClient {
        client::translator(self.dial().await)
    }

    /// Calls over its control socket, for hh-treasury.
    ///
    /// # Panics
    /// If nobody listens on it.
    pub async fn treasury(&self) -> TreasuryClient {
        client::treasury(self.dial().await)
    }

    async fn dial(&self) -> tokio::net::UnixStream {
        let path = self.dir.join(self.name).join("control.sock");
        wait_for(
            &format!("{} listens on its control socket", self.name),
            START,
            async || client::dial(&path).await.ok(),
        )
        .await
    }
}

/// Starts a daemon that is to end by itself, waits for that, and returns its status and what it has written.
///
/// # Panics
/// If it is still running after a minute.
#[must_use]
pub fn run_to_its_end(name: &'static str, dir: &Path, config: &str) -> (ExitStatus, String) {
    let daemon = Daemon::start(name, dir, config);
    let status = daemon.wait_for_exit();
    (status, daemon.log())
}

/// The path of one of our programs.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = match std::env::var_os("HH_BIN_DIR") {
        Some(dir) => PathBuf::from(dir).join(name),
        None => {
            // TARGET/debug/deps/it-0123456789abcdef
            let test = std::env::current_exe().expect("a process knows its executable");
            let deps = test.parent().expect("it lies in a folder");
            deps.with_file_name(name)
        }
    };
    assert!(
        path.exists(),
        "{} is not there: run `cargo build --workspace --bins` first, as scripts/test does",
        path.display()
    );
    path
}

fn write_config(name: &str, dir: &Path, config: &str) {
    let text = format!("runtime_dir = {:?}\n{config}", dir.display().to_string());
    std::fs::write(config_file(name, dir), text).expect("a test's directory can be written");
}

fn config_file(name: &str, dir: &Path) -> PathBuf {
    dir.join(format!("{name}.toml"))
}

fn spawn(name: &str, dir: &Path, environment: &[(&str, &str)]) -> Process {
    let mut command = Command::new(program(name));
    command
        .arg("--config")
        .arg(config_file(name, dir))
        .env_remove("HH_LOG")
        .envs(environment.iter().copied());
    Process::spawn(name, command, dir)
}
