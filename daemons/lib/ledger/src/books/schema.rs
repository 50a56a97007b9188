//! The tables of the books, in one text for both engines. Owns the schema's version; knows no query.

use super::session::{CallError, Session};
use super::value::{Row, values};
use crate::{LedgerError, Location, refuse_newer};

/// What the schema is called where a database has several.
pub(super) const NAME: &str = "treasury";

/// Migrations in order; the schema's version is the number of those that ran. One that was released is never changed.
///
/// Types are named once: `{int}` 64 bits, `{text}` compared by its bytes, `{bytes}`; `{id}` numbers itself; `{table}` ends a table,
/// `{keyed}` one that is found by its key alone.
const MIGRATIONS: [&str; 6] = [
    INITIAL,
    WALLET_PLACES,
    FOREIGN,
    REBALANCES,
    EDGES,
    WITHDRAWALS,
];

/// Amounts are msat. Times are milliseconds since 1970. Hashes are in the byte order of a header. u128 are 16 bytes, big-endian.
const INITIAL: &str = "
-- One row: which database this is, and how many transactions were committed. See the witness.
CREATE TABLE book_state (
    id {int} PRIMARY KEY CHECK (id = 1),
    generation {bytes} NOT NULL CHECK (length(generation) = 16),
    commits {int} NOT NULL
){table};

-- Blocks of ours, and what they are split by. split_entry and maturity_entry: those that stand, not reversed.
CREATE TABLE blocks (
    hash {bytes} PRIMARY KEY CHECK (length(hash) = 32),
    height {int} NOT NULL,
    state {text} NOT NULL
        CHECK (state IN ('tracked', 'accepted', 'confirmed', 'mature', 'payable', 'rejected', 'orphaned')),
    confirmations {int} NOT NULL,
    reason {text},
    noted_at_ms {int} NOT NULL,
    finder {text} NOT NULL,
    found_at_ms {int} NOT NULL,
    value_msat {int},
    subsidy_msat {int},
    fees_msat {int},
    split_entry {int},
    split_at_ms {int},
    maturity_entry {int},
    mature_at_ms {int},
    window_rule {text},
    window_first_ms {int},
    window_last_ms {int},
    window_score {bytes},
    report {bytes},
    signature {text}
){keyed};

-- Assets, expenses and losses are positive, claims on us and income negative. balance_msat is the sum of the postings.
CREATE TABLE accounts (
    id {id},
    kind {text} NOT NULL,
    name {text} NOT NULL,
    balance_msat {int} NOT NULL,
    UNIQUE (kind, name),
    CHECK (balance_msat <= 0 OR kind NOT IN ('immature', 'balance', 'payout', 'capital', 'income')),
    CHECK (balance_msat >= 0 OR kind NOT IN ('coinbase', 'loss', 'fee'))
){table};

-- What happened. Never changed, never deleted.
CREATE TABLE entries (
    id {int} PRIMARY KEY,
    kind {text} NOT NULL,
    at_ms {int} NOT NULL,
    block {bytes} REFERENCES blocks,
    payout {int},
    reverses {int} UNIQUE REFERENCES entries,
    key {text} UNIQUE,
    note {text} NOT NULL
){table};
CREATE INDEX entries_of_block ON entries (block) WHERE block IS NOT NULL;
CREATE INDEX entries_of_payout ON entries (payout) WHERE payout IS NOT NULL;

-- Those of an entry sum to zero. after_msat: the account's balance then.
CREATE TABLE postings (
    entry {int} NOT NULL REFERENCES entries,
    account {int} NOT NULL REFERENCES accounts,
    amount_msat {int} NOT NULL CHECK (amount_msat <> 0),
    after_msat {int} NOT NULL,
    PRIMARY KEY (entry, account)
){keyed};
CREATE INDEX postings_of_account ON postings (account, entry);

-- What payees could not give back of an orphan: taken first where the same block comes back.
CREATE TABLE arrears (
    block {bytes} NOT NULL REFERENCES blocks,
    payee {text} NOT NULL,
    amount_msat {int} NOT NULL CHECK (amount_msat >= 0),
    PRIMARY KEY (block, payee)
){keyed};

-- The leaves of a block's report.
CREATE TABLE leaves (
    block {bytes} NOT NULL REFERENCES blocks,
    account {text} NOT NULL,
    pseudonym {bytes} NOT NULL CHECK (length(pseudonym) = 32),
    score {bytes} NOT NULL CHECK (length(score) = 16),
    amount_msat {int} NOT NULL,
    minutes {bytes} NOT NULL CHECK (length(minutes) = 32),
    PRIMARY KEY (block, account)
){keyed};
CREATE INDEX leaves_of_account ON leaves (account, block);

