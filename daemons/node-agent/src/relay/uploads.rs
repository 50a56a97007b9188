//! `Uploads`: how much of its blocks a node brings to core, whatever core asks for. A pure rule: it is told the time.

use super::stream::KNOWN_MAX;
use bitcoin::BlockHash;
use hh_ipc::agent::MAX_BLOCK_BYTES;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A block is brought to core once, and again where it was lost on the way.
const TIMES_MAX: usize = 2;

/// Bytes of blocks of a minute: four of the largest ones, as core takes of a node.
const BYTES_MAX: usize = 4 * MAX_BLOCK_BYTES;

const MINUTE: Duration = Duration::from_secs(60);

/// Of one stream.
#[derive(Debug)]
pub(super) struct Uploads {
    /// The latest last.
    begun: VecDeque<BlockHash>,
    since: Instant,
    /// Since then.
    bytes: usize,
}

impl Uploads {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            begun: VecDeque::new(),
            since: now,
            bytes: 0,
        }
    }

    /// Whether a block may be read and brought; it counts as brought then.
    pub(super) fn begin(&mut self, hash: BlockHash, now: Instant) -> bool {
        let times = self.begun.iter().filter(|begun| **begun == hash).count();
        if times >= TIMES_MAX || !self.send(0, now) {
            return false;
        }
        if self.begun.len() >= TIMES_MAX * KNOWN_MAX {
            self.begun.pop_front();
        }
        self.begun.push_back(hash);
        true
    }

    /// Whether so much may be sent. What was read and is too much counts, too.
    pub(super) fn send(&mut self, bytes: usize, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= MINUTE {
            (self.since, self.bytes) = (now, 0);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes <= BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash;

    fn hash(number: u8) -> BlockHash {
        BlockHash::from_byte_array([number; 32])
    }

    #[test]
    fn a_block_is_brought_twice_and_no_more() {
        let start = Instant::now();
        let mut uploads = Uploads::new(start);
        assert!(uploads.begin(hash(1), start) && uploads.begin(hash(1), start));
        assert!(!uploads.begin(hash(1), start + MINUTE));
        assert!(uploads.begin(hash(2), start));
    }

    #[test]
    fn a_minute_has_sixteen_megabytes_whatever_core_asks_for() {
        let start = Instant::now();
        let mut uploads = Uploads::new(start);
        for _ in 0..4 {
            assert!(uploads.send(MAX_BLOCK_BYTES, start));
        }
        assert!(!uploads.send(1, start));
        // Nothing more is read then.
        assert!(!uploads.begin(hash(1), start));
        assert!(uploads.begin(hash(1), start + MINUTE));
    }
}
