//! `Msat`: an amount of money in thousandths of a satoshi, the unit of Lightning (BOLT 2, `amount_msat`).

use std::fmt;
use std::iter::Sum;

use ethnum::U256;

/// Thousandths of a satoshi, never negative. All the bitcoin that will ever be are 2.1 x 10^18 of them, a ninth of what fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msat(pub u64);

impl Msat {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// 21 million bitcoin: no amount of the chain is larger.
    pub const MAX_MONEY: Self = Self(21_000_000 * 100_000_000 * 1_000);

    /// The same amount; none beyond [`Msat::MAX_MONEY`].
    #[must_use]
    pub fn from_sats(sats: u64) -> Option<Self> {
        let amount = Self(sats.checked_mul(1_000)?);
        (amount <= Self::MAX_MONEY).then_some(amount)
    }

    /// Both together; none where they don't fit.
    #[must_use]
    pub fn checked_add(self, more: Self) -> Option<Self> {
        self.0.checked_add(more.0).map(Self)
    }

    /// What is left; none where it is less than nothing.
    #[must_use]
    pub fn checked_sub(self, part: Self) -> Option<Self> {
        self.0.checked_sub(part.0).map(Self)
    }

    /// floor(self x weight / whole), with a 256-bit product: the part of one who brought in `weight` of `whole`.
    ///
    /// None where `whole` is less than `weight`, or zero: that is no part.
    #[must_use]
    pub fn part(self, weight: u128, whole: u128) -> Option<Self> {
        if whole == 0 || weight > whole {
            return None;
        }
        let part = U256::from(self.0) * U256::from(weight) / U256::from(whole);
        u64::try_from(part).ok().map(Self)
    }
}

/// In satoshi, with three decimals: `1234.567`.
impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// None where they don't fit.
impl Sum<Msat> for Option<Msat> {
    fn sum<I: Iterator<Item = Msat>>(mut amounts: I) -> Self {
        amounts.try_fold(Msat::ZERO, Msat::checked_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_shown_in_satoshi() {
        assert_eq!(Msat(1_234_567).to_string(), "1234.567");
        assert_eq!(Msat(7).to_string(), "0.007");
    }

    #[test]
    fn no_amount_is_more_than_all_the_money() {
        assert_eq!(
            Msat::from_sats(2_100_000_000_000_000),
            Some(Msat::MAX_MONEY)
        );
        assert_eq!(Msat::from_sats(2_100_000_000_000_001), None);
        assert_eq!(Msat::from_sats(u64::MAX), None);
    }

    #[test]
    fn a_part_of_nothing_is_none() {
        assert_eq!(Msat(10).part(0, 0), None);
        assert_eq!(Msat(10).part(3, 2), None);
        assert_eq!(Msat(10).part(2, 3), Some(Msat(6)));
    }

    proptest! {
        #[test]
        fn a_part_is_the_floor_of_the_exact_quotient(
            amount in 0..=Msat::MAX_MONEY.0,
            weight in any::<u128>(),
            more in any::<u128>(),
        ) {
            let whole = weight.saturating_add(more);
            prop_assume!(whole > 0);
            let part = U256::from(Msat(amount).part(weight, whole).unwrap().0);
            let product = U256::from(amount) * U256::from(weight);
            prop_assert!(part * U256::from(whole) <= product);
            prop_assert!((part + U256::ONE) * U256::from(whole) > product);
        }
    }
}
