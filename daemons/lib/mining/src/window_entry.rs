//! `WindowEntry`: what a window is made of, as the ledger gives it and a treasury serves it: sums of minutes, and shares where a
//! minute does not go in as a whole.
//!
//! A window is written down newest first: what lies in the minute of the winning share up to that share, then whole minutes, then
//! the shares of the minute in which it is full. Minutes that a block cuts are sums by origin (`part`); whole ones are the ledger's
//! own rows, a row for each log, with the chain of hashes over their shares (`minute`). An account's entries, in that order, are
//! what the hash in its leaf is over: it can lay them beside what its own machines have counted.

use std::borrow::Cow;

use bitcoin::hashes::{HashEngine, sha256};
use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, decimal, from_json, hex_text, to_json};
use crate::window_bounds::minute_of;
use crate::{Credit, Score, ShareId, Work};

/// Stands where no Hyper Node does, in the ledger and in entries.
pub const CORE: &str = "core";

/// Longest entry in JSON: five names of 255 bytes, each written as `\u0000`, and a margin.
const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// Whose work it is, and through what it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryOrigin<'a> {
    /// The account that is credited.
    pub account: Cow<'a, str>,
    /// Its worker, or empty.
    pub worker: Cow<'a, str>,
    /// The Hyper Node, or [`CORE`].
    pub node: Cow<'a, str>,
    /// The lane.
    pub lane: Cow<'a, str>,
}

/// The part of a minute that lies on the window's side of a block's winning share: one origin's shares, of all logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartMinute<'a> {
    /// Minutes since 1970.
    pub minute: i64,
    /// Whose.
    pub origin: EntryOrigin<'a>,
    /// How many shares.
    #[serde(with = "decimal")]
    pub shares: u64,
    /// Their work.
    pub work: Work,
    /// Their score.
    pub score: Score,
}

/// One origin's shares of one log in a whole minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WholeMinute<'a> {
    /// Minutes since 1970.
    pub minute: i64,
    /// The pool that logged them.
    pub pool: Cow<'a, str>,
    /// The random id of its log.
    #[serde(with = "hex_text")]
    pub epoch: [u8; 16],
    /// Whose.
    pub origin: EntryOrigin<'a>,
    /// How many shares.
    #[serde(with = "decimal")]
    pub shares: u64,
    /// Their work.
    pub work: Work,
    /// Their score.
    pub score: Score,
    /// The chain of hashes over them, in the order of their log.
    #[serde(with = "hex_text")]
    pub chain: [u8; 32],
}

/// A share of the minute in which the window is full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeShare<'a> {
    /// When it was accepted, milliseconds since 1970.
    pub at_ms: i64,
    /// The pool that logged it.
    pub pool: Cow<'a, str>,
    /// The random id of its log.
    #[serde(with = "hex_text")]
    pub epoch: [u8; 16],
    /// Its place in that log.
    #[serde(with = "decimal")]
    pub seq: u64,
    /// Whose.
    pub origin: EntryOrigin<'a>,
    /// What it is worth.
    pub score: Score,
    /// How much of that counts: all of it, but for the oldest.
    pub counted: Score,
}

/// A part of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum WindowEntry<'a> {
    /// Of a minute that a block cuts.
    Part(PartMinute<'a>),
    /// Of a whole minute.
    Minute(WholeMinute<'a>),
    /// A share of the edge.
    Share(EdgeShare<'a>),
}

impl EntryOrigin<'_> {
    /// With names of its own.
    #[must_use]
    pub fn into_owned(self) -> EntryOrigin<'static> {
        EntryOrigin {
            account: own(self.account),
            worker: own(self.worker),
            node: own(self.node),
            lane: own(self.lane),
        }
    }

    /// The node, if it is one.
    #[must_use]
    pub fn hyper_node(&self) -> Option<&str> {
        (self.node != CORE).then_some(&*self.node)
    }
}

impl EdgeShare<'_> {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> ShareId {
        ShareId {
            pool: self.pool.to_string(),
            epoch: self.epoch,
            seq: self.seq,
        }
    }

    /// With names of its own.
    #[must_use]
    pub fn into_owned(self) -> EdgeShare<'static> {
        EdgeShare {
            at_ms: self.at_ms,
            pool: own(self.pool),
            epoch: self.epoch,
            seq: self.seq,
            origin: self.origin.into_owned(),
            score: self.score,
            counted: self.counted,
        }
    }
}

