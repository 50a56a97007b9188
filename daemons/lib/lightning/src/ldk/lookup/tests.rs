use super::*;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use proptest::prelude::*;
use std::time::SystemTime;

const LONG: Duration = Duration::from_secs(3_600);
const CHANNEL: ChannelId = ChannelId([1; 32]);

fn preimage() -> PaymentPreimage {
    PaymentPreimage([5; 32])
}

fn dispatch() -> Dispatch {
    let key = SecretKey::from_slice(&[9; 32]).unwrap();
    Dispatch {
        wallet: key.public_key(&Secp256k1::new()),
        hash: PaymentHash::from(preimage()),
        amount: Msat(1_000_000),
        at: SystemTime::UNIX_EPOCH,
        timeout: Duration::from_secs(10),
        channels: vec![CHANNEL],
    }
}

/// Of a wallet that has run for an hour, is in step, and knows nothing of the payment.
fn nothing() -> Evidence {
    Evidence {
        open: BTreeMap::from([(CHANNEL, true)]),
        is_synced: true,
        age: LONG,
        ..Evidence::default()
    }
}

fn record(status: PaymentStatus, preimage: Option<PaymentPreimage>) -> Option<Record> {
    Some(Record {
        status,
        preimage,
        fee: Some(Msat(7)),
    })
}

#[track_caller]
fn check(evidence: &Evidence, since_dispatch: Duration, expected: Lookup) {
    let found = conclude(&dispatch(), evidence, since_dispatch).unwrap();
    assert_eq!(found, expected);
}

#[track_caller]
fn check_unclear(evidence: &Evidence, expected: Doubt) {
    check(evidence, LONG, Lookup::Absent(Absence::Unclear(expected)));
}

#[test]
fn a_record_with_its_preimage_is_settled_whatever_else_there_is() {
    let evidence = Evidence {
        record: record(PaymentStatus::Succeeded, Some(preimage())),
        is_htlc_seen: true,
        is_being_sent: true,
        is_synced: false,
        ..nothing()
    };
    let settled = Lookup::Settled {
        preimage: preimage(),
        fee: Some(Msat(7)),
    };
    check(&evidence, Duration::ZERO, settled);
}

#[test]
fn a_settled_record_without_the_right_preimage_proves_nothing() {
    for wrong in [None, Some(PaymentPreimage([6; 32]))] {
        let evidence = Evidence {
            record: record(PaymentStatus::Succeeded, wrong),
            ..nothing()
        };
        let error = conclude(&dispatch(), &evidence, LONG).unwrap_err();
        assert!(matches!(error, WalletError::Answer { .. }), "{error}");
    }
}

#[test]
fn a_failed_record_is_final_only_when_no_channel_has_the_payment() {
    let mut evidence = Evidence {
        record: record(PaymentStatus::Failed, None),
        is_htlc_seen: true,
        ..nothing()
    };
    check(&evidence, LONG, Lookup::InFlight { htlc_seen: true });
    evidence.is_htlc_seen = false;
    let code = FailureCode::Other;
    check(&evidence, LONG, Lookup::Failed { code });
    let code = FailureCode::NoRoute;
    let told = Evidence {
        reason: Some(code),
        ..evidence
    };
    check(&told, LONG, Lookup::Failed { code });
}

#[test]
fn a_payment_in_a_channel_is_in_flight_without_a_record() {
    let evidence = Evidence {
        is_htlc_seen: true,
        ..nothing()
    };
    check(&evidence, LONG, Lookup::InFlight { htlc_seen: true });
}

#[test]
fn absence_is_proof_only_after_all_has_had_its_time() {
    check(&nothing(), LONG, Lookup::Absent(Absence::NeverSent));
    let young = Evidence {
        age: Duration::from_secs(59),
        ..nothing()
    };
    check_unclear(&young, Doubt::JustStarted { seconds_left: 1 });
    let just_sent = Doubt::JustDispatched { seconds_left: 1 };
    check(
        &nothing(),
        Duration::from_secs(29),
        Lookup::Absent(Absence::Unclear(just_sent)),
    );
    let called = Evidence {
        is_being_sent: true,
        ..nothing()
    };
    check_unclear(&called, Doubt::BeingHandedOver);
    let behind = Evidence {
        is_synced: false,
        ..nothing()
    };
    check_unclear(&behind, Doubt::NotSynced);
    let news = Evidence {
        are_events_waiting: true,
        ..nothing()
    };
    check_unclear(&news, Doubt::EventsWaiting);
}

#[test]
fn absence_is_proof_only_when_every_channel_has_told_what_it_has() {
    let away = Evidence {
        open: BTreeMap::from([(CHANNEL, false)]),
        ..nothing()
    };
    check_unclear(&away, Doubt::ChannelAway(CHANNEL));
    let closing = Evidence {
        open: BTreeMap::new(),
        watched: BTreeSet::from([CHANNEL]),
        ..nothing()
    };
    check_unclear(&closing, Doubt::ChannelClosing(CHANNEL));
    let closed = Evidence {
        open: BTreeMap::new(),
        ..nothing()
    };
    check(&closed, LONG, Lookup::Absent(Absence::NeverSent));
}

#[test]
fn a_payment_too_small_for_an_output_is_not_taken_for_absent() {
    let hidden = |msat| Evidence {
        hidden: Msat(msat),
        ..nothing()
    };
    check_unclear(&hidden(1_000_000), Doubt::TooSmallToSee);
    check(&hidden(999_999), LONG, Lookup::Absent(Absence::NeverSent));
}

proptest! {
    /// Whatever the node says: it is never taken to have sent nothing while there is a trace of the payment, or a place where
    /// it could be.
    #[test]
    fn never_sent_is_concluded_from_silence_everywhere_only(
        status in proptest::option::of(0..3),
        flags in proptest::array::uniform5(any::<bool>()),
        channel in 0..4,
        hidden in 0_u64..2_000_000,
        age_s in 0_u64..120,
        since_s in 0_u64..120,
    ) {
        let [is_htlc_seen, is_being_sent, is_synced, are_events_waiting, right] = flags;
        let status = status.map(|status| match status {
            0 => PaymentStatus::Pending,
            1 => PaymentStatus::Succeeded,
            _ => PaymentStatus::Failed,
        });
        let evidence = Evidence {
            reason: None,
            record: status.and_then(|status| record(status, right.then(preimage))),
            is_htlc_seen,
            is_being_sent,
            hidden: Msat(hidden),
            open: match channel {
                0 => BTreeMap::from([(CHANNEL, true)]),
                1 => BTreeMap::from([(CHANNEL, false)]),
                _ => BTreeMap::new(),
            },
            watched: (channel == 2).then_some(CHANNEL).into_iter().collect(),
            is_synced,
            are_events_waiting,
            age: Duration::from_secs(age_s),
        };
        let found = conclude(&dispatch(), &evidence, Duration::from_secs(since_s));
        if matches!(found, Ok(Lookup::Absent(Absence::NeverSent))) {
            prop_assert!(status.is_none() && !is_htlc_seen && !is_being_sent);
            prop_assert!(is_synced && !are_events_waiting);
            prop_assert!(channel == 0 || channel == 3);
            prop_assert!(hidden < 1_000_000 && age_s >= 60 && since_s >= 30);
        }
        if matches!(found, Ok(Lookup::Settled { .. })) {
            prop_assert!(status == Some(PaymentStatus::Succeeded) && right);
        }
        if matches!(found, Ok(Lookup::Failed { .. })) {
            prop_assert!(status == Some(PaymentStatus::Failed) && !is_htlc_seen);
        }
    }
}
