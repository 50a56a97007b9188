//! What became of a payment of the embedded node: its record, the payments that its channels hold, and the rule that
//! concludes from both.
//!
//! The record alone does not tell. It is written after the node has taken a payment, so that a crash in between leaves a
//! payment without one; and where the same crash lost the channels' newest state, the node closes the channel by force, and
//! the payment's end is known only when that is through on the chain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use hh_mining::Msat;
use ldk_node::LightningBalance;
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use ldk_node::payment::{PaymentDirection, PaymentStatus};

use super::balances::channel_of;
use super::calls::{Inner, LdkWallet};
use super::events::code;
use super::pay::hash_and_preimage;
use super::running::Running;
use crate::lookup::{seconds_left, since};
use crate::payment::receipt;
use crate::{Absence, Backend, ChannelId, Dispatch, Doubt, FailureCode, Lookup, WalletError};

/// A peer is connected again, and has told what it has, within this after a start.
const START_GRACE: Duration = Duration::from_secs(60);
/// The call takes milliseconds, and a disk that is slow may hold it up; with the node's own tries, which last for 10 s.
const DISPATCH_GRACE: Duration = Duration::from_secs(30);
/// From the end of a payment to the event that tells it the node takes milliseconds: between them it is neither in a channel
/// nor in the news.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// From the record of a failure to the event that has its reason, and until that is taken; a failure without one is none the less.
const REASON_WAIT: Duration = Duration::from_millis(500);

/// What the node has about a payment at one moment.
#[derive(Clone, Debug, Default)]
struct Evidence {
    /// Of an outgoing payment.
    record: Option<Record>,
    /// Why it failed, if that was told.
    reason: Option<FailureCode>,
    /// A channel holds a payment with the hash.
    is_htlc_seen: bool,
    /// The call that hands it over runs.
    is_being_sent: bool,
    /// Of all our outgoing payments in channels, what has no output of its own: parts of a satoshi, and what is too small.
    hidden: Msat,
    /// The open channels, and whether they can be used.
    open: BTreeMap<ChannelId, bool>,
    /// The channels that still have something to get from the chain.
    watched: BTreeSet<ChannelId>,
    is_synced: bool,
    are_events_waiting: bool,
    age: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    status: PaymentStatus,
    preimage: Option<PaymentPreimage>,
    fee: Option<Msat>,
}

impl LdkWallet {
    pub(crate) async fn lookup(&self, dispatch: &Dispatch) -> Result<Lookup, WalletError> {
        if dispatch.wallet != self.inner.node_id {
            return Err(WalletError::OtherWallet {
                backend: Backend::Ldk,
                expected: Box::new(dispatch.wallet),
                found: Box::new(self.inner.node_id),
            });
        }
        let first = self.look(dispatch).await?;
        let wait = match first {
            Lookup::Absent(Absence::NeverSent) => SECOND_LOOK,
            Lookup::Failed {
                code: FailureCode::Other,
            } => REASON_WAIT,
            found => return Ok(found),
        };
        tokio::time::sleep(wait).await;
        self.look(dispatch).await
    }

    async fn look(&self, dispatch: &Dispatch) -> Result<Lookup, WalletError> {
        let (inner, sought) = (std::sync::Arc::clone(&self.inner), dispatch.clone());
        let evidence = self
            .call("look a payment up", move |running| {
                Ok(gather(&inner, running, &sought))
            })
            .await?;
        conclude(dispatch, &evidence, since(dispatch.at))
    }
}

