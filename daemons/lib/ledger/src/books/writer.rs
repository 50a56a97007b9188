//! The one writer of the books. Owns the connection, connects when it is needed, and gives the connection up after an error
//! that may have come from it, which also takes back what was not committed.

use std::path::Path;

use super::session::{Access, CallError, Session};
use super::value::values;
use super::witness::{Progress, Sync, Witness};
use super::{BooksError, schema};
use crate::postgres::CALL_TIME_MAX;
use crate::{LedgerError, Location};

#[derive(Debug)]
pub(super) struct Writer {
    location: Location,
    witness: Witness,
    session: Option<Session>,
}

/// A transaction to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    /// What is tried, as a verb: for the error.
    pub(super) action: &'static str,
    pub(super) access: Access,
    pub(super) sync: Sync,
}

impl Writer {
    pub(super) fn new(location: &Location, witness: &Path) -> Self {
        Self {
            location: location.clone(),
            witness: Witness::new(witness),
            session: None,
        }
    }

    /// Runs `work` in a transaction.
    pub(super) async fn transaction<T>(
        &mut self,
        task: Task,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, CallError>,
    ) -> Result<T, BooksError> {
        let mut session = self.connected().await?;
        let call = async {
            session.begin(task.access).await?;
            match work(&mut session).await {
                Ok(done) => {
                    let progress = match task.access {
                        Access::Read => None,
                        Access::Write => Some(count_commit(&mut session).await?),
                    };
                    session.batch("COMMIT").await?;
                    Ok((Ok(done), progress))
                }
                // The connection is good: it only has to forget what was begun.
                Err(CallError::Refused(refusal)) => {
                    session.batch("ROLLBACK").await?;
                    Ok((Err(refusal), None))
                }
                Err(error) => Err(error),
            }
        };
        let (done, progress) = self.within_limit(task.action, call).await?;
        self.session = Some(session);
        if let Some(progress) = progress {
            self.note(progress, task.sync);
        }
        done
    }

    /// Moves SQLite's write-ahead log into the database.
    pub(super) async fn checkpoint(&mut self) -> Result<(), BooksError> {
        let mut session = self.connected().await?;
        let done = session.checkpoint();
        let done = done.map_err(|error| self.error("checkpoint", error));
        self.session = Some(session);
        done
    }

    /// The last handle is gone.
    pub(super) async fn close(mut self) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        if let Err(error) = session.checkpoint() {
            let error = self.error("checkpoint", error);
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "books closed without a checkpoint");
        }
        session.close().await;
    }

    /// The connection, a new one if there is none that works.
    async fn connected(&mut self) -> Result<Session, BooksError> {
        if let Some(mut session) = self.session.take()
            && session.is_alive()
        {
            return Ok(session);
        }
        let mut session = Session::connect(&self.location).await?;
        let migrating = async {
            session.begin(Access::Read).await?;
            let is_current = schema::is_current(&mut session, &self.location).await;
            session.batch("ROLLBACK").await?;
            if !is_current? {
                session.begin(Access::Write).await?;
                schema::migrate(&mut session, &self.location).await?;
                session.batch("COMMIT").await?;
            }
            Ok(())
        };
        self.within_limit("migrate the schema", migrating).await?;
        self.examine(&mut session).await?;
        Ok(session)
    }

    /// Freezes the books where the database is not the one that was written to. Before anything else is done with it.
    async fn examine(&mut self, session: &mut Session) -> Result<(), BooksError> {
        let reading = async {
            session.begin(Access::Read).await?;
            let state =
                "SELECT generation, commits, (SELECT count(*) FROM attempts) FROM book_state";
            let row = session.find(state, &[]).await?;
            session.batch("COMMIT").await?;
            let row = row.ok_or(LedgerError::OutOfRange {
                what: "the state of the books",
            });
            let row = row.map_err(BooksError::from)?;
            let (generation, commits) = (row.get(0)?, row.get(1)?);
            let progress = Progress {
                generation,
                commits,
            };
            Ok((progress, row.get::<u64>(2)? > 0))
        };
        let (found, is_used) = self.within_limit("read the state", reading).await?;
        let Some(reason) = self.witness.objection(found, is_used)? else {
            return Ok(());
        };
        let freezing = async {
            session.begin(Access::Write).await?;
            let new: [u8; 16] = rand::random();
            let update = "UPDATE book_state SET generation = $1";
            session.execute(update, &values![new]).await?;
            super::freeze::put(session, &reason, "hh-treasury", now_ms()).await?;
            let progress = count_commit(session).await?;
            session.batch("COMMIT").await?;
            Ok(progress)
        };
        let progress = self.within_limit("freeze payouts", freezing).await?;
        tracing::error!(reason, "payouts frozen: the books may lack payments");
        self.note(progress, Sync::Now);
        Ok(())
    }

    /// What is committed is committed: without its witness a later restore may go unnoticed, which is told.
    fn note(&mut self, progress: Progress, sync: Sync) {
        if let Err(error) = self.witness.note(progress, sync) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the witness of the books is behind");
        }
    }

    async fn within_limit<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, BooksError> {
        match tokio::time::timeout(CALL_TIME_MAX, call).await {
            Ok(done) => done.map_err(|error| self.error(action, error)),
            Err(_elapsed) => Err(LedgerError::TimedOut {
                action,
                server: self.location.to_string(),
                limit: CALL_TIME_MAX,
            }
            .into()),
        }
    }

    /// Says what was tried and where.
    fn error(&self, action: &'static str, error: CallError) -> BooksError {
        match error {
            CallError::Refused(error) => error,
            CallError::Sqlite(source) => LedgerError::Sqlite {
                action,
                path: self.location.to_string().into(),
                source,
            }
            .into(),
            CallError::Postgres(source) => LedgerError::Postgres {
                action,
                server: self.location.to_string(),
                source,
            }
            .into(),
        }
    }
}

async fn count_commit(session: &mut Session) -> Result<Progress, CallError> {
    let update = "UPDATE book_state SET commits = commits + 1 RETURNING generation, commits";
    let row = session.find(update, &[]).await?;
    let row = row.ok_or(LedgerError::OutOfRange {
        what: "the state of the books",
    });
    let row = row.map_err(BooksError::from)?;
    Ok(Progress {
        generation: row.get(0)?,
        commits: row.get(1)?,
    })
}

/// By this machine's clock: nobody has asked for the freeze.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
