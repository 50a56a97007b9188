//! Payments out of Core Lightning, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::hashes::{Hash, sha256};
use cln_rpc::model::requests;
use cln_rpc::model::responses::{
    ListpaysPays, ListpaysPaysStatus, ListpeerchannelsChannels, ListsendpaysPayments,
    ListsendpaysPaymentsStatus,
};
use cln_rpc::primitives::Amount;
use hh_mining::Msat;
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use tokio::sync::oneshot;

use super::calls::{ClnError, ClnWallet, PAGE, is_synced, nonsense, place};
use super::channels::{Standing, holds, standing};
use crate::lookup::{seconds_left, since};
use crate::payment::receipt;
use crate::{
    Absence, Backend, ChannelId, Dispatch, Doubt, FailureCode, Lookup, OutgoingPayment,
    OutgoingState, PageCursor, PayError, PayFetched, PayRequest, Payable, PaymentPage, Refusal,
    WalletError,
};

const LIST: &str = "list its payments";
/// Its pages count parts, and may cut a payment: all parts of one are made within this, as long as it is tried.
const EDGE: Duration = Duration::from_secs(3_600);
/// A refusal comes within this; what is still under way then has been taken.
const TAKEN_AFTER: Duration = Duration::from_secs(2);
/// Beside what a payment may take: for the end of its last part to be written down, and for clocks.
const GRACE: Duration = Duration::from_secs(30);
/// The process that holds a channel takes a part within milliseconds, or is ended.
const UNSENT_AFTER: Duration = Duration::from_secs(90);
/// An answer that is later than this has no listener any more; the books have it.
const ANSWER_GRACE: Duration = Duration::from_secs(60);

impl ClnWallet {
    pub(crate) async fn pay(&self, request: &PayRequest) -> Result<(), PayError> {
        let inner = &self.inner;
        let payable = request.check(&inner.node_id, inner.network, SystemTime::now())?;
        let is_named = request.invoice.amount_milli_satoshis().is_some();
        let message = requests::XpayRequest {
            invstring: request.invoice.to_string(),
            amount_msat: (!is_named).then(|| Amount::from_msat(payable.amount.0)),
            maxfee: Some(Amount::from_msat(request.max_fee.0)),
            maxdelay: Some(request.cltv_limit),
            retry_for: Some(seconds(request.timeout)),
            ..NOTHING
        };
        self.hand_over(payable, message, request.timeout).await
    }

    pub(crate) async fn pay_fetched(&self, request: &PayFetched) -> Result<(), PayError> {
        let payable = request.check(&self.inner.node_id, SystemTime::now())?;
        let message = requests::XpayRequest {
            invstring: request.invoice.text.clone(),
            maxfee: Some(Amount::from_msat(request.max_fee.0)),
            maxdelay: Some(request.cltv_limit),
            retry_for: Some(seconds(request.timeout)),
            ..NOTHING
        };
        self.hand_over(payable, message, request.timeout).await
    }

