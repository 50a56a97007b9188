//! A small SQLite file of the agent's: one connection, used for a few milliseconds at a time.

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The write-ahead log is cut back to this size after a checkpoint.
const WAL_BYTES_MAX: i64 = 4 << 20;

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("can't create {}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("can't open the database {}", path.display())]
    Open {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("{} was written by a newer hh-node-agent; start that one", path.display())]
    Newer { path: PathBuf },
    #[error("a statement on a database of the agent failed")]
    Statement(#[from] rusqlite::Error),
    #[error("a database of the agent holds {0}, which it never wrote; move it away to begin anew")]
    Damaged(&'static str),
    #[error("the agent stops")]
    Stopped,
}

/// The file. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// Opens the file at `path`, for its owner alone, with the tables of these steps, each of which is made once. What is committed
    /// survives a loss of power.
    ///
    /// # Errors
    /// The disk refuses, or a newer version has written it.
    pub(crate) fn open(path: &Path, steps: &[&str]) -> Result<Self, DatabaseError> {
        let made = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path);
        made.map_err(|source| DatabaseError::Create {
            path: path.to_owned(),
            source,
        })?;
        let error = |source| DatabaseError::Open {
            path: path.to_owned(),
            source,
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(error)?;
        configure(&connection).map_err(error)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(error)?;
        let version: usize = transaction
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(error)?;
        let Some(missing) = steps.get(version..) else {
            let path = path.to_owned();
            return Err(DatabaseError::Newer { path });
        };
        for step in missing {
            transaction.execute_batch(step).map_err(error)?;
        }
        let set = transaction.pragma_update(None, "user_version", steps.len());
        set.map_err(error)?;
        transaction.commit().map_err(error)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// One transaction; it is on the disk when this returns, or nothing of it is.
    ///
    /// # Errors
    /// That of `action`, or of the database.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        action: impl FnOnce(&Transaction<'_>) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let shared = Arc::clone(&self.0);
        let called = tokio::task::spawn_blocking(move || {
            // A transaction that panicked was rolled back.
            let mut connection = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = action(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        called.await.unwrap_or(Err(DatabaseError::Stopped))
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)
}
