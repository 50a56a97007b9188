//! A ledger that was restored from a copy pays nothing twice.

use std::fs;
use std::path::Path;

use hh_ledger::books::{
    AdoptedPayment, AttemptState, ForeignPayment, Page, PayoutFilter, Settlement, WalletChange,
};

use super::*;
use crate::Place;

on_both_engines!(
    books_that_are_opened_again_are_not_frozen,
    books_with_fewer_commits_than_were_seen_are_frozen_once,
    another_database_is_frozen,
    books_without_their_witness_are_frozen_if_they_have_paid,
    a_damaged_witness_is_no_witness,
    a_lost_payment_settles_the_payout_that_waits_for_it,
    a_lost_payment_is_taken_from_the_balance,
    a_payment_is_adopted_once,
    an_adopted_payment_settles_an_attempt_that_was_thought_to_have_ended,
    foreign_payments_are_no_payees,
);

impl Desk {
    /// The same books as another process opens them.
    pub(super) fn reopened(self) -> Self {
        let Self { books, site } = self;
        drop(books);
        Self::new(site)
    }

    fn witness(&self) -> std::path::PathBuf {
        self.site.elsewhere.path().join("books.witness")
    }

    async fn reasons(&self) -> Vec<String> {
        let freezes = self.books.freezes().await.unwrap();
        freezes.into_iter().map(|freeze| freeze.reason).collect()
    }

    /// As a copy of the database does that was made so many commits ago.
    fn go_back(&self, commits: u32) {
        let update = format!("UPDATE book_state SET commits = commits - {commits} RETURNING 1");
        assert_eq!(self.site.raw_books(&update), "1");
    }
}

async fn books_that_are_opened_again_are_not_frozen(site: Site) {
    let desk = Desk::new(site);
    assert_eq!(desk.reasons().await, [""; 0]);
    desk.payable(1).await;
    desk.sent(Msat(5_000), 1).await;
    let text = fs::read_to_string(desk.witness()).unwrap();
    assert_eq!(text.len(), 32 + 1 + 20 + 1, "{text:?}");
    let desk = desk.reopened();
    assert_eq!(desk.reasons().await, [""; 0]);
    // A commit that the witness missed, as where the power failed.
    desk.check().await;
    fs::write(desk.witness(), text).unwrap();
    let desk = desk.reopened();
    assert_eq!(desk.reasons().await, [""; 0]);
}

async fn books_with_fewer_commits_than_were_seen_are_frozen_once(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    desk.go_back(3);
    let desk = desk.reopened();
    assert_eq!(
        desk.reasons().await,
        ["restored: the database has commit 2, and commit 5 was seen"]
    );
    let refused = desk.open(alice(), Msat(5_000), "a").await;
    assert!(
        matches!(refused, Err(BooksError::Frozen { .. })),
        "{refused:?}"
    );
    let desk = desk.reopened();
    assert_eq!(desk.reasons().await.len(), 1);
    desk.books
        .unfreeze(desk.two().await, "matched".to_owned(), NOW_MS)
        .await
        .unwrap();
    let desk = desk.reopened();
    assert_eq!(desk.reasons().await, [""; 0]);
    desk.open(alice(), Msat(5_000), "a").await.unwrap();
}

async fn another_database_is_frozen(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let other = Desk::new(desk.site.another());
    other.books.migrate().await.unwrap();
    other
        .book(WalletChange::OnchainFee(Msat(1)), "x")
        .await
        .unwrap();
    fs::copy(other.witness(), desk.witness()).unwrap();
    let desk = desk.reopened();
    assert_eq!(
        desk.reasons().await,
        ["restored: the database is not the one whose commit 1 was seen last"]
    );
}

async fn books_without_their_witness_are_frozen_if_they_have_paid(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    fs::remove_file(desk.witness()).unwrap();
    let desk = desk.reopened();
    assert_eq!(desk.reasons().await, [""; 0], "nothing was ever sent");
    desk.prepared(Msat(5_000), 1).await;
    fs::remove_file(desk.witness()).unwrap();
    let desk = desk.reopened();
    let reasons = desk.reasons().await;
    assert!(reasons[0].contains("there is no witness"), "{reasons:?}");
}

async fn a_damaged_witness_is_no_witness(site: Site) {
    for damage in [
        "x",
        "0123456789abcdef0123456789abcdex 00000000000000000001\n",
        "\n",
    ] {
        let desk = Desk::new(site.another());
        desk.payable(1).await;
        fs::write(desk.witness(), damage).unwrap();
        let desk = desk.reopened();
        assert_eq!(desk.reasons().await.len(), 1, "{damage:?}");
    }
}

