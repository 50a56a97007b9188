use super::*;
use std::time::{Duration, Instant};

pub(super) fn entry(height: u32) -> JournalEntry {
    JournalEntry {
        hash: format!("{height:064x}"),
        height,
        account: "alice".to_owned(),
        worker: "rig1".to_owned(),
        node: "core".to_owned(),
        lane: "sv2".to_owned(),
        found_at_ms: 1_700_000_000_000,
        value_sat: 5_000_000_000,
        extranonce_prefix: "0001000000000007".to_owned(),
        share: None,
    }
}

fn key(height: u32) -> Key {
    let hash = entry(height).hash.parse().unwrap();
    Key { height, hash }
}

fn open(dir: &Path) -> (Journal, Vec<Left>) {
    Journal::open(dir.to_owned()).unwrap()
}

/// Heights of what is left, and whether each has its block.
fn heights(left: &[Left]) -> Vec<(u32, bool)> {
    left.iter()
        .map(|left| (left.key.height, left.has_block))
        .collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until the journal has its reserves; they are made by a thread.
fn wait_for_reserves(journal: &Journal) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while journal.0.reserves.ready() < 2 {
        assert!(Instant::now() < deadline, "no reserves");
        std::thread::yield_now();
    }
}

#[test]
fn entries_come_back_in_order_of_height_until_they_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, left) = open(dir.path());
    assert!(left.is_empty());
    let (low, high) = (9, 1_000_000);
    journal
        .write(key(high), &entry(high), Some(&[1, 2, 3]))
        .unwrap();
    journal.write(key(low), &entry(low), None).unwrap();
    assert_eq!(journal.read_block(key(low)).unwrap(), None);
    assert_eq!(journal.read_block(key(high)).unwrap().unwrap(), [1, 2, 3]);
    drop(journal);

    let (journal, left) = open(dir.path());
    assert_eq!(heights(&left), [(low, false), (high, true)]);
    assert_eq!(left[1].entry, entry(high));
    journal.remove(key(low)).unwrap();
    journal.remove(key(low)).unwrap();
    drop(journal);
    assert_eq!(heights(&open(dir.path()).1), [(high, true)]);
}

#[test]
fn an_entry_that_gets_its_block_later_is_one_entry() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.write(key(7), &entry(7), None).unwrap();
    journal.write(key(7), &entry(7), Some(&[1])).unwrap();
    assert_eq!(heights(&open(dir.path()).1), [(7, true)]);
}

#[test]
fn an_entry_that_is_removed_while_it_is_written_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let file = path(dir.path(), key(7));
    for _ in 0..100 {
        journal.write(key(7), &entry(7), None).unwrap();
        let length = fs::metadata(&file).unwrap().len();
        std::thread::scope(|scope| {
            scope.spawn(|| journal.write(key(7), &entry(7), Some(&[1; 99])).unwrap());
            while fs::metadata(&file).unwrap().len() == length {
                std::thread::yield_now();
            }
            journal.remove(key(7)).unwrap();
        });
        assert!(!file.exists());
        assert_eq!(journal.read_block(key(7)).unwrap(), None);
    }
}

#[test]
fn a_reserve_becomes_the_entry_gives_its_rest_back_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    wait_for_reserves(&journal);
    assert_eq!(names(dir.path()), ["reserve-0", "reserve-1"]);
    journal.write(key(7), &entry(7), Some(&[1; 999])).unwrap();
    wait_for_reserves(&journal);
    let block = path(dir.path(), key(7));
    let name = block.file_name().unwrap().to_str().unwrap();
    assert_eq!(names(dir.path()), [name, "reserve-1", "reserve-2"]);
    assert!(fs::metadata(&block).unwrap().len() < 2_000);
}

#[test]
fn more_blocks_than_reserves_are_all_journalled() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for height in 1..=8 {
        journal
            .write(key(height), &entry(height), Some(&[1]))
            .unwrap();
    }
    assert_eq!(open(dir.path()).1.len(), 8);
}

#[test]
fn a_block_of_the_largest_size_goes_into_a_reserve() {
    let block = vec![7; 4_000_000];
    let bytes = content::encode(&entry(7), Some(&block)).unwrap();
    assert!(bytes.len() as u64 <= RESERVE_BYTES);
}

#[test]
fn a_crash_between_the_sync_and_the_rename_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = content::encode(&entry(7), Some(&[1, 2])).unwrap();
    bytes.resize(9_999, 0);
    fs::write(dir.path().join("reserve-4"), bytes).unwrap();
    let bytes = content::encode(&entry(8), Some(&[3])).unwrap();
    fs::write(path(dir.path(), key(8)).with_extension("new"), bytes).unwrap();
    let (journal, left) = open(dir.path());
    assert_eq!(heights(&left), [(7, true), (8, true)]);
    assert_eq!(journal.read_block(key(7)).unwrap().unwrap(), [1, 2]);
    wait_for_reserves(&journal);
    assert!(names(dir.path()).contains(&"reserve-5".to_owned()));
}

#[test]
fn entries_of_earlier_versions_are_read_and_removed_in_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = serde_json::to_value(entry(7)).unwrap();
    old["template_provider"] = "10.0.0.1:34250".into();
    old["block"] = "0102".into();
    let stem = path(dir.path(), key(7));
    fs::write(stem.with_extension("json"), old.to_string()).unwrap();
    let (journal, left) = open(dir.path());
    assert_eq!(heights(&left), [(7, true)]);
    assert_eq!(journal.read_block(key(7)).unwrap().unwrap(), [1, 2]);
    journal.remove(key(7)).unwrap();
    assert!(open(dir.path()).1.is_empty());
}

#[test]
fn what_is_torn_or_damaged_is_set_aside_and_never_stops_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let whole = content::encode(&entry(7), Some(&[1; 99])).unwrap();
    let mut damaged = whole.clone();
    damaged[80] ^= 1;
    fs::write(path(dir.path(), key(7)), &damaged).unwrap();
    fs::write(path(dir.path(), key(8)).with_extension("new"), &whole[..90]).unwrap();
    fs::write(dir.path().join("0000001-aa.json"), "{").unwrap();
    // Its first page did not reach the disk, others did.
    let mut torn = vec![0; 4_096];
    torn.extend_from_slice(&whole);
    fs::write(dir.path().join("reserve-0"), &torn).unwrap();
    fs::create_dir(dir.path().join("0000002-bb.block")).unwrap();

    for _ in 0..2 {
        assert!(open(dir.path()).1.is_empty());
    }
    let aside = names(dir.path());
    let aside = aside.iter().filter(|name| name.ends_with(".unreadable"));
    assert_eq!(aside.count(), 5);
    let kept = fs::read(dir.path().join("reserve-0.0.unreadable")).unwrap();
    assert_eq!(kept, torn);
}

#[test]
fn empty_reserves_are_used_again_and_unfinished_ones_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    wait_for_reserves(&journal);
    drop(journal);
    fs::write(dir.path().join("reserve-7"), [0; 99]).unwrap();
    let (journal, left) = open(dir.path());
    assert!(left.is_empty());
    assert_eq!(journal.0.reserves.ready(), 2);
    assert_eq!(names(dir.path()), ["reserve-0", "reserve-1"]);
}
