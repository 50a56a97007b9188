//! `Transaction`: one way to run a statement on both engines.
//!
//! There is one text of every statement. Its parameters are `$1`, `$2`, ...: PostgreSQL's own spelling, and names to SQLite.

use super::notice::Notice;
use super::value::{Row, Value, of_sqlite};
use super::{Access, StoreError};
use hh_ledger::PostgresSession;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;

/// How long the server may take for one statement: those of ours take milliseconds, and wait for another replica's transaction at most.
pub(super) const STATEMENT_TIME_MAX: Duration = Duration::from_secs(15);

/// Who writes alone waits for who does so elsewhere: replicas take turns, as they would at SQLite's file. So what was read is still so
/// when it is acted on, and the audit log has one end. The number is `hypr` and `core` in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'68797072'::integer, x'636f7265'::integer)";

const NOTIFY: &str = "SELECT pg_notify('hyperhash_core', $1)";

/// What a call has: all of its statements are done, or none.
pub(crate) struct Transaction<'a> {
    engine: Engine<'a>,
    notices: RefCell<Vec<Notice>>,
    /// The server refused something, or is gone: nothing more can be done on this connection.
    has_failed: Cell<bool>,
}

pub(super) enum Engine<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres {
        runtime: &'a Runtime,
        session: RefCell<&'a mut PostgresSession>,
    },
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(engine: Engine<'a>, access: Access) -> Result<Self, StoreError> {
        let transaction = Self {
            engine,
            notices: RefCell::default(),
            has_failed: Cell::new(false),
        };
        let is_sqlite = matches!(transaction.engine, Engine::Sqlite(_));
        transaction.batch(match access {
            Access::Read if is_sqlite => "BEGIN",
            Access::Rows | Access::Alone if is_sqlite => "BEGIN IMMEDIATE",
            Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Access::Rows | Access::Alone => "BEGIN",
        })?;
        if access == Access::Alone && !is_sqlite {
            transaction.batch(LOCK)?;
        }
        Ok(transaction)
    }

    /// Gives what others are to be told.
    pub(super) fn commit(self) -> Result<Vec<Notice>, StoreError> {
        let mut notices = self.notices.take();
        notices.sort_unstable();
        notices.dedup();
        if let Engine::Postgres { .. } = self.engine {
            let payloads = notices.iter().map(|notice| vec![notice.to_string().into()]);
            let payloads: Vec<Vec<Value>> = payloads.collect();
            if !payloads.is_empty() {
                self.execute_each(NOTIFY, &payloads)?;
            }
        }
        self.batch("COMMIT")?;
        Ok(notices)
    }

    /// False if the connection is of no use any more.
    pub(super) fn roll_back(self) -> bool {
        !self.has_failed.get() && self.batch("ROLLBACK").is_ok()
    }

    /// Tells all replicas of something, once it is committed.
    pub(crate) fn notify(&self, notice: Notice) {
        self.notices.borrow_mut().push(notice);
    }

    /// Runs statements without parameters or results.
    pub(super) fn batch(&self, statements: &str) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(connection) => Ok(connection.execute_batch(statements)?),
            Engine::Postgres { runtime, session } => {
                let mut session = session.borrow_mut();
                self.wait(runtime, async || session.batch(statements).await)
            }
        }
    }

    /// Runs a statement; says how many rows it changed.
    pub(crate) fn execute(&self, text: &str, values: &[Value]) -> Result<u64, StoreError> {
        match &self.engine {
            Engine::Sqlite(connection) => execute(connection, text, values),
            Engine::Postgres { runtime, session } => {
                let mut session = session.borrow_mut();
                let parameters = parameters(values);
                self.wait(runtime, async || session.execute(text, &parameters).await)
            }
        }
    }

    /// Runs a query, or a statement that returns rows.
    pub(crate) fn query(&self, text: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        match &self.engine {
            Engine::Sqlite(connection) => query(connection, text, values),
            Engine::Postgres { runtime, session } => {
                let mut session = session.borrow_mut();
                let parameters = parameters(values);
                let found = self.wait(runtime, async || session.query(text, &parameters).await)?;
                of_postgres(&found)
            }
        }
    }

    /// Runs a query that finds one row or none.
    pub(crate) fn find(&self, text: &str, values: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(text, values)?.into_iter().next())
    }

    /// Runs a query that always finds a row, such as a count.
    pub(crate) fn one(&self, text: &str, values: &[Value]) -> Result<Row, StoreError> {
        let found = self.find(text, values)?;
        found.ok_or_else(|| StoreError::Damaged {
            what: "no row where there always is one".to_owned(),
        })
    }

    /// Runs a statement for each of these; says how many rows each changed. PostgreSQL gets them all before it answers the first.
    pub(crate) fn execute_each(
        &self,
        text: &str,
        rows: &[Vec<Value>],
    ) -> Result<Vec<u64>, StoreError> {
        match &self.engine {
            Engine::Sqlite(connection) => {
                let each = rows.iter().map(|values| execute(connection, text, values));
                each.collect()
            }
            Engine::Postgres { runtime, session } => {
                let mut session = session.borrow_mut();
                let rows: Vec<_> = rows.iter().map(|values| parameters(values)).collect();
                self.wait(runtime, async || session.execute_each(text, &rows).await)
            }
        }
    }

    /// Runs a query for each of these.
    pub(crate) fn query_each(
        &self,
        text: &str,
        rows: &[Vec<Value>],
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        match &self.engine {
            Engine::Sqlite(connection) => {
                let each = rows.iter().map(|values| query(connection, text, values));
                each.collect()
            }
            Engine::Postgres { runtime, session } => {
                let mut session = session.borrow_mut();
                let rows: Vec<_> = rows.iter().map(|values| parameters(values)).collect();
                let found = self.wait(runtime, async || session.query_each(text, &rows).await)?;
                found.iter().map(|rows| of_postgres(rows)).collect()
            }
        }
    }

    /// The time of the database in milliseconds since 1970: replicas agree on it.
    pub(crate) fn now_ms(&self) -> Result<i64, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(jiff::Timestamp::now().as_millisecond()),
            Engine::Postgres { .. } => {
                let now = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
                self.one(now, &[])?.get(0)
            }
        }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self.engine, Engine::Sqlite(_))
    }

    fn wait<T>(
        &self,
        runtime: &Runtime,
        work: impl AsyncFnOnce() -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let done =
            runtime.block_on(async { tokio::time::timeout(STATEMENT_TIME_MAX, work()).await });
        let done = match done {
            Ok(done) => done.map_err(StoreError::from),
            Err(_elapsed) => Err(StoreError::TimedOut),
        };
        if done.is_err() {
            self.has_failed.set(true);
        }
        done
    }
}

