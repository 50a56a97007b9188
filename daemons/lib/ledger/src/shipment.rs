//! What a pool ships from its share log, and how it gets into the tables.
//!
//! A shipment is one transaction: rows, sums over minutes, sums over all time, first uses, bindings, the watermark and
//! the last sequence number are always of the same moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use hh_mining::BlockHash;
use rusqlite::{OptionalExtension, Transaction, params};

use crate::writer::OriginIds;
use crate::{Epoch, LedgerError, Origin};

/// Length of the minutes of which sums are kept.
const MINUTE_MS: i64 = 60_000;

/// An accepted share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRow {
    /// Its place in the share log's epoch.
    pub seq: u64,
    /// When it was accepted, milliseconds since 1970.
    pub accepted_at_ms: i64,
    /// Who is credited.
    pub origin: Arc<Origin>,
    /// Hash of the header.
    pub hash: BlockHash,
    /// The channel's extranonce prefix.
    pub extranonce_prefix: [u8; 8],
    /// The SV2 channel id on its connection.
    pub channel_id: u32,
    /// The SV2 job id in that channel.
    pub job_id: u32,
    /// The job's nBits.
    pub nbits: u32,
    /// The header's time.
    pub ntime: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The header's version.
    pub version: u32,
    /// Expected hashes of the target that the job was sent with.
    pub work: u128,
    /// Work x 2^96 / network work of the job's nBits.
    pub score: u128,
    /// Whether it meets the network's target.
    pub is_block: bool,
}

/// A channel's extranonce prefix and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingRow {
    /// The record's place in the share log's epoch.
    pub seq: u64,
    /// When it was bound, milliseconds since 1970.
    pub bound_at_ms: i64,
    /// The prefix.
    pub extranonce_prefix: [u8; 8],
    /// Whose it is.
    pub origin: Arc<Origin>,
}

/// A run of a share log's records, without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// The log's id.
    pub epoch: Epoch,
    /// Sequence number of the first record.
    pub first_seq: u64,
    /// Sequence number of the last record.
    pub last_seq: u64,
    /// Its shares, in the order of `seq`.
    pub shares: Vec<ShareRow>,
    /// Its bindings.
    pub bindings: Vec<BindingRow>,
    /// The last watermark among the records: no later record has an earlier time.
    pub watermark_ms: Option<i64>,
}

/// Rejected shares of one kind, to be added to the count of their minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedCount {
    /// When they were rejected, milliseconds since 1970.
    pub at_ms: i64,
    /// Who sent them.
    pub origin: Arc<Origin>,
    /// The error code with which they were rejected.
    pub reason: String,
    /// How many.
    pub shares: u64,
}

/// A sum as it grows. Sums are checked: one that overflows fails the shipment rather than wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    shares: u64,
    work: u128,
    score: u128,
}

impl Sum {
    fn add(&mut self, share: &ShareRow) -> Result<(), LedgerError> {
        let sum = || {
            Some(Self {
                shares: self.shares.checked_add(1)?,
                work: self.work.checked_add(share.work)?,
                score: self.score.checked_add(share.score)?,
            })
        };
        *self = sum().ok_or(LedgerError::OutOfRange {
            what: "a sum of shares",
        })?;
        Ok(())
    }
}

/// The chain after `share` has been added to it.
fn chained(chain: &[u8; 32], epoch: &Epoch, share: &ShareRow) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    engine.input(chain);
    engine.input(epoch);
    engine.input(&share.seq.to_be_bytes());
    engine.input(&share.accepted_at_ms.to_be_bytes());
    engine.input(share.hash.as_byte_array());
    engine.input(&share.work.to_be_bytes());
    engine.input(&share.score.to_be_bytes());
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// The minute in which a time lies.
pub(crate) fn minute(at_ms: i64) -> i64 {
    at_ms.div_euclid(MINUTE_MS)
}

/// What a failed statement means; the caller adds the path.
pub(crate) enum ShipError {
    Sqlite(rusqlite::Error),
    Ledger(LedgerError),
}

