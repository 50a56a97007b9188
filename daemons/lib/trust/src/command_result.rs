//! What came of an order, signed by the node: the core can't say that a node did what it did not, nor the node later that it did not.
//!
//! Each result names the hash of the one before, so that one that is kept back shows.

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::command::{CommandId, Digest, core_name, node_name};
use crate::jws::{self, JwsError, Presented};
use crate::node_key::{NodePublicKey, NodeSecretKey};
use crate::pki::TrustDomain;

/// Longest output in a result, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// Longest result in bytes: an output of which each byte is written with six letters, in base64, and a margin.
pub const RESULT_BYTES_MAX: usize = 160 * 1024;

/// Longest code in bytes: one word for a machine.
const CODE_BYTES_MAX: usize = 64;

const TYPE: &str = "hh-result+jwt";

/// Why a result is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// It is none.
    #[error("it is no result of a command")]
    Malformed(#[source] JwsError),
    /// Its code is no word.
    #[error("the result has a code that is no word")]
    Code,
    /// Another node's, or signed by another key.
    #[error("the result is not signed by the key that the node {0} is known by")]
    Key(NodeId),
    /// For another network.
    #[error("the result is for another network's core")]
    Audience,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was tried and failed.
    Failed,
    /// It was not tried: `code` says why.
    Rejected,
    /// It waits for the node's owner.
    AwaitsOwner,
    /// It was begun, and nobody knows whether it was done: the node stopped in between.
    Indeterminate,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// The network.
    pub domain: TrustDomain,
    /// Who carried it out.
    pub node: NodeId,
    /// Which order.
    pub id: CommandId,
    /// Its number.
    pub seq: u64,
    /// Its epoch.
    pub epoch: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// One word for a machine, such as that of a refusal.
    pub code: String,
    /// When it was begun, in Unix milliseconds.
    pub started_ms: i64,
    /// When it was done, in Unix milliseconds.
    pub finished_ms: i64,
    /// What it says; see [`plain_output`].
    pub output: String,
    /// The hash of the result before ([`Digest::of`] its text); zeros in the first one.
    pub previous: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    cmd_jti: CommandId,
    seq: u64,
    epoch: u64,
    status: Outcome,
    code: String,
    started_ms: i64,
    finished_ms: i64,
    out: String,
    prev: Digest,
}

