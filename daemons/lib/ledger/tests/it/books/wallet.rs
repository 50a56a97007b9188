//! What happens to the wallet beside coinbases and payouts.

use hh_ledger::books::{BookAccount, DayYield, EarnedForward, Page, WalletChange};

use super::*;

on_both_engines!(
    changes_of_the_wallet_are_booked_once,
    forwards_are_booked_once_with_the_place_in_their_list,
    capital_comes_from_what_has_arrived,
    the_reserve_goes_to_nodes,
    what_a_day_has_earned_and_cost_is_added_up,
    a_word_of_two_distributes_the_reserve_once,
);

impl Desk {
    pub(super) async fn book(&self, change: WalletChange, key: &str) -> Result<bool, BooksError> {
        let booked =
            self.books
                .book_wallet_change(change, "seen".to_owned(), key.to_owned(), NOW_MS);
        booked.await
    }
}

async fn changes_of_the_wallet_are_booked_once(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let before = desk.books.totals().await.unwrap();
    for (change, key) in [
        (WalletChange::OnchainFee(Msat(1_000)), "tx1"),
        (WalletChange::ChannelFee(Msat(20_000)), "chan1:open"),
        (WalletChange::RoutingIncome(Msat(300_000)), "2026-11"),
        (WalletChange::UnexplainedIn(Msat(4_000_000)), "tx2"),
        (WalletChange::UnexplainedOut(Msat(50_000_000)), "tx3"),
    ] {
        assert!(desk.book(change, key).await.unwrap());
        assert!(!desk.book(change, key).await.unwrap());
    }
    let other = desk
        .book(WalletChange::OnchainFee(Msat(1_001)), "tx1")
        .await;
    assert!(
        matches!(other, Err(BooksError::KeyTaken { .. })),
        "{other:?}"
    );
    let nothing = desk.book(WalletChange::OnchainFee(Msat::ZERO), "tx4").await;
    assert!(matches!(nothing, Err(BooksError::NoAmount)), "{nothing:?}");
    let after = desk.books.totals().await.unwrap();
    assert_eq!(
        (after.fees_onchain, after.fees_channel),
        (Msat(1_000), Msat(20_000))
    );
    assert_eq!(
        (after.income_routing, after.suspense_msat),
        (Msat(300_000), -46_000_000)
    );
    assert_eq!(after.wallet_msat - before.wallet_msat, -45_721_000);
    assert_eq!(after.treasury_msat - before.treasury_msat, 279_000);
    assert_eq!(after.owed(), before.owed(), "nobody is owed more or less");
    let entries = desk.books.entries(Page::first(9)).await.unwrap();
    assert_eq!((entries.len(), entries[0].note.as_str()), (7, "seen"));
    desk.check().await;
}

async fn forwards_are_booked_once_with_the_place_in_their_list(site: Site) {
    let desk = Desk::new(site);
    let book = async |wallet: &str, forwards: &[(&str, u64)], place: &str| {
        let forwards = forwards.iter().map(|(key, fee)| EarnedForward {
            key: (*key).to_owned(),
            fee: Msat(*fee),
            evidence: "seen".to_owned(),
        });
        let booked = desk.books.book_forwards(
            wallet.to_owned(),
            forwards.collect(),
            place.to_owned(),
            NOW_MS,
        );
        booked.await
    };
    let place = async |wallet: &str| desk.books.forwards_place(wallet.to_owned()).await.unwrap();
    assert_eq!(place("02aa").await, None);
    // Two that earned the same, and one that earned nothing.
    let three = [("1/1", 500), ("1/2", 500), ("1/3", 0)];
    assert_eq!(book("02aa", &three, "9+0").await.unwrap(), 2);
    let again = [("1/2", 500), ("1/4", 7)];
    assert_eq!(book("02aa", &again, "9+1").await.unwrap(), 1);
    assert_eq!(place("02aa").await.as_deref(), Some("9+1"));
    // Another wallet's have their own names.
    assert_eq!(book("02bb", &[("1/1", 20)], "3").await.unwrap(), 1);
    assert_eq!(place("02aa").await.as_deref(), Some("9+1"));
    // All or nothing: what does not fit leaves the place where it was.
    let wrong = book("02aa", &[("1/5", 1), ("1/1", 501)], "10+0").await;
    assert!(
        matches!(wrong, Err(BooksError::KeyTaken { .. })),
        "{wrong:?}"
    );
    assert_eq!(place("02aa").await.as_deref(), Some("9+1"));
    let totals = desk.books.totals().await.unwrap();
    assert_eq!(totals.income_routing, Msat(1_027));
    desk.check().await;
}

async fn capital_comes_from_what_has_arrived(site: Site) {
    let desk = Desk::new(site);
    let deposit = async |amount, key: &str| {
        let deposit =
            desk.books
                .deposit_capital(Msat(amount), "ann".to_owned(), key.to_owned(), NOW_MS);
        deposit.await
    };
    let refused = refusal(deposit(1, "d1").await);
    assert_eq!(refused, "suspense has 0.000 sat, less than 0.001 sat");
    desk.book(WalletChange::UnexplainedIn(Msat(9_000)), "tx1")
        .await
        .unwrap();
    assert!(deposit(9_000, "d1").await.unwrap());
    assert!(!deposit(9_000, "d1").await.unwrap(), "the same request");
    refusal(deposit(9_000, "d2").await);
    let totals = desk.books.totals().await.unwrap();
    assert_eq!(
        (totals.capital, totals.suspense_msat, totals.treasury_msat),
        (Msat(9_000), 0, 9_000)
    );
    desk.check().await;
}

