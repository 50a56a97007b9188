//! One SSH session that carries the calls to all daemons of another machine: `ssh HOST hhctl system dial-stdio`.
//!
//! It runs the operator's own ssh, which knows hosts, keys and jump hosts; it never asks anything on the terminal.

use crate::locate::Daemon;
use crate::stdio::{OpenError, Remote, RemoteError};
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

/// `ssh`'s own status for a session that it could not make.
pub const FAILED_STATUS: i32 = 255;

/// A shell's status for a program that it did not find.
pub const NOT_FOUND_STATUS: i32 = 127;

/// What ssh says on stderr is kept up to here, for the error.
const MAX_STDERR_BYTES: usize = 4096;

/// How long ssh may take to end once its output has: its last words explain what was wrong.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A session; dropping it kills the ssh program.
#[derive(Debug)]
pub struct Ssh {
    remote: Remote,
    process: Process,
}

/// Why there is no session, or no more.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error("can't run {program}: {source}")]
    Run { program: String, source: io::Error },
    #[error("no session within {0:?}")]
    TimedOut(Duration),
    /// ssh has ended, or what runs at the far end is something else.
    #[error("{}", words(said, error.as_ref()))]
    Ended {
        /// Exit status of ssh, which is that of the far end's command if it got so far.
        status: Option<i32>,
        /// What ssh and the far end wrote to stderr.
        said: String,
        error: Option<RemoteError>,
    },
}

fn words(said: &str, error: Option<&RemoteError>) -> String {
    match (said.trim(), error) {
        ("", Some(error)) => error.to_string(),
        ("", None) => "the session has ended".to_owned(),
        (said, _) => said.to_owned(),
    }
}

/// The ssh program; it is killed when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    stderr: JoinHandle<Vec<u8>>,
}

impl Ssh {
    /// Starts `program` for `host` (`[USER@]HOST`, not beginning with a dash), with `arguments` for the far end, and waits
    /// for it to answer. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The program can't be run, it ends, the far end is not ours, or nothing is heard for `timeout`.
    pub async fn start(
        program: &str,
        host: &str,
        arguments: &[String],
        timeout: Duration,
    ) -> Result<Self, SshError> {
        let mut command = Command::new(program);
        command
            .args(["-T", "-o", "BatchMode=yes", host, "--"])
            .arg(remote_command(arguments))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| SshError::Run {
            program: program.to_owned(),
            source,
        })?;
        let piped = "it was asked for above, and is taken once";
        let reader = child.stdout.take().expect(piped);
        let writer = child.stdin.take().expect(piped);
        let stderr = spawn_reader(child.stderr.take().expect(piped));
        let process = Process { child, stderr };
        match tokio::time::timeout(timeout, Remote::start(reader, writer)).await {
            Ok(Ok(remote)) => Ok(Self { remote, process }),
            Ok(Err(error)) => Err(process.ended(Some(error)).await),
            Err(_elapsed) => Err(SshError::TimedOut(timeout)),
        }
    }

    /// Opens a stream to `daemon`'s socket at the far end.
    ///
    /// # Errors
    /// As [`Remote::open`]; after `Ended` ask [`Ssh::why_it_ended`].
    pub async fn open(&self, daemon: Daemon) -> Result<DuplexStream, OpenError> {
        self.remote.open(daemon).await
    }

    /// The reason of a session that has ended by itself.
    pub async fn why_it_ended(self) -> SshError {
        self.process.ended(None).await
    }
}

impl Process {
    async fn ended(mut self, error: Option<RemoteError>) -> SshError {
        let said = tokio::time::timeout(LAST_WORDS, &mut self.stderr).await;
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        let status = tokio::time::timeout(LAST_WORDS, self.child.wait()).await;
        let status = status.ok().and_then(Result::ok);
        SshError::Ended {
            status: status.and_then(|status| status.code()),
            said: String::from_utf8_lossy(&said).into_owned(),
            error,
        }
    }
}

/// ssh gives the command to a shell there: every argument is quoted.
fn remote_command(arguments: &[String]) -> String {
    let mut command = "hhctl system dial-stdio".to_owned();
    for argument in arguments {
        let quoted = argument.replace('\'', r"'\''");
        command += &format!(" '{quoted}'");
    }
    command
}

#[expect(
    clippy::disallowed_methods,
    reason = "it ends with the process that it reads from"
)]
fn spawn_reader(stderr: ChildStderr) -> JoinHandle<Vec<u8>> {
    tokio::spawn(read_all(stderr))
}

/// Reads to the end, so that ssh never waits for us; keeps the beginning.
async fn read_all(mut stderr: ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        let room = MAX_STDERR_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_shell_sees_every_argument_as_one_word() {
        let arguments = ["--context".to_owned(), "it's; rm -rf".to_owned()];
        assert_eq!(
            remote_command(&arguments),
            r"hhctl system dial-stdio '--context' 'it'\''s; rm -rf'"
        );
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_named() {
        let started = Ssh::start("/nonexistent/ssh", "host", &[], LAST_WORDS).await;
        let error = started.unwrap_err().to_string();
        assert!(error.starts_with("can't run /nonexistent/ssh"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_fails_tells_its_status() {
        let started = Ssh::start("false", "host", &[], Duration::from_secs(30)).await;
        let Err(SshError::Ended { status, error, .. }) = started else {
            panic!("false is no ssh");
        };
        assert_eq!(status, Some(1));
        assert!(matches!(error, Some(RemoteError::Closed)));
    }
}
