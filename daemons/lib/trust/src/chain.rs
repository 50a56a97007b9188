//! The chain of a journal: each line names the SHA-256 of the line before it.
//!
//! The hash is that of the bytes as they are in the file, without the end of the line, so that nobody has to write JSON the
//! same way twice to check it: `head -n 7 FILE | tail -n 1 | tr -d '\n' | sha256sum` is what line 8 must name. A line that
//! was changed, removed, inserted or moved shows at the line after it. Whoever may write the file may write all of it anew,
//! or cut its end off: that shows only beside a [`Head`] that was kept elsewhere, such as those in the daemon's log.

use std::fmt;
use std::str::FromStr;

use bitcoin::hashes::{Hash, sha256};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counted from 1: the number of the line.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The daemon that wrote it.
    pub daemon: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// SHA-256 of the line before, in hex; zeros in the first one.
    pub previous: String,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An operator asked for a change; written before it is made.
    Intent {
        /// The user at the other end of the socket.
        uid: u32,
        /// That user's name on this machine, where it has one.
        user: Option<String>,
        /// The process at the other end; it may be another one by now.
        pid: Option<i32>,
        /// What was asked for, as `noun.verb`.
        call: String,
        /// With what arguments; none of them is a secret.
        arguments: Value,
    },
    /// What came of an intent. Where there is none the daemon ended, or the operator hung up, before it was known.
    Outcome {
        /// `seq` of the intent.
        of: u64,
        /// Why nothing was changed; none if it was.
        refused: Option<String>,
    },
}

/// A line and its hash: kept elsewhere, it proves that the journal still has that line and all before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the line; 0 where there is none.
    pub seq: u64,
    /// SHA-256 of the line.
    pub hash: [u8; 32],
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It is no entry.
    #[error("line {line} of the journal is no entry: {reason}")]
    Malformed {
        /// Which line, by counting.
        line: u64,
        /// What the parser says.
        reason: String,
    },
    /// Its number is not the next one.
    #[error(
        "line {line} of the journal has the number {found}: lines were removed, inserted or moved"
    )]
    Number {
        /// Which line, by counting.
        line: u64,
        /// The number in it.
        found: u64,
    },
    /// It does not name the line before.
    #[error(
        "line {line} of the journal names another line before it: that one was changed, or this one"
    )]
    Broken {
        /// Which line, by counting.
        line: u64,
    },
}

/// Follows a journal line by line.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    head: Head,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The chain of an empty journal.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: Head {
                seq: 0,
                hash: [0; 32],
            },
        }
    }

    /// The chain of a journal of which `head` was followed before.
    #[must_use]
    pub const fn after(head: Head) -> Self {
        Self { head }
    }

    /// The last line that was followed.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Follows the next line, given without its end. After an error it goes on from that line, so that one fault is told once.
    ///
    /// # Errors
    /// [`ChainError`] with the number of the line, counted from 1.
    pub fn follow(&mut self, line: &str) -> Result<Entry, ChainError> {
        let before = self.head;
        self.head = Head {
            seq: before.seq + 1,
            hash: hash_of(line),
        };
        let line_number = self.head.seq;
        let entry: Entry = serde_json::from_str(line).map_err(|error| ChainError::Malformed {
            line: line_number,
            reason: error.to_string(),
        })?;
        if entry.seq != line_number {
            let found = entry.seq;
            return Err(ChainError::Number {
                line: line_number,
                found,
            });
        }
        if entry.previous != hex::encode(before.hash) {
            return Err(ChainError::Broken { line: line_number });
        }
        Ok(entry)
    }

    /// The next entry, with what makes it a part of the chain.
    #[must_use]
    pub fn next(&self, at: Timestamp, daemon: &str, event: Event) -> Entry {
        Entry {
            seq: self.head.seq + 1,
            at,
            daemon: daemon.to_owned(),
            event,
            previous: hex::encode(self.head.hash),
        }
    }
}

