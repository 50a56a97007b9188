//! What is to be done about a block, from where it stands in the books and where it is on the chain.

use hh_bitcoin::Presence;
use hh_ledger::BlockState;
use hh_ledger::books::BookBlockState;

/// A coinbase may be spent, and a reward is final, when the tip is so much higher than its block (consensus,
/// `COINBASE_MATURITY`).
pub(crate) const MATURITY: u32 = 100;

/// A block and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Situation {
    pub state: BookBlockState,
    /// As the books have it.
    pub confirmations: u32,
    pub height: u32,
    pub tip_height: u32,
    pub presence: Presence,
    /// What the pool says has become of it.
    pub pool_state: BlockState,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Keep,
    Set(BookBlockState, u32),
    /// It is on a side of the chain, and others have built on another block.
    Orphan,
    /// No node took it.
    Reject,
}

impl Situation {
    pub(crate) fn step(&self) -> Step {
        match self.presence {
            Presence::OnBestChain { confirmations } => self.on_best_chain(confirmations),
            // While two blocks of one height compete, either may win.
            Presence::OffBestChain if self.tip_height <= self.height => Step::Keep,
            Presence::OffBestChain => match self.state {
                BookBlockState::Orphaned => Step::Keep,
                _ => Step::Orphan,
            },
            Presence::Unknown => self.unknown(),
        }
    }

    fn on_best_chain(&self, confirmations: u32) -> Step {
        let wanted = if self.tip_height >= self.height.saturating_add(MATURITY) {
            BookBlockState::Mature
        } else {
            BookBlockState::Confirmed
        };
        match self.state {
            // What came back goes the whole way again.
            BookBlockState::Orphaned | BookBlockState::Rejected | BookBlockState::Tracked => {
                Step::Set(BookBlockState::Accepted, confirmations)
            }
            BookBlockState::Payable => Step::Keep,
            BookBlockState::Mature if wanted == BookBlockState::Confirmed => Step::Keep,
            state if state == wanted && self.confirmations == confirmations => Step::Keep,
            BookBlockState::Accepted | BookBlockState::Confirmed | BookBlockState::Mature => {
                Step::Set(wanted, confirmations)
            }
        }
    }

    /// Our node has not got it; the pool's may.
    fn unknown(&self) -> Step {
        match (self.pool_state, self.state) {
            (BlockState::Rejected, BookBlockState::Tracked) => Step::Reject,
            (BlockState::Accepted, BookBlockState::Tracked) => {
                Step::Set(BookBlockState::Accepted, 0)
            }
            _ => Step::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(state: BookBlockState, tip_height: u32, presence: Presence) -> Situation {
        Situation {
            state,
            confirmations: 0,
            height: 1_000,
            tip_height,
            presence,
            pool_state: BlockState::Accepted,
        }
    }

    fn on_chain(tip_height: u32) -> Presence {
        Presence::OnBestChain {
            confirmations: tip_height - 999,
        }
    }

    #[test]
    fn a_block_is_mature_when_the_tip_is_a_hundred_higher() {
        use BookBlockState::{Accepted, Confirmed, Mature, Tracked};
        let step = |state, tip| at(state, tip, on_chain(tip)).step();
        assert_eq!(step(Tracked, 1_000), Step::Set(Accepted, 1));
        assert_eq!(step(Accepted, 1_000), Step::Set(Confirmed, 1));
        assert_eq!(step(Confirmed, 1_099), Step::Set(Confirmed, 100));
        assert_eq!(step(Confirmed, 1_100), Step::Set(Mature, 101));
        assert_eq!(step(BookBlockState::Payable, 1_200), Step::Keep);
    }

    #[test]
    fn a_block_is_orphaned_once_another_has_won_and_comes_back_with_the_chain() {
        let off = Presence::OffBestChain;
        let confirmed = BookBlockState::Confirmed;
        assert_eq!(at(confirmed, 1_000, off).step(), Step::Keep);
        assert_eq!(at(confirmed, 1_001, off).step(), Step::Orphan);
        assert_eq!(at(BookBlockState::Payable, 1_200, off).step(), Step::Orphan);
        let back = at(BookBlockState::Orphaned, 1_002, on_chain(1_002)).step();
        assert_eq!(back, Step::Set(BookBlockState::Accepted, 3));
    }

    #[test]
    fn a_block_that_no_node_took_is_rejected() {
        let rejected = Situation {
            pool_state: BlockState::Rejected,
            ..at(BookBlockState::Tracked, 1_000, Presence::Unknown)
        };
        assert_eq!(rejected.step(), Step::Reject);
        // A node that forgot it says nothing about what the others have.
        let known = at(BookBlockState::Confirmed, 1_050, Presence::Unknown);
        assert_eq!(known.step(), Step::Keep);
    }

    proptest! {
        /// However a block comes to be on the best chain, it gets to maturity by steps, and no earlier.
        #[test]
        fn steps_on_the_best_chain_end(tip in 1_000..1_300_u32, start in 0..6_usize) {
            use BookBlockState::{Accepted, Confirmed, Mature, Orphaned, Rejected, Tracked};
            let mut state = [Tracked, Accepted, Confirmed, Mature, Orphaned, Rejected][start];
            let (was_mature, mut confirmations) = (state == Mature, 0);
            for _ in 0..4 {
                let situation = Situation { confirmations, ..at(state, tip, on_chain(tip)) };
                match situation.step() {
                    Step::Keep => break,
                    Step::Set(next, count) => (state, confirmations) = (next, count),
                    Step::Orphan | Step::Reject => prop_assert!(false, "it is on the best chain"),
                }
            }
            let expected = if tip >= 1_100 || was_mature { Mature } else { Confirmed };
            prop_assert_eq!(state, expected);
        }
    }
}
