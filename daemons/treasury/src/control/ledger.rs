//! The answer to `ledger`.

use super::account::entry_kind;
use super::{Control, page_rows, refusal};
use crate::clock::timestamp;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{BookChange, LedgerEntry, LedgerPage, LedgerQuery};
use hh_ledger::books::{EntrySummary, Page};

impl Control {
    pub(super) async fn ledger(&self, query: LedgerQuery) -> Result<LedgerPage, ApiError> {
        let limit = page_rows(query.limit);
        let page = Page {
            before: query.before,
            limit,
        };
        let found = self.stores.books.entry_summaries(page).await;
        let found = found.map_err(refusal::books)?;
        let next_before = found.last().map(|summary| summary.entry.id);
        let is_whole = found.len() < limit as usize;
        Ok(LedgerPage {
            next_before: next_before.filter(|_| !is_whole),
            entries: found.into_iter().map(wire).collect(),
        })
    }
}

fn wire(summary: EntrySummary) -> LedgerEntry {
    let entry = summary.entry;
    let change = |change: hh_ledger::books::BookChange| BookChange {
        book: change.book,
        accounts: change.accounts,
        name: change.name,
        amount_msat: change.amount_msat,
    };
    LedgerEntry {
        entry: entry.id,
        at: timestamp(entry.at_ms),
        kind: entry_kind(entry.kind).to_owned(),
        block: entry.block.map(|hash| hash.to_string()),
        payout: entry.payout.map(|payout| payout.0),
        reverses: entry.reverses,
        note: Some(entry.note).filter(|note| !note.is_empty()),
        changes: summary.changes.into_iter().map(change).collect(),
    }
}
