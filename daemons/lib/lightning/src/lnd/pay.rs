//! Payments out of lnd, and what became of them.

use std::time::{Duration, SystemTime};

use hh_mining::Msat;
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use tonic::Code;

use super::calls::{CALL_LIMIT, LndWallet, PAGE, failed, is_synced, node_id, nonsense};
use super::channels::Known;
use super::message::{self, PaymentFailureReason, PaymentStatus, path};
use crate::lookup::{seconds_left, since};
use crate::payment::receipt;
use crate::{
    Absence, Backend, ChannelId, Dispatch, Doubt, FailureCode, Lookup, OutgoingPayment,
    OutgoingState, PageCursor, PayError, PayRequest, Payable, PaymentPage, Rebalance, Refusal,
    WalletError,
};

/// A payment is in lnd's books before it answers; after this the call has surely arrived, or never will.
const DISPATCH_GRACE: Duration = Duration::from_secs(30);
/// After its start lnd takes up what its books have. It has run for at least as long as we are connected.
const START_GRACE: Duration = Duration::from_secs(60);
/// Parts of one payment at once.
const PARTS_MAX: u32 = 16;

impl LndWallet {
    pub(crate) async fn pay(&self, request: &PayRequest) -> Result<(), PayError> {
        let inner = &self.inner;
        let payable = request.check(&inner.node_id, inner.network, SystemTime::now())?;
        let message = send_request(request, payable)?;
        self.hand_over(message).await
    }

    pub(crate) async fn rebalance(&self, request: &Rebalance) -> Result<(), PayError> {
        let inner = &self.inner;
        let payable = request.check(&inner.node_id, inner.network, SystemTime::now())?;
        let channels = self.known_channels().await;
        let channels = channels.map_err(|error| Refusal::NotTaken(error.to_string()))?;
        let find = |id: ChannelId| {
            let known = channels.iter().find(|known| known.id == id);
            known.ok_or(Refusal::UnknownChannel(id))
        };
        let (from, into) = (find(request.from)?, find(request.into)?);
        // lnd is told by which peer it is to come back, not by which channel, and tries the one by which it went out. Where the peer
        // fails that, lnd thinks so little of the peer that for a minute it sends nobody's money there.
        if from.peer == into.peer {
            return Err(Refusal::SamePeer(from.peer).into());
        }
        let mut message = send_request(&request.payment, payable)?;
        message.allow_self_payment = true;
        message.outgoing_chan_ids = vec![from.channel.chan_id];
        message.last_hop_pubkey = into.peer.serialize().to_vec();
        self.hand_over(message).await
    }

    /// Until lnd says that it has it in its books. It goes on when we let go of the answers.
    async fn hand_over(&self, message: message::SendPaymentRequest) -> Result<(), PayError> {
        self.check_running()
            .map_err(|error| Refusal::NotTaken(error.to_string()))?;
        let taken: Result<message::Payment, _> = self
            .inner
            .link
            .first(path::SEND_PAYMENT, message, CALL_LIMIT)
            .await;
        match taken {
            Ok(_payment) => Ok(()),
            Err(error) if !error.may_have_arrived() => {
                Err(Refusal::NotTaken(hh_daemon::Chain(&error).to_string()).into())
            }
            // Also what it knows already, and what it calls wrong: its books tell.
            Err(error) => Err(PayError::Unknown {
                backend: Backend::Lnd,
                source: error.into(),
            }),
        }
    }

    pub(crate) async fn lookup(&self, dispatch: &Dispatch) -> Result<Lookup, WalletError> {
        let info = self.get_info().await?;
        let found = node_id(&info.identity_pubkey)?;
        if found != dispatch.wallet {
            return Err(WalletError::OtherWallet {
                backend: Backend::Lnd,
                expected: Box::new(dispatch.wallet),
                found: Box::new(found),
            });
        }
        let Some(payment) = self.track(dispatch.hash).await? else {
            let channels = self.known_channels().await?;
            if channels.iter().any(|known| known.holds(dispatch.hash)) {
                return Ok(Lookup::InFlight { htlc_seen: true });
            }
            let doubt = self.doubt(dispatch, &channels, is_synced(&info)).await?;
            return Ok(Lookup::Absent(
                doubt.map_or(Absence::NeverSent, Absence::Unclear),
            ));
        };
        match state(&payment, dispatch.hash)? {
            OutgoingState::Settled(preimage) => Ok(Lookup::Settled {
                preimage,
                fee: Some(msat(payment.fee_msat)),
            }),
            OutgoingState::Failed => Ok(Lookup::Failed {
                code: code(payment.failure_reason()),
            }),
            OutgoingState::InFlight => {
                let channels = self.known_channels().await?;
                let htlc_seen = channels.iter().any(|known| known.holds(dispatch.hash));
                Ok(Lookup::InFlight { htlc_seen })
            }
        }
    }

    /// What lnd's books have; none where they have nothing.
    async fn track(&self, hash: PaymentHash) -> Result<Option<message::Payment>, WalletError> {
        self.check_running()?;
        let message = message::TrackPaymentRequest {
            payment_hash: hash.0.to_vec(),
        };
        let link = &self.inner.link;
        match link.first(path::TRACK_PAYMENT, message, CALL_LIMIT).await {
            Ok(payment) => Ok(Some(payment)),
            Err(error) if error.code() == Some(Code::NotFound) => Ok(None),
            Err(error) => Err(failed("look a payment up", error)),
        }
    }

