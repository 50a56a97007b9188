//! The books of hh-treasury, entry by entry.

use crate::daemons::{HASH, seconds_ago};
use hh_ipc::api::treasury::{BookChange, LedgerEntry, LedgerPage, LedgerQuery};

fn change(book: &str, accounts: u64, name: Option<&str>, amount_msat: i64) -> BookChange {
    BookChange {
        book: book.to_owned(),
        accounts,
        name: name.map(str::to_owned),
        amount_msat,
    }
}

fn entry(entry: u64, kind: &str, changes: Vec<BookChange>) -> LedgerEntry {
    LedgerEntry {
        entry,
        at: seconds_ago(3_600 - i64::try_from(entry).unwrap()),
        kind: kind.to_owned(),
        block: None,
        payout: None,
        reverses: None,
        note: None,
        changes,
    }
}

fn entries() -> Vec<LedgerEntry> {
    vec![
        LedgerEntry {
            note: Some("for channels".to_owned()),
            ..entry(
                4,
                "capital",
                vec![
                    change("capital", 1, None, -50_000_000),
                    change("suspense", 1, None, 50_000_000),
                ],
            )
        },
        LedgerEntry {
            payout: Some(411),
            ..entry(
                3,
                "payout_settled",
                vec![
                    change("fee", 1, Some("routing"), 1_001),
                    change("payout", 1, Some("411"), 4_200_456),
                    change("wallet", 1, None, -4_201_457),
                ],
            )
        },
        LedgerEntry {
            reverses: Some(1),
            block: Some(HASH.to_owned()),
            ..entry(
                2,
                "reversal",
                vec![
                    change("coinbase", 1, Some(HASH), -5_000_001_234_000),
                    change("immature", 7, None, 5_000_001_234_000),
                ],
            )
        },
        LedgerEntry {
            block: Some(HASH.to_owned()),
            ..entry(
                1,
                "split",
                vec![
                    change("coinbase", 1, Some(HASH), 5_000_001_234_000),
                    change("immature", 7, None, -5_000_001_234_000),
                ],
            )
        },
    ]
}

pub(super) fn page(query: &LedgerQuery) -> LedgerPage {
    let before = query.before.unwrap_or(u64::MAX);
    let mut found = entries();
    found.retain(|entry| entry.entry < before);
    let is_whole = found.len() <= query.limit as usize;
    found.truncate(query.limit as usize);
    LedgerPage {
        next_before: found.last().map(|entry| entry.entry).filter(|_| !is_whole),
        entries: found,
    }
}
