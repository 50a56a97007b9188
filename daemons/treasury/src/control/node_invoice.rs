//! Invoices of Hyper Nodes, whoever brings them: an operator, or the node itself by way of core.
//!
//! Both come to the same checks. Who brings one changes nothing: it is paid because the node's own key has signed exactly this text, it
//! is to be paid to the Lightning node that this treasury's configuration has for the node, and the node is owed so much.

use super::{Control, refusal};
use crate::destination;
use crate::payouts::Nudge;
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{Payout, SubmitInvoiceRequest};
use hh_ledger::books::{NodeInvoice, Payee};
use hh_lightning::Bolt11Invoice;
use hh_mining::{Msat, Network};
use hh_trust::NodeId;
use serde_json::json;

impl Control {
    pub(super) async fn submit_invoice(
        &self,
        caller: &Caller,
        request: SubmitInvoiceRequest,
    ) -> Result<Payout, ApiError> {
        caller.may_change()?;
        let invoice = self.check_invoice(&request).await?;
        let arguments = json!({ "node": invoice.node, "invoice": invoice.bolt11 });
        let submit = self.take_invoice(invoice);
        self.change(caller, "payout.submit_invoice", arguments, submit)
            .await
    }

    /// Takes an invoice that a node has handed in at core. No operator has asked for it: it is in the books, and not among the changes.
    ///
    /// # Errors
    /// It is none that is paid, or not now.
    pub(crate) async fn hand_in(&self, request: &SubmitInvoiceRequest) -> Result<Payout, ApiError> {
        let invoice = self.check_invoice(request).await?;
        let taken = self.take_invoice(invoice).await;
        // The engine looks at once.
        self.nudges.try_send(Nudge).ok();
        taken
    }

    async fn take_invoice(&self, invoice: NodeInvoice) -> Result<Payout, ApiError> {
        let now_ms = crate::clock::unix_ms();
        let submitted = self.stores.books.submit_invoice(invoice.clone(), now_ms);
        submitted.await.map_err(refusal::books)?;
        let opened = self.opener.open_invoice(&invoice, now_ms).await;
        let payout = opened.map_err(refusal::books)?;
        self.told(payout).await
    }

    /// All that can be known of it before its turn.
    async fn check_invoice(&self, request: &SubmitInvoiceRequest) -> Result<NodeInvoice, ApiError> {
        let id = request.node.parse::<NodeId>();
        let id = id.map_err(|error| refusal::wrong(&error))?;
        let unknown = || {
            refusal::not_found(format!(
                "there is no node {id} in this treasury's configuration or directory"
            ))
        };
        let node = self.destinations.node(&id).ok_or_else(unknown)?;
        let text = request.invoice.trim();
        let signed = node
            .public_key
            .verify_invoice(self.chain, &id, text, &request.signature);
        signed.map_err(|error| refusal::unproven(&error))?;
        let invoice = self.payable_invoice(&id, text)?;
        let payee = Payee::Node(id.to_string());
        self.check_dues(&payee, invoice.amount).await?;
        Ok(invoice)
    }

    fn payable_invoice(&self, node: &NodeId, text: &str) -> Result<NodeInvoice, ApiError> {
        let invoice = destination::parse(text).map_err(|error| refusal::wrong(&error))?;
        let checked = self
            .destinations
            .check_payee(&Payee::Node(node.to_string()), &invoice);
        checked.map_err(|error| refusal::unpayable(error.to_string()))?;
        if !is_of_chain(&invoice, self.chain) {
            let message = format!("the invoice is for another chain than {}", self.chain);
            return Err(refusal::unpayable(message));
        }
        let rules = &self.opener.rules;
        let amount = invoice.amount_milli_satoshis().map(Msat);
        let Some(amount) = amount.filter(|amount| *amount >= rules.minimum) else {
            let minimum = rules.minimum;
            let message = format!("the invoice has to be for at least {minimum} sat");
            return Err(refusal::unpayable(message));
        };
        if amount > rules.max_payout {
            let most = rules.max_payout;
            let message =
                format!("the invoice is for {amount} sat; a payout has at most {most} sat");
            return Err(refusal::unpayable(message));
        }
        Ok(NodeInvoice {
            node: node.to_string(),
            bolt11: text.to_owned(),
            payment_hash: destination::payment_hash(&invoice).0,
            amount,
            expires_at_ms: destination::expires_at_ms(&invoice),
        })
    }
}

/// Invoices tell testnets from one another no better.
fn is_of_chain(invoice: &Bolt11Invoice, chain: Network) -> bool {
    let named = match chain {
        Network::Testnet4 => Network::Testnet,
        chain => chain,
    };
    invoice.network() == named
}
