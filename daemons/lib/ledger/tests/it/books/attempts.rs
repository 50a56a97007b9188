//! What an attempt needs before anything is sent.

use hh_ledger::books::{AttemptState, Settlement};

use super::*;

on_both_engines!(
    an_attempt_is_kept_as_it_was_prepared,
    an_attempt_is_refused_that_should_not_be,
    a_payout_has_one_live_attempt,
    only_what_was_prepared_is_sent,
    nothing_is_sent_while_payouts_are_frozen,
    a_days_limit_counts_what_may_still_settle,
);

async fn an_attempt_is_kept_as_it_was_prepared(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, id) = desk.sent(Msat(5_000), 1).await;
    let open = desk.books.open_attempts().await.unwrap();
    let asked = attempt(payout, Msat(5_000), 1);
    assert_eq!(open.len(), 1);
    let kept = &open[0];
    assert_eq!((kept.id, kept.payout, &kept.payee), (id, payout, &alice()));
    assert_eq!(
        (kept.payment_hash, &kept.invoice),
        (asked.payment_hash, &asked.invoice)
    );
    assert_eq!(
        (kept.amount, kept.max_fee, kept.cltv_limit),
        (asked.amount, asked.max_fee, 400)
    );
    assert_eq!(kept.wallet_node, "02aa");
    assert_eq!(
        (kept.state, kept.dispatch_height),
        (AttemptState::Dispatched, Some(300))
    );
    assert_eq!(kept.channels, ["1x1x1", "2x2x2"]);
    assert_eq!(
        (kept.preimage, kept.fee, kept.ended_at_ms),
        (None, None, None)
    );
    let hashes = vec![payment_hash(9), payment_hash(1)];
    assert_eq!(desk.books.attempts_by_hash(hashes).await.unwrap(), open);
    desk.books
        .settled(id, preimage(1), Msat(12), NOW_MS + 7)
        .await
        .unwrap();
    assert_eq!(desk.books.open_attempts().await.unwrap(), []);
    let story = desk.books.payout(payout).await.unwrap().unwrap();
    let kept = &story.attempts[0];
    assert_eq!(kept.preimage.unwrap().expose(), &preimage(1));
    assert_eq!(
        (kept.fee, kept.ended_at_ms),
        (Some(Msat(12)), Some(NOW_MS + 7))
    );
    assert!(
        !format!("{kept:?}").contains("1, 1, 1"),
        "a preimage is not shown"
    );
}

async fn an_attempt_is_refused_that_should_not_be(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (_, first) = desk.sent(Msat(5_000), 1).await;
    desk.settle(first, 1, 12).await;
    let id = desk.open(alice(), Msat(7_000), "a").await.unwrap();
    let good = attempt(id, Msat(7_000), 2);
    let check = async |change: fn(&mut NewAttempt), why: &str| {
        let mut attempt = good.clone();
        change(&mut attempt);
        let refused = refusal(desk.books.prepare_attempt(attempt, NOW_MS).await);
        assert_eq!(refused, why);
        assert_eq!(desk.state(id).await, PayoutState::Queued);
    };
    let why = "an invoice with this payment hash was used before: get a new one";
    check(|new| new.payment_hash = payment_hash(1), why).await;
    let why = "the invoice is over 7.001 sat, not 7.000 sat";
    check(|new| new.amount = Msat(7_001), why).await;
    let why = "the invoice has expired: get a new one";
    check(|new| new.invoice_expires_at_ms = NOW_MS, why).await;
    let why = "the books have no payout 9";
    check(|new| new.payout = PayoutId(9), why).await;
    let why = "a wallet's id has 0 bytes; between 1 and 255 are kept";
    check(|new| new.wallet_node.clear(), why).await;
    let stuck = desk.books.needs_operator(id, "odd".to_owned(), NOW_MS);
    stuck.await.unwrap();
    let refused = refusal(desk.prepare(id, Msat(7_000), 2).await);
    let why = "payout 2 is needs_operator: it is not waiting to be paid";
    assert_eq!(refused, why);
    let retried = desk.books.retry_now(id, "ann".to_owned(), NOW_MS);
    retried.await.unwrap();
    desk.prepare(id, Msat(7_000), 2).await.unwrap();
    desk.check().await;
}

async fn a_payout_has_one_live_attempt(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, first) = desk.prepared(Msat(5_000), 1).await;
    let second = async |n| {
        desk.books
            .prepare_attempt(attempt(payout, Msat(5_000), n), NOW_MS)
            .await
    };
    let refused = async || {
        let refused = second(2).await;
        assert!(
            matches!(refused, Err(BooksError::LiveAttempt { .. })),
            "{refused:?}"
        );
    };
    refused().await;
    desk.dispatch(first).await.unwrap();
    refused().await;
    desk.books.in_flight(first, NOW_MS).await.unwrap();
    refused().await;
    desk.books
        .unknown(first, "cut off".to_owned(), NOW_MS)
        .await
        .unwrap();
    refused().await;
    desk.books
        .needs_operator(payout, "stuck".to_owned(), NOW_MS)
        .await
        .unwrap();
    refused().await;
    desk.fail(first).await;
    let second = second(2).await.unwrap();
    desk.dispatch(second).await.unwrap();
    let settled = desk
        .books
        .settled(second, preimage(2), Msat(1), NOW_MS)
        .await
        .unwrap();
    assert_eq!(settled, Settlement::Paid);
    let third = attempt(payout, Msat(5_000), 3);
    let refused = refusal(desk.books.prepare_attempt(third, NOW_MS).await);
    assert_eq!(refused, "payout 1 is settled: it is not waiting to be paid");

    // Nor past this code: the database itself holds it.
    let insert = "INSERT INTO attempts (id, payout, payment_hash, invoice, amount_msat, max_fee_msat, cltv_limit, wallet_node,
            invoice_expires_at_ms, state, prepared_at_ms)
        SELECT 99, payout, HASH, invoice, amount_msat, max_fee_msat, cltv_limit, wallet_node, invoice_expires_at_ms, 'prepared', 1
        FROM attempts WHERE state = 'settled' RETURNING id";
    let literal = |byte: &str| match desk.site.place {
        crate::Place::Directory(_) => format!("x'{}'", byte.repeat(32)),
        crate::Place::Database(_) => format!(r"'\x{}'::bytea", byte.repeat(32)),
    };
    let insert = insert.replace("HASH", &literal("ab"));
    let site = std::panic::AssertUnwindSafe(&desk.site);
    let refused = std::panic::catch_unwind(|| site.raw_books(&insert));
    assert!(refused.is_err(), "a second live attempt was taken");
    desk.check().await;
}

