//! What operators have signed about nodes and each other: its rows.
//!
//! Core keeps it and passes it on. It is no authority here: what is in these rows counts by its signatures alone, which hh-pool and
//! hh-treasury check against the operators in their own configuration. Every number of a record stays, as a daemon that begins anew
//! believes a later one only after those before it.

use crate::store::{Notice, Row, StoreError, Transaction, values};
use hh_ipc::api::core::RecordKind;

/// Most rows: some hundred nodes, changed some ten times each. A daemon reads all of them at once.
pub(crate) const RECORDS_MAX: u64 = 5_000;

/// Most bytes of all statements and signatures. A daemon takes an answer of 32 MiB, where they are JSON in JSON and up to twice as long,
/// and revocations have their room.
pub(crate) const RECORDS_BYTES_MAX: u64 = 12 << 20;

/// A record as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct RecordRow {
    pub(crate) kind: RecordKind,
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) text: String,
    pub(crate) signatures: Vec<String>,
    pub(crate) brought_by: String,
    pub(crate) brought_at_ms: i64,
}

/// That a node or an operator is none any more.
#[derive(Clone, Debug)]
pub(crate) struct RevocationRow {
    pub(crate) kind: RecordKind,
    pub(crate) name: String,
    pub(crate) reason: String,
    pub(crate) revoked_by: String,
    pub(crate) revoked_at_ms: i64,
}

impl RecordRow {
    /// Bytes that are counted for it.
    pub(crate) fn bytes(&self) -> u64 {
        let signatures = self.signatures.iter().map(String::len);
        u64::try_from(self.text.len() + signatures.sum::<usize>()).unwrap_or(u64::MAX)
    }

    /// When it was signed, by its own word.
    fn signed_at_ms(&self) -> i64 {
        #[derive(serde::Deserialize)]
        struct SignedAt {
            at: i64,
        }
        let said = serde_json::from_str(&self.text);
        said.map_or(0, |said: SignedAt| said.at.saturating_mul(1_000))
    }
}

const COLUMNS: &str = "kind, name, number, statement, signatures, brought_by, brought_at_ms";

const REVOCATION_COLUMNS: &str = "kind, name, reason, revoked_by, revoked_at_ms";

/// The record of that name with the highest number.
pub(crate) fn last(
    transaction: &Transaction<'_>,
    kind: RecordKind,
    name: &str,
) -> Result<Option<RecordRow>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM records WHERE kind = $1 AND name = $2 ORDER BY number DESC LIMIT 1"
    );
    let row = transaction.find(&query, &values![kind.name(), name])?;
    row.as_ref().map(read).transpose()
}

/// The last record of each name after that one, by name, at most so many.
pub(crate) fn page(
    transaction: &Transaction<'_>,
    kind: RecordKind,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<RecordRow>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM records WHERE kind = $1 AND name > $2
         AND number = (SELECT max(number) FROM records AS other WHERE other.kind = records.kind AND other.name = records.name)
         ORDER BY name LIMIT $3"
    );
    // Every name is after the empty one.
    let rows = transaction.query(&query, &values![kind.name(), after.unwrap_or(""), limit])?;
    rows.iter().map(read).collect()
}

/// All of them, in the order in which they may be believed.
pub(crate) fn all(transaction: &Transaction<'_>) -> Result<Vec<RecordRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM records ORDER BY kind, name, number LIMIT $1");
    let rows = transaction.query(&query, &values![RECORDS_MAX])?;
    rows.iter().map(read).collect()
}

/// How many there are.
pub(crate) fn count(transaction: &Transaction<'_>) -> Result<u64, StoreError> {
    transaction.one("SELECT count(*) FROM records", &[])?.get(0)
}

/// Bytes of all statements and signatures.
pub(crate) fn bytes(transaction: &Transaction<'_>) -> Result<u64, StoreError> {
    let query = "SELECT CAST(coalesce(sum(octet_length(statement) + octet_length(signatures)), 0) AS bigint) FROM records";
    transaction.one(query, &[])?.get(0)
}

