//! What becomes of attempts, in every order that they may end.

use hh_ledger::books::{AttemptState, EntryKind, Page, Settlement};

use super::*;

on_both_engines!(
    a_settled_attempt_pays_its_payout_once,
    a_wrong_preimage_pays_nothing,
    a_failed_attempt_leaves_the_payout_to_be_tried_again,
    success_is_final,
    an_attempt_that_was_never_sent_may_be_sent_again,
    what_was_not_sent_is_abandoned_and_nothing_else,
    success_beats_a_failure_before,
    success_after_the_money_was_given_back_is_a_loss,
    success_beside_another_attempt_is_a_loss_until_that_fails,
    success_beside_another_success_stays_a_loss,
    success_before_another_is_sent_stops_that,
    a_closed_attempt_that_settles_pays_its_payout,
    two_persons_close_what_can_no_longer_settle,
    what_was_thought_dead_may_be_in_flight,
);

async fn attempt_state(desk: &Desk, n: u8) -> AttemptState {
    let found = desk
        .books
        .attempts_by_hash(vec![payment_hash(n)])
        .await
        .unwrap();
    found[0].state
}

/// A second attempt of the payout that was sent.
async fn sent_again(desk: &Desk, payout: PayoutId, n: u8) -> AttemptId {
    let attempt = desk
        .books
        .prepare_attempt(attempt(payout, Msat(5_000), n), NOW_MS);
    let attempt = attempt.await.unwrap();
    desk.dispatch(attempt).await.unwrap();
    attempt
}

async fn a_settled_attempt_pays_its_payout_once(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let before = desk.books.totals().await.unwrap();
    let (payout, attempt) = desk.sent(Msat(5_000), 1).await;
    desk.books.in_flight(attempt, NOW_MS).await.unwrap();
    assert_eq!(desk.settle(attempt, 1, 1_500).await, Settlement::Paid);
    assert_eq!(desk.settle(attempt, 1, 1_500).await, Settlement::Known);
    assert_eq!(desk.state(payout).await, PayoutState::Settled);
    let after = desk.books.totals().await.unwrap();
    assert_eq!(after.wallet_msat, before.wallet_msat - 6_500);
    assert_eq!(
        (after.paid, after.fees_routing, after.open_payouts),
        (Msat(5_000), Msat(1_500), Msat::ZERO)
    );
    assert_eq!(
        after.treasury_msat,
        before.treasury_msat - 1_500,
        "the fee is the treasury's"
    );
    let entries = desk.books.entries(Page::first(1)).await.unwrap();
    assert_eq!(
        (entries[0].kind, entries[0].payout),
        (EntryKind::PayoutSettled, Some(payout))
    );
    desk.check().await;
}

async fn a_wrong_preimage_pays_nothing(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, attempt) = desk.sent(Msat(5_000), 1).await;
    let refused = refusal(
        desk.books
            .settled(attempt, preimage(2), Msat(1), NOW_MS)
            .await,
    );
    assert_eq!(refused, "the preimage is not that of attempt 1");
    assert_eq!(desk.state(payout).await, PayoutState::Paying);
    desk.check().await;
}

async fn a_failed_attempt_leaves_the_payout_to_be_tried_again(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, attempt) = desk.sent(Msat(5_000), 1).await;
    assert!(desk.fail(attempt).await);
    assert!(!desk.fail(attempt).await, "that is no news");
    let story = desk.books.payout(payout).await.unwrap().unwrap();
    assert_eq!(
        (
            story.payout.state,
            story.payout.tries,
            story.payout.next_try_at_ms
        ),
        (PayoutState::RetryWait, 1, Some(NOW_MS + 60_000))
    );
    let failed = &story.attempts[0];
    assert_eq!(failed.failure.as_deref(), Some("no_route"));
    assert_eq!(failed.evidence.as_deref(), Some("the wallet says failed"));
    assert_eq!(desk.balance(alice()).await.held_by_payouts, Msat(5_000));
    sent_again(&desk, payout, 2).await;
    desk.check().await;
}

async fn success_is_final(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, attempt) = desk.sent(Msat(5_000), 1).await;
    desk.settle(attempt, 1, 1_500).await;
    assert!(!desk.fail(attempt).await);
    refusal(desk.books.in_flight(attempt, NOW_MS).await);
    refusal(desk.books.unknown(attempt, "x".to_owned(), NOW_MS).await);
    refusal(desk.books.never_sent(attempt, "x".to_owned(), NOW_MS).await);
    refusal(desk.books.abandoned(attempt, "x".to_owned(), NOW_MS).await);
    refusal(desk.cancel(payout).await);
    assert_eq!(desk.state(payout).await, PayoutState::Settled);
    desk.check().await;
}

