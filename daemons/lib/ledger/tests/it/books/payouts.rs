//! How a payout is opened, held, approved, listed and given up.

use hh_ledger::books::{Approval, Held, NewDestination, Page, PayoutFilter, WalletChange};

use super::*;

on_both_engines!(
    a_payout_takes_its_amount_from_the_balance,
    a_payout_is_refused_that_should_not_be,
    no_payout_is_opened_where_one_is_open_or_something_is_held,
    the_same_request_is_one_payout,
    a_cancelled_payout_gives_its_amount_back,
    a_held_payout_waits,
    a_large_payout_waits_for_two_persons,
    an_approval_counts_until_it_ends,
    an_approval_counts_as_long_as_who_gave_it_is_one_of_those_who_may,
    a_payout_is_due_when_it_is_time,
    a_payout_goes_on_step_by_step,
    payouts_are_listed_newest_first,
    the_treasury_draws_no_more_than_its_own,
);

async fn a_payout_takes_its_amount_from_the_balance(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let before = desk.balance(alice()).await;
    let amount = Msat(1_000_001);
    let id = desk.open(alice(), amount, "a").await.unwrap();
    let after = desk.balance(alice()).await;
    assert_eq!(after.payable.0, before.payable.0 - amount.0);
    assert_eq!(after.held_by_payouts, amount);
    let story = desk.books.payout(id).await.unwrap().unwrap();
    assert_eq!(story.payout.state, PayoutState::Queued);
    assert_eq!(
        (story.payout.amount, story.payout.to),
        (amount, to(&alice()))
    );
    assert_eq!(story.history.len(), 1);
    assert_eq!(desk.books.totals().await.unwrap().open_payouts, amount);
    assert_eq!(desk.books.payout(PayoutId(99)).await.unwrap(), None);
    desk.check().await;
}

impl Desk {
    async fn refused(&self, payee: Payee, amount: Msat, why: &str) {
        let refused = refusal(self.open(payee, amount, "x").await);
        assert_eq!(refused, why);
    }

    async fn hold(&self, what: Held) {
        let (reason, actor) = ("odd".to_owned(), "ann".to_owned());
        let held = self.books.hold(what, reason, actor, NOW_MS);
        held.await.unwrap();
    }

    async fn release(&self, what: Held) -> bool {
        let released = self.books.release(what, "ann".to_owned(), NOW_MS);
        released.await.unwrap()
    }
}

async fn a_payout_is_refused_that_should_not_be(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (some, all) = (Msat(1_000), desk.balance(alice()).await.payable);
    let why = "there is no amount: give more than 0 msat";
    desk.refused(alice(), Msat::ZERO, why).await;
    let why =
        "balance:miner:alice@example.org has 2121428571.428 sat, less than 2121428571.429 sat";
    desk.refused(alice(), Msat(all.0 + 1), why).await;
    let why = "18446744073709551.615 sat is more than all the money there is";
    desk.refused(alice(), Msat(u64::MAX), why).await;
    let why = "reserve:node-network is never paid out: distribute it to nodes";
    desk.refused(Payee::NodeReserve, some, why).await;
    let why = "miner:carol can't be paid there: it has no destination";
    desk.refused(miner("carol"), some, why).await;
    let mut elsewhere = payout(alice(), some, "x");
    elsewhere.to.text = "mallory@example.org".to_owned();
    let refused = refusal(desk.books.open_payout(elsewhere, NOW_MS).await);
    assert!(
        refused.ends_with("its destination is another one"),
        "{refused}"
    );
    let mut otherwise = payout(alice(), some, "x");
    otherwise.to.kind = DestinationKind::Bolt12;
    let refused = refusal(desk.books.open_payout(otherwise, NOW_MS).await);
    assert!(
        refused.ends_with("its destination is of another kind"),
        "{refused}"
    );
    let keyless = refusal(desk.open(alice(), some, "").await);
    assert_eq!(keyless, "a key has 0 bytes; between 1 and 255 are kept");
    let zero = refusal(desk.open(alice(), some, "a\0").await);
    assert_eq!(zero, "a key has a zero byte in it");
    assert_eq!(desk.balance(alice()).await.payable, all);
}

