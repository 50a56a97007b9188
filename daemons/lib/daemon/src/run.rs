//! A daemon's life: parse, then start, then wait, then stop everything.

use crate::config::{self, Config, ConfigError};
use crate::session_threads::SessionThreads;
use crate::{Context, ExitStatus, Failure, Settings, Tasks, log, memory, metrics, notify};
use clap::{Arg, ArgAction, Command, value_parser};
use std::fmt::Display;
use std::future::pending;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs a daemon from its command line to its exit status: 0 after a stop that was asked for, 78 for a mistake in the
/// command line or the configuration, 69 when nothing that it needs answered in time, 1 for anything else.
///
/// `name` is the program's, `version` the package's. `start` spawns what the daemon consists of on the tasks of its
/// context, and returns; an error of it, or of a task, ends the daemon.
pub fn run<C: Config>(
    name: &'static str,
    version: &'static str,
    start: impl AsyncFnOnce(C, Context) -> Result<(), Failure>,
) -> ExitCode {
    match run_args(name, version, std::env::args_os(), start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(status) => status.into(),
    }
}

/// What is wrong has been told when this returns.
fn run_args<C: Config>(
    name: &'static str,
    version: &'static str,
    args: impl IntoIterator<Item = std::ffi::OsString>,
    start: impl AsyncFnOnce(C, Context) -> Result<(), Failure>,
) -> Result<(), ExitStatus> {
    let matches = match command(name, version).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            error.print().ok();
            let asked = !error.use_stderr();
            return if asked {
                Ok(())
            } else {
                Err(ExitStatus::Config)
            };
        }
    };
    let path = matches
        .get_one::<PathBuf>("config")
        .cloned()
        .unwrap_or_else(|| default_path(name));
    let (settings, config) = config::load(&path).map_err(|error| {
        match &error {
            ConfigError::Mistakes(mistakes) => complain(name, mistakes),
            ConfigError::Read { .. } => complain(name, &crate::Chain(&error)),
        }
        ExitStatus::Config
    })?;
    if matches.get_flag("check-config") {
        writeln!(std::io::stdout(), "{name}: {} is valid", path.display()).ok();
        return Ok(());
    }
    live(name, version, settings, config, start).map_err(|failure| {
        tracing::error!(error = %failure, status = failure.status() as u8, "daemon stopped by an error");
        complain(name, &failure);
        failure.status()
    })
}

fn default_path(name: &str) -> PathBuf {
    PathBuf::from(format!("/etc/hyperhash/{name}.toml"))
}

fn command(name: &'static str, version: &'static str) -> Command {
    let default = default_path(name).display().to_string();
    Command::new(name)
        .version(version)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help(format!("Configuration file [default: {default}]")),
        )
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .action(ArgAction::SetTrue)
                .help("Report every mistake in the configuration, and exit"),
        )
}

/// For people, on stderr: also before there are logs.
fn complain(name: &str, what: &dyn Display) {
    writeln!(std::io::stderr(), "{name}: {what}").ok();
}

fn live<C: Config>(
    name: &'static str,
    version: &'static str,
    settings: Settings,
    config: C,
    start: impl AsyncFnOnce(C, Context) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let from_environment = std::env::var("HH_LOG").ok();
    let directives = from_environment.as_deref().unwrap_or(&settings.log.level);
    let filter = log::filter(directives)
        .map_err(|error| Failure::config(format!("HH_LOG is no log filter: {error}")))?;
    log::install(name, filter)?;
    memory::forbid_core_files()?;
    let handle = metrics::install(name, version)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut context = Context::new(name, version, settings);
        context.tasks = Tasks::with(SessionThreads::start()?);
        let signals = Signals::new()?;
        tracing::info!(version, pid = std::process::id(), "daemon starts");
        let metrics_address = context.settings.metrics_address;
        metrics::serve(&context, handle, metrics_address).await?;
        supervise(context, config, start, signals).await
    });
    // Tasks have had their time: a thread that is stuck in a system call must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn supervise<C: Config>(
    context: Context,
    config: C,
    start: impl AsyncFnOnce(C, Context) -> Result<(), Failure>,
    mut signals: Signals,
) -> Result<(), Failure> {
    let run = async {
        start(config, context.clone()).await?;
        tracing::info!("daemon started");
        pending().await
    };
    let tasks = &context.tasks;
    let result = tokio::select! {
        result = run => result,
        failure = tasks.failure() => Err(failure),
        name = signals.next() => {
            tracing::info!(signal = name, "stop asked for");
            Ok(())
        }
    };
    notify::notify("STOPPING=1");
    let stopped = tokio::select! {
        stopped = tasks.shutdown(C::GRACE) => stopped.map_err(Failure::from),
        name = signals.next() => Err(Failure::other(format!("a second signal, {name}, ended it at once"))),
    };
    result.and(stopped)?;
    tracing::info!("daemon stopped");
    Ok(())
}

/// What asks for a stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests;
