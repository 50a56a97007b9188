//! The ledger: accepted shares and their sums, accounts and workers by first use, extranonce bindings, blocks, and which
//! pool hands out which part of the extranonce space. On SQLite for one pool, on PostgreSQL for several.
//!
//! Owns the schemas, the one thread that writes and the queries. It never decides what a share is worth or who is paid,
//! and nobody in front of a miner waits for it: shares come out of the share log, which keeps them as long as the ledger
//! is away. So a database that can't be had is an error of each call, tried again by the next.
//!
//! ```text
//!  Ledger ──calls──► Writer, a thread ──┬─ sqlite: pool.db             LedgerReader ──┬─ sqlite: a connection a call
//!                                       └─ postgres: one connection                   └─ postgres: a few connections
//! ```
//!
//! What both engines have in common is in files of this folder: the rows, and the arithmetic of the sums. Each engine is
//! a module with statements of its own; the tests run on both.
//!
//! [`books`] is another ledger: the treasury's, of money. Where a pool's has shares, that has entries which sum to zero.

mod block;
pub mod books;
mod calls;
mod claim;
mod cut;
mod kept_window;
mod location;
mod origin;
mod postgres;
mod postgres_config;
mod reader;
mod round;
mod shipment;
mod snapshot;
mod sqlite;
mod sums;
mod window;
mod window_read;
mod worker;
mod writer;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hh_mining::BlockHash;

pub use block::{BlockPath, BlockRow, BlockState, UnknownState};
pub use books::{Books, BooksError};
use calls::Calls;
pub use claim::{Claim, Holder, Refusal, RetireWhere, Retirement, Standing};
pub use kept_window::{KeptWindow, KeptWindowError};
pub use location::Location;
pub use origin::{Origin, OriginError};
pub use postgres::{
    Listener as PostgresListener, PostgresServer, ServerError, ServerOptions,
    Session as PostgresSession,
};
pub use postgres_config::PostgresConfig;
pub use reader::{AccountSum, FirstUse, LedgerReader, LogRow, MinuteSum};
pub use round::{Round, RoundAccount};
pub use shipment::{BindingRow, RejectedCount, ShareRow, Shipment};
pub use sums::Sum;
pub use window_read::{WindowCursor, WindowPage, WindowPlace, WindowRead};
pub use worker::{WorkerSum, WorkerWindows};
use writer::Writer;

/// The random id of a share log.
pub type Epoch = [u8; 16];

/// Most origins whose ids a writer remembers; a pool with more workers looks them up again.
const ORIGINS_MAX: usize = 100_000;

/// Most rows of a log that are deleted in one transaction: a second of work, between which shipments get through.
const PRUNED_ROWS_MAX: u32 = 100_000;

