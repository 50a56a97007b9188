//! The node's wallet and its dues for its owner.

use super::{Control, journal_error};
use crate::wallet::{InvoiceRow, Payment};
use hh_ipc::agent::payout_state;
use hh_ipc::api::node_agent::{DuesInvoice, DuesInvoiceState, NodeWalletStatus, WalletPayment};
use hh_ipc::{ApiError, ErrorKind};
use jiff::Timestamp;

/// Most invoices, and most payments, that are told.
const LISTED_MAX: u32 = 100;

impl Control {
    pub(super) async fn wallet(&self) -> Result<NodeWalletStatus, ApiError> {
        let wallet = self.wallet.as_ref().ok_or_else(|| {
            let message = "this node has no wallet: hh-node-agent.toml has no [wallet]";
            ApiError::new(ErrorKind::Failed, "HH6004", message)
        })?;
        let invoices = wallet.book.list(LISTED_MAX).await;
        let invoices = invoices.map_err(|error| journal_error(&error))?;
        let payments = wallet.book.payments(LISTED_MAX).await;
        let payments = payments.map_err(|error| journal_error(&error))?;
        let state = wallet.state.borrow().clone();
        let seen = state.seen.as_ref();
        let account = self.account.borrow();
        let waits_for = account
            .is_some()
            .then(|| self.waits_for.borrow().map(|why| why.to_string()));
        let now_ms = Timestamp::now().as_millisecond();
        Ok(NodeWalletStatus {
            backend: wallet.backend.to_owned(),
            fault: state.fault.clone(),
            node_id: seen.map(|seen| seen.info.node_id.to_string()),
            is_synced: seen.is_some_and(|seen| seen.info.is_synced),
            onchain_sat: seen.map_or(0, |seen| seen.balances.onchain_total.to_sat()),
            in_channels_msat: seen.map_or(0, |seen| seen.balances.in_channels.0),
            treasury_node_id: wallet.treasury.to_string(),
            treasury_channels: seen.map_or(0, |seen| seen.treasury_channels),
            receivable_msat: seen.map_or(0, |seen| seen.receivable.0),
            dues_msat: account.as_ref().map(|account| account.payable_msat),
            invoice_waits_for: waits_for.flatten(),
            invoices: invoices.iter().map(|row| invoice(row, now_ms)).collect(),
            payments: payments.into_iter().map(payment).collect(),
        })
    }
}

fn invoice(row: &InvoiceRow, now_ms: i64) -> DuesInvoice {
    let report = row.report.as_ref();
    let reason = report.map(|report| report.reason.clone());
    DuesInvoice {
        id: row.new.id.clone(),
        amount_msat: row.new.amount.0,
        payment_hash: row.new.payment_hash.clone(),
        made_at: timestamp(row.new.made_at_ms),
        expires_at: timestamp(row.new.expires_at_ms),
        state: match report.map(|report| report.state.as_str()) {
            Some(payout_state::SETTLED) => DuesInvoiceState::Settled,
            Some(payout_state::CANCELLED) => DuesInvoiceState::Cancelled,
            Some(payout_state::REFUSED) => DuesInvoiceState::Refused,
            Some(_) => DuesInvoiceState::Waiting,
            None if row.new.expires_at_ms <= now_ms => DuesInvoiceState::Expired,
            None => DuesInvoiceState::Sent,
        },
        reported_at: report.map(|report| timestamp(report.at_ms)),
        reason: reason.filter(|reason| !reason.is_empty()),
        received_msat: row.received.map(|received| received.0),
    }
}

fn payment(paid: Payment) -> WalletPayment {
    WalletPayment {
        payment_hash: paid.hash,
        amount_msat: paid.amount.0,
        fee_msat: paid.fee.map(|fee| fee.0),
        preimage: paid.preimage,
        paid_at: timestamp(paid.paid_at_ms),
    }
}

/// A time for the wire; one that no calendar has shows as 1970.
fn timestamp(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms).unwrap_or_default()
}
