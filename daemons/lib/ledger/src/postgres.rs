//! The ledger in the schema `pool` of a PostgreSQL database, which several pools and their readers may share.
//!
//! Owns the connections, the schema and the statements on it. Each call is one transaction, given up with its connection
//! where anything fails, so that nothing half done or of unknown state is kept; the next call connects again. Pools
//! never wait for each other's shipments: what one writes many times a second, only its own log's rows have.

mod block;
mod claim;
mod cut;
mod listener;
mod origins;
mod reader;
mod schema;
mod server;
mod session;
mod shipment;
mod snapshot;
mod value;
mod worker;
mod writer;

use std::time::Duration;

pub use listener::Listener;
pub(crate) use reader::Reader;
pub use server::{PostgresServer, ServerError, ServerOptions};
pub use session::Session;
pub(crate) use snapshot::Snapshot;
pub(crate) use writer::Writer;

use crate::LedgerError;

/// How long a call may take once it is connected: a shipment takes some tens of milliseconds. A server that takes
/// connections and does not answer is told of after that.
pub(crate) const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// What stops a call; the caller adds where.
#[derive(Debug)]
enum CallError {
    Postgres(tokio_postgres::Error),
    Ledger(LedgerError),
}

impl From<tokio_postgres::Error> for CallError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<LedgerError> for CallError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl CallError {
    /// Says what was tried and where.
    fn at(self, action: &'static str, server: &PostgresServer) -> LedgerError {
        match self {
            Self::Ledger(error) => error,
            Self::Postgres(source) => LedgerError::Postgres {
                action,
                server: server.to_string(),
                source,
            },
        }
    }
}

/// Waits for a call.
async fn within_limit<T>(
    action: &'static str,
    server: &PostgresServer,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, LedgerError> {
    match tokio::time::timeout(CALL_TIME_MAX, call).await {
        Ok(done) => done.map_err(|error| error.at(action, server)),
        Err(_elapsed) => Err(LedgerError::TimedOut {
            action,
            server: server.to_string(),
            limit: CALL_TIME_MAX,
        }),
    }
}