/// What can be wrong with a call to the ledger. Nothing of the call is in the ledger then.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite refused.
    #[error("could not {action} in the ledger {}", path.display())]
    Sqlite {
        /// What was tried, as a verb.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// PostgreSQL refused, or can't be reached.
    #[error("could not {action} in the ledger {server}")]
    Postgres {
        /// What was tried, as a verb.
        action: &'static str,
        /// The server and the database.
        server: String,
        /// PostgreSQL's answer.
        source: tokio_postgres::Error,
    },
    /// PostgreSQL did not answer in time.
    #[error("could not {action} in the ledger {server} within {} s", limit.as_secs())]
    TimedOut {
        /// What was tried, as a verb.
        action: &'static str,
        /// The server and the database.
        server: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The database can't hold every name.
    #[error(
        "the ledger {server} has the encoding {found}, not UTF8: create its database with ENCODING 'UTF8'"
    )]
    Encoding {
        /// The server and the database.
        server: String,
        /// Its encoding.
        found: String,
    },
    /// The file system refused.
    #[error("could not {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A newer version of this program has migrated the database.
    #[error(
        "the ledger {ledger} has schema version {found}, newer than {known}: run the newer program"
    )]
    NewerSchema {
        /// The database.
        ledger: String,
        /// Its version.
        found: u32,
        /// The newest one this program knows.
        known: u32,
    },
    /// A shipment does not follow on the last one: records between them would be lost.
    #[error(
        "record {found} was shipped to the ledger, but record {expected} of that share log is next"
    )]
    Gap {
        /// The record after the last one that the ledger has.
        expected: u64,
        /// The first record of the shipment.
        found: u64,
    },
    /// The log was retired: nothing of it is taken any more.
    #[error("this share log was retired in the ledger: its server id is free for another")]
    Retired,
    /// A number that no database integer holds, or a sum that no u128 holds.
    #[error("{what} is out of range for the ledger")]
    OutOfRange {
        /// Which one.
        what: &'static str,
    },
    /// Rows are gone, or are more than there were, from which alone it could be told where a window begins.
    #[error(
        "the ledger has {found} of {expected} shares of the minute {minute} (since 1970) as rows, but the window of the block \
        {block} begins among them: restore a backup of it that has them (keep_shares_days says for how long they are kept)"
    )]
    EdgeIncomplete {
        /// Whose window it is.
        block: BlockHash,
        /// The minute in which the window is full.
        minute: i64,
        /// How many shares its sum is of.
        expected: u64,
        /// How many there are as rows.
        found: u64,
    },
    /// The round of a block does not begin before it ends.
    #[error("the block {previous} does not lie before the block {block} in the order of shares")]
    RoundBackwards {
        /// The block before, as was said.
        previous: BlockHash,
        /// The block.
        block: BlockHash,
    },
    /// The writer has ended.
    #[error("the ledger is closed")]
    Closed,
}

/// Handle to the ledger of one pool; clones share the writer, which ends after the last one.
#[derive(Debug, Clone)]
pub struct Ledger {
    reader: LedgerReader,
    calls: Calls<Writer>,
}

impl Ledger {
    /// Starts the writer of the ledger at `location` for the pool of this name. The ledger is opened, made and migrated
    /// by the first call.
    ///
    /// # Errors
    /// [`LedgerError::File`] if no thread can be started.
    pub fn open(location: &Location, pool: &str) -> Result<Self, LedgerError> {
        let calls = Writer::start(location, pool)?;
        let reader = LedgerReader::new(location);
        Ok(Self { reader, calls })
    }

    /// Reads the same ledger, without waiting for the writer.
    #[must_use]
    pub fn reader(&self) -> &LedgerReader {
        &self.reader
    }

    /// Puts shares, bindings and a watermark into the ledger, and the shares into the sums, in one transaction. Records
    /// that the ledger has are passed over, so a shipment whose outcome is not known may be shipped again.
    ///
    /// # Errors
    /// [`LedgerError::Gap`] if it does not start at or before the next record; [`LedgerError::Retired`]; or the ledger is not
    /// writable.
    pub async fn ship(&self, shipment: Arc<Shipment>) -> Result<(), LedgerError> {
        self.write(async move |writer| writer.ship(&shipment).await)
            .await
    }

    /// Sequence number of the last record of that log in the ledger, if there is one.
    ///
    /// # Errors
    /// The ledger can't be opened.
    pub async fn last_seq(&self, epoch: Epoch) -> Result<Option<u64>, LedgerError> {
        self.write(async move |writer| writer.last_seq(&epoch).await)
            .await
    }

