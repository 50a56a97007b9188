//! Payouts of hh-treasury, and what it would pay.

use crate::daemons::seconds_ago;
use hh_ipc::api::treasury::{
    Attempt, AttemptState, DrawRequest, PaymentTrack, Payout, PayoutDetail, PayoutEvent,
    PayoutPage, PayoutPlan, PayoutQuery, PayoutState, PlannedPayout, RunRequest, WalletSight,
    WalletSightState,
};

/// A payee with a name that would be a formula or a command to who is careless.
pub(crate) const MALLORY: &str = "=cmd|' /C calc'!A0";

const HASH: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const PREIMAGE: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn settled() -> Payout {
    Payout {
        id: 412,
        payee: "miner:alice".to_owned(),
        amount_msat: 4_200_456,
        fee_msat: Some(1_001),
        state: PayoutState::Settled,
        reason: None,
        waiting_for: None,
        destination: "alice@wallet.example".to_owned(),
        attempts: 2,
        created_at: seconds_ago(3_600),
        next_try_at: None,
        settled_at: Some(seconds_ago(3_598)),
        latency_seconds: Some(0.412),
        payment_hash: Some(HASH.to_owned()),
        preimage: Some(PREIMAGE.to_owned()),
        approvals: Vec::new(),
        is_held: false,
    }
}

fn attempt(id: u64, state: AttemptState) -> Attempt {
    let failure = (state == AttemptState::FailedFinal).then(|| "no route".to_owned());
    Attempt {
        id,
        state,
        payment_hash: HASH.to_owned(),
        invoice: "lntbs42u1pj9hsw2".to_owned(),
        amount_msat: 4_200_456,
        max_fee_msat: 42_000,
        fee_msat: (state == AttemptState::Settled).then_some(1_001),
        wallet_node_id: format!("02{}", "ab".repeat(32)),
        prepared_at: seconds_ago(3_600),
        dispatched_at: Some(seconds_ago(3_599)),
        resolved_at: Some(seconds_ago(3_598)),
        failure,
        evidence: None,
    }
}

/// Newest first: one that waits for two words, one that waits to be tried again, one that needs a person, one that is settled.
pub(super) fn payouts() -> Vec<PayoutDetail> {
    let open = |id, payee: &str, state, reason: Option<&str>| Payout {
        id,
        payee: payee.to_owned(),
        fee_msat: None,
        state,
        reason: reason.map(str::to_owned),
        attempts: 1,
        created_at: seconds_ago(60),
        settled_at: None,
        latency_seconds: None,
        payment_hash: None,
        preimage: None,
        ..settled()
    };
    let mut large = open(415, "node:berlin-1", PayoutState::WaitingForApproval, None);
    large.amount_msat = 900_000_000;
    large.destination = format!("03{}", "cd".repeat(32));
    large.approvals = vec!["alice".to_owned()];
    let waiting = "the approval of 2 operators, and has 1; `hhctl payout approve 415`";
    large.waiting_for = Some(waiting.to_owned());
    let mut later = open(
        414,
        "miner:bob",
        PayoutState::RetryWait,
        Some("no route, 2 of 5"),
    );
    later.next_try_at = Some(seconds_ago(-125));
    later.waiting_for = Some("its next try; `hhctl payout retry 414` tries at once".to_owned());
    let reason = "outcome unknown, the wallet does not know the hash";
    let mut stuck = open(413, "miner:carol", PayoutState::NeedsOperator, Some(reason));
    stuck.is_held = true;
    let detail = |payout, attempts| PayoutDetail {
        payout,
        attempts,
        history: Vec::new(),
    };
    let mut done = detail(
        settled(),
        vec![
            attempt(1, AttemptState::FailedFinal),
            attempt(2, AttemptState::Settled),
        ],
    );
    let event = |seconds, what: &str, actor: Option<&str>| PayoutEvent {
        at: seconds_ago(seconds),
        what: what.to_owned(),
        actor: actor.map(str::to_owned),
    };
    done.history = vec![
        event(3_600, "opened by a run", Some("alice")),
        event(3_598, "settled", None),
    ];
    vec![
        detail(large, Vec::new()),
        detail(later, vec![attempt(3, AttemptState::FailedFinal)]),
        detail(stuck, vec![attempt(4, AttemptState::Unknown)]),
        done,
    ]
}

