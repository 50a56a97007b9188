//! The news of the embedded node. It keeps them, also over a restart, until they are handled.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use hh_mining::Msat;
use ldk_node::lightning::events::PaymentFailureReason;
use ldk_node::lightning::ln::types::ChannelId as LdkChannelId;
use ldk_node::lightning_types::payment::PaymentHash;

use super::calls::{EVENT_WAIT, LdkWallet};
use crate::payment::receipt;
use crate::{ChannelId, Event, FailureCode, WalletError};

/// Reasons of failed payments that are remembered: who asks for one does so within seconds.
const REASONS_MAX: usize = 1_000;

/// The newest payments that failed, and why.
#[derive(Debug, Default)]
pub(super) struct Reasons(VecDeque<(PaymentHash, FailureCode)>);

impl Reasons {
    fn note(&mut self, hash: PaymentHash, code: FailureCode) {
        if self.of(hash).is_some() {
            return;
        }
        if self.0.len() >= REASONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((hash, code));
    }

    pub(super) fn of(&self, hash: PaymentHash) -> Option<FailureCode> {
        let found = self.0.iter().find(|(of, _)| *of == hash);
        found.map(|(_, code)| *code)
    }
}

/// Gives the events out one by one.
#[derive(Debug)]
pub(crate) struct LdkEvents {
    wallet: LdkWallet,
    /// What was given out and is not handled, and in which life of the node.
    current: Option<(u64, Event)>,
    /// The life of the node in which it has forgotten an event at our word.
    forgot_in: Option<u64>,
}

impl Drop for LdkEvents {
    fn drop(&mut self) {
        let taken = &self.wallet.inner.are_events_taken;
        taken.store(false, Ordering::Release);
    }
}

impl LdkEvents {
    pub(super) fn new(wallet: LdkWallet) -> Self {
        Self {
            wallet,
            current: None,
            forgot_in: None,
        }
    }

    pub(crate) async fn next(&mut self) -> Result<Event, WalletError> {
        loop {
            if let Some((_, event)) = &self.current {
                return Ok(event.clone());
            }
            let Some((generation, event)) = self.wait().await? else {
                continue;
            };
            match translate(event) {
                Some(event) => {
                    if let Event::PaymentFailed { hash, code } = &event {
                        let reasons = self.wallet.inner.reasons.lock();
                        let mut reasons = reasons.unwrap_or_else(PoisonError::into_inner);
                        reasons.note(*hash, *code);
                    }
                    self.current = Some((generation, event));
                }
                None => self.pop(generation).await?,
            }
        }
    }

    /// The first of a life of the node is the one that was not forgotten in the life before, if there was one.
    pub(crate) fn may_be_old(&self) -> bool {
        let current = self.current.as_ref().map(|(generation, _)| *generation);
        current.is_some() && self.forgot_in != current
    }

    pub(crate) async fn handled(&mut self) -> Result<(), WalletError> {
        match self.current.take() {
            Some((generation, _)) => self.pop(generation).await,
            None => Ok(()),
        }
    }

    /// None after a while without any: the node is let go of then, and its own wake-up, which can be missed, is not needed.
    async fn wait(&self) -> Result<Option<(u64, ldk_node::Event)>, WalletError> {
        let running = self
            .wallet
            .call("tell what is new", |running| {
                Ok((running.generation, std::sync::Arc::clone(&running.node)))
            })
            .await;
        let (generation, node) = match running {
            Ok(running) => running,
            Err(WalletError::Down { .. } | WalletError::TimedOut { .. }) => {
                tokio::time::sleep(EVENT_WAIT).await;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let event = tokio::time::timeout(EVENT_WAIT, node.next_event_async()).await;
        Ok(event.ok().map(|event| (generation, event)))
    }

    /// Takes the first event off the node's list. In another life of the node it is still on it, and comes again.
    async fn pop(&mut self, generation: u64) -> Result<(), WalletError> {
        let forgot = self
            .wallet
            .call("forget what was handled", move |running| {
                if running.generation != generation {
                    return Ok(false);
                }
                // Where this fails it is off the list already, but not on the disk: a second call would lose the next one.
                if let Err(error) = running.node.event_handled() {
                    tracing::warn!(%error, "an event of the Lightning wallet may come again");
                }
                Ok(true)
            })
            .await?;
        if forgot {
            self.forgot_in = Some(generation);
        }
        Ok(())
    }
}

/// None for what nobody here needs.
fn translate(event: ldk_node::Event) -> Option<Event> {
    use ldk_node::Event as Ldk;
    let id = |id: LdkChannelId| ChannelId(id.0);
    Some(match event {
        Ldk::PaymentSuccessful {
            payment_hash,
            payment_preimage,
            fee_paid_msat,
            ..
        } => {
            let Some(preimage) = receipt(payment_hash, payment_preimage) else {
                tracing::error!(hash = %payment_hash, "the Lightning wallet tells of a payment without its preimage");
                return None;
            };
            Event::PaymentSettled {
                hash: payment_hash,
                preimage,
                fee: fee_paid_msat.map(Msat),
            }
        }
        Ldk::PaymentFailed {
            payment_hash,
            reason,
            ..
        } => Event::PaymentFailed {
            // None: an offer's, that never had an invoice.
            hash: payment_hash?,
            code: reason.map_or(FailureCode::Other, code),
        },
        Ldk::PaymentReceived {
            payment_hash,
            amount_msat,
            ..
        } => Event::Received {
            hash: payment_hash,
            amount: Msat(amount_msat),
        },
        Ldk::PaymentForwarded {
            prev_channel_id,
            next_channel_id,
            total_fee_earned_msat,
            outbound_amount_forwarded_msat,
            ..
        } => Event::Forwarded {
            from: id(prev_channel_id),
            to: id(next_channel_id),
            // What was kept of the amount itself is part of it.
            fee: total_fee_earned_msat.map(Msat),
            amount: outbound_amount_forwarded_msat.map(Msat),
        },
        Ldk::ChannelPending {
            channel_id,
            counterparty_node_id,
            ..
        } => Event::ChannelOpening {
            id: id(channel_id),
            peer: counterparty_node_id,
        },
        Ldk::ChannelReady { channel_id, .. } => Event::ChannelReady { id: id(channel_id) },
        Ldk::ChannelClosed {
            channel_id, reason, ..
        } => Event::ChannelClosed {
            id: id(channel_id),
            reason: reason.map_or_else(|| "unknown".to_owned(), |reason| reason.to_string()),
        },
        Ldk::PaymentClaimable { .. } | Ldk::SplicePending { .. } | Ldk::SpliceFailed { .. } => {
            return None;
        }
    })
}

pub(super) fn code(reason: PaymentFailureReason) -> FailureCode {
    match reason {
        PaymentFailureReason::RecipientRejected => FailureCode::RejectedByPayee,
        PaymentFailureReason::UserAbandoned => FailureCode::Cancelled,
        PaymentFailureReason::RetriesExhausted => FailureCode::TimedOut,
        PaymentFailureReason::PaymentExpired => FailureCode::Expired,
        PaymentFailureReason::RouteNotFound => FailureCode::NoRoute,
        PaymentFailureReason::UnexpectedError
        | PaymentFailureReason::UnknownRequiredFeatures
        | PaymentFailureReason::InvoiceRequestExpired
        | PaymentFailureReason::InvoiceRequestRejected
        | PaymentFailureReason::BlindedPathCreationFailed => FailureCode::Other,
    }
}
