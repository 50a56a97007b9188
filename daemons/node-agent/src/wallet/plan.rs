//! Whether an invoice is to be made for the node's dues, and of how much. Pure.

use hh_mining::Msat;

/// After a refusal, until the next invoice: what was wrong is looked at by a person first.
pub(super) const SETBACK_PAUSE_MS: i64 = 10 * 60_000;

/// From one invoice to the next, whatever core says of the last one: each is work of the wallet and of the node's key.
pub(super) const PAUSE_MS: i64 = 60_000;

/// What is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// What hh-treasury says that it may pay, and what an invoice has to be for.
    pub(super) dues: Option<Dues>,
    /// Of the configuration.
    pub(super) from: Msat,
    /// What the largest usable channel with hh-treasury can bring in; none where there is none.
    pub(super) receivable: Option<Msat>,
    /// An invoice that may still be paid.
    pub(super) has_open: bool,
    /// When the last one was made.
    pub(super) newest_made_ms: Option<i64>,
    /// When one was last refused or given up, or said to be paid without any money.
    pub(super) setback_ms: Option<i64>,
    pub(super) now_ms: i64,
}

/// As core has passed it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dues {
    pub(super) payable: Msat,
    pub(super) min: Msat,
    pub(super) max: Msat,
}

/// Why no invoice is made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoInvoice {
    #[error("core has not said what the node is owed")]
    NotSaid,
    #[error("the last invoice is open")]
    Open,
    #[error("the last invoice was just made; the next one is made a minute later")]
    JustMade,
    #[error(
        "the last invoice was refused, or no money has come for it; the next one is made ten minutes later"
    )]
    Setback,
    #[error("the node is owed {payable} sat; an invoice is made from {from} sat on")]
    TooLittle { payable: Msat, from: Msat },
    #[error("there is no usable channel with hh-treasury")]
    NoChannel,
    #[error(
        "the channels with hh-treasury can bring in {receivable} sat, and an invoice is made from {from} sat on"
    )]
    ChannelTooSmall { receivable: Msat, from: Msat },
}

/// The amount of the next invoice.
pub(super) fn amount(facts: &Facts) -> Result<Msat, NoInvoice> {
    let dues = facts.dues.ok_or(NoInvoice::NotSaid)?;
    if facts.has_open {
        return Err(NoInvoice::Open);
    }
    let is_within = |at_ms: Option<i64>, pause: i64| {
        at_ms.is_some_and(|at| facts.now_ms < at.saturating_add(pause))
    };
    if is_within(facts.setback_ms, SETBACK_PAUSE_MS) {
        return Err(NoInvoice::Setback);
    }
    if is_within(facts.newest_made_ms, PAUSE_MS) {
        return Err(NoInvoice::JustMade);
    }
    let from = facts.from.max(dues.min).max(Msat(1));
    let payable = dues.payable.min(dues.max);
    if payable < from {
        return Err(NoInvoice::TooLittle { payable, from });
    }
    let receivable = facts.receivable.ok_or(NoInvoice::NoChannel)?;
    let amount = payable.min(receivable);
    if amount < from {
        return Err(NoInvoice::ChannelTooSmall { receivable, from });
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts() -> Facts {
        Facts {
            dues: Some(Dues {
                payable: Msat(900_000_123),
                min: Msat(1_000_000),
                max: Msat(1_000_000_000),
            }),
            from: Msat(10_000_000),
            receivable: Some(Msat(9_000_000_000)),
            has_open: false,
            newest_made_ms: None,
            setback_ms: None,
            now_ms: 1_000_000,
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Facts), expected: Result<Msat, NoInvoice>) {
        let mut facts = facts();
        change(&mut facts);
        assert_eq!(amount(&facts), expected, "{facts:?}");
    }

    #[test]
    fn all_that_is_owed_is_claimed_at_once_to_the_msat() {
        check(|_| {}, Ok(Msat(900_000_123)));
        let large = |facts: &mut Facts| facts.dues.as_mut().unwrap().payable = Msat(u64::MAX);
        check(large, Ok(Msat(1_000_000_000)));
        let narrow = |facts: &mut Facts| facts.receivable = Some(Msat(20_000_000));
        check(narrow, Ok(Msat(20_000_000)));
    }

    #[test]
    fn nothing_is_claimed_that_would_not_be_paid() {
        check(|facts| facts.dues = None, Err(NoInvoice::NotSaid));
        check(|facts| facts.has_open = true, Err(NoInvoice::Open));
        check(|facts| facts.receivable = None, Err(NoInvoice::NoChannel));
        let from = Msat(10_000_000);
        let little = |facts: &mut Facts| facts.dues.as_mut().unwrap().payable = Msat(9_999_999);
        let payable = Msat(9_999_999);
        check(little, Err(NoInvoice::TooLittle { payable, from }));
        let receivable = Msat(1);
        let narrow = |facts: &mut Facts| facts.receivable = Some(receivable);
        check(narrow, Err(NoInvoice::ChannelTooSmall { receivable, from }));
    }

    proptest! {
        #[test]
        fn no_invoice_is_for_more_than_is_owed_may_be_and_can_come_in(
            payable in 0_u64.., min in 0_u64..10_000, max in 0_u64.., receivable in 0_u64.., from in 0_u64..10_000,
        ) {
            let facts = Facts {
                dues: Some(Dues { payable: Msat(payable), min: Msat(min), max: Msat(max) }),
                from: Msat(from),
                receivable: Some(Msat(receivable)),
                ..facts()
            };
            if let Ok(amount) = amount(&facts) {
                prop_assert!(amount.0 <= payable && amount.0 <= max && amount.0 <= receivable);
                prop_assert!(amount.0 >= min && amount.0 >= from && amount.0 > 0);
            }
        }
    }

    #[test]
    fn a_core_that_promises_millions_is_claimed_of_once_and_after_a_refusal_not_at_once() {
        let refused = |facts: &mut Facts| facts.setback_ms = Some(facts.now_ms - 1);
        check(refused, Err(NoInvoice::Setback));
        let long_ago = |facts: &mut Facts| facts.setback_ms = Some(facts.now_ms - SETBACK_PAUSE_MS);
        check(long_ago, Ok(Msat(900_000_123)));
        // Even one that calls each invoice settled at once.
        let made = |facts: &mut Facts| facts.newest_made_ms = Some(facts.now_ms - PAUSE_MS + 1);
        check(made, Err(NoInvoice::JustMade));
        let made = |facts: &mut Facts| facts.newest_made_ms = Some(facts.now_ms - PAUSE_MS);
        check(made, Ok(Msat(900_000_123)));
    }
}
