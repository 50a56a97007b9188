//! `Session`: a connection to the books on either engine, with one way to run a statement on both.
//!
//! There is one text of every statement. Its parameters are `$1`, `$2`, ...: PostgreSQL's own spelling, and names to SQLite.

use std::sync::LazyLock;

use bytes::BytesMut;
use rusqlite::types::{ToSqlOutput, ValueRef};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::value::{Row, Value};
use super::{BooksError, schema};
use crate::{LedgerError, Location, postgres, sqlite};

/// Prepared statements that SQLite keeps: more than the books have.
const STATEMENTS_MAX: usize = 256;

/// Rows of one statement; PostgreSQL takes 65,535 parameters, and a row has fewer than ten.
const ROWS_AT_ONCE: usize = 100;

/// What stops a call; the writer adds where.
#[derive(Debug)]
pub(super) enum CallError {
    Sqlite(rusqlite::Error),
    Postgres(tokio_postgres::Error),
    Refused(BooksError),
}

impl From<rusqlite::Error> for CallError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<tokio_postgres::Error> for CallError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<BooksError> for CallError {
    fn from(error: BooksError) -> Self {
        Self::Refused(error)
    }
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It sees what is committed when it begins.
    Read,
    /// It is alone: another writer waits until it ends.
    Write,
}

/// Two programs that write at once wait for each other, as they do at SQLite's file. The number is `trea` and `sury` in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'74726561'::integer, x'73757279'::integer)";

#[derive(Debug)]
pub(super) enum Session {
    Sqlite(rusqlite::Connection),
    Postgres(postgres::Session),
}

impl Session {
    /// Connects; to write, the schema may not be there yet.
    pub(super) async fn connect(location: &Location, access: Access) -> Result<Self, LedgerError> {
        match location {
            Location::Sqlite(path) => {
                let connection = match access {
                    Access::Read => sqlite::connect_for_reading(path),
                    Access::Write => sqlite::connect_for_writing(path),
                }?;
                connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
                Ok(Self::Sqlite(connection))
            }
            Location::Postgres(server) => {
                let session = postgres::Session::connect(server, schema::NAME).await?;
                Ok(Self::Postgres(session))
            }
        }
    }

    /// Whether the server has not closed the connection while nobody looked.
    pub(super) fn is_alive(&mut self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(session) => session.is_alive(),
        }
    }

    pub(super) async fn begin(&mut self, access: Access) -> Result<(), CallError> {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(match access {
                Access::Read => "BEGIN",
                Access::Write => "BEGIN IMMEDIATE",
            })?,
            Self::Postgres(session) => match access {
                Access::Read => {
                    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                    session.batch(begin).await?;
                }
                Access::Write => {
                    session.batch("BEGIN").await?;
                    session.batch(LOCK).await?;
                }
            },
        }
        Ok(())
    }

    /// Runs statements without parameters or results.
    pub(super) async fn batch(&mut self, statements: &str) -> Result<(), CallError> {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(statements)?,
            Self::Postgres(session) => session.batch(statements).await?,
        }
        Ok(())
    }

    /// Runs a statement; says how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        text: &'static str,
        values: &[Value],
    ) -> Result<u64, CallError> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(text)?;
                bind(&mut statement, values)?;
                let changed = statement.raw_execute()?;
                Ok(u64::try_from(changed).unwrap_or(u64::MAX))
            }
            Self::Postgres(session) => Ok(session.execute(text, &parameters(values)).await?),
        }
    }

    /// Runs a query, or a statement that returns rows.
    pub(super) async fn query(
        &mut self,
        text: &'static str,
        values: &[Value],
    ) -> Result<Vec<Row>, CallError> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(text)?;
                bind(&mut statement, values)?;
                let columns = statement.column_count();
                let mut found = statement.raw_query();
                let mut rows = Vec::new();
                while let Some(row) = found.next()? {
                    let row = (0..columns).map(|column| sqlite_value(row.get_ref(column)?));
                    rows.push(Row(row.collect::<Result<_, _>>()?));
                }
                Ok(rows)
            }
            Self::Postgres(session) => {
                let found = session.query(text, &parameters(values)).await?;
                let row = |row: &tokio_postgres::Row| {
                    let columns = (0..row.len()).map(|column| row.try_get(column));
                    columns.collect::<Result<_, _>>().map(Row)
                };
                Ok(found.iter().map(row).collect::<Result<_, _>>()?)
            }
        }
    }

    /// Runs a query that finds one row or none.
    pub(super) async fn find(
        &mut self,
        text: &'static str,
        values: &[Value],
    ) -> Result<Option<Row>, CallError> {
        Ok(self.query(text, values).await?.into_iter().next())
    }

    /// Runs a statement over many rows; gives what it returns.
    pub(super) async fn query_rows(
        &mut self,
        statement: &'static RowStatement,
        rows: &[Vec<Value>],
    ) -> Result<Vec<Row>, CallError> {
        let mut returned = Vec::new();
        let (chunks, rest) = rows.as_chunks::<ROWS_AT_ONCE>();
        for chunk in chunks {
            let values = chunk.concat();
            returned.append(&mut self.query(&statement.of_many, &values).await?);
        }
        for row in rest {
            returned.append(&mut self.query(&statement.of_one, row).await?);
        }
        Ok(returned)
    }

    /// Moves SQLite's write-ahead log into the database. PostgreSQL makes its checkpoints by itself.
    pub(super) fn checkpoint(&mut self) -> Result<(), CallError> {
        if let Self::Sqlite(connection) = self {
            // The answer tells whether a reader kept it from finishing; then the log stays and the next one finishes it.
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        let Self::Postgres(session) = self else {
            return;
        };
        if let Err(error) = session.close().await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "connection to the books closed");
        }
    }
}