CREATE TABLE freezes (
    id {int} PRIMARY KEY,
    reason {text} NOT NULL,
    actor {text} NOT NULL,
    at_ms {int} NOT NULL,
    lifted_at_ms {int},
    lifted_by {text},
    lifted_why {text}
){table};

-- subject: a payee, or payout:ID.
CREATE TABLE holds (
    subject {text} PRIMARY KEY,
    reason {text} NOT NULL,
    actor {text} NOT NULL,
    at_ms {int} NOT NULL
){keyed};

-- Who agrees to what, where two persons have to.
CREATE TABLE consents (
    subject {text} NOT NULL,
    actor {text} NOT NULL,
    terms {text} NOT NULL,
    at_ms {int} NOT NULL,
    until_ms {int} NOT NULL,
    PRIMARY KEY (subject, actor)
){keyed};

CREATE TABLE destinations (
    payee {text} NOT NULL,
    seq {int} NOT NULL CHECK (seq > 0),
    kind {text} NOT NULL CHECK (kind IN ('lnaddress', 'bolt12', 'bolt11_draw')),
    destination {text} NOT NULL,
    proof {text} NOT NULL,
    set_at_ms {int} NOT NULL,
    active_from_ms {int} NOT NULL,
    cancelled_at_ms {int},
    cancelled_by {text},
    PRIMARY KEY (payee, seq)
){keyed};

-- Invoices that nodes submit for what they are owed. payout: the one that is to pay it, or has.
CREATE TABLE invoices (
    id {int} PRIMARY KEY,
    node {text} NOT NULL,
    payment_hash {bytes} NOT NULL UNIQUE CHECK (length(payment_hash) = 32),
    bolt11 {text} NOT NULL,
    amount_msat {int} NOT NULL,
    expires_at_ms {int} NOT NULL,
    submitted_at_ms {int} NOT NULL,
    payout {int}
){table};
CREATE INDEX invoices_of_node ON invoices (node, id);

-- One unused token an account; only its hash.
CREATE TABLE claim_tokens (
    account {text} PRIMARY KEY,
    token_sha256 {bytes} NOT NULL CHECK (length(token_sha256) = 32),
    given_by {text} NOT NULL,
    given_at_ms {int} NOT NULL
){keyed};

-- The keys that an account's owner has had; the last one counts.
CREATE TABLE owners (
    account {text} NOT NULL,
    seq {int} NOT NULL,
    key {bytes} NOT NULL CHECK (length(key) = 32),
    given_by {text} NOT NULL,
    since_ms {int} NOT NULL,
    PRIMARY KEY (account, seq)
){keyed};

CREATE TABLE payouts (
    id {int} PRIMARY KEY,
    key {text} NOT NULL UNIQUE,
    payee {text} NOT NULL,
    amount_msat {int} NOT NULL CHECK (amount_msat > 0),
    to_kind {text} NOT NULL,
    to_text {text} NOT NULL,
    rule {text} NOT NULL,
    approvals_needed {int} NOT NULL,
    state {text} NOT NULL CHECK (state IN
        ('queued', 'resolving', 'ready', 'paying', 'settled', 'retry_wait', 'needs_operator', 'cancelled')),
    next_try_at_ms {int} NOT NULL,
    tries {int} NOT NULL,
    created_at_ms {int} NOT NULL,
    ended_at_ms {int},
    reason {text}
){table};
CREATE UNIQUE INDEX one_open ON payouts (payee) WHERE state NOT IN ('settled', 'cancelled');
CREATE INDEX payouts_of_payee ON payouts (payee, id);
CREATE INDEX waiting ON payouts (next_try_at_ms, id) WHERE state IN ('queued', 'resolving', 'ready', 'retry_wait');

CREATE TABLE approvals (
    payout {int} NOT NULL REFERENCES payouts,
    actor {text} NOT NULL,
    amount_msat {int} NOT NULL,
    to_kind {text} NOT NULL,
    to_text {text} NOT NULL,
    at_ms {int} NOT NULL,
    until_ms {int} NOT NULL,
    PRIMARY KEY (payout, actor)
){keyed};

