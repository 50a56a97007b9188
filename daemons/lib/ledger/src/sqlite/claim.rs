//! Server ids in SQLite: who holds which, and how that ends.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::{Claim, Epoch, Holder, RetireWhere, Retirement, Standing};

/// Claims a server id for a log, unless another has it or the log was retired.
pub(super) fn make(
    transaction: &Transaction<'_>,
    server_id: u16,
    (pool, epoch): (&str, &Epoch),
    now_ms: i64,
) -> rusqlite::Result<Claim> {
    let query = "SELECT retired_at_ms FROM logs WHERE pool = ? AND epoch = ?";
    let retired = transaction.query_row(query, params![pool, epoch], |row| row.get(0));
    if let Some(at_ms) = retired.optional()?.flatten() {
        return Ok(Claim::Retired { at_ms });
    }
    transaction.execute(
        "INSERT OR IGNORE INTO server_ids VALUES (?, ?, ?, ?)",
        params![server_id, pool, epoch, now_ms],
    )?;
    let query = "SELECT pool, epoch, since_ms FROM server_ids WHERE server_id = ?";
    let holder = transaction.query_row(query, [server_id], holder)?;
    Ok(Claim::of(holder, pool, epoch))
}

/// Frees a server id and closes its log, if that is the log `epoch` and nothing stands against it.
pub(super) fn retire(
    transaction: &Transaction<'_>,
    server_id: u16,
    epoch: &Epoch,
    retire: RetireWhere,
) -> rusqlite::Result<Retirement> {
    let Some(standing) = standing(transaction, server_id)?.filter(|s| s.holder.epoch == *epoch)
    else {
        return Ok(Retirement::NotHeld);
    };
    if let Some(refusal) = standing.refusal(retire) {
        return Ok(Retirement::Refused(standing, refusal));
    }
    transaction.execute("DELETE FROM server_ids WHERE server_id = ?", [server_id])?;
    transaction.execute(
        "INSERT INTO logs (pool, epoch, last_seq, retired_at_ms)
        VALUES (?, ?, 0, CAST(unixepoch('subsec') * 1000 AS INTEGER))
        ON CONFLICT DO UPDATE SET retired_at_ms = excluded.retired_at_ms",
        params![standing.holder.pool, epoch],
    )?;
    Ok(Retirement::Retired(standing))
}

/// What is known of the log that holds a server id.
pub(super) fn standing(
    connection: &Connection,
    server_id: u16,
) -> rusqlite::Result<Option<Standing>> {
    let query = "SELECT pool, epoch, since_ms, ifnull(last_seq, 0), watermark_ms,
            CAST(unixepoch('subsec') * 1000 AS INTEGER) - max(since_ms, ifnull(heard_at_ms, since_ms)), ifnull(is_closed, 0)
        FROM server_ids LEFT JOIN logs USING (pool, epoch) WHERE server_id = ?";
    let standing = connection.query_row(query, [server_id], |row| {
        Ok(Standing {
            holder: holder(row)?,
            last_seq: row.get(3)?,
            watermark_ms: row.get(4)?,
            silent_ms: row.get(5)?,
            is_closed: row.get(6)?,
        })
    });
    standing.optional()
}

fn holder(row: &Row<'_>) -> rusqlite::Result<Holder> {
    Ok(Holder {
        pool: row.get(0)?,
        epoch: row.get(1)?,
        since_ms: row.get(2)?,
    })
}
