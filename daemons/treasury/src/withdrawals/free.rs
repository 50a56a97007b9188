//! What the operator may withdraw, as a pure function of books and wallet: nothing of what is owed, and nothing that has to stay on the
//! chain.

use crate::solvency::Cover;
use bitcoin::{Amount, FeeRate, Weight};
use hh_ledger::books::Totals;
use hh_lightning::Balances;
use hh_mining::Msat;

/// The frame of a transaction (42), an output to any address (172), change of the wallet (124).
const FRAME: Weight = Weight::from_wu(42 + 172 + 124);

/// An input of the wallet: P2WPKH, which all three use.
const INPUT: Weight = Weight::from_wu(272);

/// Change that is too small for an output goes to the fee.
const DUST: Amount = Amount::from_sat(330);

/// Inputs that are counted on: a wallet of many small outputs takes more of them only where it has to.
const INPUTS_MAX: usize = 100;

/// What may leave the wallet, and the three limits that it is the least of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    /// The operator's own by the books.
    pub own: Msat,
    /// What can be spent, anywhere, beyond what is owed and what nobody has explained.
    pub spare: Msat,
    /// What can be spent on the chain beside what stays there.
    pub on_chain: Msat,
    /// What stays there for channels that close.
    pub stays: Msat,
}

/// Why nothing is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPossible {
    #[error("{}", too_much(.amount, .max_fee, .free))]
    TooMuch {
        amount: Msat,
        max_fee: Msat,
        free: Free,
    },
    #[error("{}", too_little(.amount, .least))]
    Dust { amount: Msat, least: Msat },
}

fn too_much(amount: &Msat, max_fee: &Msat, free: &Free) -> String {
    let [amount, max_fee, most] = [*amount, *max_fee, free.amount()].map(sat);
    let [own, spare, on_chain, stays] = [free.own, free.spare, free.on_chain, free.stays].map(sat);
    format!(
        "{amount} sat with a fee of up to {max_fee} sat are more than the {most} sat that may leave: {own} sat are the operator's own by \
         the books, the wallet can spend {spare} sat more than it owes, and {on_chain} sat on the chain beside the {stays} sat that stay there \
         for channels that close"
    )
}

fn too_little(amount: &Msat, least: &Msat) -> String {
    let [amount, least] = [*amount, *least].map(sat);
    format!(
        "{amount} sat are too small an output for nodes to relay: withdraw at least {least} sat"
    )
}

/// Whole satoshi: on the chain there is nothing less.
fn sat(amount: Msat) -> u64 {
    amount.0 / 1_000
}

impl Free {
    /// `stays` is what the rules of channels leave on the chain.
    pub(crate) fn of(totals: &Totals, cover: Cover, balances: &Balances, stays: Amount) -> Self {
        let unexplained = u64::try_from(totals.suspense_msat.max(0)).unwrap_or_default();
        let others = cover.owed.0.saturating_add(unexplained);
        let (spendable, stays) = (msat(balances.onchain_spendable), msat(stays));
        Self {
            own: totals.own(),
            spare: Msat(cover.assets.0.saturating_sub(others)),
            on_chain: Msat(spendable.0.saturating_sub(stays.0)),
            stays,
        }
    }

    /// The least of the three, in whole satoshi.
    pub(crate) fn amount(&self) -> Msat {
        let least = self.own.min(self.spare).min(self.on_chain);
        Msat(least.0 - least.0 % 1_000)
    }

    /// What is sent: what is asked for, or all that the fee leaves. `least` is the smallest output that nodes relay.
    ///
    /// # Errors
    /// It is more than may leave with the fee, or too little for an output.
    pub(crate) fn allow(
        &self,
        wanted: Option<Msat>,
        max_fee: Msat,
        least: Msat,
    ) -> Result<Msat, NotPossible> {
        let most = Msat(self.amount().0.saturating_sub(max_fee.0));
        let amount = wanted.unwrap_or(most.max(least));
        if amount > most {
            let free = *self;
            return Err(NotPossible::TooMuch {
                amount,
                max_fee,
                free,
            });
        }
        if amount < least {
            return Err(NotPossible::Dust { amount, least });
        }
        Ok(amount)
    }
}

/// What a transaction may cost at a rate, where the wallet has so many outputs that it could spend.
pub(crate) fn max_fee(rate: FeeRate, outputs: usize) -> Msat {
    let inputs = outputs.clamp(1, INPUTS_MAX) as u64;
    let fee = rate.fee_wu(FRAME + INPUT * inputs);
    let fee = fee.and_then(|fee| fee.checked_add(DUST));
    msat(fee.unwrap_or(Amount::MAX_MONEY))
}

