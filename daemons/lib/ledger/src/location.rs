//! Where a ledger is.

use std::fmt;
use std::path::PathBuf;

use crate::PostgresServer;

/// Where a ledger is, and so which engine keeps it. Displayed for people, without secrets.
#[derive(Debug, Clone)]
pub enum Location {
    /// An SQLite database of this pool alone.
    Sqlite(PathBuf),
    /// The schema `pool` of a PostgreSQL database, which several pools may share.
    Postgres(PostgresServer),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(server) => server.fmt(f),
        }
    }
}
