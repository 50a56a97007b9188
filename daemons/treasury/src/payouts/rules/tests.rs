use super::*;
use proptest::prelude::*;

const RULES: Rules = Rules {
    minimum: Msat(1_000_000),
    interval: Duration::from_secs(3_600),
    max_payout: Msat(50_000_000),
    max_day: Msat(100_000_000),
    max_fee_base: Msat(10_000),
    max_fee_ppm: 5_000,
    approval_above: Msat(20_000_000),
};

const NOW_MS: i64 = 1_800_000_000_000;

fn miner(name: &str, payable: u64) -> Candidate {
    Candidate {
        payee: Payee::Miner(name.to_owned()),
        payable: Msat(payable),
        destination: Ok("alice@example.org".to_owned()),
        held: None,
        has_open: false,
        last_opened_ms: None,
    }
}

#[track_caller]
fn check_left_out(candidate: Candidate, ask: &Ask, expected: LeftOut) {
    let payee = candidate.payee.clone();
    let plan = RULES.plan(vec![candidate], ask, RULES.max_day, NOW_MS);
    assert_eq!(plan.planned, []);
    assert_eq!(plan.left_out, [(payee, expected)]);
}

#[test]
fn a_balance_is_paid_in_whole_satoshi_up_to_the_limit_of_a_payout() {
    let candidates = vec![miner("a", 1_234_567), miner("b", 70_000_001)];
    let plan = RULES.plan(candidates, &Ask::Due, RULES.max_day, NOW_MS);
    let amounts: Vec<u64> = plan
        .planned
        .iter()
        .map(|planned| planned.amount.0)
        .collect();
    assert_eq!(amounts, [1_234_000, 50_000_000]);
    assert!(!plan.planned[0].needs_approval && plan.planned[1].needs_approval);
}

#[test]
fn whoever_is_left_out_is_told_why() {
    check_left_out(
        miner("a", 999_999),
        &Ask::All,
        LeftOut::BelowMinimum(RULES.minimum),
    );
    check_left_out(miner("a", 999), &Ask::All, LeftOut::NothingPayable);
    let open = Candidate {
        has_open: true,
        ..miner("a", 2_000_000)
    };
    check_left_out(open, &Ask::All, LeftOut::HasOpen);
    let held = Candidate {
        held: Some("disputed".to_owned()),
        ..miner("a", 2_000_000)
    };
    check_left_out(held, &Ask::All, LeftOut::Held("disputed".to_owned()));
    let recent = Candidate {
        last_opened_ms: Some(NOW_MS - 3_599_999),
        ..miner("a", 2_000_000)
    };
    check_left_out(recent, &Ask::Due, LeftOut::NotDue);
    let node = Candidate {
        payee: Payee::Node("berlin-1".to_owned()),
        ..miner("a", 2_000_000)
    };
    check_left_out(node, &Ask::All, LeftOut::SendsInvoices);
    let nowhere = Candidate {
        destination: Err("no destination is set".to_owned()),
        ..miner("a", 2_000_000)
    };
    let why = LeftOut::NoDestination("no destination is set".to_owned());
    check_left_out(nowhere, &Ask::All, why);
}

#[test]
fn small_balances_are_paid_where_they_are_named_and_asked_for() {
    let ask = Ask::Payees {
        payees: vec![Payee::Miner("a".to_owned()), Payee::Miner("z".to_owned())],
        below_minimum: true,
    };
    let plan = RULES.plan(
        vec![miner("a", 5_000), miner("b", 2_000_000)],
        &ask,
        RULES.max_day,
        NOW_MS,
    );
    assert_eq!(plan.planned.len(), 1);
    assert_eq!(plan.planned[0].amount, Msat(5_000));
    let unknown = (Payee::Miner("z".to_owned()), LeftOut::Unknown);
    assert_eq!(plan.left_out, [unknown]);
}

#[test]
fn the_fee_limit_grows_with_the_amount() {
    assert_eq!(RULES.max_fee(Msat(0)), Msat(10_000));
    assert_eq!(RULES.max_fee(Msat(1_000_000)), Msat(15_000));
    let free = Rules {
        max_fee_base: Msat(1),
        max_fee_ppm: u32::MAX,
        ..RULES
    };
    assert_eq!(free.max_fee(Msat(u64::MAX)), Msat(u64::MAX));
}

#[test]
fn a_payout_whose_fees_pass_the_days_limit_is_not_planned() {
    let left = RULES.most_spent(Msat(2_000_000));
    assert_eq!(left, Msat(2_020_000));
    let plan = |left| RULES.plan(vec![miner("a", 2_000_000)], &Ask::All, left, NOW_MS);
    assert_eq!(plan(left).planned.len(), 1);
    assert_eq!(plan(Msat(left.0 - 1)).planned, []);
}

proptest! {
    #[test]
    fn no_plan_pays_more_than_there_is_or_the_limits_allow(
        payable in prop::collection::vec(0..200_000_000_u64, 0..20),
        day_left in 0..300_000_000_u64,
        by_hand in any::<bool>(),
    ) {
        let candidates: Vec<Candidate> = payable
            .iter()
            .enumerate()
            .map(|(index, payable)| miner(&format!("m{index}"), *payable))
            .collect();
        let ask = if by_hand { Ask::All } else { Ask::Due };
        let plan = RULES.plan(candidates.clone(), &ask, Msat(day_left), NOW_MS);
        let spent: u64 = plan.planned.iter().map(|planned| RULES.most_spent(planned.amount).0).sum();
        prop_assert!(spent <= day_left);
        prop_assert_eq!(plan.planned.len() + plan.left_out.len(), payable.len());
        for planned in plan.planned {
            let mut of = candidates.iter();
            let of = of.find(|candidate| candidate.payee == planned.payee).unwrap();
            prop_assert!(planned.amount <= of.payable && planned.amount <= RULES.max_payout);
            prop_assert!(planned.amount >= RULES.minimum && planned.amount.0 % 1_000 == 0);
        }
    }
}
