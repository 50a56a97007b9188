//! Samples that core has not taken yet, on the disk.

use crate::database::{Database, DatabaseError};
use hh_ipc::agent::{MAX_SAMPLES, Sample, TelemetryBatch};
use prost::Message;
use rusqlite::{Transaction, params};
use std::path::Path;
use tokio::sync::Notify;

/// Samples that are kept: a day's. Each is some hundred bytes.
const KEPT: u64 = 24 * 3_600 / 5;

const TABLES: &str = "
CREATE TABLE spool (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    stream INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    dropped_total INTEGER NOT NULL
) STRICT;
CREATE TABLE samples (
    seq INTEGER PRIMARY KEY,
    sample BLOB NOT NULL
) STRICT;
";

/// Why a sample is not kept, or not found.
#[derive(Debug, thiserror::Error)]
#[error("the spool of telemetry can't be used")]
pub(super) struct SpoolError(#[from] DatabaseError);

#[derive(Debug)]
pub(super) struct Spool {
    database: Database,
    limit: u64,
    filled: Notify,
}

impl Spool {
    /// Opens the spool at `path`. A new one is a new stream, whose numbers begin at 1.
    pub(super) async fn open(path: &Path) -> Result<Self, SpoolError> {
        Self::with_limit(path, KEPT).await
    }

    async fn with_limit(path: &Path, limit: u64) -> Result<Self, SpoolError> {
        let database = Database::open(path, &[TABLES])?;
        // SQLite's integers have 63 bits and a sign.
        let stream: i64 = rand::random_range(1..=i64::MAX);
        let insert = "INSERT OR IGNORE INTO spool VALUES (1, ?, 0, 0)";
        database
            .call(move |transaction| Ok(transaction.execute(insert, [stream])?))
            .await?;
        Ok(Self {
            database,
            limit,
            filled: Notify::new(),
        })
    }

    /// Keeps a sample, which gets the next number; the oldest make room for it.
    pub(super) async fn put(&self, sample: Sample) -> Result<(), SpoolError> {
        let limit = self.limit;
        self.database
            .call(move |transaction| put(transaction, sample, limit))
            .await?;
        self.filled.notify_one();
        Ok(())
    }

    /// The oldest samples; none if there are none.
    pub(super) async fn batch(&self) -> Result<Option<TelemetryBatch>, SpoolError> {
        Ok(self.database.call(batch).await?)
    }

    /// Core has taken all up to that one.
    pub(super) async fn forget(&self, stream: u64, through_seq: u64) -> Result<(), SpoolError> {
        let delete = "DELETE FROM samples WHERE seq <= ? AND (SELECT stream FROM spool) = ?";
        let forget = move |transaction: &Transaction<'_>| {
            Ok(transaction.execute(delete, params![through_seq, stream])?)
        };
        self.database.call(forget).await?;
        Ok(())
    }

    /// Returns when a sample has come.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

fn put(transaction: &Transaction<'_>, sample: Sample, limit: u64) -> Result<(), DatabaseError> {
    let next = "UPDATE spool SET last_seq = last_seq + 1 RETURNING last_seq";
    let seq: u64 = transaction.query_row(next, [], |row| row.get(0))?;
    let bytes = Sample { seq, ..sample }.encode_to_vec();
    let insert = "INSERT INTO samples (seq, sample) VALUES (?, ?)";
    transaction.execute(insert, params![seq, bytes])?;
    let oldest = seq.saturating_sub(limit);
    let dropped = transaction.execute("DELETE FROM samples WHERE seq <= ?", [oldest])?;
    if dropped > 0 {
        let count = "UPDATE spool SET dropped_total = dropped_total + ?";
        transaction.execute(count, [u64::try_from(dropped).unwrap_or(u64::MAX)])?;
    }
    Ok(())
}

fn batch(transaction: &Transaction<'_>) -> Result<Option<TelemetryBatch>, DatabaseError> {
    let query = "SELECT sample FROM samples ORDER BY seq LIMIT ?";
    let mut statement = transaction.prepare_cached(query)?;
    let limit = u32::try_from(MAX_SAMPLES).unwrap_or(u32::MAX);
    let rows = statement.query_map([limit], |row| row.get::<_, Vec<u8>>(0))?;
    let samples = rows.map(|bytes| {
        let sample = Sample::decode(bytes?.as_slice());
        sample.map_err(|_no| DatabaseError::Damaged("a sample that is none"))
    });
    let samples = samples.collect::<Result<Vec<_>, DatabaseError>>()?;
    if samples.is_empty() {
        return Ok(None);
    }
    let query = "SELECT stream, dropped_total FROM spool";
    let batch = transaction.query_row(query, [], |row| {
        Ok(TelemetryBatch {
            stream: row.get(0)?,
            dropped_total: row.get(1)?,
            samples,
        })
    })?;
    Ok(Some(batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(batch: &TelemetryBatch) -> Vec<u64> {
        batch.samples.iter().map(|sample| sample.seq).collect()
    }

    #[tokio::test]
    async fn the_oldest_make_room_and_are_counted_and_numbers_never_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.db");
        let spool = Spool::with_limit(&path, 3).await.unwrap();
        assert!(spool.batch().await.unwrap().is_none());
        for _ in 0..5 {
            spool.put(Sample::default()).await.unwrap();
        }
        let batch = spool.batch().await.unwrap().unwrap();
        assert_eq!((seqs(&batch), batch.dropped_total), (vec![3, 4, 5], 2));
        spool.forget(batch.stream + 1, 5).await.unwrap();
        assert!(spool.batch().await.unwrap().is_some());
        spool.forget(batch.stream, 5).await.unwrap();
        assert!(spool.batch().await.unwrap().is_none());
        drop(spool);
        let spool = Spool::with_limit(&path, 3).await.unwrap();
        spool.put(Sample::default()).await.unwrap();
        let after = spool.batch().await.unwrap().unwrap();
        assert_eq!((after.stream, seqs(&after)), (batch.stream, vec![6]));
    }
}
