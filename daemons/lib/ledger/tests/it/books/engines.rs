//! Both engines give the same answers, to the byte.

use std::fmt::Write;

use hh_ledger::books::{AdoptedPayment, Held, Page, PayoutFilter, WalletChange};

use super::*;
use crate::cluster::Cluster;

/// A day at the treasury, and all that the books say after it.
async fn day(site: Site) -> String {
    let desk = Desk::new(site);
    let books = &desk.books;
    desk.payable(1).await;
    desk.payable(2).await;
    desk.split(3).await;
    desk.split(4).await;
    let (_, settled) = desk.sent(Msat(5_000), 1).await;
    books
        .settled(settled, preimage(1), Msat(7), NOW_MS)
        .await
        .unwrap();
    let (payout, failed) = desk.sent(Msat(6_000), 2).await;
    desk.fail(failed).await;
    refusal(
        books
            .prepare_attempt(attempt(payout, Msat(6_001), 3), NOW_MS)
            .await,
    );
    books
        .prepare_attempt(attempt(payout, Msat(6_000), 3), NOW_MS)
        .await
        .unwrap();
    books
        .settled(failed, preimage(2), Msat(9), NOW_MS)
        .await
        .unwrap();
    let adopted = AdoptedPayment {
        payee: bob(),
        payment_hash: payment_hash(4),
        preimage: preimage(4),
        amount: Msat(44_000),
        fee: Msat(30),
        to: to(&bob()),
        wallet_node: "02aa".to_owned(),
        evidence: "the wallet's history".to_owned(),
    };
    books.adopt_payment(adopted, two(), NOW_MS).await.unwrap();
    books
        .reverse(hash(4), "reorg".to_owned(), NOW_MS)
        .await
        .unwrap();
    books
        .reverse(hash(2), "reorg".to_owned(), NOW_MS)
        .await
        .unwrap();
    desk.book(WalletChange::UnexplainedIn(Msat(9_000)), "tx1")
        .await
        .unwrap();
    books
        .deposit_capital(Msat(8_000), "ann".to_owned(), "d1".to_owned(), NOW_MS)
        .await
        .unwrap();
    desk.open(bob(), Msat(5_000), "é").await.unwrap();
    books
        .hold(
            Held::Payee(bob()),
            "odd".to_owned(),
            "ann".to_owned(),
            NOW_MS,
        )
        .await
        .unwrap();
    desk.check().await;

    let mut said = String::new();
    let mut say = |what: &dyn std::fmt::Debug| writeln!(said, "{what:#?}").unwrap();
    say(&books.entries(Page::first(100)).await.unwrap());
    say(&books.blocks(100).await.unwrap());
    say(&books.balances().await.unwrap());
    say(&books.totals().await.unwrap());
    for payee in [alice(), bob(), Payee::Treasury, Payee::NodeReserve] {
        say(&books.statement(payee, Page::first(100)).await.unwrap());
    }
    for payout in books
        .payouts(PayoutFilter::default(), Page::first(100))
        .await
        .unwrap()
    {
        say(&books.payout(payout.id).await.unwrap());
    }
    say(&books.leaves(hash(1)).await.unwrap());
    say(&books.report(hash(1)).await.unwrap());
    say(&books.verify().await.unwrap());
    said
}

#[tokio::test]
async fn both_engines_say_the_same() {
    let sqlite = day(Site::sqlite()).await;
    assert!(sqlite.len() > 10_000);
    if let Some(cluster) = Cluster::shared() {
        let database = crate::Place::Database(cluster.database());
        assert_eq!(day(Site::new(database)).await, sqlite);
    }
}
