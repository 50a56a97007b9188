//! The tables in PostgreSQL, and the version of the schema. Knows no query.

use super::server::PostgresServer;
use super::session::Session;
use super::{CallError, within_limit};
use crate::{LedgerError, refuse_newer};

/// What the schema is called.
pub(super) const NAME: &str = "pool";

/// Migrations in order; the schema's version is the number of those that ran. One that was released is never changed.
const MIGRATIONS: [&str; 3] = [INITIAL, BLOCK_CUTS, LOG_ENDS];

/// Work and score are u128. Times are milliseconds since 1970. Hashes are in the byte order of a header. Names compare
/// by their bytes: the rules of a locale change with the system's library, and indexes with them.
///
/// Tables have the names and columns that they have in SQLite, but for `totals`: there the sums over all time are a part
/// of `origins`; here each log has its own, so that pools never wait for each other.
const INITIAL: &str = r#"
CREATE TABLE logs (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pool text COLLATE "C" NOT NULL,
    epoch bytea NOT NULL CHECK (octet_length(epoch) = 16),
    last_seq bigint NOT NULL,
    watermark_ms bigint,
    UNIQUE (pool, epoch)
);

-- Who is credited, through what.
CREATE TABLE origins (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text COLLATE "C" NOT NULL,
    worker text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    lane text COLLATE "C" NOT NULL,
    UNIQUE (account, worker, node, lane)
);

-- The sums over all time.
CREATE TABLE totals (
    log integer NOT NULL,
    origin bigint NOT NULL,
    shares bigint NOT NULL,
    work numeric(39, 0) NOT NULL,
    score numeric(39, 0) NOT NULL,
    last_share_at_ms bigint,
    PRIMARY KEY (log, origin)
) WITH (fillfactor = 50);

CREATE TABLE accounts (
    account text COLLATE "C" PRIMARY KEY,
    first_used_at_ms bigint NOT NULL
);

CREATE TABLE workers (
    account text COLLATE "C" NOT NULL,
    worker text COLLATE "C" NOT NULL,
    first_used_at_ms bigint NOT NULL,
    PRIMARY KEY (account, worker)
);

-- In a log, the order of seq is the order of accepted_at_ms: the share order needs no index.
CREATE TABLE shares (
    seq bigint NOT NULL,
    accepted_at_ms bigint NOT NULL,
    origin bigint NOT NULL,
    channel_id bigint NOT NULL,
    job_id bigint NOT NULL,
    nbits bigint NOT NULL,
    ntime bigint NOT NULL,
    nonce bigint NOT NULL,
    version bigint NOT NULL,
    log integer NOT NULL,
    is_block boolean NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    extranonce_prefix bytea NOT NULL CHECK (octet_length(extranonce_prefix) = 8),
    work numeric(39, 0) NOT NULL,
    score numeric(39, 0) NOT NULL,
    PRIMARY KEY (log, seq)
);

-- minute = accepted_at_ms / 60,000. A log has rows of its own, so that chain runs in the order of seq:
-- chain' = SHA-256(chain || epoch || seq u64 || accepted_at_ms i64 || hash || work || score), integers big-endian,
-- from 32 zero bytes on.
CREATE TABLE minute_sums (
    minute bigint NOT NULL,
    origin bigint NOT NULL,
    shares bigint NOT NULL,
    log integer NOT NULL,
    work numeric(39, 0) NOT NULL,
    score numeric(39, 0) NOT NULL,
    chain bytea NOT NULL CHECK (octet_length(chain) = 32),
    PRIMARY KEY (minute, log, origin)
);

CREATE TABLE rejected (
    minute bigint NOT NULL,
    origin bigint NOT NULL,
    shares bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    PRIMARY KEY (minute, origin, reason)
);

CREATE TABLE bindings (
    log integer NOT NULL,
    extranonce_prefix bytea NOT NULL CHECK (octet_length(extranonce_prefix) = 8),
    origin bigint NOT NULL,
    bound_at_ms bigint NOT NULL,
    PRIMARY KEY (log, extranonce_prefix)
);

-- Records that a log no longer had when the ledger asked for them.
CREATE TABLE gaps (
    log integer NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    noticed_at_ms bigint NOT NULL,
    PRIMARY KEY (log, first_seq)
);

CREATE TABLE blocks (
    hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    height bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('found', 'submitted', 'accepted', 'rejected', 'orphaned')),
    reason text,
    account text COLLATE "C" NOT NULL,
    worker text COLLATE "C" NOT NULL,
    node text COLLATE "C" NOT NULL,
    lane text COLLATE "C" NOT NULL,
    found_at_ms bigint NOT NULL,
    value_sat bigint NOT NULL,
    extranonce_prefix text NOT NULL
);

CREATE TABLE block_paths (
    hash bytea NOT NULL REFERENCES blocks,
    path text COLLATE "C" NOT NULL,
    outcome text NOT NULL,
    at_ms bigint NOT NULL,
    PRIMARY KEY (hash, path)
);