    /// Begins the call, which ends when the payment does, and lets go of it once it has surely been taken.
    async fn hand_over(
        &self,
        payable: Payable,
        message: requests::XpayRequest,
        timeout: Duration,
    ) -> Result<(), PayError> {
        self.check_running()
            .map_err(|error| Refusal::NotTaken(error.to_string()))?;
        let (sender, ended) = oneshot::channel();
        let wallet = self.clone();
        self.inner.tasks.spawn_session("xpay", async move {
            let limit = timeout.saturating_add(ANSWER_GRACE);
            // lightningd goes on with it when we stop.
            let paid = tokio::select! {
                paid = wallet.request(&message, limit) => paid,
                () = wallet.inner.tasks.cancelled() => return,
            };
            if let Err(error) = &paid {
                tracing::info!(hash = %payable.hash, %error, "Core Lightning gave a payment up");
            }
            // Nobody listens where it took longer.
            sender.send(paid.map(|_| ())).ok();
        });
        match tokio::time::timeout(TAKEN_AFTER, ended).await {
            Err(_) | Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error @ ClnError::Connect { .. }))) => {
                Err(Refusal::NotTaken(hh_daemon::Chain(&error).to_string()).into())
            }
            // Also what it knows already, and what it calls wrong: its books tell.
            Ok(Ok(Err(error))) => Err(unknown(error.into())),
            Ok(Err(gone)) => Err(unknown(gone.into())),
        }
    }

    pub(crate) async fn lookup(&self, dispatch: &Dispatch) -> Result<Lookup, WalletError> {
        let info = self.get_info().await?;
        if info.id != dispatch.wallet {
            return Err(WalletError::OtherWallet {
                backend: Backend::Cln,
                expected: Box::new(dispatch.wallet),
                found: Box::new(info.id),
            });
        }
        // The channels first: what leaves them is in the books already.
        let channels = self.peer_channels().await?;
        let (pays, parts) = self.books(dispatch.hash).await?;
        let evidence = Evidence {
            pays: &pays,
            parts: &parts,
            channels: &channels,
            is_synced: is_synced(&info),
        };
        conclude(dispatch, &evidence, since(dispatch.at))
    }

    /// What its books have of a payment, and of its parts.
    pub(super) async fn books(
        &self,
        hash: PaymentHash,
    ) -> Result<(Vec<ListpaysPays>, Vec<ListsendpaysPayments>), WalletError> {
        const CALL: &str = "look a payment up";
        let payment_hash = Some(sha256::Hash::from_byte_array(hash.0));
        let pays = requests::ListpaysRequest {
            payment_hash,
            bolt11: None,
            index: None,
            limit: None,
            start: None,
            status: None,
        };
        let parts = requests::ListsendpaysRequest {
            payment_hash,
            bolt11: None,
            index: None,
            limit: None,
            start: None,
            status: None,
        };
        let pays = self.ask(CALL, &pays).await?.pays;
        Ok((pays, self.ask(CALL, &parts).await?.payments))
    }

    pub(crate) async fn outgoing_payments(
        &self,
        after: Option<&PageCursor>,
    ) -> Result<PaymentPage, WalletError> {
        let start = place(LIST, after)?;
        let parts = requests::ListsendpaysRequest {
            index: Some(requests::ListsendpaysIndex::CREATED),
            start: Some(start),
            limit: Some(PAGE),
            bolt11: None,
            payment_hash: None,
            status: None,
        };
        let parts = self.ask(LIST, &parts).await?.payments;
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Ok(PaymentPage {
                payments: Vec::new(),
                next: None,
            });
        };
        let page = start..=last.created_index;
        let is_cut = |pay: &ListpaysPays| {
            let is_near = |part: &ListsendpaysPayments| {
                pay.created_at.abs_diff(part.created_at) < EDGE.as_secs()
            };
            (start > 1 && is_near(first)) || (parts.len() >= PAGE as usize && is_near(last))
        };
        let mut payments = BTreeMap::new();
        let mut asked = BTreeSet::new();
        for pay in self.pays_of_page(start).await? {
            if !is_cut(&pay) {
                payments.insert(pay.created_index, pay);
            } else if asked.insert(pay.payment_hash) {
                let (whole, _) = self
                    .books(PaymentHash(pay.payment_hash.to_byte_array()))
                    .await?;
                payments.extend(whole.into_iter().map(|pay| (pay.created_index, pay)));
            }
        }
        // A payment is on the page of its first part.
        let payments = payments
            .values()
            .filter(|pay| pay.created_index.is_some_and(|index| page.contains(&index)));
        Ok(PaymentPage {
            payments: payments.map(outgoing).collect::<Result<_, _>>()?,
            next: Some(PageCursor(last.created_index.saturating_add(1).to_string())),
        })
    }

    /// As far as their parts are on the page.
    async fn pays_of_page(&self, start: u64) -> Result<Vec<ListpaysPays>, WalletError> {
        let message = requests::ListpaysRequest {
            index: Some(requests::ListpaysIndex::CREATED),
            start: Some(start),
            limit: Some(PAGE),
            bolt11: None,
            payment_hash: None,
            status: None,
        };
        Ok(self.ask(LIST, &message).await?.pays)
    }
}

const NOTHING: requests::XpayRequest = requests::XpayRequest {
    amount_msat: None,
    dev_use_shadow: None,
    label: None,
    localinvreqid: None,
    maxdelay: None,
    maxfee: None,
    partial_msat: None,
    payer_note: None,
    retry_for: None,
    layers: None,
    invstring: String::new(),
};

fn unknown(source: Box<dyn std::error::Error + Send + Sync>) -> PayError {
    PayError::Unknown {
        backend: Backend::Cln,
        source,
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs().max(1)).unwrap_or(u32::MAX)
}

/// What lightningd has about a payment at one moment.
struct Evidence<'a> {
    pays: &'a [ListpaysPays],
    parts: &'a [ListsendpaysPayments],
    channels: &'a [ListpeerchannelsChannels],
    is_synced: bool,
}

