//! Metrics that are copied from the books and the wallet every few seconds, so that no payout pays for them. Counters end in `_total`
//! and only grow; no label names an account, a node or a channel.

use crate::Stores;
use crate::audit::Audit;
use crate::clock::unix_ms;
use crate::solvency::Seen;
use hh_ledger::books::{Attempt, Books, BooksError, Page, PayoutFilter, PayoutState, Totals};
use hh_lightning::{ChannelState, FailureCode};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often they are copied.
const INTERVAL: Duration = Duration::from_secs(5);

/// Open payouts that are counted.
const OPEN_MAX: u32 = 10_000;

/// Payments go over Lightning only.
const RAIL: &str = "lightning";

/// Why a payment ended as it did, as `hyperhash_ln_payments_total` names it: no others, whatever a wallet says.
const FAILURES: [&str; 9] = [
    FailureCode::NoRoute.as_str(),
    FailureCode::TimedOut.as_str(),
    FailureCode::Expired.as_str(),
    FailureCode::RejectedByPayee.as_str(),
    FailureCode::NoBalance.as_str(),
    FailureCode::Cancelled.as_str(),
    FailureCode::Other.as_str(),
    "refused",
    "never_sent",
];

/// Counts a payment that has failed for good, once it is booked.
pub(crate) fn payment_failed(code: &str) {
    let known = FAILURES.into_iter().find(|known| *known == code);
    let reason = known.unwrap_or(FailureCode::Other.as_str());
    counter!("hyperhash_ln_payments_total", "result" => "failed", "reason" => reason).increment(1);
}

/// Counts a payment that was settled, once it is booked.
pub(crate) fn payment_settled() {
    counter!("hyperhash_ln_payments_total", "result" => "settled", "reason" => "none").increment(1);
}

/// Counts a withdrawal that has ended, once it is in the books.
pub(crate) fn withdrawal_ended(result: &'static str) {
    counter!("hyperhash_treasury_withdrawals_total", "result" => result).increment(1);
}