/// Writes a record, or more signatures of one.
pub(crate) fn put(transaction: &Transaction<'_>, record: &RecordRow) -> Result<(), StoreError> {
    let signatures = serde_json::to_string(&record.signatures).expect("texts have a JSON");
    transaction.execute(
        "INSERT INTO records (kind, name, number, statement, signatures, brought_by, brought_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (kind, name, number) DO UPDATE SET signatures = $5",
        &values![
            record.kind.name(),
            record.name.as_str(),
            record.number,
            record.text.as_str(),
            signatures,
            record.brought_by.as_str(),
            record.brought_at_ms,
        ],
    )?;
    transaction.notify(Notice::Records);
    Ok(())
}

/// The revocation of that name, of before its last record or since.
pub(crate) fn revocation(
    transaction: &Transaction<'_>,
    kind: RecordKind,
    name: &str,
) -> Result<Option<RevocationRow>, StoreError> {
    let query = format!(
        "SELECT {REVOCATION_COLUMNS} FROM record_revocations WHERE kind = $1 AND name = $2"
    );
    let row = transaction.find(&query, &values![kind.name(), name])?;
    row.as_ref().map(read_revocation).transpose()
}

/// All of them; and the nodes that core itself lets in no more.
pub(crate) fn revocations(
    transaction: &Transaction<'_>,
) -> Result<Vec<(RecordKind, String, i64)>, StoreError> {
    let query = format!("SELECT {REVOCATION_COLUMNS} FROM record_revocations ORDER BY kind, name");
    let mut found = Vec::new();
    for row in &transaction.query(&query, &[])? {
        let row = read_revocation(row)?;
        found.push((row.kind, row.name, row.revoked_at_ms));
    }
    let query = "SELECT id, revoked_at_ms FROM nodes WHERE revoked_at_ms IS NOT NULL ORDER BY id";
    for row in &transaction.query(query, &[])? {
        found.push((RecordKind::Node, row.get(0)?, row.get(1)?));
    }
    Ok(found)
}

/// When a name is revoked that is revoked now: its last record holds no more, even if the clock of who signed it is ahead.
pub(crate) fn revoked_at_ms(
    transaction: &Transaction<'_>,
    (kind, name): (RecordKind, &str),
    now_ms: i64,
) -> Result<i64, StoreError> {
    let last = last(transaction, kind, name)?;
    Ok(last.map_or(now_ms, |last| last.signed_at_ms().max(now_ms)))
}

/// Writes a revocation in the place of an earlier one.
pub(crate) fn revoke(
    transaction: &Transaction<'_>,
    revocation: &RevocationRow,
) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO record_revocations (kind, name, reason, revoked_by, revoked_at_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (kind, name) DO UPDATE SET reason = $3, revoked_by = $4, revoked_at_ms = $5",
        &values![
            revocation.kind.name(),
            revocation.name.as_str(),
            revocation.reason.as_str(),
            revocation.revoked_by.as_str(),
            revocation.revoked_at_ms,
        ],
    )?;
    transaction.notify(Notice::Records);
    Ok(())
}

fn read_kind(text: &str) -> Result<RecordKind, StoreError> {
    let known = RecordKind::ALL.into_iter().find(|kind| kind.name() == text);
    known.ok_or_else(|| StoreError::Damaged {
        what: format!("a record of the kind {text:?}"),
    })
}

fn read(row: &Row) -> Result<RecordRow, StoreError> {
    let (kind, signatures): (String, String) = (row.get(0)?, row.get(4)?);
    let signatures = serde_json::from_str(&signatures);
    Ok(RecordRow {
        kind: read_kind(&kind)?,
        name: row.get(1)?,
        number: row.get(2)?,
        text: row.get(3)?,
        signatures: signatures.map_err(|_no| StoreError::Damaged {
            what: "signatures that are no list".to_owned(),
        })?,
        brought_by: row.get(5)?,
        brought_at_ms: row.get(6)?,
    })
}

fn read_revocation(row: &Row) -> Result<RevocationRow, StoreError> {
    let kind: String = row.get(0)?;
    Ok(RevocationRow {
        kind: read_kind(&kind)?,
        name: row.get(1)?,
        reason: row.get(2)?,
        revoked_by: row.get(3)?,
        revoked_at_ms: row.get(4)?,
    })
}
