//! `NodeDues`: tells nodes by way of core what they are owed and what they were paid, and takes the invoices that they hand in there.
//!
//! It converges: all that there is to say is said every few seconds, and what comes back is looked at as if it came for the first time.
//! Core is the way and nothing else: an invoice counts by what the node has signed and by what this treasury's own configuration and
//! books say, whatever core has made of it.

use crate::control::Control;
use crate::core_link::{CoreLink, LinkError};
use crate::destination;
use hh_daemon::Chain;
use hh_ipc::agent::{
    HandedInvoice, MAX_ACCOUNTS, MAX_PAYOUTS, MAX_REASON_BYTES, NodeAccount, NodePayout,
    TreasuryReport, payout_state,
};
use hh_ipc::api::treasury::SubmitInvoiceRequest;
use hh_ipc::{ApiError, ErrorKind};
use hh_ledger::books::{
    BooksError, DestinationKind, Page, Payee, Payout, PayoutFilter, PayoutState,
};
use hh_trust::NodeId;
use hh_trust::command::Digest;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often core is called. A node is paid within a few of these.
const EVERY: Duration = Duration::from_secs(5);

/// Refused invoices of a node that are told: it has one open at a time, and core lets go of what was told once.
const REFUSED_MAX: usize = 4;

/// The task.
pub(crate) struct NodeDues {
    control: Control,
    link: CoreLink,
    /// Those of this round.
    nodes: Vec<NodeId>,
    refused: BTreeMap<NodeId, VecDeque<Refused>>,
    /// The last round went well.
    is_up: bool,
}

/// What was refused, and what the node is told of it.
struct Refused {
    /// See [`handed`].
    handed: Digest,
    told: NodePayout,
}

/// Why a round was not made.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the books don't answer")]
    Books(#[from] BooksError),
}

impl NodeDues {
    /// For all nodes that are paid, those of the configuration and those of the directory.
    pub(crate) fn new(control: Control, link: CoreLink) -> Self {
        Self {
            control,
            link,
            nodes: Vec::new(),
            refused: BTreeMap::new(),
            is_up: true,
        }
    }

    /// Goes on until the daemon stops.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            // On the heap: what an invoice sets off is a large future.
            let round = Box::pin(self.round());
            let Some(made) = stop.run_until_cancelled(round).await else {
                return;
            };
            self.note(made);
            let pause = tokio::time::sleep(EVERY);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    fn note(&mut self, made: Result<(), RoundError>) {
        let is_up = made.is_ok();
        let value = if is_up { 1.0 } else { 0.0 };
        metrics::gauge!("hyperhash_treasury_core_up").set(value);
        match made {
            Ok(()) if !self.is_up => tracing::info!("hyperhash-core answers again"),
            Err(error) if self.is_up => {
                let error = Chain(&error).to_string();
                tracing::warn!(
                    error,
                    "nodes are not told what they are owed; it is tried again"
                );
            }
            Ok(()) | Err(_) => {}
        }
        self.is_up = is_up;
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let nodes = self.control.destinations.node_ids();
        self.nodes.clone_from(&nodes);
        if nodes.is_empty() {
            // Whether core answers is to be known before there is a node.
            self.link.exchange(TreasuryReport::default()).await?;
        }
        for some in nodes.chunks(MAX_ACCOUNTS) {
            let mut accounts = Vec::new();
            for node in some {
                accounts.push(self.account(node).await?);
            }
            let handed_in = self.link.exchange(TreasuryReport { accounts }).await?;
            // As many as there are accounts, of a core that is ours.
            for invoice in handed_in.invoices.into_iter().take(MAX_ACCOUNTS) {
                self.take(invoice).await;
            }
        }
        Ok(())
    }

    /// What a node is owed, and its newest invoices.
    async fn account(&self, node: &NodeId) -> Result<NodeAccount, BooksError> {
        let payee = Payee::Node(node.to_string());
        let books = &self.control.stores.books;
        let payable = books.balance(payee.clone()).await?.payable;
        let filter = PayoutFilter {
            payee: Some(payee),
            states: Vec::new(),
        };
        let most = u32::try_from(MAX_PAYOUTS).unwrap_or(u32::MAX);
        let found = books.payouts(filter, Page::first(most)).await?;
        let is_by_invoice = |payout: &&Payout| payout.to.kind == DestinationKind::NodeInvoice;
        let found: Vec<NodePayout> = found.iter().filter(is_by_invoice).map(told).collect();
        let rules = &self.control.opener.rules;
        Ok(NodeAccount {
            node: node.to_string(),
            payable_msat: payable.0,
            invoice_msat_min: rules.minimum.0,
            invoice_msat_max: rules.max_payout.0,
            payouts: with_refused(self.refused.get(node), found),
        })
    }