fn execute(
    connection: &rusqlite::Connection,
    text: &str,
    values: &[Value],
) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(text)?;
    bind(&mut statement, values)?;
    let changed = statement.raw_execute()?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

fn query(
    connection: &rusqlite::Connection,
    text: &str,
    values: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(text)?;
    bind(&mut statement, values)?;
    let columns = statement.column_count();
    let mut found = statement.raw_query();
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let row = (0..columns).map(|column| of_sqlite(row.get_ref(column)?));
        rows.push(Row(row.collect::<rusqlite::Result<_>>()?));
    }
    Ok(rows)
}

fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> rusqlite::Result<()> {
    for (number, value) in (1..).zip(values) {
        let name = format!("${number}");
        let index = statement.parameter_index(&name)?;
        let index = index.ok_or(rusqlite::Error::InvalidParameterName(name))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    let each = values.iter().map(|value| value as &(dyn ToSql + Sync));
    each.collect()
}

fn of_postgres(found: &[tokio_postgres::Row]) -> Result<Vec<Row>, StoreError> {
    let row = |row: &tokio_postgres::Row| {
        let columns = (0..row.len()).map(|column| row.try_get(column));
        columns.collect::<Result<_, _>>().map(Row)
    };
    Ok(found.iter().map(row).collect::<Result<_, _>>()?)
}
