//! The nodes that have enrolled, and the certificates that they were given: their rows.

use crate::store::{Row, StoreError, Transaction, among, values};
use hh_trust::pki::{IssuedCertificate, PeerCertificate, Serial};
use hh_trust::{NodeId, NodePublicKey};

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
    let query = format!("SELECT {COLUMNS} FROM nodes WHERE id = $1");
    let row = transaction.find(&query, &values![id])?;
    row.as_ref().map(read).transpose()
}

/// The nodes by name, at most so many, and how many there are.
pub(crate) fn list(
    transaction: &Transaction<'_>,
    limit: u32,
) -> Result<(Vec<NodeRow>, u32), StoreError> {
    let query = format!("SELECT {COLUMNS} FROM nodes ORDER BY id LIMIT $1");
    let rows = transaction.query(&query, &values![limit])?;
    let nodes = rows.iter().map(read).collect::<Result<_, _>>()?;
    let total = transaction.one("SELECT count(*) FROM nodes", &[])?;
    Ok((nodes, total.get(0)?))
}

/// At most so many nodes after that one, by name; of all, or `only` these.
pub(crate) fn page(
    transaction: &Transaction<'_>,
    only: Option<&[String]>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<NodeRow>, StoreError> {
    let mut values = values![after, limit].to_vec();
    let among = among("id", only, &mut values);
    let query = format!(
        "SELECT {COLUMNS} FROM nodes WHERE {among} AND ($1 IS NULL OR id > $1) ORDER BY id LIMIT $2"
    );
    let rows = transaction.query(&query, &values)?;
    rows.iter().map(read).collect()
}

/// The name of the node that has this key.
pub(crate) fn with_key(
    transaction: &Transaction<'_>,
    key: NodePublicKey,
) -> Result<Option<String>, StoreError> {
    let query = "SELECT id FROM nodes WHERE public_key = $1";
    let found = transaction.find(query, &values![key.to_string()])?;
    found.map(|row| row.get(0)).transpose()
}

/// Writes a node that joins; one of that name begins anew.
pub(crate) fn join(transaction: &Transaction<'_>, node: &Joining) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO nodes (id, epoch, public_key, agent_version, enrolled_at_ms, is_public) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET epoch = $2, last_seq = 0, public_key = $3, agent_version = $4, enrolled_at_ms = $5, is_public = $6,
             last_seen_at_ms = NULL, revoked_at_ms = NULL",
        &values![
            &node.id,
            node.epoch,
            node.public_key.to_string(),
            node.agent_version.as_str(),
            node.at_ms,
            node.is_public,
        ],
    )?;
    Ok(())
}

/// The next number of a command for a node.
pub(crate) fn next_seq(transaction: &Transaction<'_>, id: &NodeId) -> Result<u64, StoreError> {
    let update = "UPDATE nodes SET last_seq = last_seq + 1 WHERE id = $1 RETURNING last_seq";
    transaction.one(update, &values![id])?.get(0)
}

/// Writes down when nodes were last heard of.
pub(crate) fn seen(
    transaction: &Transaction<'_>,
    seen: &[(NodeId, i64)],
) -> Result<(), StoreError> {
    let update =
        "UPDATE nodes SET last_seen_at_ms = $1 WHERE id = $2 AND coalesce(last_seen_at_ms, 0) < $1";
    let rows = seen.iter().map(|(id, at_ms)| values![*at_ms, id].to_vec());
    let rows: Vec<_> = rows.collect();
    transaction.execute_each(update, &rows).map(drop)
}

/// Writes down the version that a node's agent has.
pub(crate) fn set_version(
    transaction: &Transaction<'_>,
    id: &NodeId,
    version: &str,
) -> Result<(), StoreError> {
    let update = "UPDATE nodes SET agent_version = $1 WHERE id = $2";
    transaction.execute(update, &values![version, id])?;
    Ok(())
}

/// Whether a certificate that TLS has verified is of the node as it is now: not from before it joined anew, and not revoked.
pub(crate) fn admits(
    transaction: &Transaction<'_>,
    node: &NodeRow,
    certificate: &PeerCertificate,
) -> Result<bool, StoreError> {
    let query = "SELECT count(*) FROM certificates WHERE serial = $1 AND node = $2 AND epoch = $3";
    let of = values![certificate.serial.to_string(), &node.id, node.epoch];
    let known: u32 = transaction.one(query, &of)?.get(0)?;
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
        "INSERT INTO certificates (serial, node, epoch, key_hash, chain, issued_at_ms, until_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &values![
            Serial::to_string(&issued.serial),
            node,
            epoch,
            key_hash,
            chain,
            at_ms,
            issued.validity.not_after.saturating_mul(1_000),
        ],
    )?;
    let long_ago = at_ms.saturating_sub(KEEP_ENDED_SECONDS * 1_000);
    let delete = "DELETE FROM certificates WHERE node = $1 AND until_ms < $2";
    transaction.execute(delete, &values![node, long_ago])?;
    Ok(())
}

/// The chain of the last certificate that a node was given for this key.
pub(crate) fn chain_for_key(
    transaction: &Transaction<'_>,
    (node, epoch): (&NodeId, u64),
    key_hash: [u8; 32],
) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
    let query = "SELECT chain FROM certificates WHERE node = $1 AND epoch = $2 AND key_hash = $3 ORDER BY issued_at_ms DESC LIMIT 1";
    let found = transaction.find(query, &values![node, epoch, key_hash])?;
    let chain = found.map(|row| decode_chain(&row.get::<Vec<u8>>(0)?));
    chain.transpose()
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

fn read(row: &Row) -> Result<NodeRow, StoreError> {
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
        is_revoked: row.get::<Option<i64>>(7)?.is_some(),
        certificate_until_ms: row.get::<Option<i64>>(8)?.unwrap_or_default(),
    })
}
