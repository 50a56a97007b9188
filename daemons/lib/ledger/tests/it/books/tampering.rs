//! What `verify` finds where somebody has written into the books.

use super::*;

on_both_engines!(
    a_changed_posting_is_found,
    a_changed_balance_is_found,
    a_payout_that_says_something_else_is_found,
    a_receipt_of_another_payment_is_found,
    a_rebalance_that_cost_something_else_is_found,
    a_withdrawal_that_took_something_else_is_found,
    a_block_that_says_something_else_is_found,
);

/// Books in which something of everything has happened.
async fn busy(site: Site) -> Desk {
    let desk = Desk::new(site);
    desk.payable(1).await;
    desk.split(2).await;
    let (_, settled) = desk.sent(Msat(5_000), 1).await;
    desk.books
        .settled(settled, preimage(1), Msat(7), NOW_MS)
        .await
        .unwrap();
    desk.sent(Msat(6_000), 2).await;
    desk.rebalanced(3, 70).await;
    desk.withdrew(4, Msat(9_000), 400).await;
    desk.check().await;
    desk
}

/// What is found after a statement that changes one row.
async fn findings(desk: &Desk, change: &str) -> Vec<String> {
    assert_eq!(desk.site.raw_books(&format!("{change} RETURNING 1")), "1");
    desk.books.verify().await.unwrap().findings
}

#[track_caller]
fn assert_found(findings: &[String], what: &str) {
    assert!(
        findings.iter().any(|finding| finding == what),
        "{findings:#?}"
    );
}

async fn a_changed_posting_is_found(site: Site) {
    let desk = busy(site).await;
    let change = "UPDATE postings SET amount_msat = amount_msat - 1 WHERE entry = 1
        AND account = (SELECT id FROM accounts WHERE kind = 'immature' AND name = 'treasury')";
    let findings = findings(&desk, change).await;
    assert_found(&findings, "entry 1 sums to -1 msat, not to zero");
    assert_found(&findings, "all postings sum to -1 msat, not to zero");
    assert_found(
        &findings,
        "account immature:treasury has the balance -25000000000 msat, and postings of -25000000001 msat",
    );
    assert_found(
        &findings,
        "entry 1 does not follow on the one before in account immature:treasury",
    );
}

async fn a_changed_balance_is_found(site: Site) {
    let desk = busy(site).await;
    let change = "UPDATE accounts SET balance_msat = balance_msat - 1000
        WHERE kind = 'balance' AND name = 'miner:bob@example.org'";
    let findings = findings(&desk, change).await;
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert!(
        findings[0].starts_with("account balance:miner:bob@example.org has the balance"),
        "{findings:#?}"
    );
    assert_found(
        &findings,
        "what came in and where it went differ by -1000 msat",
    );
}

async fn a_payout_that_says_something_else_is_found(site: Site) {
    let desk = busy(site).await;
    let change = "UPDATE payouts SET state = 'cancelled' WHERE id = 2";
    let found = findings(&desk, change).await;
    assert_found(
        &found,
        "payout 2 is cancelled and holds 6000 msat; its amount is 6000 msat",
    );
    assert_found(
        &found,
        "payout 2 is cancelled, and its attempts say something else",
    );
    let found = findings(&desk, "UPDATE payouts SET state = 'paying' WHERE id = 1").await;
    assert_found(
        &found,
        "payout 1 is paying and holds 0 msat; its amount is 5000 msat",
    );
}

async fn a_receipt_of_another_payment_is_found(site: Site) {
    let desk = busy(site).await;
    let change =
        "UPDATE attempts SET preimage = (SELECT hash FROM blocks WHERE height = 102) WHERE id = 1";
    let findings = findings(&desk, change).await;
    assert_eq!(
        findings,
        ["the receipt of attempt 1 is not that of its payment hash"]
    );
}

async fn a_block_that_says_something_else_is_found(site: Site) {
    let desk = busy(site).await;
    let found = findings(
        &desk,
        "UPDATE blocks SET state = 'orphaned' WHERE height = 102",
    )
    .await;
    assert_found(
        &found,
        "the block at height 102 is orphaned, and its entries say something else",
    );
    let found = findings(&desk, "UPDATE blocks SET value_msat = 5 WHERE height = 101").await;
    assert_found(
        &found,
        "the split of the block at height 101 is not over its value",
    );
}

async fn a_rebalance_that_cost_something_else_is_found(site: Site) {
    let desk = busy(site).await;
    let change = "UPDATE rebalances SET fee_msat = 71 WHERE id = 1";
    let findings = findings(&desk, change).await;
    let found = "rebalances have cost 71 msat, and 70 msat were posted";
    assert_found(&findings, found);
}

async fn a_withdrawal_that_took_something_else_is_found(site: Site) {
    let desk = busy(site).await;
    let change = "UPDATE withdrawals SET amount_msat = 8000 WHERE id = 1";
    let findings = findings(&desk, change).await;
    let found = "withdrawals took 8400 msat with their fees; 9400 msat are drawn, and 9400 msat were posted";
    assert_found(&findings, found);
}
