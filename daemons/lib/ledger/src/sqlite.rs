//! The ledger of one pool in an SQLite database (`pool.db`): the embedded default. Owns the file, its schema and the
//! statements on it; calls block.

mod block;
mod claim;
mod cut;
mod origins;
mod reader;
mod schema;
mod shipment;
mod snapshot;
mod window;
mod worker;
mod writer;

use std::path::Path;
use std::sync::Arc;

pub(crate) use reader::Reader;
pub(crate) use schema::{connect_for_reading, connect_for_writing};
pub(crate) use snapshot::Snapshot;
pub(crate) use writer::Writer;

use crate::LedgerError;

/// What stops a call; the writer adds where.
enum CallError {
    Sqlite(rusqlite::Error),
    Ledger(LedgerError),
}

impl From<rusqlite::Error> for CallError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<LedgerError> for CallError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// Runs a query on a connection of its own to the database at `path`.
pub(crate) async fn read<T: Send + 'static>(
    path: &Arc<Path>,
    query: impl FnOnce(&Reader) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    let path = Arc::clone(path);
    aside(move || Reader::open(&path).and_then(|reader| query(&reader))).await
}

/// Runs what blocks where that holds nobody up.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    // Work that panics or a runtime that shuts down: there is no answer any more.
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(LedgerError::Closed))
}