    /// Why the payment may be somewhere, though neither the books nor a channel have it.
    async fn doubt(
        &self,
        dispatch: &Dispatch,
        channels: &[Known],
        is_synced: bool,
    ) -> Result<Option<Doubt>, WalletError> {
        let closing = self.closing_channels().await?;
        if let Some(seconds_left) = seconds_left(since(dispatch.at), DISPATCH_GRACE) {
            return Ok(Some(Doubt::JustDispatched { seconds_left }));
        }
        if let Some(seconds_left) = seconds_left(self.inner.link.age(), START_GRACE) {
            return Ok(Some(Doubt::JustStarted { seconds_left }));
        }
        if !is_synced {
            return Ok(Some(Doubt::NotSynced));
        }
        for id in &dispatch.channels {
            let known = channels.iter().find(|known| known.id == *id);
            match known {
                Some(Known { channel, .. }) if channel.active => {}
                Some(_) => return Ok(Some(Doubt::ChannelAway(*id))),
                None if closing.contains(id) => return Ok(Some(Doubt::ChannelClosing(*id))),
                None => {}
            }
        }
        Ok(None)
    }

    pub(crate) async fn outgoing_payments(
        &self,
        after: Option<&PageCursor>,
    ) -> Result<PaymentPage, WalletError> {
        const CALL: &str = "list its payments";
        let index_offset = match after {
            None => 0,
            Some(PageCursor(text)) => {
                text.parse().map_err(|_no_number| WalletError::BadRequest {
                    backend: Backend::Lnd,
                    call: CALL,
                    why: "the place to go on from is none that it has told",
                })?
            }
        };
        let message = message::ListPaymentsRequest {
            include_incomplete: true,
            index_offset,
            max_payments: PAGE.into(),
            omit_hops: true,
        };
        let answer: message::ListPaymentsResponse =
            self.ask(CALL, path::LIST_PAYMENTS, message).await?;
        let is_full = answer.payments.len() >= PAGE as usize;
        let payments: Result<_, _> = answer.payments.iter().map(outgoing).collect();
        Ok(PaymentPage {
            payments: payments?,
            next: is_full.then(|| PageCursor(answer.last_index_offset.to_string())),
        })
    }
}

fn send_request(
    request: &PayRequest,
    payable: Payable,
) -> Result<message::SendPaymentRequest, Refusal> {
    let too_large = |_| Refusal::NotTaken("a limit is more than lnd has numbers for".to_owned());
    let is_named = request.invoice.amount_milli_satoshis().is_some();
    let amount = if is_named { 0 } else { payable.amount.0 };
    Ok(message::SendPaymentRequest {
        payment_request: request.invoice.to_string(),
        // At least one: 0 is refused.
        timeout_seconds: i32::try_from(request.timeout.as_secs().max(1)).map_err(too_large)?,
        cltv_limit: i32::try_from(request.cltv_limit).map_err(too_large)?,
        amt_msat: i64::try_from(amount).map_err(too_large)?,
        fee_limit_msat: i64::try_from(request.max_fee.0).map_err(too_large)?,
        max_parts: PARTS_MAX,
        ..message::SendPaymentRequest::default()
    })
}

/// A settled payment has its preimage, or the answer is none.
pub(super) fn state(
    payment: &message::Payment,
    hash: PaymentHash,
) -> Result<OutgoingState, WalletError> {
    match payment.status() {
        PaymentStatus::Succeeded => {
            let preimage = bytes(&payment.payment_preimage).map(PaymentPreimage);
            receipt(hash, preimage)
                .map(OutgoingState::Settled)
                .ok_or_else(|| {
                    nonsense(format!(
                        "payment {hash} is settled, with no preimage or another's"
                    ))
                })
        }
        PaymentStatus::Failed => Ok(OutgoingState::Failed),
        // A number that we don't know is read as the first of these.
        PaymentStatus::Unknown | PaymentStatus::InFlight | PaymentStatus::Initiated => {
            Ok(OutgoingState::InFlight)
        }
    }
}

/// The hash that a payment has in lnd's books.
pub(super) fn hash_of(payment: &message::Payment) -> Result<PaymentHash, WalletError> {
    let hash = bytes(&payment.payment_hash).map(PaymentHash);
    hash.ok_or_else(|| nonsense(format!("{:?} is no payment hash", payment.payment_hash)))
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex, &mut bytes).ok()?;
    Some(bytes)
}

fn outgoing(payment: &message::Payment) -> Result<OutgoingPayment, WalletError> {
    let hash = hash_of(payment)?;
    Ok(OutgoingPayment {
        hash,
        amount: Some(msat(payment.value_msat)),
        fee: Some(msat(payment.fee_msat)),
        state: state(payment, hash)?,
        at_s: u64::try_from(payment.creation_time_ns).unwrap_or(0) / 1_000_000_000,
    })
}

/// lnd's amounts are signed; none of those that we read is ever negative.
pub(super) fn msat(amount: i64) -> Msat {
    Msat(u64::try_from(amount).unwrap_or(0))
}

pub(super) fn code(reason: PaymentFailureReason) -> FailureCode {
    match reason {
        PaymentFailureReason::Timeout => FailureCode::TimedOut,
        PaymentFailureReason::NoRoute => FailureCode::NoRoute,
        PaymentFailureReason::IncorrectPaymentDetails => FailureCode::RejectedByPayee,
        PaymentFailureReason::InsufficientBalance => FailureCode::NoBalance,
        PaymentFailureReason::Canceled => FailureCode::Cancelled,
        PaymentFailureReason::None | PaymentFailureReason::Error => FailureCode::Other,
    }
}