/// A treasury that was killed between the distribution and the next commit, or never heard of the outcome, asks again.
async fn a_word_of_two_distributes_the_reserve_once(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let oslo = Payee::Node("oslo".to_owned());
    let before = desk.balance(oslo.clone()).await.payable;
    let distribute = async |desk: &Desk, two: &TwoActors| {
        let parts = vec![("oslo".to_owned(), Msat(7))];
        let done = desk
            .books
            .distribute_reserve(parts, two.clone(), NOW_MS + 1);
        done.await
    };
    let two = desk.two().await;
    distribute(&desk, &two).await.unwrap();
    let desk = desk.reopened();
    let again = distribute(&desk, &two).await;
    assert!(
        matches!(again, Err(BooksError::NotAgreed { .. })),
        "{again:?}"
    );
    assert_eq!(
        desk.consent("all", "ben").await,
        Consent::First,
        "ann's is used"
    );
    refusal(distribute(&desk, &two).await);
    // One who has agreed to something else since has not agreed to this.
    let two = desk.two().await;
    desk.consent("less", "ann").await;
    refusal(distribute(&desk, &two).await);
    // What is refused uses nothing up.
    let two = desk.two().await;
    let parts = vec![("oslo".to_owned(), Msat(1 << 50))];
    let too_much = desk.books.distribute_reserve(parts, two.clone(), NOW_MS);
    refusal(too_much.await);
    distribute(&desk, &two).await.unwrap();
    assert_eq!(desk.balance(oslo).await.payable.0, before.0 + 14);
    desk.check().await;
}

async fn the_reserve_goes_to_nodes(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let reserve = desk.balance(Payee::NodeReserve).await.payable;
    let distribute = async |parts: &[(&str, u64)]| {
        let parts = parts
            .iter()
            .map(|(node, amount)| ((*node).to_owned(), Msat(*amount)));
        let done = desk
            .books
            .distribute_reserve(parts.collect(), desk.two().await, NOW_MS);
        done.await
    };
    let too_much = distribute(&[("oslo", 1), ("lima", reserve.0)]).await;
    assert!(
        matches!(
            too_much,
            Err(BooksError::TooSmall {
                account: BookAccount::Balance(Payee::NodeReserve),
                ..
            })
        ),
        "{too_much:?}"
    );
    for wrong in [&[][..], &[("oslo", 0)], &[("", 1)], &[("oslo", u64::MAX)]] {
        refusal(distribute(wrong).await);
    }
    let oslo = Payee::Node("oslo".to_owned());
    let before = desk.balance(oslo.clone()).await.payable;
    distribute(&[("oslo", 1), ("lima", reserve.0 - 1)])
        .await
        .unwrap();
    assert_eq!(desk.balance(Payee::NodeReserve).await.payable, Msat::ZERO);
    assert_eq!(desk.balance(oslo).await.payable.0, before.0 + 1);
    let entries = desk.books.entries(Page::first(1)).await.unwrap();
    assert_eq!(entries[0].note, "approved by ann and ben");
    desk.check().await;
}

/// The day after that of the other entries.
const NEXT_DAY_MS: i64 = NOW_MS + 86_400_000;

async fn what_a_day_has_earned_and_cost_is_added_up(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let (_, attempt) = desk.sent(Msat(5_000_000), 1).await;
    desk.settle(attempt, 1, 700).await;
    desk.book(WalletChange::OnchainFee(Msat(1_000)), "tx1")
        .await
        .unwrap();
    desk.book(WalletChange::ChannelFee(Msat(20_000)), "chan1")
        .await
        .unwrap();
    desk.book(WalletChange::UnexplainedIn(Msat(9)), "tx2")
        .await
        .unwrap();
    let earned = WalletChange::RoutingIncome(Msat(300_000));
    let earned =
        desk.books
            .book_wallet_change(earned, "seen".to_owned(), "day2".to_owned(), NEXT_DAY_MS);
    earned.await.unwrap();
    let days = desk.books.days(0, NEXT_DAY_MS).await.unwrap();
    let day_of = |at_ms: i64| at_ms - at_ms.rem_euclid(86_400_000);
    let second = DayYield {
        from_ms: day_of(NEXT_DAY_MS),
        income_routing: Msat(300_000),
        ..DayYield::default()
    };
    let first = DayYield {
        from_ms: day_of(NOW_MS),
        income_routing: Msat::ZERO,
        fees_routing: Msat(700),
        fees_onchain: Msat(21_000),
        paid: Msat(5_000_000),
    };
    assert_eq!(days, [second, first]);
    assert_eq!((first.net_msat(), second.net_msat()), (-21_700, 300_000));
    let newest = desk.books.days(NEXT_DAY_MS, NEXT_DAY_MS).await.unwrap();
    assert_eq!(newest, [second]);
}
