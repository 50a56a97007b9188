//! A block's money, from its split to balances and back.

use hh_ledger::books::{
    BookAccount, BookBlockState, BookChange, BooksError, EntryKind, Page, Payee, Posting, Reversed,
    Split,
};
use hh_mining::{Division, Msat};

use super::*;

on_both_engines!(
    a_block_is_tracked_once_and_told_more_of_later,
    a_split_posts_every_part_and_the_parts_are_the_whole,
    a_split_is_posted_once,
    a_division_that_is_not_the_whole_is_refused,
    only_a_mature_block_pays,
    a_block_with_money_is_not_just_called_something_else,
    an_orphan_that_was_not_mature_leaves_nothing,
    an_orphan_that_was_payable_takes_back_what_there_is,
    a_payout_that_nothing_was_sent_for_is_given_back_to_an_orphan,
    a_block_that_comes_back_pays_nobody_twice,
    a_round_is_split_again,
    a_report_and_its_leaves_are_kept_until_the_split_is_taken_back,
    a_split_with_many_accounts_is_posted_in_one_entry,
    the_newest_report_is_that_of_the_last_entry_of_one_millisecond,
);

async fn a_block_is_tracked_once_and_told_more_of_later(site: Site) {
    let desk = Desk::new(site);
    let unread = NewBlock {
        reward: None,
        ..new_block(1, "bob")
    };
    assert!(desk.books.track_block(unread.clone()).await.unwrap());
    assert!(!desk.books.track_block(unread.clone()).await.unwrap());
    let block = desk.books.block(hash(1)).await.unwrap().unwrap();
    assert_eq!(
        (block.state, block.value, block.finder.as_str()),
        (BookBlockState::Tracked, None, "bob")
    );
    assert!(!desk.books.track_block(new_block(1, "bob")).await.unwrap());
    let block = desk.books.block(hash(1)).await.unwrap().unwrap();
    assert_eq!(block.value, Some(Msat(VALUE_SATS * 1_000)));
    assert_eq!(block.subsidy, Some(Msat(5_000_000_000_000)));
    assert_eq!(block.fees, Some(Msat(10_000_007_000)));

    let higher = NewBlock {
        height: 7,
        ..unread.clone()
    };
    let refused = refusal(desk.books.track_block(higher).await);
    assert!(
        refused.ends_with("is in the books with another height"),
        "{refused}"
    );
    let richer = NewBlock {
        reward: Some(Reward::of(VALUE_SATS + 1, 101, Network::Signet).unwrap()),
        ..unread
    };
    let refused = refusal(desk.books.track_block(richer).await);
    assert!(
        refused.ends_with("is in the books with another reward"),
        "{refused}"
    );
    assert_eq!(desk.books.block(hash(2)).await.unwrap(), None);
}

async fn a_split_posts_every_part_and_the_parts_are_the_whole(site: Site) {
    let desk = Desk::new(site);
    desk.split(1).await;
    let entries = desk.books.entries(Page::first(10)).await.unwrap();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!((entry.kind, entry.block), (EntryKind::Split, Some(hash(1))));
    assert_eq!(entry.note, "pplns 4");
    let posted = |account: &str, amount: i64| Posting {
        account: account.parse().unwrap(),
        amount_msat: amount,
        after_msat: amount,
    };
    // 1% of 50 BTC, its halves; 49.5 BTC by 3 and 4 of 7; fees and the residue to bob.
    let (alices, bobs) = (2_121_428_571_428, 2_828_571_428_571 + 10_000_007_000);
    let (oslos, reserve) = (10_714_285_714, 14_285_714_285);
    let residue = 4_950_000_000_000 - 2_121_428_571_428 - 2_828_571_428_571 + 25_000_000_000
        - oslos
        - reserve;
    let expected = [
        posted(&format!("coinbase:{}", hash(1)), 5_010_000_007_000),
        posted("immature:miner:alice@example.org", -alices),
        posted("immature:miner:bob@example.org", -(bobs + residue)),
        posted("immature:node:oslo", -oslos),
        posted("immature:reserve:node-network", -reserve),
        posted("immature:treasury", -25_000_000_000),
    ];
    assert_eq!(entry.postings, expected);
    let summaries = desk.books.entry_summaries(Page::first(10)).await.unwrap();
    let value = 5_010_000_007_000;
    let coinbase = BookChange {
        book: "coinbase".to_owned(),
        accounts: 1,
        name: Some(hash(1).to_string()),
        amount_msat: value,
    };
    let immature = BookChange {
        book: "immature".to_owned(),
        accounts: 5,
        name: None,
        amount_msat: -value,
    };
    assert_eq!(summaries.len(), 1);
    assert_eq!(summaries[0].changes, [coinbase, immature]);
    let totals = desk.books.totals().await.unwrap();
    assert_eq!(totals.coinbase, totals.immature);
    assert_eq!((totals.owed(), totals.wallet_msat), (Msat::ZERO, 0));
    desk.check().await;
}

