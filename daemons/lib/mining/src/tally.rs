//! `Tally`: a window that is being filled, with what everybody has of it and the hash over what that was made of. The one sum that
//! the ledger makes when a block is split, and that anybody makes again from a window's entries.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bitcoin::hashes::{Hash, HashEngine, sha256};

use crate::{Credits, EdgeShare, Leaf, Oldest, Score, Window, WindowEntry, WindowSize};

/// The hash over one account's entries of a window, newest first, and their score.
#[derive(Clone)]
pub struct EntriesHash {
    engine: sha256::HashEngine,
    /// None once it does not fit.
    score: Option<u128>,
}

impl EntriesHash {
    /// Over nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            engine: sha256::Hash::engine(),
            score: Some(0),
        }
    }

    /// Adds the account's next entry.
    pub fn add(&mut self, entry: &WindowEntry<'_>) {
        entry.hash_into(&mut self.engine);
        let more = entry.credit().score.0;
        self.score = self.score.and_then(|score| score.checked_add(more));
    }

    /// Whether these are the entries that a leaf is for: all of them, and no others.
    #[must_use]
    pub fn are_those_of(self, leaf: &Leaf) -> bool {
        self.score == Some(leaf.score.0) && self.finish() == leaf.minutes
    }

    fn finish(self) -> [u8; 32] {
        sha256::Hash::from_engine(self.engine).to_byte_array()
    }
}

impl Default for EntriesHash {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EntriesHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntriesHash")
            .field("bytes", &self.engine.n_bytes_hashed())
            .field("score", &self.score)
            .finish()
    }
}

/// What a window that has been filled comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowTotals {
    /// What everybody has of it.
    pub credits: Credits,
    /// By account, the hash over its entries.
    pub minutes: BTreeMap<String, [u8; 32]>,
    /// The shares of the minute in which it is full, newest first; none where it ends between two minutes.
    pub edge: Vec<EdgeShare<'static>>,
    /// Where it ends on the old side.
    pub oldest: Oldest,
    /// Whether it has all the score that it may have.
    pub is_full: bool,
}

/// See the module. Whoever fills it gives it minutes in their order, newest first, and the entries of each in theirs.
#[derive(Clone, Debug)]
pub struct Tally {
    size: WindowSize,
    window: Window,
    accounts: HashMap<String, EntriesHash>,
    edge: Vec<EdgeShare<'static>>,
    oldest_minute: Option<i64>,
}

impl Tally {
    /// Of an empty window.
    #[must_use]
    pub fn new(size: WindowSize) -> Self {
        let window = match size {
            WindowSize::Pplns { score } => Window::of(score),
            WindowSize::Round { .. } => Window::unbounded(),
        };
        Self {
            size,
            window,
            accounts: HashMap::new(),
            edge: Vec::new(),
            oldest_minute: None,
        }
    }

    /// Whether nothing older counts.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.window.is_full()
    }

    /// Takes in all entries of a minute if all of it goes in, and says whether it did. Where it did not, nothing has changed, and
    /// its shares are to be taken in one by one.
    pub fn take_minute(&mut self, minute: &[WindowEntry<'_>]) -> bool {
        if !self
            .window
            .take_minute(minute.iter().map(WindowEntry::credit))
        {
            return false;
        }
        for entry in minute {
            self.hash(entry);
            self.oldest_minute = Some(entry.minute());
        }
        true
    }

    /// Takes in the next older share, as much of it as goes in; what it counts is found here.
    pub fn take_share(&mut self, mut share: EdgeShare<'_>) {
        share.counted = share.score.min(self.window.room());
        let entry = WindowEntry::Share(share);
        self.window.take_share(entry.credit());
        self.hash(&entry);
        if let WindowEntry::Share(share) = entry {
            self.edge.push(share.into_owned());
        }
    }

    /// How much still goes in.
    #[must_use]
    pub fn room(&self) -> Score {
        self.window.room()
    }

    /// What it comes to.
    #[must_use]
    pub fn finish(self) -> WindowTotals {
        let is_full = self.window.is_full();
        let oldest = match (self.size, self.edge.last(), self.oldest_minute) {
            (WindowSize::Round { previous }, ..) => {
                previous.map_or(Oldest::All, |block| Oldest::Block { block })
            }
            (_, Some(share), _) => Oldest::Share {
                at_ms: share.at_ms,
                pool: share.pool.to_string(),
                epoch: share.epoch,
                seq: share.seq,
                score: share.score,
                counted: share.counted,
            },
            (_, None, Some(minute)) if is_full => Oldest::Minute { minute },
            _ => Oldest::All,
        };
        let accounts = self.accounts.into_iter();
        WindowTotals {
            credits: self.window.into_credits(),
            minutes: accounts.map(|(name, hash)| (name, hash.finish())).collect(),
            edge: self.edge,
            oldest,
            is_full,
        }
    }

    fn hash(&mut self, entry: &WindowEntry<'_>) {
        let account = &*entry.origin().account;
        match self.accounts.get_mut(account) {
            Some(hash) => hash.add(entry),
            None => {
                let mut hash = EntriesHash::new();
                hash.add(entry);
                self.accounts.insert(account.to_owned(), hash);
            }
        }
    }
}
