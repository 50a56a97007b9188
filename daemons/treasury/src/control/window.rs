//! The answers to `window_page` and `edge_page`: what a report was made from.

use super::block::{no_report, parse_hash};
use super::{Control, refusal};
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{EdgePage, EdgePageQuery, WindowPage, WindowPageQuery};
use hh_ledger::{KeptWindow, KeptWindowError, WindowCursor, WindowPlace};
use hh_mining::sum_tree::pseudonym;
use hh_mining::{BlockHash, BlockReport, EdgeRow, WindowEntry};
use std::collections::HashMap;

/// Lines that are read at once, and bytes of them that are answered: half of a frame.
const LINES_MAX: u32 = 1_000;
const PAGE_BYTES_MAX: usize = 512 << 10;

impl Control {
    pub(super) async fn window_page(&self, query: WindowPageQuery) -> Result<WindowPage, ApiError> {
        let report = self.parsed_report(parse_hash(&query.hash)?).await?;
        let hash = report.block;
        let place = WindowPlace {
            block: hash,
            size: report.window,
            oldest: report.oldest,
        };
        let from = query.cursor.as_deref().map(parse_cursor).transpose()?;
        let window = KeptWindow {
            ledger: &self.stores.ledger,
            books: &self.stores.books,
        };
        let mut limit = LINES_MAX;
        loop {
            let page = window.page(&place, query.account.clone(), from, limit);
            let page = page.await.map_err(unread)?;
            let page = page.ok_or_else(|| no_report(hash))?;
            if let Some(lines) = lines(page.entries.iter().map(WindowEntry::to_json), limit) {
                let next = page.next;
                let next = next.map(|next| format!("{}:{}", next.minute, next.skip));
                return Ok(WindowPage { lines, next });
            }
            limit /= 2;
        }
    }

    pub(super) async fn edge_page(&self, query: EdgePageQuery) -> Result<EdgePage, ApiError> {
        let hash = self.parsed_report(parse_hash(&query.hash)?).await?.block;
        let from = query.cursor.as_deref().map_or(Ok(0), parse_place)?;
        let mut limit = LINES_MAX;
        loop {
            let page = self.stores.books.edge_page(hash, None, from, limit).await;
            let Some(page) = page.map_err(refusal::books)? else {
                return Ok(EdgePage {
                    is_kept: false,
                    ..EdgePage::default()
                });
            };
            let mut names = HashMap::new();
            let rows = page.shares.iter().map(|share| {
                let account = &*share.origin.account;
                let name = names
                    .entry(account)
                    .or_insert_with(|| pseudonym(&self.salts.salt_of(account), hash, account));
                EdgeRow::of(share, *name).to_json()
            });
            if let Some(lines) = lines(rows, limit) {
                let next = page.next.map(|place| place.to_string());
                return Ok(EdgePage {
                    lines,
                    next,
                    is_kept: true,
                });
            }
            limit /= 2;
        }
    }

    async fn parsed_report(&self, hash: BlockHash) -> Result<BlockReport, ApiError> {
        let report = self.stores.books.report(hash).await;
        let report = report.map_err(refusal::books)?;
        let report = report.ok_or_else(|| no_report(hash))?;
        let report = BlockReport::parse(&report.json);
        report.map_err(|error| refusal::failed(error.to_string()))
    }
}

/// As they are answered, if they fit into a frame; a single one does.
fn lines(rows: impl Iterator<Item = Vec<u8>>, limit: u32) -> Option<Vec<String>> {
    let lines: Vec<String> = rows
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect();
    let bytes: usize = lines.iter().map(String::len).sum();
    (bytes <= PAGE_BYTES_MAX || limit == 1).then_some(lines)
}

fn parse_cursor(text: &str) -> Result<WindowCursor, ApiError> {
    let parts = text.split_once(':').and_then(|(minute, skip)| {
        let (minute, skip) = (minute.parse().ok()?, skip.parse().ok()?);
        Some(WindowCursor { minute, skip })
    });
    parts.ok_or_else(|| no_cursor(text))
}

fn parse_place(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_error| no_cursor(text))
}

fn no_cursor(text: &str) -> ApiError {
    refusal::usage(format!("{text:?} is no cursor of a page before"))
}

fn unread(error: KeptWindowError) -> ApiError {
    match error {
        KeptWindowError::Ledger(error) => refusal::ledger(&error),
        KeptWindowError::Books(error) => refusal::books(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_given() {
        let cursor = parse_cursor("-3:7").unwrap();
        assert_eq!((cursor.minute, cursor.skip), (-3, 7));
        assert!(parse_cursor("3").is_err());
        assert_eq!(parse_place("3").unwrap(), 3);
        assert!(parse_place("-3").is_err());
    }
}
