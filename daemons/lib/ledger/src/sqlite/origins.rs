//! The ids of origins in SQLite.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};

use crate::{ORIGINS_MAX, Origin};

/// The ids of origins, which are made when they are first used.
#[derive(Debug, Default)]
pub(super) struct OriginIds(HashMap<Origin, i64>);

impl OriginIds {
    pub(super) fn id(
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
