//! What workers bring in, from PostgreSQL.

use tokio_postgres::Row;

use super::CallError;
use super::shipment::sum;
use super::value::Natural;
use crate::worker::WorkerSum;

/// The sums of each origin of the account $1, or of all; those of a day from minute $2 on, of an hour from $3 on.
pub(super) const ORIGINS: &str = "WITH meant AS (
        SELECT id, account, worker, node, lane FROM origins WHERE $1::text IS NULL OR account = $1
    ), total AS (
        SELECT origin, sum(shares)::bigint AS shares, sum(work) AS work, sum(score) AS score,
            max(last_share_at_ms) AS last_share_at_ms
        FROM totals WHERE origin IN (SELECT id FROM meant) GROUP BY origin
    ), day AS (
        SELECT origin, sum(shares)::bigint AS shares, sum(work) AS work, sum(score) AS score,
            sum(shares) FILTER (WHERE minute >= $3)::bigint AS hour_shares,
            sum(work) FILTER (WHERE minute >= $3) AS hour_work,
            sum(score) FILTER (WHERE minute >= $3) AS hour_score
        FROM minute_sums WHERE minute >= $2 AND origin IN (SELECT id FROM meant) GROUP BY origin
    ), refused AS (
        SELECT origin, sum(shares)::bigint AS shares FROM rejected
        WHERE minute >= $2 AND origin IN (SELECT id FROM meant) GROUP BY origin
    )
    SELECT account, worker, node, lane,
        coalesce(total.shares, 0), coalesce(total.work, 0), coalesce(total.score, 0), last_share_at_ms,
        coalesce(day.shares, 0), coalesce(day.work, 0), coalesce(day.score, 0),
        coalesce(hour_shares, 0), coalesce(hour_work, 0), coalesce(hour_score, 0), coalesce(refused.shares, 0)
    FROM meant
        LEFT JOIN total ON total.origin = id LEFT JOIN day ON day.origin = id LEFT JOIN refused ON refused.origin = id";

/// A row of them.
pub(super) fn origin(row: &Row) -> Result<WorkerSum, CallError> {
    let (account, worker) = (row.try_get(0)?, row.try_get(1)?);
    let mut origin = WorkerSum::new(account, worker, row.try_get(2)?, row.try_get(3)?);
    origin.total = sum(row, 4)?;
    origin.last_share_at_ms = row.try_get(7)?;
    origin.day = sum(row, 8)?;
    origin.hour = sum(row, 11)?;
    let Natural(rejected_day) = row.try_get(14)?;
    origin.rejected_day = rejected_day;
    Ok(origin)
}
