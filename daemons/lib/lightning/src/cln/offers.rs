//! BOLT 12 at Core Lightning: to make offers, and to fetch the invoice of one, so that its hash is known before it is paid.

use std::time::Duration;

use cln_rpc::model::requests;
use cln_rpc::primitives::Amount;
use hh_mining::Msat;
use ldk_node::lightning::offers::offer::Offer;
use ldk_node::lightning_types::payment::PaymentHash;

use super::calls::{ClnWallet, failed, nonsense};
use crate::{FetchInvoice, FetchedInvoice, OfferRequest, WalletError};

/// What a BOLT 12 invoice is valid for where it does not say (BOLT 12, `invoice_relative_expiry`).
const DEFAULT_EXPIRY: Duration = Duration::from_secs(7_200);
/// The payee has to be reached by messages over other nodes.
const FETCH_LIMIT: Duration = Duration::from_secs(30);

impl ClnWallet {
    pub(crate) async fn offer(&self, request: &OfferRequest) -> Result<Offer, WalletError> {
        let message = requests::OfferRequest {
            amount: request
                .amount
                .map_or_else(|| "any".to_owned(), |amount| format!("{}msat", amount.0)),
            description: Some(request.description.clone()),
            absolute_expiry: None,
            issuer: None,
            label: None,
            optional_recurrence: None,
            proportional_amount: None,
            quantity_max: None,
            recurrence: None,
            recurrence_base: None,
            recurrence_limit: None,
            recurrence_paywindow: None,
            single_use: None,
            fronting_nodes: None,
        };
        let answer = self.ask("make an offer", &message).await?;
        answer
            .bolt12
            .parse()
            .map_err(|_error| nonsense(format!("{:?} is no offer", answer.bolt12)))
    }

    pub(crate) async fn fetch_invoice(
        &self,
        request: &FetchInvoice,
    ) -> Result<FetchedInvoice, WalletError> {
        let message = requests::FetchinvoiceRequest {
            offer: request.offer.to_string(),
            // It wants none for an offer that names one, and refuses an invoice for another.
            amount_msat: request
                .offer
                .amount()
                .is_none()
                .then(|| Amount::from_msat(request.amount.0)),
            payer_note: request.note.clone(),
            // lightningd takes whole seconds, the crate writes a float: the limit is ours.
            timeout: None,
            bip353: None,
            payer_metadata: None,
            quantity: None,
            recurrence_counter: None,
            recurrence_label: None,
            recurrence_start: None,
        };
        let fetched = self.request(&message, FETCH_LIMIT).await;
        let fetched = fetched.map_err(|error| failed("fetch the invoice of an offer", error))?;
        let text = fetched.invoice;
        let message = requests::DecodeRequest {
            string: text.clone(),
        };
        let invoice = self.ask("read an invoice", &message).await?;
        let parts = || {
            let mut hash = [0; 32];
            hex::decode_to_slice(invoice.invoice_payment_hash.as_ref()?, &mut hash).ok()?;
            let created = Duration::from_secs(invoice.invoice_created_at?);
            let expiry = invoice.invoice_relative_expiry;
            let expiry = expiry.map_or(DEFAULT_EXPIRY, |s| Duration::from_secs(s.into()));
            Some(FetchedInvoice {
                hash: PaymentHash(hash),
                amount: Msat(invoice.invoice_amount_msat?.msat()),
                payee: invoice.invoice_node_id?,
                expires_at: created.saturating_add(expiry),
                text: text.clone(),
            })
        };
        let found = parts()
            .filter(|_| invoice.valid)
            .ok_or_else(|| nonsense("an invoice that is none".to_owned()))?;
        // BOLT 12: where the offer names its issuer, he alone makes its invoices.
        if let Some(issuer) = request.offer.issuer_signing_pubkey()
            && found.payee != issuer
        {
            let payee = found.payee;
            return Err(nonsense(format!(
                "an invoice of {payee}, and not of {issuer}, whose offer it is"
            )));
        }
        if found.amount != request.amount {
            return Err(nonsense(format!(
                "an invoice for {} sat, and not for {} sat",
                found.amount, request.amount
            )));
        }
        Ok(found)
    }
}
