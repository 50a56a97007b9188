//! Checks of what hh-treasury says. Pure, as the others.

use super::Check;
use super::checks::links;
use crate::command::treasury::frozen;
use crate::output::text;
use hh_ipc::api::treasury::{RewardBlockState, Totals, TreasuryStatus};
use jiff::{SignedDuration, Timestamp};
use std::slice;

/// hh-treasury adds its books up at its start and each day; a look that is older means that it does not come to it.
const OLD_VERIFICATION: SignedDuration = SignedDuration::from_hours(48);

/// The split waits for the logs of all pools, which takes seconds; one that waits for so long has a reason.
const OLD_SPLIT: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn checks(treasury: &TreasuryStatus, now: Timestamp) -> Vec<Check> {
    let mut checks = vec![
        links(
            "treasury node",
            &treasury.bitcoin_nodes,
            "start those nodes, or correct [[nodes]] in hh-treasury.toml: no block becomes mature without one",
        ),
        links(
            "pool ledger",
            slice::from_ref(&treasury.pool_ledger),
            "let hh-treasury read the pool's ledger (group hyperhash-ledger), or correct its path: no reward is split until then",
        ),
        links(
            "books",
            slice::from_ref(&treasury.books),
            "make room on its disk, or start its database: nothing is paid until then",
        ),
        links(
            "lightning",
            slice::from_ref(&treasury.lightning),
            "start the Lightning node, or correct [lightning] in hh-treasury.toml; balances stay",
        ),
        payouts(treasury, now),
        verification(treasury, now),
    ];
    checks.extend(treasury.totals.as_ref().map(suspense));
    checks.extend(liquidity(treasury));
    checks.extend(split(treasury, now));
    checks
}

fn payouts(treasury: &TreasuryStatus, now: Timestamp) -> Check {
    let name = "payouts";
    if let Some(freeze) = &treasury.freeze {
        let fix =
            "see hhctl treasury verify and hhctl treasury reconcile, then hhctl treasury unfreeze";
        return Check::fail(name, frozen(freeze, now), fix);
    }
    let open = text::plural(treasury.payouts_open, "open payout");
    match treasury.payouts_waiting_for_operator {
        0 => Check::ok(name, open),
        waiting => {
            let found = format!("{open}, {} for a person", text::count(waiting));
            let fix =
                "see which: hhctl payout list --state needs-operator, then hhctl payout show ID";
            Check::warn(name, found, fix)
        }
    }
}

fn verification(treasury: &TreasuryStatus, now: Timestamp) -> Check {
    let name = "verification";
    let found = text::ago(now, treasury.last_verified_at);
    let is_old = treasury
        .last_verified_at
        .is_none_or(|at| now.duration_since(at) > OLD_VERIFICATION);
    if is_old {
        let fix =
            "run hhctl treasury verify, and keep the log of hh-treasury if it does not answer";
        return Check::warn(name, found, fix);
    }
    Check::ok(name, found)
}

/// Money that nobody has explained is nobody's: the operator's capital, or a mistake.
fn suspense(totals: &Totals) -> Check {
    let name = "suspense";
    match totals.suspense_msat {
        0 => Check::ok(name, "nothing arrived unexplained"),
        amount => {
            let found = format!("{} arrived unexplained", text::signed_sat(amount));
            let fix = "if it is the operator's capital: hhctl treasury deposit AMOUNT --note TEXT";
            Check::warn(name, found, fix)
        }
    }
}

/// Can what is payable be paid over the channels?
fn liquidity(treasury: &TreasuryStatus) -> Option<Check> {
    let name = "liquidity";
    let (totals, balances) = (treasury.totals.as_ref()?, treasury.balances.as_ref()?);
    let payable = u64::try_from(totals.payable_msat).unwrap_or(0);
    let found = format!(
        "{} in channels for {} payable",
        text::sat(balances.channels_msat),
        text::sat(payable)
    );
    Some(if balances.channels_msat < payable {
        let fix = "open a channel (hhctl ln channel open) or rebalance (hhctl ln channel rebalance): what does not fit waits";
        Check::warn(name, found, fix)
    } else {
        Check::ok(name, found)
    })
}

/// The last block, if its reward waits for something.
fn split(treasury: &TreasuryStatus, now: Timestamp) -> Option<Check> {
    let block = treasury.last_block.as_ref()?;
    let name = "split";
    let is_lost = matches!(
        block.state,
        RewardBlockState::Rejected | RewardBlockState::Orphaned
    );
    let is_late = now.duration_since(block.found_at) > OLD_SPLIT;
    if block.split_at.is_some() || is_lost || !is_late {
        return Some(Check::ok(name, format!("of block {}", block.height)));
    }
    let reason = block.reason.as_deref().unwrap_or("no reason is told");
    let found = format!(
        "block {}, found {}, is not split: {reason}",
        block.height,
        text::ago(now, Some(block.found_at))
    );
    let fix = "see which pool lags: hhctl round list; free the server id of one that will not come back: hhctl pool retire";
    Some(Check::warn(name, found, fix))
}
