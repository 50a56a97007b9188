//! Windows: what a block is split over, against shares that are sorted and walked back by hand, and against a second program that
//! knows the published page alone. Both engines, to the byte.

mod hundred_million;
mod kept;
mod second_opinion;
mod world;

use std::collections::BTreeMap;

use hh_ledger::{LedgerError, LedgerReader, WindowPlace, WindowRead};
use hh_mining::{
    BlockHash, Division, EntriesHash, Network, Oldest, Recount, ReportParts, ReportedBlock, Reward,
    Score, WindowEntry, WindowSize,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::{Site, origin};
use second_opinion::{SecondOpinion, salt};
use world::{Counted, World, mined};

on_both_engines!(
    a_block_without_a_cut_has_no_window,
    a_window_within_the_winning_minute_has_its_shares,
    a_window_that_has_all_there_is_says_so,
    a_minute_without_its_rows_is_never_the_edge,
    a_round_needs_no_rows,
    a_round_backwards_is_refused,
    a_winning_share_that_no_log_has_stands_at_the_end_of_its_millisecond,
    who_mines_before_or_after_a_retarget_gets_the_same,
    pages_of_an_account_go_on_over_days_without_any,
);

fn pplns(score: u128) -> WindowSize {
    WindowSize::Pplns {
        score: Score(score),
    }
}

/// What a task of a daemon may wait for.
fn sent<T: Send>(future: T) -> T {
    future
}

/// How long a run is.
fn cases(few: u32, many: u32) -> u32 {
    if std::env::var_os("HH_TEST_ALL").is_some() {
        many
    } else {
        few
    }
}

/// For any shares of several logs, with a retarget among them, any blocks and any size of a window: the engines give the same to the
/// byte, and what a walk over the sorted shares gives; pages add up to it; the report is right, and a second program makes it again
/// from nothing but the shares.
#[tokio::test]
async fn windows_are_what_a_walk_back_over_all_shares_gives() {
    let mut runner = TestRunner::deterministic();
    let mut second = SecondOpinion::new();
    let worlds = (
        proptest::collection::vec(mined(), 1..120),
        proptest::collection::vec(0..130_u128, 3),
        1..40_usize,
    );
    for case in 0..cases(20, 300) {
        let (mined, sizes, limit) = worlds.new_tree(&mut runner).unwrap().current();
        let world = World::of(&mined);
        let on_sqlite = Site::sqlite();
        let found = check_world(&on_sqlite, &world, &sizes, limit, [0, 1, 2], &mut second).await;
        if case < cases(3, 40)
            && let Some(on_postgres) = Site::postgres()
        {
            // In another order, so that ids are others.
            let order = [2, 0, 1];
            let also = check_world(&on_postgres, &world, &sizes, limit, order, &mut second).await;
            assert_eq!(also, found, "the engines differ: {mined:?}");
        }
    }
    second.check();
}

/// Gives the report of each block and window, and the entries that it is made of.
async fn check_world(
    site: &Site,
    world: &World,
    sizes: &[u128],
    limit: usize,
    order: [usize; 3],
    second: &mut SecondOpinion,
) -> Vec<Vec<u8>> {
    world.put_into(site, order).await;
    let (reader, all) = (site.reader(), world.score());
    let mut found = Vec::new();
    for (number, block) in world.blocks.iter().enumerate() {
        let previous = world.block_before(number);
        let rounds = [
            WindowSize::Round { previous },
            WindowSize::Round { previous: None },
        ];
        let percents = sizes.iter().map(|percent| pplns(all / 100 * percent + 1));
        let fits = pplns(world.score_of_whole_minutes(number, sizes[0]));
        for size in percents.chain(rounds).chain([fits]) {
            let read = sent(reader.window(block.hash, size));
            let read = read.await.unwrap().unwrap();
            check_against_walk(world, number, size, &read);
            let entries = check_pages(&reader, world, (block.hash, size), &read, limit).await;
            let parts = report(block.hash, block.height, size, &read);
            check_report(&parts, &read, &entries);
            second.ask(world, &parts, &entries);
            found.push(parts.report.to_json());
            found.extend(entries.iter().map(WindowEntry::to_json));
        }
    }
    found
}

fn check_against_walk(world: &World, number: usize, size: WindowSize, read: &WindowRead) {
    let walk = world.walk_back(number, size);
    let (mut accounts, mut nodes, mut straight) = (BTreeMap::new(), BTreeMap::new(), 0);
    for Counted { share, counted, .. } in &walk {
        if *counted == 0 {
            continue;
        }
        let origin = &share.origin;
        *accounts.entry(origin.account()).or_insert(0) += counted;
        match origin.node() {
            "core" => straight += counted,
            node => *nodes.entry(node).or_insert(0) += counted,
        }
    }
    let credits = &read.totals.credits;
    let found: BTreeMap<&str, u128> = credits.accounts().map(|(name, s)| (name, s.0)).collect();
    assert_eq!(found, accounts);
    let found: BTreeMap<&str, u128> = credits.nodes().map(|(name, s)| (name, s.0)).collect();
    assert_eq!(found, nodes);
    assert_eq!(credits.no_node(), Score(straight));
    let newest = world.place_of(number);
    assert_eq!(read.bounds.newest, newest);
    let (Some(oldest), WindowSize::Pplns { score }) = (walk.last(), size) else {
        return;
    };
    let is_full = walk.iter().map(|share| share.counted).sum::<u128>() == score.0;
    assert_eq!(read.bounds.is_full, is_full);
    match &read.bounds.oldest {
        Oldest::Share {
            at_ms,
            pool,
            epoch,
            seq,
            counted,
            ..
        } => {
            let last = (oldest.share.accepted_at_ms, oldest.pool, oldest.epoch);
            assert_eq!((*at_ms, &**pool, *epoch), last);
            assert_eq!((*seq, counted.0), (oldest.share.seq, oldest.counted));
        }
        Oldest::Minute { minute } => {
            assert_eq!(*minute, oldest.share.accepted_at_ms.div_euclid(60_000));
            assert_eq!(oldest.counted, oldest.share.score);
        }
        Oldest::All => assert!(!is_full),
        Oldest::Block { .. } => panic!("a window of score ends at no block"),
    }
}

/// All entries of a window, by pages of so many.
async fn entries(
    reader: &LedgerReader,
    place: &WindowPlace,
    account: Option<&str>,
    limit: usize,
) -> Vec<WindowEntry<'static>> {
    let (mut entries, mut from) = (Vec::new(), None);
    loop {
        let account = account.map(str::to_owned);
        let page = sent(reader.window_page(place, account, from, limit));
        let page = page.await.unwrap().unwrap();
        assert!(page.entries.len() <= limit);
        entries.extend(page.entries);
        match page.next {
            Some(next) => from = Some(next),
            None => return entries,
        }
    }
}

