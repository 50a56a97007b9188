use super::*;
use bitcoin::Amount;
use hh_ledger::books::{AttemptId, Payee, PayoutId, RebalanceState};
use hh_lightning::{ChannelId, ChannelState, Closing, Htlc};

const HASH: [u8; 32] = [7; 32];

/// What can be paid is owed: nothing else.
fn owing(msat: u64) -> Totals {
    Totals {
        payable: Msat(msat),
        ..Totals::default()
    }
}

fn channel(htlc_msat: Option<u64>) -> Channel {
    let key = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
    let htlc = |msat| Htlc {
        hash: PaymentHash(HASH),
        amount: Msat(msat),
        expiry_height: 1_000,
        is_outgoing: true,
    };
    Channel {
        id: ChannelId([1; 32]),
        peer: key.parse().unwrap(),
        funding: None,
        short_id: None,
        capacity: Msat(10_000_000),
        local: Msat(5_000_000),
        remote: Msat(5_000_000),
        spendable: Msat(4_000_000),
        receivable: Msat(4_000_000),
        on_close: Msat(4_900_000),
        reserve: Msat(100_000),
        close_delay: None,
        state: ChannelState::Ready,
        is_usable: true,
        is_public: false,
        is_ours: true,
        pending_htlcs: htlc_msat.map(htlc).into_iter().collect(),
    }
}

fn seen(onchain_sat: u64, channels_msat: u64, htlc_msat: Option<u64>) -> Seen {
    Seen {
        balances: Balances {
            onchain_spendable: Amount::from_sat(onchain_sat),
            in_channels_free: Msat(channels_msat),
            ..Balances::default()
        },
        channels: vec![channel(htlc_msat)],
    }
}

fn attempt(amount: u64, state: AttemptState) -> Attempt {
    Attempt {
        id: AttemptId(1),
        payout: PayoutId(1),
        payee: Payee::Miner("alice".to_owned()),
        payment_hash: HASH,
        invoice: String::new(),
        amount: Msat(amount),
        max_fee: Msat(0),
        cltv_limit: 432,
        wallet_node: String::new(),
        invoice_expires_at_ms: 0,
        state,
        prepared_at_ms: 0,
        dispatched_at_ms: None,
        dispatch_height: None,
        channels: Vec::new(),
        ended_at_ms: None,
        preimage: None,
        fee: None,
        failure: None,
        evidence: None,
    }
}

fn paying(attempt: Attempt) -> OnTheWay {
    OnTheWay {
        attempts: vec![attempt],
        ..OnTheWay::default()
    }
}

fn moving(amount: u64, missing: u64) -> OnTheWay {
    let rebalance = Rebalance {
        id: 1,
        key: String::new(),
        payment_hash: HASH,
        from: String::new(),
        into: String::new(),
        amount: Msat(amount),
        max_fee: Msat(10),
        cltv_limit: 432,
        wallet_node: String::new(),
        height: 0,
        channels: Vec::new(),
        actor: String::new(),
        state: RebalanceState::Open,
        opened_at_ms: 0,
        ended_at_ms: None,
        fee: None,
        failure: None,
    };
    OnTheWay {
        rebalances: vec![rebalance],
        missing: Msat(missing),
        ..OnTheWay::default()
    }
}

fn sound() -> Verification {
    Verification {
        entries: 0,
        postings: 0,
        findings: Vec::new(),
    }
}

#[test]
fn what_is_spendable_on_the_chain_and_in_channels_covers_what_is_owed() {
    let cover = Cover::of(&owing(7_000), &seen(4, 3_000, None), &OnTheWay::default());
    assert_eq!(cover.assets, Msat(7_000));
    assert!(cover.is_solvent());
    assert!(!Cover::of(&owing(7_001), &seen(4, 3_000, None), &OnTheWay::default()).is_solvent());
}

#[test]
fn change_of_our_own_that_is_not_confirmed_counts_and_an_immature_coinbase_does_not() {
    let mut seen = seen(4, 3_000, None);
    seen.balances.onchain_total = Amount::from_sat(60);
    seen.balances.onchain_immature = Amount::from_sat(50);
    seen.balances.onchain_change = Amount::from_sat(2);
    assert_eq!(
        Cover::of(&owing(0), &seen, &OnTheWay::default()).assets,
        Msat(9_000)
    );
}

#[test]
fn a_payment_that_has_left_the_channels_is_owed_no_second_time() {
    let totals = Totals {
        open_payouts: Msat(2_000),
        ..owing(5_000)
    };
    // The wallet has 2,000 less than before, with 10 for routing.
    let seen = seen(4, 1_000, Some(2_010));
    let flying = attempt(2_000, AttemptState::InFlight);
    assert!(Cover::of(&totals, &seen, &paying(flying)).is_solvent());
    // One that is only prepared has not left, whatever HTLC there is.
    let prepared = attempt(2_000, AttemptState::Prepared);
    assert!(!Cover::of(&totals, &seen, &paying(prepared)).is_solvent());
    assert!(!Cover::of(&totals, &seen, &OnTheWay::default()).is_solvent());
}

#[test]
fn what_closing_channels_give_back_counts_unless_the_peer_may_have_it() {
    let mut seen = seen(0, 0, None);
    let closing = |is_contested| Closing {
        channel: None,
        amount: Amount::from_sat(5),
        from_height: None,
        is_contested,
    };
    seen.balances.closing = vec![closing(false), closing(true)];
    assert_eq!(
        Cover::of(&owing(0), &seen, &OnTheWay::default()).assets,
        Msat(5_000)
    );
}

#[test]
fn a_strangers_sat_and_a_silent_wallet_are_no_reason_to_freeze() {
    let totals = Totals {
        suspense_msat: 1_000,
        ..owing(0)
    };
    let sound = sound();
    let found = findings(&totals, &sound, None, &OnTheWay::default());
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|finding| !finding.is_grave));
}

#[test]
fn too_little_money_is_grave() {
    let sound = sound();
    let found = findings(
        &owing(8_000),
        &sound,
        Some(&seen(4, 3_000, None)),
        &OnTheWay::default(),
    );
    assert!(
        found[0].is_grave && found[0].what.contains("7.000 sat"),
        "{found:?}"
    );
}

#[test]
fn what_is_between_two_channels_is_ours_until_it_is_in_the_other() {
    // 2,000 msat have left with a fee of 10, and are nowhere.
    let seen = seen(0, 3_000, Some(2_010));
    let owing = owing(5_000);
    assert!(!Cover::of(&owing, &seen, &OnTheWay::default()).is_solvent());
    assert!(Cover::of(&owing, &seen, &moving(2_000, 2_010)).is_solvent());
    // They have arrived, and the first channel still holds the HTLC: the wallet lacks the fee only.
    let arrived = Cover::of(&owing, &seen, &moving(2_000, 10));
    assert_eq!(arrived.assets, Msat(3_010));
}
