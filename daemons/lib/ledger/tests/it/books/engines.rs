//! Both engines give the same answers, to the byte.

use std::fmt::Write;

use hh_ledger::books::{AdoptedPayment, Held, Page, PayoutFilter, WalletChange};

use super::*;
use crate::cluster::Cluster;

/// A day at the treasury.
async fn day(desk: &Desk) {
    let books = &desk.books;
    desk.payable(1).await;
    desk.payable(2).await;
    desk.split(3).await;
    desk.split(4).await;
    let (_, settled) = desk.sent(Msat(5_000), 1).await;
    desk.settle(settled, 1, 7).await;
    let (payout, failed) = desk.sent(Msat(6_000), 2).await;
    desk.fail(failed).await;
    refusal(desk.prepare(payout, Msat(6_001), 3).await);
    desk.prepare(payout, Msat(6_000), 3).await.unwrap();
    desk.settle(failed, 2, 9).await;
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
    let adopted = books.adopt_payment(adopted, desk.two().await, NOW_MS);
    adopted.await.unwrap();
    for n in [4, 2] {
        let reversed = books.reverse(hash(n), "reorg".to_owned(), NOW_MS);
        reversed.await.unwrap();
    }
    let arrived = WalletChange::UnexplainedIn(Msat(9_000));
    desk.book(arrived, "tx1").await.unwrap();
    let deposit = books.deposit_capital(Msat(8_000), "ann".to_owned(), "d1".to_owned(), NOW_MS);
    deposit.await.unwrap();
    desk.open(bob(), Msat(5_000), "é").await.unwrap();
    let held = Held::Payee(bob());
    let held = books.hold(held, "odd".to_owned(), "ann".to_owned(), NOW_MS);
    held.await.unwrap();
    desk.check().await;
}

/// All that the books say.
async fn everything(desk: &Desk) -> String {
    let (books, page) = (&desk.books, Page::first(100));
    let mut said = String::new();
    let mut say = |what: &dyn std::fmt::Debug| writeln!(said, "{what:#?}").unwrap();
    say(&books.entries(page).await.unwrap());
    say(&books.blocks(100).await.unwrap());
    say(&books.balances().await.unwrap());
    say(&books.totals().await.unwrap());
    for payee in [alice(), bob(), Payee::Treasury, Payee::NodeReserve] {
        say(&books.statement(payee, page).await.unwrap());
    }
    let payouts = books.payouts(PayoutFilter::default(), page).await.unwrap();
    for payout in payouts {
        say(&books.payout(payout.id).await.unwrap());
    }
    say(&books.leaves(hash(1)).await.unwrap());
    say(&books.report(hash(1)).await.unwrap());
    say(&books.verify().await.unwrap());
    said
}

async fn said_after_a_day(site: Site) -> String {
    let desk = Desk::new(site);
    day(&desk).await;
    everything(&desk).await
}

#[tokio::test]
async fn both_engines_say_the_same() {
    let sqlite = said_after_a_day(Site::sqlite()).await;
    assert!(sqlite.len() > 10_000);
    if let Some(cluster) = Cluster::shared() {
        let database = crate::Place::Database(cluster.database());
        assert_eq!(said_after_a_day(Site::new(database)).await, sqlite);
    }
}
