//! One connection. Owns both halves of it: whoever waits for an answer moves its bytes, so that no task stands behind it
//! and dropping it is the end of it.

use std::collections::HashMap;
use std::fmt;
use std::pin::{Pin, pin};

use futures::FutureExt;
use futures::future::try_join_all;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, NoTls, Row, Statement};

use super::server::{CONNECT_TIME_MAX, PostgresServer};
use crate::LedgerError;

/// Moves the bytes of a connection. Ends when the connection does.
type Wire = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A commit must be on the disk (and on a synchronous standby, where there is one) when it is answered, because the
/// share log lets go of what the ledger has. A transaction that was cut off in the middle must not hold its locks for
/// long. Plans made for an empty table are bad ones later; planning anew costs nothing beside a shipment.
const SETTINGS: &str = "
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
    SET idle_in_transaction_session_timeout = '60s';
    SET statement_timeout = '60s';
    SET plan_cache_mode = force_custom_plan;
    SET client_min_messages = warning;
";

/// A connection to the server, for one caller at a time.
pub struct Session {
    client: Client,
    wire: Wire,
    statements: HashMap<String, Statement>,
}

impl Session {
    /// Connects and logs in; names without a schema are those of `schema`, which need not be there yet.
    ///
    /// # Errors
    /// The server is not there, refuses, or has a database that can't hold every name.
    pub async fn connect(
        server: &PostgresServer,
        schema: &'static str,
    ) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::Postgres {
            action: "connect to",
            server: server.to_string(),
            source,
        };
        let access = server.access();
        let connecting = async {
            let (client, wire): (Client, Wire) = if let Some(tls) = &access.tls {
                let (client, connection) = access.config.connect(tls.clone()).await?;
                (client, Box::pin(connection))
            } else {
                let (client, connection) = access.config.connect(NoTls).await?;
                (client, Box::pin(connection))
            };
            let statements = HashMap::new();
            let mut session = Self {
                client,
                wire,
                statements,
            };
            let settings = format!("{SETTINGS} SET search_path = {schema}, pg_temp");
            session.batch(&settings).await?;
            let encoding = session
                .query("SELECT current_setting('server_encoding')", &[])
                .await?;
            Ok((session, encoding[0].try_get::<_, String>(0)?))
        };
        let Ok(connected) = tokio::time::timeout(CONNECT_TIME_MAX, connecting).await else {
            return Err(LedgerError::TimedOut {
                action: "connect to",
                server: server.to_string(),
                limit: CONNECT_TIME_MAX,
            });
        };
        let (session, encoding) = connected.map_err(failed)?;
        if encoding != "UTF8" {
            let (server, found) = (server.to_string(), encoding);
            return Err(LedgerError::Encoding { server, found });
        }
        Ok(session)
    }

    /// Whether the server has not closed the connection while nobody looked.
    pub fn is_alive(&mut self) -> bool {
        self.wire.as_mut().now_or_never().is_none()
    }

    /// Runs statements without parameters or results.
    ///
    /// # Errors
    /// The server refuses, or is gone.
    pub async fn batch(&mut self, statements: &str) -> Result<(), Error> {
        drive(&mut self.wire, self.client.batch_execute(statements)).await
    }

    /// Runs a query, prepared the first time.
    ///
    /// # Errors
    /// The server refuses, or is gone.
    pub async fn query(
        &mut self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.statement(query).await?;
        drive(&mut self.wire, self.client.query(&statement, parameters)).await
    }

    /// Runs a statement, prepared the first time; says how many rows it changed.
    ///
    /// # Errors
    /// The server refuses, or is gone.
    pub async fn execute(
        &mut self,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        let statement = self.statement(query).await?;
        drive(&mut self.wire, self.client.execute(&statement, parameters)).await
    }

    /// Runs a `COPY ... FROM STDIN BINARY` to which `rows` gives rows of these types.
    pub(super) async fn copy(
        &mut self,
        query: &str,
        types: &[Type],
        rows: impl AsyncFnOnce(Pin<&mut BinaryCopyInWriter>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let statement = self.statement(query).await?;
        let client = &self.client;
        let copy = async {
            let sink = client.copy_in(&statement).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
            rows(writer.as_mut()).await?;
            writer.finish().await?;
            Ok(())
        };
        drive(&mut self.wire, copy).await
    }

    /// Runs a query once for each of these parameters; all are on their way before the first is answered.
    ///
    /// # Errors
    /// The server refuses one, or is gone.
    pub async fn query_each(
        &mut self,
        query: &str,
        parameters: &[Vec<&(dyn ToSql + Sync)>],
    ) -> Result<Vec<Vec<Row>>, Error> {
        let statement = self.statement(query).await?;
        let calls = parameters
            .iter()
            .map(|parameters| self.client.query(&statement, parameters));
        drive(&mut self.wire, try_join_all(calls)).await
    }

    /// As [`Self::query_each`], for a statement; says how many rows each changed.
    ///
    /// # Errors
    /// The server refuses one, or is gone.
    pub async fn execute_each(
        &mut self,
        query: &str,
        parameters: &[Vec<&(dyn ToSql + Sync)>],
    ) -> Result<Vec<u64>, Error> {
        let statement = self.statement(query).await?;
        let calls = parameters
            .iter()
            .map(|parameters| self.client.execute(&statement, parameters));
        drive(&mut self.wire, try_join_all(calls)).await
    }

    /// Says goodbye to the server.
    ///
    /// # Errors
    /// The connection was lost before.
    pub async fn close(self) -> Result<(), Error> {
        drop(self.client);
        self.wire.await
    }

    async fn statement(&mut self, query: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(query) {
            return Ok(statement.clone());
        }
        let statement = drive(&mut self.wire, self.client.prepare(query)).await?;
        self.statements.insert(query.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Waits for `work` and moves the bytes it waits for.
async fn drive<T>(
    wire: &mut Wire,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        ended = wire => ended?,
    }
    // The connection has ended without an error of its own: that is the answer now.
    work.await
}
