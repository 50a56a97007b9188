//! Accounts of hh-treasury.

use crate::daemons::seconds_ago;
use hh_ipc::api::treasury::{
    Account, Destination, DestinationKind, Statement, StatementLine, StatementQuery,
};

/// A miner who changes where he is paid, one who can't be paid, a node, and the reserve.
pub(super) fn accounts() -> Vec<Account> {
    let destination = |text: &str, seq, active_from| Destination {
        kind: DestinationKind::LightningAddress,
        text: text.to_owned(),
        set_at: seconds_ago(90_000),
        active_from: seconds_ago(active_from),
        seq,
    };
    let alice = Account {
        name: "miner:alice".to_owned(),
        kind: "name".to_owned(),
        immature_msat: 2_500_000_617_000,
        payable_msat: 4_200_456,
        in_payouts_msat: 0,
        paid_msat: 9_876_543_210,
        destination: Some(destination("alice@wallet.example", 2, 80_000)),
        pending_destination: Some(destination("alice@other.example", 3, -82_800)),
        is_claimed: true,
        held_reason: None,
        expected_msat: Some(2_400_000_000_000),
        realised_msat: Some(2_500_000_617_000),
        luck_ratio: Some(1.041_666),
    };
    let bob = Account {
        name: "miner:bob".to_owned(),
        immature_msat: 0,
        payable_msat: 999,
        paid_msat: 0,
        destination: None,
        pending_destination: None,
        is_claimed: false,
        held_reason: Some("no destination is set".to_owned()),
        expected_msat: None,
        realised_msat: None,
        luck_ratio: None,
        ..alice.clone()
    };
    let berlin = Account {
        name: "node:berlin-1".to_owned(),
        kind: "node".to_owned(),
        destination: Some(Destination {
            kind: DestinationKind::NodeInvoices,
            text: format!("03{}", "cd".repeat(32)),
            set_at: seconds_ago(90_000),
            active_from: seconds_ago(90_000),
            seq: 1,
        }),
        held_reason: None,
        ..bob.clone()
    };
    let reserve = Account {
        name: "reserve:node-network".to_owned(),
        kind: "reserve".to_owned(),
        payable_msat: 12_500_000_000,
        held_reason: Some("payable by an approved distribution only".to_owned()),
        ..bob.clone()
    };
    vec![alice, bob, berlin, reserve]
}

pub(super) fn statement(query: StatementQuery) -> Statement {
    let line = |entry, kind: &str, amount_msat, balance_msat| StatementLine {
        entry,
        at: seconds_ago(3_600),
        kind: kind.to_owned(),
        book: "payable".to_owned(),
        amount_msat,
        balance_msat,
        block: None,
        payout: None,
        note: None,
    };
    let mut lines = vec![
        line(1_201, "payout_open", -4_200_456, 0),
        line(1_200, "maturity", 4_200_456, 4_200_456),
    ];
    lines[0].payout = Some(412);
    lines[1].block = Some(crate::daemons::HASH.to_owned());
    lines.retain(|line| query.before.is_none_or(|before| line.entry < before));
    let limit = usize::try_from(query.limit).unwrap();
    let next_before = lines.get(limit).map(|_| lines[limit - 1].entry);
    lines.truncate(limit);
    Statement {
        name: query.name,
        lines,
        next_before,
    }
}
