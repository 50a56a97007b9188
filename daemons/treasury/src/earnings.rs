//! `Earnings`: what accounts earn by their work, beside what their work brings on average. Pure.

use hh_ledger::books::{Payee, PayeeBalance};
use hh_mining::{Msat, Score};
use std::collections::BTreeMap;

/// What all accounts' work brings.
#[derive(Debug)]
pub(crate) struct Earnings {
    /// The miners' part of a block at today's subsidy, where the chain's height is known.
    of_a_block: Option<Msat>,
    scores: BTreeMap<String, Score>,
    finders_fees: BTreeMap<String, Msat>,
}

/// What one account's work has brought; nothing of what is no miner's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Earned {
    /// On average, of S - P by score. None where that can't be told.
    pub(crate) expected: Option<Msat>,
    /// What it was credited, without the fees of the blocks that it found: these are no part of what is expected.
    pub(crate) realised: Option<Msat>,
}

impl Earnings {
    /// From the scores of all shares by account, and what finders got of fees.
    pub(crate) fn new(
        of_a_block: Option<Msat>,
        scores: Vec<(String, Score)>,
        finders_fees: BTreeMap<String, Msat>,
    ) -> Self {
        Self {
            of_a_block,
            scores: scores.into_iter().collect(),
            finders_fees,
        }
    }

    pub(crate) fn of(&self, balance: &PayeeBalance) -> Earned {
        let Payee::Miner(account) = &balance.payee else {
            return Earned::default();
        };
        let score = self.scores.get(account);
        let expected = score.and_then(|score| expected(self.of_a_block?, *score));
        let fees = self.finders_fees.get(account).copied().unwrap_or_default();
        Earned {
            expected,
            realised: Some(Msat(credited(balance).0.saturating_sub(fees.0))),
        }
    }
}

impl Earned {
    /// Realised over expected.
    pub(crate) fn luck(&self) -> Option<f64> {
        let (realised, expected) = (self.realised?, self.expected?);
        #[expect(clippy::cast_precision_loss, reason = "a ratio is for people")]
        let ratio = realised.0 as f64 / expected.0 as f64;
        (expected > Msat::ZERO).then_some(ratio)
    }
}

/// All that it was ever given.
fn credited(balance: &PayeeBalance) -> Msat {
    let parts = [
        balance.immature,
        balance.payable,
        balance.held_by_payouts,
        balance.paid,
    ];
    let sum: Option<Msat> = parts.into_iter().sum();
    sum.unwrap_or(Msat::MAX_MONEY)
}

/// A block is found for each [`Score::BLOCK`] on average; whole ones and the rest are multiplied on their own.
fn expected(of_a_block: Msat, score: Score) -> Option<Msat> {
    let whole = u64::try_from(score.0 / Score::BLOCK.0).ok()?;
    let rest = of_a_block.part(score.0 % Score::BLOCK.0, Score::BLOCK.0)?;
    Msat(of_a_block.0.checked_mul(whole)?).checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(account: &str, payable: u64, paid: u64) -> PayeeBalance {
        PayeeBalance {
            payee: Payee::Miner(account.to_owned()),
            immature: Msat(1),
            payable: Msat(payable),
            held_by_payouts: Msat(2),
            paid: Msat(paid),
        }
    }

    #[test]
    fn what_is_expected_is_a_part_of_a_block_for_its_work() {
        let half = Score(Score::BLOCK.0 / 2);
        assert_eq!(expected(Msat(101), half), Some(Msat(50)));
        let more = Score(Score::BLOCK.0 * 3 + half.0);
        assert_eq!(expected(Msat(100), more), Some(Msat(350)));
    }

    #[test]
    fn finding_a_block_is_no_luck_in_what_is_paid_by_work() {
        let scores = vec![
            ("alice".to_owned(), Score::BLOCK),
            ("bob".to_owned(), Score::BLOCK),
        ];
        let fees = BTreeMap::from([("alice".to_owned(), Msat(700))]);
        let earnings = Earnings::new(Some(Msat(1_000)), scores, fees);
        let alice = earnings.of(&balance("alice", 997, 700));
        let bob = earnings.of(&balance("bob", 997, 0));
        assert_eq!(alice, bob);
        assert_eq!(alice.realised, Some(Msat(1_000)));
        assert_eq!(alice.luck(), Some(1.0));
        let other = earnings.of(&balance("carol", 5, 0));
        assert_eq!((other.expected, other.luck()), (None, None));
        let node = PayeeBalance {
            payee: Payee::NodeReserve,
            ..balance("", 5, 0)
        };
        assert_eq!(earnings.of(&node), Earned::default());
        let blind = Earnings::new(
            None,
            vec![("bob".to_owned(), Score::BLOCK)],
            BTreeMap::new(),
        );
        assert_eq!(blind.of(&balance("bob", 5, 0)).expected, None);
    }
}