/// A statement with a list of rows in it, spelt for one row and for [`ROWS_AT_ONCE`].
pub(super) struct RowStatement {
    of_one: String,
    of_many: String,
}

impl RowStatement {
    /// `before`, then rows spelt as `row` with numbers after each `$`, then `after`. PostgreSQL takes what stands in a list of
    /// rows for text unless it is inserted as it stands; then `row` names the types.
    pub(super) fn new(before: &str, row: &str, after: &str) -> Self {
        let of = |rows: usize| {
            let mut text = before.to_owned();
            let mut number = 0;
            for index in 0..rows {
                if index > 0 {
                    text += ", ";
                }
                for part in row.split_inclusive('$') {
                    text += part;
                    if part.ends_with('$') {
                        number += 1;
                        text += &number.to_string();
                    }
                }
            }
            text + after
        };
        Self {
            of_one: of(1),
            of_many: of(ROWS_AT_ONCE),
        }
    }
}

/// `$1`, `$2`, ... as SQLite knows them.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    (1..=10 * ROWS_AT_ONCE)
        .map(|number| format!("${number}"))
        .collect()
});

fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> rusqlite::Result<()> {
    for (name, value) in NAMES.iter().zip(values) {
        let index = statement
            .parameter_index(name)?
            .ok_or_else(|| rusqlite::Error::InvalidParameterName(name.clone()))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

fn sqlite_value(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_owned()),
        // No column holds one, and no sum of ours is one.
        ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery),
    })
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}

type SqlError = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, SqlError> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(value) if *kind == Type::INT8 => value.to_sql(kind, out),
            Self::Text(text) if *kind == Type::TEXT => text.to_sql(kind, out),
            Self::Bytes(bytes) if *kind == Type::BYTEA => bytes.to_sql(kind, out),
            Self::Int(_) | Self::Text(_) | Self::Bytes(_) => {
                Err(format!("a {kind} can't be given as {self:?}").into())
            }
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(kind)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, SqlError> {
        Ok(match *kind {
            Type::INT8 => Self::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(kind, raw)?.into()),
            Type::TEXT => Self::Text(String::from_sql(kind, raw)?),
            _ => Self::Bytes(<Vec<u8>>::from_sql(kind, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, SqlError> {
        Ok(Self::Null)
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::TEXT, Type::BYTEA].contains(kind)
    }
}