async fn a_split_is_posted_once(site: Site) {
    let desk = Desk::new(site);
    desk.split(1).await;
    let same = split(1, SHARES, "bob@example.org");
    assert!(!desk.books.post_split(same, NOW_MS + 1).await.unwrap());
    for (shares, finder) in [
        (SHARES, "alice@example.org"),
        (&SHARES[..1], "bob@example.org"),
    ] {
        let other = desk
            .books
            .post_split(split(1, shares, finder), NOW_MS)
            .await;
        assert!(
            matches!(other, Err(BooksError::AnotherSplit { .. })),
            "{other:?}"
        );
    }
    desk.set(1, BookBlockState::Mature, 101).await;
    desk.books.mature(hash(1), NOW_MS).await.unwrap();
    let same = split(1, SHARES, "bob@example.org");
    assert!(
        !desk.books.post_split(same, NOW_MS).await.unwrap(),
        "nor when it is payable"
    );
    assert_eq!(desk.books.entries(Page::first(10)).await.unwrap().len(), 2);
    desk.check().await;
}

async fn a_division_that_is_not_the_whole_is_refused(site: Site) {
    let desk = Desk::new(site);
    desk.books.track_block(new_block(1, "bob")).await.unwrap();
    desk.set(1, BookBlockState::Accepted, 1).await;
    let whole = split(1, SHARES, "bob@example.org");
    let of = |change: fn(&mut Division)| {
        let mut split: Split = whole.clone();
        change(&mut split.division);
        split
    };
    for wrong in [
        of(|division| division.residue.0 += 1),
        of(|division| division.miners[0].amount.0 -= 1),
        of(|division| division.treasury = Msat::ZERO),
        of(|division| drop(division.nodes.pop())),
        of(|division| division.miners[0].amount.0 = u64::MAX),
    ] {
        let refused = desk.books.post_split(wrong, NOW_MS).await;
        assert!(
            matches!(
                refused,
                Err(BooksError::Division { .. } | BooksError::TooMuch { .. })
            ),
            "{refused:?}"
        );
    }
    let nobody = of(|division| division.finder = String::new());
    let refused = refusal(desk.books.post_split(nobody, NOW_MS).await);
    assert_eq!(refused, r#""miner:" is no payee"#);
    assert_eq!(desk.books.entries(Page::first(1)).await.unwrap(), []);
}

async fn only_a_mature_block_pays(site: Site) {
    let desk = Desk::new(site);
    let unknown = desk.books.mature(hash(1), NOW_MS).await;
    assert!(
        matches!(unknown, Err(BooksError::NoBlock { .. })),
        "{unknown:?}"
    );
    desk.books.track_block(new_block(1, "bob")).await.unwrap();
    let early = split(1, SHARES, "bob@example.org");
    let refused = refusal(desk.books.post_split(early, NOW_MS).await);
    assert!(
        refused.ends_with("is tracked: only a block on the best chain is split"),
        "{refused}"
    );
    desk.split(2).await;
    let refused = refusal(desk.books.mature(hash(2), NOW_MS).await);
    assert!(
        refused.ends_with("is accepted: its coinbase can't be spent"),
        "{refused}"
    );
    let shallow = desk
        .books
        .set_block_state(hash(2), BookBlockState::Mature, 99, None, NOW_MS);
    let refused = refusal(shallow.await);
    assert!(
        refused.ends_with("it is not deep enough to be mature"),
        "{refused}"
    );
    desk.set(1, BookBlockState::Mature, 100).await;
    let unsplit = desk.books.mature(hash(1), NOW_MS).await;
    assert!(
        matches!(unsplit, Err(BooksError::NoSplit { .. })),
        "{unsplit:?}"
    );

    desk.set(2, BookBlockState::Mature, 101).await;
    assert!(desk.books.mature(hash(2), NOW_MS + 5).await.unwrap());
    assert!(!desk.books.mature(hash(2), NOW_MS + 6).await.unwrap());
    let block = desk.books.block(hash(2)).await.unwrap().unwrap();
    assert_eq!(
        (block.state, block.mature_at_ms),
        (BookBlockState::Payable, Some(NOW_MS + 5))
    );
    let totals = desk.books.totals().await.unwrap();
    assert_eq!((totals.coinbase, totals.immature), (Msat::ZERO, Msat::ZERO));
    assert_eq!(totals.wallet_msat, 5_010_000_007_000);
    assert_eq!(totals.treasury_balance, Msat(25_000_000_000));
    assert_eq!(totals.treasury_msat, 25_000_000_000);
    assert_eq!(totals.reserves, Msat(14_285_714_285));
    let mine = desk.balance(alice()).await;
    assert_eq!(
        (mine.immature, mine.payable),
        (Msat::ZERO, Msat(2_121_428_571_428))
    );
    let open = desk.books.open_blocks().await.unwrap();
    assert_eq!(
        open.iter().map(|block| block.hash).collect::<Vec<_>>(),
        [hash(1)]
    );
    let all = desk.books.blocks(10).await.unwrap();
    assert_eq!(
        all.iter().map(|block| block.height).collect::<Vec<_>>(),
        [102, 101]
    );
    desk.check().await;
}

async fn a_block_with_money_is_not_just_called_something_else(site: Site) {
    let desk = Desk::new(site);
    desk.split(1).await;
    for state in [
        BookBlockState::Orphaned,
        BookBlockState::Rejected,
        BookBlockState::Tracked,
        BookBlockState::Payable,
    ] {
        let set = desk
            .books
            .set_block_state(hash(1), state, 0, None, NOW_MS)
            .await;
        assert!(
            matches!(set, Err(BooksError::BlockState { .. })),
            "{state}: {set:?}"
        );
    }
    desk.set(1, BookBlockState::Confirmed, 6).await;
    desk.set(1, BookBlockState::Accepted, 1).await;
    desk.payable(2).await;
    for state in [
        BookBlockState::Accepted,
        BookBlockState::Mature,
        BookBlockState::Orphaned,
    ] {
        let set = desk
            .books
            .set_block_state(hash(2), state, 200, None, NOW_MS)
            .await;
        assert!(
            matches!(set, Err(BooksError::BlockState { .. })),
            "{state}: {set:?}"
        );
    }
}

async fn an_orphan_that_was_not_mature_leaves_nothing(site: Site) {
    let desk = Desk::new(site);
    desk.split(1).await;
    desk.split(2).await;
    let before = desk.balance(alice()).await;
    let reversed = desk
        .books
        .reverse(hash(2), "block 102 is another".to_owned(), NOW_MS);
    let reversed = reversed.await.unwrap();
    let expected = Reversed {
        amount: Msat(VALUE_SATS * 1_000),
        loss: Msat::ZERO,
        cancelled: Vec::new(),
    };
    assert_eq!(reversed, expected);
    let after = desk.balance(alice()).await;
    assert_eq!(after.immature.0 * 2, before.immature.0);
    let block = desk.books.block(hash(2)).await.unwrap().unwrap();
    assert_eq!(
        (block.state, block.reason.as_deref(), block.split_at_ms),
        (BookBlockState::Orphaned, Some("block 102 is another"), None)
    );
    let entries = desk.books.entries(Page::first(10)).await.unwrap();
    assert_eq!(entries[0].kind, EntryKind::Reversal);
    assert_eq!(entries[0].reverses, Some(entries[1].id));
    let statement = desk
        .books
        .statement(alice(), Page::first(10))
        .await
        .unwrap();
    let lines: Vec<_> = statement
        .iter()
        .map(|line| (line.kind, line.immature_msat, line.immature_after.0))
        .collect();
    let part = 2_121_428_571_428;
    let expected = [
        (EntryKind::Reversal, -part, 2_121_428_571_428),
        (EntryKind::Split, part, 4_242_857_142_856),
        (EntryKind::Split, part, 2_121_428_571_428),
    ];
    assert_eq!(lines, expected);
    // Again: there is nothing to take back any more.
    let again = desk
        .books
        .reverse(hash(2), "again".to_owned(), NOW_MS)
        .await
        .unwrap();
    assert_eq!(again.amount, Msat::ZERO);
    desk.check().await;
}

/// Pays all that alice has; gives how much that was.
async fn pay_alice_out(desk: &Desk, n: u8) -> Msat {
    let all = desk.balance(alice()).await.payable;
    let (_, attempt) = desk.sent(all, n).await;
    let settled = desk
        .books
        .settled(attempt, preimage(n), Msat(2_000), NOW_MS);
    settled.await.unwrap();
    all
}

async fn an_orphan_that_was_payable_takes_back_what_there_is(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let paid = pay_alice_out(&desk, 1).await;
    let bobs = desk.balance(bob()).await.payable;
    assert!(bobs > Msat::ZERO);
    let reversed = desk
        .books
        .reverse(hash(1), "reorg".to_owned(), NOW_MS)
        .await
        .unwrap();
    assert_eq!((reversed.loss, reversed.cancelled), (paid, vec![]));
    for payee in [
        alice(),
        bob(),
        Payee::Node("oslo".to_owned()),
        Payee::NodeReserve,
    ] {
        let balance = desk.balance(payee).await;
        assert_eq!(
            (balance.immature, balance.payable),
            (Msat::ZERO, Msat::ZERO)
        );
    }
    let totals = desk.books.totals().await.unwrap();
    assert_eq!(
        (totals.loss, totals.paid, totals.owed()),
        (paid, paid, Msat::ZERO)
    );
    // The wallet is short of what alice got and of the fee, and the treasury has to make that good.
    let short = -i64::try_from(paid.0 + 2_000).unwrap();
    assert_eq!((totals.wallet_msat, totals.treasury_msat), (short, short));
    // A wallet with less than nothing is what verify tells of; nothing else.
    let findings = desk.books.verify().await.unwrap().findings;
    assert_eq!(
        findings,
        [format!(
            "account wallet: has the impossible balance {short} msat"
        )]
    );
}

async fn a_payout_that_nothing_was_sent_for_is_given_back_to_an_orphan(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let all = desk.balance(alice()).await.payable;
    let waiting = desk.open(alice(), all, "a").await.unwrap();
    let bobs = desk.balance(bob()).await.payable;
    let sent = desk.open(bob(), bobs, "b").await.unwrap();
    let on_its_way = attempt(sent, bobs, 1);
    desk.books
        .prepare_attempt(on_its_way, NOW_MS)
        .await
        .unwrap();
    let reversed = desk
        .books
        .reverse(hash(1), "reorg".to_owned(), NOW_MS)
        .await
        .unwrap();
    assert_eq!((reversed.loss, reversed.cancelled), (bobs, vec![waiting]));
    assert_eq!(desk.state(waiting).await, PayoutState::Cancelled);
    assert_eq!(desk.state(sent).await, PayoutState::Paying);
    assert_eq!(desk.balance(alice()).await.payable, Msat::ZERO);
}

async fn a_block_that_comes_back_pays_nobody_twice(site: Site) {
    let desk = Desk::new(site);
    desk.payable(1).await;
    let paid = pay_alice_out(&desk, 1).await;
    let bobs = desk.balance(bob()).await.payable;
    for _ in 0..2 {
        let reversed = desk
            .books
            .reverse(hash(1), "reorg".to_owned(), NOW_MS)
            .await
            .unwrap();
        assert_eq!(reversed.loss, paid);
        desk.payable(1).await;
        assert_eq!(
            desk.balance(alice()).await.payable,
            Msat::ZERO,
            "she has that money"
        );
        assert_eq!(desk.balance(bob()).await.payable, bobs);
        assert_eq!(desk.books.totals().await.unwrap().loss, Msat::ZERO);
        desk.check().await;
    }
    // Another block owes her all of its part.
    desk.payable(2).await;
    assert_eq!(desk.balance(alice()).await.payable, paid);
    desk.check().await;
}

async fn a_round_is_split_again(site: Site) {
    let desk = Desk::new(site);
    desk.split(1).await;
    desk.set(1, BookBlockState::Confirmed, 6).await;
    let done = desk
        .books
        .unsplit(hash(1), "its round begins earlier".to_owned(), NOW_MS);
    assert_eq!(done.await.unwrap().amount, Msat(VALUE_SATS * 1_000));
    let block = desk.books.block(hash(1)).await.unwrap().unwrap();
    assert_eq!(
        (block.state, block.reason),
        (BookBlockState::Confirmed, None)
    );
    let again = split(1, &SHARES[1..], "bob@example.org");
    assert!(desk.books.post_split(again, NOW_MS).await.unwrap());
    assert_eq!(desk.balance(alice()).await.immature, Msat::ZERO);
    desk.set(1, BookBlockState::Mature, 101).await;
    desk.books.mature(hash(1), NOW_MS).await.unwrap();
    let refused = refusal(desk.books.unsplit(hash(1), "no".to_owned(), NOW_MS).await);
    assert!(
        refused.ends_with("is payable: its split is final"),
        "{refused}"
    );
    let unknown = desk.books.unsplit(hash(2), "no".to_owned(), NOW_MS).await;
    assert!(
        matches!(unknown, Err(BooksError::NoBlock { .. })),
        "{unknown:?}"
    );
    desk.check().await;
}

async fn a_report_and_its_leaves_are_kept_until_the_split_is_taken_back(site: Site) {
    let desk = Desk::new(site);
    desk.split(1).await;
    desk.split(2).await;
    let posted = split(1, SHARES, "bob@example.org");
    let block = desk.books.block(hash(1)).await.unwrap().unwrap();
    assert!(block.has_report);
    assert_eq!(block.window, Some(posted.window));
    assert_eq!(
        desk.books.report(hash(1)).await.unwrap(),
        Some(posted.report)
    );
    assert_eq!(desk.books.leaves(hash(1)).await.unwrap(), posted.leaves);
    let hers = desk
        .books
        .leaves_of("alice@example.org".to_owned(), 10)
        .await
        .unwrap();
    let blocks: Vec<_> = hers.iter().map(|(block, _)| *block).collect();
    assert_eq!(blocks, [hash(2), hash(1)]);
    assert_eq!(hers[1].1, posted.leaves[0]);
    desk.books
        .reverse(hash(1), "reorg".to_owned(), NOW_MS)
        .await
        .unwrap();
    assert_eq!(desk.books.report(hash(1)).await.unwrap(), None);
    assert_eq!(desk.books.leaves(hash(1)).await.unwrap(), []);
}

/// More of them than go into one statement.
async fn a_split_with_many_accounts_is_posted_in_one_entry(site: Site) {
    let desk = Desk::new(site);
    let names: Vec<String> = (0..1_234).map(|n| format!("miner{n:04}")).collect();
    let shares: Vec<_> = names
        .iter()
        .zip(1_u128..)
        .map(|(name, score)| (name.as_str(), None, score))
        .collect();
    desk.books
        .track_block(new_block(1, "miner0000"))
        .await
        .unwrap();
    desk.set(1, BookBlockState::Mature, 101).await;
    let split = split(1, &shares, "miner0000");
    let parts = split.division.miners.clone();
    assert!(desk.books.post_split(split.clone(), NOW_MS).await.unwrap());
    assert!(!desk.books.post_split(split.clone(), NOW_MS).await.unwrap());
    assert!(desk.books.mature(hash(1), NOW_MS).await.unwrap());
    assert_eq!(desk.books.leaves(hash(1)).await.unwrap(), split.leaves);
    let balances = desk.books.balances().await.unwrap();
    assert_eq!(
        balances.len(),
        names.len() + 2,
        "and the treasury, and the reserve"
    );
    let last = parts.last().unwrap();
    let balance = balances
        .iter()
        .find(|balance| balance.payee == miner(&last.name));
    assert_eq!(balance.unwrap().payable, last.amount);
    let entries = desk.books.entries(Page::first(10)).await.unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1].postings.len(), names.len() + 3);
    let account = BookAccount::Immature(miner("miner0007"));
    assert!(
        entries[0]
            .postings
            .iter()
            .any(|posting| posting.account == account)
    );
    desk.check().await;
}

async fn the_newest_report_is_that_of_the_last_entry_of_one_millisecond(site: Site) {
    let desk = Desk::new(site);
    assert_eq!(desk.books.newest_report().await.unwrap(), None);
    for n in [9, 1, 4] {
        desk.split(n).await;
        let report = desk.books.report(hash(n)).await.unwrap();
        assert_eq!(desk.books.newest_report().await.unwrap(), report, "{n}");
    }
    let reversed = desk.books.reverse(hash(4), "reorg".to_owned(), NOW_MS);
    reversed.await.unwrap();
    let report = desk.books.report(hash(1)).await.unwrap();
    assert_eq!(desk.books.newest_report().await.unwrap(), report);
}