async fn check_pages(
    reader: &LedgerReader,
    world: &World,
    (block, size): (BlockHash, WindowSize),
    read: &WindowRead,
    limit: usize,
) -> Vec<WindowEntry<'static>> {
    let place = WindowPlace {
        block,
        size,
        oldest: read.bounds.oldest.clone(),
    };
    let all = entries(reader, &place, None, limit).await;
    let mut recount = Recount::new(size, read.bounds.newest.clone());
    for entry in &all {
        recount.add(entry.clone()).unwrap();
    }
    assert_eq!(recount.finish().as_ref(), Ok(&read.totals));
    for account in world.accounts() {
        let own = entries(reader, &place, Some(account), limit).await;
        let is_own = |entry: &&WindowEntry<'static>| entry.origin().account == account;
        assert_eq!(own, all.iter().filter(is_own).cloned().collect::<Vec<_>>());
    }
    all
}

fn report(block: BlockHash, height: u32, size: WindowSize, read: &WindowRead) -> ReportParts {
    let reward = Reward::of(5_000_012_345, height, Network::Regtest).unwrap();
    let division = Division::of(reward, &read.totals.credits, "alice");
    assert_eq!(division.sum(), Some(reward.value()));
    let block = ReportedBlock {
        network: Network::Regtest,
        hash: block,
        height,
        window: size,
        newest: read.bounds.newest.clone(),
        previous_report: None,
    };
    ReportParts::of(&block, &division, &read.totals, salt).unwrap()
}

