//! Letting a node in no more, for operators.

use super::node::{fleet_node, no_such_node};
use super::{Control, digest, operation_id, store_error, timestamp, usage};
use crate::asker::Asker;
use crate::audit::{self, Asked, Ended};
use crate::fleet::Live;
use crate::node::{self, NodeRow, RevokedRow};
use crate::record::{self, RevocationRow};
use crate::store::{StoreError, Transaction};
use crate::{lease, operation, operations, token};
use hh_ipc::ApiError;
use hh_ipc::api::core::{FleetRevocation, RecordKind, RevokeFleetNode, RevokedFleetNode};
use hh_trust::NodeId;
use hh_trust::audit::Detail;
use hh_trust::pki::PeerName;
use jiff::Timestamp;

/// Longest reason in bytes: a line of a table, as at hh-pool.
const REASON_BYTES_MAX: usize = 200;

/// The reason where the operator gave none.
const NO_REASON: &str = "no reason given";

/// Why commands of a revoked node are given up: for the audit log, and in words.
const GIVEN_UP: (&str, &str) = ("node-revoked", "the node was revoked");

impl Control {
    /// One that is revoked already stays so, for the reason that was given first.
    pub(crate) async fn revoke_node(
        &self,
        asker: &Asker,
        request: RevokeFleetNode,
    ) -> Result<RevokedFleetNode, ApiError> {
        let unknown = || no_such_node(&request.node);
        let id: NodeId = request.node.parse().ok().ok_or_else(unknown)?;
        let reason = reason(request.reason.as_deref())?;
        let now = Timestamp::now();
        let here = self.fleet.get(&id);
        let target = format!("node:{id}");
        let asked = asker.asks(operation_id()?, "node.revoke", target, digest(&request));
        let wish = Wish {
            asked: Asked {
                detail: Detail::default().with("reason", &reason),
                ..asked
            },
            id,
            revoked: RevokedRow {
                at_ms: now.as_millisecond(),
                reason,
            },
            by: asker.name.clone(),
            here,
            instance: self.store.instance(),
        };
        let core = self.authority.replica.clone();
        let revoked: Result<Option<Revoked>, StoreError> = match request.dry_run {
            true => {
                let look = move |transaction: &Transaction<'_>| look(transaction, &wish);
                self.store.read(look).await
            }
            false => {
                let revoke =
                    move |transaction: &Transaction<'_>| revoke(transaction, (&core, now), &wish);
                self.store.call(revoke).await
            }
        };
        let revoked = revoked.map_err(|error| store_error(&error))?;
        let revoked = revoked.ok_or_else(unknown)?;
        if !request.dry_run {
            let (node, by) = (&revoked.node.id, &asker.name);
            tracing::warn!(%node, by, reason = revoked.revoked.reason, "node revoked");
        }
        Ok(answer(&revoked))
    }
}

/// What an operator wants, and what this replica knows of the node.
struct Wish {
    id: NodeId,
    revoked: RevokedRow,
    asked: Asked,
    by: String,
    /// Its session, if it has it here.
    here: Option<Live>,
    instance: i64,
}

/// A node that is revoked, or would be, and what ends by it.
struct Revoked {
    node: NodeRow,
    revoked: RevokedRow,
    /// The session that it has, or had.
    live: Option<Live>,
    operations: u32,
    tokens: u32,
}

/// What would end. None if there is no such node.
fn look(transaction: &Transaction<'_>, wish: &Wish) -> Result<Option<Revoked>, StoreError> {
    let Some(node) = node::get(transaction, &wish.id)? else {
        return Ok(None);
    };
    if let Some(revoked) = node.revoked.clone() {
        return Ok(Some(Revoked {
            node,
            revoked,
            live: None,
            operations: 0,
            tokens: 0,
        }));
    }
    let elsewhere = lease::elsewhere(transaction, wish.instance)?.remove(&wish.id);
    Ok(Some(Revoked {
        revoked: wish.revoked.clone(),
        live: wish.here.clone().or(elsewhere),
        operations: operation::count_open_of(transaction, &wish.id)?,
        tokens: token::count_open_of(transaction, &wish.id, wish.revoked.at_ms)?,
        node,
    }))
}

/// All of it is one transaction, and the session ends when it is committed.
fn revoke(
    transaction: &Transaction<'_>,
    here: (&PeerName, Timestamp),
    wish: &Wish,
) -> Result<Option<Revoked>, StoreError> {
    let Some(mut found) = look(transaction, wish)? else {
        return Ok(None);
    };
    audit::intent(transaction, here, &wish.asked)?;
    if found.node.revoked.is_some() {
        let ended = Ended::refused("already-revoked");
        audit::outcome(transaction, here, wish.asked.op, ended)?;
        return Ok(Some(found));
    }
    node::revoke(transaction, &wish.id, &wish.revoked)?;
    revoke_record(transaction, wish)?;
    let operations = operations::give_up(transaction, here, &wish.id, GIVEN_UP)?;
    // Whoever has the node may have one of these.
    let tokens = token::revoke_open_of(transaction, &wish.id, wish.revoked.at_ms)?;
    lease::end(transaction, &wish.id)?;
    let detail = Detail::default()
        .with("epoch", found.node.epoch)
        .with("operations_given_up", operations)
        .with("tokens_revoked", tokens);
    let ended = Ended {
        detail,
        ..Ended::done()
    };
    audit::outcome(transaction, here, wish.asked.op, ended)?;
    found.node.revoked = Some(wish.revoked.clone());
    Ok(Some(found))
}

/// hh-pool and hh-treasury hear of it, and go on to when the node joins anew: what admits it again is another record.
fn revoke_record(transaction: &Transaction<'_>, wish: &Wish) -> Result<(), StoreError> {
    let name = wish.id.to_string();
    let of = (RecordKind::Node, name.as_str());
    let revoked_at_ms = record::revoked_at_ms(transaction, of, wish.revoked.at_ms)?;
    let revocation = RevocationRow {
        kind: RecordKind::Node,
        reason: wish.revoked.reason.clone(),
        revoked_by: wish.by.clone(),
        revoked_at_ms,
        name,
    };
    record::revoke(transaction, &revocation)
}

pub(super) fn reason(text: Option<&str>) -> Result<String, ApiError> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let text = text.unwrap_or(NO_REASON);
    if text.len() > REASON_BYTES_MAX || text.chars().any(char::is_control) {
        let message = format!("a reason has at most {REASON_BYTES_MAX} bytes, in one line");
        return Err(usage(message));
    }
    Ok(text.to_owned())
}

pub(super) fn revocation(revoked: &RevokedRow) -> FleetRevocation {
    FleetRevocation {
        reason: revoked.reason.clone(),
        since_at: timestamp(revoked.at_ms),
    }
}

fn answer(revoked: &Revoked) -> RevokedFleetNode {
    let live = revoked.live.as_ref();
    let services = live.map(|live| live.services.as_slice());
    RevokedFleetNode {
        node: fleet_node(&revoked.node, live, services.unwrap_or_default()),
        revocation: revocation(&revoked.revoked),
        was_connected: live.is_some(),
        operations_given_up: revoked.operations,
        tokens_revoked: revoked.tokens,
    }
}
