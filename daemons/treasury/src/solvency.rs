//! Whether the treasury can pay what it owes: books and wallet beside each other (design 4.9), as a pure function.

use hh_ledger::books::{Attempt, AttemptState, Rebalance, Totals, Verification};
use hh_lightning::{Balances, Channel, PaymentHash};
use hh_mining::Msat;
use std::collections::BTreeMap;

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Payouts stop for it.
    pub is_grave: bool,
    pub what: String,
    pub fix: String,
}

/// What the wallet said, at one moment, at the chain's tip.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub balances: Balances,
    pub channels: Vec<Channel>,
}

/// What is on its way while books and wallet are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OnTheWay {
    pub attempts: Vec<Attempt>,
    pub rebalances: Vec<Rebalance>,
    /// What the wallet has less than the books say: no more than that can be between two channels.
    pub missing: Msat,
}

/// What there is and what is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cover {
    /// Spendable on the chain, or as soon as a transaction of our own is confirmed, and our side of channels after fees and reserves; what channels give back that close.
    pub assets: Msat,
    /// Balances that may be paid, open payouts and reserves; without payments that have left the channels already.
    pub owed: Msat,
}

impl Cover {
    pub(crate) fn of(totals: &Totals, seen: &Seen, open: &OnTheWay) -> Self {
        let sats = |amount: bitcoin::Amount| amount.to_sat().saturating_mul(1_000);
        let closing = seen.balances.closing.iter();
        // A contested one may be the peer's: it is counted when it is ours.
        let closing = closing.filter(|closing| !closing.is_contested);
        let assets = [
            sats(seen.balances.onchain_spendable),
            sats(seen.balances.onchain_change),
            seen.balances.in_channels_free.0,
        ]
        .into_iter()
        .chain(closing.map(|closing| sats(closing.amount)))
        .chain([between(seen, open).0])
        .fold(0_u64, u64::saturating_add);
        let gone = gone(seen, &open.attempts);
        let owed = totals.owed().0.saturating_sub(gone.0);
        Self {
            assets: Msat(assets),
            owed: Msat(owed),
        }
    }

    pub(crate) fn is_solvent(&self) -> bool {
        self.assets >= self.owed
    }
}

/// What open payouts hold and channels have no more: an outgoing HTLC is gone, and what it pays is owed no second time.
fn gone(seen: &Seen, open: &[Attempt]) -> Msat {
    let pending = outgoing(seen);
    let of_attempt = |attempt: &Attempt| {
        let is_out = matches!(
            attempt.state,
            AttemptState::Dispatched | AttemptState::InFlight | AttemptState::Unknown
        );
        let hash = PaymentHash(attempt.payment_hash);
        let pending = pending.get(&hash).copied().filter(|_| is_out);
        // With what routing costs it is more than the payout holds.
        pending.unwrap_or_default().min(attempt.amount.0)
    };
    let sum = open.iter().map(of_attempt).fold(0, u64::saturating_add);
    Msat(sum)
}

/// What has left one channel of ours for another, and is in neither: it comes back, or never leaves. Once it is in the other one the
/// wallet lacks nothing, though the first may hold its HTLC for a while.
fn between(seen: &Seen, open: &OnTheWay) -> Msat {
    let pending = outgoing(seen);
    let of_rebalance = |rebalance: &Rebalance| {
        let hash = PaymentHash(rebalance.payment_hash);
        let pending = pending.get(&hash).copied().unwrap_or_default();
        pending.min(rebalance.amount.0)
    };
    let rebalances = open.rebalances.iter();
    let sum = rebalances.map(of_rebalance).fold(0, u64::saturating_add);
    Msat(sum.min(open.missing.0))
}

/// Outgoing HTLCs by their payment.
fn outgoing(seen: &Seen) -> BTreeMap<PaymentHash, u64> {
    let mut pending: BTreeMap<PaymentHash, u64> = BTreeMap::new();
    let htlcs = seen
        .channels
        .iter()
        .flat_map(|channel| &channel.pending_htlcs);
    for htlc in htlcs.filter(|htlc| htlc.is_outgoing) {
        let sum = pending.entry(htlc.hash).or_default();
        *sum = sum.saturating_add(htlc.amount.0);
    }
    pending
}

/// All that is wrong, the gravest first.
pub(crate) fn findings(
    totals: &Totals,
    verification: &Verification,
    seen: Option<&Seen>,
    open: &OnTheWay,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = verification
        .findings
        .iter()
        .map(|what| Finding {
            is_grave: true,
            what: what.clone(),
            fix: "the books were changed by something else than hh-treasury: restore them from a backup".to_owned(),
        })
        .collect();
    match seen {
        None => findings.push(Finding {
            is_grave: false,
            what: "the wallet does not answer or is not at the chain's tip, so that nobody knows what it has".to_owned(),
            fix: "see `hhctl ln status`, and verify again".to_owned(),
        }),
        Some(seen) => {
            let cover = Cover::of(totals, seen, open);
            if !cover.is_solvent() {
                let Cover { assets, owed } = cover;
                findings.push(Finding {
                    is_grave: true,
                    what: format!("the wallet has {assets} sat that can be spent, and {owed} sat are owed"),
                    fix: "bring capital to `hhctl treasury address`, or find out where it went: `hhctl treasury status`".to_owned(),
                });
            }
        }
    }
    if totals.suspense_msat != 0 {
        findings.push(Finding {
            is_grave: false,
            what: format!("{} msat came or went unexplained", totals.suspense_msat),
            fix: "book capital with `hhctl treasury deposit`".to_owned(),
        });
    }
    findings
}

#[cfg(test)]
mod tests;
