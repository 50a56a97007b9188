//! An operator's ssh-agent: which Ed25519 keys it has, and signatures by them. The secret halves stay there.
//!
//! Speaks the agent's protocol (draft-miller-ssh-agent) over its socket, the two calls that are needed of it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ssh_key::{Algorithm, HashAlg, LineEnding, Signature, SshSig};

use crate::operator_key::OperatorKey;

/// An agent may ask its user before it signs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// Longest answer in bytes, as in OpenSSH.
const ANSWER_BYTES_MAX: u32 = 256 * 1024;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

const ED25519: &[u8] = b"ssh-ed25519";

/// Why an agent does not sign.
#[derive(Debug, thiserror::Error)]
pub enum SshAgentError {
    /// There is none.
    #[error(
        "no ssh-agent is named in SSH_AUTH_SOCK; start one and add your key: ssh-add ~/.ssh/id_ed25519"
    )]
    None,
    /// Its socket.
    #[error("could not {action} ssh-agent at {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It says no.
    #[error("ssh-agent does not sign with the key {}; is it added and unlocked? ssh-add -l", .0.fingerprint())]
    Refused(OperatorKey),
    /// It says something else.
    #[error("ssh-agent answers what is no answer")]
    Answer,
}

/// A connection to an agent.
#[derive(Debug)]
pub struct SshAgent {
    stream: UnixStream,
    path: PathBuf,
}

/// A key that an agent has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentKey {
    /// The key.
    pub key: OperatorKey,
    /// What its owner calls it.
    pub comment: String,
}

impl SshAgent {
    /// The agent of this session.
    ///
    /// # Errors
    /// There is none, or it does not answer.
    pub fn of_session() -> Result<Self, SshAgentError> {
        let path = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        Self::connect(Path::new(&path.ok_or(SshAgentError::None)?))
    }

    /// The agent at a socket.
    ///
    /// # Errors
    /// Nobody is there.
    pub fn connect(path: &Path) -> Result<Self, SshAgentError> {
        let failed = |source| SshAgentError::Io {
            action: "connect to",
            path: path.to_owned(),
            source,
        };
        let stream = UnixStream::connect(path).map_err(failed)?;
        let limit = Some(ANSWER_TIME_MAX);
        stream.set_read_timeout(limit).map_err(failed)?;
        stream.set_write_timeout(limit).map_err(failed)?;
        let path = path.to_owned();
        Ok(Self { stream, path })
    }

    /// Its Ed25519 keys.
    ///
    /// # Errors
    /// It does not answer.
    pub fn keys(&mut self) -> Result<Vec<AgentKey>, SshAgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES])?;
        let mut answer = match answer.split_first() {
            Some((&IDENTITIES_ANSWER, rest)) => Fields(rest),
            _ => return Err(SshAgentError::Answer),
        };
        let count = answer.number().ok_or(SshAgentError::Answer)?;
        let mut keys = Vec::new();
        for _ in 0..count {
            let blob = answer.bytes().ok_or(SshAgentError::Answer)?;
            let comment = answer.bytes().ok_or(SshAgentError::Answer)?;
            // Keys of other kinds are none of ours.
            let key = ssh_key::PublicKey::from_bytes(blob).ok();
            let key = key.and_then(|key| OperatorKey::from_data(key.key_data()).ok());
            if let Some(key) = key {
                let comment = String::from_utf8_lossy(comment).into_owned();
                keys.push(AgentKey { key, comment });
            }
        }
        Ok(keys)
    }

    /// A signature over `message` for `namespace`, armored.
    ///
    /// # Errors
    /// It has no such key, or its user says no.
    pub fn sign(
        &mut self,
        key: &OperatorKey,
        namespace: &'static str,
        message: &[u8],
    ) -> Result<String, SshAgentError> {
        let signed = SshSig::signed_data(namespace, HashAlg::Sha512, message);
        let signed = signed.map_err(|_says_little| SshAgentError::Answer)?;
        let mut request = vec![SIGN_REQUEST];
        let blob = ssh_key::PublicKey::new(key.data(), "").to_bytes();
        push(
            &mut request,
            &blob.map_err(|_says_little| SshAgentError::Answer)?,
        );
        push(&mut request, &signed);
        request.extend_from_slice(&0_u32.to_be_bytes());
        let answer = self.ask(&request)?;
        let mut answer = match answer.split_first() {
            Some((&SIGN_RESPONSE, rest)) => Fields(rest),
            _ => return Err(SshAgentError::Refused(*key)),
        };
        let mut parts = Fields(answer.bytes().ok_or(SshAgentError::Answer)?);
        let armored = match (parts.bytes(), parts.bytes()) {
            (Some(ED25519), Some(bytes)) => armored(key, namespace, bytes),
            _ => None,
        };
        let armored = armored.ok_or(SshAgentError::Answer)?;
        // An agent that signs something else is found out here, and not by who is shown it.
        match key.verify(namespace, message, &armored) {
            Ok(()) => Ok(armored),
            Err(_) => Err(SshAgentError::Answer),
        }
    }

    fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, SshAgentError> {
        let mut frame = Vec::new();
        push(&mut frame, request);
        let path = &self.path;
        let failed = |action| {
            move |source| SshAgentError::Io {
                action,
                path: path.clone(),
                source,
            }
        };
        let sent = self.stream.write_all(&frame);
        sent.map_err(failed("write to"))?;
        let mut length = [0; 4];
        let read = self.stream.read_exact(&mut length);
        read.map_err(failed("read from"))?;
        let length = u32::from_be_bytes(length);
        if length > ANSWER_BYTES_MAX {
            return Err(SshAgentError::Answer);
        }
        let mut answer = vec![0; length as usize];
        let read = self.stream.read_exact(&mut answer);
        read.map_err(failed("read from"))?;
        Ok(answer)
    }
}

