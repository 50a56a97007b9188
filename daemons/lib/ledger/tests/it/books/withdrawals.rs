//! Money of the operator's own that leaves the wallet on the chain.

use hh_ledger::books::{
    NewWithdrawal, OpenedWithdrawal, Page, WalletChange, Withdrawal, WithdrawalState,
};

use super::*;

on_both_engines!(
    a_request_opens_one_withdrawal_at_a_time,
    it_is_booked_once_with_its_fee,
    others_money_is_refused,
    nothing_is_withdrawn_while_payouts_are_frozen,
    a_word_of_two_opens_or_closes_one,
    what_the_wallet_refused_has_moved_nothing,
);

/// What its transaction may cost.
const MAX_FEE: Msat = Msat(20_000);

fn withdrawal(key: &str, amount: Msat) -> NewWithdrawal {
    NewWithdrawal {
        key: key.to_owned(),
        address: "bcrt1qcold".to_owned(),
        amount,
        max_fee: MAX_FEE,
        wallet_node: "02aa".to_owned(),
        height: 300,
        actor: "ann".to_owned(),
    }
}

impl Desk {
    async fn withdraw(&self, key: &str, amount: Msat) -> Result<OpenedWithdrawal, BooksError> {
        let new = withdrawal(key, amount);
        self.books.open_withdrawal(new, None, NOW_MS).await
    }

    async fn withdrawing(&self, key: &str, amount: Msat) -> Withdrawal {
        match self.withdraw(key, amount).await.unwrap() {
            OpenedWithdrawal::New(opened) => opened,
            OpenedWithdrawal::Known(known) => panic!("{known:?} was opened before"),
        }
    }

    /// One that is in a block.
    pub(super) async fn withdrew(&self, n: u8, amount: Msat, fee: u64) {
        let id = self.withdrawing(&format!("withdrawn {n}"), amount).await.id;
        assert!(self.books.withdrawal_sent(id, [n; 32]).await.unwrap());
        assert!(self.withdrawn(id, fee).await.unwrap());
    }

    async fn withdrawn(&self, id: u64, fee: u64) -> Result<bool, BooksError> {
        let settled = self
            .books
            .withdrawal_settled(id, Msat(fee), 301, NOW_MS + 5);
        settled.await
    }
}

async fn a_request_opens_one_withdrawal_at_a_time(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let opened = desk.withdrawing("w1", Msat(5_000_000)).await;
    assert_eq!((opened.id, opened.state), (1, WithdrawalState::Open));
    let again = desk.withdraw("w1", Msat(5_000_000)).await.unwrap();
    assert_eq!(again, OpenedWithdrawal::Known(opened.clone()));
    let refused = refusal(desk.withdraw("w1", Msat(5_000_001)).await);
    assert!(refused.contains("taken by another request"), "{refused}");
    let refused = refusal(desk.withdraw("w2", Msat(5_000_000)).await);
    assert_eq!(refused, "withdrawal 1 has not ended: one at a time");
    let waits = async || {
        let why = Some("no block has it".to_owned());
        desk.books.withdrawal_waits(1, why).await.unwrap()
    };
    assert!(waits().await);
    assert!(!waits().await, "it is no news");
    let known = desk.books.withdrawal_by_key("w1".to_owned()).await.unwrap();
    let reason = Some("no block has it".to_owned());
    let waiting = Withdrawal { reason, ..opened };
    assert_eq!(known.as_ref(), Some(&waiting));
    assert_eq!(desk.books.open_withdrawals().await.unwrap(), [waiting]);
    desk.check().await;
}

async fn it_is_booked_once_with_its_fee(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let before = desk.books.totals().await.unwrap();
    let id = desk.withdrawing("w1", Msat(5_000_000)).await.id;
    let refused = refusal(desk.withdrawn(id, 700).await);
    assert_eq!(
        refused, "withdrawal 1 is open",
        "its transaction is not known"
    );
    assert!(desk.books.withdrawal_sent(id, [7; 32]).await.unwrap());
    assert!(!desk.books.withdrawal_sent(id, [7; 32]).await.unwrap());
    let other = refusal(desk.books.withdrawal_sent(id, [8; 32]).await);
    assert_eq!(other, "withdrawal 1 is sent");
    assert!(desk.books.is_withdrawal([7; 32]).await.unwrap());
    assert!(!desk.books.is_withdrawal([8; 32]).await.unwrap());
    assert_eq!(desk.books.totals().await.unwrap(), before, "not in a block");
    assert!(desk.withdrawn(id, 700_000).await.unwrap());
    assert!(!desk.withdrawn(id, 700_000).await.unwrap());
    let why = "late".to_owned();
    let failed = refusal(desk.books.withdrawal_failed(id, why, NOW_MS).await);
    assert_eq!(failed, "withdrawal 1 is settled");
    let after = desk.books.totals().await.unwrap();
    assert_eq!(
        (after.drawn, after.fees_onchain),
        (Msat(5_000_000), Msat(700_000))
    );
    assert_eq!(after.wallet_msat, before.wallet_msat - 5_700_000);
    assert_eq!(after.treasury_msat, before.treasury_msat - 5_700_000);
    assert_eq!((after.owed(), after.paid), (before.owed(), before.paid));
    assert_eq!(after.received_msat, before.received_msat);
    let all = desk.books.withdrawals(Page::first(9)).await.unwrap();
    assert_eq!(
        (all[0].fee, all[0].block_height),
        (Some(Msat(700_000)), Some(301))
    );
    assert!(desk.books.open_withdrawals().await.unwrap().is_empty());
    desk.withdrawing("w2", Msat(1_000)).await;
    desk.check().await;
}

