//! Leases: which replica has the session of a node. Their rows.
//!
//! A node dials one replica, and any may answer for it: so whoever has its session says so, and what the node said last, every few
//! seconds. A session that begins takes the lease from whoever had it, with a number that only grows, the fence. Whoever has an older
//! one writes nothing for the node any more, however late it hears of it. Time decides nothing but what is shown: a replica that was
//! killed gives nothing up, and its nodes are shown as connected until its leases end.

use crate::fleet::Live;
use crate::store::{Notice, Row, Store, StoreError, Transaction, values};
use hh_ipc::agent::Heartbeat;
use hh_trust::NodeId;
use hh_trust::pki::PeerName;
use prost::Message;
use std::collections::BTreeMap;

/// A lease ends after this, three renewals.
const LEASE_MS: i64 = 15_000;

/// Why a session may not write for its node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("another session of this node has begun, or it joined anew")]
    Lost,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The right to write for a node, as a session has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) node: NodeId,
    pub(crate) fence: u64,
}

/// Takes the lease of a node for a session that begins here, from whoever has it.
pub(crate) fn take(
    transaction: &Transaction<'_>,
    (replica, instance): (&PeerName, i64),
    node: &NodeId,
    live: &Live,
) -> Result<Lease, StoreError> {
    let until_ms = transaction.now_ms()?.saturating_add(LEASE_MS);
    let upsert = "INSERT INTO leases AS known (node, fence, instance, replica, until_ms, peer, connected_at_ms, seen_at_ms, clock_ahead_ms, services)
        VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (node) DO UPDATE SET fence = known.fence + 1, instance = $2, replica = $3, until_ms = $4, peer = $5,
            connected_at_ms = $6, seen_at_ms = $7, clock_ahead_ms = $8, services = $9
        RETURNING fence";
    let row = transaction.one(
        upsert,
        &values![
            node,
            instance,
            replica.to_string(),
            until_ms,
            live.peer.to_string(),
            live.connected_at_ms,
            live.seen_at_ms,
            live.clock_ahead_ms,
            encoded(live),
        ],
    )?;
    // Whoever had it looks.
    transaction.notify(Notice::Node(node.clone()));
    Ok(Lease {
        node: node.clone(),
        fence: row.get(0)?,
    })
}

/// Sees to it that a session may write for its node, until the transaction ends.
pub(crate) fn check(transaction: &Transaction<'_>, lease: &Lease) -> Result<(), LeaseError> {
    let query =
        "SELECT count(*) FROM leases WHERE node = $1 AND fence = $2 AND instance IS NOT NULL";
    let held: u64 = transaction
        .one(query, &values![&lease.node, lease.fence])?
        .get(0)?;
    match held {
        0 => Err(LeaseError::Lost),
        _ => Ok(()),
    }
}

/// Writes down what the nodes have said. Gives the leases that are lost.
pub(crate) fn renew(
    transaction: &Transaction<'_>,
    sessions: &[(Lease, Live)],
) -> Result<Vec<Lease>, StoreError> {
    let until_ms = transaction.now_ms()?.saturating_add(LEASE_MS);
    let update =
        "UPDATE leases SET until_ms = $1, seen_at_ms = $2, clock_ahead_ms = $3, services = $4
        WHERE node = $5 AND fence = $6 AND instance IS NOT NULL";
    let rows = sessions.iter().map(|(lease, live)| {
        let said = encoded(live);
        let row = values![
            until_ms,
            live.seen_at_ms,
            live.clock_ahead_ms,
            said,
            &lease.node,
            lease.fence
        ];
        row.to_vec()
    });
    let rows: Vec<_> = rows.collect();
    let changed = transaction.execute_each(update, &rows)?;
    let lost = sessions
        .iter()
        .zip(changed)
        .filter(|(_, changed)| *changed == 0);
    Ok(lost.map(|((lease, _), _)| lease.clone()).collect())
}

/// Gives leases up of sessions that have ended.
pub(crate) fn release(transaction: &Transaction<'_>, leases: &[Lease]) -> Result<(), StoreError> {
    let update = "UPDATE leases SET instance = NULL WHERE node = $1 AND fence = $2";
    let rows = leases
        .iter()
        .map(|lease| values![&lease.node, lease.fence].to_vec());
    let rows: Vec<_> = rows.collect();
    transaction.execute_each(update, &rows).map(drop)
}

/// Ends the session of a node, at whichever replica it is.
pub(crate) fn end(transaction: &Transaction<'_>, node: &NodeId) -> Result<(), StoreError> {
    let update = "UPDATE leases SET instance = NULL, fence = fence + 1 WHERE node = $1";
    transaction.execute(update, &values![node])?;
    transaction.notify(Notice::Node(node.clone()));
    Ok(())
}

/// What nodes have said that have a session at another replica.
pub(crate) fn elsewhere(
    transaction: &Transaction<'_>,
    instance: i64,
) -> Result<BTreeMap<NodeId, Live>, StoreError> {
    let now_ms = transaction.now_ms()?;
    let query =
        "SELECT node, peer, connected_at_ms, seen_at_ms, clock_ahead_ms, services FROM leases
        WHERE instance IS NOT NULL AND instance <> $1 AND until_ms > $2";
    let rows = transaction.query(query, &values![instance, now_ms])?;
    rows.iter().map(read).collect()
}

/// What nodes have said last, here or at another replica, in a session that goes on or has ended; at most so many, by name.
pub(crate) fn last_said(
    transaction: &Transaction<'_>,
    limit: u32,
) -> Result<Vec<(NodeId, Live)>, StoreError> {
    let query =
        "SELECT node, peer, connected_at_ms, seen_at_ms, clock_ahead_ms, services FROM leases
        ORDER BY node LIMIT $1";
    let rows = transaction.query(query, &values![limit])?;
    rows.iter().map(read).collect()
}

/// Where this process is alone with its database: what it held before a restart it holds no more.
pub(crate) async fn forget_former(store: &Store) -> Result<(), StoreError> {
    if store.is_shared() {
        return Ok(());
    }
    let forget = |transaction: &Transaction<'_>| {
        let update = "UPDATE leases SET instance = NULL";
        transaction.execute(update, &[]).map(drop)
    };
    store.call(forget).await
}

fn encoded(live: &Live) -> Vec<u8> {
    let said = Heartbeat {
        sent_at_unix_ms: live.seen_at_ms,
        services: live.services.clone(),
        lanes: live.lanes.clone(),
        inventory: None,
        audit: live.audit.clone(),
    };
    said.encode_to_vec()
}

fn read(row: &Row) -> Result<(NodeId, Live), StoreError> {
    let (node, peer): (String, String) = (row.get(0)?, row.get(1)?);
    let damaged = || StoreError::Damaged {
        what: format!("a lease of {node:?} that is none"),
    };
    let said: Vec<u8> = row.get(5)?;
    let said = Heartbeat::decode(said.as_slice()).map_err(|_no| damaged())?;
    let live = Live {
        peer: peer.parse().map_err(|_no| damaged())?,
        connected_at_ms: row.get(2)?,
        seen_at_ms: row.get(3)?,
        clock_ahead_ms: row.get(4)?,
        services: said.services,
        lanes: said.lanes,
        measured: None,
        audit: said.audit,
    };
    let id: NodeId = node.parse().map_err(|_no| damaged())?;
    Ok((id, live))
}

#[cfg(test)]
mod tests;
