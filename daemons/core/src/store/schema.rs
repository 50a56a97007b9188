//! The tables, and how the connection is opened.

use super::StoreError;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Migrations in order; the schema's version is the number of those that ran. One that was released is never changed.
const MIGRATIONS: [&str; 2] = [INITIAL, API_TOKENS];

/// Times are milliseconds since 1970.
const INITIAL: &str = "
CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    -- Another one at every enrolment; commands count from 1 in each.
    epoch INTEGER NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0,
    public_key TEXT NOT NULL UNIQUE,
    -- It serves miners of others.
    is_public INTEGER NOT NULL CHECK (is_public IN (0, 1)),
    agent_version TEXT NOT NULL,
    enrolled_at_ms INTEGER NOT NULL,
    last_seen_at_ms INTEGER,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;

-- All that were issued. Those of another epoch than the node's let nobody in.
CREATE TABLE certificates (
    serial TEXT PRIMARY KEY,
    node TEXT NOT NULL REFERENCES nodes,
    epoch INTEGER NOT NULL,
    -- SHA-256 of its public key.
    key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),
    -- The chain, as it was answered: a repeated request gets the same one.
    chain BLOB NOT NULL,
    issued_at_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_of_node ON certificates (node, until_ms);

-- The token itself is signed, and not here: whoever reads this joins nothing.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    -- SHA-256 of the token.
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    node TEXT NOT NULL,
    may_replace INTEGER NOT NULL CHECK (may_replace IN (0, 1)),
    made_by TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    used_at_ms INTEGER,
    -- SHA-256 of the public key that got a certificate by it, and the node's own key.
    used_key_hash BLOB,
    used_node_key TEXT,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE commands (
    id TEXT PRIMARY KEY,
    node TEXT NOT NULL REFERENCES nodes,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    jws TEXT NOT NULL,
    command TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'taken', 'done', 'failed', 'rejected', 'indeterminate', 'expired')),
    ended_at_ms INTEGER,
    code TEXT,
    detail TEXT,
    -- As the node signed it.
    result_jws TEXT,
    UNIQUE (node, epoch, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX commands_by_time ON commands (created_at_ms);
CREATE INDEX commands_open ON commands (node, epoch, seq) WHERE state IN ('queued', 'sent', 'taken');

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    line TEXT NOT NULL
) STRICT;
-- Its end: the hash of the last line, and the tree over all.
CREATE TABLE audit_chain (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    chain TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_never_cut BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- How far the samples of a node's spool have come. A new spool is a new stream.
CREATE TABLE telemetry_streams (
    node TEXT NOT NULL REFERENCES nodes,
    stream INTEGER NOT NULL,
    through_seq INTEGER NOT NULL,
    dropped_total INTEGER NOT NULL,
    heard_at_ms INTEGER NOT NULL,
    PRIMARY KEY (node, stream)
) STRICT, WITHOUT ROWID;

-- Those of the last hours; a sample is a message of control.proto.
CREATE TABLE samples (
    node TEXT NOT NULL REFERENCES nodes,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    sample BLOB NOT NULL,
    PRIMARY KEY (node, stream, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX samples_by_time ON samples (at_ms);
";

/// Tokens of the REST interface.
const API_TOKENS: &str = "
CREATE TABLE api_tokens (
    id TEXT PRIMARY KEY,
    -- SHA-256 of the token, which is nowhere.
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('miner', 'node-operator', 'core-operator')),
    read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    -- Lists in JSON.
    nodes TEXT NOT NULL,
    accounts TEXT NOT NULL,
    made_by TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;

-- From which the public pseudonyms of payees are made.
CREATE TABLE pseudonyms (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;
INSERT INTO pseudonyms (only, key) VALUES (1, randomblob(32));
";

/// The write-ahead log is cut back to this size after a checkpoint.
const WAL_BYTES_MAX: i64 = 64 << 20;

/// How long a statement waits for a lock: the only others are an operator's tools.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    create_file(path)?;
    let error = |action| {
        move |source| StoreError::Open {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(error("open"))?;
    configure(&connection).map_err(error("set the options of"))?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// The file is made before SQLite does, because SQLite would let everybody read it.
fn create_file(path: &Path) -> Result<(), StoreError> {
    let created = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match created {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(StoreError::File {
            action: "create",
            path: path.to_owned(),
            source,
        }),
        Err(_) => Ok(()),
        Ok(_) => {
            let dir = path.parent().unwrap_or(Path::new("/"));
            let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
            synced.map_err(|source| StoreError::File {
                action: "sync the directory of",
                path: path.to_owned(),
                source,
            })
        }
    }
}

/// A number that was given out must not come back after a loss of power: synchronous is full.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let error = |source| StoreError::Open {
        action: "migrate",
        path: path.to_owned(),
        source,
    };
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let transaction = begun.map_err(error)?;
    let found: usize = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(error)?;
    let known = MIGRATIONS.len();
    if found > known {
        let path = path.to_owned();
        return Err(StoreError::Newer { path, found, known });
    }
    for migration in &MIGRATIONS[found..] {
        transaction.execute_batch(migration).map_err(error)?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(error)?;
    transaction.commit().map_err(error)
}
