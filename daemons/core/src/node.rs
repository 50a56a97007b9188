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
    /// It is let in no more; none while it is.
    pub(crate) revoked: Option<RevokedRow>,
    /// Times in a row that it came back by its keys alone.
    pub(crate) recoveries: u32,
    /// When the last of its certificates ends.
    pub(crate) certificate_until_ms: i64,
}

/// That a node was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RevokedRow {
    pub(crate) at_ms: i64,
    pub(crate) reason: String,
}

/// Whether a certificate that TLS has verified lets a node in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    /// It was let in until the node was revoked.
    Revoked,
    /// It is from before the node joined anew.
    Stranger,
}

/// The last certificate that a node was given.
#[derive(Clone, Debug)]
pub(crate) struct LastCertificate {
    pub(crate) serial: String,
    /// SHA-256 of its public key.
    pub(crate) key_hash: [u8; 32],
    /// The node's first, then the issuer's.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) until_ms: i64,
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
    (SELECT max(until_ms) FROM certificates WHERE node = nodes.id AND certificates.epoch = nodes.epoch), is_public, \
    revoked_reason, recoveries";

impl NodeRow {
    /// Whether it is the node that was let in, and would still be.
    pub(crate) fn is_still(&self, let_in: &Self) -> bool {
        self.epoch == let_in.epoch && self.revoked.is_none()
    }
}

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
             last_seen_at_ms = NULL, revoked_at_ms = NULL, revoked_reason = NULL, recoveries = 0",
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

/// How many nodes there are that are not revoked.
pub(crate) fn count_let_in(transaction: &Transaction<'_>) -> Result<u32, StoreError> {
    let query = "SELECT count(*) FROM nodes WHERE revoked_at_ms IS NULL";
    transaction.one(query, &[])?.get(0)
}

/// Lets a node in no more. Nothing but another enrolment undoes it.
pub(crate) fn revoke(
    transaction: &Transaction<'_>,
    id: &NodeId,
    revoked: &RevokedRow,
) -> Result<(), StoreError> {
    let update = "UPDATE nodes SET revoked_at_ms = $1, revoked_reason = $2 WHERE id = $3 AND revoked_at_ms IS NULL";
    let of = values![revoked.at_ms, revoked.reason.as_str(), id];
    transaction.execute(update, &of).map(drop)
}

/// Counts a certificate that a node has got by its keys alone, or, where it has renewed the last one in time, begins anew.
pub(crate) fn set_recoveries(
    transaction: &Transaction<'_>,
    id: &NodeId,
    recoveries: u32,
) -> Result<(), StoreError> {
    let update = "UPDATE nodes SET recoveries = $1 WHERE id = $2 AND recoveries <> $1";
    transaction
        .execute(update, &values![recoveries, id])
        .map(drop)
}

/// Whether a certificate that TLS has verified is of the node as it is now: not from before it joined anew, and not revoked.
pub(crate) fn admission(
    transaction: &Transaction<'_>,
    node: &NodeRow,
    certificate: &PeerCertificate,
) -> Result<Admission, StoreError> {
    let query = "SELECT count(*) FROM certificates WHERE serial = $1 AND node = $2 AND epoch = $3";
    let of = values![certificate.serial.to_string(), &node.id, node.epoch];
    let known: u32 = transaction.one(query, &of)?.get(0)?;
    Ok(match &node.revoked {
        _ if known != 1 => Admission::Stranger,
        Some(_) => Admission::Revoked,
        None => Admission::Admitted,
    })
}

/// Writes down a certificate, and forgets those that ended long ago.
pub(crate) fn put_certificate(
    transaction: &Transaction<'_>,
    (node, epoch): (&NodeId, u64),
    key_hash: [u8; 32],
    issued: &IssuedCertificate,
    at_ms: i64,
) -> Result<(), StoreError> {
    // The last one is known by its time, whatever the clocks of two replicas say.
    let after = "SELECT coalesce(max(issued_at_ms), 0) + 1 FROM certificates WHERE node = $1";
    let after: i64 = transaction.one(after, &values![node])?.get(0)?;
    let chain = encode_chain(issued);
    transaction.execute(
        "INSERT INTO certificates (serial, node, epoch, key_hash, chain, issued_at_ms, until_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &values![
            Serial::to_string(&issued.serial),
            node,
            epoch,
            key_hash,
            chain,
            at_ms.max(after),
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

/// The last certificate that a node was given since it joined.
pub(crate) fn last_certificate(
    transaction: &Transaction<'_>,
    (node, epoch): (&NodeId, u64),
) -> Result<Option<LastCertificate>, StoreError> {
    let query =
        "SELECT key_hash, chain, until_ms, serial FROM certificates WHERE node = $1 AND epoch = $2
        ORDER BY issued_at_ms DESC LIMIT 1";
    let Some(row) = transaction.find(query, &values![node, epoch])? else {
        return Ok(None);
    };
    Ok(Some(LastCertificate {
        key_hash: row.get(0)?,
        chain: decode_chain(&row.get::<Vec<u8>>(1)?)?,
        until_ms: row.get(2)?,
        serial: row.get(3)?,
    }))
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
        revoked: match row.get::<Option<i64>>(7)? {
            Some(at_ms) => Some(RevokedRow {
                at_ms,
                reason: row.get::<Option<String>>(10)?.unwrap_or_default(),
            }),
            None => None,
        },
        recoveries: row.get(11)?,
        certificate_until_ms: row.get::<Option<i64>>(8)?.unwrap_or_default(),
    })
}
