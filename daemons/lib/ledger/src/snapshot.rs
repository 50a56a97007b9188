//! A ledger at one moment, for reads that take many queries and must see the same commits in all of them. What both engines are
//! asked is here; what is made of the answers is not.

use hh_mining::BlockHash;

use crate::cut::Position;
use crate::{Epoch, LedgerError, Origin, Sum, postgres, sqlite};

/// Rows of sums that are fetched at once: two megabytes.
const MINUTE_ROWS_AT_ONCE: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(crate) enum Snapshot {
    Sqlite(sqlite::Snapshot),
    Postgres(Box<postgres::Snapshot>),
}

/// When a block was found, and where its cut lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CutTimes {
    pub found_at_ms: i64,
    pub at_ms: i64,
}

/// A share log's name, by its id in this database.
#[derive(Debug, Clone)]
pub(crate) struct LogName {
    pub id: i64,
    pub pool: String,
    pub epoch: Epoch,
}

/// A row of the sums of minutes, with the ids of its log and its origin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MinuteRow {
    pub minute: i64,
    pub log: i64,
    pub origin: i64,
    pub sum: Sum,
    pub chain: [u8; 32],
}

/// A share, with the ids of its log and its origin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EdgeRow {
    pub at_ms: i64,
    pub log: i64,
    pub seq: u64,
    pub origin: i64,
    pub score: u128,
}

/// Sums of minutes that are asked for, in the order of their keys backwards.
#[derive(Debug)]
pub(crate) struct MinuteRange<'a> {
    /// The first minute.
    pub from: i64,
    /// Minute, log and origin, before which they lie.
    pub before: (i64, i64, i64),
    /// Of this account alone.
    pub account: Option<&'a str>,
}

impl Snapshot {
    /// The times of a block that has a cut.
    pub(crate) async fn cut(&mut self, hash: &BlockHash) -> Result<Option<CutTimes>, LedgerError> {
        match self {
            Self::Sqlite(snapshot) => snapshot.cut(hash),
            Self::Postgres(snapshot) => snapshot.cut(hash).await,
        }
    }

    /// What of a block's cut lies in its minute, by the id of the origin.
    pub(crate) async fn cut_parts(
        &mut self,
        hash: &BlockHash,
    ) -> Result<Vec<(i64, Sum)>, LedgerError> {
        match self {
            Self::Sqlite(snapshot) => snapshot.cut_parts(hash),
            Self::Postgres(snapshot) => snapshot.cut_parts(hash).await,
        }
    }

    /// Where the winning share of a block is.
    pub(crate) async fn position(
        &mut self,
        hash: &BlockHash,
        cut: CutTimes,
    ) -> Result<Position, LedgerError> {
        match self {
            Self::Sqlite(snapshot) => snapshot.position(hash, cut),
            Self::Postgres(snapshot) => snapshot.position(hash, cut).await,
        }
    }

    /// All logs.
    pub(crate) async fn logs(&mut self) -> Result<Vec<LogName>, LedgerError> {
        match self {
            Self::Sqlite(snapshot) => snapshot.logs(),
            Self::Postgres(snapshot) => snapshot.logs().await,
        }
    }

    /// All origins with their ids, or those of an account.
    pub(crate) async fn origins(
        &mut self,
        account: Option<&str>,
    ) -> Result<Vec<(i64, Origin)>, LedgerError> {
        match self {
            Self::Sqlite(snapshot) => snapshot.origins(account),
            Self::Postgres(snapshot) => snapshot.origins(account).await,
        }
    }

    /// The first minute of which there are sums.
    pub(crate) async fn first_minute(&mut self) -> Result<Option<i64>, LedgerError> {
        match self {
            Self::Sqlite(snapshot) => snapshot.first_minute(),
            Self::Postgres(snapshot) => snapshot.first_minute().await,
        }
    }

    /// The next sums of a range: fewer than there are at once if these are all.
    async fn minutes(&mut self, range: &MinuteRange<'_>) -> Result<Vec<MinuteRow>, LedgerError> {
        let limit = MINUTE_ROWS_AT_ONCE;
        match self {
            Self::Sqlite(snapshot) => snapshot.minutes(range, limit),
            Self::Postgres(snapshot) => snapshot.minutes(range, limit).await,
        }
    }

    /// The shares of the minute of `last`, up to there, in no order.
    pub(crate) async fn shares(&mut self, last: &Position) -> Result<Vec<EdgeRow>, LedgerError> {
        match self {
            Self::Sqlite(snapshot) => snapshot.shares(last),
            Self::Postgres(snapshot) => snapshot.shares(last).await,
        }
    }

    /// Gives a connection back that others may use. One that is not given back is closed.
    pub(crate) async fn end(self) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(snapshot) => snapshot.end().await,
        }
    }
}

/// The sums of minutes, a minute at a time, the last one first. Holds what was fetched at once, and a minute.
#[derive(Debug)]
pub(crate) struct Minutes {
    from: i64,
    before: (i64, i64, i64),
    account: Option<String>,
    rows: std::collections::VecDeque<MinuteRow>,
    is_all: bool,
}

impl Minutes {
    /// From the minute before `before` back to the minute `from`, of all or of an account.
    pub(crate) fn new(from: i64, before: i64, account: Option<String>) -> Self {
        Self {
            from,
            // Ids are greater than zero.
            before: (before, 0, 0),
            account,
            rows: std::collections::VecDeque::new(),
            is_all: false,
        }
    }

    /// The sums of the next minute that has some.
    pub(crate) async fn next(
        &mut self,
        snapshot: &mut Snapshot,
    ) -> Result<Option<Vec<MinuteRow>>, LedgerError> {
        loop {
            let minute = self.rows.front().map(|row| row.minute);
            let has_older = self.rows.back().map(|row| row.minute) != minute;
            if has_older || self.is_all {
                let Some(minute) = minute else {
                    return Ok(None);
                };
                let end = self.rows.partition_point(|row| row.minute >= minute);
                return Ok(Some(self.rows.drain(..end).collect()));
            }
            let range = MinuteRange {
                from: self.from,
                before: self.before,
                account: self.account.as_deref(),
            };
            let rows = snapshot.minutes(&range).await?;
            self.is_all = rows.len() < MINUTE_ROWS_AT_ONCE;
            if let Some(last) = rows.last() {
                self.before = (last.minute, last.log, last.origin);
            }
            self.rows.extend(rows);
        }
    }
}
