//! The queries on SQLite. A connection is opened `mode=ro` and sees the last commit; none holds the writer up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hh_mining::BlockHash;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{CallError, block, claim, cut, schema, window, worker};
use crate::{
    AccountSum, BlockRow, Epoch, FirstUse, Holder, LedgerError, LogRow, MinuteSum, Origin, Round,
    RoundAccount, ShareRow, Standing, WorkerSum, WorkerWindows,
};

/// A connection for reading only. Its calls block.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    connection: Connection,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self {
            path: path.to_owned(),
            connection: schema::open_for_reading(path)?,
        })
    }

    pub(crate) fn logs(&self) -> Result<Vec<LogRow>, LedgerError> {
        let query = "SELECT pool, epoch, last_seq, watermark_ms FROM logs ORDER BY id";
        self.rows("list the share logs", query, [], |row| {
            Ok(LogRow {
                pool: row.get(0)?,
                epoch: row.get(1)?,
                last_seq: row.get(2)?,
                watermark_ms: row.get(3)?,
            })
        })
    }

    pub(crate) fn share_count(&self) -> Result<u64, LedgerError> {
        let query = "SELECT count(*) FROM shares";
        let counted = self.connection.query_row(query, [], |row| row.get(0));
        counted.map_err(|source| self.error("count shares", source))
    }

    pub(crate) fn shares(
        &self,
        epoch: &Epoch,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<ShareRow>, LedgerError> {
        let query = format!(
            "SELECT {SHARE_COLUMNS} FROM share_records WHERE epoch = ? AND seq >= ? ORDER BY seq LIMIT ?"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.rows(
            "list shares",
            &query,
            params![epoch, from_seq, limit],
            share,
        )
    }

    pub(crate) fn shares_by_hash(&self, hash: &BlockHash) -> Result<Vec<ShareRow>, LedgerError> {
        let query = format!("SELECT {SHARE_COLUMNS} FROM share_records WHERE hash = ?");
        self.rows("look a share up", &query, [hash.as_byte_array()], share)
    }

    pub(crate) fn minute_sums(&self, first: i64, last: i64) -> Result<Vec<MinuteSum>, LedgerError> {
        let query =
            "SELECT minute, epoch, account, worker, node, lane, s.shares, s.work, s.score, chain
            FROM minute_sums AS s JOIN logs ON logs.id = log JOIN origins ON origins.id = origin
            WHERE minute BETWEEN ? AND ? ORDER BY minute, log, origin";
        self.rows("list minute sums", query, [first, last], |row| {
            Ok(MinuteSum {
                minute: row.get(0)?,
                epoch: row.get(1)?,
                origin: origin(row, 2)?,
                shares: row.get(6)?,
                work: u128::from_be_bytes(row.get(7)?),
                score: u128::from_be_bytes(row.get(8)?),
                chain: row.get(9)?,
            })
        })
    }

    pub(crate) fn account_sums(&self, limit: usize) -> Result<Vec<AccountSum>, LedgerError> {
        let query =
            "SELECT account, shares, work, score, last_share_at_ms FROM origins ORDER BY account";
        let origins = self.rows("sum shares", query, [], |row| {
            Ok(AccountSum {
                account: row.get(0)?,
                shares: row.get(1)?,
                work: u128::from_be_bytes(row.get(2)?),
                score: u128::from_be_bytes(row.get(3)?),
                last_share_at_ms: row.get(4)?,
            })
        })?;
        let mut sums: Vec<AccountSum> = Vec::new();
        for origin in origins {
            match sums.last_mut().filter(|sum| sum.account == origin.account) {
                Some(sum) => sum.add(&origin)?,
                None => sums.push(origin),
            }
        }
        sums.sort_by(|a, b| b.work.cmp(&a.work).then_with(|| a.account.cmp(&b.account)));
        sums.truncate(limit);
        Ok(sums)
    }

    pub(crate) fn worker_sums(
        &self,
        account: Option<&str>,
        windows: WorkerWindows,
    ) -> Result<Vec<WorkerSum>, LedgerError> {
        self.one_moment("sum workers up", |reader| {
            worker::sums(&reader.connection, account, windows)
        })
    }

    pub(crate) fn accounts(&self) -> Result<Vec<FirstUse>, LedgerError> {
        let query = "SELECT account, NULL, first_used_at_ms FROM accounts ORDER BY 3, 1";
        self.rows("list accounts", query, [], first_use)
    }

    pub(crate) fn workers(&self) -> Result<Vec<FirstUse>, LedgerError> {
        let query = "SELECT account, worker, first_used_at_ms FROM workers ORDER BY 3, 1, 2";
        self.rows("list workers", query, [], first_use)
    }

    pub(crate) fn binding(
        &self,
        epoch: &Epoch,
        prefix: &[u8; 8],
    ) -> Result<Option<Origin>, LedgerError> {
        let query = "SELECT account, worker, node, lane FROM bindings
            JOIN logs ON logs.id = log JOIN origins ON origins.id = origin
            WHERE epoch = ? AND extranonce_prefix = ?";
        let found = self
            .connection
            .query_row(query, params![epoch, prefix], |row| origin(row, 0))
            .optional();
        found.map_err(|source| self.error("look a prefix up", source))
    }

    pub(crate) fn blocks(&self, limit: usize) -> Result<Vec<BlockRow>, LedgerError> {
        block::last(&self.connection, limit).map_err(|source| self.error("list blocks", source))
    }

    pub(crate) fn rounds(&self, limit: usize) -> Result<Vec<Round>, LedgerError> {
        let parts = self.one_moment("list rounds", |reader| {
            cut::round_parts(&reader.connection, limit)
        });
        parts?.rounds()
    }

    pub(crate) fn round_accounts(
        &self,
        ends: (Option<BlockHash>, Option<BlockHash>),
        limit: usize,
    ) -> Result<Option<Vec<RoundAccount>>, LedgerError> {
        self.one_moment("sum a round up", |reader| {
            cut::accounts_between(&reader.connection, ends, limit)
        })
    }

    pub(crate) fn window_start(&self, end: i64, score: u128) -> Result<Option<i64>, LedgerError> {
        self.one_moment("find where a window begins", |reader| {
            Ok(window::start(&reader.connection, end, score)?)
        })
    }

    pub(crate) fn oldest_open_block(&self) -> Result<Option<i64>, LedgerError> {
        let query = "SELECT min(found_at_ms) FROM blocks WHERE state IN ('found', 'submitted')";
        let oldest = self.connection.query_row(query, [], |row| row.get(0));
        oldest.map_err(|source| self.error("look for open blocks", source))
    }

    pub(crate) fn server_ids(&self) -> Result<Vec<(u16, Holder)>, LedgerError> {
        let query = "SELECT server_id, pool, epoch, since_ms FROM server_ids ORDER BY server_id";
        self.rows("list server ids", query, [], |row| {
            let holder = Holder {
                pool: row.get(1)?,
                epoch: row.get(2)?,
                since_ms: row.get(3)?,
            };
            Ok((row.get(0)?, holder))
        })
    }

    pub(crate) fn standing(&self, server_id: u16) -> Result<Option<Standing>, LedgerError> {
        let standing = claim::standing(&self.connection, server_id);
        standing.map_err(|source| self.error("look a server id up", source))
    }

    fn rows<T>(
        &self,
        action: &'static str,
        query: &str,
        params: impl Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let rows: rusqlite::Result<Vec<T>> = (|| {
            let mut statement = self.connection.prepare_cached(query)?;
            statement.query_map(params, row)?.collect()
        })();
        rows.map_err(|source| self.error(action, source))
    }

    /// Runs several queries that are to see the same commits.
    fn one_moment<T>(
        &self,
        action: &'static str,
        queries: impl FnOnce(&Self) -> Result<T, CallError>,
    ) -> Result<T, LedgerError> {
        let result = (|| {
            let _snapshot = self.connection.unchecked_transaction()?;
            queries(self)
        })();
        result.map_err(|error| match error {
            CallError::Ledger(error) => error,
            CallError::Sqlite(source) => self.error(action, source),
        })
    }

    fn error(&self, action: &'static str, source: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

const SHARE_COLUMNS: &str = "seq, accepted_at_ms, account, worker, node, lane, hash, extranonce_prefix, channel_id, \
    job_id, nbits, ntime, nonce, version, work, score, is_block";

fn share(row: &Row<'_>) -> rusqlite::Result<ShareRow> {
    Ok(ShareRow {
        seq: row.get(0)?,
        accepted_at_ms: row.get(1)?,
        origin: Arc::new(origin(row, 2)?),
        hash: BlockHash::from_byte_array(row.get(6)?),
        extranonce_prefix: row.get(7)?,
        channel_id: row.get(8)?,
        job_id: row.get(9)?,
        nbits: row.get(10)?,
        ntime: row.get(11)?,
        nonce: row.get(12)?,
        version: row.get(13)?,
        work: u128::from_be_bytes(row.get(14)?),
        score: u128::from_be_bytes(row.get(15)?),
        is_block: row.get(16)?,
    })
}

/// The four names from column `first` on.
pub(super) fn origin(row: &Row<'_>, first: usize) -> rusqlite::Result<Origin> {
    let name = |offset: usize| row.get::<_, String>(first + offset);
    Origin::new(name(0)?, name(1)?, name(2)?, name(3)?).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(first, kind, Box::new(error))
    })
}

fn first_use(row: &Row<'_>) -> rusqlite::Result<FirstUse> {
    Ok(FirstUse {
        account: row.get(0)?,
        worker: row.get(1)?,
        first_used_at_ms: row.get(2)?,
    })
}