fn check_report(parts: &ReportParts, read: &WindowRead, entries: &[WindowEntry<'static>]) {
    let report = &parts.report;
    report.check_edge(&parts.edge).unwrap();
    let again = report.recompute(&read.totals, "alice", salt).unwrap();
    assert_eq!(&again, parts);
    for (account, leaf) in &parts.leaves {
        let mut hash = EntriesHash::new();
        let own = entries
            .iter()
            .filter(|entry| entry.origin().account == **account);
        own.for_each(|entry| hash.add(entry));
        assert!(hash.are_those_of(leaf), "{account}");
    }
}

async fn a_block_without_a_cut_has_no_window(site: Site) {
    let mut world = World::new();
    let won = world.mine(0, 0, &origin("alice", ""), 5);
    world.found(&won);
    world.ship(&site, [0, 1, 2]).await;
    let hash = world.blocks[0].hash;
    let reader = site.reader();
    let unknown = BlockHash::from_byte_array([9; 32]);
    assert_eq!(reader.window(unknown, pplns(5)).await.unwrap(), None);
    site.ledger
        .put_block(world.blocks[0].clone())
        .await
        .unwrap();
    assert_eq!(reader.window(hash, pplns(5)).await.unwrap(), None);
    site.ledger.cut_blocks().await.unwrap();
    let read = reader.window(hash, pplns(5)).await.unwrap().unwrap();
    assert!(read.bounds.is_full);
    // A round that begins with a block that has no cut.
    let previous = Some(unknown);
    let round = WindowSize::Round { previous };
    assert_eq!(reader.window(hash, round).await.unwrap(), None);
    let place = WindowPlace {
        block: unknown,
        size: pplns(5),
        oldest: read.bounds.oldest,
    };
    let page = reader.window_page(&place, None, None, 10).await;
    assert_eq!(page.unwrap(), None);
}

async fn a_window_within_the_winning_minute_has_its_shares(site: Site) {
    let mut world = World::new();
    let alice = origin("alice", "rig1");
    for _ in 0..4 {
        world.mine(0, 1_000, &alice, 10);
    }
    let won = world.mine(1, 1, &origin("bob", ""), 10);
    world.found(&won);
    // After the winning share, in the same millisecond.
    world.mine(2, 0, &alice, 10);
    world.put_into(&site, [0, 1, 2]).await;
    let read = site.reader().window(won, pplns(25)).await;
    let read = read.unwrap().unwrap();
    let accounts: Vec<_> = read.totals.credits.accounts().collect();
    assert_eq!(accounts, [("alice", Score(15)), ("bob", Score(10))]);
    let counted: Vec<u128> = read.totals.edge.iter().map(|s| s.counted.0).collect();
    assert_eq!(counted, [10, 10, 5]);
}

async fn a_window_that_has_all_there_is_says_so(site: Site) {
    let mut world = World::new();
    world.mine(0, 0, &origin("alice", ""), 10);
    let won = world.mine(0, 500_000, &origin("alice", ""), 10);
    world.found(&won);
    world.put_into(&site, [0, 1, 2]).await;
    let reader = site.reader();
    let read = reader.window(won, pplns(21)).await.unwrap().unwrap();
    assert_eq!(
        (read.bounds.oldest, read.bounds.is_full),
        (Oldest::All, false)
    );
    // One that just fits ends with the minute.
    let read = reader.window(won, pplns(20)).await.unwrap().unwrap();
    let minute = world::START_MS / 60_000;
    assert_eq!(read.bounds.oldest, Oldest::Minute { minute });
    assert!(read.bounds.is_full);
}

async fn a_minute_without_its_rows_is_never_the_edge(site: Site) {
    let mut world = World::new();
    let alice = origin("alice", "rig1");
    for _ in 0..6 {
        world.mine(0, 10_000, &alice, 10);
    }
    let won = world.mine(0, 120_000, &alice, 10);
    world.found(&won);
    world.put_into(&site, [0, 1, 2]).await;
    let reader = site.reader();
    assert!(reader.window(won, pplns(25)).await.unwrap().is_some());
    let third_ms = world::START_MS + 31_000;
    assert_eq!(site.ledger.prune_before(third_ms).await.unwrap(), 3);
    let error = reader.window(won, pplns(25)).await.unwrap_err();
    let LedgerError::EdgeIncomplete {
        block,
        minute,
        expected: 5,
        found: 2,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((block, minute), (won, world::START_MS / 60_000));
    // Where it goes in as a whole, its sums do.
    let whole = reader.window(won, pplns(70)).await.unwrap().unwrap();
    assert!(whole.bounds.is_full);
}

async fn a_round_needs_no_rows(site: Site) {
    let mut world = World::new();
    let (alice, bob) = (origin("alice", ""), origin("bob", ""));
    let first = world.mine(0, 1_000, &alice, 10);
    world.found(&first);
    world.mine(1, 1_000, &bob, 7);
    world.mine(0, 100_000, &alice, 3);
    let second = world.mine(1, 1_000, &bob, 1);
    world.found(&second);
    world.put_into(&site, [0, 1, 2]).await;
    let reader = site.reader();
    let previous = Some(first);
    let round = WindowSize::Round { previous };
    let before = reader.window(second, round).await.unwrap().unwrap();
    let accounts: Vec<_> = before.totals.credits.accounts().collect();
    assert_eq!(accounts, [("alice", Score(3)), ("bob", Score(8))]);
    site.ledger.prune_before(i64::MAX).await.unwrap();
    assert_eq!(reader.share_count().await.unwrap(), 0);
    let after = reader.window(second, round).await.unwrap().unwrap();
    assert_eq!(after.totals, before.totals);
    // Only which share won can't be told any more.
    assert_eq!(after.bounds.newest.share, None);
    assert_eq!(after.bounds.newest.at_ms, before.bounds.newest.at_ms);
}

async fn a_round_backwards_is_refused(site: Site) {
    let mut world = World::new();
    let alice = origin("alice", "");
    let times = [0, 1_000, 100_000];
    let blocks = times.map(|after_ms| world.mine(0, after_ms, &alice, 10));
    blocks.iter().for_each(|block| world.found(block));
    world.put_into(&site, [0, 1, 2]).await;
    for (block, before) in [(0, 1), (0, 2)] {
        let previous = Some(blocks[before]);
        let round = WindowSize::Round { previous };
        let error = site.reader().window(blocks[block], round).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, LedgerError::RoundBackwards { .. }),
            "{error}"
        );
    }
}

