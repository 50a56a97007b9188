//! `KeptWindow`: the window of a block that was split, for as long as there is a report of it: sums from the pool's ledger, which stay
//! for ever, and the shares of its edge from the treasury's books, whichever rows the pool has pruned since.

use hh_mining::window_bounds::minute_of;
use hh_mining::{Oldest, WindowEntry};

use crate::books::{Books, BooksError};
use crate::{LedgerError, LedgerReader, WindowCursor, WindowPage, WindowPlace};

/// Why a window can't be read.
#[derive(Debug, thiserror::Error)]
pub enum KeptWindowError {
    /// Its sums.
    #[error("the pool's ledger can't be read")]
    Ledger(#[from] LedgerError),
    /// The shares of its edge.
    #[error("the books can't be read")]
    Books(#[from] BooksError),
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct KeptWindow<'a> {
    /// The pool's ledger.
    pub ledger: &'a LedgerReader,
    /// The treasury's books.
    pub books: &'a Books,
}

impl KeptWindow<'_> {
    /// At most `limit` entries from `from` on, as [`LedgerReader::window_page`] gives them. Where the books have no edge of the block it
    /// is the ledger's, while its rows are there.
    ///
    /// # Errors
    /// One of the two can't be read.
    pub async fn page(
        &self,
        place: &WindowPlace,
        account: Option<String>,
        from: Option<WindowCursor>,
        limit: u32,
    ) -> Result<Option<WindowPage>, KeptWindowError> {
        let Oldest::Share { at_ms, .. } = place.oldest else {
            return Ok(self.of_ledger(place, account, from, limit).await?);
        };
        let edge = WindowCursor {
            minute: minute_of(at_ms),
            skip: 0,
        };
        let start = from.filter(|from| from.minute <= edge.minute);
        // Above the edge it is only asked whether there is one.
        let (skip, wanted) = start.map_or((0, 1), |start| (start.skip, limit));
        let kept = self
            .books
            .edge_page(place.block, account.clone(), skip, wanted);
        let Some(kept) = kept.await? else {
            return Ok(self.of_ledger(place, account, from, limit).await?);
        };
        if start.is_some() {
            let next = kept.next.map(|skip| WindowCursor { skip, ..edge });
            let entries = kept.shares.into_iter().map(WindowEntry::Share).collect();
            return Ok(Some(WindowPage { entries, next }));
        }
        let above = WindowPlace {
            oldest: Oldest::Minute {
                minute: edge.minute.saturating_add(1),
            },
            ..place.clone()
        };
        let page = self.of_ledger(&above, account, from, limit).await?;
        Ok(page.map(|mut page| {
            page.next = page.next.or(Some(edge));
            page
        }))
    }

    async fn of_ledger(
        &self,
        place: &WindowPlace,
        account: Option<String>,
        from: Option<WindowCursor>,
        limit: u32,
    ) -> Result<Option<WindowPage>, LedgerError> {
        let page = self
            .ledger
            .window_page(place, account, from, limit as usize);
        page.await
    }
}