fn conclude(
    dispatch: &Dispatch,
    evidence: &Evidence<'_>,
    since_dispatch: Duration,
) -> Result<Lookup, WalletError> {
    let Evidence {
        pays,
        parts,
        channels,
        is_synced,
    } = evidence;
    if let Some(settled) = settled(dispatch.hash, pays)? {
        return Ok(settled);
    }
    let htlc_seen = channels.iter().any(|channel| holds(channel, dispatch.hash));
    let in_flight = Lookup::InFlight { htlc_seen };
    // It may be between two tries.
    let left = seconds_left(since_dispatch, dispatch.timeout.saturating_add(GRACE));
    let doubt = match left {
        Some(seconds_left) => Some(Doubt::JustDispatched { seconds_left }),
        None if !is_synced => Some(Doubt::NotSynced),
        None => dispatch
            .channels
            .iter()
            .find_map(|id| doubt_about(*id, channels)),
    };
    let failed = Lookup::Failed {
        code: FailureCode::Other,
    };
    let is_pending = |pay: &ListpaysPays| pay.status == ListpaysPaysStatus::PENDING;
    let mut open = parts
        .iter()
        .filter(|part| part.status != ListsendpaysPaymentsStatus::FAILED)
        .peekable();
    if htlc_seen {
        return Ok(in_flight);
    }
    if open.peek().is_some() {
        let is_lost = doubt.is_none() && open.all(is_unsent);
        return Ok(if is_lost { failed } else { in_flight });
    }
    if pays.iter().any(is_pending) {
        return Ok(in_flight);
    }
    if !pays.is_empty() || !parts.is_empty() {
        return Ok(if left.is_some() { in_flight } else { failed });
    }
    Ok(Lookup::Absent(
        doubt.map_or(Absence::NeverSent, Absence::Unclear),
    ))
}

/// A part that is to be sent is written down first, and in a channel a moment later. Where lightningd dies between the two it is in none,
/// and pending for ever: the peer has never had a signature for it.
fn is_unsent(part: &ListsendpaysPayments) -> bool {
    let made = UNIX_EPOCH.checked_add(Duration::from_secs(part.created_at));
    part.status == ListsendpaysPaymentsStatus::PENDING
        && made.is_some_and(|made| since(made) > UNSENT_AFTER)
}

/// A channel whose peer is back has told both what it holds, however long lightningd has run.
fn doubt_about(id: ChannelId, channels: &[ListpeerchannelsChannels]) -> Option<Doubt> {
    let mut found = channels.iter().filter_map(standing);
    match found.find(|(known, _)| *known == id)?.1 {
        Standing::Usable | Standing::Gone => None,
        Standing::Away => Some(Doubt::ChannelAway(id)),
        Standing::Closing => Some(Doubt::ChannelClosing(id)),
    }
}

/// A hash that was tried several times has several entries; one that is complete is final.
pub(super) fn settled(
    hash: PaymentHash,
    pays: &[ListpaysPays],
) -> Result<Option<Lookup>, WalletError> {
    let complete = pays
        .iter()
        .find(|pay| pay.status == ListpaysPaysStatus::COMPLETE);
    let Some(pay) = complete else {
        return Ok(None);
    };
    let preimage = pay.preimage.map(|secret| PaymentPreimage(secret.into()));
    match receipt(hash, preimage) {
        Some(preimage) => Ok(Some(Lookup::Settled {
            preimage,
            fee: fee(pay),
        })),
        None => Err(nonsense(format!(
            "payment {hash} is complete, with no preimage or another's"
        ))),
    }
}

/// What was sent more than arrived.
fn fee(pay: &ListpaysPays) -> Option<Msat> {
    let (sent, arrived) = (pay.amount_sent_msat?, pay.amount_msat?);
    Msat(sent.msat()).checked_sub(Msat(arrived.msat()))
}

fn outgoing(pay: &ListpaysPays) -> Result<OutgoingPayment, WalletError> {
    let hash = PaymentHash(pay.payment_hash.to_byte_array());
    let state = match pay.status {
        ListpaysPaysStatus::PENDING => OutgoingState::InFlight,
        ListpaysPaysStatus::FAILED => OutgoingState::Failed,
        ListpaysPaysStatus::COMPLETE => match settled(hash, std::slice::from_ref(pay))? {
            Some(Lookup::Settled { preimage, .. }) => OutgoingState::Settled(preimage),
            _ => OutgoingState::InFlight,
        },
    };
    Ok(OutgoingPayment {
        hash,
        amount: pay.amount_msat.map(|amount| Msat(amount.msat())),
        fee: fee(pay),
        state,
        at_s: pay.completed_at.unwrap_or(pay.created_at),
    })
}
