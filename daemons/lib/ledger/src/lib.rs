//! The ledger of one pool on SQLite (`pool.db`): accepted shares and their sums, accounts and workers by first use,
//! extranonce bindings, blocks.
//!
//! Owns the schema, the one thread that writes it and the queries on it. It never decides what a share is worth or who
//! is paid, and nobody in front of a miner waits for it: shares come out of the share log, which keeps them as long as
//! the ledger is away. So a database that can't be opened is an error of each call, tried again by the next, and no
//! reason for a pool not to start.
//!
//! Readers open the file by themselves with [`LedgerReader`], as any other process does.

mod block;
mod origin;
mod reader;
mod schema;
mod shipment;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

pub use block::{BlockPath, BlockRow, BlockState};
pub use origin::{Origin, OriginError};
pub use reader::{AccountSum, FirstUse, LedgerReader, LogRow, MinuteSum};
pub use shipment::{BindingRow, RejectedCount, ShareRow, Shipment};
use writer::Writer;

/// The random id of a share log.
pub type Epoch = [u8; 16];

/// Calls that may wait for the writer; each holds at most one shipment.
const QUEUED_CALLS_MAX: usize = 16;

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
    #[error("the ledger {} has schema version {found}, newer than {known}: run the newer program", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
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
    /// A number that no database integer holds, or a sum that no u128 holds.
    #[error("{what} is out of range for the ledger")]
    OutOfRange {
        /// Which one.
        what: &'static str,
    },
    /// The writer has ended.
    #[error("the ledger is closed")]
    Closed,
}

type Call = Box<dyn FnOnce(&mut Writer) + Send>;

/// Handle to the ledger of one pool; clones share the writer, which ends after the last one.
#[derive(Debug, Clone)]
pub struct Ledger {
    path: Arc<Path>,
    calls: mpsc::Sender<Call>,
}

impl Ledger {
    /// Starts the writer of the database at `path` for the pool of this name. The file is opened, made and migrated by
    /// the first call.
    ///
    /// # Errors
    /// [`LedgerError::File`] if no thread can be started.
    pub fn open(path: &Path, pool: &str) -> Result<Self, LedgerError> {
        let (calls, mut queue) = mpsc::channel::<Call>(QUEUED_CALLS_MAX);
        let mut writer = Writer::new(path, pool);
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || {
                while let Some(call) = queue.blocking_recv() {
                    call(&mut writer);
                }
                writer.close();
            })
            .map_err(|source| LedgerError::File {
                action: "start a thread for",
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.into(),
            calls,
        })
    }

    /// The database's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts shares, bindings and a watermark into the ledger, and the shares into the sums, in one transaction. Records
    /// that the ledger has are passed over, so a shipment whose outcome is not known may be shipped again.
    ///
    /// # Errors
    /// [`LedgerError::Gap`] if it does not start at or before the next record; or the ledger is not writable.
    pub async fn ship(&self, shipment: Arc<Shipment>) -> Result<(), LedgerError> {
        self.write(move |writer| writer.ship(&shipment)).await
    }

    /// Sequence number of the last record of that log in the ledger, if there is one.
    ///
    /// # Errors
    /// The ledger can't be opened.
    pub async fn last_seq(&self, epoch: Epoch) -> Result<Option<u64>, LedgerError> {
        self.write(move |writer| writer.last_seq(&epoch)).await
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
        self.write(move |writer| writer.skip_to(&epoch, next_seq, now_ms))
            .await
    }

    /// Adds to the counts of rejected shares. Not idempotent.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn count_rejected(&self, counts: Vec<RejectedCount>) -> Result<(), LedgerError> {
        self.write(move |writer| writer.count_rejected(&counts))
            .await
    }

    /// Writes a block, or what has become of it. Its state never goes back to one before the outcome was known, and
    /// paths that are not in the row stay.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn put_block(&self, block: BlockRow) -> Result<(), LedgerError> {
        self.write(move |writer| writer.put_block(&block)).await
    }

    /// Moves the write-ahead log into the database, so that a stopped pool leaves one file to copy. To be called before
    /// a stop, after the last write.
    ///
    /// # Errors
    /// The ledger is not writable.
    pub async fn checkpoint(&self) -> Result<(), LedgerError> {
        self.write(Writer::checkpoint).await
    }

    /// The last blocks, newest first.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn blocks(&self, limit: usize) -> Result<Vec<BlockRow>, LedgerError> {
        self.read(move |reader| reader.blocks(limit)).await
    }

    /// What the accounts have brought in since the ledger was made, most work first.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn account_sums(&self, limit: usize) -> Result<Vec<AccountSum>, LedgerError> {
        self.read(move |reader| reader.account_sums(limit)).await
    }

    /// Runs a query on a connection of its own, so that it neither waits for the writer nor holds it up.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&LedgerReader) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let path = Arc::clone(&self.path);
        let query = move || LedgerReader::open(&path).and_then(|reader| query(&reader));
        // A query that panics or a runtime that shuts down: there is no answer any more.
        tokio::task::spawn_blocking(query)
            .await
            .unwrap_or(Err(LedgerError::Closed))
    }

    async fn write<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Writer) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (done, result) = oneshot::channel();
        let call: Call = Box::new(move |writer| {
            if done.send(call(writer)).is_err() {
                tracing::debug!("nobody waits for a call to the ledger any more");
            }
        });
        self.calls.send(call).await.or(Err(LedgerError::Closed))?;
        result.await.unwrap_or(Err(LedgerError::Closed))
    }
}