async fn an_attempt_that_was_never_sent_may_be_sent_again(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, attempt) = desk.sent(Msat(5_000), 1).await;
    let early = desk
        .books
        .never_sent(attempt, "not found".to_owned(), NOW_MS)
        .await;
    assert!(
        matches!(early, Err(BooksError::AttemptState { .. })),
        "{early:?}"
    );
    desk.books
        .unknown(attempt, "restarted".to_owned(), NOW_MS)
        .await
        .unwrap();
    desk.books
        .unknown(attempt, "restarted".to_owned(), NOW_MS)
        .await
        .unwrap();
    desk.books
        .needs_operator(payout, "stuck".to_owned(), NOW_MS)
        .await
        .unwrap();
    desk.books
        .never_sent(attempt, "not found".to_owned(), NOW_MS)
        .await
        .unwrap();
    assert_eq!(desk.state(payout).await, PayoutState::Paying);
    let again = desk
        .books
        .dispatched(attempt, 310, vec!["3x3x3".to_owned()], NOW_MS + 5);
    again.await.unwrap();
    let open = desk.books.open_attempts().await.unwrap();
    assert_eq!(
        (open[0].dispatch_height, open[0].channels.as_slice()),
        (Some(310), &["3x3x3".to_owned()][..])
    );
    assert_eq!(desk.settle(attempt, 1, 1_500).await, Settlement::Paid);
    desk.check().await;
}

async fn what_was_not_sent_is_abandoned_and_nothing_else(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, attempt) = desk.prepared(Msat(5_000), 1).await;
    let refused = refusal(desk.books.unknown(attempt, "x".to_owned(), NOW_MS).await);
    assert_eq!(
        refused,
        "attempt 1 is prepared: only one that was sent is unknown"
    );
    let failed = desk
        .books
        .failed_final(attempt, "x".to_owned(), "x".to_owned(), NOW_MS, NOW_MS);
    assert_eq!(
        refusal(failed.await),
        "attempt 1 is prepared: it was not sent: abandon it"
    );
    desk.books
        .abandoned(attempt, "restarted".to_owned(), NOW_MS + 3)
        .await
        .unwrap();
    let story = desk.books.payout(payout).await.unwrap().unwrap().payout;
    assert_eq!(
        (story.state, story.tries, story.next_try_at_ms),
        (PayoutState::RetryWait, 0, Some(NOW_MS + 3))
    );
    let attempt = sent_again(&desk, payout, 2).await;
    let refused = refusal(desk.books.abandoned(attempt, "x".to_owned(), NOW_MS).await);
    assert_eq!(
        refused,
        "attempt 2 is dispatched: only a prepared one is abandoned"
    );
}

async fn success_beats_a_failure_before(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, attempt) = desk.sent(Msat(5_000), 1).await;
    desk.fail(attempt).await;
    assert_eq!(desk.settle(attempt, 1, 1_500).await, Settlement::Paid);
    assert_eq!(desk.state(payout).await, PayoutState::Settled);
    assert_eq!(desk.books.totals().await.unwrap().loss, Msat::ZERO);
    desk.check().await;
}

async fn success_after_the_money_was_given_back_is_a_loss(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let before = desk.balance(alice()).await;
    let (payout, attempt) = desk.sent(Msat(5_000), 1).await;
    desk.fail(attempt).await;
    desk.cancel(payout).await.unwrap();
    assert_eq!(desk.settle(attempt, 1, 1_500).await, Settlement::Loss);
    assert_eq!(desk.settle(attempt, 1, 1_500).await, Settlement::Known);
    assert_eq!(desk.state(payout).await, PayoutState::Cancelled);
    assert_eq!(attempt_state(&desk, 1).await, AttemptState::SettledLate);
    let after = desk.balance(alice()).await;
    assert_eq!((after.payable, after.paid), (before.payable, Msat(5_000)));
    let totals = desk.books.totals().await.unwrap();
    assert_eq!(
        (totals.loss, totals.fees_routing),
        (Msat(5_000), Msat(1_500))
    );
    desk.check().await;
}

/// A payout whose first attempt was thought to have failed, and whose second one was sent.
async fn two_on_their_way(desk: &Desk) -> (PayoutId, AttemptId, AttemptId) {
    desk.payable(1).await;
    let (payout, first) = desk.sent(Msat(5_000), 1).await;
    desk.fail(first).await;
    let second = sent_again(desk, payout, 2).await;
    assert_eq!(desk.settle(first, 1, 1_500).await, Settlement::Loss);
    assert_eq!(desk.state(payout).await, PayoutState::Paying);
    assert_eq!(desk.books.totals().await.unwrap().loss, Msat(5_000));
    desk.check().await;
    (payout, first, second)
}

async fn success_beside_another_attempt_is_a_loss_until_that_fails(site: Site) {
    let desk = Desk::new(site);
    let (payout, _, second) = two_on_their_way(&desk).await;
    desk.fail(second).await;
    assert_eq!(
        desk.state(payout).await,
        PayoutState::Settled,
        "the payee has its money"
    );
    let totals = desk.books.totals().await.unwrap();
    assert_eq!(
        (totals.loss, totals.paid, totals.open_payouts),
        (Msat::ZERO, Msat(5_000), Msat::ZERO)
    );
    desk.check().await;
    // And the second one after all.
    assert_eq!(desk.settle(second, 2, 1_500).await, Settlement::Loss);
    assert_eq!(desk.books.totals().await.unwrap().loss, Msat(5_000));
    desk.check().await;
}

