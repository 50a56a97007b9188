//! The database: `core.db` on SQLite, or the schema `core` of a PostgreSQL that several replicas share.
//!
//! It owns how the database is opened, and that each call is one transaction: all of it is on the disk when the call returns, or
//! none. It knows no table but by the schema's text; who owns rows has the queries, one text for both engines.
//!
//! ```text
//!  call, rows, read ──queue──► a thread and a connection ──► SQLite: one for all. PostgreSQL: one for each of the three
//!  what a call notifies ──► notices, here when it is committed; at other replicas by NOTIFY
//! ```

mod connection;
mod notice;
mod schema;
mod transaction;
mod value;

use connection::Connection;
use hh_ledger::{LedgerError, PostgresServer};
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::{broadcast, mpsc, oneshot};

pub(crate) use notice::Notice;
pub(crate) use transaction::Transaction;
pub(crate) use value::{Row, Value, among, values};

/// Calls that wait: some hundred sessions with one each. Who calls waits in turn.
const QUEUE: usize = 1_024;

/// Notices that wait for who hears them: a burst of commands for all nodes. Who misses some looks at everything.
const NOTICES: usize = 1_024;

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("can't {action} the file {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("can't start a thread for the database")]
    Thread(#[source] io::Error),
    #[error("can't {action} the database {}", path.display())]
    Open {
        action: &'static str,
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("PostgreSQL can't be reached")]
    Connect(#[source] LedgerError),
    #[error("PostgreSQL could not be reached a moment ago")]
    Away,
    #[error(
        "{database} was written by a newer hyperhash-core (schema {found}, this one knows {known}); start that one"
    )]
    Newer {
        database: String,
        found: usize,
        known: usize,
    },
    #[error("a statement on core.db failed")]
    Statement(#[from] rusqlite::Error),
    #[error("a statement on PostgreSQL failed")]
    Postgres(#[from] tokio_postgres::Error),
    #[error("PostgreSQL did not answer in {} s", transaction::STATEMENT_TIME_MAX.as_secs())]
    TimedOut,
    #[error(
        "the database holds {what}, which hyperhash-core never wrote; restore it from a backup"
    )]
    Damaged { what: String },
    #[error("hyperhash-core stops")]
    Stopped,
}

/// What a transaction is for. SQLite has one writer in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// It sees what is committed when it begins.
    Read,
    /// Its statements each hold whatever others write meanwhile.
    Rows,
    /// Nobody else does so meanwhile, at no replica.
    Alone,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The database. Clones share it; its threads end with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    alone: mpsc::Sender<Job>,
    rows: mpsc::Sender<Job>,
    reads: mpsc::Sender<Job>,
    notices: broadcast::Sender<Notice>,
    server: Option<PostgresServer>,
    /// Of this process, to tell it from other replicas and from what it was before a restart.
    instance: i64,
}

impl Store {
    /// Opens the database at `path`, which is made and migrated where that is due.
    ///
    /// # Errors
    /// The disk refuses, or a newer version has written it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let jobs = start(Connection::Sqlite(schema::open(path)?))?;
        Ok(Self::new([jobs.clone(), jobs.clone(), jobs], None))
    }

    /// A schema on a PostgreSQL, which is connected to, made and migrated by the first call.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn on(server: PostgresServer) -> Result<Self, StoreError> {
        let lane = |access| start(Connection::to(&server, access)?);
        let lanes = [
            lane(Access::Alone)?,
            lane(Access::Rows)?,
            lane(Access::Read)?,
        ];
        Ok(Self::new(lanes, Some(server)))
    }

    fn new([alone, rows, reads]: [mpsc::Sender<Job>; 3], server: Option<PostgresServer>) -> Self {
        Self {
            alone,
            rows,
            reads,
            server,
            notices: broadcast::Sender::new(NOTICES),
            instance: rand::random(),
        }
    }

    /// A number of this process.
    pub(crate) fn instance(&self) -> i64 {
        self.instance
    }

    /// Whether other replicas may have it, too.
    pub(crate) fn is_shared(&self) -> bool {
        self.server.is_some()
    }

    /// What is notified from now on, here or at another replica.
    pub(crate) fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Passes on what other replicas notify. It never returns.
    pub(crate) async fn listen(self) {
        match self.server {
            Some(server) => notice::listen(server, self.notices).await,
            None => std::future::pending().await,
        }
    }

    /// One transaction, which nobody's disturbs. It is committed if `action` gives a value, and rolled back if it gives an error.
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
        self.run(Access::Alone, action).await
    }

    /// As [`Self::call`], for statements that each hold whatever others write meanwhile.
    ///
    /// # Errors
    /// That of `action`, or of the database.
    pub(crate) async fn rows<T, E>(
        &self,
        action: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run(Access::Rows, action).await
    }

    /// As [`Self::call`], and changes nothing.
    ///
    /// # Errors
    /// That of `action`, or of the database.
    pub(crate) async fn read<T, E>(
        &self,
        action: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run(Access::Read, action).await
    }

    async fn run<T, E>(
        &self,
        access: Access,
        action: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let notices = self.notices.clone();
        let job: Job = Box::new(move |connection| {
            let done = connection.transact(access, action);
            let done = done.map(|(value, said)| {
                for notice in said {
                    // Nobody may listen yet.
                    notices.send(notice).ok();
                }
                value
            });
            // Who asked may have gone: what was done stays done.
            answer.send(done).ok();
        });
        let lane = match access {
            Access::Alone => &self.alone,
            Access::Rows => &self.rows,
            Access::Read => &self.reads,
        };
        let stopped = || E::from(StoreError::Stopped);
        lane.send(job).await.ok().ok_or_else(stopped)?;
        answered.await.unwrap_or_else(|_gone| Err(stopped()))
    }
}

/// The thread of a connection, which ends with the last who may call it.
fn start(mut connection: Connection) -> Result<mpsc::Sender<Job>, StoreError> {
    let (jobs, mut waiting) = mpsc::channel::<Job>(QUEUE);
    let thread = std::thread::Builder::new().name("core-db".to_owned());
    let run = move || {
        while let Some(job) = waiting.blocking_recv() {
            job(&mut connection);
        }
    };
    thread.spawn(run).map_err(StoreError::Thread)?;
    Ok(jobs)
}

#[cfg(test)]
pub(crate) mod tests;