pub(super) fn page(payouts: &[PayoutDetail], query: &PayoutQuery) -> PayoutPage {
    let is_meant = |payout: &&Payout| {
        let of_payee = query
            .payee
            .as_ref()
            .is_none_or(|payee| *payee == payout.payee);
        let in_state = query
            .states
            .as_ref()
            .is_none_or(|states| states.contains(&payout.state));
        of_payee && in_state && query.before.is_none_or(|before| payout.id < before)
    };
    let all = payouts.iter().map(|detail| &detail.payout).filter(is_meant);
    let all: Vec<Payout> = all.cloned().collect();
    // Short pages, so that an export goes through several.
    let limit = usize::try_from(query.limit.min(3)).unwrap();
    let next_before = (all.len() > limit).then(|| all[limit - 1].id);
    PayoutPage {
        payouts: all.into_iter().take(limit).collect(),
        next_before,
    }
}

pub(super) fn plan() -> PayoutPlan {
    let planned = |payee: &str, amount_msat, destination: &str, needs_approval| PlannedPayout {
        id: None,
        payee: payee.to_owned(),
        amount_msat,
        destination: destination.to_owned(),
        needs_approval,
        max_fee_msat: Some(amount_msat / 100),
    };
    PayoutPlan {
        planned: vec![
            planned("miner:alice", 4_200_456, "alice@wallet.example", false),
            planned("node:berlin-1", 900_000_000, "invoice of the node", true),
        ],
        left_out: vec![
            ("miner:bob".to_owned(), "a payout of his is open".to_owned()),
            ("miner:carol".to_owned(), "no destination".to_owned()),
        ],
        total_msat: 904_200_456,
        day_limit_left_msat: Some(5_000_000_000),
        is_frozen: false,
    }
}

/// Of the plan, what is asked for.
pub(super) fn planned(plan: &PayoutPlan, request: &RunRequest) -> PayoutPlan {
    let mut plan = plan.clone();
    if !request.payees.is_empty() {
        plan.planned
            .retain(|planned| request.payees.contains(&planned.payee));
        plan.left_out
            .retain(|(payee, _)| request.payees.contains(payee));
    }
    let amounts = plan.planned.iter().map(|planned| planned.amount_msat);
    plan.total_msat = amounts.sum();
    plan
}

/// A payout by the invoice that was handed in.
pub(super) fn drawn(request: DrawRequest) -> Payout {
    Payout {
        id: 416,
        payee: request.name,
        amount_msat: 2_500_000,
        fee_msat: None,
        state: PayoutState::Queued,
        destination: request.invoice,
        attempts: 0,
        created_at: seconds_ago(0),
        settled_at: None,
        latency_seconds: None,
        payment_hash: None,
        preimage: None,
        ..settled()
    }
}

/// The wallet agrees with the books where they know the hash, and knows nothing where they don't.
pub(super) fn track(payouts: &[PayoutDetail], hash: &str) -> PaymentTrack {
    let pays = |detail: &&PayoutDetail| {
        let mut attempts = detail.attempts.iter();
        attempts.any(|attempt| attempt.payment_hash == hash)
    };
    // The one that is settled, of those that have the same hash here.
    let payout = payouts.iter().rev().find(pays).cloned();
    let state = match payout {
        Some(_) => WalletSightState::Settled,
        None => WalletSightState::Absent,
    };
    PaymentTrack {
        payment_hash: hash.to_owned(),
        wallet: WalletSight {
            state,
            fee_msat: payout.as_ref().and_then(|detail| detail.payout.fee_msat),
            note: None,
        },
        payout,
    }
}
