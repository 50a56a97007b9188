//! `NodeCredential`: a node's own word, signed, that for some hours it serves these lanes of one pool.
//!
//! Its text is a compact JWS (RFC 7515) of Ed25519 with a closed header: `alg`, `kid` (the node) and `typ`, and nothing else is
//! taken, so that no header field can ask for another key or another rule. `typ` is of credentials alone: nothing else that the
//! node's key signs passes for one, and no credential passes for anything else. A credential names the one pool that it is for by
//! its authority key, so that a pool that was shown one can't show it to another. It is a bearer's: whoever has it may send his own
//! work as the node's until it ends, and can do nothing else with it; so it is short, and its file is for its owner.
//!
//! Everything here is pure: who asks brings the key that he knows the node by, his own name, and the time.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::jws;
use crate::node_key::{NodePublicKey, NodeSecretKey};
use crate::pool_authority::PoolAuthority;

/// Longest credential: what a stolen one is worth is bounded by time, as nothing is asked of anybody to take it back.
pub const HOURS_MAX: u32 = 24;

/// Longest text in bytes: [`LANES_MAX`] lanes with the longest names, and a margin. More is not looked at.
pub const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

/// Lanes of one node; a site has a handful.
pub const LANES_MAX: usize = 64;

/// Longest name of a node or a lane in bytes: it goes with every share.
pub const NAME_BYTES_MAX: usize = 64;

/// How far the clock of who signs may be ahead of that of who checks.
pub const CLOCK_AHEAD_SECONDS: i64 = 60;

/// Stands where no node does; see [`NodeId`].
const NO_NODE: &str = "core";

const TYPE: &str = "hh-node-credential";

/// Why a credential is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It is not one.
    #[error("it is not a credential of a node: {0}")]
    Malformed(&'static str),
    /// Its signature is not that of the key that the node is known by.
    #[error("it is not signed by the key that the node {node} is known by")]
    WrongKey {
        /// Whose it says that it is.
        node: NodeId,
    },
    /// It is for another pool.
    #[error("it is for another pool, whose authority key is {named}")]
    AnotherPool {
        /// The pool that it names.
        named: PoolAuthority,
    },
    /// It is longer than a credential may be, or ends before it begins.
    #[error("it lasts {seconds} s; it must end after it begins, and at most {HOURS_MAX} h later")]
    TooLong {
        /// From its begin to its end.
        seconds: i64,
    },
    /// Its time has not come.
    #[error("it begins in {seconds} s: compare the clocks of the node and of the pool")]
    NotYetValid {
        /// Until it begins.
        seconds: i64,
    },
    /// Its time is over.
    #[error("it ended {seconds} s ago: issue another one")]
    Expired {
        /// Since it ended.
        seconds: i64,
    },
    /// The lane is none of its lanes.
    #[error("it is not for the lane {lane:?}")]
    UnknownLane {
        /// What was asked for, shortened.
        lane: String,
    },
}

impl CredentialError {
    /// What a machine takes it by: in an answer, and as a label of a metric.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::WrongKey { .. } => "wrong-key",
            Self::AnotherPool { .. } => "another-pool",
            Self::TooLong { .. } => "too-long",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::Expired { .. } => "expired",
            Self::UnknownLane { .. } => "unknown-lane",
        }
    }
}

/// A text that is no name of a node or a lane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no name of a {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
}

/// The name of a node: 1 to 64 of a-z, 0-9, `.`, `_` and `-`, a letter or digit first. It is not `core`, which stands for work that
/// came through no node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NodeId(String);

/// The name of a lane as a credential can carry it: 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LaneName(String);

impl NodeId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LaneName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let takes = |byte: u8| byte.is_ascii_lowercase() || is_digit_or_mark(byte);
        let starts_well = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if is_name(text, takes) && starts_well && text != NO_NODE {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError {
            what: "node",
            rule: "write 1 to 64 of a-z, 0-9, . _ and -, a letter or a digit first, and not core",
        })
    }
}

impl FromStr for LaneName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_name(text, |byte| {
            byte.is_ascii_alphabetic() || is_digit_or_mark(byte)
        }) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError {
            what: "lane",
            rule: "write 1 to 64 of A-Z, a-z, 0-9, . _ and -",
        })
    }
}

fn is_name(text: &str, takes: impl Fn(u8) -> bool) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(takes)
}

fn is_digit_or_mark(byte: u8) -> bool {
    byte.is_ascii_digit() || b"._-".contains(&byte)
}

macro_rules! text_form {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
    };
}
text_form!(NodeId);
text_form!(LaneName);

/// What a credential says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCredential {
    /// Who signs.
    pub node: NodeId,
    /// Through which of its lanes work comes.
    pub lanes: BTreeSet<LaneName>,
    /// The pool that it is for.
    pub pool: PoolAuthority,
    /// Unix seconds from which on it holds.
    pub not_before: i64,
    /// Unix seconds at which it holds no more; at most [`HOURS_MAX`] hours later.
    pub not_after: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: NodeId,
    typ: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    lanes: BTreeSet<LaneName>,
    pool: PoolAuthority,
    nbf: i64,
    exp: i64,
}