async fn success_beside_another_success_stays_a_loss(site: Site) {
    let desk = Desk::new(site);
    let (payout, _, second) = two_on_their_way(&desk).await;
    assert_eq!(desk.settle(second, 2, 1_500).await, Settlement::Paid);
    assert_eq!(desk.state(payout).await, PayoutState::Settled);
    let totals = desk.books.totals().await.unwrap();
    assert_eq!((totals.loss, totals.paid), (Msat(5_000), Msat(10_000)));
    desk.check().await;
}

async fn success_before_another_is_sent_stops_that(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, first) = desk.sent(Msat(5_000), 1).await;
    desk.fail(first).await;
    let second = desk
        .books
        .prepare_attempt(attempt(payout, Msat(5_000), 2), NOW_MS);
    let second = second.await.unwrap();
    assert_eq!(desk.settle(first, 1, 1_500).await, Settlement::Paid);
    assert_eq!(attempt_state(&desk, 2).await, AttemptState::Abandoned);
    let refused = refusal(desk.dispatch(second).await);
    assert_eq!(
        refused,
        "attempt 2 is abandoned: only a prepared one is sent"
    );
    assert_eq!(desk.books.totals().await.unwrap().loss, Msat::ZERO);
    desk.check().await;
}

/// A payout whose attempt two persons have closed.
async fn closed(desk: &Desk) -> (PayoutId, AttemptId) {
    desk.payable(1).await;
    let (payout, attempt) = desk.sent(Msat(5_000), 1).await;
    desk.books
        .unknown(attempt, "restarted".to_owned(), NOW_MS)
        .await
        .unwrap();
    desk.books
        .needs_operator(payout, "stuck".to_owned(), NOW_MS)
        .await
        .unwrap();
    let close =
        desk.books
            .close_failed(payout, desk.two().await, "no HTLC".to_owned(), 701, NOW_MS);
    close.await.unwrap();
    (payout, attempt)
}

async fn a_closed_attempt_that_settles_pays_its_payout(site: Site) {
    let desk = Desk::new(site);
    let (payout, attempt) = closed(&desk).await;
    assert_eq!(desk.state(payout).await, PayoutState::RetryWait);
    assert_eq!(desk.settle(attempt, 1, 1_500).await, Settlement::Paid);
    assert_eq!(desk.books.totals().await.unwrap().loss, Msat::ZERO);
    desk.check().await;
}

async fn two_persons_close_what_can_no_longer_settle(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (payout, attempt) = desk.sent(Msat(5_000), 1).await;
    let close = async |height| {
        desk.books
            .close_failed(
                payout,
                desk.two().await,
                "no HTLC".to_owned(),
                height,
                NOW_MS,
            )
            .await
    };
    let refused = refusal(close(9_999).await);
    assert_eq!(
        refused,
        "payout 1 is paying: only one that needs an operator is closed"
    );
    desk.books
        .needs_operator(payout, "stuck".to_owned(), NOW_MS)
        .await
        .unwrap();
    let refused = refusal(close(700).await);
    assert_eq!(
        refused,
        "attempt 1 may settle until block 700, and the chain is at 700"
    );
    close(701).await.unwrap();
    let story = desk.books.payout(payout).await.unwrap().unwrap();
    assert_eq!(story.payout.state, PayoutState::RetryWait);
    assert_eq!(story.attempts[0].state, AttemptState::FailedFinal);
    assert_eq!(story.attempts[0].evidence.as_deref(), Some("no HTLC"));
    let by: Vec<_> = story
        .history
        .iter()
        .filter_map(|line| line.actor.as_deref())
        .collect();
    assert_eq!(by, ["ann and ben", "ann and ben"]);
    // Paid again, and then the first one settles: that is the treasury's.
    let second = sent_again(&desk, payout, 2).await;
    assert_eq!(desk.settle(second, 2, 1_500).await, Settlement::Paid);
    assert_eq!(desk.settle(attempt, 1, 1_500).await, Settlement::Loss);
    desk.check().await;
}

async fn what_was_thought_dead_may_be_in_flight(site: Site) {
    let desk = Desk::new(site);
    let (payout, first) = closed(&desk).await;
    desk.books.in_flight(first, NOW_MS).await.unwrap();
    assert_eq!(desk.state(payout).await, PayoutState::Paying);
    desk.check().await;
    desk.fail(first).await;
    let second = desk
        .books
        .prepare_attempt(attempt(payout, Msat(5_000), 2), NOW_MS);
    let second = second.await.unwrap();
    // The prepared one gives way; one that was sent does not.
    desk.books.in_flight(first, NOW_MS).await.unwrap();
    assert_eq!(attempt_state(&desk, 2).await, AttemptState::Abandoned);
    refusal(desk.dispatch(second).await);
    desk.fail(first).await;
    sent_again(&desk, payout, 3).await;
    let refused = desk.books.in_flight(first, NOW_MS).await;
    assert!(
        matches!(refused, Err(BooksError::LiveAttempt { .. })),
        "{refused:?}"
    );
    desk.check().await;
}