async fn no_payout_is_opened_where_one_is_open_or_something_is_held(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let some = Msat(1_000);
    desk.freeze().await;
    let why = "payouts are frozen by ann: look; unfreeze them first";
    desk.refused(alice(), some, why).await;
    desk.unfreeze().await;
    desk.hold(Held::Payee(alice())).await;
    let why = "miner:alice@example.org is held: odd; release it first";
    desk.refused(alice(), some, why).await;
    desk.release(Held::Payee(alice())).await;
    desk.open(alice(), some, "first").await.unwrap();
    let why = "miner:alice@example.org has the open payout 1: one at a time";
    desk.refused(alice(), some, why).await;
    desk.open(bob(), some, "bobs").await.unwrap();
    desk.check().await;
}

async fn the_same_request_is_one_payout(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let id = desk.open(alice(), Msat(5_000), "a").await.unwrap();
    assert_eq!(desk.open(alice(), Msat(5_000), "a").await.unwrap(), id);
    for other in [
        desk.open(alice(), Msat(5_001), "a").await,
        desk.open(bob(), Msat(5_000), "a").await,
    ] {
        assert!(
            matches!(other, Err(BooksError::KeyTaken { .. })),
            "{other:?}"
        );
    }
    desk.cancel(id).await.unwrap();
    assert_eq!(
        desk.open(alice(), Msat(5_000), "a").await.unwrap(),
        id,
        "whatever became of it"
    );
    assert_eq!(
        desk.books
            .payouts(PayoutFilter::default(), Page::first(9))
            .await
            .unwrap()
            .len(),
        1
    );
}

async fn a_cancelled_payout_gives_its_amount_back(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let before = desk.balance(alice()).await;
    let id = desk.open(alice(), Msat(5_000), "a").await.unwrap();
    desk.cancel(id).await.unwrap();
    assert_eq!(desk.balance(alice()).await, before);
    let story = desk.books.payout(id).await.unwrap().unwrap();
    assert_eq!(
        (story.payout.state, story.payout.ended_at_ms),
        (PayoutState::Cancelled, Some(NOW_MS + 1))
    );
    let last = story.history.last().unwrap();
    assert_eq!(
        (last.what.as_str(), last.actor.as_deref()),
        ("by mistake", Some("ann"))
    );
    assert_eq!(
        refusal(desk.cancel(id).await),
        "payout 1 is cancelled: it has ended"
    );
    assert_eq!(
        refusal(desk.cancel(PayoutId(7)).await),
        "the books have no payout 7"
    );

    let (paying, attempt) = desk.prepared(Msat(5_000), 1).await;
    let refused = refusal(desk.cancel(paying).await);
    assert_eq!(
        refused,
        "attempt 1 of payout 2 is prepared and may still settle"
    );
    desk.dispatch(attempt).await.unwrap();
    refusal(desk.cancel(paying).await);
    desk.books
        .unknown(attempt, "cut off".to_owned(), NOW_MS)
        .await
        .unwrap();
    refusal(desk.cancel(paying).await);
    desk.fail(attempt).await;
    desk.cancel(paying).await.unwrap();
    assert_eq!(desk.balance(alice()).await, before);
    desk.check().await;
}

async fn a_held_payout_waits(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let id = desk.open(alice(), Msat(5_000), "a").await.unwrap();
    let due = async || desk.books.due_payouts(NOW_MS, 10).await.unwrap().len();
    assert_eq!(due().await, 1);
    for what in [Held::Payout(id), Held::Payee(alice())] {
        assert_eq!(what.to_string().parse::<Held>().unwrap(), what);
        let hold = desk
            .books
            .hold(what.clone(), "odd".to_owned(), "ann".to_owned(), NOW_MS);
        hold.await.unwrap();
        assert_eq!(due().await, 0);
        let refused = desk
            .books
            .prepare_attempt(attempt(id, Msat(5_000), 1), NOW_MS)
            .await;
        assert!(
            matches!(refused, Err(BooksError::Held { .. })),
            "{refused:?}"
        );
        let holds = desk.books.holds().await.unwrap();
        assert_eq!(
            (holds.len(), &holds[0].what, holds[0].reason.as_str()),
            (1, &what, "odd")
        );
        assert_eq!(desk.books.payout(id).await.unwrap().unwrap().holds, holds);
        assert!(
            desk.books
                .release(what.clone(), "ann".to_owned(), NOW_MS)
                .await
                .unwrap()
        );
        assert!(
            !desk
                .books
                .release(what, "ann".to_owned(), NOW_MS)
                .await
                .unwrap()
        );
    }
    assert_eq!(due().await, 1);
    let unknown = desk.books.hold(
        Held::Payout(PayoutId(9)),
        "odd".to_owned(),
        "ann".to_owned(),
        NOW_MS,
    );
    assert_eq!(refusal(unknown.await), "the books have no payout 9");
}

