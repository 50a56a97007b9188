//! The inbox of invoices that nodes have handed in, and what hh-treasury says of each node: its rows.
//!
//! Core passes both on and decides nothing: hh-treasury pays what the node's own key has signed, to the Lightning node that its own
//! configuration or records of its operators have for it, and nothing else. By what is changed here nobody is paid who should not be,
//! at worst somebody later.

use crate::lease::{self, Lease, LeaseError};
use crate::store::{Notice, Store, StoreError, Transaction, values};
use hh_ipc::agent::{
    HandedIn, HandedInvoice, MAX_ACCOUNTS, MAX_INVOICE_BYTES, MAX_PAYOUTS, MAX_REASON_BYTES,
    NodeAccount, NodeInvoice, NodePayout, TreasuryReport, payout_state,
};
use hh_trust::NodeId;
use hh_trust::command::Digest;
use jiff::Timestamp;
use prost::Message;
use tonic::Status;

/// Invoices of a node that are kept: it has one open at a time. The newest stay.
const INVOICES_OF_NODE_MAX: u32 = 4;

/// An invoice is kept for so long. Its node hands it in again while it holds.
const KEEP_MS: i64 = 7 * 86_400 * 1_000;

/// A signature in hex.
const SIGNATURE_BYTES: usize = 128;

/// An account whose texts are longer than these is no account of ours.
const ID_BYTES_MAX: usize = 64;

/// The inbox. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct PayoutInbox(Store);

/// What a node has sent is no invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it handed in what is no signed invoice")]
pub(crate) struct NoInvoice;

impl PayoutInbox {
    pub(crate) fn new(store: Store) -> Self {
        Self(store)
    }

    /// Keeps an invoice of a node for hh-treasury; one that it has said something about already is not kept again.
    ///
    /// # Errors
    /// The session's lease is lost, or the database can't be written.
    pub(crate) async fn hand_in(
        &self,
        lease: &Lease,
        invoice: NodeInvoice,
    ) -> Result<(), LeaseError> {
        let (lease, now_ms) = (lease.clone(), Timestamp::now().as_millisecond());
        let hand_in = move |transaction: &Transaction<'_>| {
            lease::check(transaction, &lease)?;
            Ok(hand_in(transaction, &lease.node, &invoice, now_ms)?)
        };
        self.0.rows(hand_in).await
    }

    /// What hh-treasury says of a node; none before it has said something.
    ///
    /// # Errors
    /// The database can't be read.
    pub(crate) async fn account(&self, node: &NodeId) -> Result<Option<NodeAccount>, StoreError> {
        let node = node.clone();
        let read = move |transaction: &Transaction<'_>| account(transaction, &node);
        self.0.read(read).await
    }

    /// Takes what hh-treasury says of nodes, wakes the sessions of those for whom it is new, and gives the invoices that they have handed in.
    ///
    /// # Errors
    /// It makes no sense, or the database can't be used now.
    pub(crate) async fn exchange(&self, report: TreasuryReport) -> Result<HandedIn, Status> {
        let accounts = report.accounts;
        if accounts.len() > MAX_ACCOUNTS {
            return Err(Status::invalid_argument(
                "more accounts than a report may have",
            ));
        }
        let nodes = accounts.iter().map(checked);
        let nodes = nodes.collect::<Option<Vec<NodeId>>>();
        let nodes = nodes.ok_or_else(|| Status::invalid_argument("an account that is none"))?;
        let now_ms = Timestamp::now().as_millisecond();
        let exchange = move |transaction: &Transaction<'_>| {
            for (node, account) in nodes.iter().zip(&accounts) {
                publish(transaction, node, account, now_ms)?;
            }
            handed_in(transaction, &nodes, now_ms)
        };
        let exchanged: Result<HandedIn, StoreError> = self.0.rows(exchange).await;
        exchanged.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "payouts not exchanged"
            );
            Status::unavailable("the database can't be used now")
        })
    }
}

