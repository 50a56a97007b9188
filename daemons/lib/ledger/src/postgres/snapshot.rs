//! A snapshot on PostgreSQL: a transaction that only reads, on one of the reader's connections.

use hh_mining::BlockHash;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::reader::{Reader, origin};
use super::session::Session;
use super::shipment::{seq, sum};
use super::value::{Bytes, Natural, Numeric};
use super::{CallError, cut, within_limit};
use crate::cut::{Limit, Position, SETTLE_MS};
use crate::snapshot::{CutTimes, EdgeRow, LogName, MinuteRange, MinuteRow};
use crate::sums::minute_start_ms;
use crate::{LedgerError, Origin, Sum};

/// Sees what was committed when it first asked.
#[derive(Debug)]
pub(crate) struct Snapshot {
    reader: Reader,
    session: Session,
    /// One of the reader's few connections is in use as long as this.
    permit: OwnedSemaphorePermit,
}

impl Snapshot {
    pub(crate) async fn open(reader: &Reader) -> Result<Self, LedgerError> {
        let (permit, session) = reader.take().await?;
        let mut snapshot = Self {
            reader: reader.clone(),
            session,
            permit,
        };
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        snapshot.batch("begin to read", begin).await?;
        Ok(snapshot)
    }

    /// Gives the connection back.
    pub(crate) async fn end(mut self) -> Result<(), LedgerError> {
        self.batch("end reading", "COMMIT").await?;
        self.reader.give_back(self.permit, self.session);
        Ok(())
    }

    pub(crate) async fn cut(&mut self, hash: &BlockHash) -> Result<Option<CutTimes>, LedgerError> {
        let query =
            "SELECT found_at_ms, at_ms FROM block_cuts JOIN blocks USING (hash) WHERE hash = $1";
        let hash = hash.as_byte_array().as_slice();
        let times = |row: &Row| {
            Ok(CutTimes {
                found_at_ms: row.try_get(0)?,
                at_ms: row.try_get(1)?,
            })
        };
        let action = "look a block's cut up";
        Ok(self.rows(action, query, &[&hash], times).await?.pop())
    }

    pub(crate) async fn cut_parts(
        &mut self,
        hash: &BlockHash,
    ) -> Result<Vec<(i64, Sum)>, LedgerError> {
        let query = "SELECT origin, shares, work, score FROM block_cut_origins WHERE hash = $1";
        let hash = hash.as_byte_array().as_slice();
        self.rows("read a block's cut", query, &[&hash], |row| {
            Ok((row.try_get(0)?, sum(row, 1)?))
        })
        .await
    }

    pub(crate) async fn position(
        &mut self,
        hash: &BlockHash,
        times: CutTimes,
    ) -> Result<Position, LedgerError> {
        let session = &mut self.session;
        let call = async {
            let logs = cut::logs(session).await?;
            let settled_ms = times.found_at_ms.saturating_add(SETTLE_MS);
            cut::position(session, &logs, hash, (times.found_at_ms, settled_ms)).await
        };
        within_limit("look a winning share up", self.reader.server(), call).await
    }

    pub(crate) async fn logs(&mut self) -> Result<Vec<LogName>, LedgerError> {
        let query = "SELECT id, pool, epoch FROM logs";
        self.rows("list the share logs", query, &[], |row| {
            let (id, Bytes(epoch)): (i32, _) = (row.try_get(0)?, row.try_get(2)?);
            Ok(LogName {
                id: id.into(),
                pool: row.try_get(1)?,
                epoch,
            })
        })
        .await
    }

    pub(crate) async fn origins(
        &mut self,
        account: Option<&str>,
    ) -> Result<Vec<(i64, Origin)>, LedgerError> {
        let query = "SELECT id, account, worker, node, lane FROM origins WHERE $1::text IS NULL OR account = $1";
        self.rows("list origins", query, &[&account], |row| {
            Ok((row.try_get(0)?, origin(row, 1)?))
        })
        .await
    }

    pub(crate) async fn first_minute(&mut self) -> Result<Option<i64>, LedgerError> {
        let query = "SELECT min(minute) FROM minute_sums";
        let first = self.rows("look for the first minute", query, &[], |row| {
            Ok(row.try_get(0)?)
        });
        Ok(first.await?.pop().flatten())
    }

    pub(crate) async fn minutes(
        &mut self,
        range: &MinuteRange<'_>,
        limit: usize,
    ) -> Result<Vec<MinuteRow>, LedgerError> {
        let query = "SELECT minute, log, origin, shares, work, score, chain FROM minute_sums
            WHERE minute >= $1 AND (minute, log, origin) < ($2, $3, $4)
                AND ($5::text IS NULL OR origin IN (SELECT id FROM origins WHERE account = $5))
            ORDER BY minute DESC, log DESC, origin DESC LIMIT $6";
        let (minute, log, before) = range.before;
        let log = log_id(log)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let parameters: &[&(dyn ToSql + Sync)] =
            &[&range.from, &minute, &log, &before, &range.account, &limit];
        self.rows("read minute sums", query, parameters, |row| {
            let (log, Bytes(chain)): (i32, _) = (row.try_get(1)?, row.try_get(6)?);
            Ok(MinuteRow {
                minute: row.try_get(0)?,
                log: log.into(),
                origin: row.try_get(2)?,
                sum: sum(row, 3)?,
                chain,
            })
        })
        .await
    }

    pub(crate) async fn shares(&mut self, last: &Position) -> Result<Vec<EdgeRow>, LedgerError> {
        let query = "SELECT accepted_at_ms, seq, origin, score FROM shares WHERE log = $1 AND seq >= $2 AND seq < $3";
        let session = &mut self.session;
        let call = async {
            let mut shares = Vec::new();
            for log in cut::logs(session).await? {
                let from = cut::first_at(session, &log, minute_start_ms(last.minute())).await?;
                let end = match last.limit_in(&log) {
                    Limit::Seq(seq) => seq,
                    Limit::Time(at_ms) => cut::first_at(session, &log, at_ms).await?,
                };
                let parameters: &[&(dyn ToSql + Sync)] = &[&log.id, &seq(from)?, &seq(end)?];
                for row in session.query(query, parameters).await? {
                    let (Natural(seq), Numeric(score)) = (row.try_get(1)?, row.try_get(3)?);
                    shares.push(EdgeRow {
                        at_ms: row.try_get(0)?,
                        log: log.id.into(),
                        seq,
                        origin: row.try_get(2)?,
                        score,
                    });
                }
            }
            Ok(shares)
        };
        within_limit("read the shares of a minute", self.reader.server(), call).await
    }

    async fn rows<T>(
        &mut self,
        action: &'static str,
        query: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
        row: impl Fn(&Row) -> Result<T, CallError>,
    ) -> Result<Vec<T>, LedgerError> {
        let call = async {
            let rows = self.session.query(query, parameters).await?;
            rows.iter().map(row).collect()
        };
        within_limit(action, self.reader.server(), call).await
    }

    async fn batch(&mut self, action: &'static str, statement: &str) -> Result<(), LedgerError> {
        let call = async { Ok(self.session.batch(statement).await?) };
        within_limit(action, self.reader.server(), call).await
    }
}

fn log_id(id: i64) -> Result<i32, LedgerError> {
    i32::try_from(id).or(Err(LedgerError::OutOfRange {
        what: "the id of a log",
    }))
}