/// A payout of 5 sat that needs two approvals.
async fn large(site: Site) -> (Desk, PayoutId) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let large = NewPayout {
        approvals_needed: 2,
        ..payout(alice(), Msat(5_000), "large")
    };
    let id = desk.books.open_payout(large, NOW_MS).await.unwrap();
    (desk, id)
}

fn approval(payout: PayoutId, actor: &str, until_ms: i64) -> Approval {
    Approval {
        payout,
        actor: actor.to_owned(),
        amount: Msat(5_000),
        to: to(&alice()),
        until_ms,
    }
}

impl Desk {
    /// How many approvals there are then.
    async fn approve(&self, approval: Approval) -> u32 {
        self.books.approve_payout(approval, NOW_MS).await.unwrap()
    }

    async fn is_due(&self, now_ms: i64) -> bool {
        let due = self.books.due_payouts(now_ms, 10).await.unwrap();
        !due.is_empty()
    }
}

async fn a_large_payout_waits_for_two_persons(site: Site) {
    let (desk, id) = large(site).await;
    assert!(!desk.is_due(NOW_MS).await);
    let refused = refusal(desk.prepare(id, Msat(5_000), 1).await);
    assert_eq!(refused, "payout 1 has 0 of 2 approvals");
    let mine = approval(id, "ann", NOW_MS + 100);
    assert_eq!(desk.approve(mine.clone()).await, 1);
    assert_eq!(desk.approve(mine).await, 1, "one person is one");
    let other_amount = Approval {
        amount: Msat(5_001),
        ..approval(id, "ben", NOW_MS + 200)
    };
    let other_place = Approval {
        to: to(&bob()),
        ..approval(id, "ben", NOW_MS + 200)
    };
    for wrong in [other_amount, other_place] {
        let refused = desk.books.approve_payout(wrong, NOW_MS).await;
        assert!(
            matches!(refused, Err(BooksError::AnotherPayout { .. })),
            "{refused:?}"
        );
    }
    assert!(!desk.is_due(NOW_MS).await);
    assert_eq!(desk.approve(approval(id, "ben", NOW_MS + 200)).await, 2);
    assert!(desk.is_due(NOW_MS).await);
    desk.prepare(id, Msat(5_000), 1).await.unwrap();
    let story = desk.books.payout(id).await.unwrap().unwrap();
    let actors = story
        .approvals
        .iter()
        .map(|approval| approval.actor.as_str());
    assert_eq!(actors.collect::<Vec<_>>(), ["ann", "ben"]);
}

async fn an_approval_counts_until_it_ends(site: Site) {
    let (desk, id) = large(site).await;
    desk.approve(approval(id, "ann", NOW_MS + 200)).await;
    desk.approve(approval(id, "ben", NOW_MS + 300)).await;
    assert!(desk.is_due(NOW_MS + 199).await);
    assert!(!desk.is_due(NOW_MS + 200).await);
    let prepare = async |now_ms| {
        let attempt = attempt(id, Msat(5_000), 1);
        desk.books.prepare_attempt(attempt, now_ms).await
    };
    let late = prepare(NOW_MS + 200).await;
    assert!(
        matches!(late, Err(BooksError::NotApproved { .. })),
        "{late:?}"
    );
    let prepared = prepare(NOW_MS + 199).await.unwrap();
    let dispatch = async |now_ms| {
        desk.books
            .dispatched(prepared, 300, Vec::new(), now_ms)
            .await
    };
    let late = dispatch(NOW_MS + 200).await;
    assert!(
        matches!(late, Err(BooksError::NotApproved { .. })),
        "{late:?}"
    );
    dispatch(NOW_MS + 199).await.unwrap();
    desk.settle(prepared, 1, 1).await;
    let over = desk
        .books
        .approve_payout(approval(id, "cem", NOW_MS + 400), NOW_MS);
    assert_eq!(refusal(over.await), "payout 1 is settled: it has ended");
}

