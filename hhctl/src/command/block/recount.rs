//! Counting a block's window again from what hh-treasury serves of the pool's ledger, in pages.

use crate::failure::Failure;
use crate::session::Connected;
use hh_ipc::api::treasury::{NamesQuery, TreasuryClient, WindowPageQuery};
use hh_mining::{BlockReport, EntriesHash, Leaf, Recount, WindowEntry};
use std::collections::BTreeMap;

/// Pages that are asked for: a window of 10^8 shares has some six thousand. More would come from a treasury without an end.
const PAGES_MAX: u32 = 100_000;

/// What was counted.
pub(super) struct Counted {
    pub(super) entries: u64,
    pub(super) accounts: u64,
}

/// Makes the report again from the window's entries, by the rules alone.
///
/// # Errors
/// It comes out another, or the treasury does not serve all that it is made from.
pub(super) async fn recount(
    daemon: &Connected<TreasuryClient>,
    report: &BlockReport,
) -> Result<Counted, Failure> {
    let hash = report.block.to_string();
    let failure = |why: String| Failure::report(&hash, why);
    let mut recount = Recount::new(report.window, report.newest.clone());
    let mut entries = 0;
    each_entry(daemon, &hash, None, |entry| {
        entries += 1;
        recount.add(entry).map_err(|error| error.to_string())
    })
    .await?;
    let totals = recount.finish();
    let totals = totals.map_err(|error| failure(error.to_string()))?;
    let names = names(daemon, &hash).await?;
    // Whoever has no name here has no leaf: then the trees differ.
    let salt = |account: &str| names.salts.get(account).copied().unwrap_or_default();
    let again = report.recompute(&totals, &names.finder, salt);
    again.map_err(|error| failure(error.to_string()))?;
    Ok(Counted {
        entries,
        accounts: totals.minutes.len() as u64,
    })
}

/// Checks that an account's own entries are those that its leaf is for, and gives how many there are.
///
/// # Errors
/// They are not.
pub(in crate::command) async fn check_own(
    daemon: &Connected<TreasuryClient>,
    hash: &str,
    account: &str,
    leaf: &Leaf,
) -> Result<u64, Failure> {
    let (mut own, mut entries) = (EntriesHash::new(), 0_u64);
    each_entry(daemon, hash, Some(account), |entry| {
        if entry.origin().account != account {
            return Err(format!(
                "it was served an entry of {}",
                entry.origin().account
            ));
        }
        entries += 1;
        own.add(&entry);
        Ok(())
    })
    .await?;
    if own.are_those_of(leaf) {
        return Ok(entries);
    }
    let why = format!(
        "the {entries} entries of {account} in the pool's ledger are not those that it was paid for"
    );
    Err(Failure::report(hash, why))
}

/// Hands the entries of a window to `take`, newest first: all, or those of an account.
async fn each_entry(
    daemon: &Connected<TreasuryClient>,
    hash: &str,
    account: Option<&str>,
    mut take: impl FnMut(WindowEntry<'static>) -> Result<(), String>,
) -> Result<(), Failure> {
    let failure = |why: String| Failure::report(hash, why);
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let query = WindowPageQuery {
            hash: hash.to_owned(),
            account: account.map(str::to_owned),
            cursor,
        };
        let answer = daemon.client.window_page(daemon.call(), query).await;
        let page = daemon.granted(answer)?;
        for line in page.lines {
            let entry = WindowEntry::parse(line.as_bytes());
            let entry = entry.map_err(|error| failure(error.to_string()))?;
            take(entry).map_err(failure)?;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
    Err(failure(format!(
        "its window has more than {PAGES_MAX} pages"
    )))
}

/// Whose pseudonyms are in a report.
struct Names {
    finder: String,
    salts: BTreeMap<String, [u8; 32]>,
}

async fn names(daemon: &Connected<TreasuryClient>, hash: &str) -> Result<Names, Failure> {
    let failure = |why: &str| Failure::report(hash, why.to_owned());
    let mut salts = BTreeMap::new();
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let query = NamesQuery {
            hash: hash.to_owned(),
            after,
        };
        let answer = daemon.client.report_names(daemon.call(), query).await;
        let page = daemon.granted(answer)?;
        for name in page.names {
            let salt = <[u8; 32] as bitcoin::hex::FromHex>::from_hex(&name.salt);
            let salt = salt.map_err(|_error| failure("a salt in it is not 32 bytes in hex"))?;
            salts.insert(name.account, salt);
        }
        after = page.next;
        if after.is_none() {
            let finder = page.finder;
            return Ok(Names { finder, salts });
        }
    }
    Err(failure("its accounts have no end"))
}
