//! Blocks in SQLite.

use hh_mining::BlockHash;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::{BlockPath, BlockRow, BlockState};

impl ToSql for BlockState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.name().to_sql()
    }
}

impl FromSql for BlockState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let state = value.as_str()?.parse();
        state.map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// Writes the block and its paths.
pub(super) fn put(transaction: &Transaction<'_>, block: &BlockRow) -> rusqlite::Result<()> {
    let hash = block.hash.as_byte_array();
    let known: Option<BlockState> = transaction
        .query_row("SELECT state FROM blocks WHERE hash = ?", [hash], |row| {
            row.get(0)
        })
        .optional()?;
    if block.replaces(known) {
        transaction.execute(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (hash) DO UPDATE SET state = excluded.state, reason = excluded.reason",
            params![
                hash,
                block.height,
                block.state,
                block.reason,
                block.account,
                block.worker,
                block.node,
                block.lane,
                block.found_at_ms,
                block.value_sat,
                block.extranonce_prefix,
            ],
        )?;
    }
    for path in &block.paths {
        transaction.execute(
            "INSERT OR REPLACE INTO block_paths VALUES (?, ?, ?, ?)",
            params![hash, path.path, path.outcome, path.at_ms],
        )?;
    }
    Ok(())
}

/// The last `limit` blocks, newest first.
pub(super) fn last(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<BlockRow>> {
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM blocks ORDER BY found_at_ms DESC, height DESC LIMIT ?"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut blocks = statement
        .query_map([limit], from_row)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut statement = connection.prepare(
        "SELECT path, outcome, at_ms FROM block_paths WHERE hash = ? ORDER BY at_ms, path",
    )?;
    for block in &mut blocks {
        let path = |row: &Row<'_>| {
            Ok(BlockPath {
                path: row.get(0)?,
                outcome: row.get(1)?,
                at_ms: row.get(2)?,
            })
        };
        let paths = statement.query_map([block.hash.as_byte_array()], path)?;
        block.paths = paths.collect::<rusqlite::Result<_>>()?;
    }
    Ok(blocks)
}

/// The columns of a block without its paths.
pub(super) const COLUMNS: &str = "hash, height, state, reason, account, worker, node, lane, found_at_ms, value_sat, \
    extranonce_prefix";

/// How many they are.
pub(super) const COLUMN_COUNT: usize = 11;

/// A block from a row that begins with [`COLUMNS`].
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<BlockRow> {
    Ok(BlockRow {
        hash: BlockHash::from_byte_array(row.get(0)?),
        height: row.get(1)?,
        state: row.get(2)?,
        reason: row.get(3)?,
        account: row.get(4)?,
        worker: row.get(5)?,
        node: row.get(6)?,
        lane: row.get(7)?,
        found_at_ms: row.get(8)?,
        value_sat: row.get(9)?,
        extranonce_prefix: row.get(10)?,
        paths: Vec::new(),
    })
}
