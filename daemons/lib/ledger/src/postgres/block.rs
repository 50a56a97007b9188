//! Blocks in PostgreSQL.

use hh_mining::BlockHash;
use tokio_postgres::Row;

use super::CallError;
use super::session::Session;
use super::value::{Bytes, Natural, bigint};
use crate::{BlockPath, BlockRow, BlockState, LedgerError};

/// Writes the block and its paths.
pub(super) async fn put(session: &mut Session, block: &BlockRow) -> Result<(), CallError> {
    let hash = block.hash.as_byte_array().as_slice();
    let value_sat = bigint(block.value_sat, "a block's value")?;
    let known = "SELECT state FROM blocks WHERE hash = $1 FOR UPDATE";
    let known = session.query(known, &[&hash]).await?;
    let known = known.first().map(|row| state(row, 0)).transpose()?;
    if block.replaces(known) {
        let upsert = "INSERT INTO blocks (hash, height, state, reason, account, worker, node, lane, found_at_ms, value_sat,
                extranonce_prefix)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            ON CONFLICT (hash) DO UPDATE SET state = excluded.state, reason = excluded.reason";
        session
            .execute(
                upsert,
                &[
                    &hash,
                    &i64::from(block.height),
                    &block.state.name(),
                    &block.reason,
                    &block.account,
                    &block.worker,
                    &block.node,
                    &block.lane,
                    &block.found_at_ms,
                    &value_sat,
                    &block.extranonce_prefix,
                ],
            )
            .await?;
    }
    for path in &block.paths {
        let upsert = "INSERT INTO block_paths (hash, path, outcome, at_ms) VALUES ($1, $2, $3, $4)
            ON CONFLICT (hash, path) DO UPDATE SET outcome = excluded.outcome, at_ms = excluded.at_ms";
        session
            .execute(upsert, &[&hash, &path.path, &path.outcome, &path.at_ms])
            .await?;
    }
    Ok(())
}

/// The last blocks, newest first, with their paths: a row for each path, or one for a block without.
pub(super) const LAST: &str =
    "SELECT hash, height, state, reason, account, worker, node, lane, found_at_ms, value_sat,
        extranonce_prefix, path, outcome, at_ms
    FROM (SELECT * FROM blocks ORDER BY found_at_ms DESC, height DESC LIMIT $1) AS last
    LEFT JOIN block_paths USING (hash)
    ORDER BY found_at_ms DESC, height DESC, hash, at_ms, path";

/// Puts the rows of [`LAST`] together.
pub(super) fn from_rows(rows: &[Row]) -> Result<Vec<BlockRow>, CallError> {
    let mut blocks: Vec<BlockRow> = Vec::new();
    for row in rows {
        let block = from_row(row)?;
        if blocks.last().is_none_or(|last| last.hash != block.hash) {
            blocks.push(block);
        }
        let Some(path) = row.try_get(11)? else {
            continue;
        };
        let path = BlockPath {
            path,
            outcome: row.try_get(12)?,
            at_ms: row.try_get(13)?,
        };
        blocks
            .last_mut()
            .expect("one was pushed if there was none")
            .paths
            .push(path);
    }
    Ok(blocks)
}

/// The columns of a block, at the beginning of a row.
pub(super) fn from_row(row: &Row) -> Result<BlockRow, CallError> {
    let (Bytes(hash), Natural(height)) = (row.try_get(0)?, row.try_get(1)?);
    let Natural(value_sat) = row.try_get(9)?;
    Ok(BlockRow {
        hash: BlockHash::from_byte_array(hash),
        height,
        state: state(row, 2)?,
        reason: row.try_get(3)?,
        account: row.try_get(4)?,
        worker: row.try_get(5)?,
        node: row.try_get(6)?,
        lane: row.try_get(7)?,
        found_at_ms: row.try_get(8)?,
        value_sat,
        extranonce_prefix: row.try_get(10)?,
        paths: Vec::new(),
    })
}

fn state(row: &Row, column: usize) -> Result<BlockState, CallError> {
    let state = row.try_get::<_, &str>(column)?.parse();
    Ok(state.or(Err(LedgerError::OutOfRange {
        what: "a block's state",
    }))?)
}
