//! Blocks of ours and what has become of them.

use std::str::FromStr;

use hh_mining::BlockHash;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// How far a block has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockState {
    /// A miner of ours found it.
    Found,
    /// It is on its way to Bitcoin Core.
    Submitted,
    /// A node has taken it, or the tip is ours.
    Accepted,
    /// Every node that answered refused it.
    Rejected,
    /// It was on the best chain and is no longer.
    Orphaned,
}

impl BlockState {
    /// Whether the outcome of the submission is known.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Accepted | Self::Rejected | Self::Orphaned)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Submitted => "submitted",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Orphaned => "orphaned",
        }
    }
}

impl FromStr for BlockState {
    type Err = FromSqlError;

    fn from_str(name: &str) -> Result<Self, FromSqlError> {
        [
            Self::Found,
            Self::Submitted,
            Self::Accepted,
            Self::Rejected,
            Self::Orphaned,
        ]
        .into_iter()
        .find(|state| state.name() == name)
        .ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for BlockState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.name().to_sql()
    }
}

impl FromSql for BlockState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse()
    }
}

/// A block of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRow {
    /// Its hash, the key.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// How far it has come.
    pub state: BlockState,
    /// The node's words, where it was refused.
    pub reason: Option<String>,
    /// The finder's account.
    pub account: String,
    /// The finder's worker, or empty.
    pub worker: String,
    /// The node through which it came, or `core`.
    pub node: String,
    /// The lane on which it came.
    pub lane: String,
    /// When it was found, milliseconds since 1970.
    pub found_at_ms: i64,
    /// What its coinbase pays our script, in satoshi.
    pub value_sat: u64,
    /// The extranonce prefix in its coinbase, in hex.
    pub extranonce_prefix: String,
    /// What each way to Bitcoin Core said.
    pub paths: Vec<BlockPath>,
}

/// One of the ways by which a block was given to Bitcoin Core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPath {
    /// Its name; one row each.
    pub path: String,
    /// Its last answer.
    pub outcome: String,
    /// When that came, milliseconds since 1970.
    pub at_ms: i64,
}

/// Writes the block and its paths. A block whose outcome is known is not made open again by a pool that submits once
/// more what its journal held at a crash.
pub(crate) fn put(transaction: &Transaction<'_>, block: &BlockRow) -> rusqlite::Result<()> {
    let hash = block.hash.as_byte_array();
    let known: Option<BlockState> = transaction
        .query_row("SELECT state FROM blocks WHERE hash = ?", [hash], |row| {
            row.get(0)
        })
        .optional()?;
    if known.is_none_or(|known| block.state.is_final() || block.state >= known) {
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
pub(crate) fn last(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<BlockRow>> {
    let mut statement = connection.prepare(
        "SELECT hash, height, state, reason, account, worker, node, lane, found_at_ms, value_sat, extranonce_prefix
        FROM blocks ORDER BY found_at_ms DESC, height DESC LIMIT ?",
    )?;
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

fn from_row(row: &Row<'_>) -> rusqlite::Result<BlockRow> {
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
