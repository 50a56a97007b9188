//! Payments out of the embedded node.

use std::sync::PoisonError;
use std::time::SystemTime;

use hh_mining::Msat;
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{Node, NodeError};

use super::calls::{Inner, LdkWallet, not_handed_over};
use crate::payment::receipt;
use crate::{
    Backend, OutgoingPayment, OutgoingState, PageCursor, PayError, PayRequest, Payable,
    PaymentPage, Refusal, WalletError,
};

/// Payments of one page of the history.
const PAGE: usize = 500;

/// An outgoing payment of the hash is in the books already.
#[derive(Debug, thiserror::Error)]
#[error("the embedded node has tried to pay this hash before, and a hash is paid once")]
struct PaidBefore;

/// Marks a payment as being handed over, for as long as its call runs.
struct Sending<'a> {
    inner: &'a Inner,
    hash: PaymentHash,
}

impl<'a> Sending<'a> {
    fn mark(inner: &'a Inner, hash: PaymentHash) -> Self {
        let mut sending = inner.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.push(hash);
        Self { inner, hash }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let mut sending = self
            .inner
            .sending
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = sending.iter().position(|hash| *hash == self.hash) {
            sending.swap_remove(place);
        }
    }
}

impl LdkWallet {
    pub(crate) async fn pay(&self, request: &PayRequest) -> Result<(), PayError> {
        let network = self.inner.config.network;
        let payable = request.check(&self.inner.node_id, network, SystemTime::now())?;
        let request = request.clone();
        let inner = std::sync::Arc::clone(&self.inner);
        let handed_over = self
            .call("pay", move |running| {
                // Here and not before: a call that is given up goes on.
                let _sending = Sending::mark(&inner, payable.hash);
                Ok(hand_over(&running.node, &request, payable))
            })
            .await;
        match handed_over {
            Ok(result) => result,
            Err(error) => Err(not_handed_over(error)),
        }
    }

    pub(crate) async fn outgoing_payments(
        &self,
        after: Option<&PageCursor>,
    ) -> Result<PaymentPage, WalletError> {
        let after = after.map(|cursor| cursor.0.clone());
        self.call("list its payments", move |running| {
            let is_ours =
                |payment: &&PaymentDetails| payment.direction == PaymentDirection::Outbound;
            let mut payments: Vec<_> = running
                .node
                .list_payments_with_filter(is_ours)
                .into_iter()
                .filter_map(outgoing)
                .filter(|payment| {
                    let key = hex::encode(payment.hash.0);
                    after.as_ref().is_none_or(|after| key > *after)
                })
                .collect();
            payments.sort_unstable_by_key(|payment| payment.hash.0);
            let more = payments.len() > PAGE;
            payments.truncate(PAGE);
            let last = payments.last().filter(|_| more);
            let next = last.map(|payment| PageCursor(hex::encode(payment.hash.0)));
            Ok(PaymentPage { payments, next })
        })
        .await
    }
}

fn hand_over(node: &Node, request: &PayRequest, payable: Payable) -> Result<(), PayError> {
    if let Some(before) = node.payment(&PaymentId(payable.hash.0)) {
        return Err(match before.direction {
            PaymentDirection::Inbound => Refusal::OurOwn.into(),
            // It would take a hash again that failed; but a crash after that would leave the old record for the new payment.
            PaymentDirection::Outbound => unknown(PaidBefore),
        });
    }
    let limits = RouteParametersConfig {
        // None would be a percentage of its own.
        max_total_routing_fee_msat: Some(request.max_fee.0),
        max_total_cltv_expiry_delta: request.cltv_limit,
        ..RouteParametersConfig::default()
    };
    let payment = node.bolt11_payment();
    let sent = if request.invoice.amount_milli_satoshis().is_some() {
        payment.send(&request.invoice, Some(limits))
    } else {
        payment.send_using_amount(&request.invoice, payable.amount.0, Some(limits))
    };
    match sent {
        Ok(_) => Ok(()),
        // From before it does anything.
        Err(NodeError::NotRunning | NodeError::InvalidAmount | NodeError::InvalidInvoice) => {
            Err(Refusal::NotTaken("it refused the invoice".to_owned()).into())
        }
        Err(error) => Err(unknown(error)),
    }
}

fn unknown(source: impl std::error::Error + Send + Sync + 'static) -> PayError {
    PayError::Unknown {
        backend: Backend::Ldk,
        source: Box::new(source),
    }
}

/// The hash of a payment over Lightning, and its preimage once it is settled.
pub(super) fn hash_and_preimage(
    kind: &PaymentKind,
) -> Option<(PaymentHash, Option<PaymentPreimage>)> {
    match kind {
        PaymentKind::Onchain { .. } => None,
        PaymentKind::Bolt11 { hash, preimage, .. }
        | PaymentKind::Bolt11Jit { hash, preimage, .. }
        | PaymentKind::Spontaneous { hash, preimage } => Some((*hash, *preimage)),
        PaymentKind::Bolt12Offer { hash, preimage, .. }
        | PaymentKind::Bolt12Refund { hash, preimage, .. } => hash.map(|hash| (hash, *preimage)),
    }
}

fn outgoing(payment: PaymentDetails) -> Option<OutgoingPayment> {
    let (hash, preimage) = hash_and_preimage(&payment.kind)?;
    let state = match payment.status {
        PaymentStatus::Pending => OutgoingState::InFlight,
        PaymentStatus::Failed => OutgoingState::Failed,
        PaymentStatus::Succeeded => match receipt(hash, preimage) {
            Some(preimage) => OutgoingState::Settled(preimage),
            // Its books contradict themselves: the one thing that is certain is that it is not certain.
            None => OutgoingState::InFlight,
        },
    };
    Some(OutgoingPayment {
        hash,
        amount: payment.amount_msat.map(Msat),
        fee: payment.fee_paid_msat.map(Msat),
        state,
        at_s: payment.latest_update_timestamp,
    })
}
