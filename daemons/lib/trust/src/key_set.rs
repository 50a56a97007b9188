//! The list of the core's online keys, signed by the network's offline one.
//!
//! A node takes a list only if it is newer than the one it has: a key that was stolen and is out of the newer list does not come back
//! by an older one. A key counts only in its time.

use serde::{Deserialize, Serialize};

use crate::control_key::{CheckpointPublicKey, CommandPublicKey, NetworkKey, NetworkPublicKey};
use crate::jws::{self, JwsError, Presented};
use crate::pki::TrustDomain;

/// Longest list in bytes: all keys that it may have, and a margin.
pub const KEY_SET_BYTES_MAX: usize = 16 * 1024;

/// Keys of one kind in a list: an old and a new one, and room for mistakes.
const KEYS_MAX: usize = 16;

const TYPE: &str = "hh-key-set+jwt";

/// Why a list is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is none.
    #[error("it is no list of a network's keys")]
    Malformed(#[source] JwsError),
    /// It has too many keys, or one that ends before it begins.
    #[error("the list of keys has {0}")]
    Claim(&'static str),
    /// Signed by another key.
    #[error("the list of keys is not signed by the network's key")]
    Key,
    /// Another network's.
    #[error("the list of keys is that of another network, {named}")]
    AnotherNetwork {
        /// Whose it is.
        named: TrustDomain,
    },
    /// Not newer than what is known.
    #[error(
        "the list of keys has the version {version}, and {known} is known: an old list was shown"
    )]
    Older {
        /// Of the list.
        version: u64,
        /// The last one that was taken.
        known: u64,
    },
}

/// A key, and from when to when it counts, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedKey<K> {
    /// The key.
    pub key: K,
    /// From then on.
    pub nbf: i64,
    /// It counts no more.
    pub exp: i64,
}

/// The core's online keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// Higher than that of the list before.
    pub version: u64,
    /// The network.
    pub domain: TrustDomain,
    /// Whose commands count.
    pub commands: Vec<TimedKey<CommandPublicKey>>,
    /// Whose checkpoints of the audit log count.
    pub checkpoints: Vec<TimedKey<CheckpointPublicKey>>,
}

impl<K> TimedKey<K> {
    /// Whether it counts at `now`.
    #[must_use]
    pub const fn holds_at(&self, now: i64) -> bool {
        self.nbf <= now && now < self.exp
    }
}

impl KeySet {
    /// The list's text, signed.
    ///
    /// # Errors
    /// What is in it can't be.
    pub fn sign(&self, key: &NetworkKey) -> Result<String, KeySetError> {
        self.check_form()?;
        Ok(jws::compact(TYPE, key.public_key(), self, |bytes| {
            key.sign(bytes)
        }))
    }

    /// The list, if the network's key has signed it, it is that network's, and newer than `known`.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn verify(
        text: &str,
        network: &NetworkPublicKey,
        domain: &TrustDomain,
        known: u64,
    ) -> Result<Self, KeySetError> {
        let set = Self::signed_by(text, network)?;
        if set.domain != *domain {
            return Err(KeySetError::AnotherNetwork { named: set.domain });
        }
        if set.version <= known {
            let version = set.version;
            return Err(KeySetError::Older { version, known });
        }
        Ok(set)
    }

    /// The list, if the network's key has signed it: for who makes the next one of it.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn signed_by(text: &str, network: &NetworkPublicKey) -> Result<Self, KeySetError> {
        let presented = Presented::<NetworkPublicKey>::parse(text, TYPE, KEY_SET_BYTES_MAX);
        let presented = presented.map_err(KeySetError::Malformed)?;
        let signed = presented.signed.as_bytes();
        if presented.kid != *network || !network.has_signed(signed, &presented.signature) {
            return Err(KeySetError::Key);
        }
        let set: Self = presented.claims().map_err(KeySetError::Malformed)?;
        set.check_form()?;
        Ok(set)
    }

    fn check_form(&self) -> Result<(), KeySetError> {
        if self.commands.len() > KEYS_MAX || self.checkpoints.len() > KEYS_MAX {
            return Err(KeySetError::Claim("more keys than anybody needs"));
        }
        let commands = self.commands.iter().map(|key| (key.nbf, key.exp));
        let checkpoints = self.checkpoints.iter().map(|key| (key.nbf, key.exp));
        if commands.chain(checkpoints).any(|(nbf, exp)| nbf >= exp) {
            return Err(KeySetError::Claim("a key that ends before it begins"));
        }
        Ok(())
    }

    /// Whether commands of `key` count at `now`.
    #[must_use]
    pub fn commands_by(&self, key: &CommandPublicKey, now: i64) -> bool {
        let mut keys = self.commands.iter();
        keys.any(|timed| timed.key == *key && timed.holds_at(now))
    }

    /// Whether checkpoints of `key` count at `now`.
    #[must_use]
    pub fn checkpoints_by(&self, key: &CheckpointPublicKey, now: i64) -> bool {
        let mut keys = self.checkpoints.iter();
        keys.any(|timed| timed.key == *key && timed.holds_at(now))
    }
}

#[cfg(test)]
mod tests;
