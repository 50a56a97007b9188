//! How a shipment gets into the tables of SQLite.

use rusqlite::{OptionalExtension, Transaction, params};

use super::CallError;
use super::origins::OriginIds;
use crate::sums::{Minute, Sum, Sums, Total, minute};
use crate::{RejectedCount, ShareRow, Shipment};

/// Puts the records after `last_seq` of log `log` into the tables.
pub(super) fn put<'a>(
    transaction: &Transaction<'_>,
    origins: &mut OriginIds,
    (log, last_seq): (i64, u64),
    shipment: &'a Shipment,
) -> Result<(), CallError> {
    for binding in shipment
        .bindings
        .iter()
        .filter(|binding| binding.seq > last_seq)
    {
        let origin = origins.id(transaction, &binding.origin, binding.bound_at_ms)?;
        transaction
            .prepare_cached("INSERT INTO bindings VALUES (?, ?, ?, ?)")?
            .execute(params![
                log,
                binding.extranonce_prefix,
                origin,
                binding.bound_at_ms
            ])?;
    }
    let new = shipment.shares.iter().filter(|share| share.seq > last_seq);
    let with_origin = |share: &'a ShareRow| {
        let id = origins.id(transaction, &share.origin, share.accepted_at_ms)?;
        Ok((id, share))
    };
    let shares: Vec<(i64, &ShareRow)> = new.map(with_origin).collect::<rusqlite::Result<_>>()?;
    put_shares(transaction, log, &shares)?;
    let mut sums = Sums::touched_by(&shares);
    read_sums(transaction, log, &mut sums)?;
    sums.add(&shipment.epoch, &shares)?;
    write_sums(transaction, log, &sums)?;
    transaction
        .prepare_cached(
            "UPDATE logs SET last_seq = ?, watermark_ms = max(ifnull(?2, watermark_ms), ifnull(watermark_ms, ?2)),
                heard_at_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER), is_closed = 0
            WHERE id = ?3",
        )?
        .execute(params![shipment.last_seq, shipment.watermark_ms, log])?;
    Ok(())
}

fn put_shares(
    transaction: &Transaction<'_>,
    log: i64,
    shares: &[(i64, &ShareRow)],
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO shares VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for (origin, share) in shares {
        insert.execute(params![
            log,
            share.seq,
            share.accepted_at_ms,
            origin,
            share.hash.as_byte_array(),
            share.extranonce_prefix,
            share.channel_id,
            share.job_id,
            share.nbits,
            share.ntime,
            share.nonce,
            share.version,
            share.work.to_be_bytes(),
            share.score.to_be_bytes(),
            share.is_block,
        ])?;
    }
    Ok(())
}

/// Fills in what the ledger has.
fn read_sums(transaction: &Transaction<'_>, log: i64, sums: &mut Sums) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "SELECT shares, work, score, chain FROM minute_sums WHERE minute = ? AND log = ? AND origin = ?",
    )?;
    for ((minute, origin), found) in &mut sums.minutes {
        let row = statement.query_row([*minute, log, *origin], |row| {
            Ok(Minute {
                sum: Sum {
                    shares: row.get(0)?,
                    work: u128::from_be_bytes(row.get(1)?),
                    score: u128::from_be_bytes(row.get(2)?),
                },
                chain: row.get(3)?,
            })
        });
        *found = row.optional()?.unwrap_or_default();
    }
    let mut statement = transaction
        .prepare_cached("SELECT shares, work, score, last_share_at_ms FROM origins WHERE id = ?")?;
    for (origin, found) in &mut sums.totals {
        *found = statement.query_row([origin], |row| {
            Ok(Total {
                sum: Sum {
                    shares: row.get(0)?,
                    work: u128::from_be_bytes(row.get(1)?),
                    score: u128::from_be_bytes(row.get(2)?),
                },
                last_share_at_ms: row.get(3)?,
            })
        })?;
    }
    Ok(())
}

fn write_sums(transaction: &Transaction<'_>, log: i64, sums: &Sums) -> rusqlite::Result<()> {
    let mut statement = transaction
        .prepare_cached("INSERT OR REPLACE INTO minute_sums VALUES (?, ?, ?, ?, ?, ?, ?)")?;
    for ((minute, origin), Minute { sum, chain }) in &sums.minutes {
        let (work, score) = (sum.work.to_be_bytes(), sum.score.to_be_bytes());
        statement.execute(params![minute, log, origin, sum.shares, work, score, chain])?;
    }
    let mut statement = transaction.prepare_cached(
        "UPDATE origins SET shares = ?, work = ?, score = ?, last_share_at_ms = ? WHERE id = ?",
    )?;
    for (origin, total) in &sums.totals {
        let sum = &total.sum;
        let (work, score) = (sum.work.to_be_bytes(), sum.score.to_be_bytes());
        statement.execute(params![
            sum.shares,
            work,
            score,
            total.last_share_at_ms,
            origin
        ])?;
    }
    Ok(())
}

/// Adds to the counts of rejected shares.
pub(super) fn count_rejected(
    transaction: &Transaction<'_>,
    origins: &mut OriginIds,
    counts: &[RejectedCount],
) -> rusqlite::Result<()> {
    for count in counts {
        let origin = origins.id(transaction, &count.origin, count.at_ms)?;
        transaction
            .prepare_cached(
                "INSERT INTO rejected VALUES (?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET shares = shares + excluded.shares",
            )?
            .execute(params![
                minute(count.at_ms),
                origin,
                count.reason,
                count.shares
            ])?;
    }
    Ok(())
}
