//! Where money goes: the invoice that a payout pays, by whom it has to be, and who may say where an account is paid.

mod invoice;
mod lnurl;
mod public_address;
mod web;

use crate::config::HyperNodeConfig;
use hh_daemon::Failure;
use hh_ledger::books::Payee;
use hh_ledger::books::{DestinationKind, Payout};
use hh_lightning::{Bolt11Invoice, Refusal, WalletError};
use hh_mining::identity::LightningAddress;
use hh_trust::NodeId;
use hh_trust::node_directory::Directory;
pub(crate) use invoice::{expires_at_ms, payment_hash};
use lnurl::LnurlError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;
use web::Web;

/// Why there is no invoice to pay. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoInvoice {
    #[error(transparent)]
    Lnurl(#[from] LnurlError),
    #[error("{0:?} is no invoice")]
    Unreadable(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the invoice has been paid or tried before: a hash is paid once")]
    Used,
    #[error(
        "the invoice is to be paid to {found}, and node {node} has the Lightning node {expected}"
    )]
    AnotherPayee {
        node: String,
        expected: String,
        found: String,
    },
    #[error("there is no Lightning node recorded for {0}")]
    UnknownNode(String),
    #[error("{0:?} can't be paid to: this wallet can't fetch the invoices of offers")]
    Offer(String),
    #[error("the payee has made no invoice of its offer")]
    NotFetched(#[source] Box<WalletError>),
    #[error("{0:?} is no Lightning address")]
    Address(String),
}

/// Fetches and checks invoices. Clones share what is known.
#[derive(Clone, Debug)]
pub(crate) struct Destinations {
    web: Web,
    nodes: Arc<BTreeMap<NodeId, HyperNodeConfig>>,
    /// Of operators; empty where the configuration names no core to ask.
    directory: watch::Receiver<Arc<Directory>>,
}

impl Destinations {
    /// With the nodes and the servers of the configuration.
    ///
    /// # Errors
    /// Certificates of a server that can't be used.
    pub(crate) fn new(config: &crate::config::TreasuryConfig) -> Result<Self, Failure> {
        let web = Web::new(&config.lightning_address_servers).map_err(Failure::config)?;
        let nodes = config.hyper_nodes.iter();
        let nodes = nodes.map(|node| (node.id.clone(), node.clone()));
        Ok(Self {
            web,
            nodes: Arc::new(nodes.collect()),
            directory: watch::channel(Arc::default()).1,
        })
    }

    /// And the nodes of a directory that operators have signed.
    pub(crate) fn beside(self, directory: watch::Receiver<Arc<Directory>>) -> Self {
        Self { directory, ..self }
    }

    /// A node that is paid, as the configuration has it, or else the directory. One that was revoked is none.
    pub(crate) fn node(&self, id: &NodeId) -> Option<HyperNodeConfig> {
        let directory = Arc::clone(&self.directory.borrow());
        if directory.is_node_revoked(id) {
            return None;
        }
        let recorded = || {
            let record = directory.node(id)?;
            Some(HyperNodeConfig {
                id: record.node.clone(),
                public_key: record.key,
                lightning_node_id: record.lightning.public_key(),
            })
        };
        self.nodes.get(id).cloned().or_else(recorded)
    }

    /// All nodes that are paid, by name.
    pub(crate) fn node_ids(&self) -> Vec<NodeId> {
        let directory = Arc::clone(&self.directory.borrow());
        let listed = self.nodes.keys();
        let listed = listed.filter(|id| !directory.is_node_revoked(id)).cloned();
        let recorded = directory.nodes().map(|record| record.node.clone());
        let all: BTreeSet<NodeId> = listed.chain(recorded).collect();
        all.into_iter().collect()
    }

    /// The invoice that a payout pays next: fetched for a Lightning address, the one that was handed in for a node and for a draw. That
    /// of an offer only the wallet can fetch.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn invoice(&self, payout: &Payout) -> Result<Bolt11Invoice, NoInvoice> {
        let text = &payout.to.text;
        match payout.to.kind {
            DestinationKind::LnAddress => {
                let address = LightningAddress::parse(text);
                let address = address.map_err(|_error| NoInvoice::Address(text.clone()))?;
                Ok(lnurl::invoice(&self.web, &address, payout.amount).await?)
            }
            DestinationKind::NodeInvoice => {
                let invoice = parse(text)?;
                self.check_payee(&payout.payee, &invoice)?;
                Ok(invoice)
            }
            DestinationKind::Bolt11Draw => parse(text),
            DestinationKind::Bolt12 => Err(NoInvoice::Offer(text.clone())),
        }
    }

    /// An invoice of a node is paid to the Lightning node that is recorded for it, and to no other.
    ///
    /// # Errors
    /// It is another's.
    pub(crate) fn check_payee(
        &self,
        payee: &Payee,
        invoice: &Bolt11Invoice,
    ) -> Result<(), NoInvoice> {
        let Payee::Node(id) = payee else {
            return Err(NoInvoice::UnknownNode(payee.to_string()));
        };
        let node = id.parse().ok().and_then(|id: NodeId| self.node(&id));
        let node = node.ok_or_else(|| NoInvoice::UnknownNode(id.clone()))?;
        let found = invoice.recover_payee_pub_key();
        if found == node.lightning_node_id {
            return Ok(());
        }
        Err(NoInvoice::AnotherPayee {
            node: id.clone(),
            expected: node.lightning_node_id.to_string(),
            found: found.to_string(),
        })
    }
}

/// # Errors
/// It is no invoice.
pub(crate) fn parse(text: &str) -> Result<Bolt11Invoice, NoInvoice> {
    // As long as an invoice may be; the error repeats no more of it.
    let shown = || text.chars().take(80).collect();
    text.trim()
        .parse()
        .map_err(|_error| NoInvoice::Unreadable(shown()))
}

#[cfg(test)]
mod tests;