    /// Gives up the records of that log between the last one in the ledger and `next_seq`, because the log no longer
    /// has them: what happens when an old copy of a ledger was restored. Written down in the table `gaps`.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn skip_to(
        &self,
        epoch: Epoch,
        next_seq: u64,
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        self.write(async move |writer| writer.skip_to(&epoch, next_seq, now_ms).await)
            .await
    }

    /// Adds to the counts of rejected shares. Not idempotent.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn count_rejected(&self, counts: Vec<RejectedCount>) -> Result<(), LedgerError> {
        self.write(async move |writer| writer.count_rejected(&counts).await)
            .await
    }

    /// Writes a block, or what has become of it. Its state never goes back to one before the outcome was known, and
    /// paths that are not in the row stay.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn put_block(&self, block: BlockRow) -> Result<(), LedgerError> {
        self.write(async move |writer| writer.put_block(&block).await)
            .await
    }

    /// Sums up what lies before blocks of ours, of those that the watermark of every log with a server id has passed; says how
    /// many. Until then a round that ends with such a block has no sum. To be called every few seconds, by any pool.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn cut_blocks(&self) -> Result<u64, LedgerError> {
        let mut cut = 0;
        while self
            .write(async |writer| writer.cut_next_block().await)
            .await?
        {
            cut += 1;
        }
        Ok(cut)
    }

    /// Claims a part of the extranonce space for the log `epoch` of this pool. Idempotent for the log that holds it.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn claim_server_id(
        &self,
        server_id: u16,
        epoch: Epoch,
        now_ms: i64,
    ) -> Result<Claim, LedgerError> {
        self.write(async move |writer| writer.claim_server_id(server_id, &epoch, now_ms).await)
            .await
    }

    /// Frees a server id that the log `epoch` holds, and closes that log for good: no round waits for it any more, and nothing
    /// of it is taken. Any pool on the ledger may be asked.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn retire_server_id(
        &self,
        server_id: u16,
        epoch: Epoch,
        retire: RetireWhere,
    ) -> Result<Retirement, LedgerError> {
        self.write(async move |writer| writer.retire_server_id(server_id, &epoch, retire).await)
            .await
    }

    /// Notes that the log `epoch` ends with the record `last_seq` and that its pool has stopped, if the ledger has that record;
    /// says whether it has. What the log ships later opens it again.
    ///
    /// # Errors
    /// The ledger is not writable, or [`LedgerError::Retired`].
    pub async fn close_log(&self, epoch: Epoch, last_seq: u64) -> Result<bool, LedgerError> {
        self.write(async move |writer| writer.close_log(&epoch, last_seq).await)
            .await
    }

    /// Deletes the rows of shares that were accepted before `before_ms`, of every log; the sums stay. Says how many.
    /// Other calls get their turn in between.
    ///
    /// # Errors
    /// The ledger is not writable; what is deleted by then stays deleted.
    pub async fn prune_before(&self, before_ms: i64) -> Result<u64, LedgerError> {
        let mut pruned = 0;
        loop {
            let call = async move |writer: &mut Writer| writer.prune(before_ms).await;
            match self.write(call).await? {
                0 => return Ok(pruned),
                more => pruned += more,
            }
        }
    }

    /// Moves SQLite's write-ahead log into the database, so that a stopped pool leaves one file to copy. To be called
    /// before a stop, after the last write.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn checkpoint(&self) -> Result<(), LedgerError> {
        self.write(async |writer| writer.checkpoint()).await
    }

    /// The last blocks, newest first, at most `limit`.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn blocks(&self, limit: usize) -> Result<Vec<BlockRow>, LedgerError> {
        self.reader.blocks(limit).await
    }

    /// What the accounts have brought in since the ledger was made, most work first, at most `limit`.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn account_sums(&self, limit: usize) -> Result<Vec<AccountSum>, LedgerError> {
        self.reader.account_sums(limit).await
    }

    async fn write<T: Send + 'static>(
        &self,
        call: impl AsyncFnOnce(&mut Writer) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.calls.call(call).await
    }
}

/// Refuses a database that a newer version of this program has migrated.
fn refuse_newer(
    ledger: impl fmt::Display,
    found: u32,
    migrations: usize,
) -> Result<(), LedgerError> {
    let known = u32::try_from(migrations).expect("there are few migrations");
    if found > known {
        return Err(LedgerError::NewerSchema {
            ledger: ledger.to_string(),
            found,
            known,
        });
    }
    Ok(())
}
