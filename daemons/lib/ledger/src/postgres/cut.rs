//! Cuts in PostgreSQL, and what rounds are made of.

use std::collections::BTreeMap;

use hh_mining::BlockHash;
use tokio_postgres::{Error, Row};

use super::session::Session;
use super::shipment::{columns, seq, sum};
use super::value::{Bytes, Natural, Numeric, bigint};
use super::{CallError, block};
use crate::cut::{Cut, Limit, LogSpan, Position, SETTLE_MS, Search};
use crate::sums::{Sum, minute, minute_start_ms};
use crate::{BlockRow, RoundAccount};

pub(super) type Log = LogSpan<i32>;

/// Makes the cut of the oldest block that has none, if every log has passed it; says whether one was made. What is read of
/// shares up to the block doesn't change any more, whichever pool ships meanwhile; several pools come to the same cut.
pub(super) async fn make_next(session: &mut Session) -> Result<bool, CallError> {
    let oldest = "SELECT hash, found_at_ms FROM blocks
        WHERE NOT EXISTS (SELECT FROM block_cuts WHERE block_cuts.hash = blocks.hash) ORDER BY found_at_ms LIMIT 1";
    let rows = session.query(oldest, &[]).await?;
    let Some(row) = rows.first() else {
        return Ok(false);
    };
    let (Bytes(hash), found_at_ms) = (row.try_get(0)?, row.try_get(1)?);
    let hash = BlockHash::from_byte_array(hash);
    let settled_ms = i64::saturating_add(found_at_ms, SETTLE_MS);
    let behind = "SELECT EXISTS (SELECT FROM server_ids LEFT JOIN logs USING (pool, epoch)
        WHERE since_ms <= $1 AND coalesce(watermark_ms, since_ms) <= $1)";
    if session.query(behind, &[&settled_ms]).await?[0].try_get(0)? {
        return Ok(false);
    }
    let logs = logs(session).await?;
    let position = position(session, &logs, &hash, (found_at_ms, settled_ms)).await?;
    let minute = minute(position.at_ms);
    let mut parts = BTreeMap::new();
    for log in &logs {
        let from = first_at(session, log, minute_start_ms(minute)).await?;
        let end = match position.limit_in(log) {
            Limit::Seq(seq) => seq,
            Limit::Time(at_ms) => first_at(session, log, at_ms).await?,
        };
        add_rows(session, log, (from, end), &mut parts).await?;
    }
    let before = before_minute(session, minute).await?;
    let sum = parts.values().try_fold(before, |sum, part| sum.plus(*part));
    put(session, &hash, (position.at_ms, sum?), &parts).await?;
    Ok(true)
}

/// The time from which on a cut may still need the rows: the minute of the oldest block that has none, and of what a log that
/// holds a server id has not shipped.
pub(super) async fn needed_from_ms(session: &mut Session) -> Result<i64, Error> {
    let query = "SELECT min(at_ms) FROM (
            SELECT min(found_at_ms) AS at_ms FROM blocks
            WHERE NOT EXISTS (SELECT FROM block_cuts WHERE block_cuts.hash = blocks.hash)
            UNION ALL SELECT min(coalesce(watermark_ms, since_ms)) FROM server_ids LEFT JOIN logs USING (pool, epoch)
        ) AS needed";
    let at_ms: Option<i64> = session.query(query, &[]).await?[0].try_get(0)?;
    Ok(at_ms.map_or(i64::MAX, |at_ms| minute_start_ms(minute(at_ms))))
}

pub(super) async fn logs(session: &mut Session) -> Result<Vec<Log>, Error> {
    let query = "SELECT id, pool, epoch, first_seq, last_seq FROM (
            SELECT id, pool, epoch, (SELECT min(seq) FROM shares WHERE log = id) AS first_seq,
                (SELECT max(seq) FROM shares WHERE log = id) AS last_seq FROM logs
        ) AS spans WHERE last_seq IS NOT NULL";
    let rows = session.query(query, &[]).await?;
    let log = |row: &Row| {
        let (id, pool, Bytes(epoch)) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (Natural(first_seq), Natural(last_seq)) = (row.try_get(3)?, row.try_get(4)?);
        Ok(Log {
            id,
            pool,
            epoch,
            first_seq,
            last_seq,
        })
    };
    rows.iter().map(log).collect()
}

/// Where the block's share is, or the end of its millisecond if no log has it.
pub(super) async fn position(
    session: &mut Session,
    logs: &[Log],
    hash: &BlockHash,
    (found_at_ms, settled_ms): (i64, i64),
) -> Result<Position, CallError> {
    let query = "SELECT accepted_at_ms, seq FROM shares WHERE log = $1 AND seq >= $2 AND seq < $3 AND hash = $4 LIMIT 1";
    for log in logs {
        let from = seq(first_at(session, log, found_at_ms).await?)?;
        let end = seq(first_at(session, log, settled_ms.saturating_add(1)).await?)?;
        let hash = hash.as_byte_array().as_slice();
        let rows = session.query(query, &[&log.id, &from, &end, &hash]).await?;
        if let Some(row) = rows.first() {
            let (at_ms, Natural(seq)) = (row.try_get(0)?, row.try_get(1)?);
            let share = Some((log.pool.clone(), log.epoch, seq));
            return Ok(Position { at_ms, share });
        }
    }
    Ok(Position {
        at_ms: found_at_ms,
        share: None,
    })
}