/// The shape of an invoice; whether it is one, and whose, hh-treasury looks.
///
/// # Errors
/// It can't be one.
pub(crate) fn check(invoice: &NodeInvoice) -> Result<(), NoInvoice> {
    let text = &invoice.invoice;
    let is_text = (1..=MAX_INVOICE_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    let signature = &invoice.signature;
    let is_signature = signature.len() == SIGNATURE_BYTES
        && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_text && is_signature {
        true => Ok(()),
        false => Err(NoInvoice),
    }
}

/// Whose account it is, if it is one.
fn checked(account: &NodeAccount) -> Option<NodeId> {
    let is_payout = |payout: &NodePayout| {
        payout.invoice_id.len() <= ID_BYTES_MAX
            && payout.state.len() <= ID_BYTES_MAX
            && payout.payment_hash.len() <= ID_BYTES_MAX
            && payout.reason.len() <= MAX_REASON_BYTES
    };
    let is_bounded = account.payouts.len() <= MAX_PAYOUTS && account.payouts.iter().all(is_payout);
    is_bounded.then(|| account.node.parse().ok()).flatten()
}

fn id(invoice: &str) -> String {
    Digest::of(invoice.as_bytes()).to_string()
}

fn account(
    transaction: &Transaction<'_>,
    node: &NodeId,
) -> Result<Option<NodeAccount>, StoreError> {
    let query = "SELECT account FROM node_accounts WHERE node = $1";
    let Some(row) = transaction.find(query, &values![node])? else {
        return Ok(None);
    };
    let bytes: Vec<u8> = row.get(0)?;
    let account = NodeAccount::decode(bytes.as_slice()).map_err(|_no| StoreError::Damaged {
        what: format!("an account of {node} that is none"),
    })?;
    Ok(Some(account))
}

fn hand_in(
    transaction: &Transaction<'_>,
    node: &NodeId,
    invoice: &NodeInvoice,
    now_ms: i64,
) -> Result<(), StoreError> {
    let id = id(&invoice.invoice);
    let known = account(transaction, node)?.map_or_else(Vec::new, |account| account.payouts);
    if known.iter().any(|payout| payout.invoice_id == id) {
        return Ok(());
    }
    let insert = "INSERT INTO node_invoices (node, id, invoice, signature, handed_in_at_ms) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (node, id) DO UPDATE SET signature = $4 WHERE node_invoices.signature <> $4";
    let row = values![
        node,
        id,
        invoice.invoice.as_str(),
        invoice.signature.as_str(),
        now_ms
    ];
    transaction.execute(insert, &row)?;
    let delete = format!(
        "DELETE FROM node_invoices WHERE node = $1 AND id NOT IN
            (SELECT id FROM node_invoices WHERE node = $1 ORDER BY handed_in_at_ms DESC, id LIMIT {INVOICES_OF_NODE_MAX})"
    );
    transaction.execute(&delete, &values![node]).map(drop)
}

/// Writes down what is new of an account, and lets go of invoices that it names.
fn publish(
    transaction: &Transaction<'_>,
    node: &NodeId,
    said: &NodeAccount,
    now_ms: i64,
) -> Result<(), StoreError> {
    let query = "SELECT account FROM node_accounts WHERE node = $1";
    let known = transaction.find(query, &values![node])?;
    let known: Option<Vec<u8>> = known.map(|row| row.get(0)).transpose()?;
    let bytes = said.encode_to_vec();
    if known.as_ref() != Some(&bytes) {
        let upsert = "INSERT INTO node_accounts (node, account, said_at_ms) VALUES ($1, $2, $3)
            ON CONFLICT (node) DO UPDATE SET account = $2, said_at_ms = $3";
        transaction.execute(upsert, &values![node, bytes, now_ms])?;
        transaction.notify(Notice::Node(node.clone()));
    }
    let delete = "DELETE FROM node_invoices WHERE node = $1 AND id = $2";
    let named = said.payouts.iter();
    let named = named.map(|payout| values![node, payout.invoice_id.as_str()].to_vec());
    let named: Vec<_> = named.collect();
    transaction.execute_each(delete, &named)?;
    let refused = said.payouts.iter();
    let refused = refused.filter(|payout| payout.state == payout_state::REFUSED);
    let refused: Vec<&str> = refused.map(|payout| payout.invoice_id.as_str()).collect();
    match refused.is_empty() {
        true => Ok(()),
        false => drop_unsigned(transaction, node, &refused),
    }
}

/// Lets go of those that hh-treasury has refused for their signature: these it names with it, and the same under another may come.
fn drop_unsigned(
    transaction: &Transaction<'_>,
    node: &NodeId,
    refused: &[&str],
) -> Result<(), StoreError> {
    let query = "SELECT id, invoice, signature FROM node_invoices WHERE node = $1";
    for row in transaction.query(query, &values![node])? {
        let (id, invoice, signature): (String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let handed = Digest::of(format!("{invoice}\n{signature}").as_bytes()).to_string();
        if refused.contains(&handed.as_str()) {
            let delete = "DELETE FROM node_invoices WHERE node = $1 AND id = $2";
            transaction.execute(delete, &values![node, id.as_str()])?;
        }
    }
    Ok(())
}

fn handed_in(
    transaction: &Transaction<'_>,
    nodes: &[NodeId],
    now_ms: i64,
) -> Result<HandedIn, StoreError> {
    let old = "DELETE FROM node_invoices WHERE handed_in_at_ms < $1";
    transaction.execute(old, &values![now_ms.saturating_sub(KEEP_MS)])?;
    // One of each: no node is in another's way, and an answer has its bound.
    let query = "SELECT node, invoice, signature FROM node_invoices WHERE node = $1
        ORDER BY handed_in_at_ms DESC, id LIMIT 1";
    let of: Vec<_> = nodes.iter().map(|node| values![node].to_vec()).collect();
    let found = transaction.query_each(query, &of)?;
    let rows = found.iter().flatten();
    let invoices = rows.map(|row| {
        Ok(HandedInvoice {
            node: row.get(0)?,
            invoice: row.get(1)?,
            signature: row.get(2)?,
        })
    });
    Ok(HandedIn {
        invoices: invoices.collect::<Result<_, StoreError>>()?,
    })
}

#[cfg(test)]
mod tests;
