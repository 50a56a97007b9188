//! What workers bring in, from SQLite.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::CallError;
use super::cut::sum;
use crate::worker::{WorkerSum, WorkerWindows, by_worker};

/// All workers, or those of an account, in the order of account and name.
pub(super) fn sums(
    connection: &Connection,
    account: Option<&str>,
    windows: WorkerWindows,
) -> Result<Vec<WorkerSum>, CallError> {
    let query =
        "SELECT id, shares, work, score, account, worker, node, lane, last_share_at_ms FROM origins
        WHERE ?1 IS NULL OR account = ?1";
    let mut statement = connection.prepare(query)?;
    let mut origins = BTreeMap::new();
    let mut rows = statement.query([account])?;
    while let Some(row) = rows.next()? {
        let mut origin = WorkerSum::new(row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?);
        origin.total = sum(row, 1)?;
        origin.last_share_at_ms = row.get(8)?;
        origins.insert(row.get::<_, i64>(0)?, origin);
    }
    let query = "SELECT origin, shares, work, score, minute FROM minute_sums WHERE minute >= ?1
        AND (?2 IS NULL OR origin IN (SELECT id FROM origins WHERE account = ?2))";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(params![windows.day, account])?;
    while let Some(row) = rows.next()? {
        let Some(origin) = origins.get_mut(&row.get::<_, i64>(0)?) else {
            continue;
        };
        let sum = sum(row, 1)?;
        origin.day = origin.day.plus(sum)?;
        if row.get::<_, i64>(4)? >= windows.hour {
            origin.hour = origin.hour.plus(sum)?;
        }
    }
    let query = "SELECT origin, sum(shares) FROM rejected WHERE minute >= ?1
        AND (?2 IS NULL OR origin IN (SELECT id FROM origins WHERE account = ?2)) GROUP BY origin";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(params![windows.day, account])?;
    while let Some(row) = rows.next()? {
        if let Some(origin) = origins.get_mut(&row.get::<_, i64>(0)?) {
            origin.rejected_day = row.get(1)?;
        }
    }
    Ok(by_worker(origins.into_values().collect())?)
}
