//! One SSH session that carries the calls to all daemons of another machine.

use crate::failure::Failure;
use hh_ipc::locate::Daemon;
use hh_ipc::stdio::{OpenError, Remote, RemoteError};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

/// What ssh says on stderr is kept up to here, for the error.
const MAX_STDERR_BYTES: usize = 4096;

/// How long ssh may take to end once its output has: its last words explain what was wrong.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// `ssh`'s own status for a session that it could not make.
const SSH_FAILED: i32 = 255;

/// A shell's status for a program that it did not find.
const NOT_FOUND: i32 = 127;

#[derive(Debug)]
pub(crate) struct Ssh {
    remote: Remote,
    process: Process,
}

/// The ssh program; it is killed when this is dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    stderr: JoinHandle<Vec<u8>>,
}

impl Ssh {
    /// Starts `program` for `host`, and waits for the far end to answer.
    pub(crate) async fn start(
        program: &str,
        host: &str,
        arguments: &[String],
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command
            .args(["-T", "-o", "BatchMode=yes", host, "--"])
            .arg(remote_command(arguments))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            let fix = "install an SSH client, or name one with HHCTL_SSH";
            Failure::ssh(host, format!("can't run {program}: {error}"), fix)
        })?;
        let (Some(reader), Some(writer), Some(stderr)) =
            (child.stdout.take(), child.stdin.take(), child.stderr.take())
        else {
            return Err(Failure::ssh(
                host,
                "no pipes to ssh".to_owned(),
                "try again",
            ));
        };
        let process = Process {
            child,
            stderr: spawn_reader(stderr),
        };
        match tokio::time::timeout(timeout, Remote::start(reader, writer)).await {
            Ok(Ok(remote)) => Ok(Self { remote, process }),
            Ok(Err(error)) => Err(process.failure(host, Some(&error)).await),
            Err(_elapsed) => {
                let why = format!("no session within {timeout:?} (--timeout)");
                let fix = format!("check that it answers: ssh -o BatchMode=yes {host} true");
                Err(Failure::ssh(host, why, fix))
            }
        }
    }

    pub(crate) async fn open(&self, daemon: Daemon) -> Result<DuplexStream, OpenError> {
        self.remote.open(daemon).await
    }

    /// The session has ended by itself.
    pub(crate) async fn why_it_ended(self, host: &str) -> Failure {
        self.process.failure(host, None).await
    }
}

impl Process {
    async fn failure(mut self, host: &str, error: Option<&RemoteError>) -> Failure {
        let said = tokio::time::timeout(LAST_WORDS, &mut self.stderr).await;
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let status = tokio::time::timeout(LAST_WORDS, self.child.wait()).await;
        let status = status
            .ok()
            .and_then(Result::ok)
            .and_then(|status| status.code());
        let fix = match (status, error) {
            (_, Some(RemoteError::Noise { .. })) => {
                "let login scripts print nothing where stdin is no terminal, and install this version of hhctl there".to_owned()
            }
            (Some(NOT_FOUND), _) => format!("install hhctl on {host}, on the PATH of a non-interactive shell"),
            (Some(SSH_FAILED), _) => {
                format!("make this work first: ssh -o BatchMode=yes {host} true (keys from an agent, the host in known_hosts)")
            }
            _ => format!("run it by hand: ssh {host} hhctl status"),
        };
        let error = error.map(ToString::to_string);
        let why = if said.trim().is_empty() {
            error.unwrap_or_else(|| "the session has ended".to_owned())
        } else {
            said
        };
        Failure::ssh(host, why, fix)
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
}
