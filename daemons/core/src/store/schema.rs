//! The tables, in one text for both engines, and how SQLite's connection is opened.

use super::transaction::{Engine, Transaction};
use super::value::values;
use super::{Access, StoreError};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// What the schema is called where a database has several.
pub(super) const NAME: &str = "core";

/// Migrations in order; the schema's version is the number of those that ran. One that was released is never changed.
///
/// Types are named once: `{int}` 64 bits, `{text}` compared by its bytes, `{bytes}`; `{table}` ends a table, `{keyed}` one that is found
/// by its key alone; `{append_only}` sees to it that no row of `audit` is ever changed or removed.
const MIGRATIONS: [&str; 9] = [
    INITIAL,
    LEASES,
    API_TOKENS,
    REVOCATION,
    CANCELLED,
    INVENTORIES,
    JOURNALS,
    RECORDS,
    PAYOUT_INBOX,
];

/// Times are milliseconds since 1970.
const INITIAL: &str = "
CREATE TABLE nodes (
    id {text} PRIMARY KEY,
    -- Another one at every enrolment; commands count from 1 in each.
    epoch {int} NOT NULL,
    last_seq {int} NOT NULL DEFAULT 0,
    public_key {text} NOT NULL UNIQUE,
    -- It serves miners of others.
    is_public {int} NOT NULL CHECK (is_public IN (0, 1)),
    agent_version {text} NOT NULL,
    enrolled_at_ms {int} NOT NULL,
    last_seen_at_ms {int},
    revoked_at_ms {int}
){keyed};

-- All that were issued. Those of another epoch than the node's let nobody in.
CREATE TABLE certificates (
    serial {text} PRIMARY KEY,
    node {text} NOT NULL REFERENCES nodes,
    epoch {int} NOT NULL,
    -- SHA-256 of its public key.
    key_hash {bytes} NOT NULL CHECK (length(key_hash) = 32),
    -- The chain, as it was answered: a repeated request gets the same one.
    chain {bytes} NOT NULL,
    issued_at_ms {int} NOT NULL,
    until_ms {int} NOT NULL
){keyed};
CREATE INDEX certificates_of_node ON certificates (node, until_ms);

-- The token itself is signed, and not here: whoever reads this joins nothing.
CREATE TABLE tokens (
    id {text} PRIMARY KEY,
    -- SHA-256 of the token.
    hash {bytes} NOT NULL UNIQUE CHECK (length(hash) = 32),
    node {text} NOT NULL,
    may_replace {int} NOT NULL CHECK (may_replace IN (0, 1)),
    made_by {text} NOT NULL,
    created_at_ms {int} NOT NULL,
    expires_at_ms {int} NOT NULL,
    used_at_ms {int},
    -- SHA-256 of the public key that got a certificate by it, and the node's own key.
    used_key_hash {bytes},
    used_node_key {text},
    revoked_at_ms {int}
){keyed};

CREATE TABLE commands (
    id {text} PRIMARY KEY,
    node {text} NOT NULL REFERENCES nodes,
    epoch {int} NOT NULL,
    seq {int} NOT NULL,
    jws {text} NOT NULL,
    command {text} NOT NULL,
    asked_by {text} NOT NULL,
    created_at_ms {int} NOT NULL,
    expires_at_ms {int} NOT NULL,
    state {text} NOT NULL CHECK (state IN ('queued', 'sent', 'taken', 'done', 'failed', 'rejected', 'indeterminate', 'expired')),
    ended_at_ms {int},
    code {text},
    detail {text},
    -- As the node signed it.
    result_jws {text},
    UNIQUE (node, epoch, seq)
){keyed};
CREATE INDEX commands_by_time ON commands (created_at_ms);
CREATE INDEX commands_open ON commands (node, epoch, seq) WHERE state IN ('queued', 'sent', 'taken');

CREATE TABLE audit (
    seq {int} PRIMARY KEY,
    line {text} NOT NULL
){table};
-- Its end: the hash of the last line, and the tree over all.
CREATE TABLE audit_chain (
    \"only\" {int} PRIMARY KEY CHECK (\"only\" = 1),
    chain {text} NOT NULL
){table};
-- How far the samples of a node's spool have come. A new spool is a new stream.
CREATE TABLE telemetry_streams (
    node {text} NOT NULL REFERENCES nodes,
    stream {int} NOT NULL,
    through_seq {int} NOT NULL,
    dropped_total {int} NOT NULL,
    heard_at_ms {int} NOT NULL,
    PRIMARY KEY (node, stream)
){keyed};

-- Those of the last hours; a sample is a message of control.proto.
CREATE TABLE samples (
    node {text} NOT NULL REFERENCES nodes,
    stream {int} NOT NULL,
    seq {int} NOT NULL,
    at_ms {int} NOT NULL,
    sample {bytes} NOT NULL,
    PRIMARY KEY (node, stream, seq)
){keyed};
CREATE INDEX samples_by_time ON samples (at_ms);
{append_only}
";