impl NodeCredential {
    /// The credential's text, signed: ASCII, no line break.
    ///
    /// # Errors
    /// It has no lane or more than [`LANES_MAX`], or lasts too long, so that nobody would take it.
    pub fn sign(&self, key: &NodeSecretKey) -> Result<String, CredentialError> {
        self.check_form()?;
        let header = Header {
            alg: jws::ALGORITHM.to_owned(),
            kid: self.node.clone(),
            typ: TYPE.to_owned(),
        };
        let claims = Claims {
            lanes: self.lanes.clone(),
            pool: self.pool,
            nbf: self.not_before,
            exp: self.not_after,
        };
        let signed = format!("{}.{}", jws::encode(&header), jws::encode(&claims));
        let signature = jws::text(&key.sign(signed.as_bytes()));
        Ok(format!("{signed}.{signature}"))
    }

    /// What can be wrong with it whoever asks, and whenever.
    fn check_form(&self) -> Result<(), CredentialError> {
        if !(1..=LANES_MAX).contains(&self.lanes.len()) {
            return Err(CredentialError::Malformed("it names no lane, or too many"));
        }
        let seconds = self.not_after.saturating_sub(self.not_before);
        if (1..=i64::from(HOURS_MAX) * 3_600).contains(&seconds) {
            return Ok(());
        }
        Err(CredentialError::TooLong { seconds })
    }

    fn check_time(&self, now_unix: i64) -> Result<(), CredentialError> {
        let early = self.not_before.saturating_sub(now_unix);
        if early > CLOCK_AHEAD_SECONDS {
            return Err(CredentialError::NotYetValid { seconds: early });
        }
        if now_unix >= self.not_after {
            let seconds = now_unix.saturating_sub(self.not_after);
            return Err(CredentialError::Expired { seconds });
        }
        Ok(())
    }

    fn check_lane(&self, lane: &str) -> Result<(), CredentialError> {
        if self.lanes.iter().any(|known| known.as_str() == lane) {
            return Ok(());
        }
        let lane = lane.chars().take(NAME_BYTES_MAX).collect();
        Err(CredentialError::UnknownLane { lane })
    }
}

/// A credential that somebody has shown. What it says is not to be believed before [`Self::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedCredential {
    node: NodeId,
    /// Header and claims as they were signed.
    signed: String,
    claims: String,
    signature: [u8; 64],
}

impl PresentedCredential {
    /// Takes the text apart, as far as it must be known whose it is.
    ///
    /// # Errors
    /// [`CredentialError::Malformed`].
    pub fn parse(text: &[u8]) -> Result<Self, CredentialError> {
        if text.len() > CREDENTIAL_BYTES_MAX {
            return Err(CredentialError::Malformed("it is too long"));
        }
        let three_parts =
            CredentialError::Malformed("it does not have three parts with dots between");
        let text = str::from_utf8(text).ok().ok_or(three_parts.clone())?;
        let (signed, signature) = text.rsplit_once('.').ok_or(three_parts.clone())?;
        let (header, claims) = signed.split_once('.').ok_or(three_parts)?;
        let header: Header = decode(header, "its header is not that of a credential")?;
        if (header.alg.as_str(), header.typ.as_str()) != (jws::ALGORITHM, TYPE) {
            return Err(CredentialError::Malformed(
                "its header is not that of a credential",
            ));
        }
        let signature = jws::signature(signature);
        Ok(Self {
            node: header.kid,
            signed: signed.to_owned(),
            claims: claims.to_owned(),
            signature: signature
                .ok_or(CredentialError::Malformed("its signature is no signature"))?,
        })
    }

    /// Whose it says that it is.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// What it says, believed by nobody: for who shows his own to an operator.
    ///
    /// # Errors
    /// [`CredentialError::Malformed`] or [`CredentialError::TooLong`].
    pub fn unverified(&self) -> Result<NodeCredential, CredentialError> {
        let claims: Claims = decode(&self.claims, "its claims are not those of a credential")?;
        let credential = NodeCredential {
            node: self.node.clone(),
            lanes: claims.lanes,
            pool: claims.pool,
            not_before: claims.nbf,
            not_after: claims.exp,
        };
        credential.check_form()?;
        Ok(credential)
    }

    /// What it says, if `key`, which is the node's, has signed it, it is for the pool `pool` and for `lane`, and holds at
    /// `now_unix` (seconds).
    ///
    /// # Errors
    /// The first that is wrong. The signature is looked at before what was signed.
    pub fn verify(
        &self,
        key: &NodePublicKey,
        pool: PoolAuthority,
        lane: &str,
        now_unix: i64,
    ) -> Result<NodeCredential, CredentialError> {
        if !key.has_signed(self.signed.as_bytes(), &self.signature) {
            let node = self.node.clone();
            return Err(CredentialError::WrongKey { node });
        }
        let credential = self.unverified()?;
        if credential.pool != pool {
            let named = credential.pool;
            return Err(CredentialError::AnotherPool { named });
        }
        credential.check_time(now_unix)?;
        credential.check_lane(lane)?;
        Ok(credential)
    }
}

fn decode<T: DeserializeOwned>(part: &str, what: &'static str) -> Result<T, CredentialError> {
    jws::decode(part).ok_or(CredentialError::Malformed(what))
}

#[cfg(test)]
mod tests;