impl WindowEntry<'_> {
    /// The minute in which it lies.
    #[must_use]
    pub fn minute(&self) -> i64 {
        match self {
            Self::Part(part) => part.minute,
            Self::Minute(minute) => minute.minute,
            Self::Share(share) => minute_of(share.at_ms),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn origin(&self) -> &EntryOrigin<'_> {
        match self {
            Self::Part(part) => &part.origin,
            Self::Minute(minute) => &minute.origin,
            Self::Share(share) => &share.origin,
        }
    }

    /// What it counts for whom.
    #[must_use]
    pub fn credit(&self) -> Credit<'_> {
        let origin = self.origin();
        Credit {
            account: &origin.account,
            node: origin.hyper_node(),
            score: match self {
                Self::Part(part) => part.score,
                Self::Minute(minute) => minute.score,
                Self::Share(share) => share.counted,
            },
        }
    }

    /// With names of its own.
    #[must_use]
    pub fn into_owned(self) -> WindowEntry<'static> {
        match self {
            Self::Part(part) => WindowEntry::Part(PartMinute {
                minute: part.minute,
                origin: part.origin.into_owned(),
                shares: part.shares,
                work: part.work,
                score: part.score,
            }),
            Self::Minute(minute) => WindowEntry::Minute(WholeMinute {
                minute: minute.minute,
                pool: own(minute.pool),
                epoch: minute.epoch,
                origin: minute.origin.into_owned(),
                shares: minute.shares,
                work: minute.work,
                score: minute.score,
                chain: minute.chain,
            }),
            Self::Share(share) => WindowEntry::Share(share.into_owned()),
        }
    }

    /// Its JSON, without a line break: a window is a file of such lines.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Reads the JSON of one.
    ///
    /// # Errors
    /// It is none, or is not written in the one way.
    pub fn parse(json: &[u8]) -> Result<WindowEntry<'static>, CanonicalError> {
        from_json(json, ENTRY_BYTES_MAX)
    }

    /// Feeds it to the hash over its account's entries. The account itself is not in it, since its pseudonym stands beside the hash.
    pub(crate) fn hash_into(&self, engine: &mut sha256::HashEngine) {
        match self {
            Self::Part(part) => {
                engine.input(&[1]);
                engine.input(&part.minute.to_be_bytes());
                put_origin(engine, &part.origin);
                put_sum(engine, part.shares, part.work, part.score);
            }
            Self::Minute(minute) => {
                engine.input(&[2]);
                engine.input(&minute.minute.to_be_bytes());
                put_text(engine, &minute.pool);
                engine.input(&minute.epoch);
                put_origin(engine, &minute.origin);
                put_sum(engine, minute.shares, minute.work, minute.score);
                engine.input(&minute.chain);
            }
            Self::Share(share) => {
                engine.input(&[3]);
                engine.input(&share.at_ms.to_be_bytes());
                put_text(engine, &share.pool);
                engine.input(&share.epoch);
                engine.input(&share.seq.to_be_bytes());
                put_origin(engine, &share.origin);
                engine.input(&share.score.0.to_be_bytes());
                engine.input(&share.counted.0.to_be_bytes());
            }
        }
    }
}

fn put_origin(engine: &mut sha256::HashEngine, origin: &EntryOrigin<'_>) {
    put_text(engine, &origin.worker);
    put_text(engine, &origin.node);
    put_text(engine, &origin.lane);
}

fn put_sum(engine: &mut sha256::HashEngine, shares: u64, work: Work, score: Score) {
    engine.input(&shares.to_be_bytes());
    engine.input(&work.0.to_be_bytes());
    engine.input(&score.0.to_be_bytes());
}

/// The length first, so that no two lists of names are the same bytes.
pub(crate) fn put_text(engine: &mut sha256::HashEngine, text: &str) {
    let length = u32::try_from(text.len()).expect("no name has four gigabytes");
    engine.input(&length.to_be_bytes());
    engine.input(text.as_bytes());
}

fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

#[cfg(test)]
mod tests;