impl From<rusqlite::Error> for ShipError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<LedgerError> for ShipError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// Puts the records after `last_seq` of log `log` into the tables.
pub(crate) fn put(
    transaction: &Transaction<'_>,
    origins: &mut OriginIds,
    (log, last_seq): (i64, u64),
    shipment: &Shipment,
) -> Result<(), ShipError> {
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
    let shares = shipment.shares.iter().filter(|share| share.seq > last_seq);
    put_shares(transaction, origins, (log, &shipment.epoch), shares)?;
    transaction
        .prepare_cached(
            "UPDATE logs SET last_seq = ?, watermark_ms = max(ifnull(?2, watermark_ms), ifnull(watermark_ms, ?2))
            WHERE id = ?3",
        )?
        .execute(params![shipment.last_seq, shipment.watermark_ms, log])?;
    Ok(())
}

fn put_shares<'a>(
    transaction: &Transaction<'_>,
    origins: &mut OriginIds,
    (log, epoch): (i64, &Epoch),
    shares: impl Iterator<Item = &'a ShareRow>,
) -> Result<(), ShipError> {
    let mut minutes = BTreeMap::<(i64, i64), (Sum, [u8; 32])>::new();
    let mut totals = BTreeMap::<i64, (Sum, i64)>::new();
    let mut insert = transaction.prepare_cached(
        "INSERT INTO shares VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for share in shares {
        let origin = origins.id(transaction, &share.origin, share.accepted_at_ms)?;
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
        let key = (minute(share.accepted_at_ms), origin);
        let (sum, chain) = match minutes.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(minute_sum(transaction, log, key)?)
            }
        };
        sum.add(share)?;
        *chain = chained(chain, epoch, share);
        let (total, last_share_at_ms) = totals.entry(origin).or_default();
        total.add(share)?;
        *last_share_at_ms = share.accepted_at_ms;
    }
    for ((minute, origin), (sum, chain)) in minutes {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO minute_sums VALUES (?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                minute,
                log,
                origin,
                sum.shares,
                sum.work.to_be_bytes(),
                sum.score.to_be_bytes(),
                chain
            ])?;
    }
    for (origin, (sum, last_share_at_ms)) in totals {
        add_total(transaction, origin, &sum, last_share_at_ms)?;
    }
    Ok(())
}

/// The sum of a minute so far, or the start of one.
fn minute_sum(
    transaction: &Transaction<'_>,
    log: i64,
    (minute, origin): (i64, i64),
) -> rusqlite::Result<(Sum, [u8; 32])> {
    let mut statement = transaction.prepare_cached(
        "SELECT shares, work, score, chain FROM minute_sums WHERE minute = ? AND log = ? AND origin = ?",
    )?;
    let found = statement
        .query_row([minute, log, origin], |row| {
            let sum = Sum {
                shares: row.get(0)?,
                work: u128::from_be_bytes(row.get(1)?),
                score: u128::from_be_bytes(row.get(2)?),
            };
            Ok((sum, row.get(3)?))
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn add_total(
    transaction: &Transaction<'_>,
    origin: i64,
    sum: &Sum,
    last_share_at_ms: i64,
) -> Result<(), ShipError> {
    let (work, score): ([u8; 16], [u8; 16]) = transaction
        .prepare_cached("SELECT work, score FROM origins WHERE id = ?")?
        .query_row([origin], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let total = |total, more: u128| {
        let sum = u128::from_be_bytes(total).checked_add(more);
        sum.map(u128::to_be_bytes).ok_or(LedgerError::OutOfRange {
            what: "a sum over all time",
        })
    };
    transaction
        .prepare_cached(
            "UPDATE origins SET shares = shares + ?, work = ?, score = ?,
            last_share_at_ms = max(ifnull(last_share_at_ms, ?4), ?4) WHERE id = ?5",
        )?
        .execute(params![
            sum.shares,
            total(work, sum.work)?,
            total(score, sum.score)?,
            last_share_at_ms,
            origin
        ])?;
    Ok(())
}

/// Adds to the counts of rejected shares.
pub(crate) fn count_rejected(
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