fn lost(n: u8, amount: Msat) -> AdoptedPayment {
    AdoptedPayment {
        payee: alice(),
        payment_hash: payment_hash(n),
        preimage: preimage(n),
        amount,
        fee: Msat(30),
        to: to(&alice()),
        wallet_node: "02aa".to_owned(),
        evidence: "the wallet's history".to_owned(),
    }
}

async fn a_lost_payment_settles_the_payout_that_waits_for_it(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let id = desk.open(alice(), Msat(5_000), "a").await.unwrap();
    let adopted = desk
        .books
        .adopt_payment(lost(1, Msat(5_000)), desk.two().await, NOW_MS)
        .await;
    assert_eq!(adopted.unwrap(), id);
    let story = desk.books.payout(id).await.unwrap().unwrap();
    assert_eq!(story.payout.state, PayoutState::Settled);
    assert_eq!(story.attempts[0].state, AttemptState::Settled);
    let actors: Vec<_> = story
        .history
        .iter()
        .filter_map(|line| line.actor.as_deref())
        .collect();
    assert_eq!(actors, ["ann and ben", "ann and ben"]);
    let totals = desk.books.totals().await.unwrap();
    assert_eq!(
        (totals.paid, totals.fees_routing, totals.loss),
        (Msat(5_000), Msat(30), Msat::ZERO)
    );
    let known = desk
        .books
        .settled(AttemptId(1), preimage(1), Msat(30), NOW_MS)
        .await
        .unwrap();
    assert_eq!(known, Settlement::Known);
    desk.check().await;
}

async fn a_lost_payment_is_taken_from_the_balance(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let all = desk.balance(alice()).await.payable;
    // Another payout is on its way meanwhile.
    let (sent, _) = desk.sent(Msat(5_000), 1).await;
    let more = Msat(all.0 + 1_000);
    let adopted = desk
        .books
        .adopt_payment(lost(2, more), desk.two().await, NOW_MS)
        .await
        .unwrap();
    assert_ne!(adopted, sent);
    let hers = desk.balance(alice()).await;
    assert_eq!(
        (hers.payable, hers.held_by_payouts, hers.paid),
        (Msat::ZERO, Msat(5_000), more)
    );
    assert_eq!(desk.books.totals().await.unwrap().loss, Msat(6_000));
    desk.check().await;
}

async fn a_payment_is_adopted_once(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    desk.books
        .adopt_payment(lost(1, Msat(5_000)), desk.two().await, NOW_MS)
        .await
        .unwrap();
    let again = desk
        .books
        .adopt_payment(lost(1, Msat(5_000)), desk.two().await, NOW_MS)
        .await;
    assert!(matches!(again, Err(BooksError::HashTaken)), "{again:?}");
    let wrong = AdoptedPayment {
        preimage: preimage(3),
        ..lost(2, Msat(5_000))
    };
    let wrong = desk
        .books
        .adopt_payment(wrong, desk.two().await, NOW_MS)
        .await;
    assert!(
        matches!(wrong, Err(BooksError::Preimage { .. })),
        "{wrong:?}"
    );
    let reserve = AdoptedPayment {
        payee: Payee::NodeReserve,
        ..lost(2, Msat(5_000))
    };
    refusal(
        desk.books
            .adopt_payment(reserve, desk.two().await, NOW_MS)
            .await,
    );
    let all = desk
        .books
        .payouts(PayoutFilter::default(), Page::first(9))
        .await
        .unwrap();
    assert_eq!(all.len(), 1);
    desk.check().await;
}

