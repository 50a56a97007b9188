//! The one writer of the books, and the one reader, which holds no payment up however much it has to look at. Each is a thread with
//! a connection of its own.

use std::path::Path;

use super::link::Link;
use super::session::{Access, CallError, Session};
use super::value::{Row, values};
use super::witness::{Progress, Sync, Witness};
use super::{BooksError, freeze, schema};
use crate::{LedgerError, Location};

/// Reads what is committed. The schema has been made before.
#[derive(Debug)]
pub(super) struct Reader(Link);

impl Reader {
    pub(super) fn new(location: &Location) -> Self {
        Self(Link::new(location))
    }

    /// Runs `work` in a transaction, which sees what is committed when it begins.
    pub(super) async fn transaction<T>(
        &mut self,
        action: &'static str,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, CallError>,
    ) -> Result<T, BooksError> {
        let session = match self.0.take() {
            Some(session) => session,
            None => Session::connect(self.0.location(), Access::Read).await?,
        };
        let call = (action, Access::Read);
        let last = async |_: &mut Session| Ok(());
        Ok(self.0.transaction(session, call, work, last).await?.0)
    }

    /// The last handle is gone.
    pub(super) async fn close(self) {
        self.0.close().await;
    }
}

/// Writes. Makes and migrates the schema when it connects, and looks whether the database is the one that it wrote to before.
#[derive(Debug)]
pub(super) struct Writer {
    link: Link,
    witness: Witness,
}

impl Writer {
    pub(super) fn new(location: &Location, witness: &Path) -> Self {
        Self {
            link: Link::new(location),
            witness: Witness::new(witness),
        }
    }

    /// Connects, if that is due.
    pub(super) async fn connect(&mut self) -> Result<(), BooksError> {
        let session = self.connected().await?;
        self.link.keep(session);
        Ok(())
    }

    /// Runs `work` in a transaction, and takes note of its commit.
    pub(super) async fn transaction<T>(
        &mut self,
        action: &'static str,
        sync: Sync,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, CallError>,
    ) -> Result<T, BooksError> {
        let session = self.connected().await?;
        let call = (action, Access::Write);
        let done = self.link.transaction(session, call, work, count_commit);
        let (done, progress) = done.await?;
        self.note(progress, sync);
        Ok(done)
    }

    /// Moves SQLite's write-ahead log into the database.
    pub(super) async fn checkpoint(&mut self) -> Result<(), BooksError> {
        let mut session = self.connected().await?;
        let done = session.checkpoint();
        let done = done.map_err(|error| self.link.error("checkpoint", error));
        self.link.keep(session);
        done
    }

    /// The last handle is gone.
    pub(super) async fn close(mut self) {
        let Some(mut session) = self.link.take() else {
            return;
        };
        if let Err(error) = session.checkpoint() {
            let error = self.link.error("checkpoint", error);
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "books closed without a checkpoint");
        }
        session.close().await;
    }

    /// The connection, a new one if there is none that works.
    async fn connected(&mut self) -> Result<Session, BooksError> {
        if let Some(session) = self.link.take() {
            return Ok(session);
        }
        let location = self.link.location();
        let mut session = Session::connect(location, Access::Write).await?;
        let migrating = async {
            session.begin(Access::Read).await?;
            let is_current = schema::is_current(&mut session, location).await;
            session.batch("ROLLBACK").await?;
            if !is_current? {
                session.begin(Access::Write).await?;
                schema::migrate(&mut session, location).await?;
                session.batch("COMMIT").await?;
            }
            Ok(())
        };
        let action = "migrate the schema";
        self.link.within_limit(action, migrating).await?;
        self.examine(&mut session).await?;
        Ok(session)
    }

    /// Freezes the books where the database is not the one that was written to. Before anything else is done with it.
    async fn examine(&mut self, session: &mut Session) -> Result<(), BooksError> {
        let reading = async {
            session.begin(Access::Read).await?;
            let query =
                "SELECT generation, commits, (SELECT count(*) FROM attempts) FROM book_state";
            let row = session.find(query, &[]).await?;
            session.batch("COMMIT").await?;
            let (progress, row) = progress(row)?;
            Ok((progress, row.get::<u64>(2)? > 0))
        };
        let (found, is_used) = self.link.within_limit("read the state", reading).await?;
        let Some(reason) = self.witness.objection(found, is_used)? else {
            return Ok(());
        };
        let freezing = async {
            session.begin(Access::Write).await?;
            let new: [u8; 16] = rand::random();
            let update = "UPDATE book_state SET generation = $1";
            session.execute(update, &values![new]).await?;
            freeze::put(session, &reason, "hh-treasury", now_ms()).await?;
            let progress = count_commit(session).await?;
            session.batch("COMMIT").await?;
            Ok(progress)
        };
        let progress = self.link.within_limit("freeze payouts", freezing).await?;
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
}

async fn count_commit(session: &mut Session) -> Result<Progress, CallError> {
    let update = "UPDATE book_state SET commits = commits + 1 RETURNING generation, commits";
    let row = session.find(update, &[]).await?;
    Ok(progress(row)?.0)
}

/// How far a database has come, by a row of its state.
fn progress(row: Option<Row>) -> Result<(Progress, Row), BooksError> {
    let row = row.ok_or(LedgerError::OutOfRange {
        what: "the state of the books",
    })?;
    let progress = Progress {
        generation: row.get(0)?,
        commits: row.get(1)?,
    };
    Ok((progress, row))
}

/// By this machine's clock: nobody has asked for the freeze.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
