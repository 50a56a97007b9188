//! Commands from an operator's word to what came of them.
//!
//! A command is signed, numbered, written down and put into the audit log in one transaction, which wakes the node's session, at
//! whichever replica it is. What
//! the node has signed is believed, and nothing else: neither a lost connection nor a time that is over says what came of a command
//! that was sent.

use crate::asker::Asker;
use crate::audit::{self, Asked, Ended};
use crate::authority::Authority;
use crate::lease::{self, Lease, LeaseError};
use crate::node::{self, NodeRow};
use crate::operation::{self, Conclusion, OperationRow, Signed, Undelivered};
use crate::store::{Store, StoreError, Transaction};
use hh_ipc::api::core::OperationState;
use hh_trust::NodeId;
use hh_trust::audit::{AuditOutcome, Detail};
use hh_trust::command::{Command, CommandError, CommandId, Digest, Order};
use hh_trust::command_result::{CommandResult, Outcome};
use hh_trust::pki::PeerName;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A command holds for so long: a node that is away for a moment still gets it, and none is carried out long after it was asked for.
const LIFE_SECONDS: i64 = 120;

/// For a service to stop and start.
const DEADLINE_SECONDS: u32 = 120;

/// Why a command was not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("no node {0} has enrolled")]
    UnknownNode(String),
    #[error("the node {0} is revoked")]
    Revoked(NodeId),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an operator wants of a node.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) asker: Asker,
    /// Of what he wrote.
    pub(crate) request: Digest,
    pub(crate) node: NodeId,
    pub(crate) command: Command,
}

/// The commands. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Operations {
    store: Store,
    authority: Arc<Authority>,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

impl Operations {
    pub(crate) fn new(store: Store, authority: Arc<Authority>) -> Self {
        Self {
            store,
            authority,
            changes: watch::Sender::new(0),
        }
    }

    /// Signs a command, and has it sent.
    ///
    /// # Errors
    /// There is no such node, or no node would take such a command.
    pub(crate) async fn order(&self, wish: Wish) -> Result<OperationRow, OrderError> {
        let authority = Arc::clone(&self.authority);
        let order = move |transaction: &Transaction<'_>| order(transaction, &authority, &wish);
        self.store.call(order).await
    }

    /// Whether a node may be given commands.
    ///
    /// # Errors
    /// There is no such node, or it is revoked.
    pub(crate) async fn check(&self, node: NodeId) -> Result<(), OrderError> {
        let check =
            move |transaction: &Transaction<'_>| orderable(transaction, &node).map(|_node| ());
        self.store.read(check).await
    }

    /// One of them.
    pub(crate) async fn get(&self, id: String) -> Result<Option<OperationRow>, StoreError> {
        let get = move |transaction: &Transaction<'_>| operation::get(transaction, &id);
        self.store.read(get).await
    }

    /// One of them, as soon as it is known what came of it or that its node's owner is asked, or after so long.
    pub(crate) async fn wait(
        &self,
        id: String,
        limit: Duration,
    ) -> Result<Option<OperationRow>, StoreError> {
        let until = Instant::now() + limit;
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let row = self.get(id.clone()).await?;
            let is_open = |row: &OperationRow| !row.state.is_final() && row.code.is_none();
            let is_open = row.as_ref().is_some_and(is_open);
            let changed = tokio::time::timeout_at(until, changes.changed());
            if !is_open || changed.await.is_err() {
                return Ok(row);
            }
        }
    }

    /// What a node has to get, after that command.
    pub(crate) async fn deliver(
        &self,
        node: &NodeRow,
        lease: &Lease,
        after: Option<String>,
    ) -> Result<Vec<Undelivered>, LeaseError> {
        let (lease, epoch) = (lease.clone(), node.epoch);
        let deliver = move |transaction: &Transaction<'_>| {
            lease::check(transaction, &lease)?;
            let commands = operation::deliver(transaction, (&lease.node, epoch), after.as_deref());
            Ok(commands?)
        };
        self.store.call(deliver).await
    }

    /// A node has written a command down.
    pub(crate) async fn taken(&self, lease: &Lease, id: String) -> Result<(), LeaseError> {
        let lease = lease.clone();
        let taken = move |transaction: &Transaction<'_>| {
            lease::check(transaction, &lease)?;
            Ok(operation::taken(transaction, &lease.node, &id)?)
        };
        self.store.call(taken).await
    }

    /// Takes what a node has signed. Gives the id of the command, or none if the node has not signed it.
    pub(crate) async fn conclude(
        &self,
        node: &NodeRow,
        lease: &Lease,
        jws: String,
    ) -> Result<Option<String>, LeaseError> {
        let verified =
            CommandResult::verify(&jws, &self.authority.domain, &node.id, &node.public_key);
        let result = match verified {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(node = %node.id, error = &error as &dyn std::error::Error, "result refused");
                return Ok(None);
            }
        };
        let id = result.id.to_string();
        let core = self.authority.replica.clone();
        let lease = lease.clone();
        let conclude = move |transaction: &Transaction<'_>| {
            lease::check(transaction, &lease)?;
            Ok(conclude(transaction, &core, &result, &jws)?)
        };
        let concluded: Result<(), LeaseError> = self.store.call(conclude).await;
        concluded.map(|()| Some(id))
    }

    /// Lets commands expire that no node has fetched.
    pub(crate) async fn expire(&self) -> Result<(), StoreError> {
        let core = self.authority.replica.clone();
        let expire = move |transaction: &Transaction<'_>| expire(transaction, &core);
        self.store.call(expire).await
    }

    /// Something may be known of some command: those who wait look.
    pub(crate) fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn orderable(transaction: &Transaction<'_>, id: &NodeId) -> Result<NodeRow, OrderError> {
    let node = node::get(transaction, id)?;
    let node = node.ok_or_else(|| OrderError::UnknownNode(id.to_string()))?;
    if node.revoked.is_some() {
        return Err(OrderError::Revoked(node.id));
    }
    Ok(node)
}