-- settled_late: it settled after its money had been given back or paid by another attempt.
CREATE TABLE attempts (
    id {int} PRIMARY KEY,
    payout {int} NOT NULL REFERENCES payouts,
    payment_hash {bytes} NOT NULL UNIQUE CHECK (length(payment_hash) = 32),
    invoice {text} NOT NULL,
    amount_msat {int} NOT NULL,
    max_fee_msat {int} NOT NULL,
    cltv_limit {int} NOT NULL,
    wallet_node {text} NOT NULL,
    invoice_expires_at_ms {int} NOT NULL,
    state {text} NOT NULL CHECK (state IN ('prepared', 'dispatched', 'in_flight', 'unknown', 'settled', 'failed_final',
        'abandoned', 'settled_late')),
    prepared_at_ms {int} NOT NULL,
    dispatched_at_ms {int},
    dispatch_height {int},
    ended_at_ms {int},
    preimage {bytes} CHECK (length(preimage) = 32),
    fee_msat {int},
    failure {text},
    evidence {text},
    CHECK ((preimage IS NOT NULL) = (state IN ('settled', 'settled_late')))
){table};
-- Nothing is paid twice.
CREATE UNIQUE INDEX one_live ON attempts (payout)
    WHERE state IN ('prepared', 'dispatched', 'in_flight', 'unknown', 'settled');
CREATE INDEX attempts_of_payout ON attempts (payout, id);
CREATE INDEX attempts_by_time ON attempts (prepared_at_ms);
CREATE INDEX attempts_by_state ON attempts (state, amount_msat, fee_msat);
CREATE INDEX open_attempts ON attempts (id) WHERE state IN ('prepared', 'dispatched', 'in_flight', 'unknown');

-- The channels that there were when it was dispatched.
CREATE TABLE attempt_channels (
    attempt {int} NOT NULL REFERENCES attempts,
    channel {text} NOT NULL,
    PRIMARY KEY (attempt, channel)
){keyed};

-- A line for each transition of a payout and of its attempts.
CREATE TABLE payout_history (
    payout {int} NOT NULL REFERENCES payouts,
    seq {int} NOT NULL,
    at_ms {int} NOT NULL,
    attempt {int},
    state {text} NOT NULL,
    what {text} NOT NULL,
    actor {text},
    PRIMARY KEY (payout, seq)
){keyed};
";

const WALLET_PLACES: &str = "
-- Up to where what a wallet earned by forwarding is booked, in the words of whoever reads it. wallet: its node id.
CREATE TABLE wallet_places (
    wallet {text} PRIMARY KEY,
    place {text} NOT NULL
){keyed};
";

const FOREIGN: &str = "
-- Payments of the wallet that were to no payee, as two persons have said.
CREATE TABLE foreign_payments (
    payment_hash {bytes} PRIMARY KEY CHECK (length(payment_hash) = 32),
    amount_msat {int},
    why {text} NOT NULL,
    given_by {text} NOT NULL,
    at_ms {int} NOT NULL
){keyed};
";

const REBALANCES: &str = "
-- Payments of the wallet to itself, from one of its channels to another. channels: those that it had, with blanks between.
CREATE TABLE rebalances (
    id {int} PRIMARY KEY,
    key {text} NOT NULL UNIQUE,
    payment_hash {bytes} NOT NULL UNIQUE CHECK (length(payment_hash) = 32),
    from_channel {text} NOT NULL,
    into_channel {text} NOT NULL,
    amount_msat {int} NOT NULL CHECK (amount_msat > 0),
    max_fee_msat {int} NOT NULL,
    cltv_limit {int} NOT NULL,
    wallet_node {text} NOT NULL,
    height {int} NOT NULL,
    channels {text} NOT NULL,
    actor {text} NOT NULL,
    state {text} NOT NULL CHECK (state IN ('open', 'settled', 'failed')),
    opened_at_ms {int} NOT NULL,
    ended_at_ms {int},
    fee_msat {int},
    failure {text},
    CHECK ((fee_msat IS NOT NULL) = (state = 'settled'))
){table};
CREATE INDEX open_rebalances ON rebalances (id) WHERE state = 'open';
";

const EDGES: &str = "
-- The shares of the minute in which a block's window is full, newest first from place 0 on. Of the report: gone where it is.
CREATE TABLE edge_shares (
    block {bytes} NOT NULL REFERENCES blocks,
    place {int} NOT NULL,
    origin {int} NOT NULL,
    at_ms {int} NOT NULL,
    seq {int} NOT NULL,
    score {bytes} NOT NULL CHECK (length(score) = 16),
    counted {bytes} NOT NULL CHECK (length(counted) = 16),
    PRIMARY KEY (block, place)
){keyed};

-- Where they came from: the log, and whose they are.
CREATE TABLE edge_origins (
    block {bytes} NOT NULL REFERENCES blocks,
    number {int} NOT NULL,
    pool {text} NOT NULL,
    epoch {bytes} NOT NULL CHECK (length(epoch) = 16),
    account {text} NOT NULL,
    worker {text} NOT NULL,
    node {text} NOT NULL,
    lane {text} NOT NULL,
    PRIMARY KEY (block, number)
){keyed};
";

