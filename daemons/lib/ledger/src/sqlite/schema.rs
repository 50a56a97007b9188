//! The tables in SQLite, and how a connection is opened. Owns the schema version; knows no query.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::{LedgerError, refuse_newer};

/// Migrations in order; the schema's version is the number of those that ran. One that was released is never changed.
const MIGRATIONS: [&str; 4] = [INITIAL, SERVER_IDS, BLOCK_CUTS, LOG_ENDS];

/// Work and score are u128 in 16 bytes, big-endian. Times are milliseconds since 1970. Hashes are in the byte order of
/// a header.
const INITIAL: &str = "
CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    pool TEXT NOT NULL,
    epoch BLOB NOT NULL CHECK (length(epoch) = 16),
    last_seq INTEGER NOT NULL,
    watermark_ms INTEGER,
    UNIQUE (pool, epoch)
) STRICT;

-- Who is credited, through what; and the sums over all time.
CREATE TABLE origins (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    worker TEXT NOT NULL,
    node TEXT NOT NULL,
    lane TEXT NOT NULL,
    shares INTEGER NOT NULL,
    work BLOB NOT NULL CHECK (length(work) = 16),
    score BLOB NOT NULL CHECK (length(score) = 16),
    last_share_at_ms INTEGER,
    UNIQUE (account, worker, node, lane)
) STRICT;

CREATE TABLE accounts (
    account TEXT PRIMARY KEY,
    first_used_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    account TEXT NOT NULL,
    worker TEXT NOT NULL,
    first_used_at_ms INTEGER NOT NULL,
    PRIMARY KEY (account, worker)
) STRICT, WITHOUT ROWID;

-- In a log, the order of seq is the order of accepted_at_ms: the share order needs no index.
CREATE TABLE shares (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    accepted_at_ms INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    extranonce_prefix BLOB NOT NULL CHECK (length(extranonce_prefix) = 8),
    channel_id INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    nbits INTEGER NOT NULL,
    ntime INTEGER NOT NULL,
    nonce INTEGER NOT NULL,
    version INTEGER NOT NULL,
    work BLOB NOT NULL CHECK (length(work) = 16),
    score BLOB NOT NULL CHECK (length(score) = 16),
    is_block INTEGER NOT NULL CHECK (is_block IN (0, 1)),
    PRIMARY KEY (log, seq)
) STRICT, WITHOUT ROWID;

-- minute = accepted_at_ms / 60,000. A log has rows of its own, so that chain runs in the order of seq:
-- chain' = SHA-256(chain || epoch || seq u64 || accepted_at_ms i64 || hash || work || score), integers big-endian,
-- from 32 zero bytes on.
CREATE TABLE minute_sums (
    minute INTEGER NOT NULL,
    log INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    shares INTEGER NOT NULL,
    work BLOB NOT NULL CHECK (length(work) = 16),
    score BLOB NOT NULL CHECK (length(score) = 16),
    chain BLOB NOT NULL CHECK (length(chain) = 32),
    PRIMARY KEY (minute, log, origin)
) STRICT, WITHOUT ROWID;

