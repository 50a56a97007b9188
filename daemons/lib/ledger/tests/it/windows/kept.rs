//! Windows after their rows are pruned: sums of the pool's ledger, and the edge that the books keep.

use hh_ledger::books::{AccountLeaf, BookBlockState, NewBlock, SignedReport, Split, WindowBounds};
use hh_ledger::{Books, KeptWindow};
use hh_mining::{EdgeRow, EdgeShare, ReportError, WindowTotals};

use super::*;
use crate::NOW_MS;

on_both_engines!(
    a_changed_share_of_an_edge_is_found,
    an_edge_goes_and_comes_with_its_split,
);

/// A block that was split, and what was made of it then.
struct Reported {
    place: WindowPlace,
    read: WindowRead,
    parts: ReportParts,
    entries: Vec<WindowEntry<'static>>,
}

/// Splits a block over the last so much score, and posts it.
async fn split(site: &Site, books: &Books, block: (BlockHash, u32), score: u128) -> Reported {
    let ((hash, height), reader, size) = (block, site.reader(), pplns(score));
    let read = reader.window(hash, size).await.unwrap().unwrap();
    let parts = report(hash, height, size, &read);
    let reward = Reward::of(5_000_012_345, height, Network::Regtest).unwrap();
    let tracked = books.track_block(NewBlock {
        hash,
        height,
        finder: "alice".to_owned(),
        found_at_ms: NOW_MS,
        reward: Some(reward),
    });
    tracked.await.unwrap();
    let state = BookBlockState::Accepted;
    let accepted = books.set_block_state(hash, state, 1, None, NOW_MS);
    accepted.await.unwrap();
    let leaves = parts.leaves.iter().cloned();
    let posted = books.post_split(
        Split {
            hash,
            division: Division::of(reward, &read.totals.credits, "alice"),
            window: WindowBounds {
                rule: "pplns 4".to_owned(),
                first_ms: None,
                last_ms: NOW_MS,
                score: parts.report.score,
            },
            report: SignedReport {
                json: parts.report.to_json(),
                jws: "a.b.c".to_owned(),
            },
            leaves: leaves
                .map(|(account, leaf)| AccountLeaf { account, leaf })
                .collect(),
            edge: read.totals.edge.clone(),
        },
        NOW_MS,
    );
    assert!(posted.await.unwrap());
    let place = WindowPlace {
        block: hash,
        size,
        oldest: read.bounds.oldest.clone(),
    };
    let entries = entries(&reader, &place, None, 1_000).await;
    Reported {
        place,
        read,
        parts,
        entries,
    }
}

async fn prune(site: &Site) {
    for pool in ["pool-1", "pool-2"] {
        let ledger = site.ledger_of(pool);
        ledger.prune_before(i64::MAX).await.unwrap();
    }
    assert_eq!(site.reader().share_count().await.unwrap(), 0);
}

/// All entries of a block's window, by pages of so many.
async fn kept_entries(
    (site, books): (&Site, &Books),
    place: &WindowPlace,
    account: Option<&str>,
    limit: u32,
) -> Vec<WindowEntry<'static>> {
    let reader = site.reader();
    let window = KeptWindow {
        ledger: &reader,
        books,
    };
    let (mut entries, mut from) = (Vec::new(), None);
    loop {
        let account = account.map(str::to_owned);
        let page = sent(window.page(place, account, from, limit));
        let page = page.await.unwrap().unwrap();
        assert!(page.entries.len() <= limit as usize);
        entries.extend(page.entries);
        match page.next {
            Some(next) => from = Some(next),
            None => return entries,
        }
    }
}

/// The edge as anybody may have it, by pages of so many.
async fn kept_rows(books: &Books, block: BlockHash, limit: u32) -> Vec<EdgeRow> {
    let row = |share: &EdgeShare<'_>| {
        let account = &*share.origin.account;
        let name = hh_mining::sum_tree::pseudonym(&salt(account), block, account);
        EdgeRow::of(share, name)
    };
    let (mut rows, mut from) = (Vec::new(), 0);
    while let Some(page) = books.edge_page(block, None, from, limit).await.unwrap() {
        rows.extend(page.shares.iter().map(row));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    rows
}