const WITHDRAWALS: &str = "
-- What the operator has sent on the chain of his own. actor: two persons where two were needed. reason: why it failed, or what it waits
-- for.
CREATE TABLE withdrawals (
    id {int} PRIMARY KEY,
    key {text} NOT NULL UNIQUE,
    address {text} NOT NULL,
    amount_msat {int} NOT NULL CHECK (amount_msat > 0),
    max_fee_msat {int} NOT NULL,
    wallet_node {text} NOT NULL,
    height {int} NOT NULL,
    actor {text} NOT NULL,
    state {text} NOT NULL CHECK (state IN ('open', 'sent', 'settled', 'failed')),
    opened_at_ms {int} NOT NULL,
    ended_at_ms {int},
    txid {bytes} UNIQUE CHECK (length(txid) = 32),
    block_height {int},
    fee_msat {int},
    reason {text},
    CHECK ((fee_msat IS NOT NULL) = (state = 'settled')),
    CHECK (txid IS NOT NULL OR state IN ('open', 'failed'))
){table};
CREATE INDEX open_withdrawals ON withdrawals (id) WHERE state IN ('open', 'sent');
";

/// Makes and migrates the schema where that is due.
pub(super) async fn migrate(session: &mut Session, location: &Location) -> Result<(), CallError> {
    let found = version(session).await?;
    refuse_newer(location, found, MIGRATIONS.len()).map_err(refused)?;
    if found == 0 {
        create(session).await?;
        let state = "INSERT INTO book_state (id, generation, commits) VALUES (1, $1, 0)";
        let generation: [u8; 16] = rand::random();
        for migration in MIGRATIONS {
            session.batch(&spelt(session, migration)).await?;
        }
        session.execute(state, &values![generation]).await?;
    } else {
        for (migration, version) in MIGRATIONS.iter().zip(1_u32..) {
            if version > found {
                session.batch(&spelt(session, migration)).await?;
            }
        }
    }
    let known = u64::try_from(MIGRATIONS.len()).expect("there are few migrations");
    let update = "UPDATE schema_version SET version = $1";
    session.execute(update, &values![known]).await?;
    Ok(())
}

/// Whether the schema is the one this program knows, so that there is nothing to migrate.
pub(super) async fn is_current(
    session: &mut Session,
    location: &Location,
) -> Result<bool, CallError> {
    let found = version(session).await?;
    refuse_newer(location, found, MIGRATIONS.len()).map_err(refused)?;
    Ok(usize::try_from(found).is_ok_and(|found| found == MIGRATIONS.len()))
}

/// A text of this file as the engine spells it.
fn spelt(session: &Session, text: &str) -> String {
    let spellings = match session {
        Session::Sqlite(_) => [
            ("{int}", "INTEGER"),
            ("{text}", "TEXT"),
            ("{bytes}", "BLOB"),
            ("{id}", "INTEGER PRIMARY KEY"),
            ("{table}", " STRICT"),
            ("{keyed}", " STRICT, WITHOUT ROWID"),
        ],
        Session::Postgres(_) => [
            ("{int}", "bigint"),
            ("{text}", r#"text COLLATE "C""#),
            ("{bytes}", "bytea"),
            ("{id}", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            ("{table}", ""),
            ("{keyed}", ""),
        ],
    };
    spellings
        .iter()
        .fold(text.to_owned(), |text, (ours, theirs)| {
            text.replace(ours, theirs)
        })
}

/// The schema may have been made for this role, which then needs no right on the database.
const CREATE_SCHEMA: &str = "
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'treasury') THEN
        CREATE SCHEMA treasury;
    END IF;
END $$;
";

async fn create(session: &mut Session) -> Result<(), CallError> {
    if let Session::Postgres(_) = session {
        session.batch(CREATE_SCHEMA).await?;
    }
    let table = "CREATE TABLE schema_version (version {int} NOT NULL){table}; INSERT INTO schema_version VALUES (0);";
    session.batch(&spelt(session, table)).await
}

/// The schema's version, 0 if there is none.
async fn version(session: &mut Session) -> Result<u32, CallError> {
    let exists = match session {
        Session::Sqlite(_) => {
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version'"
        }
        Session::Postgres(_) => {
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'treasury' AND tablename = 'schema_version'"
        }
    };
    let count = |row: Option<Row>| row.map_or(Ok(0), |row| row.get::<i64>(0));
    if count(session.find(exists, &[]).await?)? == 0 {
        return Ok(0);
    }
    let version = session
        .find("SELECT version FROM schema_version", &[])
        .await?;
    Ok(version.map_or(Ok(0), |row| row.get(0))?)
}

fn refused(error: LedgerError) -> CallError {
    CallError::Refused(error.into())
}
