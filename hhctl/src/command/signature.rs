//! An operator's signature, by the ssh-agent of his session: his key stays in it, on his own machine.

use crate::failure::Failure;
use hh_trust::operator_key::{OperatorKey, OperatorKeyError};
use hh_trust::ssh_agent::{SshAgent, SshAgentError};
use hh_trust::statement::Statement;
use std::path::Path;

/// Signs the text of a statement, by the key in `file`, or else by the only key of the agent; among those that count, where
/// that is known.
///
/// # Errors
/// There is no agent, or not one key.
pub(super) fn sign<S: Statement>(
    text: &str,
    file: Option<&Path>,
    counting: Option<&[OperatorKey]>,
) -> Result<String, Failure> {
    let mut agent = SshAgent::of_session().map_err(|error| failed(&error))?;
    let key = match file {
        Some(file) => read_key(file)?,
        None => only(&mut agent, counting)?,
    };
    let signed = agent.sign(&key, S::NAMESPACE, text.as_bytes());
    signed.map_err(|error| failed(&error))
}

/// The public key in a file.
///
/// # Errors
/// There is none.
pub(super) fn read_key(file: &Path) -> Result<OperatorKey, Failure> {
    let failure = |why: String| {
        let what = format!("can't use the public key {}", file.display());
        let fix = "name the .pub file of a key that `ssh-keygen -t ed25519` has made".to_owned();
        Failure::key(what, why, fix)
    };
    let text = std::fs::read_to_string(file).map_err(|error| failure(error.to_string()))?;
    text.parse()
        .map_err(|error: OperatorKeyError| failure(error.to_string()))
}

fn only(agent: &mut SshAgent, counting: Option<&[OperatorKey]>) -> Result<OperatorKey, Failure> {
    let keys = agent.keys().map_err(|error| failed(&error))?;
    let counts = |key: &OperatorKey| counting.is_none_or(|counting| counting.contains(key));
    let keys: Vec<OperatorKey> = keys.iter().map(|one| one.key).filter(counts).collect();
    match keys.as_slice() {
        [key] => Ok(*key),
        [] => {
            let why = match counting {
                Some(_) => "ssh-agent has none of the keys that count here",
                None => "ssh-agent has no Ed25519 key",
            };
            let fix = "add yours: ssh-add ~/.ssh/id_ed25519; an operator lists it in [operators]";
            Err(Failure::signature(why.to_owned(), fix.to_owned()))
        }
        several => {
            let why = format!("ssh-agent has {} keys that might", several.len());
            let fix = "name the .pub file of one with --sign-with".to_owned();
            Err(Failure::signature(why, fix))
        }
    }
}

fn failed(error: &SshAgentError) -> Failure {
    let mut why = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        why += &format!(": {source}");
    }
    let fix = "see with `ssh-add -l` whether your key is in ssh-agent, on this machine".to_owned();
    Failure::signature(why, fix)
}