/// The first sequence number of the log's shares at or after a time.
pub(super) async fn first_at(
    session: &mut Session,
    log: &Log,
    at_ms: i64,
) -> Result<u64, CallError> {
    let query =
        "SELECT seq, accepted_at_ms FROM shares WHERE log = $1 AND seq >= $2 ORDER BY seq LIMIT 1";
    let mut search = Search::new(log, at_ms);
    while let Some(probe) = search.probe() {
        let rows = session.query(query, &[&log.id, &seq(probe)?]).await?;
        let Some(row) = rows.first() else {
            // Another pool prunes what nobody needs any more: rows from before this one's time.
            search.saw(probe, (probe, i64::MAX));
            continue;
        };
        let Natural(seq) = row.try_get(0)?;
        search.saw(probe, (seq, row.try_get(1)?));
    }
    Ok(search.found())
}

/// Adds the rows from one sequence number to before another, by the id of their origin.
async fn add_rows(
    session: &mut Session,
    log: &Log,
    (from, end): (u64, u64),
    parts: &mut BTreeMap<i64, Sum>,
) -> Result<(), CallError> {
    let query = "SELECT origin, count(*), sum(work), sum(score) FROM shares WHERE log = $1 AND seq >= $2 AND seq < $3
        GROUP BY origin";
    let rows = session
        .query(query, &[&log.id, &seq(from)?, &seq(end)?])
        .await?;
    for row in rows {
        let part: &mut Sum = parts.entry(row.try_get(0)?).or_default();
        *part = part.plus(sum(&row, 1)?)?;
    }
    Ok(())
}

/// All shares of the minutes before this one. In one statement, which sees one moment.
async fn before_minute(session: &mut Session, minute: i64) -> Result<Sum, Error> {
    let query = "SELECT (a.shares - m.shares)::bigint, a.work - m.work, a.score - m.score FROM (
            SELECT coalesce(sum(shares), 0) AS shares, coalesce(sum(work), 0) AS work, coalesce(sum(score), 0) AS score
            FROM totals
        ) AS a, (
            SELECT coalesce(sum(shares), 0) AS shares, coalesce(sum(work), 0) AS work, coalesce(sum(score), 0) AS score
            FROM minute_sums WHERE minute >= $1
        ) AS m";
    sum(&session.query(query, &[&minute]).await?[0], 0)
}

async fn put(
    session: &mut Session,
    hash: &BlockHash,
    (at_ms, sum): (i64, Sum),
    parts: &BTreeMap<i64, Sum>,
) -> Result<(), CallError> {
    let hash = hash.as_byte_array().as_slice();
    let shares = bigint(sum.shares, "a number of shares")?;
    // Another pool may make the same one.
    let insert =
        "INSERT INTO block_cuts (hash, at_ms, shares, work, score) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (hash) DO NOTHING";
    session
        .execute(
            insert,
            &[
                &hash,
                &at_ms,
                &shares,
                &Numeric(sum.work),
                &Numeric(sum.score),
            ],
        )
        .await?;
    let origins: Vec<i64> = parts.keys().copied().collect();
    let (shares, works, scores) = columns(parts.values())?;
    let insert = "INSERT INTO block_cut_origins (hash, origin, shares, work, score)
        SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::numeric[], $5::numeric[])
        ON CONFLICT (hash, origin) DO NOTHING";
    session
        .execute(insert, &[&hash, &origins, &shares, &works, &scores])
        .await?;
    Ok(())
}

/// When the first of the last accepted blocks was found, of which one more than $1 are wanted.
pub(super) const EDGE: &str = "SELECT found_at_ms FROM blocks WHERE state = 'accepted' ORDER BY found_at_ms DESC LIMIT 1 OFFSET $1";

/// The blocks from a time on, with their cuts.
pub(super) const BLOCKS: &str =
    "SELECT hash, height, state, reason, account, worker, node, lane, found_at_ms, value_sat,
        extranonce_prefix, block_cuts.at_ms, shares, work, score
    FROM blocks LEFT JOIN block_cuts USING (hash) WHERE found_at_ms >= $1";

/// All shares, and when an account was first used.
pub(super) const TOTAL: &str =
    "SELECT coalesce(sum(shares), 0)::bigint, coalesce(sum(work), 0), coalesce(sum(score), 0),
        (SELECT min(first_used_at_ms) FROM accounts) FROM totals";

/// A row of [`BLOCKS`].
pub(super) fn block_and_cut(row: &Row) -> Result<(BlockRow, Option<Cut>), CallError> {
    let at_ms: Option<i64> = row.try_get(11)?;
    let cut = at_ms.map(|at_ms| {
        let sum = sum(row, 12)?;
        Ok::<_, CallError>(Cut { at_ms, sum })
    });
    Ok((block::from_row(row)?, cut.transpose()?))
}

/// The time of a block's cut.
pub(super) const CUT_AT: &str = "SELECT at_ms FROM block_cuts WHERE hash = $1";

/// What the accounts have brought in in the minutes from $1 to before $2, and of the minutes of two blocks: without what lies
/// up to the first, $3, and with what lies up to the second, $4.
pub(super) const ACCOUNTS: &str =
    "SELECT account, sum(shares)::bigint, sum(work), sum(score) FROM (
        SELECT origin, shares, work, score FROM minute_sums WHERE minute >= $1 AND minute < $2
        UNION ALL SELECT origin, -shares, -work, -score FROM block_cut_origins WHERE hash = $3
        UNION ALL SELECT origin, shares, work, score FROM block_cut_origins WHERE hash = $4
    ) AS parts JOIN origins ON origins.id = origin
    GROUP BY account HAVING sum(shares) > 0 ORDER BY 3 DESC, 1 LIMIT $5";

/// A row of [`ACCOUNTS`].
pub(super) fn account(row: &Row) -> Result<RoundAccount, CallError> {
    Ok(RoundAccount {
        account: row.try_get(0)?,
        sum: sum(row, 1)?,
    })
}
