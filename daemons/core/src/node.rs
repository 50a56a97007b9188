//! The nodes that have enrolled, and the certificates that they were given: their rows.

use crate::store::StoreError;
use hh_trust::pki::{IssuedCertificate, PeerCertificate, Serial};
use hh_trust::{NodeId, NodePublicKey};
use rusqlite::{OptionalExtension, Row, Transaction, params};

/// A certificate that has ended is of no use to anybody after this: the answer to a lost renewal was fetched long ago.
const KEEP_ENDED_SECONDS: i64 = 30 * 86_400;

/// A node as it is known.
#[derive(Clone, Debug)]
pub(crate) struct NodeRow {
    pub(crate) id: NodeId,
    /// Of its commands; another one at every enrolment.
    pub(crate) epoch: u64,
    /// Of the last command that was signed for it.
    pub(crate) last_seq: u64,
    pub(crate) public_key: NodePublicKey,
    /// It serves miners of others.
    pub(crate) is_public: bool,
    pub(crate) agent_version: String,
    pub(crate) enrolled_at_ms: i64,
    pub(crate) last_seen_at_ms: Option<i64>,
    pub(crate) is_revoked: bool,
    /// When the last of its certificates ends.
    pub(crate) certificate_until_ms: i64,
}

/// What is written down when a node joins, or joins anew.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) id: NodeId,
    pub(crate) epoch: u64,
    pub(crate) public_key: NodePublicKey,
    pub(crate) is_public: bool,
    pub(crate) agent_version: String,
    pub(crate) at_ms: i64,
}

const COLUMNS: &str = "id, epoch, last_seq, public_key, agent_version, enrolled_at_ms, last_seen_at_ms, revoked_at_ms, \
    (SELECT max(until_ms) FROM certificates WHERE node = nodes.id AND certificates.epoch = nodes.epoch), is_public";

/// One node; none if there is none of that name.
pub(crate) fn get(
    transaction: &Transaction<'_>,
    id: &NodeId,
) -> Result<Option<NodeRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM nodes WHERE id = ?");
    let mut statement = transaction.prepare_cached(&query)?;
    let row = statement.query_row([id.as_str()], |row| Ok(read(row)));
    row.optional()?.transpose()
}

/// The nodes by name, at most so many, and how many there are.
pub(crate) fn list(
    transaction: &Transaction<'_>,
    limit: u32,
) -> Result<(Vec<NodeRow>, u32), StoreError> {
    let query = format!("SELECT {COLUMNS} FROM nodes ORDER BY id LIMIT ?");
    let mut statement = transaction.prepare_cached(&query)?;
    let rows = statement.query_map([limit], |row| Ok(read(row)))?;
    let nodes = rows.map(|row| row?).collect::<Result<_, StoreError>>()?;
    let total = "SELECT count(*) FROM nodes";
    let total = transaction.query_row(total, [], |row| row.get(0))?;
    Ok((nodes, total))
}

/// At most so many nodes after that one, by name; of all, or `only` these.
pub(crate) fn page(
    transaction: &Transaction<'_>,
    only: Option<&[String]>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<NodeRow>, StoreError> {
    let only = only.map(|names| serde_json::to_string(names).expect("texts have a JSON"));
    let query = format!(
        "SELECT {COLUMNS} FROM nodes
         WHERE (?1 IS NULL OR id IN (SELECT value FROM json_each(?1))) AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3"
    );
    let mut statement = transaction.prepare_cached(&query)?;
    let rows = statement.query_map(params![only, after, limit], |row| Ok(read(row)))?;
    rows.map(|row| row?).collect()
}

/// The name of the node that has this key.
pub(crate) fn with_key(
    transaction: &Transaction<'_>,
    key: NodePublicKey,
) -> Result<Option<String>, StoreError> {
    let query = "SELECT id FROM nodes WHERE public_key = ?";
    let found = transaction.query_row(query, [key.to_string()], |row| row.get(0));
    Ok(found.optional()?)
}

/// Writes a node that joins; one of that name begins anew.
pub(crate) fn join(transaction: &Transaction<'_>, node: &Joining) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO nodes (id, epoch, public_key, agent_version, enrolled_at_ms, is_public) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET epoch = ?2, last_seq = 0, public_key = ?3, agent_version = ?4, enrolled_at_ms = ?5, is_public = ?6,
             last_seen_at_ms = NULL, revoked_at_ms = NULL",
        params![
            node.id.as_str(),
            node.epoch,
            node.public_key.to_string(),
            node.agent_version,
            node.at_ms,
            node.is_public,
        ],
    )?;
    Ok(())
}

/// The next number of a command for a node.
pub(crate) fn next_seq(transaction: &Transaction<'_>, id: &NodeId) -> Result<u64, StoreError> {
    let update = "UPDATE nodes SET last_seq = last_seq + 1 WHERE id = ? RETURNING last_seq";
    Ok(transaction.query_row(update, [id.as_str()], |row| row.get(0))?)
}