fn hash_of(line: &str) -> [u8; 32] {
    sha256::Hash::hash(line.as_bytes()).to_byte_array()
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex::encode(self.hash))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the number of a line and its hash, such as 12:6f0c...: {0:?} is neither")]
pub struct HeadError(String);

impl FromStr for Head {
    type Err = HeadError;

    fn from_str(text: &str) -> Result<Self, HeadError> {
        let error = || HeadError(text.to_owned());
        let (seq, hash) = text.split_once(':').ok_or_else(error)?;
        let mut head = Self {
            seq: seq.parse().ok().ok_or_else(error)?,
            hash: [0; 32],
        };
        hex::decode_to_slice(hash, &mut head.hash)
            .ok()
            .ok_or_else(error)?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(count: u64) -> Vec<String> {
        let mut chain = Chain::new();
        let event = |n| Event::Outcome {
            of: n,
            refused: None,
        };
        (1..=count)
            .map(|n| {
                let entry = chain.next(Timestamp::UNIX_EPOCH, "hh-pool", event(n));
                let line = serde_json::to_string(&entry).unwrap();
                assert_eq!(chain.follow(&line), Ok(entry));
                line
            })
            .collect()
    }

    /// The faults of these lines, in order.
    fn faults(lines: &[String]) -> Vec<ChainError> {
        let mut chain = Chain::new();
        let followed = lines.iter().map(|line| chain.follow(line));
        followed.filter_map(Result::err).collect()
    }

    #[test]
    fn a_line_as_it_is_written() {
        let intent = Event::Intent {
            uid: 1000,
            user: Some("alice".to_owned()),
            pid: Some(42),
            call: "miner.kick".to_owned(),
            arguments: serde_json::json!({"account": "bob"}),
        };
        let entry = Chain::new().next(Timestamp::UNIX_EPOCH, "hh-pool", intent);
        let line = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            line,
            r#"{"seq":1,"at":"1970-01-01T00:00:00Z","daemon":"hh-pool","event":"intent","uid":1000,"user":"alice","pid":42,"call":"miner.kick","arguments":{"account":"bob"},"previous":"0000000000000000000000000000000000000000000000000000000000000000"}"#
        );
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry);
    }

    #[test]
    fn a_line_that_is_changed_shows_at_the_next_one() {
        let mut changed = lines(9);
        changed[3] = changed[3].replace("hh-pool", "hh-pooh");
        assert_eq!(faults(&changed), [ChainError::Broken { line: 5 }]);
        // The last one shows only beside a head that was kept.
        let mut last = lines(9);
        last[8] = last[8].replace("hh-pool", "hh-pooh");
        assert_eq!(faults(&last), []);
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let mut broken = lines(3);
        broken[1] = "{}".to_owned();
        assert!(matches!(
            faults(&broken)[..],
            [
                ChainError::Malformed { line: 2, .. },
                ChainError::Broken { line: 3 }
            ]
        ));
    }

    #[test]
    fn a_head_is_read_as_it_is_shown() {
        let head = Head {
            seq: 12,
            hash: [0xab; 32],
        };
        assert_eq!(head.to_string().parse(), Ok(head));
        for text in ["", "12", "12:", "x:00", &format!("12:{}", "ab".repeat(31))] {
            assert!(text.parse::<Head>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn lines_removed_inserted_or_moved_show(from in 0..20_usize, to in 0..20_usize, what in 0..3_u8) {
            let mut tampered = lines(20);
            let line = match what {
                0 => tampered.remove(from),
                1 => tampered[from].clone(),
                _ => { tampered.swap(from, to); String::new() }
            };
            match what {
                // Its end cut off shows only beside a head.
                0 => prop_assume!(from < 19),
                1 => tampered.insert(to, line),
                _ => prop_assume!(from != to),
            }
            prop_assert!(!faults(&tampered).is_empty());
        }
    }
}
