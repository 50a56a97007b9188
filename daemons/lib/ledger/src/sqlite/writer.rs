//! The one writer of an SQLite ledger. Owns the connection, opens it when it is needed, and gives it up after an error that
//! may have come from it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::origins::OriginIds;
use super::{CallError, block, claim, cut, schema, shipment};
use crate::{
    BlockRow, Claim, Epoch, LedgerError, PRUNED_ROWS_MAX, RejectedCount, RetireWhere, Retirement,
    Shipment,
};

#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    pool: String,
    connection: Option<Connection>,
    origins: OriginIds,
}

impl Writer {
    pub(crate) fn new(path: &Path, pool: &str) -> Self {
        let (path, pool) = (path.to_owned(), pool.to_owned());
        Self {
            path,
            pool,
            connection: None,
            origins: OriginIds::default(),
        }
    }

    pub(crate) fn ship(&mut self, shipment: &Shipment) -> Result<(), LedgerError> {
        self.transaction("ship records", |transaction, pool, origins| {
            let (log, last_seq) = open_log(transaction, pool, &shipment.epoch)?;
            if shipment.last_seq <= last_seq {
                return Ok(());
            }
            if shipment.first_seq > last_seq + 1 {
                let (expected, found) = (last_seq + 1, shipment.first_seq);
                return Err(LedgerError::Gap { expected, found }.into());
            }
            shipment::put(transaction, origins, (log, last_seq), shipment)
        })
    }

    pub(crate) fn last_seq(&mut self, epoch: &Epoch) -> Result<Option<u64>, LedgerError> {
        self.transaction("look a share log up", |transaction, pool, _| {
            let query = "SELECT last_seq FROM logs WHERE pool = ? AND epoch = ?";
            let last_seq = transaction.query_row(query, params![pool, epoch], |row| row.get(0));
            Ok(last_seq.optional()?)
        })
    }

    pub(crate) fn skip_to(
        &mut self,
        epoch: &Epoch,
        next_seq: u64,
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        self.transaction("note a gap", |transaction, pool, _| {
            let (log, last_seq) = open_log(transaction, pool, epoch)?;
            if next_seq > last_seq + 1 {
                transaction.execute(
                    "INSERT INTO gaps VALUES (?, ?, ?, ?)",
                    params![log, last_seq + 1, next_seq - 1, now_ms],
                )?;
                let update = "UPDATE logs SET last_seq = ? WHERE id = ?";
                transaction.execute(update, params![next_seq - 1, log])?;
            }
            Ok(())
        })
    }

    pub(crate) fn count_rejected(&mut self, counts: &[RejectedCount]) -> Result<(), LedgerError> {
        self.transaction("count rejected shares", |transaction, _, origins| {
            Ok(shipment::count_rejected(transaction, origins, counts)?)
        })
    }

    pub(crate) fn put_block(&mut self, block: &BlockRow) -> Result<(), LedgerError> {
        self.transaction("write a block", |transaction, _, _| {
            Ok(block::put(transaction, block)?)
        })
    }

    pub(crate) fn cut_next_block(&mut self) -> Result<bool, LedgerError> {
        self.transaction("sum a round up", |transaction, _, _| {
            cut::make_next(transaction)
        })
    }

    pub(crate) fn claim_server_id(
        &mut self,
        server_id: u16,
        epoch: &Epoch,
        now_ms: i64,
    ) -> Result<Claim, LedgerError> {
        self.transaction("claim a server id", |transaction, pool, _| {
            Ok(claim::make(transaction, server_id, (pool, epoch), now_ms)?)
        })
    }

    pub(crate) fn retire_server_id(
        &mut self,
        server_id: u16,
        epoch: &Epoch,
        retire: RetireWhere,
    ) -> Result<Retirement, LedgerError> {
        self.transaction("retire a server id", |transaction, _, _| {
            Ok(claim::retire(transaction, server_id, epoch, retire)?)
        })
    }

    pub(crate) fn close_log(&mut self, epoch: &Epoch, last_seq: u64) -> Result<bool, LedgerError> {
        self.transaction("close a share log", |transaction, pool, _| {
            let (log, shipped_seq) = open_log(transaction, pool, epoch)?;
            let close = "UPDATE logs SET is_closed = 1 WHERE id = ?";
            Ok(shipped_seq == last_seq && transaction.execute(close, [log])? > 0)
        })
    }

