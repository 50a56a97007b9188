//! Payments of the wallet to itself, from one of its channels to another.

use hh_ledger::books::{ForeignPayment, NewRebalance, Opened, Rebalance, RebalanceState};

use super::*;

on_both_engines!(
    a_request_opens_one_rebalance,
    its_fee_is_booked_once,
    what_settles_after_all_has_cost_something,
    a_rebalance_is_no_payees_and_no_strangers,
    nothing_is_moved_while_payouts_are_frozen,
);

fn rebalance(key: &str, n: u8) -> NewRebalance {
    NewRebalance {
        key: key.to_owned(),
        payment_hash: payment_hash(n),
        from: "11".repeat(32),
        into: "22".repeat(32),
        amount: Msat(5_000_000),
        max_fee: Msat(2_000),
        cltv_limit: 432,
        wallet_node: "02aa".to_owned(),
        height: 300,
        channels: vec!["11".repeat(32), "22".repeat(32)],
        actor: "ann".to_owned(),
    }
}

impl Desk {
    async fn rebalance(&self, key: &str, n: u8) -> Result<Opened, BooksError> {
        self.books.open_rebalance(rebalance(key, n), NOW_MS).await
    }

    async fn opened(&self, key: &str, n: u8) -> Rebalance {
        match self.rebalance(key, n).await.unwrap() {
            Opened::New(opened) => opened,
            Opened::Known(known) => panic!("{known:?} was opened before"),
        }
    }

    /// One that has settled.
    pub(super) async fn rebalanced(&self, n: u8, fee: u64) {
        let id = self.opened(&format!("moved {n}"), n).await.id;
        assert!(self.moved(id, n, fee).await.unwrap());
    }

    async fn moved(&self, id: u64, n: u8, fee: u64) -> Result<bool, BooksError> {
        self.books
            .rebalance_settled(id, preimage(n), Msat(fee), NOW_MS + 5)
            .await
    }
}

async fn a_request_opens_one_rebalance(site: Site) {
    let desk = Desk::new(site);
    let opened = desk.opened("r1", 1).await;
    assert_eq!((opened.id, opened.state), (1, RebalanceState::Open));
    assert_eq!(opened.channels, rebalance("r1", 1).channels);
    // Another invoice was made for the same request.
    let again = desk.rebalance("r1", 2).await.unwrap();
    assert_eq!(again, Opened::Known(opened.clone()));
    let mut more = rebalance("r1", 2);
    more.amount = Msat(5_000_001);
    let refused = refusal(desk.books.open_rebalance(more, NOW_MS).await);
    assert!(refused.contains("taken by another request"), "{refused}");
    assert!(refusal(desk.rebalance("r2", 1).await).contains("used before"));
    let open = desk.books.open_rebalances().await.unwrap();
    assert_eq!(open, std::slice::from_ref(&opened));
    let known = desk.books.rebalance_by_key("r1".to_owned()).await.unwrap();
    assert_eq!(known, Some(opened));
    for n in 2..9 {
        desk.opened(&format!("r{n}"), n).await;
    }
    let refused = refusal(desk.rebalance("r9", 9).await);
    assert!(
        refused.contains("8 rebalances are on their way"),
        "{refused}"
    );
    desk.check().await;
}

async fn its_fee_is_booked_once(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let before = desk.books.totals().await.unwrap();
    let id = desk.opened("r1", 1).await.id;
    assert_eq!(desk.books.totals().await.unwrap(), before, "nothing moved");
    let refused = refusal(desk.moved(id, 2, 700).await);
    assert_eq!(refused, "the preimage is not that of rebalance 1");
    assert!(desk.moved(id, 1, 700).await.unwrap());
    assert!(!desk.moved(id, 1, 700).await.unwrap());
    let why = "late".to_owned();
    assert!(!desk.books.rebalance_failed(id, why, NOW_MS).await.unwrap());
    let after = desk.books.totals().await.unwrap();
    assert_eq!(after.fees_routing, Msat(700));
    assert_eq!(after.wallet_msat, before.wallet_msat - 700);
    assert_eq!((after.owed(), after.paid), (before.owed(), before.paid));
    assert!(desk.books.open_rebalances().await.unwrap().is_empty());
    let free = desk.opened("r2", 2).await.id;
    assert!(desk.moved(free, 2, 0).await.unwrap());
    desk.check().await;
}

async fn what_settles_after_all_has_cost_something(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let id = desk.opened("r1", 1).await.id;
    let fail = async || {
        let why = "no_route".to_owned();
        desk.books.rebalance_failed(id, why, NOW_MS).await.unwrap()
    };
    assert!(fail().await);
    assert!(!fail().await);
    let hashes = vec![payment_hash(9), payment_hash(1)];
    let known = desk.books.rebalances_by_hash(hashes).await.unwrap();
    assert_eq!(known[0].failure.as_deref(), Some("no_route"));
    assert_eq!((known.len(), known[0].state), (1, RebalanceState::Failed));
    assert!(desk.moved(id, 1, 700).await.unwrap());
    let totals = desk.books.totals().await.unwrap();
    assert_eq!(totals.fees_routing, Msat(700));
    desk.check().await;
}

async fn a_rebalance_is_no_payees_and_no_strangers(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    desk.opened("r1", 1).await;
    let stranger = ForeignPayment {
        payment_hash: payment_hash(1),
        amount: Some(Msat(5_000_000)),
    };
    let why = "by hand".to_owned();
    let two = desk.two().await;
    let adopted = desk
        .books
        .adopt_foreign(vec![stranger], why, two, NOW_MS)
        .await;
    assert!(matches!(adopted, Err(BooksError::HashTaken)), "{adopted:?}");
    // Who routes it knows its hash, and may make an invoice with it.
    let payout = desk.open(alice(), Msat(5_000), "p1").await.unwrap();
    let refused = desk.prepare(payout, Msat(5_000), 1).await;
    assert!(matches!(refused, Err(BooksError::HashTaken)), "{refused:?}");
    let (actor, reason) = ("ann".to_owned(), "its invoice is forged".to_owned());
    let cancelled = desk.books.cancel_payout(payout, actor, reason, NOW_MS);
    cancelled.await.unwrap();
    desk.sent(Msat(5_000), 2).await;
    let refused = desk.rebalance("r2", 2).await;
    assert!(matches!(refused, Err(BooksError::HashTaken)), "{refused:?}");
    desk.check().await;
}

async fn nothing_is_moved_while_payouts_are_frozen(site: Site) {
    let desk = Desk::new(site);
    let id = desk.opened("r1", 1).await.id;
    desk.freeze().await;
    let refused = desk.rebalance("r2", 2).await;
    assert!(
        matches!(refused, Err(BooksError::Frozen { .. })),
        "{refused:?}"
    );
    // What came before is what it was, and ends as it ends.
    assert!(matches!(
        desk.rebalance("r1", 3).await,
        Ok(Opened::Known(_))
    ));
    assert!(desk.moved(id, 1, 0).await.unwrap());
    desk.check().await;
}