/// Which replica has the session of a node.
const LEASES: &str = "
CREATE TABLE leases (
    node {text} PRIMARY KEY REFERENCES nodes,
    -- Another one for each session of the node. Who has an older one writes nothing for it.
    fence {int} NOT NULL,
    -- The process that has the session, a random number; none between sessions.
    instance {int},
    replica {text},
    -- It is renewed before.
    until_ms {int} NOT NULL,
    peer {text} NOT NULL,
    connected_at_ms {int} NOT NULL,
    seen_at_ms {int} NOT NULL,
    clock_ahead_ms {int},
    -- What the node said of its services, a Heartbeat of control.proto.
    services {bytes} NOT NULL
){keyed};
";

/// Tokens of the REST interface.
const API_TOKENS: &str = "
CREATE TABLE api_tokens (
    id {text} PRIMARY KEY,
    -- SHA-256 of the token, which is nowhere.
    hash {bytes} NOT NULL UNIQUE CHECK (length(hash) = 32),
    name {text} NOT NULL,
    role {text} NOT NULL CHECK (role IN ('miner', 'node-operator', 'core-operator')),
    read_only {int} NOT NULL CHECK (read_only IN (0, 1)),
    -- Lists in JSON.
    nodes {text} NOT NULL,
    accounts {text} NOT NULL,
    made_by {text} NOT NULL,
    created_at_ms {int} NOT NULL,
    expires_at_ms {int} NOT NULL,
    revoked_at_ms {int}
){keyed};

-- From which the public pseudonyms of payees are made: 32 random bytes, when the first is asked for.
CREATE TABLE pseudonyms (
    \"only\" {int} PRIMARY KEY CHECK (\"only\" = 1),
    key {bytes} NOT NULL CHECK (length(key) = 32)
){table};
";

/// Why a node was revoked, and how often it has come back by its keys alone.
const REVOCATION: &str = "
ALTER TABLE nodes ADD COLUMN revoked_reason {text};
-- In a row: an ordinary renewal begins anew.
ALTER TABLE nodes ADD COLUMN recoveries {int} NOT NULL DEFAULT 0;
";

/// Commands that were taken back. SQLite changes no CHECK, so the table is made anew: what another migration has added to it before this
/// one is to be in both lists.
const CANCELLED: &str = "
CREATE TABLE commands_anew (
    id {text} PRIMARY KEY,
    node {text} NOT NULL REFERENCES nodes,
    epoch {int} NOT NULL,
    seq {int} NOT NULL,
    jws {text} NOT NULL,
    command {text} NOT NULL,
    asked_by {text} NOT NULL,
    created_at_ms {int} NOT NULL,
    expires_at_ms {int} NOT NULL,
    state {text} NOT NULL CHECK (state IN ('queued', 'sent', 'taken', 'done', 'failed', 'rejected', 'indeterminate', 'expired', 'cancelled')),
    ended_at_ms {int},
    code {text},
    detail {text},
    -- As the node signed it.
    result_jws {text},
    UNIQUE (node, epoch, seq)
){keyed};
INSERT INTO commands_anew
    (id, node, epoch, seq, jws, command, asked_by, created_at_ms, expires_at_ms, state, ended_at_ms, code, detail, result_jws)
    SELECT id, node, epoch, seq, jws, command, asked_by, created_at_ms, expires_at_ms, state, ended_at_ms, code, detail, result_jws
    FROM commands;
DROP TABLE commands;
ALTER TABLE commands_anew RENAME TO commands;
CREATE INDEX commands_by_time ON commands (created_at_ms);
CREATE INDEX commands_open ON commands (node, epoch, seq) WHERE state IN ('queued', 'sent', 'taken');
";

/// What nodes are.
const INVENTORIES: &str = "
CREATE TABLE inventories (
    node {text} PRIMARY KEY REFERENCES nodes,
    told_at_ms {int} NOT NULL,
    -- As the node told it last, an Inventory of control.proto.
    inventory {bytes} NOT NULL
){keyed};
";

/// The journals of other daemons that are taken into the audit log.
const JOURNALS: &str = "
CREATE TABLE audit_journals (
    daemon {text} PRIMARY KEY,
    -- The last line that was taken in, as NUMBER:HASH.
    head {text} NOT NULL
){keyed};
";

/// What operators have signed, as it was brought. No row here is believed by anybody but for its signatures.
const RECORDS: &str = "
CREATE TABLE records (
    kind {text} NOT NULL CHECK (kind IN ('node', 'operator')),
    name {text} NOT NULL,
    number {int} NOT NULL CHECK (number > 0),
    statement {text} NOT NULL,
    -- A list in JSON.
    signatures {text} NOT NULL,
    brought_by {text} NOT NULL,
    brought_at_ms {int} NOT NULL,
    PRIMARY KEY (kind, name, number)
){keyed};

