//! What to do about an SSH session that failed; the session itself is [`hh_ipc::ssh::Ssh`].

use crate::failure::Failure;
use hh_ipc::ssh::{FAILED_STATUS, NOT_FOUND_STATUS, SshError};
use hh_ipc::stdio::RemoteError;

/// Tells what failed, why, and what to do.
pub(crate) fn failure(host: &str, error: &SshError) -> Failure {
    let fix = match error {
        SshError::Run { .. } => "install an SSH client, or name one with HHCTL_SSH".to_owned(),
        SshError::TimedOut(_) => {
            format!("check that it answers: ssh -o BatchMode=yes {host} true; or give it more --timeout")
        }
        SshError::Ended {
            error: Some(RemoteError::Noise { .. }),
            ..
        } => "let login scripts print nothing where stdin is no terminal, and install this version of hhctl there".to_owned(),
        SshError::Ended {
            status: Some(NOT_FOUND_STATUS),
            ..
        } => format!("install hhctl on {host}, on the PATH of a non-interactive shell"),
        SshError::Ended {
            status: Some(FAILED_STATUS),
            ..
        } => {
            format!("make this work first: ssh -o BatchMode=yes {host} true (keys from an agent, the host in known_hosts)")
        }
        SshError::Ended { .. } => format!("run it by hand: ssh {host} hhctl status"),
    };
    Failure::ssh(host, error.to_string(), fix)
}
