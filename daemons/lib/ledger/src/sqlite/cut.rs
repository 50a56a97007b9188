//! Cuts in SQLite, and what rounds are made of.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hh_mining::BlockHash;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{CallError, block};
use crate::cut::{Cut, Limit, LogSpan, Position, SETTLE_MS, Search};
use crate::round::{RoundParts, blocks_from_ms};
use crate::sums::{Sum, minute, minute_start_ms};
use crate::{LedgerError, RoundAccount};

pub(super) type Log = LogSpan<i64>;

/// Makes the cut of the oldest block that has none, if every log has passed it; says whether one was made.
pub(super) fn make_next(transaction: &Transaction<'_>) -> Result<bool, CallError> {
    let oldest =
        "SELECT hash, found_at_ms FROM blocks WHERE hash NOT IN (SELECT hash FROM block_cuts)
        ORDER BY found_at_ms LIMIT 1";
    let block = transaction.prepare_cached(oldest)?.query_row([], |row| {
        Ok((BlockHash::from_byte_array(row.get(0)?), row.get(1)?))
    });
    let Some((hash, found_at_ms)) = block.optional()? else {
        return Ok(false);
    };
    let settled_ms = i64::saturating_add(found_at_ms, SETTLE_MS);
    let behind = "SELECT EXISTS (SELECT 1 FROM server_ids LEFT JOIN logs USING (pool, epoch)
        WHERE since_ms <= ?1 AND ifnull(watermark_ms, since_ms) <= ?1)";
    if transaction.query_row(behind, [settled_ms], |row| row.get(0))? {
        return Ok(false);
    }
    let logs = logs(transaction)?;
    let position = position(transaction, &logs, &hash, (found_at_ms, settled_ms))?;
    let minute = minute(position.at_ms);
    let mut parts = BTreeMap::new();
    for log in &logs {
        let from = first_at(transaction, log, minute_start_ms(minute))?;
        let end = match position.limit_in(log) {
            Limit::Seq(seq) => seq,
            Limit::Time(at_ms) => first_at(transaction, log, at_ms)?,
        };
        add_rows(transaction, log, (from, end), &mut parts)?;
    }
    let all = "SELECT shares, work, score FROM origins";
    let from_here = "SELECT shares, work, score FROM minute_sums WHERE minute >= ?";
    let before = total(transaction, all, [])?.minus(total(transaction, from_here, [minute])?)?;
    let sum = parts.values().try_fold(before, |sum, part| sum.plus(*part));
    put(transaction, &hash, (position.at_ms, sum?), &parts)?;
    Ok(true)
}

/// The time from which on a cut may still need the rows: the minute of the oldest block that has none, and of what a log that
/// holds a server id has not shipped.
pub(super) fn needed_from_ms(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    let query = "SELECT min(at_ms) FROM (
            SELECT min(found_at_ms) AS at_ms FROM blocks WHERE hash NOT IN (SELECT hash FROM block_cuts)
            UNION ALL SELECT min(ifnull(watermark_ms, since_ms)) FROM server_ids LEFT JOIN logs USING (pool, epoch)
        )";
    let at_ms: Option<i64> = transaction.query_row(query, [], |row| row.get(0))?;
    Ok(at_ms.map_or(i64::MAX, |at_ms| minute_start_ms(minute(at_ms))))
}

pub(super) fn logs(connection: &Connection) -> rusqlite::Result<Vec<Log>> {
    let query = "SELECT id, pool, epoch, first_seq, shares.seq FROM (
            SELECT id, pool, epoch, (SELECT min(seq) FROM shares WHERE log = id) AS first_seq,
                (SELECT max(seq) FROM shares WHERE log = id) AS last_seq FROM logs
        ) JOIN shares ON log = id AND seq = last_seq";
    let mut statement = connection.prepare_cached(query)?;
    let log = |row: &Row<'_>| {
        Ok(Log {
            id: row.get(0)?,
            pool: row.get(1)?,
            epoch: row.get(2)?,
            first_seq: row.get(3)?,
            last_seq: row.get(4)?,
        })
    };
    statement.query_map([], log)?.collect()
}