fn order(
    transaction: &Transaction<'_>,
    authority: &Authority,
    wish: &Wish,
) -> Result<OperationRow, OrderError> {
    let node = orderable(transaction, &wish.node)?;
    let now = Timestamp::now();
    let order = Order {
        domain: authority.domain.clone(),
        node: node.id.clone(),
        operator: wish.asker.name.clone(),
        id: CommandId::generate()?,
        issued_at: now.as_second(),
        expires_at: now.as_second() + LIFE_SECONDS,
        epoch: node.epoch,
        seq: node::next_seq(transaction, &node.id)?,
        command: wish.command.clone(),
        if_generation: None,
        deadline_seconds: DEADLINE_SECONDS,
        audit: Some(audit::head(transaction)?),
    };
    let jws = order.sign(&authority.command_key)?;
    let command = in_words(&wish.command);
    operation::put(
        transaction,
        &Signed {
            id: order.id,
            node: &node.id,
            epoch: order.epoch,
            seq: order.seq,
            jws: &jws,
            command: &command,
            asked_by: &wish.asker.name,
            created_at_ms: now.as_millisecond(),
            expires_at_ms: order.expires_at * 1_000,
        },
    )?;
    let target = format!("node:{}", node.id);
    let asked = Asked {
        detail: Detail::default()
            .with("command", &command)
            .with("epoch", order.epoch)
            .with("seq", order.seq),
        ..wish
            .asker
            .asks(order.id, wish.command.name(), target, wish.request)
    };
    audit::intent(transaction, (&authority.replica, now), &asked)?;
    let id = order.id.to_string();
    let row = operation::get(transaction, &id)?;
    Ok(row.expect("it was written in this transaction"))
}

fn conclude(
    transaction: &Transaction<'_>,
    core: &PeerName,
    result: &CommandResult,
    jws: &str,
) -> Result<(), StoreError> {
    let id = result.id.to_string();
    let (state, outcome) = match result.outcome {
        Outcome::Ok => (OperationState::Done, AuditOutcome::Done),
        Outcome::Failed => (OperationState::Failed, AuditOutcome::Failed),
        Outcome::Rejected => (OperationState::Rejected, AuditOutcome::Refused),
        Outcome::Indeterminate => (OperationState::Indeterminate, AuditOutcome::Unknown),
        Outcome::AwaitsOwner => {
            let why = (result.code.as_str(), result.output.as_str());
            return operation::waits(transaction, &result.node, &id, why);
        }
    };
    let now = Timestamp::now();
    let conclusion = Conclusion {
        state,
        code: &result.code,
        detail: &result.output,
        jws,
        at_ms: now.as_millisecond(),
    };
    let is_news = operation::conclude(transaction, &result.node, &id, &conclusion)?;
    if !is_news {
        return Ok(());
    }
    let ended = Ended {
        outcome,
        code: (outcome != AuditOutcome::Done).then_some(&result.code),
        result: Some(Digest::of(jws.as_bytes())),
        detail: Detail::default()
            .with("started_ms", result.started_ms)
            .with("finished_ms", result.finished_ms),
    };
    audit::outcome(transaction, (core, now), result.id, ended)
}

/// Concludes what is open of a node that begins anew or is let in no more: its code for the audit log, and why in words. Gives how many
/// commands that were.
pub(crate) fn give_up(
    transaction: &Transaction<'_>,
    here: (&PeerName, Timestamp),
    node: &NodeId,
    (code, why): (&str, &str),
) -> Result<u32, StoreError> {
    let given_up = operation::give_up(transaction, node, (here.1.as_millisecond(), why))?;
    for (command, state) in &given_up {
        let outcome = match state {
            OperationState::Expired => AuditOutcome::Refused,
            _ => AuditOutcome::Unknown,
        };
        let ended = Ended {
            outcome,
            ..Ended::refused(code)
        };
        audit::outcome(transaction, here, *command, ended)?;
    }
    Ok(u32::try_from(given_up.len()).unwrap_or(u32::MAX))
}

fn expire(transaction: &Transaction<'_>, core: &PeerName) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let ids = operation::expire(transaction, now.as_millisecond())?;
    for id in &ids {
        audit::outcome(transaction, (core, now), *id, Ended::refused("expired"))?;
    }
    Ok(())
}

/// A command for people.
pub(crate) fn in_words(command: &Command) -> String {
    match command.service() {
        Some(service) => format!("{} {service}", command.name()),
        None => command.name().to_owned(),
    }
}