fn msat(amount: Amount) -> Msat {
    Msat::from_sats(amount.to_sat()).unwrap_or(Msat::MAX_MONEY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEAST: Msat = Msat(294_000);

    fn free(own: u64, spare: u64, on_chain: u64) -> Free {
        Free {
            own: Msat(own),
            spare: Msat(spare),
            on_chain: Msat(on_chain),
            stays: Msat(100_000_000),
        }
    }

    #[track_caller]
    fn check(free: Free, wanted: Option<u64>, expected: Result<u64, &str>) {
        let allowed = free.allow(wanted.map(Msat), Msat(5_000_000), LEAST);
        match (allowed, expected) {
            (Ok(amount), Ok(expected)) => assert_eq!(amount, Msat(expected)),
            (Err(error), Err(part)) => {
                let error = error.to_string();
                assert!(error.contains(part), "{error}");
            }
            (allowed, expected) => panic!("{allowed:?} is not {expected:?}"),
        }
    }

    #[test]
    fn the_least_of_the_three_limits_counts_and_the_fee_is_on_top() {
        let ninety = Ok(90_000_000);
        check(free(95_000_999, 200_000_000, 300_000_000), None, ninety);
        check(free(200_000_000, 95_000_000, 300_000_000), None, ninety);
        check(free(200_000_000, 300_000_000, 95_000_000), None, ninety);
        let limited = free(95_000_000, 200_000_000, 300_000_000);
        check(limited, Some(90_000_000), ninety);
        check(limited, Some(90_001_000), Err("more than the 95000 sat"));
        check(limited, Some(293_000), Err("at least 294 sat"));
        check(
            free(4_000_000, 9_000_000, 9_000_000),
            None,
            Err("294 sat with a fee of up to 5000"),
        );
    }

    #[test]
    fn a_fee_is_counted_for_all_outputs_up_to_a_hundred() {
        let rate = FeeRate::from_sat_per_vb_u32(2);
        assert_eq!(max_fee(rate, 0), max_fee(rate, 1));
        assert_eq!(max_fee(rate, 1), Msat((305 + 330) * 1_000));
        assert!(max_fee(rate, 2) > max_fee(rate, 1));
        assert_eq!(max_fee(rate, 100), max_fee(rate, 5_000));
        assert_eq!(max_fee(FeeRate::MAX, 3), Msat::MAX_MONEY);
    }

    fn sats() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 0..2_000_000_u64, 0..2_100_000_000_000_000_u64]
    }

    fn totals(own_msat: i64, suspense_msat: i64) -> Totals {
        Totals {
            treasury_msat: own_msat,
            suspense_msat,
            ..Totals::default()
        }
    }

    proptest! {
        /// Whatever is asked for, what is owed can be paid after it, the operator has not drawn others' money, and the reserve of the
        /// chain is there.
        #[test]
        fn what_is_withdrawn_leaves_everybody_his_own(
            (own, suspense) in (-2_000_000_000_i64..9_000_000_000, -2_000_000_000_i64..2_000_000_000),
            (assets, owed, spendable, stays) in (sats(), sats(), sats(), sats()),
            (wanted, fee) in (proptest::option::of(sats()), sats()),
        ) {
            let cover = Cover { assets: Msat(assets), owed: Msat(owed) };
            let balances = Balances {
                onchain_spendable: Amount::from_sat(spendable),
                ..Balances::default()
            };
            let free = Free::of(&totals(own, suspense), cover, &balances, Amount::from_sat(stays));
            let max_fee = Msat(fee);
            if let Ok(amount) = free.allow(wanted.map(|sat| Msat(sat * 1_000)), max_fee, LEAST) {
                prop_assert!(amount >= LEAST && amount.0.is_multiple_of(1_000) || wanted.is_none());
                prop_assert!(wanted.is_none_or(|sat| amount == Msat(sat * 1_000)));
                let gone = i128::from(amount.0) + i128::from(fee);
                let unexplained = i128::from(suspense.max(0));
                prop_assert!(i128::from(assets) - gone >= i128::from(owed) + unexplained);
                prop_assert!(i128::from(own) + i128::from(suspense.min(0)) - gone >= 0);
                prop_assert!(i128::from(spendable) * 1_000 - gone >= i128::from(stays) * 1_000);
            } else if let Some(wanted) = wanted {
                // It is not refused without a reason.
                let gone = i128::from(wanted) * 1_000 + i128::from(fee);
                let most = i128::from(free.amount().0);
                prop_assert!(gone > most || most <= i128::from(fee) || wanted * 1_000 < LEAST.0);
            }
        }
    }
}
