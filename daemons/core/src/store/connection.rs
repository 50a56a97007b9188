//! `Connection`: one to the database, of whichever engine, in a thread of its own.

use super::notice::Notice;
use super::transaction::{Engine, STATEMENT_TIME_MAX, Transaction};
use super::{Access, StoreError, schema};
use hh_ledger::{PostgresServer, PostgresSession};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// A server that did not let us in is not asked again before this: who calls meanwhile hears so at once.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A transaction that is not ended for so long, as that of a replica which was stopped in the middle, gives up its locks.
const SETTINGS: &str = "SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '12s'";

pub(super) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Remote>),
}

/// A PostgreSQL, connected to when that is due.
pub(super) struct Remote {
    server: PostgresServer,
    access: Access,
    runtime: Runtime,
    session: Option<PostgresSession>,
    failed_at: Option<Instant>,
}

impl Connection {
    pub(super) fn to(server: &PostgresServer, access: Access) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StoreError::Thread)?;
        Ok(Self::Postgres(Box::new(Remote {
            server: server.clone(),
            access,
            runtime,
            session: None,
            failed_at: None,
        })))
    }

    /// Runs one transaction; gives what others are to be told with what `action` gave.
    pub(super) fn transact<T, E: From<StoreError>>(
        &mut self,
        access: Access,
        action: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<(T, Vec<Notice>), E> {
        match self {
            Self::Sqlite(connection) => {
                let (done, _) = run(Engine::Sqlite(connection), access, action);
                done
            }
            Self::Postgres(remote) => remote.transact(access, action),
        }
    }
}

impl Remote {
    fn transact<T, E: From<StoreError>>(
        &mut self,
        access: Access,
        action: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<(T, Vec<Notice>), E> {
        let mut session = self.connected()?;
        let engine = Engine::Postgres {
            runtime: &self.runtime,
            session: (&mut session).into(),
        };
        let (done, is_usable) = run(engine, access, action);
        if is_usable {
            self.session = Some(session);
        }
        done
    }

    fn connected(&mut self) -> Result<PostgresSession, StoreError> {
        if let Some(mut session) = self.session.take()
            && self.runtime.block_on(still_alive(&mut session))
        {
            return Ok(session);
        }
        if self
            .failed_at
            .is_some_and(|at| at.elapsed() < RECONNECT_PAUSE)
        {
            return Err(StoreError::Away);
        }
        let connected = self.connect();
        self.failed_at = connected.is_err().then(Instant::now);
        connected
    }

    fn connect(&self) -> Result<PostgresSession, StoreError> {
        let connecting = PostgresSession::connect(&self.server, schema::NAME);
        let mut session = self
            .runtime
            .block_on(connecting)
            .map_err(StoreError::Connect)?;
        let setting = async {
            let limit = STATEMENT_TIME_MAX;
            tokio::time::timeout(limit, session.batch(SETTINGS)).await
        };
        let set = self.runtime.block_on(setting);
        set.map_err(|_elapsed| StoreError::TimedOut)??;
        if self.access == Access::Alone {
            let engine = Engine::Postgres {
                runtime: &self.runtime,
                session: (&mut session).into(),
            };
            let (migrated, _) = run(engine, Access::Alone, schema::migrate_postgres);
            migrated?;
        }
        Ok(session)
    }
}

/// The runtime hears what came while it was not running only when it is given a turn.
async fn still_alive(session: &mut PostgresSession) -> bool {
    tokio::task::yield_now().await;
    session.is_alive()
}

type Done<T, E> = Result<(T, Vec<Notice>), E>;

/// Also says whether the connection can be used again.
fn run<T, E: From<StoreError>>(
    engine: Engine<'_>,
    access: Access,
    action: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
) -> (Done<T, E>, bool) {
    let transaction = match Transaction::begin(engine, access) {
        Ok(transaction) => transaction,
        Err(error) => return (Err(error.into()), false),
    };
    match action(&transaction) {
        Ok(value) => match transaction.commit() {
            Ok(notices) => (Ok((value, notices)), true),
            Err(error) => (Err(error.into()), false),
        },
        Err(error) => {
            let is_usable = transaction.roll_back();
            (Err(error), is_usable)
        }
    }
}
