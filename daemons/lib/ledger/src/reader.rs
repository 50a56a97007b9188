//! Queries of those who only read: the pool's control socket, hhctl, the treasury, tests. They see what is committed, on
//! connections of their own, and hold no writer up.

use std::path::Path;
use std::sync::Arc;

use hh_mining::{BlockHash, WindowSize};

use crate::snapshot::Snapshot;
use crate::sums::{minute, minute_start_ms};
use crate::window_read::{self, WindowCursor, WindowPage, WindowPlace, WindowRead};
use crate::{
    BlockRow, Epoch, Holder, LedgerError, Location, Origin, Round, RoundAccount, ShareRow,
    Standing, WorkerSum, WorkerWindows, postgres, sqlite,
};

/// What an account has brought in since the ledger was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSum {
    /// The account.
    pub account: String,
    /// Its accepted shares.
    pub shares: u64,
    /// Their work: expected hashes.
    pub work: u128,
    /// Their score.
    pub score: u128,
    /// When the last one was accepted, milliseconds since 1970.
    pub last_share_at_ms: Option<i64>,
}

/// The sum of one origin's shares in one minute, of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinuteSum {
    /// Minutes since 1970.
    pub minute: i64,
    /// The log.
    pub epoch: Epoch,
    /// Who is credited.
    pub origin: Origin,
    /// Accepted shares.
    pub shares: u64,
    /// Their work: expected hashes.
    pub work: u128,
    /// Their score.
    pub score: u128,
    /// SHA-256 chain over the shares in the order of their log; `schema.rs` has the definition.
    pub chain: [u8; 32],
}

/// What the ledger has of a share log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// The pool that writes it.
    pub pool: String,
    /// Its id.
    pub epoch: Epoch,
    /// The last record in the ledger.
    pub last_seq: u64,
    /// No later record of this log has an earlier time; milliseconds since 1970.
    pub watermark_ms: Option<i64>,
}

/// An account or a worker, and when it was first used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstUse {
    /// The account.
    pub account: String,
    /// The worker; none in a list of accounts.
    pub worker: Option<String>,
    /// Time of its first binding or share, milliseconds since 1970.
    pub first_used_at_ms: i64,
}

/// Reads a ledger. Each call opens it or takes a connection that is open, so a ledger that is away is an error of the call.
#[derive(Debug, Clone)]
pub struct LedgerReader(Engine);

#[derive(Debug, Clone)]
enum Engine {
    Sqlite(Arc<Path>),
    Postgres(postgres::Reader),
}

impl LedgerReader {
    /// A reader of the ledger at `location`, which is asked by the first call.
    #[must_use]
    pub fn new(location: &Location) -> Self {
        Self(match location {
            Location::Sqlite(path) => Engine::Sqlite(path.as_path().into()),
            Location::Postgres(server) => Engine::Postgres(postgres::Reader::new(server.clone())),
        })
    }

