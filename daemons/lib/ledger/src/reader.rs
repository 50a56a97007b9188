//! Queries of those who only read: the pool's control socket, hhctl, the treasury, tests. Each has a connection of its
//! own, opened `mode=ro`, and sees the last commit; none holds the writer up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hh_mining::BlockHash;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use crate::{BlockRow, Epoch, LedgerError, Origin, ShareRow, block, schema};

/// What an account has brought in since the ledger was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSum {
    /// The account.
    pub account: String,
    /// Its accepted shares.
    pub shares: u64,
    /// Their work: expected hashes.
    pub work: u128,
    /// Their score.
    pub score: u128,
    /// When the last one was accepted, milliseconds since 1970.
    pub last_share_at_ms: Option<i64>,
}

/// The sum of one origin's shares in one minute, of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinuteSum {
    /// Minutes since 1970.
    pub minute: i64,
    /// The log.
    pub epoch: Epoch,
    /// Who is credited.
    pub origin: Origin,
    /// Accepted shares.
    pub shares: u64,
    /// Their work: expected hashes.
    pub work: u128,
    /// Their score.
    pub score: u128,
    /// SHA-256 chain over the shares in the order of their log; `schema.rs` has the definition.
    pub chain: [u8; 32],
}

/// What the ledger has of a share log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// The pool that writes it.
    pub pool: String,
    /// Its id.
    pub epoch: Epoch,
    /// The last record in the ledger.
    pub last_seq: u64,
    /// No later record of this log has an earlier time; milliseconds since 1970.
    pub watermark_ms: Option<i64>,
}

/// An account or a worker, and when it was first used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstUse {
    /// The account.
    pub account: String,
    /// The worker; none in a list of accounts.
    pub worker: Option<String>,
    /// Time of its first binding or share, milliseconds since 1970.
    pub first_used_at_ms: i64,
}

/// A connection for reading only. Its calls block.
#[derive(Debug)]
pub struct LedgerReader {
    path: PathBuf,
    connection: Connection,
}

impl LedgerReader {
    /// Opens the database at `path`.
    ///
    /// # Errors
    /// It is not there, can't be read, or was migrated by a newer program.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self {
            path: path.to_owned(),
            connection: schema::open_for_reading(path)?,
        })
    }

    /// What the ledger has of each share log, oldest first.
    ///
    /// # Errors
    /// The query failed.
    pub fn logs(&self) -> Result<Vec<LogRow>, LedgerError> {
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

    /// How many shares there are as rows.
    ///
    /// # Errors
    /// The query failed.
    pub fn share_count(&self) -> Result<u64, LedgerError> {
        let query = "SELECT count(*) FROM shares";
        let counted = self.connection.query_row(query, [], |row| row.get(0));
        counted.map_err(|source| self.error("count shares", source))
    }

    /// Shares of one log from `from_seq` on, at most `limit`, in the order of the log.
    ///
    /// # Errors
    /// The query failed.
    pub fn shares(
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

    /// The shares with this header hash: at most one, unless something is wrong. Looks at every row.
    ///
    /// # Errors
    /// The query failed.
    pub fn shares_by_hash(&self, hash: &BlockHash) -> Result<Vec<ShareRow>, LedgerError> {
        let query = format!("SELECT {SHARE_COLUMNS} FROM share_records WHERE hash = ?");
        self.rows("look a share up", &query, [hash.as_byte_array()], share)
    }

    /// The sums of the minutes from `first` to `last`, both included, in the order of minute and log.
    ///
    /// # Errors
    /// The query failed.
    pub fn minute_sums(&self, first: i64, last: i64) -> Result<Vec<MinuteSum>, LedgerError> {
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

    /// What the accounts have brought in since the ledger was made, most work first, at most `limit`.
    ///
    /// # Errors
    /// The query failed.
    pub fn account_sums(&self, limit: usize) -> Result<Vec<AccountSum>, LedgerError> {
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

    /// The accounts in the order of their first use.
    ///
    /// # Errors
    /// The query failed.
    pub fn accounts(&self) -> Result<Vec<FirstUse>, LedgerError> {
        let query = "SELECT account, NULL, first_used_at_ms FROM accounts ORDER BY 3, 1";
        self.rows("list accounts", query, [], first_use)
    }

    /// The workers that have a name, in the order of their first use.
    ///
    /// # Errors
    /// The query failed.
    pub fn workers(&self) -> Result<Vec<FirstUse>, LedgerError> {
        let query = "SELECT account, worker, first_used_at_ms FROM workers ORDER BY 3, 1, 2";
        self.rows("list workers", query, [], first_use)
    }

    /// Whose an extranonce prefix was in an epoch.
    ///
    /// # Errors
    /// The query failed.
    pub fn binding(&self, epoch: &Epoch, prefix: &[u8; 8]) -> Result<Option<Origin>, LedgerError> {
        let query = "SELECT account, worker, node, lane FROM bindings
            JOIN logs ON logs.id = log JOIN origins ON origins.id = origin
            WHERE epoch = ? AND extranonce_prefix = ?";
        let found = self
            .connection
            .query_row(query, params![epoch, prefix], |row| origin(row, 0))
            .optional();
        found.map_err(|source| self.error("look a prefix up", source))
    }

    /// The last blocks, newest first, at most `limit`.
    ///
    /// # Errors
    /// The query failed.
    pub fn blocks(&self, limit: usize) -> Result<Vec<BlockRow>, LedgerError> {
        block::last(&self.connection, limit).map_err(|source| self.error("list blocks", source))
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

    fn error(&self, action: &'static str, source: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

impl AccountSum {
    fn add(&mut self, more: &Self) -> Result<(), LedgerError> {
        let overflow = || LedgerError::OutOfRange {
            what: "the sum of an account",
        };
        self.shares = self.shares.checked_add(more.shares).ok_or_else(overflow)?;
        self.work = self.work.checked_add(more.work).ok_or_else(overflow)?;
        self.score = self.score.checked_add(more.score).ok_or_else(overflow)?;
        self.last_share_at_ms = self.last_share_at_ms.max(more.last_share_at_ms);
        Ok(())
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
fn origin(row: &Row<'_>, first: usize) -> rusqlite::Result<Origin> {
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