async fn an_approval_counts_as_long_as_who_gave_it_is_one_of_those_who_may(site: Site) {
    let (desk, id) = large(site).await;
    desk.approve(approval(id, "key:ann", NOW_MS + 200)).await;
    desk.approve(approval(id, "key:ben", NOW_MS + 200)).await;
    assert!(desk.is_due(NOW_MS).await);
    let strike = async |names: &[&str]| {
        let holding = names.iter().map(|name| (*name).to_owned()).collect();
        let struck = desk.books.strike_approvals(id, holding, NOW_MS);
        struck.await.unwrap();
    };
    strike(&["key:ann", "key:ben", "key:cem"]).await;
    assert!(desk.is_due(NOW_MS).await);
    strike(&["key:ann", "key:cem"]).await;
    strike(&["key:ann", "key:cem"]).await;
    assert!(!desk.is_due(NOW_MS).await);
    let story = desk.books.payout(id).await.unwrap().unwrap();
    let told = story.history.iter();
    let told = told.filter(|line| line.actor.as_deref() == Some("key:ben"));
    assert_eq!(told.count(), 2, "approved and struck out: {story:?}");
    assert_eq!(desk.approve(approval(id, "key:cem", NOW_MS + 200)).await, 2);
    assert!(desk.is_due(NOW_MS).await);
}

async fn a_payout_is_due_when_it_is_time(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let hers = desk.open(alice(), Msat(5_000), "a").await.unwrap();
    let his = desk.open(bob(), Msat(5_000), "b").await.unwrap();
    let due = async |now_ms| {
        let due = desk.books.due_payouts(now_ms, 10).await.unwrap();
        due.iter().map(|payout| payout.id).collect::<Vec<_>>()
    };
    assert_eq!(due(NOW_MS).await, [hers, his]);
    assert_eq!(due(NOW_MS - 1).await, []);
    let later = desk
        .books
        .retry_later(hers, "no answer".to_owned(), NOW_MS + 500, NOW_MS);
    later.await.unwrap();
    assert_eq!(due(NOW_MS + 499).await, [his]);
    assert_eq!(due(NOW_MS + 500).await, [his, hers]);
    let story = desk.books.payout(hers).await.unwrap().unwrap().payout;
    assert_eq!(
        (
            story.state,
            story.tries,
            story.next_try_at_ms,
            story.reason.as_deref()
        ),
        (
            PayoutState::RetryWait,
            1,
            Some(NOW_MS + 500),
            Some("no answer")
        )
    );
    desk.books
        .retry_now(hers, "ann".to_owned(), NOW_MS + 10)
        .await
        .unwrap();
    assert_eq!(due(NOW_MS + 10).await, [his, hers]);
    assert_eq!(
        desk.books.due_payouts(NOW_MS + 10, 1).await.unwrap().len(),
        1
    );
    desk.books
        .freeze("look".to_owned(), "ann".to_owned(), NOW_MS)
        .await
        .unwrap();
    assert_eq!(due(NOW_MS + 10).await, []);
}

