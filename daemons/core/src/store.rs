//! `core.db`: one connection, in a thread of its own, and the queue in front of it.
//!
//! It owns how the database is opened, and that each call is one transaction: all of it is on the disk when the call returns, or
//! none. It knows no table but by the schema's text; who owns rows has the queries.

mod schema;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

/// Calls that wait: some hundred sessions with one each. Who calls waits in turn.
const QUEUE: usize = 1_024;

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("can't {action} the file {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("can't {action} the database {}", path.display())]
    Open {
        action: &'static str,
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error(
        "the database {} was written by a newer hyperhash-core (schema {found}, this one knows {known}); start that one", path.display()
    )]
    Newer {
        path: PathBuf,
        found: usize,
        known: usize,
    },
    #[error("a statement on core.db failed")]
    Statement(#[from] rusqlite::Error),
    #[error("core.db holds {what}, which hyperhash-core never wrote; restore it from a backup")]
    Damaged { what: String },
    #[error("hyperhash-core stops")]
    Stopped,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The database. Clones share it; the thread ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens the database at `path`, which is made and migrated where that is due.
    ///
    /// # Errors
    /// The disk refuses, or a newer version has written it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = schema::open(path)?;
        let (jobs, mut waiting) = mpsc::channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new().name("core-db".to_owned());
        let spawned = thread.spawn(move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut connection);
            }
        });
        spawned.map_err(|source| StoreError::File {
            action: "start the thread for",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { jobs })
    }

    /// One transaction. It is committed if `action` gives a value, and rolled back if it gives an error.
    ///
    /// # Errors
    /// That of `action`, or of the database.
    pub(crate) async fn call<T, E>(
        &self,
        action: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Who asked may have gone: what was done stays done.
            answer.send(transact(connection, action)).ok();
        });
        let stopped = || E::from(StoreError::Stopped);
        self.jobs.send(job).await.ok().ok_or_else(stopped)?;
        answered.await.unwrap_or_else(|_gone| Err(stopped()))
    }
}

fn transact<T, E: From<StoreError>>(
    connection: &mut Connection,
    action: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::from)?;
    let value = action(&transaction)?;
    transaction.commit().map_err(StoreError::from)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let insert = "INSERT INTO audit (seq, line) VALUES (1, 'x')";
        let failed: Result<(), StoreError> = store
            .call(move |transaction| {
                transaction.execute(insert, [])?;
                Err(StoreError::Stopped)
            })
            .await;
        failed.unwrap_err();
        let count = |store: Store| async move {
            let counted: Result<i64, StoreError> = store
                .call(|transaction| {
                    let count = "SELECT count(*) FROM audit";
                    Ok(transaction.query_row(count, [], |row| row.get(0))?)
                })
                .await;
            counted.unwrap()
        };
        assert_eq!(count(store.clone()).await, 0);
        let done: Result<usize, StoreError> = store
            .call(move |transaction| Ok(transaction.execute(insert, [])?))
            .await;
        assert_eq!(done.unwrap(), 1);
        assert_eq!(count(store).await, 1);
    }

    #[tokio::test]
    async fn lines_of_the_audit_log_are_never_changed_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let run = |statement: &'static str| {
            let store = store.clone();
            async move {
                let done: Result<usize, StoreError> = store
                    .call(move |transaction| Ok(transaction.execute(statement, [])?))
                    .await;
                done.map_err(|error| format!("{error:?}"))
            }
        };
        run("INSERT INTO audit (seq, line) VALUES (1, 'x')")
            .await
            .unwrap();
        for statement in ["UPDATE audit SET line = 'y'", "DELETE FROM audit"] {
            let error = run(statement).await.unwrap_err();
            assert!(error.contains("append-only"), "{error}");
        }
    }

    #[test]
    fn a_database_of_a_newer_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core.db");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("schema 99"), "{error}");
    }
}
