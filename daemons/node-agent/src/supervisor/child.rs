//! A child process: how it is started, ended, and known again after the agent itself was killed.

use super::Usage;
use crate::config::ServiceConfig;
use hh_trust::command::ServiceName;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// A log that is longer is put aside when its service is started; the one before it goes. While the service runs its log takes no more of
/// the disk than this, and what is written until it is looked at.
pub(super) const LOG_BYTES_MAX: u64 = 16 << 20;

/// How often a process that is no child of ours is looked at until it has ended.
const POLL: Duration = Duration::from_millis(50);

/// For a process that was killed to go: the kernel takes its memory back.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Ticks of a second in /proc (`sysconf(_SC_CLK_TCK)`): 100 on every Linux that we run on.
const TICKS_PER_SECOND: u64 = 100;

/// Where the files of a service are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    log: PathBuf,
    pid: PathBuf,
}

impl Files {
    pub(super) fn of(service: &ServiceName, dir: &Path) -> Self {
        Self {
            log: dir.join(format!("{service}.log")),
            pid: dir.join(format!("{service}.pid")),
        }
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }
}

/// Starts the program of a service in a process group of its own, with its output in its log.
///
/// # Errors
/// The program or its log can't be opened.
pub(super) fn spawn(service: &ServiceConfig, files: &Files) -> io::Result<Child> {
    let log = open_log(&files.log)?;
    let (program, arguments) = service
        .command
        .split_first()
        .ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .envs(&service.environment)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A stop must reach what it has started itself.
        .process_group(0);
    if let Some(dir) = &service.working_dir {
        command.current_dir(dir);
    }
    let child = command.spawn()?;
    if let Some(pid) = child.id()
        && let Err(error) = remember(&files.pid, pid)
    {
        // Nobody would know it again after this agent, and the next try starts another one.
        signal(Some(pid), Signal::KILL);
        return Err(error);
    }
    Ok(child)
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    File::options()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

/// Asks a child to end, and kills it if it has not done so in `limit`. Gives how it ended.
pub(super) async fn end(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    signal(child.id(), Signal::TERM);
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(ended) => ended,
        Err(_elapsed) => {
            signal(child.id(), Signal::KILL);
            child.wait().await
        }
    }
}

/// Ends the process of a service that outlived the agent that had started it, if there is one.
pub(super) async fn end_leftover(files: &Files, limit: Duration) -> io::Result<()> {
    let Some(pid) = leftover(&files.pid) else {
        return Ok(());
    };
    tracing::warn!(pid, "process of a killed agent is ended");
    signal(Some(pid), Signal::TERM);
    if !has_ended_within(pid, limit).await {
        signal(Some(pid), Signal::KILL);
        if !has_ended_within(pid, KILL_LIMIT).await {
            return Err(io::Error::other(format!("process {pid} does not end")));
        }
    }
    forget(files);
    Ok(())
}

/// There is no process any more that would have to be known again.
pub(super) fn forget(files: &Files) {
    fs::remove_file(&files.pid).ok();
}

async fn has_ended_within(pid: u32, limit: Duration) -> bool {
    let gone = async {
        while is_alive(pid) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(limit, gone).await.is_ok()
}

fn is_alive(pid: u32) -> bool {
    pid_of(pid).is_some_and(|pid| test_kill_process(pid).is_ok()) && start_of(pid).is_some()
}

/// To the whole process group; it has gone if this fails.
fn signal(pid: Option<u32>, signal: Signal) {
    if let Some(pid) = pid.and_then(pid_of) {
        kill_process_group(pid, signal).ok();
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Writes down which process it is: its id, the boot, and the tick it was started at, since ids come again.
fn remember(path: &Path, pid: u32) -> io::Result<()> {
    let start = start_of(pid).unwrap_or_default();
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{pid} {} {start}", boot_id()?)?;
    file.sync_data()
}

/// The process that was written down, if it still runs.
fn leftover(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    let mut words = text.split_whitespace();
    let pid: u32 = words.next()?.parse().ok()?;
    let (boot, start) = (words.next()?, words.next()?.parse().ok()?);
    let is_it = boot_id().ok()? == boot && start_of(pid) == Some(start);
    is_it.then_some(pid)
}

fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

/// The fields of /proc/PID/stat after the name, which may hold spaces; none of a process that has ended.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
    (fields.first()? != "Z").then_some(fields)
}

/// When it was started, in ticks since the boot: field 22 of stat(5).
fn start_of(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// What a process uses; none of one that has ended.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let fields = stat(pid)?;
    let number = |index: usize| -> Option<u64> { fields.get(index)?.parse().ok() };
    // utime, stime and rss: fields 14, 15 and 24 of stat(5).
    let ticks = number(11)?.saturating_add(number(12)?);
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some(Usage {
        memory_bytes: number(21)?.saturating_mul(page),
        cpu_ms: ticks.saturating_mul(1_000 / TICKS_PER_SECOND),
    })
}