/// Where the block's share is, or the end of its millisecond if no log has it.
pub(super) fn position(
    connection: &Connection,
    logs: &[Log],
    hash: &BlockHash,
    (found_at_ms, settled_ms): (i64, i64),
) -> rusqlite::Result<Position> {
    let query = "SELECT accepted_at_ms, seq FROM shares WHERE log = ? AND seq >= ? AND seq < ? AND hash = ? LIMIT 1";
    let mut statement = connection.prepare_cached(query)?;
    for log in logs {
        let from = first_at(connection, log, found_at_ms)?;
        let end = first_at(connection, log, settled_ms.saturating_add(1))?;
        let share = statement
            .query_row(params![log.id, from, end, hash.as_byte_array()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if let Some((at_ms, seq)) = share {
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
pub(super) fn first_at(connection: &Connection, log: &Log, at_ms: i64) -> rusqlite::Result<u64> {
    let query =
        "SELECT seq, accepted_at_ms FROM shares WHERE log = ? AND seq >= ? ORDER BY seq LIMIT 1";
    let mut statement = connection.prepare_cached(query)?;
    let mut search = Search::new(log, at_ms);
    while let Some(probe) = search.probe() {
        let row = statement.query_row(params![log.id, probe], |row| Ok((row.get(0)?, row.get(1)?)));
        search.saw(probe, row?);
    }
    Ok(search.found())
}

/// Adds the rows from one sequence number to before another, by the id of their origin.
fn add_rows(
    transaction: &Transaction<'_>,
    log: &Log,
    (from, end): (u64, u64),
    parts: &mut BTreeMap<i64, Sum>,
) -> Result<(), CallError> {
    let query = "SELECT origin, 1, work, score FROM shares WHERE log = ? AND seq >= ? AND seq < ?";
    let mut statement = transaction.prepare_cached(query)?;
    let mut rows = statement.query(params![log.id, from, end])?;
    while let Some(row) = rows.next()? {
        let part: &mut Sum = parts.entry(row.get(0)?).or_default();
        *part = part.plus(sum(row, 1)?)?;
    }
    Ok(())
}

fn put(
    transaction: &Transaction<'_>,
    hash: &BlockHash,
    (at_ms, sum): (i64, Sum),
    parts: &BTreeMap<i64, Sum>,
) -> rusqlite::Result<()> {
    let hash = hash.as_byte_array();
    let bytes = |sum: &Sum| (sum.work.to_be_bytes(), sum.score.to_be_bytes());
    let (work, score) = bytes(&sum);
    transaction.execute(
        "INSERT INTO block_cuts VALUES (?, ?, ?, ?, ?)",
        params![hash, at_ms, sum.shares, work, score],
    )?;
    let insert = "INSERT INTO block_cut_origins VALUES (?, ?, ?, ?, ?)";
    let mut insert = transaction.prepare_cached(insert)?;
    for (origin, sum) in parts {
        let (work, score) = bytes(sum);
        insert.execute(params![hash, origin, sum.shares, work, score])?;
    }
    Ok(())
}

/// What the last `limit` rounds that have ended, and the one that goes on, are made of.
pub(super) fn round_parts(connection: &Connection, limit: usize) -> Result<RoundParts, CallError> {
    let edge = "SELECT found_at_ms FROM blocks WHERE state = 'accepted' ORDER BY found_at_ms DESC LIMIT 1 OFFSET ?";
    let offset = i64::try_from(limit).unwrap_or(i64::MAX);
    let edge: Option<i64> = connection
        .query_row(edge, [offset], |row| row.get(0))
        .optional()?;
    let query = format!(
        "SELECT {}, block_cuts.at_ms, shares, work, score FROM blocks LEFT JOIN block_cuts USING (hash)
        WHERE found_at_ms >= ?",
        block::COLUMNS
    );
    let mut statement = connection.prepare(&query)?;
    let blocks = statement.query_map([blocks_from_ms(edge)], |row| {
        let at_ms: Option<i64> = row.get(block::COLUMN_COUNT)?;
        let cut = at_ms.map(|at_ms| {
            let sum = sum(row, block::COLUMN_COUNT + 1)?;
            Ok::<_, rusqlite::Error>(Cut { at_ms, sum })
        });
        Ok((block::from_row(row)?, cut.transpose()?))
    })?;
    Ok(RoundParts {
        blocks: blocks.collect::<rusqlite::Result<_>>()?,
        limit,
        from_the_first: edge.is_none(),
        total: total(connection, "SELECT shares, work, score FROM origins", [])?,
        first_used_at_ms: connection.query_row(
            "SELECT min(first_used_at_ms) FROM accounts",
            [],
            |row| row.get(0),
        )?,
    })
}

/// What the accounts have brought in after one block and through another, most work first.
pub(super) fn accounts_between(
    connection: &Connection,
    (after, through): (Option<BlockHash>, Option<BlockHash>),
    limit: usize,
) -> Result<Option<Vec<RoundAccount>>, CallError> {
    let (Some(first), Some(end)) = (
        minute_of(connection, after, i64::MIN)?,
        minute_of(connection, through, i64::MAX)?,
    ) else {
        return Ok(None);
    };
    let mut sums = BTreeMap::new();
    let minutes =
        "SELECT origin, shares, work, score FROM minute_sums WHERE minute >= ? AND minute < ?";
    let mut statement = connection.prepare(minutes)?;
    add_origins(statement.query([first, end])?, &mut sums, Sum::plus)?;
    let of_cut = "SELECT origin, shares, work, score FROM block_cut_origins WHERE hash = ?";
    let mut statement = connection.prepare(of_cut)?;
    // First what is added, so that no sum goes below zero.
    if let Some(hash) = through {
        add_origins(
            statement.query([hash.as_byte_array()])?,
            &mut sums,
            Sum::plus,
        )?;
    }
    if let Some(hash) = after {
        add_origins(
            statement.query([hash.as_byte_array()])?,
            &mut sums,
            Sum::minus,
        )?;
    }
    let mut accounts = BTreeMap::<String, Sum>::new();
    let mut name = connection.prepare("SELECT account FROM origins WHERE id = ?")?;
    for (origin, sum) in sums {
        let account = name.query_row([origin], |row| row.get(0))?;
        let of_account = accounts.entry(account).or_default();
        *of_account = of_account.plus(sum)?;
    }
    let mut accounts: Vec<RoundAccount> = accounts
        .into_iter()
        .filter(|(_, sum)| sum.shares > 0)
        .map(|(account, sum)| RoundAccount { account, sum })
        .collect();
    // Stable: accounts of the same work stay in the order of their names.
    accounts.sort_by_key(|account| Reverse(account.sum.work));
    accounts.truncate(limit);
    Ok(Some(accounts))
}

/// The minute in which a block lies; none if its cut is not made yet.
fn minute_of(
    connection: &Connection,
    block: Option<BlockHash>,
    without: i64,
) -> rusqlite::Result<Option<i64>> {
    let Some(hash) = block else {
        return Ok(Some(without));
    };
    let query = "SELECT at_ms FROM block_cuts WHERE hash = ?";
    let at_ms = connection.query_row(query, [hash.as_byte_array()], |row| row.get(0));
    Ok(at_ms.optional()?.map(minute))
}

fn add_origins(
    mut rows: rusqlite::Rows<'_>,
    sums: &mut BTreeMap<i64, Sum>,
    add: fn(Sum, Sum) -> Result<Sum, LedgerError>,
) -> Result<(), CallError> {
    while let Some(row) = rows.next()? {
        let of_origin = sums.entry(row.get(0)?).or_default();
        *of_origin = add(*of_origin, sum(row, 1)?)?;
    }
    Ok(())
}

/// The sum of rows of shares, work and score.
fn total(
    connection: &Connection,
    query: &str,
    params: impl rusqlite::Params,
) -> Result<Sum, CallError> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(params)?;
    let mut total = Sum::default();
    while let Some(row) = rows.next()? {
        total = total.plus(sum(row, 0)?)?;
    }
    Ok(total)
}

/// Shares, work and score from column `first` on.
pub(super) fn sum(row: &Row<'_>, first: usize) -> rusqlite::Result<Sum> {
    Ok(Sum {
        shares: row.get(first)?,
        work: u128::from_be_bytes(row.get(first + 1)?),
        score: u128::from_be_bytes(row.get(first + 2)?),
    })
}