CREATE TABLE rejected (
    minute INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    reason TEXT NOT NULL,
    shares INTEGER NOT NULL,
    PRIMARY KEY (minute, origin, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE bindings (
    log INTEGER NOT NULL,
    extranonce_prefix BLOB NOT NULL CHECK (length(extranonce_prefix) = 8),
    origin INTEGER NOT NULL,
    bound_at_ms INTEGER NOT NULL,
    PRIMARY KEY (log, extranonce_prefix)
) STRICT, WITHOUT ROWID;

-- Records that a log no longer had when the ledger asked for them.
CREATE TABLE gaps (
    log INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    noticed_at_ms INTEGER NOT NULL,
    PRIMARY KEY (log, first_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    height INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('found', 'submitted', 'accepted', 'rejected', 'orphaned')),
    reason TEXT,
    account TEXT NOT NULL,
    worker TEXT NOT NULL,
    node TEXT NOT NULL,
    lane TEXT NOT NULL,
    found_at_ms INTEGER NOT NULL,
    value_sat INTEGER NOT NULL,
    extranonce_prefix TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE block_paths (
    hash BLOB NOT NULL REFERENCES blocks,
    path TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (hash, path)
) STRICT, WITHOUT ROWID;

CREATE VIEW share_records AS
SELECT logs.pool, logs.epoch, shares.seq, shares.accepted_at_ms, account, worker, node, lane, hash, extranonce_prefix,
    channel_id, job_id, nbits, ntime, nonce, version, shares.work, shares.score, is_block
FROM shares JOIN logs ON logs.id = shares.log JOIN origins ON origins.id = shares.origin;
";

/// Which log hands out which part of the extranonce space.
const SERVER_IDS: &str = "
CREATE TABLE server_ids (
    server_id INTEGER PRIMARY KEY CHECK (server_id BETWEEN 0 AND 65535),
    pool TEXT NOT NULL,
    epoch BLOB NOT NULL CHECK (length(epoch) = 16),
    since_ms INTEGER NOT NULL
) STRICT;
";

/// Where blocks lie in the order of shares.
const BLOCK_CUTS: &str = "
-- The sum of all shares up to a block's, in share order: (accepted_at_ms, pool, epoch, seq). Made once, when the watermark of
-- every log that holds a server id has passed the block, and never changed.
CREATE TABLE block_cuts (
    hash BLOB PRIMARY KEY REFERENCES blocks,
    at_ms INTEGER NOT NULL,
    shares INTEGER NOT NULL,
    work BLOB NOT NULL CHECK (length(work) = 16),
    score BLOB NOT NULL CHECK (length(score) = 16)
) STRICT, WITHOUT ROWID;

-- What of it lies in the minute of at_ms: with minute_sums, what each origin has brought in between two blocks.
CREATE TABLE block_cut_origins (
    hash BLOB NOT NULL REFERENCES blocks,
    origin INTEGER NOT NULL,
    shares INTEGER NOT NULL,
    work BLOB NOT NULL CHECK (length(work) = 16),
    score BLOB NOT NULL CHECK (length(score) = 16),
    PRIMARY KEY (hash, origin)
) STRICT, WITHOUT ROWID;
";

/// When a log was last heard of, and how it ended.
const LOG_ENDS: &str = "
-- When it last shipped.
ALTER TABLE logs ADD COLUMN heard_at_ms INTEGER;
-- 1 if its pool stopped cleanly after last_seq, and has shipped nothing since.
ALTER TABLE logs ADD COLUMN is_closed INTEGER NOT NULL DEFAULT 0 CHECK (is_closed IN (0, 1));
-- From then on nothing of it is taken.
ALTER TABLE logs ADD COLUMN retired_at_ms INTEGER;
";

/// The write-ahead log is cut back to this size after a checkpoint: what a burst of shipments needs.
const WAL_BYTES_MAX: i64 = 64 << 20;

/// How long a statement waits for a lock: the only other writers are an operator's tools.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the database for its writer; makes and migrates it where that is due.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, LedgerError> {
    let mut connection = connect_for_writing(path)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens a database for a writer, whatever its schema is; makes an empty one where there is none.
pub(crate) fn connect_for_writing(path: &Path) -> Result<Connection, LedgerError> {
    create_file(path)?;
    let error = |action| move |source| sqlite_error(action, path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(error("open the database"))?;
    configure(&connection).map_err(error("set the options"))?;
    Ok(connection)
}

/// Opens the database for reading only, also as a user who may do nothing else.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, LedgerError> {
    let connection = connect_for_reading(path)?;
    let error = |action| move |source| sqlite_error(action, path, source);
    let found = version(&connection).map_err(error("read the schema version"))?;
    refuse_newer(path.display(), found, MIGRATIONS.len())?;
    Ok(connection)
}

/// Opens a database for reading only, whatever its schema is.
pub(crate) fn connect_for_reading(path: &Path) -> Result<Connection, LedgerError> {
    let error = |action| move |source| sqlite_error(action, path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(error("open the database"))?;
    connection
        .busy_timeout(BUSY_TIMEOUT)
        .map_err(error("set the options"))?;
    Ok(connection)
}

/// The file is made before SQLite does, because SQLite would let everybody read it; `-wal` and `-shm` get the same
/// mode from SQLite.
fn create_file(path: &Path) -> Result<(), LedgerError> {
    let failed = |action, path: &Path, source| LedgerError::File {
        action,
        path: path.to_owned(),
        source,
    };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|e| failed("create", dir, e))?;
    }
    match File::options()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)
    {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(failed("create", path, e)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Readers of another user fail without `-wal` and `-shm`, which SQLite deletes when it checkpoints at the close.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    let error = |action| move |source| sqlite_error(action, path, source);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(error("begin the migration"))?;
    let found = version(&transaction).map_err(error("read the schema version"))?;
    refuse_newer(path.display(), found, MIGRATIONS.len())?;
    for (migration, version) in MIGRATIONS.iter().zip(1_u32..) {
        if version > found {
            transaction
                .execute_batch(migration)
                .map_err(error("migrate the schema"))?;
            let updated = transaction.pragma_update(None, "user_version", version);
            updated.map_err(error("set the schema version"))?;
        }
    }
    transaction.commit().map_err(error("commit the migration"))
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn sqlite_error(action: &'static str, path: &Path, source: rusqlite::Error) -> LedgerError {
    LedgerError::Sqlite {
        action,
        path: path.to_owned(),
        source,
    }
}