/// What entries come to, as somebody counts who believes none of them.
fn recounted(
    reported: &Reported,
    entries: &[WindowEntry<'static>],
) -> Result<WindowTotals, String> {
    let newest = reported.read.bounds.newest.clone();
    let mut recount = Recount::new(reported.place.size, newest);
    for entry in entries {
        let added = recount.add(entry.clone());
        added.map_err(|error| error.to_string())?;
    }
    recount.finish().map_err(|error| error.to_string())
}

/// The report again, or why it does not come out.
fn again(reported: &Reported, entries: &[WindowEntry<'static>]) -> Result<ReportParts, String> {
    let totals = recounted(reported, entries)?;
    let again = reported.parts.report.recompute(&totals, "alice", salt);
    again.map_err(|error: ReportError| error.to_string())
}

/// For any shares and windows: whatever rows the pool has pruned, what is served makes the same sums, leaves, edge and report as when
/// they were there, by pages of any length, on both engines to the byte.
#[tokio::test]
async fn a_window_is_made_again_from_what_is_kept_of_it() {
    let mut runner = TestRunner::deterministic();
    let worlds = (
        proptest::collection::vec(mined(), 1..120),
        proptest::collection::vec(0..130_u128, 3),
        1..40_u32,
    );
    let mut edges = 0;
    for case in 0..cases(20, 300) {
        let (mined, sizes, limit) = worlds.new_tree(&mut runner).unwrap().current();
        let world = World::of(&mined);
        let found = check_kept(&Site::sqlite(), &world, &sizes, limit, [0, 1, 2]).await;
        edges += found.1;
        if case < cases(3, 40)
            && let Some(on_postgres) = Site::postgres()
        {
            let also = check_kept(&on_postgres, &world, &sizes, limit, [2, 0, 1]).await;
            assert_eq!(also, found, "the engines differ: {mined:?}");
        }
    }
    assert!(edges > 10, "{edges} windows with an edge are too few");
}

/// Gives what is served of all blocks, and how many of their windows have an edge.
async fn check_kept(
    site: &Site,
    world: &World,
    sizes: &[u128],
    limit: u32,
    order: [usize; 3],
) -> (Vec<Vec<u8>>, usize) {
    world.put_into(site, order).await;
    let (books, all) = (site.books(), world.score());
    let mut reports = Vec::new();
    for (number, block) in world.blocks.iter().enumerate() {
        let score = all / 100 * sizes[number % sizes.len()] + 1;
        reports.push(split(site, &books, (block.hash, block.height), score).await);
    }
    prune(site).await;
    let (mut served, mut edges) = (Vec::new(), 0);
    for reported in &reports {
        let (place, parts) = (&reported.place, &reported.parts);
        let entries = kept_entries((site, &books), place, None, limit).await;
        assert_eq!(entries, reported.entries);
        assert_eq!(again(reported, &entries).as_ref(), Ok(parts));
        for (account, leaf) in &parts.leaves {
            let own = kept_entries((site, &books), place, Some(account), limit).await;
            let mut hash = EntriesHash::new();
            own.iter().for_each(|entry| hash.add(entry));
            assert!(hash.are_those_of(leaf), "{account}");
        }
        let rows = kept_rows(&books, place.block, limit).await;
        parts.report.check_edge(&rows).unwrap();
        edges += usize::from(!rows.is_empty());
        served.extend(entries.iter().map(WindowEntry::to_json));
        served.extend(rows.iter().map(EdgeRow::to_json));
    }
    (served, edges)
}

/// Two accounts with three shares each in a minute that has room for three and a half, and a winning share two minutes later.
async fn with_edge(site: &Site) -> (Books, Reported) {
    let mut world = World::new();
    for number in 0..6 {
        let account = ["alice", "bob"][number % 2];
        world.mine(number % 3, 9_000, &origin(account, "rig"), 10);
    }
    let won = world.mine(0, 120_000, &origin("alice", ""), 10);
    world.found(&won);
    world.put_into(site, [0, 1, 2]).await;
    let books = site.books();
    let reported = split(site, &books, (won, 100), 45).await;
    assert_eq!(reported.parts.edge.len(), 4);
    prune(site).await;
    (books, reported)
}

async fn a_changed_share_of_an_edge_is_found(site: Site) {
    let (books, reported) = with_edge(&site).await;
    let place = &reported.place;
    let entries = kept_entries((&site, &books), place, None, 3).await;
    assert_eq!(
        again(&reported, &entries).as_ref(),
        Ok(&reported.parts),
        "before anything is changed"
    );
    // What can't be undone is found with what comes after it.
    for (change, undo) in [
        (
            "UPDATE edge_shares SET seq = seq + 7 WHERE place = 1",
            "SET seq = seq - 7",
        ),
        (
            "UPDATE edge_shares SET at_ms = at_ms + 1 WHERE place = 0",
            "SET at_ms = at_ms - 1",
        ),
        (
            "UPDATE edge_shares SET origin = 1 - origin WHERE place = 2",
            "SET origin = 1 - origin",
        ),
        ("UPDATE edge_shares SET counted = score WHERE place = 3", ""),
        ("DELETE FROM edge_shares WHERE place = 2", ""),
    ] {
        assert_eq!(site.raw_books(&format!("{change} RETURNING 1")), "1");
        let entries = kept_entries((&site, &books), place, None, 3).await;
        again(&reported, &entries).unwrap_err();
        let rows = kept_rows(&books, place.block, 3).await;
        reported.parts.report.check_edge(&rows).unwrap_err();
        if let Some((_, place)) = change.split_once(" WHERE ")
            && !undo.is_empty()
        {
            let undo = format!("UPDATE edge_shares {undo} WHERE {place} RETURNING 1");
            assert_eq!(site.raw_books(&undo), "1");
        }
    }
}

async fn an_edge_goes_and_comes_with_its_split(site: Site) {
    let (books, reported) = with_edge(&site).await;
    let hash = reported.place.block;
    let count = "SELECT (SELECT count(*) FROM edge_shares), (SELECT count(*) FROM edge_origins)";
    assert_eq!(site.raw_books(count), "4|4");
    let nobodys = books.edge_page(hash, Some("carol".to_owned()), 0, 10).await;
    assert_eq!(nobodys.unwrap().unwrap().shares, []);
    let unknown = BlockHash::from_byte_array([8; 32]);
    assert_eq!(books.edge_page(unknown, None, 0, 10).await.unwrap(), None);
    let reversed = books.reverse(hash, "reorg".to_owned(), NOW_MS);
    reversed.await.unwrap();
    assert_eq!(books.edge_page(hash, None, 0, 10).await.unwrap(), None);
    assert_eq!(site.raw_books(count), "0|0");
}
