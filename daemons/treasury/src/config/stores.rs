//! Where the pool's ledger and the books are.

use super::TreasuryConfig;
use hh_daemon::{Failure, Mistakes};
use hh_ledger::{Location, PostgresConfig};
use serde::Deserialize;
use std::path::PathBuf;

/// The role in PostgreSQL where none is named.
const POSTGRES_USER: &str = "hh-treasury";

/// The pool's ledger: one of the two.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolLedgerConfig {
    /// Its `pool.db`.
    pub sqlite: Option<PathBuf>,
    pub postgres: Option<PostgresConfig>,
}

/// The books: `treasury.db` in the data directory, unless this says otherwise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BooksConfig {
    pub postgres: Option<PostgresConfig>,
}

impl TreasuryConfig {
    /// Where the pool's ledger is.
    ///
    /// # Errors
    /// The password or the root certificates can't be read.
    pub(crate) fn pool_ledger_location(&self) -> Result<Location, Failure> {
        let ledger = &self.pool_ledger;
        match (&ledger.sqlite, &ledger.postgres) {
            (Some(path), _) => Ok(Location::Sqlite(path.clone())),
            (None, Some(postgres)) => postgres.location(POSTGRES_USER),
            (None, None) => Err(Failure::config("pool_ledger names no ledger")),
        }
    }

    /// Where the books are.
    ///
    /// # Errors
    /// The password or the root certificates can't be read.
    pub(crate) fn books_location(&self) -> Result<Location, Failure> {
        match &self.books.postgres {
            Some(postgres) => postgres.location(POSTGRES_USER),
            None => Ok(Location::Sqlite(self.data_dir.join("treasury.db"))),
        }
    }

    pub(super) fn check_stores(&self, mistakes: &mut Mistakes) {
        let ledger = &self.pool_ledger;
        if ledger.sqlite.is_some() == ledger.postgres.is_some() {
            let what = "names no ledger, or two";
            let fix = "write `sqlite` with the path of the pool's pool.db, or a table [pool_ledger.postgres]";
            mistakes.add("pool_ledger", what, fix);
        }
        let databases = [
            ("pool_ledger.postgres", &ledger.postgres),
            ("books.postgres", &self.books.postgres),
        ];
        for (key, postgres) in databases {
            if let Some(postgres) = postgres {
                postgres.check(key, mistakes);
            }
        }
    }
}
