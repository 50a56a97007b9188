//! Which shares that are blocks the log has. The keeper of found blocks appends the share of each that is accepted, in case that
//! its connection could not; this keeps a share from being there twice, whichever comes first. Knows nothing of files.

use std::collections::{HashSet, VecDeque};

/// Most hashes remembered: the two appends of a block lie seconds apart, and as many blocks as the keeper holds are found in
/// between at most. On a test chain, where every share is a block, the oldest go.
const REMEMBERED_MAX: usize = 8_192;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct BlockShares {
    known: HashSet<[u8; 32]>,
    /// The same, oldest first.
    durable: VecDeque<[u8; 32]>,
    /// Those in the frame that is being written.
    in_frame: Vec<[u8; 32]>,
}

impl BlockShares {
    /// Puts a share into the frame; false if it is there, or in the log.
    pub(super) fn add(&mut self, hash: [u8; 32]) -> bool {
        let is_new = self.known.insert(hash);
        if is_new {
            self.in_frame.push(hash);
        }
        is_new
    }

    /// How many the frame has.
    pub(super) fn in_frame(&self) -> usize {
        self.in_frame.len()
    }

    /// Takes those off the frame that were put there since it had `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        for hash in self.in_frame.drain(count.min(self.in_frame.len())..) {
            self.known.remove(&hash);
        }
    }

    /// The frame is durable.
    pub(super) fn written(&mut self) {
        self.durable.extend(self.in_frame.drain(..));
        while self.durable.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.durable.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    }

    #[test]
    fn a_share_is_added_once_unless_its_frame_was_given_up() {
        let mut shares = BlockShares::default();
        assert!(shares.add(hash(1)));
        assert!(!shares.add(hash(1)));
        assert!(shares.add(hash(2)));
        shares.truncate(1);
        assert!(shares.add(hash(2)));
        shares.truncate(0);
        assert!(shares.add(hash(1)));
        shares.written();
        assert!(!shares.add(hash(1)));
        shares.truncate(0);
        assert!(!shares.add(hash(1)));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut shares = BlockShares::default();
        for number in 0..=REMEMBERED_MAX {
            assert!(shares.add(hash(number)));
            shares.written();
        }
        assert!(!shares.add(hash(1)));
        assert!(shares.add(hash(0)));
    }
}
