//! Server ids in PostgreSQL: who holds which, and how that ends.
//!
//! A claim and a retirement lock the row of the server id first and the log's after it, so that they never wait for each other
//! in a circle.

use tokio_postgres::Row;

use super::CallError;
use super::session::Session;
use super::value::{Bytes, Natural};
use crate::{Claim, Epoch, Holder, RetireWhere, Retirement, Standing};

/// Claims a server id for a log, unless another has it or the log was retired.
pub(super) async fn make(
    session: &mut Session,
    server_id: u16,
    (pool, epoch): (&str, &Epoch),
    now_ms: i64,
) -> Result<Claim, CallError> {
    let server_id = i64::from(server_id);
    // A conflict changes nothing, but returns and locks the row.
    let claim = "INSERT INTO server_ids (server_id, pool, epoch, since_ms) VALUES ($1, $2, $3, $4)
        ON CONFLICT (server_id) DO UPDATE SET pool = server_ids.pool RETURNING pool, epoch, since_ms";
    let rows = session
        .query(claim, &[&server_id, &pool, &&epoch[..], &now_ms])
        .await?;
    let holder = holder(rows.first().expect("an upsert returns its row"))?;
    let claim = Claim::of(holder, pool, epoch);
    // After the lock: a retirement that went before is seen.
    let query = "SELECT retired_at_ms FROM logs WHERE pool = $1 AND epoch = $2 AND retired_at_ms IS NOT NULL";
    let rows = session.query(query, &[&pool, &&epoch[..]]).await?;
    let Some(retired) = rows.first() else {
        return Ok(claim);
    };
    if claim == Claim::Ours {
        let delete = "DELETE FROM server_ids WHERE server_id = $1";
        session.execute(delete, &[&server_id]).await?;
    }
    let at_ms = retired.try_get(0)?;
    Ok(Claim::Retired { at_ms })
}

/// Frees a server id and closes its log, if that is the log `epoch` and nothing stands against it.
pub(super) async fn retire(
    session: &mut Session,
    server_id: u16,
    epoch: &Epoch,
    retire: RetireWhere,
) -> Result<Retirement, CallError> {
    let id = i64::from(server_id);
    let lock = "SELECT FROM server_ids WHERE server_id = $1 FOR UPDATE";
    session.query(lock, &[&id]).await?;
    // Adds or locks the log: nothing of it is on its way into the ledger from here on.
    let lock = "INSERT INTO logs (pool, epoch, last_seq) SELECT pool, epoch, 0 FROM server_ids WHERE server_id = $1 AND epoch = $2
        ON CONFLICT (pool, epoch) DO UPDATE SET last_seq = logs.last_seq";
    session.execute(lock, &[&id, &&epoch[..]]).await?;
    let rows = session.query(STANDING, &[&id]).await?;
    let standing = rows.first().map(standing).transpose()?;
    let Some(standing) = standing.filter(|standing| standing.holder.epoch == *epoch) else {
        return Ok(Retirement::NotHeld);
    };
    if let Some(refusal) = standing.refusal(retire) {
        return Ok(Retirement::Refused(standing, refusal));
    }
    let delete = "DELETE FROM server_ids WHERE server_id = $1";
    session.execute(delete, &[&id]).await?;
    let mark =
        "UPDATE logs SET retired_at_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        WHERE pool = $1 AND epoch = $2";
    let pool = &standing.holder.pool;
    session.execute(mark, &[pool, &&epoch[..]]).await?;
    Ok(Retirement::Retired(standing))
}

/// What is known of the log that holds the server id $1.
pub(super) const STANDING: &str = "SELECT pool, epoch, since_ms, coalesce(last_seq, 0), watermark_ms,
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint - greatest(since_ms, heard_at_ms), coalesce(is_closed, false)
    FROM server_ids LEFT JOIN logs USING (pool, epoch) WHERE server_id = $1";

/// A row of [`STANDING`].
pub(super) fn standing(row: &Row) -> Result<Standing, CallError> {
    let Natural(last_seq) = row.try_get(3)?;
    Ok(Standing {
        holder: holder(row)?,
        last_seq,
        watermark_ms: row.try_get(4)?,
        silent_ms: row.try_get(5)?,
        is_closed: row.try_get(6)?,
    })
}

fn holder(row: &Row) -> Result<Holder, CallError> {
    let Bytes(epoch) = row.try_get(1)?;
    Ok(Holder {
        pool: row.try_get(0)?,
        epoch,
        since_ms: row.try_get(2)?,
    })
}