    async fn take(&mut self, handed: HandedInvoice) {
        let Some(node) = self.nodes.iter().find(|node| node.as_str() == handed.node) else {
            tracing::warn!("core has an invoice of a node that was not asked about");
            return;
        };
        let node = node.clone();
        let request = SubmitInvoiceRequest {
            node: handed.node,
            invoice: handed.invoice,
            signature: handed.signature,
        };
        let handed = self::handed(&request);
        let known = self.refused.get(&node);
        if known.is_some_and(|known| known.iter().any(|one| one.handed == handed)) {
            return;
        }
        match Box::pin(self.control.hand_in(&request)).await {
            Ok(payout) => {
                tracing::info!(%node, payout = payout.id, amount_msat = payout.amount_msat, "a node's invoice taken");
                count("taken");
            }
            Err(error) if is_final(&error) => {
                tracing::warn!(%node, code = error.code, error = error.message, "a node's invoice refused");
                count("refused");
                let refused = self.refused.entry(node).or_default();
                let told = refusal(handed, &request.invoice, &error);
                refused.push_front(Refused { handed, told });
                refused.truncate(REFUSED_MAX);
            }
            Err(error) => {
                tracing::debug!(%node, error = error.message, "a node's invoice waits");
            }
        }
    }
}

/// What was handed in, with the signature that it came with: under a false one a true invoice is refused, and not for good.
fn handed(request: &SubmitInvoiceRequest) -> Digest {
    let text = format!("{}\n{}", request.invoice.trim(), request.signature);
    Digest::of(text.as_bytes())
}

