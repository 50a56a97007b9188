//! A snapshot on SQLite: a read transaction on a connection of its own. Its calls block, and hold no writer up; the write-ahead log
//! can't be cut back while it lasts.

use std::path::{Path, PathBuf};

use hh_mining::BlockHash;
use rusqlite::{Connection, OptionalExtension, params};

use super::reader::origin;
use super::{CallError, cut, schema};
use crate::cut::{Limit, Position, SETTLE_MS};
use crate::snapshot::{CutTimes, EdgeRow, LogName, MinuteRange, MinuteRow};
use crate::sums::minute_start_ms;
use crate::{LedgerError, Origin, Sum};

/// Sees what was committed when it first asked.
#[derive(Debug)]
pub(crate) struct Snapshot {
    path: PathBuf,
    connection: Connection,
}

impl Snapshot {
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        let connection = schema::open_for_reading(path)?;
        let snapshot = Self {
            path: path.to_owned(),
            connection,
        };
        snapshot.call("begin to read", |connection| {
            Ok(connection.execute_batch("BEGIN")?)
        })?;
        Ok(snapshot)
    }

    pub(crate) fn cut(&self, hash: &BlockHash) -> Result<Option<CutTimes>, LedgerError> {
        self.call("look a block's cut up", |connection| {
            let query =
                "SELECT found_at_ms, at_ms FROM block_cuts JOIN blocks USING (hash) WHERE hash = ?";
            let times = connection.query_row(query, [hash.as_byte_array()], |row| {
                Ok(CutTimes {
                    found_at_ms: row.get(0)?,
                    at_ms: row.get(1)?,
                })
            });
            Ok(times.optional()?)
        })
    }

    pub(crate) fn cut_parts(&self, hash: &BlockHash) -> Result<Vec<(i64, Sum)>, LedgerError> {
        self.call("read a block's cut", |connection| {
            let query = "SELECT origin, shares, work, score FROM block_cut_origins WHERE hash = ?";
            let mut statement = connection.prepare(query)?;
            let parts = statement.query_map([hash.as_byte_array()], |row| {
                Ok((row.get(0)?, cut::sum(row, 1)?))
            })?;
            Ok(parts.collect::<rusqlite::Result<_>>()?)
        })
    }

    pub(crate) fn position(
        &self,
        hash: &BlockHash,
        times: CutTimes,
    ) -> Result<Position, LedgerError> {
        self.call("look a winning share up", |connection| {
            let logs = cut::logs(connection)?;
            let settled_ms = times.found_at_ms.saturating_add(SETTLE_MS);
            Ok(cut::position(
                connection,
                &logs,
                hash,
                (times.found_at_ms, settled_ms),
            )?)
        })
    }

    pub(crate) fn logs(&self) -> Result<Vec<LogName>, LedgerError> {
        self.call("list the share logs", |connection| {
            let mut statement = connection.prepare("SELECT id, pool, epoch FROM logs")?;
            let logs = statement.query_map([], |row| {
                Ok(LogName {
                    id: row.get(0)?,
                    pool: row.get(1)?,
                    epoch: row.get(2)?,
                })
            })?;
            Ok(logs.collect::<rusqlite::Result<_>>()?)
        })
    }

    pub(crate) fn origins(&self, account: Option<&str>) -> Result<Vec<(i64, Origin)>, LedgerError> {
        self.call("list origins", |connection| {
            let query = "SELECT id, account, worker, node, lane FROM origins WHERE ?1 IS NULL OR account = ?1";
            let mut statement = connection.prepare(query)?;
            let origins =
                statement.query_map([account], |row| Ok((row.get(0)?, origin(row, 1)?)))?;
            Ok(origins.collect::<rusqlite::Result<_>>()?)
        })
    }

    pub(crate) fn first_minute(&self) -> Result<Option<i64>, LedgerError> {
        self.call("look for the first minute", |connection| {
            let query = "SELECT min(minute) FROM minute_sums";
            Ok(connection.query_row(query, [], |row| row.get(0))?)
        })
    }

    pub(crate) fn minutes(
        &self,
        range: &MinuteRange<'_>,
        limit: usize,
    ) -> Result<Vec<MinuteRow>, LedgerError> {
        self.call("read minute sums", |connection| {
            let query = "SELECT minute, log, origin, shares, work, score, chain FROM minute_sums
                WHERE minute >= ?1 AND (minute, log, origin) < (?2, ?3, ?4)
                    AND (?5 IS NULL OR origin IN (SELECT id FROM origins WHERE account = ?5))
                ORDER BY minute DESC, log DESC, origin DESC LIMIT ?6";
            let mut statement = connection.prepare_cached(query)?;
            let (minute, log, origin) = range.before;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let parameters = params![range.from, minute, log, origin, range.account, limit];
            let rows = statement.query_map(parameters, |row| {
                Ok(MinuteRow {
                    minute: row.get(0)?,
                    log: row.get(1)?,
                    origin: row.get(2)?,
                    sum: cut::sum(row, 3)?,
                    chain: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    pub(crate) fn shares(&self, last: &Position) -> Result<Vec<EdgeRow>, LedgerError> {
        self.call("read the shares of a minute", |connection| {
            let query = "SELECT accepted_at_ms, seq, origin, score FROM shares WHERE log = ? AND seq >= ? AND seq < ?";
            let mut statement = connection.prepare_cached(query)?;
            let mut shares = Vec::new();
            for log in cut::logs(connection)? {
                let from = cut::first_at(connection, &log, minute_start_ms(last.minute()))?;
                let end = match last.limit_in(&log) {
                    Limit::Seq(seq) => seq,
                    Limit::Time(at_ms) => cut::first_at(connection, &log, at_ms)?,
                };
                let rows = statement.query_map(params![log.id, from, end], |row| {
                    Ok(EdgeRow {
                        at_ms: row.get(0)?,
                        log: log.id,
                        seq: row.get(1)?,
                        origin: row.get(2)?,
                        score: u128::from_be_bytes(row.get(3)?),
                    })
                })?;
                for row in rows {
                    shares.push(row?);
                }
            }
            Ok(shares)
        })
    }

    fn call<T>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> Result<T, CallError>,
    ) -> Result<T, LedgerError> {
        query(&self.connection).map_err(|error| match error {
            CallError::Ledger(error) => error,
            CallError::Sqlite(source) => LedgerError::Sqlite {
                action,
                path: self.path.clone(),
                source,
            },
        })
    }
}