    /// What the ledger has of each share log, oldest first.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn logs(&self) -> Result<Vec<LogRow>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => sqlite::read(path, |reader| reader.logs()).await,
            Engine::Postgres(reader) => reader.logs().await,
        }
    }

    /// How many shares there are as rows.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn share_count(&self) -> Result<u64, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => sqlite::read(path, |reader| reader.share_count()).await,
            Engine::Postgres(reader) => reader.share_count().await,
        }
    }

    /// Shares of one log from `from_seq` on, at most `limit`, in the order of the log.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn shares(
        &self,
        epoch: Epoch,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<ShareRow>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => {
                sqlite::read(path, move |reader| reader.shares(&epoch, from_seq, limit)).await
            }
            Engine::Postgres(reader) => reader.shares(&epoch, from_seq, limit).await,
        }
    }

    /// The shares with this header hash: at most one, unless something is wrong. Looks at every row.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn shares_by_hash(&self, hash: BlockHash) -> Result<Vec<ShareRow>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => {
                sqlite::read(path, move |reader| reader.shares_by_hash(&hash)).await
            }
            Engine::Postgres(reader) => reader.shares_by_hash(&hash).await,
        }
    }

    /// The sums of the minutes from `first` to `last`, both included, in the order of minute and log.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn minute_sums(&self, first: i64, last: i64) -> Result<Vec<MinuteSum>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => {
                sqlite::read(path, move |reader| reader.minute_sums(first, last)).await
            }
            Engine::Postgres(reader) => reader.minute_sums(first, last).await,
        }
    }

    /// What the accounts have brought in since the ledger was made, most work first, at most `limit`.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn account_sums(&self, limit: usize) -> Result<Vec<AccountSum>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => {
                sqlite::read(path, move |reader| reader.account_sums(limit)).await
            }
            Engine::Postgres(reader) => reader.account_sums(limit).await,
        }
    }

    /// What the workers have brought in, all or those of an account, in the order of account and name. Reads a day's sums:
    /// seconds, with tens of thousands of workers.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn worker_sums(
        &self,
        account: Option<String>,
        windows: WorkerWindows,
    ) -> Result<Vec<WorkerSum>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => {
                sqlite::read(path, move |reader| {
                    reader.worker_sums(account.as_deref(), windows)
                })
                .await
            }
            Engine::Postgres(reader) => reader.worker_sums(account.as_deref(), windows).await,
        }
    }

    /// The accounts in the order of their first use.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn accounts(&self) -> Result<Vec<FirstUse>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => sqlite::read(path, |reader| reader.accounts()).await,
            Engine::Postgres(reader) => reader.accounts().await,
        }
    }

    /// The workers that have a name, in the order of their first use.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn workers(&self) -> Result<Vec<FirstUse>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => sqlite::read(path, |reader| reader.workers()).await,
            Engine::Postgres(reader) => reader.workers().await,
        }
    }

    /// Whose an extranonce prefix was in an epoch.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn binding(
        &self,
        epoch: Epoch,
        prefix: [u8; 8],
    ) -> Result<Option<Origin>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => {
                sqlite::read(path, move |reader| reader.binding(&epoch, &prefix)).await
            }
            Engine::Postgres(reader) => reader.binding(&epoch, &prefix).await,
        }
    }

    /// The last blocks, newest first, at most `limit`.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn blocks(&self, limit: usize) -> Result<Vec<BlockRow>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => sqlite::read(path, move |reader| reader.blocks(limit)).await,
            Engine::Postgres(reader) => reader.blocks(limit).await,
        }
    }

    /// The round that goes on, and before it the last ones that have ended, newest first, at most `limit` of these.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn rounds(&self, limit: usize) -> Result<Vec<Round>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => sqlite::read(path, move |reader| reader.rounds(limit)).await,
            Engine::Postgres(reader) => reader.rounds(limit).await,
        }
    }

    /// What the accounts have brought in after the block `previous` and through `block`, as [`Round`] names them, most work
    /// first, at most `limit`. None while one of the blocks waits for shares of a pool.
    ///
    /// Shares that come after the round was summed up are in the sums of a later one, but in those of no account: what a ledger
    /// lets happen that was restored from before a pool's claim.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn round_accounts(
        &self,
        previous: Option<BlockHash>,
        block: Option<BlockHash>,
        limit: usize,
    ) -> Result<Option<Vec<RoundAccount>>, LedgerError> {
        let ends = (previous, block);
        match &self.0 {
            Engine::Sqlite(path) => {
                sqlite::read(path, move |reader| reader.round_accounts(ends, limit)).await
            }
            Engine::Postgres(reader) => reader.round_accounts(ends, limit).await,
        }
    }

    /// The time from which on all shares lie that a window of the last `score` takes in, for every window that ends at
    /// `end_ms` or later; up to two minutes earlier than need be. None where a window may take in all shares there are.
    ///
    /// Reads the sums of as many minutes as the window has: seconds, on a large pool.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn window_start(&self, end_ms: i64, score: u128) -> Result<Option<i64>, LedgerError> {
        let end = minute(end_ms);
        let begins = match &self.0 {
            Engine::Sqlite(path) => {
                sqlite::read(path, move |reader| reader.window_start(end, score)).await
            }
            Engine::Postgres(reader) => reader.window_start(end, score).await,
        };
        Ok(begins?.map(minute_start_ms))
    }

    /// What everybody has of the shares that a block is split over. None while the block, or the one that its round begins with,
    /// waits for shares of a pool.
    ///
    /// Holds some thousand rows of sums and the shares of one minute at a time, and takes some seconds for ten million sums.
    ///
    /// # Errors
    /// The ledger can't be read; [`LedgerError::EdgeIncomplete`] if the rows are gone among which the window begins; or
    /// [`LedgerError::RoundBackwards`].
    pub async fn window(
        &self,
        block: BlockHash,
        size: WindowSize,
    ) -> Result<Option<WindowRead>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => {
                let path = Arc::clone(path);
                sqlite::aside(move || {
                    let mut snapshot = Snapshot::Sqlite(sqlite::Snapshot::open(&path)?);
                    futures::executor::block_on(window_read::read(&mut snapshot, block, size))
                })
                .await
            }
            Engine::Postgres(reader) => {
                let mut snapshot = postgres_snapshot(reader).await?;
                let window = window_read::read(&mut snapshot, block, size).await?;
                snapshot.end().await?;
                Ok(window)
            }
        }
    }

    /// What a window is made of, at most `limit` entries from `from` on (none: from its newest end), all or those of an account: over
    /// an account's entries, all pages one after the other, is the hash in its leaf. None as for [`Self::window`].
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn window_page(
        &self,
        place: &WindowPlace,
        account: Option<String>,
        from: Option<WindowCursor>,
        limit: usize,
    ) -> Result<Option<WindowPage>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => {
                let (path, place) = (Arc::clone(path), place.clone());
                sqlite::aside(move || {
                    let mut snapshot = Snapshot::Sqlite(sqlite::Snapshot::open(&path)?);
                    let account = account.as_deref();
                    let page = window_read::page(&mut snapshot, &place, account, from, limit);
                    futures::executor::block_on(page)
                })
                .await
            }
            Engine::Postgres(reader) => {
                let mut snapshot = postgres_snapshot(reader).await?;
                let account = account.as_deref();
                let page = window_read::page(&mut snapshot, place, account, from, limit).await?;
                snapshot.end().await?;
                Ok(page)
            }
        }
    }

    /// When the oldest block was found whose outcome is not known; milliseconds since 1970.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn oldest_open_block(&self) -> Result<Option<i64>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => sqlite::read(path, |reader| reader.oldest_open_block()).await,
            Engine::Postgres(reader) => reader.oldest_open_block().await,
        }
    }

    /// Which log holds which server id.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn server_ids(&self) -> Result<Vec<(u16, Holder)>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => sqlite::read(path, |reader| reader.server_ids()).await,
            Engine::Postgres(reader) => reader.server_ids().await,
        }
    }

    /// What the ledger knows of the log that holds a server id, if one does.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub async fn standing(&self, server_id: u16) -> Result<Option<Standing>, LedgerError> {
        match &self.0 {
            Engine::Sqlite(path) => {
                sqlite::read(path, move |reader| reader.standing(server_id)).await
            }
            Engine::Postgres(reader) => reader.standing(server_id).await,
        }
    }
}

async fn postgres_snapshot(reader: &postgres::Reader) -> Result<Snapshot, LedgerError> {
    let snapshot = postgres::Snapshot::open(reader).await?;
    Ok(Snapshot::Postgres(Box::new(snapshot)))
}

impl AccountSum {
    /// Adds what another origin of the same account has brought in.
    pub(crate) fn add(&mut self, more: &Self) -> Result<(), LedgerError> {
        let overflow = || LedgerError::OutOfRange {
            what: "the sum of an account",
        };
        self.shares = self.shares.checked_add(more.shares).ok_or_else(overflow)?;
        self.work = self.work.checked_add(more.work).ok_or_else(overflow)?;
        self.score = self.score.checked_add(more.score).ok_or_else(overflow)?;
        self.last_share_at_ms = self.last_share_at_ms.max(more.last_share_at_ms);
        Ok(())
    }
}