/// Copies until `stop` is cancelled.
pub(crate) async fn keep(stores: Stores, audit: Audit, stop: CancellationToken) {
    describe_payouts();
    describe_money();
    describe_wallet();
    loop {
        if let Err(error) = copy_books(&stores.books).await {
            let error = hh_daemon::Chain(&error).to_string();
            tracing::debug!(error, "metrics of the books not copied");
        }
        if let Ok(seen) = audit.seen().await {
            copy_wallet(&seen);
        }
        // One that does not answer is in step with nothing.
        let info = stores.wallet.wallet().info().await;
        let is_synced = info.is_ok_and(|info| info.is_synced);
        gauge!("hyperhash_ln_synced_to_chain").set(f64::from(u8::from(is_synced)));
        let pause = tokio::time::sleep(INTERVAL);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

fn describe_payouts() {
    describe_counter!(
        "hyperhash_payouts_total",
        "Payments of payouts that ended, by rail and result"
    );
    describe_histogram!(
        "hyperhash_payout_latency_seconds",
        "From the dispatch of a payment to its preimage, by rail"
    );
    describe_gauge!(
        "hyperhash_payout_pending",
        "Payouts that are neither settled nor ended"
    );
    describe_gauge!("hyperhash_payout_pending_satoshis", "What they hold");
    describe_gauge!(
        "hyperhash_payout_oldest_pending_age_seconds",
        "Age of the oldest of them"
    );
    describe_gauge!(
        "hyperhash_payout_waiting_for_operator",
        "Of these, those that wait for a person"
    );
    describe_gauge!(
        "hyperhash_ln_payments_in_flight",
        "Payments whose outcome is open"
    );
    describe_gauge!(
        "hyperhash_ln_oldest_in_flight_age_seconds",
        "Age of the oldest of them"
    );
    for result in ["settled", "failed"] {
        counter!("hyperhash_payouts_total", "rail" => RAIL, "result" => result).absolute(0);
    }
    describe_counter!(
        "hyperhash_ln_payments_total",
        "Payments that ended, by result and, of those that failed, by reason"
    );
    counter!("hyperhash_ln_payments_total", "result" => "settled", "reason" => "none").absolute(0);
    for reason in FAILURES {
        counter!("hyperhash_ln_payments_total", "result" => "failed", "reason" => reason)
            .absolute(0);
    }
}

fn describe_money() {
    describe_gauge!(
        "hyperhash_treasury_owed_satoshis",
        "What is owed, by to whom: miners and nodes, open payouts, reserves"
    );
    describe_gauge!(
        "hyperhash_treasury_own_satoshis",
        "What is the treasury's own after fees and losses"
    );
    describe_gauge!(
        "hyperhash_treasury_balance_satoshis",
        "What the wallet has, by where"
    );
    describe_gauge!(
        "hyperhash_treasury_frozen",
        "1 while payouts are frozen, else 0"
    );
    describe_gauge!(
        "hyperhash_treasury_ledger_mismatch_satoshis",
        "What the wallet has more than the books say, in a quiet moment"
    );
    describe_gauge!(
        "hyperhash_treasury_fees_paid_satoshis",
        "What routing, the chain and channels have cost so far"
    );
    describe_gauge!(
        "hyperhash_treasury_routing_income_satoshis",
        "What forwarding has earned so far"
    );
    describe_gauge!(
        "hyperhash_treasury_withdrawn_satoshis",
        "What the operator has withdrawn so far, without fees"
    );
    describe_gauge!(
        "hyperhash_treasury_withdrawal_open_age_seconds",
        "Age of the withdrawal that no block has yet"
    );
    describe_counter!(
        "hyperhash_treasury_withdrawals_total",
        "Withdrawals that ended, by result"
    );
    for result in ["settled", "failed"] {
        counter!("hyperhash_treasury_withdrawals_total", "result" => result).absolute(0);
    }
}

fn describe_wallet() {
    describe_gauge!("hyperhash_ln_channels", "Channels by state");
    describe_gauge!(
        "hyperhash_ln_synced_to_chain",
        "1 while the Lightning node answers and is in step with the chain, else 0"
    );
    describe_gauge!(
        "hyperhash_ln_local_balance_millisatoshis",
        "Our side of channels, by state"
    );
    describe_gauge!(
        "hyperhash_ln_remote_balance_millisatoshis",
        "The peers' side of channels, by state"
    );
}

async fn copy_books(books: &Books) -> Result<(), BooksError> {
    let totals = books.totals().await?;
    copy_totals(&totals);
    let frozen = books.frozen().await?.is_some();
    gauge!("hyperhash_treasury_frozen").set(f64::from(u8::from(frozen)));
    let open = PayoutFilter {
        payee: None,
        states: crate::payouts::OPEN_STATES.to_vec(),
    };
    let page = Page {
        before: None,
        limit: OPEN_MAX,
    };
    let open = books.payouts(open, page).await?;
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    gauge!("hyperhash_payout_pending", "rail" => RAIL).set(count(open.len()));
    gauge!("hyperhash_payout_pending_satoshis", "rail" => RAIL).set(sats(totals.open_payouts.0));
    let oldest = open.iter().map(|payout| payout.created_at_ms).min();
    gauge!("hyperhash_payout_oldest_pending_age_seconds", "rail" => RAIL).set(age(oldest));
    let waiting = open
        .iter()
        .filter(|payout| payout.state == PayoutState::NeedsOperator);
    gauge!("hyperhash_payout_waiting_for_operator").set(count(waiting.count()));
    let withdrawals = books.open_withdrawals().await?;
    let oldest = withdrawals.iter().map(|open| open.opened_at_ms).min();
    gauge!("hyperhash_treasury_withdrawal_open_age_seconds").set(age(oldest));
    let attempts: Vec<Attempt> = books.open_attempts().await?;
    gauge!("hyperhash_ln_payments_in_flight").set(count(attempts.len()));
    let oldest = attempts
        .iter()
        .filter_map(|attempt| attempt.dispatched_at_ms);
    gauge!("hyperhash_ln_oldest_in_flight_age_seconds").set(age(oldest.min()));
    Ok(())
}

fn copy_totals(totals: &Totals) {
    for (whom, amount) in [
        ("payable", totals.payable),
        ("payouts", totals.open_payouts),
        ("reserves", totals.reserves),
        ("immature", totals.immature),
    ] {
        gauge!("hyperhash_treasury_owed_satoshis", "to" => whom).set(sats(amount.0));
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("hyperhash_treasury_own_satoshis").set(totals.treasury_msat as f64 / 1_000.0);
    gauge!("hyperhash_treasury_fees_paid_satoshis").set(sats(totals.fees().0));
    gauge!("hyperhash_treasury_routing_income_satoshis").set(sats(totals.income_routing.0));
    gauge!("hyperhash_treasury_withdrawn_satoshis").set(sats(totals.drawn.0));
}

fn copy_wallet(seen: &Seen) {
    let balances = &seen.balances;
    let satoshis = |amount: bitcoin::Amount| sats(amount.to_sat().saturating_mul(1_000));
    gauge!("hyperhash_treasury_balance_satoshis", "wallet" => "on_chain")
        .set(satoshis(balances.onchain_spendable));
    gauge!("hyperhash_treasury_balance_satoshis", "wallet" => "anchor_reserve")
        .set(satoshis(balances.anchor_reserve));
    gauge!("hyperhash_treasury_balance_satoshis", "wallet" => "channels")
        .set(sats(balances.in_channels_free.0));
    for (state, name) in [
        (Some(true), "active"),
        (Some(false), "inactive"),
        (None, "pending"),
    ] {
        let of_state = seen.channels.iter().filter(|channel| match channel.state {
            ChannelState::Ready => state == Some(channel.is_usable),
            ChannelState::Opening | ChannelState::Closing => state.is_none(),
        });
        let (mut count, mut local, mut remote) = (0_u32, 0_u64, 0_u64);
        for channel in of_state {
            count += 1;
            local = local.saturating_add(channel.local.0);
            remote = remote.saturating_add(channel.remote.0);
        }
        gauge!("hyperhash_ln_channels", "state" => name).set(f64::from(count));
        gauge!("hyperhash_ln_local_balance_millisatoshis", "state" => name).set(float(local));
        gauge!("hyperhash_ln_remote_balance_millisatoshis", "state" => name).set(float(remote));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn float(number: u64) -> f64 {
    number as f64
}

fn sats(msat: u64) -> f64 {
    float(msat) / 1_000.0
}

fn age(since_ms: Option<i64>) -> f64 {
    let age_ms = since_ms.map_or(0, |since_ms| unix_ms().saturating_sub(since_ms));
    float(u64::try_from(age_ms).unwrap_or_default()) / 1_000.0
}