    /// Deletes the oldest shares accepted before `before_ms`, at most [`PRUNED_ROWS_MAX`] of each log; says how many. Those
    /// stay from which a cut is still to be made.
    pub(crate) fn prune(&mut self, before_ms: i64) -> Result<u64, LedgerError> {
        self.transaction("prune shares", |transaction, _, _| {
            let before_ms = before_ms.min(cut::needed_from_ms(transaction)?);
            let mut statement = transaction.prepare("SELECT id FROM logs")?;
            let logs = statement
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<i64>>>()?;
            let mut pruned = 0;
            for log in logs {
                // A log's rows are in the order of time: what is old enough is at its beginning.
                let last: Option<i64> = transaction.query_row(
                    "SELECT max(seq) FROM (SELECT seq, accepted_at_ms FROM shares WHERE log = ? ORDER BY seq LIMIT ?)
                    WHERE accepted_at_ms < ?",
                    params![log, PRUNED_ROWS_MAX, before_ms],
                    |row| row.get(0),
                )?;
                let delete = "DELETE FROM shares WHERE log = ? AND seq <= ?";
                pruned += transaction.execute(delete, params![log, last])?;
            }
            Ok(u64::try_from(pruned).unwrap_or(u64::MAX))
        })
    }

    pub(crate) fn checkpoint(&mut self) -> Result<(), LedgerError> {
        self.connect()?;
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        // The answer tells whether a reader kept it from finishing; then the log stays and the next one finishes it.
        let checkpoint = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        checkpoint.map_err(|source| self.sqlite_error("checkpoint", source))
    }

    /// The last handle is gone.
    pub(crate) fn close(mut self) {
        if self.connection.is_none() {
            return;
        }
        if let Err(error) = self.checkpoint() {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "ledger closed without a checkpoint");
        }
    }

    fn connect(&mut self) -> Result<(), LedgerError> {
        if self.connection.is_none() {
            self.origins = OriginIds::default();
            self.connection = Some(schema::open_for_writing(&self.path)?);
        }
        Ok(())
    }

    /// Runs `work` in a transaction. After an error of SQLite the file is opened anew by the next call: it may have
    /// been moved, or be on a disk that is gone.
    fn transaction<T>(
        &mut self,
        action: &'static str,
        work: impl FnOnce(&Transaction<'_>, &str, &mut OriginIds) -> Result<T, CallError>,
    ) -> Result<T, LedgerError> {
        self.connect()?;
        let Some(connection) = &mut self.connection else {
            return Err(LedgerError::Closed);
        };
        let result = (|| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction, &self.pool, &mut self.origins)?;
            transaction.commit()?;
            Ok(done)
        })();
        result.map_err(|error| {
            // The transaction may have added some of them.
            self.origins = OriginIds::default();
            match error {
                CallError::Ledger(error) => error,
                CallError::Sqlite(source) => {
                    self.connection = None;
                    self.sqlite_error(action, source)
                }
            }
        })
    }

    fn sqlite_error(&self, action: &'static str, source: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

/// The id of a log, which is added if it is new, and its last sequence number in the ledger.
fn open_log(
    transaction: &Transaction<'_>,
    pool: &str,
    epoch: &Epoch,
) -> Result<(i64, u64), CallError> {
    let query =
        "SELECT id, last_seq, retired_at_ms IS NOT NULL FROM logs WHERE pool = ? AND epoch = ?";
    let known = transaction
        .prepare_cached(query)?
        .query_row(params![pool, epoch], |row| {
            Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
        })
        .optional()?;
    match known {
        Some((_, true)) => Err(LedgerError::Retired.into()),
        Some((log, false)) => Ok(log),
        None => Ok((add_log(transaction, pool, epoch)?, 0)),
    }
}

pub(super) fn add_log(
    transaction: &Transaction<'_>,
    pool: &str,
    epoch: &Epoch,
) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO logs (pool, epoch, last_seq, watermark_ms) VALUES (?, ?, 0, NULL)",
        params![pool, epoch],
    )?;
    Ok(transaction.last_insert_rowid())
}