async fn a_winning_share_that_no_log_has_stands_at_the_end_of_its_millisecond(site: Site) {
    let mut world = World::new();
    let alice = origin("alice", "");
    world.mine(0, 0, &alice, 10);
    world.mine(1, 0, &alice, 10);
    let last = world.mine(2, 0, &alice, 10);
    world.mine(2, 1, &alice, 10);
    let hash = world.found_in_no_log(&last);
    world.put_into(&site, [0, 1, 2]).await;
    let read = site.reader().window(hash, pplns(25)).await;
    let read = read.unwrap().unwrap();
    assert_eq!(read.bounds.newest.share, None);
    let counted: Vec<_> = read
        .totals
        .edge
        .iter()
        .map(|s| (&*s.pool, s.epoch, s.counted.0))
        .collect();
    let expected = [
        ("pool-2", [5; 16], 10),
        ("pool-1", [9; 16], 10),
        ("pool-1", [3; 16], 5),
    ];
    assert_eq!(counted, expected);
}

/// Two miners of the same hashrate, one before and one after the network's difficulty trebles.
async fn who_mines_before_or_after_a_retarget_gets_the_same(site: Site) {
    let mut world = World::new();
    let (early, late) = (origin("early", ""), origin("late", ""));
    // 2^40 hashes of the same part of a block: the late one works three times as long for it.
    for _ in 0..6 {
        world.mine_work(0, 10_000, &early, (1 << 40, 0x1c7f_ff80));
    }
    for _ in 0..6 {
        world.mine_work(0, 30_000, &late, (3 << 40, 0x1c2a_aa80));
    }
    let won = world.last();
    world.found(&won);
    world.put_into(&site, [0, 1, 2]).await;
    let all = WindowSize::Round { previous: None };
    let read = site.reader().window(won, all).await.unwrap().unwrap();
    let division = Division::of(
        Reward::of(5_000_000_000, 1, Network::Bitcoin).unwrap(),
        &read.totals.credits,
        "nobody",
    );
    let [early, late] = &division.miners[..] else {
        panic!("{:?}", division.miners)
    };
    // The targets are rounded to 23 bits: the same to a part in a million.
    let apart = early.amount.0.abs_diff(late.amount.0);
    assert!(apart < early.amount.0 / 1_000_000, "{apart} msat");
}

async fn pages_of_an_account_go_on_over_days_without_any(site: Site) {
    const DAY_MS: i64 = 86_400_000;
    let mut world = World::new();
    let (alice, bob) = (origin("alice", ""), origin("bob", ""));
    world.mine(0, 0, &alice, 10);
    for _ in 0..5 {
        world.mine(0, DAY_MS, &bob, 1);
    }
    let won = world.mine(0, DAY_MS, &alice, 10);
    world.found(&won);
    world.put_into(&site, [0, 1, 2]).await;
    let size = WindowSize::Round { previous: None };
    let place = WindowPlace {
        block: won,
        size,
        oldest: Oldest::All,
    };
    let own = entries(&site.reader(), &place, Some("alice"), 1).await;
    assert_eq!(own.len(), 2);
    let none = entries(&site.reader(), &place, Some("carol"), 1).await;
    assert_eq!(none, []);
}