fn gather(inner: &Inner, running: &Running, dispatch: &Dispatch) -> Evidence {
    let node = &running.node;
    let sending = inner.sending.lock().unwrap_or_else(PoisonError::into_inner);
    let is_being_sent = sending.contains(&dispatch.hash);
    drop(sending);
    let channels = node.list_channels();
    let balances = node.list_balances().lightning_balances;
    // After the channels: what leaves them is in the record first.
    let reason = reason(inner, node.next_event(), dispatch.hash);
    let record = node
        .payment(&PaymentId(dispatch.hash.0))
        .filter(|payment| payment.direction == PaymentDirection::Outbound)
        .map(|payment| Record {
            status: payment.status,
            preimage: hash_and_preimage(&payment.kind).and_then(|(_, preimage)| preimage),
            fee: payment.fee_paid_msat.map(Msat),
        });
    let holds = |balance: &LightningBalance| {
        matches!(balance, LightningBalance::MaybeTimeoutClaimableHTLC { payment_hash, outbound_payment: true, .. }
            if *payment_hash == dispatch.hash)
    };
    let hidden = balances.iter().map(|balance| match balance {
        LightningBalance::ClaimableOnChannelClose {
            outbound_payment_htlc_rounded_msat,
            ..
        } => *outbound_payment_htlc_rounded_msat,
        _ => 0,
    });
    Evidence {
        record,
        reason,
        is_htlc_seen: balances.iter().any(holds),
        is_being_sent,
        hidden: Msat(hidden.fold(0, u64::saturating_add)),
        open: channels
            .iter()
            .map(|channel| (ChannelId(channel.channel_id.0), channel.is_usable))
            .collect(),
        watched: balances.iter().map(channel_of).collect(),
        is_synced: running.is_synced(),
        are_events_waiting: node.next_event().is_some(),
        age: running.age(),
    }
}

/// The record does not have it: it is in an event, which was taken or is the next.
fn reason(inner: &Inner, next: Option<ldk_node::Event>, hash: PaymentHash) -> Option<FailureCode> {
    if let Some(ldk_node::Event::PaymentFailed {
        payment_hash: Some(of),
        reason: Some(reason),
        ..
    }) = next
        && of == hash
    {
        return Some(code(reason));
    }
    let reasons = inner.reasons.lock().unwrap_or_else(PoisonError::into_inner);
    reasons.of(hash)
}

fn conclude(
    dispatch: &Dispatch,
    evidence: &Evidence,
    since_dispatch: Duration,
) -> Result<Lookup, WalletError> {
    let htlc_seen = evidence.is_htlc_seen;
    let in_flight = Lookup::InFlight { htlc_seen };
    let Some(record) = evidence.record else {
        return Ok(if htlc_seen {
            in_flight
        } else {
            Lookup::Absent(match doubt(dispatch, evidence, since_dispatch) {
                Some(doubt) => Absence::Unclear(doubt),
                None => Absence::NeverSent,
            })
        });
    };
    match record.status {
        PaymentStatus::Succeeded => match receipt(dispatch.hash, record.preimage) {
            Some(preimage) => Ok(Lookup::Settled {
                preimage,
                fee: record.fee,
            }),
            None => Err(WalletError::Answer {
                backend: Backend::Ldk,
                what: format!(
                    "payment {} is settled, with no preimage or another's",
                    dispatch.hash
                ),
            }),
        },
        PaymentStatus::Pending => Ok(in_flight),
        PaymentStatus::Failed if htlc_seen => Ok(in_flight),
        PaymentStatus::Failed => Ok(Lookup::Failed {
            code: evidence.reason.unwrap_or(FailureCode::Other),
        }),
    }
}

/// Why the payment may be somewhere, though neither the node's books nor a channel have it.
fn doubt(dispatch: &Dispatch, evidence: &Evidence, since_dispatch: Duration) -> Option<Doubt> {
    if evidence.is_being_sent {
        return Some(Doubt::BeingHandedOver);
    }
    if let Some(seconds_left) = seconds_left(since_dispatch, DISPATCH_GRACE) {
        return Some(Doubt::JustDispatched { seconds_left });
    }
    if let Some(seconds_left) = seconds_left(evidence.age, START_GRACE) {
        return Some(Doubt::JustStarted { seconds_left });
    }
    if !evidence.is_synced {
        return Some(Doubt::NotSynced);
    }
    if evidence.are_events_waiting {
        return Some(Doubt::EventsWaiting);
    }
    for id in &dispatch.channels {
        match evidence.open.get(id) {
            Some(true) => {}
            Some(false) => return Some(Doubt::ChannelAway(*id)),
            None if evidence.watched.contains(id) => return Some(Doubt::ChannelClosing(*id)),
            // Closed, and all that was in it is back.
            None => {}
        }
    }
    // If none of its parts has an output, all of them are among what has none.
    (evidence.hidden >= dispatch.amount).then_some(Doubt::TooSmallToSee)
}

#[cfg(test)]
mod tests;