/// Writes down when nodes were last heard of.
pub(crate) fn seen(
    transaction: &Transaction<'_>,
    seen: &[(NodeId, i64)],
) -> Result<(), StoreError> {
    let update =
        "UPDATE nodes SET last_seen_at_ms = max(coalesce(last_seen_at_ms, 0), ?) WHERE id = ?";
    let mut statement = transaction.prepare_cached(update)?;
    for (id, at_ms) in seen {
        statement.execute(params![at_ms, id.as_str()])?;
    }
    Ok(())
}

/// Writes down the version that a node's agent has.
pub(crate) fn set_version(
    transaction: &Transaction<'_>,
    id: &NodeId,
    version: &str,
) -> Result<(), StoreError> {
    let update = "UPDATE nodes SET agent_version = ? WHERE id = ?";
    transaction.execute(update, params![version, id.as_str()])?;
    Ok(())
}

/// Whether a certificate that TLS has verified is of the node as it is now: not from before it joined anew, and not revoked.
pub(crate) fn admits(
    transaction: &Transaction<'_>,
    node: &NodeRow,
    certificate: &PeerCertificate,
) -> Result<bool, StoreError> {
    let query = "SELECT count(*) FROM certificates WHERE serial = ? AND node = ? AND epoch = ?";
    let known: u32 = transaction.query_row(
        query,
        params![certificate.serial.to_string(), node.id.as_str(), node.epoch],
        |row| row.get(0),
    )?;
    Ok(known == 1 && !node.is_revoked)
}

/// Writes down a certificate, and forgets those that ended long ago.
pub(crate) fn put_certificate(
    transaction: &Transaction<'_>,
    (node, epoch): (&NodeId, u64),
    key_hash: [u8; 32],
    issued: &IssuedCertificate,
    at_ms: i64,
) -> Result<(), StoreError> {
    let chain = encode_chain(issued);
    transaction.execute(
        "INSERT INTO certificates (serial, node, epoch, key_hash, chain, issued_at_ms, until_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            Serial::to_string(&issued.serial),
            node.as_str(),
            epoch,
            key_hash,
            chain,
            at_ms,
            issued.validity.not_after.saturating_mul(1_000),
        ],
    )?;
    let long_ago = at_ms.saturating_sub(KEEP_ENDED_SECONDS * 1_000);
    let delete = "DELETE FROM certificates WHERE node = ? AND until_ms < ?";
    transaction.execute(delete, params![node.as_str(), long_ago])?;
    Ok(())
}

/// The chain of the last certificate that a node was given for this key.
pub(crate) fn chain_for_key(
    transaction: &Transaction<'_>,
    (node, epoch): (&NodeId, u64),
    key_hash: [u8; 32],
) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
    let query = "SELECT chain FROM certificates WHERE node = ? AND epoch = ? AND key_hash = ? ORDER BY issued_at_ms DESC LIMIT 1";
    let found = transaction.query_row(query, params![node.as_str(), epoch, key_hash], |row| {
        row.get::<_, Vec<u8>>(0)
    });
    found
        .optional()?
        .map(|bytes| decode_chain(&bytes))
        .transpose()
}

/// Each certificate with its length in four bytes before it.
fn encode_chain(issued: &IssuedCertificate) -> Vec<u8> {
    let mut bytes = Vec::new();
    for certificate in &issued.chain {
        let length =
            u32::try_from(certificate.len()).expect("a certificate of ours has some hundred bytes");
        bytes.extend(length.to_be_bytes());
        bytes.extend(certificate.as_ref());
    }
    bytes
}

fn decode_chain(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    let damaged = || StoreError::Damaged {
        what: "a chain of certificates that is cut off".to_owned(),
    };
    let mut chain = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (certificate, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
        chain.push(certificate.to_vec());
        bytes = rest;
    }
    Ok(chain)
}

fn read(row: &Row<'_>) -> Result<NodeRow, StoreError> {
    let id: String = row.get(0)?;
    let key: String = row.get(3)?;
    let damaged = |what: String| StoreError::Damaged { what };
    Ok(NodeRow {
        id: id
            .parse()
            .map_err(|_no| damaged(format!("a node named {id:?}")))?,
        epoch: row.get(1)?,
        last_seq: row.get(2)?,
        public_key: key
            .parse()
            .map_err(|_no| damaged(format!("the key {key:?} of {id}")))?,
        is_public: row.get(9)?,
        agent_version: row.get(4)?,
        enrolled_at_ms: row.get(5)?,
        last_seen_at_ms: row.get(6)?,
        is_revoked: row.get::<_, Option<i64>>(7)?.is_some(),
        certificate_until_ms: row.get::<_, Option<i64>>(8)?.unwrap_or_default(),
    })
}