-- Which log hands out which part of the extranonce space.
CREATE TABLE server_ids (
    server_id bigint PRIMARY KEY CHECK (server_id BETWEEN 0 AND 65535),
    pool text COLLATE "C" NOT NULL,
    epoch bytea NOT NULL CHECK (octet_length(epoch) = 16),
    since_ms bigint NOT NULL
);

CREATE VIEW share_records AS
SELECT logs.pool, logs.epoch, shares.seq, shares.accepted_at_ms, account, worker, node, lane, hash, extranonce_prefix,
    channel_id, job_id, nbits, ntime, nonce, version, shares.work, shares.score, is_block
FROM shares JOIN logs ON logs.id = shares.log JOIN origins ON origins.id = shares.origin;
"#;

/// Where blocks lie in the order of shares.
const BLOCK_CUTS: &str = r#"
-- The sum of all shares up to a block's, in share order: (accepted_at_ms, pool, epoch, seq). Made once, when the watermark of
-- every log that holds a server id has passed the block, and never changed.
CREATE TABLE block_cuts (
    hash bytea PRIMARY KEY REFERENCES blocks,
    at_ms bigint NOT NULL,
    shares bigint NOT NULL,
    work numeric(39, 0) NOT NULL,
    score numeric(39, 0) NOT NULL
);

-- What of it lies in the minute of at_ms: with minute_sums, what each origin has brought in between two blocks.
CREATE TABLE block_cut_origins (
    hash bytea NOT NULL REFERENCES blocks,
    origin bigint NOT NULL,
    shares bigint NOT NULL,
    work numeric(39, 0) NOT NULL,
    score numeric(39, 0) NOT NULL,
    PRIMARY KEY (hash, origin)
);
"#;

/// When a log was last heard of, and how it ended.
const LOG_ENDS: &str = "
-- When it last shipped, by this server's clock.
ALTER TABLE logs ADD COLUMN heard_at_ms bigint;
-- Its pool stopped cleanly after last_seq, and has shipped nothing since.
ALTER TABLE logs ADD COLUMN is_closed boolean NOT NULL DEFAULT false;
-- From then on nothing of it is taken.
ALTER TABLE logs ADD COLUMN retired_at_ms bigint;
";

/// Several pools may start at once: one migrates, the others wait for it. The number is `pool` and `ledg` in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'706f6f6c'::integer, x'6c656467'::integer)";

/// Makes and migrates the schema where that is due.
///
/// # Errors
/// A newer schema; or the role may not do it.
pub(super) async fn migrate(
    session: &mut Session,
    server: &PostgresServer,
) -> Result<(), LedgerError> {
    let known = MIGRATIONS.len();
    let found = version(session, server).await?;
    refuse_newer(server, found, known)?;
    if usize::try_from(found).is_ok_and(|found| found == known) {
        return Ok(());
    }
    let action = "migrate the schema";
    within_limit(action, server, async {
        session.batch("BEGIN").await?;
        session.batch(LOCK).await?;
        // Another one may have done it meanwhile.
        let found = version(session, server).await?;
        refuse_newer(server, found, known)?;
        if found == 0 {
            session.batch(CREATE).await?;
        }
        for (migration, version) in MIGRATIONS.iter().zip(1_u32..) {
            if version > found {
                session.batch(migration).await?;
                let update = "UPDATE schema_version SET version = $1";
                session.execute(update, &[&i64::from(version)]).await?;
            }
        }
        session.batch("COMMIT").await?;
        Ok::<_, CallError>(())
    })
    .await
}

/// The schema may have been made for this role, which then needs no right on the database.
const CREATE: &str = "
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'pool') THEN
        CREATE SCHEMA pool;
    END IF;
END $$;
CREATE TABLE schema_version (version bigint NOT NULL);
INSERT INTO schema_version VALUES (0);
";

/// Refuses a schema that this program doesn't know.
///
/// # Errors
/// A newer schema.
pub(super) async fn check(
    session: &mut Session,
    server: &PostgresServer,
) -> Result<(), LedgerError> {
    refuse_newer(server, version(session, server).await?, MIGRATIONS.len())
}

/// The schema's version, 0 if there is none. Asked of the catalog's tables: `to_regclass` may answer from before the lock.
async fn version(session: &mut Session, server: &PostgresServer) -> Result<u32, LedgerError> {
    within_limit("read the schema version", server, async {
        let exists = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'pool' AND tablename = 'schema_version')";
        if !session.query(exists, &[]).await?[0].try_get::<_, bool>(0)? {
            return Ok(0);
        }
        let rows = session
            .query("SELECT version FROM pool.schema_version", &[])
            .await?;
        let super::value::Natural(version) = match rows.first() {
            Some(row) => row.try_get(0)?,
            None => return Ok(0),
        };
        Ok(version)
    })
    .await
}
