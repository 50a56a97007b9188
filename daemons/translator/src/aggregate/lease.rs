//! Leases: a channel's search space, cut into parts of which each miner on it has one for as long as it stays.
//!
//! A part is let again only when no job is alive that a miner had in it: after the next block to build on, or with another
//! channel. So two miners never search the same space, nor one miner twice when it comes back.

use std::collections::VecDeque;

/// Bytes of the extranonce that name a lease: 65,536 stays between two blocks.
pub(crate) const LEASE_SIZE: u16 = 2;

/// A part of a channel's search space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease(u16);

/// Who has which part is not kept here, only which parts may be let.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// Those from here on were never let.
    next: u32,
    /// Let before, and free.
    free: VecDeque<Lease>,
    /// No miner is in them, but jobs may be.
    resting: Vec<Lease>,
}

impl Lease {
    /// The first of the channel's rollable bytes.
    pub(crate) fn to_bytes(self) -> [u8; LEASE_SIZE as usize] {
        self.0.to_be_bytes()
    }
}

impl Leases {
    /// None if all are let or rest.
    pub(crate) fn take(&mut self) -> Option<Lease> {
        if let Ok(next) = u16::try_from(self.next) {
            self.next += 1;
            return Some(Lease(next));
        }
        self.free.pop_front()
    }

    /// A miner has left.
    pub(crate) fn give_back(&mut self, lease: Lease) {
        self.resting.push(lease);
    }

    /// All jobs until now are dead.
    pub(crate) fn on_new_tip(&mut self) {
        self.free.extend(self.resting.drain(..));
    }

    /// Whether a job may be alive that nobody is in any more.
    pub(crate) fn has_resting(&self) -> bool {
        !self.resting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_lease_that_was_given_back_is_let_again_on_the_next_tip_and_not_before() {
        let mut leases = Leases::default();
        let all: Vec<Lease> = std::iter::from_fn(|| leases.take()).collect();
        assert_eq!(all.len(), 1 << 16);
        leases.give_back(all[7]);
        assert_eq!(leases.take(), None);
        leases.on_new_tip();
        assert_eq!((leases.take(), leases.take()), (Some(all[7]), None));
    }

    proptest! {
        /// Whatever comes and goes: a lease is let once between two tips, and never to two at a time.
        #[test]
        fn no_lease_is_let_twice_on_a_tip(steps in proptest::collection::vec(0..5_u8, 1..400)) {
            // Near the end of those never let, so that they are let again.
            let mut leases = Leases { next: (1 << 16) - 8, ..Leases::default() };
            let (mut held, mut on_tip) = (Vec::new(), HashSet::new());
            for step in steps {
                match step {
                    0..=2 => if let Some(lease) = leases.take() {
                        prop_assert!(!held.contains(&lease));
                        prop_assert!(on_tip.insert(lease), "{lease:?} is let twice");
                        held.push(lease);
                    },
                    3 => if !held.is_empty() {
                        leases.give_back(held.remove(0));
                    },
                    _ => {
                        leases.on_new_tip();
                        on_tip = held.iter().copied().collect();
                    }
                }
            }
        }
    }
}