async fn a_payout_goes_on_step_by_step(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let id = desk.open(alice(), Msat(5_000), "a").await.unwrap();
    desk.books.resolving(id, NOW_MS).await.unwrap();
    assert_eq!(desk.state(id).await, PayoutState::Resolving);
    desk.books.ready(id, NOW_MS).await.unwrap();
    assert_eq!(desk.state(id).await, PayoutState::Ready);
    assert!(desk.is_due(NOW_MS).await, "after a restart");
    let prepared = desk.prepare(id, Msat(5_000), 1).await.unwrap();
    assert_eq!(desk.state(id).await, PayoutState::Paying);
    let later = desk.books.retry_later(id, "x".to_owned(), NOW_MS, NOW_MS);
    for refused in [
        later.await,
        desk.books.resolving(id, NOW_MS).await,
        desk.books.ready(id, NOW_MS).await,
    ] {
        let why = "payout 1 is paying: it does not go on like that from there";
        assert_eq!(refusal(refused), why);
    }
    let stuck = async || {
        desk.books
            .needs_operator(id, "stuck".to_owned(), NOW_MS)
            .await
    };
    stuck().await.unwrap();
    assert_eq!(desk.state(id).await, PayoutState::NeedsOperator);
    let live = desk.books.retry_now(id, "ann".to_owned(), NOW_MS).await;
    assert!(
        matches!(live, Err(BooksError::LiveAttempt { .. })),
        "{live:?}"
    );
    desk.dispatch(prepared).await.unwrap();
    desk.settle(prepared, 1, 0).await;
    let why = "payout 1 is settled: it does not go on like that from there";
    assert_eq!(refusal(stuck().await), why);
    let story = desk.books.payout(id).await.unwrap().unwrap();
    let states: Vec<_> = story.history.iter().map(|line| &*line.state).collect();
    let expected =
        "queued resolving ready prepared paying needs_operator dispatched settled settled";
    assert_eq!(states.join(" "), expected);
    desk.check().await;
}

async fn payouts_are_listed_newest_first(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    for n in 1..=3 {
        let (_, attempt) = desk.sent(Msat(5_000), n).await;
        let settled = desk.books.settled(attempt, preimage(n), Msat(1), NOW_MS);
        settled.await.unwrap();
    }
    desk.open(alice(), Msat(5_000), "a").await.unwrap();
    desk.open(bob(), Msat(5_000), "b").await.unwrap();
    let list = async |filter: PayoutFilter, page| {
        let found = desk.books.payouts(filter, page).await.unwrap();
        found.iter().map(|payout| payout.id.0).collect::<Vec<_>>()
    };
    let all = PayoutFilter::default();
    assert_eq!(list(all.clone(), Page::first(10)).await, [5, 4, 3, 2, 1]);
    assert_eq!(list(all.clone(), Page::first(2)).await, [5, 4]);
    let next = Page {
        before: Some(4),
        limit: 2,
    };
    assert_eq!(list(all.clone(), next).await, [3, 2]);
    let hers = PayoutFilter {
        payee: Some(alice()),
        ..all.clone()
    };
    assert_eq!(list(hers.clone(), Page::first(10)).await, [4, 3, 2, 1]);
    let settled = PayoutFilter {
        states: vec![PayoutState::Settled, PayoutState::Cancelled],
        ..hers
    };
    assert_eq!(list(settled, Page::first(10)).await, [3, 2, 1]);
    let queued = PayoutFilter {
        states: vec![PayoutState::Queued],
        ..all
    };
    assert_eq!(list(queued, Page::first(10)).await, [5, 4]);
    let paid = desk.balance(alice()).await.paid;
    assert_eq!(paid, Msat(15_000));
}

async fn the_treasury_draws_no_more_than_its_own(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let set = NewDestination {
        payee: Payee::Treasury,
        seq: 1,
        kind: DestinationKind::LnAddress,
        text: "treasury".to_owned(),
        proof: "ann and ben".to_owned(),
        cooling_off_ms: 0,
    };
    desk.books.set_destination(set, NOW_MS).await.unwrap();
    let fees = WalletChange::OnchainFee(Msat(4_000_000_000));
    let booked =
        desk.books
            .book_wallet_change(fees, "a sweep".to_owned(), "tx1".to_owned(), NOW_MS);
    booked.await.unwrap();
    let balance = desk.balance(Payee::Treasury).await.payable;
    assert_eq!(balance, Msat(25_000_000_000));
    let refused = refusal(desk.open(Payee::Treasury, Msat(21_000_000_001), "t").await);
    assert_eq!(
        refused,
        "balance:treasury has 21000000.000 sat, less than 21000000.001 sat"
    );
    desk.open(Payee::Treasury, Msat(21_000_000_000), "t")
        .await
        .unwrap();
    let totals = desk.books.totals().await.unwrap();
    assert!(
        totals.wallet_msat >= i64::try_from(totals.owed().0).unwrap(),
        "others' money is there"
    );
    desk.check().await;
}
