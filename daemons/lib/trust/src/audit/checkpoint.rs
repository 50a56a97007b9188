//! A signed word about how far the log goes and what its root is: a note of C2SP (`tlog-checkpoint`, `signed-note`), so that
//! the tools and witnesses of others read it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoin::hashes::{Hash, sha256};

use super::Frontier;
use crate::command::{AuditHead, Digest};
use crate::control_key::{CheckpointKey, CheckpointPublicKey};
use crate::pki::TrustDomain;

/// Longest note in bytes.
const NOTE_BYTES_MAX: usize = 2 * 1024;

/// Ed25519 in a note's key id.
const NOTE_ED25519: u8 = 1;

/// Why a note is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is none.
    #[error("it is no checkpoint of an audit log: {0}")]
    Malformed(&'static str),
    /// Another log's.
    #[error("it is a checkpoint of another log, {0:?}")]
    AnotherLog(String),
    /// Not signed by the key.
    #[error("the checkpoint is not signed by {0}")]
    Signature(CheckpointPublicKey),
}

/// How far a log went, and what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Lines.
    pub size: u64,
    /// The Merkle root over them.
    pub root: Digest,
}

impl Checkpoint {
    /// That of a log as it is.
    #[must_use]
    pub fn of(frontier: &Frontier) -> Self {
        Self {
            size: frontier.size(),
            root: frontier.root(),
        }
    }

    /// As an order names it.
    #[must_use]
    pub const fn head(&self) -> AuditHead {
        AuditHead {
            size: self.size,
            root: self.root,
        }
    }

    /// The note's text, signed.
    #[must_use]
    pub fn sign(&self, domain: &TrustDomain, key: &CheckpointKey) -> String {
        let origin = origin(domain);
        let body = self.body(&origin);
        let mut signature = key_id(&origin, &key.public_key()).to_vec();
        signature.extend_from_slice(&key.sign(body.as_bytes()));
        format!("{body}\n\u{2014} {origin} {}\n", STANDARD.encode(signature))
    }

    /// What a note says, if `key` has signed it and it is of that network's log. Signatures of others in it are left aside.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn verify(
        note: &str,
        domain: &TrustDomain,
        key: &CheckpointPublicKey,
    ) -> Result<Self, CheckpointError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(CheckpointError::Malformed("it is too long"));
        }
        let parts = note.split_once("\n\n");
        let (body, signatures) = parts.ok_or(CheckpointError::Malformed("it is not signed"))?;
        let body = format!("{body}\n");
        let expected = origin(domain);
        let ours = signatures.lines().filter_map(|line| {
            let line = line.strip_prefix("\u{2014} ")?;
            let (name, signature) = line.split_once(' ')?;
            (name == expected).then(|| STANDARD.decode(signature).ok())?
        });
        let id = key_id(&expected, key);
        let is_signed = ours.into_iter().any(|signature| {
            let signature = signature.strip_prefix(&id);
            signature.is_some_and(|signature| key.has_signed(body.as_bytes(), signature))
        });
        let mut lines = body.lines();
        let named = lines.next().unwrap_or_default();
        if named != expected {
            let named = named.chars().take(80).collect();
            return Err(CheckpointError::AnotherLog(named));
        }
        if !is_signed {
            return Err(CheckpointError::Signature(*key));
        }
        let size = lines.next().and_then(|text| {
            let size: u64 = text.parse().ok()?;
            (size.to_string() == text).then_some(size)
        });
        let root = lines.next().and_then(|text| {
            let root = STANDARD.decode(text).ok()?;
            root.try_into().ok().map(Digest)
        });
        match (size, root, lines.next()) {
            (Some(size), Some(root), None) => Ok(Self { size, root }),
            _ => Err(CheckpointError::Malformed("its size or its root")),
        }
    }

    fn body(&self, origin: &str) -> String {
        format!(
            "{origin}\n{}\n{}\n",
            self.size,
            STANDARD.encode(self.root.0)
        )
    }
}

fn origin(domain: &TrustDomain) -> String {
    format!("{domain}/audit")
}

/// By which a note names the key: the first bytes of SHA-256 over the log's name, the algorithm and the key.
fn key_id(origin: &str, key: &CheckpointPublicKey) -> [u8; 4] {
    let named = [origin.as_bytes(), b"\n", &[NOTE_ED25519], key.as_bytes()].concat();
    let [a, b, c, d, ..] = sha256::Hash::hash(&named).to_byte_array();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domain() -> TrustDomain {
        "hyperhash.example".parse().unwrap()
    }

    fn key() -> CheckpointKey {
        "05".repeat(32).parse().unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            size: 88_123,
            root: Digest([7; 32]),
        }
    }

    fn verify(note: &str) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::verify(note, &domain(), &key().public_key())
    }

    #[test]
    fn a_checkpoint_is_a_signed_note() {
        let note = checkpoint().sign(&domain(), &key());
        let mut lines = note.lines();
        assert_eq!(lines.next(), Some("hyperhash.example/audit"));
        assert_eq!(lines.next(), Some("88123"));
        assert_eq!(
            lines.next(),
            Some("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")
        );
        assert_eq!(lines.next(), Some(""));
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("\u{2014} hyperhash.example/audit ")
        );
        assert_eq!(lines.next(), None);
        assert_eq!(verify(&note), Ok(checkpoint()));
        // A witness adds its own line.
        let cosigned = format!("{note}\u{2014} witness.example AAAAAAAA\n");
        assert_eq!(verify(&cosigned), Ok(checkpoint()));
    }

    #[test]
    fn another_key_or_log_is_refused() {
        let other = CheckpointKey::generate().unwrap();
        let refused = Err(CheckpointError::Signature(key().public_key()));
        assert_eq!(verify(&checkpoint().sign(&domain(), &other)), refused);
        let theirs = checkpoint().sign(&"another.example".parse().unwrap(), &key());
        assert!(matches!(
            verify(&theirs),
            Err(CheckpointError::AnotherLog(_))
        ));
        assert!(verify("").is_err());
        let note = checkpoint().sign(&domain(), &key());
        let unsigned = note.split("\u{2014}").next().unwrap();
        assert_eq!(verify(unsigned), refused);
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_refused(at: prop::sample::Index, flip in 1..=255_u8) {
            let mut bytes = checkpoint().sign(&domain(), &key()).into_bytes();
            // The last line's end may be missing.
            let place = at.index(bytes.len() - 1);
            bytes[place] ^= flip;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert!(verify(&changed).is_err(), "{}", changed);
            }
        }
    }
}
