//! The answers about the Lightning node and its payments.

use super::money::{at, payment_state};
use super::status::wire_balances;
use super::{Control, page_rows, refusal};
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{InvoiceRequest, LightningPayment, LightningStatus};
use hh_lightning::{Capabilities, InvoiceDetails};
use hh_mining::Msat;
use serde_json::json;
use std::time::Duration;

impl Control {
    pub(super) async fn lightning(&self) -> Result<LightningStatus, ApiError> {
        let info = self.stores.wallet.wallet().info().await;
        let info = self.stores.wallet.noted(info).map_err(refusal::wallet)?;
        let seen = self.audit.seen().await.map_err(refusal::wallet)?;
        let totals = self.stores.books.totals().await.map_err(refusal::books)?;
        let usable = seen.channels.iter().filter(|channel| channel.is_usable);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(LightningStatus {
            backend: self.stores.wallet.backend.to_owned(),
            node_id: info.node_id.to_string(),
            alias: Some(info.alias).filter(|alias| !alias.is_empty()),
            version: info.version,
            block_height: info.block_height,
            is_synced: info.is_synced,
            listen_addresses: self.stores.wallet.listen_addresses.clone(),
            capabilities: names(&self.stores.wallet.wallet().capabilities()),
            balances: wire_balances(&seen),
            channels_usable: count(usable.count()),
            channels: count(seen.channels.len()),
            fees_earned_msat: totals.income_routing.0,
        })
    }

    pub(super) async fn address(&self, caller: &Caller) -> Result<String, ApiError> {
        // A new one is kept by the wallet for ever.
        caller.may_change()?;
        let address = self.stores.wallet.wallet().new_address().await;
        let address = self.stores.wallet.noted(address).map_err(refusal::wallet)?;
        Ok(address.to_string())
    }

    pub(super) async fn invoice(
        &self,
        caller: &Caller,
        request: InvoiceRequest,
    ) -> Result<String, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let make = async {
            let request = hh_lightning::InvoiceRequest {
                amount: request.amount_msat.map(Msat),
                details: InvoiceDetails::Text(request.description),
                expiry: Duration::from_secs(request.expiry_seconds.into()),
            };
            let invoice = self.stores.wallet.wallet().invoice(&request).await;
            let invoice = self.stores.wallet.noted(invoice).map_err(refusal::wallet)?;
            Ok(invoice.to_string())
        };
        self.change(caller, "ln.invoice", arguments, make).await
    }

    pub(super) async fn lightning_payments(
        &self,
        limit: u32,
    ) -> Result<Vec<LightningPayment>, ApiError> {
        let mut payments = Vec::new();
        let mut cursor = None;
        loop {
            let page = self
                .stores
                .wallet
                .wallet()
                .outgoing_payments(cursor.as_ref())
                .await;
            let page = self.stores.wallet.noted(page).map_err(refusal::wallet)?;
            payments.extend(page.payments);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        payments.sort_by_key(|payment| std::cmp::Reverse(payment.at_s));
        payments.truncate(page_rows(limit) as usize);
        let wire = |payment: &hh_lightning::OutgoingPayment| LightningPayment {
            payment_hash: Some(hex::encode(payment.hash.0)),
            is_outgoing: true,
            amount_msat: payment.amount.map(|amount| amount.0),
            fee_msat: payment.fee.map(|fee| fee.0),
            state: payment_state(&payment.state).to_owned(),
            at: at(payment.at_s),
        };
        Ok(payments.iter().map(wire).collect())
    }
}

fn names(capabilities: &Capabilities) -> Vec<String> {
    let all = [
        ("pay_offers", capabilities.pays_offers),
        ("make_offers", capabilities.makes_offers),
        ("rebalance", capabilities.rebalances),
        ("backup", capabilities.has_static_backup),
        ("forwards", capabilities.keeps_forwards),
        ("list_outputs", capabilities.lists_outputs),
    ];
    let can = all.into_iter().filter(|(_, can)| can.is_ok());
    can.map(|(name, _)| name.to_owned()).collect()
}