async fn only_what_was_prepared_is_sent(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, first) = desk.sent(Msat(5_000), 1).await;
    let sent_twice = refusal(desk.dispatch(first).await);
    assert_eq!(
        sent_twice,
        "attempt 1 is dispatched: only a prepared one is sent"
    );
    desk.fail(first).await;
    refusal(desk.dispatch(first).await);
    let second = desk
        .books
        .prepare_attempt(attempt(payout, Msat(5_000), 2), NOW_MS);
    let second = second.await.unwrap();
    let late = desk
        .books
        .dispatched(second, 300, Vec::new(), NOW_MS + 3_600_000)
        .await;
    assert!(matches!(late, Err(BooksError::Expired)), "{late:?}");
    assert_eq!(
        refusal(desk.dispatch(AttemptId(9)).await),
        "the books have no attempt 9"
    );
}

async fn nothing_is_sent_while_payouts_are_frozen(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (_, prepared) = desk.prepared(Msat(5_000), 1).await;
    desk.open(bob(), Msat(5_000), "b").await.unwrap();
    let freeze = desk
        .books
        .freeze("look".to_owned(), "ann".to_owned(), NOW_MS);
    freeze.await.unwrap();
    let refused = desk.dispatch(prepared).await;
    assert!(
        matches!(refused, Err(BooksError::Frozen { .. })),
        "{refused:?}"
    );
    let refused = desk
        .books
        .prepare_attempt(attempt(PayoutId(2), Msat(5_000), 2), NOW_MS)
        .await;
    assert!(
        matches!(refused, Err(BooksError::Frozen { .. })),
        "{refused:?}"
    );
    // What is known of what was sent is still taken.
    desk.books
        .unfreeze(desk.two().await, "seen".to_owned(), NOW_MS)
        .await
        .unwrap();
    desk.dispatch(prepared).await.unwrap();
    desk.books
        .freeze("again".to_owned(), "ann".to_owned(), NOW_MS)
        .await
        .unwrap();
    desk.books.in_flight(prepared, NOW_MS).await.unwrap();
    let settled = desk
        .books
        .settled(prepared, preimage(1), Msat(1), NOW_MS)
        .await
        .unwrap();
    assert_eq!(settled, Settlement::Paid);
}

async fn a_days_limit_counts_what_may_still_settle(site: Site) {
    const DAY_MS: i64 = 24 * 3_600_000;
    let desk = Desk::new(site);
    desk.payable(1).await;
    let limited = |payout, n, limit| NewAttempt {
        day_limit: Some(Msat(limit)),
        invoice_expires_at_ms: NOW_MS + 2 * DAY_MS,
        ..attempt(payout, Msat(100_000), n)
    };
    let hers = desk.open(alice(), Msat(100_000), "a").await.unwrap();
    let refused = refusal(
        desk.books
            .prepare_attempt(limited(hers, 1, 104_999), NOW_MS)
            .await,
    );
    assert_eq!(
        refused,
        "0.000 sat were sent in 24 hours, and 105.000 sat more would pass the limit of 104.999 sat"
    );
    let first = desk
        .books
        .prepare_attempt(limited(hers, 1, 105_000), NOW_MS)
        .await
        .unwrap();
    let his = desk.open(bob(), Msat(100_000), "b").await.unwrap();
    let refused = desk
        .books
        .prepare_attempt(limited(his, 2, 209_999), NOW_MS)
        .await;
    assert!(
        matches!(refused, Err(BooksError::DayLimit { .. })),
        "{refused:?}"
    );
    // A fee that was less makes room; what failed makes more.
    desk.dispatch(first).await.unwrap();
    desk.books
        .settled(first, preimage(1), Msat(4_999), NOW_MS)
        .await
        .unwrap();
    let second = desk
        .books
        .prepare_attempt(limited(his, 2, 209_999), NOW_MS)
        .await
        .unwrap();
    desk.dispatch(second).await.unwrap();
    desk.fail(second).await;
    let third = limited(his, 3, 209_999);
    let third = desk.books.prepare_attempt(third, NOW_MS).await.unwrap();
    desk.books
        .abandoned(third, "no".to_owned(), NOW_MS)
        .await
        .unwrap();
    let refused = desk
        .books
        .prepare_attempt(limited(his, 4, 105_001), NOW_MS + DAY_MS - 1)
        .await;
    assert!(
        matches!(refused, Err(BooksError::DayLimit { .. })),
        "{refused:?}"
    );
    desk.books
        .prepare_attempt(limited(his, 4, 105_001), NOW_MS + DAY_MS)
        .await
        .unwrap();
}