async fn others_money_is_refused(site: Site) {
    let desk = Desk::new(site);
    assert!(refusal(desk.withdraw("w1", Msat(1_000)).await).starts_with("0.000 sat are"));
    desk.payable(1).await;
    let own = desk.books.totals().await.unwrap().own();
    let most = Msat(own.0 - MAX_FEE.0);
    let refused = desk.withdraw("w1", Msat(most.0 + 1)).await;
    assert!(
        matches!(refused, Err(BooksError::NotTheOperators { .. })),
        "{refused:?}"
    );
    // What nobody has explained is not his, and what is gone unexplained may be.
    desk.book(WalletChange::UnexplainedIn(Msat(9_000)), "in")
        .await
        .unwrap();
    assert_eq!(desk.books.totals().await.unwrap().own(), own);
    desk.book(WalletChange::UnexplainedOut(Msat(10_000)), "out")
        .await
        .unwrap();
    assert_eq!(
        desk.books.totals().await.unwrap().own(),
        Msat(own.0 - 1_000)
    );
    let refused = desk.withdraw("w1", most).await;
    assert!(
        matches!(refused, Err(BooksError::NotTheOperators { .. })),
        "{refused:?}"
    );
    desk.withdrawing("w1", Msat(most.0 - 1_000)).await;
    desk.check().await;
}

async fn nothing_is_withdrawn_while_payouts_are_frozen(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let id = desk.withdrawing("w1", Msat(1_000)).await.id;
    desk.freeze().await;
    let known = desk.withdraw("w1", Msat(1_000)).await;
    assert!(matches!(known, Ok(OpenedWithdrawal::Known(_))), "{known:?}");
    // What came before ends as it ends.
    assert!(desk.books.withdrawal_sent(id, [7; 32]).await.unwrap());
    assert!(desk.withdrawn(id, 1).await.unwrap());
    let refused = desk.withdraw("w2", Msat(1_000)).await;
    assert!(
        matches!(refused, Err(BooksError::Frozen { .. })),
        "{refused:?}"
    );
    desk.check().await;
}

async fn a_word_of_two_opens_or_closes_one(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let two = desk.two().await;
    let open = async |key: &str| {
        let new = withdrawal(key, Msat(1_000));
        let two = Some(two.clone());
        desk.books.open_withdrawal(new, two, NOW_MS).await
    };
    let opened = open("w1").await.unwrap();
    let OpenedWithdrawal::New(opened) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(opened.actor, "ann and ben");
    assert!(matches!(open("w1").await, Ok(OpenedWithdrawal::Known(_))));
    let close = async |two: TwoActors| {
        let why = "the wallet has no such transaction".to_owned();
        desk.books.close_withdrawal(1, why, two, NOW_MS).await
    };
    let refused = close(two.clone()).await;
    assert!(
        matches!(refused, Err(BooksError::NotAgreed { .. })),
        "{refused:?}"
    );
    close(desk.two().await).await.unwrap();
    let closed = desk.books.withdrawal(1).await.unwrap();
    assert_eq!(closed.state, WithdrawalState::Failed);
    let why = "closed by ann and ben: the wallet has no such transaction";
    assert_eq!(closed.reason.as_deref(), Some(why));
    let refused = open("w2").await;
    assert!(
        matches!(refused, Err(BooksError::NotAgreed { .. })),
        "used up: {refused:?}"
    );
    assert_eq!(
        refusal(desk.books.withdrawal(2).await),
        "the books have no withdrawal 2"
    );
    desk.check().await;
}

async fn what_the_wallet_refused_has_moved_nothing(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let before = desk.books.totals().await.unwrap();
    let id = desk.withdrawing("w1", Msat(1_000)).await.id;
    let fail = async || {
        let why = "too little".to_owned();
        desk.books.withdrawal_failed(id, why, NOW_MS).await.unwrap()
    };
    assert!(fail().await);
    assert!(!fail().await);
    let refused = refusal(desk.books.withdrawal_sent(id, [7; 32]).await);
    assert_eq!(refused, "withdrawal 1 is failed");
    assert_eq!(desk.books.totals().await.unwrap(), before);
    desk.withdrawing("w2", Msat(1_000)).await;
    desk.check().await;
}
