//! The one writer of the ledger. Owns the connection, opens it when it is needed, and gives it up after an error that
//! may have come from it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::shipment::{self, RejectedCount, ShipError, Shipment};
use crate::{BlockRow, Epoch, LedgerError, Origin, block, schema};

/// Most origins whose ids are remembered; a pool with more workers looks them up again.
const ORIGINS_MAX: usize = 100_000;

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
            let (log, last_seq) = match log(transaction, pool, &shipment.epoch)? {
                Some((_, last_seq)) if shipment.last_seq <= last_seq => return Ok(()),
                Some((_, last_seq)) if shipment.first_seq > last_seq + 1 => {
                    let (expected, found) = (last_seq + 1, shipment.first_seq);
                    return Err(LedgerError::Gap { expected, found }.into());
                }
                Some(known) => known,
                None => (add_log(transaction, pool, &shipment.epoch)?, 0),
            };
            shipment::put(transaction, origins, (log, last_seq), shipment)
        })
    }

    pub(crate) fn last_seq(&mut self, epoch: &Epoch) -> Result<Option<u64>, LedgerError> {
        self.transaction("look a share log up", |transaction, pool, _| {
            Ok(log(transaction, pool, epoch)?.map(|(_, last_seq)| last_seq))
        })
    }

    pub(crate) fn skip_to(
        &mut self,
        epoch: &Epoch,
        next_seq: u64,
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        self.transaction("note a gap", |transaction, pool, _| {
            let (log, last_seq) = match log(transaction, pool, epoch)? {
                Some(known) => known,
                None => (add_log(transaction, pool, epoch)?, 0),
            };
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
        work: impl FnOnce(&Transaction<'_>, &str, &mut OriginIds) -> Result<T, ShipError>,
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
                ShipError::Ledger(error) => error,
                ShipError::Sqlite(source) => {
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

/// The id of a log and its last sequence number in the ledger.
fn log(
    transaction: &Transaction<'_>,
    pool: &str,
    epoch: &Epoch,
) -> rusqlite::Result<Option<(i64, u64)>> {
    transaction
        .prepare_cached("SELECT id, last_seq FROM logs WHERE pool = ? AND epoch = ?")?
        .query_row(params![pool, epoch], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn add_log(transaction: &Transaction<'_>, pool: &str, epoch: &Epoch) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO logs (pool, epoch, last_seq, watermark_ms) VALUES (?, ?, 0, NULL)",
        params![pool, epoch],
    )?;
    Ok(transaction.last_insert_rowid())
}

/// The ids of origins, which are made when they are first used.
#[derive(Debug, Default)]
pub(crate) struct OriginIds(HashMap<Origin, i64>);

impl OriginIds {
    pub(crate) fn id(
        &mut self,
        transaction: &Transaction<'_>,
        origin: &Origin,
        at_ms: i64,
    ) -> rusqlite::Result<i64> {
        if let Some(id) = self.0.get(origin) {
            return Ok(*id);
        }
        if self.0.len() >= ORIGINS_MAX {
            self.0.clear();
        }
        let id = find_or_add_origin(transaction, origin, at_ms)?;
        self.0.insert(origin.clone(), id);
        Ok(id)
    }
}

fn find_or_add_origin(
    transaction: &Transaction<'_>,
    origin: &Origin,
    at_ms: i64,
) -> rusqlite::Result<i64> {
    let find = "SELECT id FROM origins WHERE account = ? AND worker = ? AND node = ? AND lane = ?";
    let found = transaction
        .query_row(find, origin.names(), |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    let [account, worker, node, lane] = origin.names();
    transaction.execute(
        "INSERT INTO origins (account, worker, node, lane, shares, work, score)
        VALUES (?, ?, ?, ?, 0, zeroblob(16), zeroblob(16))",
        [account, worker, node, lane],
    )?;
    let id = transaction.last_insert_rowid();
    transaction.execute(
        "INSERT OR IGNORE INTO accounts VALUES (?, ?)",
        params![account, at_ms],
    )?;
    if !worker.is_empty() {
        transaction.execute(
            "INSERT OR IGNORE INTO workers VALUES (?, ?, ?)",
            params![account, worker, at_ms],
        )?;
    }
    Ok(id)
}