fn armored(key: &OperatorKey, namespace: &str, bytes: &[u8]) -> Option<String> {
    let signature = Signature::new(Algorithm::Ed25519, bytes).ok()?;
    let signature = SshSig::new(key.data(), namespace, HashAlg::Sha512, signature).ok()?;
    signature.to_pem(LineEnding::LF).ok()
}

/// Adds a field: its length, then its bytes.
fn push(frame: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len());
    let length = length.expect("what is signed is a few kilobytes");
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(bytes);
}

/// The fields of an answer.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    /// The real one, of OpenSSH.
    struct RealAgent {
        child: Child,
        dir: tempfile::TempDir,
    }

    impl RealAgent {
        /// None where there is none.
        fn start() -> Option<Self> {
            let dir = tempfile::tempdir().unwrap();
            let mut agent = Command::new("ssh-agent");
            agent.arg("-D").arg("-a").arg(dir.path().join("agent"));
            let child = agent.stdout(Stdio::null()).spawn().ok()?;
            let agent = Self { child, dir };
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            while UnixStream::connect(agent.socket()).is_err() {
                assert!(
                    std::time::Instant::now() < deadline,
                    "ssh-agent does not listen"
                );
                std::thread::yield_now();
            }
            Some(agent)
        }

        fn socket(&self) -> PathBuf {
            self.dir.path().join("agent")
        }

        fn add(&self, kind: &str, comment: &str) {
            let path = self.dir.path().join(kind);
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", kind, "-N", "", "-C", comment, "-f"]);
            assert!(keygen.arg(&path).status().unwrap().success());
            let mut add = Command::new("ssh-add");
            add.arg("-q").arg(&path).env("SSH_AUTH_SOCK", self.socket());
            assert!(add.status().unwrap().success());
        }
    }

    impl Drop for RealAgent {
        fn drop(&mut self) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }

    #[test]
    fn the_real_agent_signs_what_is_taken_and_with_its_own_keys_only() {
        let Some(real) = RealAgent::start() else {
            eprintln!("skipped: there is no ssh-agent here");
            return;
        };
        let mut agent = SshAgent::connect(&real.socket()).unwrap();
        assert_eq!(agent.keys().unwrap(), []);
        real.add("ecdsa", "other");
        real.add("ed25519", "alice@laptop");
        let keys = agent.keys().unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].comment, "alice@laptop");
        let key = keys[0].key;
        let signature = agent.sign(&key, "hh-approval", b"text").unwrap();
        assert_eq!(key.verify("hh-approval", b"text", &signature), Ok(()));
        assert!(key.verify("hh-node-record", b"text", &signature).is_err());
        let stranger = crate::operator_key::tests::Signer::new(1).key();
        let refused = agent.sign(&stranger, "hh-approval", b"text");
        assert!(
            matches!(refused, Err(SshAgentError::Refused(_))),
            "{refused:?}"
        );
        // It still answers.
        agent.sign(&key, "hh-approval", b"more").unwrap();
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for answer in [
            &[0xff, 0xff, 0xff, 0xff][..],
            &[0, 0, 0, 1, 5],
            &[0, 0, 0, 0],
            &[0, 0, 0, 5, 12, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 9, 12, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 9, 12],
        ] {
            let path = dir.path().join("agent");
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            let answer = answer.to_vec();
            let fake = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 5];
                stream.read_exact(&mut request).unwrap();
                stream.write_all(&answer).unwrap();
            });
            let mut agent = SshAgent::connect(&path).unwrap();
            assert!(agent.keys().is_err());
            fake.join().unwrap();
            std::fs::remove_file(&path).unwrap();
        }
        assert!(SshAgent::connect(&dir.path().join("none")).is_err());
    }
}