async fn an_adopted_payment_settles_an_attempt_that_was_thought_to_have_ended(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let adopt = async |n, amount, payee: Payee| {
        let payment = AdoptedPayment {
            payee,
            ..lost(n, amount)
        };
        let adopted = desk
            .books
            .adopt_payment(payment, desk.two().await, NOW_MS + 1);
        adopted.await
    };
    // Abandoned, though the wallet has paid it; a new attempt is prepared.
    let (payout, first) = desk.prepared(Msat(5_000), 1).await;
    let abandoned = desk.books.abandoned(first, "by mistake".to_owned(), NOW_MS);
    abandoned.await.unwrap();
    desk.prepare(payout, Msat(5_000), 2).await.unwrap();
    let other = adopt(1, Msat(5_000), bob()).await;
    assert_eq!(
        refusal(other),
        "payout 1 pays this, and is miner:alice@example.org's"
    );
    assert_eq!(adopt(1, Msat(5_000), alice()).await.unwrap(), payout);
    let story = desk.books.payout(payout).await.unwrap().unwrap();
    assert_eq!(story.payout.state, PayoutState::Settled);
    let states: Vec<_> = story.attempts.iter().map(|attempt| attempt.state).collect();
    assert_eq!(states, [AttemptState::Settled, AttemptState::Abandoned]);
    refusal(adopt(1, Msat(5_000), alice()).await);
    // Failed, and given back: what was paid is lost.
    let (payout, attempt) = desk.sent(Msat(7_000), 3).await;
    desk.fail(attempt).await;
    desk.cancel(payout).await.unwrap();
    assert_eq!(adopt(3, Msat(7_000), alice()).await.unwrap(), payout);
    assert_eq!(desk.books.totals().await.unwrap().loss, Msat(7_000));
    desk.check().await;
}

async fn foreign_payments_are_no_payees(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let foreign = |n| ForeignPayment {
        payment_hash: payment_hash(n),
        amount: (n == 1).then_some(Msat(9)),
    };
    let adopt = async |which: &[u8]| {
        let payments = which.iter().map(|n| foreign(*n)).collect();
        let why = "from before".to_owned();
        let adopted = desk
            .books
            .adopt_foreign(payments, why, desk.two().await, NOW_MS);
        adopted.await
    };
    let known = async || {
        let hashes = (1..=4).map(payment_hash).collect();
        desk.books.foreign_of(hashes).await.unwrap()
    };
    desk.prepared(Msat(5_000), 3).await;
    let before = desk.books.entries(Page::first(99)).await.unwrap();
    let an_attempts = adopt(&[1, 3]).await;
    assert!(
        matches!(an_attempts, Err(BooksError::HashTaken)),
        "{an_attempts:?}"
    );
    assert_eq!(known().await, [[0; 32]; 0], "all or none");
    adopt(&[1, 2]).await.unwrap();
    adopt(&[2]).await.unwrap();
    assert_eq!(known().await, [payment_hash(1), payment_hash(2)]);
    let after = desk.books.entries(Page::first(99)).await.unwrap();
    assert_eq!(before, after, "no money moves");
    // It was a payee's after all.
    let adopted = desk
        .books
        .adopt_payment(lost(2, Msat(5_000)), desk.two().await, NOW_MS);
    adopted.await.unwrap();
    assert_eq!(known().await, [payment_hash(1)]);
    desk.check().await;
}

/// The writer's thread closes it.
fn wait_until_closed(path: &Path) {
    let is_open = || {
        let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
        files
            .into_iter()
            .any(|file| fs::read_link(file.path()).is_ok_and(|open| open == path))
    };
    while is_open() {
        std::thread::yield_now();
    }
}

/// A real copy of the file, made before a payout, is put back in its place.
#[tokio::test]
async fn a_copy_from_before_a_payout_is_frozen_and_pays_it_once() {
    let desk = Desk::new(Site::sqlite());
    desk.payable(1).await;
    desk.books.checkpoint().await.unwrap();
    let Place::Directory(dir) = &desk.site.place else {
        unreachable!("it is on SQLite");
    };
    let database = dir.path().join("treasury.db");
    let copy = dir.path().join("copy.db");
    fs::copy(&database, &copy).unwrap();
    let (_, attempt) = desk.sent(Msat(5_000), 1).await;
    desk.books
        .settled(attempt, preimage(1), Msat(30), NOW_MS)
        .await
        .unwrap();
    let before = desk.books.totals().await.unwrap();

    let Desk { books, site } = desk;
    books.checkpoint().await.unwrap();
    drop(books);
    wait_until_closed(&database);
    for log in ["db-wal", "db-shm"] {
        fs::remove_file(database.with_extension(log)).unwrap();
    }
    fs::rename(&copy, &database).unwrap();
    let desk = Desk::new(site);
    assert_eq!(desk.reasons().await.len(), 1);
    let unknown = desk
        .books
        .attempts_by_hash(vec![payment_hash(1)])
        .await
        .unwrap();
    assert_eq!(unknown, []);
    desk.books
        .adopt_payment(lost(1, Msat(5_000)), desk.two().await, NOW_MS)
        .await
        .unwrap();
    assert_eq!(desk.books.totals().await.unwrap(), before);
    desk.check().await;
}