/// Whether it never will be taken, as it is.
fn is_final(error: &ApiError) -> bool {
    match error.kind {
        ErrorKind::Usage | ErrorKind::Permission => true,
        // A record of the node may come yet.
        ErrorKind::NotFound | ErrorKind::Unavailable => false,
        // What the books say no to for good, and what can't be paid. They may be frozen, or hold the node, for a while.
        ErrorKind::Failed => ["HH4010", "HH4021"].contains(&error.code.as_str()),
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("hyperhash_treasury_node_invoices_total", "outcome" => outcome).increment(1);
}

/// Those that became a payout count as that.
fn with_refused(refused: Option<&VecDeque<Refused>>, payouts: Vec<NodePayout>) -> Vec<NodePayout> {
    let is_payout = |id: &str| payouts.iter().any(|payout| payout.invoice_id == id);
    let refused = refused.into_iter().flatten().map(|one| &one.told);
    let refused = refused.filter(|one| !is_payout(&one.invoice_id)).cloned();
    let mut all: Vec<NodePayout> = refused.collect();
    all.extend(payouts);
    all.truncate(MAX_PAYOUTS);
    all
}

/// A payout, as its node hears of it.
fn told(payout: &Payout) -> NodePayout {
    let state = match payout.state {
        PayoutState::Settled => payout_state::SETTLED,
        PayoutState::Cancelled => payout_state::CANCELLED,
        PayoutState::Queued
        | PayoutState::Resolving
        | PayoutState::Ready
        | PayoutState::Paying
        | PayoutState::RetryWait
        | PayoutState::NeedsOperator => payout_state::WAITING,
    };
    NodePayout {
        invoice_id: Digest::of(payout.to.text.as_bytes()).to_string(),
        state: state.to_owned(),
        amount_msat: payout.amount.0,
        payment_hash: hash(&payout.to.text),
        at_unix_ms: payout.ended_at_ms.unwrap_or(payout.created_at_ms),
        reason: shortened(payout.reason.as_deref().unwrap_or_default()),
    }
}

/// Whether it says nothing about the invoice itself: its node may never have handed it in so.
fn is_of_signature(error: &ApiError) -> bool {
    ["HH4020", "HH4004", "HH4005"].contains(&error.code.as_str())
}

/// What core is told: under the id of the invoice, which its node knows, or under that of what was handed in, so that core lets go of it and
/// the node goes on with its own.
fn refusal(handed: Digest, invoice: &str, error: &ApiError) -> NodePayout {
    let parsed = destination::parse(invoice).ok();
    let id = match is_of_signature(error) {
        true => handed,
        false => Digest::of(invoice.trim().as_bytes()),
    };
    NodePayout {
        invoice_id: id.to_string(),
        state: payout_state::REFUSED.to_owned(),
        amount_msat: parsed
            .and_then(|parsed| parsed.amount_milli_satoshis())
            .unwrap_or_default(),
        payment_hash: hash(invoice),
        at_unix_ms: crate::clock::unix_ms(),
        reason: shortened(&error.message),
    }
}

/// Empty where it is no invoice.
fn hash(invoice: &str) -> String {
    let parsed = destination::parse(invoice).ok();
    parsed.map_or_else(String::new, |parsed| {
        hex::encode(destination::payment_hash(&parsed).0)
    })
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(MAX_REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(id: &str, state: &str) -> NodePayout {
        NodePayout {
            invoice_id: id.to_owned(),
            state: state.to_owned(),
            ..NodePayout::default()
        }
    }

    fn refused(id: &str) -> Refused {
        Refused {
            handed: Digest::of(id.as_bytes()),
            told: said(id, "refused"),
        }
    }

    #[test]
    fn an_invoice_that_was_refused_under_a_false_signature_is_looked_at_under_another() {
        let request = |invoice: &str, signature: &str| SubmitInvoiceRequest {
            node: "berlin".to_owned(),
            invoice: invoice.to_owned(),
            signature: signature.to_owned(),
        };
        let known = handed(&request("lnbc1", "00"));
        assert_eq!(known, handed(&request(" lnbc1\n", "00")));
        assert_ne!(known, handed(&request("lnbc1", "01")));
        assert_ne!(known, handed(&request("lnbc2", "00")));
        // And its node does not hear that it was refused.
        let of = |code: &str| {
            let error = ApiError::new(ErrorKind::Failed, code, "no");
            refusal(known, "lnbc1", &error).invoice_id
        };
        assert_eq!(of("HH4020"), known.to_string());
        assert_eq!(of("HH4021"), Digest::of(b"lnbc1").to_string());
    }

    #[test]
    fn an_invoice_that_is_paid_after_all_is_not_told_as_refused_and_an_open_one_is_always_told() {
        let known = VecDeque::from([refused("a"), refused("b")]);
        let payouts = vec![said("a", "waiting"), said("c", "settled")];
        let all = with_refused(Some(&known), payouts);
        let told: Vec<_> = all
            .iter()
            .map(|one| (&*one.invoice_id, &*one.state))
            .collect();
        assert_eq!(told, [("b", "refused"), ("a", "waiting"), ("c", "settled")]);
        let known: VecDeque<_> = (0..REFUSED_MAX)
            .map(|number| refused(&number.to_string()))
            .collect();
        let payouts = vec![said("open", "waiting"); MAX_PAYOUTS];
        let all = with_refused(Some(&known), payouts);
        assert_eq!(all.len(), MAX_PAYOUTS);
        assert!(all.iter().any(|one| one.invoice_id == "open"));
    }

    #[test]
    fn what_may_change_by_itself_is_no_refusal() {
        let error = |kind, code: &str| ApiError::new(kind, code, "no");
        for (kind, code, expected) in [
            (ErrorKind::Permission, "HH4020", true),
            (ErrorKind::Failed, "HH4021", true),
            (ErrorKind::NotFound, "HH4023", false),
            (ErrorKind::Failed, "HH4011", false),
            (ErrorKind::Failed, "HH4012", false),
            (ErrorKind::Failed, "HH4013", false),
            (ErrorKind::Failed, "HH4032", false),
            (ErrorKind::Unavailable, "HH4001", false),
        ] {
            assert_eq!(is_final(&error(kind, code)), expected, "{code}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_letters() {
        assert_eq!(shortened("short"), "short");
        let long = "\u{e9}".repeat(MAX_REASON_BYTES);
        assert!(shortened(&long).len() <= MAX_REASON_BYTES);
    }
}