CREATE TABLE record_revocations (
    kind {text} NOT NULL CHECK (kind IN ('node', 'operator')),
    name {text} NOT NULL,
    reason {text} NOT NULL,
    revoked_by {text} NOT NULL,
    revoked_at_ms {int} NOT NULL,
    PRIMARY KEY (kind, name)
){keyed};
";

/// What hh-treasury says of nodes, and invoices on their way to it. A node need not have enrolled here to be owed something.
const PAYOUT_INBOX: &str = "
CREATE TABLE node_accounts (
    node {text} PRIMARY KEY,
    -- A NodeAccount of control.proto.
    account {bytes} NOT NULL,
    said_at_ms {int} NOT NULL
){keyed};

CREATE TABLE node_invoices (
    node {text} NOT NULL,
    -- SHA-256 of its text.
    id {text} NOT NULL,
    invoice {text} NOT NULL,
    -- The node's, which hh-treasury checks.
    signature {text} NOT NULL,
    handed_in_at_ms {int} NOT NULL,
    PRIMARY KEY (node, id)
){keyed};
CREATE INDEX node_invoices_by_time ON node_invoices (handed_in_at_ms);
";

const APPEND_ONLY_SQLITE: &str = "
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_never_cut BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;";

const APPEND_ONLY_POSTGRES: &str = "
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();";

/// The write-ahead log is cut back to this size after a checkpoint.
const WAL_BYTES_MAX: i64 = 64 << 20;

/// Prepared statements that SQLite keeps: more than there are.
const STATEMENTS_MAX: usize = 128;

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
    let connection = Connection::open_with_flags(path, flags).map_err(error("open"))?;
    configure(&connection).map_err(error("set the options of"))?;
    migrate(&connection, path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
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

fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let database = || format!("the database {}", path.display());
    let transaction = Transaction::begin(Engine::Sqlite(connection), Access::Alone)?;
    let found = transaction.one("PRAGMA user_version", &[])?.get(0)?;
    refuse_newer(database, found)?;
    for migration in &MIGRATIONS[found..] {
        transaction.batch(&spelt(&transaction, migration))?;
    }
    transaction.batch(&format!("PRAGMA user_version = {}", MIGRATIONS.len()))?;
    transaction.commit().map(drop)
}

/// The schema may have been made for this role, which then needs no right on the database.
const CREATE: &str = "
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'core') THEN
        CREATE SCHEMA core;
    END IF;
END $$;
CREATE TABLE schema_version (version bigint NOT NULL);
INSERT INTO schema_version VALUES (0);
";

/// Asked of the catalog's tables: `to_regclass` may answer from before the lock.
const EXISTS: &str =
    "SELECT count(*) FROM pg_tables WHERE schemaname = 'core' AND tablename = 'schema_version'";

/// Makes and migrates the schema where that is due. Of several replicas one does, the others wait for it.
pub(super) fn migrate_postgres(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let exists: u64 = transaction.one(EXISTS, &[])?.get(0)?;
    if exists == 0 {
        transaction.batch(CREATE)?;
    }
    let found = "SELECT version FROM schema_version";
    let found: usize = transaction.one(found, &[])?.get(0)?;
    refuse_newer(|| "the schema core".to_owned(), found)?;
    for migration in &MIGRATIONS[found..] {
        transaction.batch(&spelt(transaction, migration))?;
    }
    let known = u64::try_from(MIGRATIONS.len()).unwrap_or(u64::MAX);
    let update = "UPDATE schema_version SET version = $1 WHERE version <> $1";
    transaction.execute(update, &values![known]).map(drop)
}

fn refuse_newer(database: impl FnOnce() -> String, found: usize) -> Result<(), StoreError> {
    let known = MIGRATIONS.len();
    if found <= known {
        return Ok(());
    }
    Err(StoreError::Newer {
        database: database(),
        found,
        known,
    })
}

/// A text of this file as the engine spells it.
fn spelt(transaction: &Transaction<'_>, text: &str) -> String {
    let spellings = if transaction.is_sqlite() {
        [
            ("{int}", "INTEGER"),
            ("{text}", "TEXT"),
            ("{bytes}", "BLOB"),
            ("{table}", " STRICT"),
            ("{keyed}", " STRICT, WITHOUT ROWID"),
            ("{append_only}", APPEND_ONLY_SQLITE),
        ]
    } else {
        [
            ("{int}", "bigint"),
            ("{text}", r#"text COLLATE "C""#),
            ("{bytes}", "bytea"),
            ("{table}", ""),
            ("{keyed}", ""),
            ("{append_only}", APPEND_ONLY_POSTGRES),
        ]
    };
    let spell = |text: String, (ours, theirs): &(&str, &str)| text.replace(ours, theirs);
    spellings.iter().fold(text.to_owned(), spell)
}