/// An output as it may be in a result: cut to [`OUTPUT_BYTES_MAX`], and without what would move a terminal or turn a line around.
#[must_use]
pub fn plain_output(text: &str) -> String {
    let end = text.floor_char_boundary(OUTPUT_BYTES_MAX);
    let is_kept = |letter: &char| {
        let turns = matches!(*letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        *letter == '\n' || *letter == '\t' || !(letter.is_control() || turns)
    };
    text[..end].chars().filter(is_kept).collect()
}

impl CommandResult {
    /// The result's text, signed. Its output is made plain.
    #[must_use]
    pub fn sign(&self, key: &NodeSecretKey) -> String {
        let code = self.code.floor_char_boundary(CODE_BYTES_MAX);
        let claims = Claims {
            iss: node_name(&self.domain, &self.node),
            aud: core_name(&self.domain),
            cmd_jti: self.id,
            seq: self.seq,
            epoch: self.epoch,
            status: self.outcome,
            code: self.code[..code].to_owned(),
            started_ms: self.started_ms,
            finished_ms: self.finished_ms,
            out: plain_output(&self.output),
            prev: self.previous,
        };
        jws::compact(TYPE, &self.node, &claims, |bytes| key.sign(bytes))
    }

    /// The result of a node, which is known by `key`.
    ///
    /// # Errors
    /// It is not that node's.
    pub fn verify(
        text: &str,
        domain: &TrustDomain,
        node: &NodeId,
        key: &NodePublicKey,
    ) -> Result<Self, ResultError> {
        let presented = Presented::<NodeId>::parse(text, TYPE, RESULT_BYTES_MAX);
        let presented = presented.map_err(ResultError::Malformed)?;
        let signed = presented.signed.as_bytes();
        if presented.kid != *node || !key.has_signed(signed, &presented.signature) {
            return Err(ResultError::Key(node.clone()));
        }
        let claims: Claims = presented.claims().map_err(ResultError::Malformed)?;
        if claims.aud != core_name(domain) || claims.iss != node_name(domain, node) {
            return Err(ResultError::Audience);
        }
        let is_word = (1..=CODE_BYTES_MAX).contains(&claims.code.len())
            && claims.code.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_word {
            return Err(ResultError::Code);
        }
        Ok(Self {
            domain: domain.clone(),
            node: node.clone(),
            id: claims.cmd_jti,
            seq: claims.seq,
            epoch: claims.epoch,
            outcome: claims.status,
            code: claims.code,
            started_ms: claims.started_ms,
            finished_ms: claims.finished_ms,
            output: plain_output(&claims.out),
            previous: claims.prev,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> NodeSecretKey {
        "01".repeat(32).parse().unwrap()
    }

    fn result() -> CommandResult {
        CommandResult {
            domain: "hyperhash.example".parse().unwrap(),
            node: "berlin-1".parse().unwrap(),
            id: "09".repeat(16).parse().unwrap(),
            seq: 41,
            epoch: 3,
            outcome: Outcome::Ok,
            code: "ok".to_owned(),
            started_ms: 1,
            finished_ms: 2,
            output: "active\n".to_owned(),
            previous: Digest([0; 32]),
        }
    }

    fn verify(text: &str) -> Result<CommandResult, ResultError> {
        let CommandResult { domain, node, .. } = result();
        CommandResult::verify(text, &domain, &node, &key().public_key())
    }

    #[test]
    fn a_result_is_read_as_it_was_signed() {
        assert_eq!(verify(&result().sign(&key())), Ok(result()));
    }

    #[test]
    fn no_other_node_key_or_network_speaks_for_it() {
        let node: NodeId = "berlin-1".parse().unwrap();
        let other = NodeSecretKey::generate().unwrap();
        assert_eq!(
            verify(&result().sign(&other)),
            Err(ResultError::Key(node.clone()))
        );
        let theirs = CommandResult {
            node: "paris".parse().unwrap(),
            ..result()
        };
        assert_eq!(verify(&theirs.sign(&key())), Err(ResultError::Key(node)));
        let theirs = CommandResult {
            domain: "another.example".parse().unwrap(),
            ..result()
        };
        assert_eq!(verify(&theirs.sign(&key())), Err(ResultError::Audience));
        let unnamed = CommandResult {
            code: String::new(),
            ..result()
        };
        assert_eq!(verify(&unnamed.sign(&key())), Err(ResultError::Code));
    }

    #[test]
    fn a_credential_of_the_same_key_is_no_result() {
        let credential = crate::NodeCredential {
            node: "berlin-1".parse().unwrap(),
            lanes: ["asics".parse().unwrap()].into(),
            pool: crate::PoolAuthority::from_bytes([1; 32]),
            not_before: 0,
            not_after: 60,
        };
        let text = credential.sign(&key()).unwrap();
        assert_eq!(verify(&text), Err(ResultError::Malformed(JwsError::Kind)));
        let result = result().sign(&key());
        assert!(crate::PresentedCredential::parse(result.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn an_output_moves_no_terminal_and_fits(output in "(?s).{0,100}", times in 1..2_000_usize) {
            let sent = CommandResult { output: output.repeat(times), ..result() };
            let text = sent.sign(&key());
            prop_assert!(text.len() <= RESULT_BYTES_MAX, "{}", text.len());
            let read = verify(&text).unwrap().output;
            prop_assert!(read.len() <= OUTPUT_BYTES_MAX);
            let moves = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
            prop_assert!(!read.chars().any(moves));
        }

        #[test]
        fn a_changed_byte_is_refused(at: prop::sample::Index, flip in 1..=255_u8) {
            let mut bytes = result().sign(&key()).into_bytes();
            let place = at.index(bytes.len());
            bytes[place] ^= flip;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert!(verify(&changed).is_err(), "{}", changed);
            }
        }
    }
}
