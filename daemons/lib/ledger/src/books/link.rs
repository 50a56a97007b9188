//! `Link`: the way to the books' database. Owns a connection, which is given up after an error that may have come from it; that also
//! takes back what was not committed.

use super::BooksError;
use super::session::{Access, CallError, Session};
use crate::postgres::CALL_TIME_MAX;
use crate::{LedgerError, Location};

#[derive(Debug)]
pub(super) struct Link {
    location: Location,
    session: Option<Session>,
}

impl Link {
    pub(super) fn new(location: &Location) -> Self {
        Self {
            location: location.clone(),
            session: None,
        }
    }

    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    /// The connection, if there is one that works.
    pub(super) fn take(&mut self) -> Option<Session> {
        let mut session = self.session.take()?;
        session.is_alive().then_some(session)
    }

    /// Keeps a connection that works for the next call.
    pub(super) fn keep(&mut self, session: Session) {
        self.session = Some(session);
    }

    /// Runs `work` in a transaction on `session`, and keeps that for the next call. `last` is done in the same transaction, after
    /// work that was not refused.
    pub(super) async fn transaction<T, U>(
        &mut self,
        mut session: Session,
        (action, access): (&'static str, Access),
        work: impl AsyncFnOnce(&mut Session) -> Result<T, CallError>,
        last: impl AsyncFnOnce(&mut Session) -> Result<U, CallError>,
    ) -> Result<(T, U), BooksError> {
        let call = async {
            session.begin(access).await?;
            match work(&mut session).await {
                Ok(done) => {
                    let last = last(&mut session).await?;
                    session.batch("COMMIT").await?;
                    Ok(Ok((done, last)))
                }
                // The connection is good: it only has to forget what was begun.
                Err(CallError::Refused(refusal)) => {
                    session.batch("ROLLBACK").await?;
                    Ok(Err(refusal))
                }
                Err(error) => Err(error),
            }
        };
        let done = self.within_limit(action, call).await?;
        self.keep(session);
        done
    }

    /// Waits for a call.
    pub(super) async fn within_limit<T>(
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
    pub(super) fn error(&self, action: &'static str, error: CallError) -> BooksError {
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

    /// The last handle is gone.
    pub(super) async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }
}
