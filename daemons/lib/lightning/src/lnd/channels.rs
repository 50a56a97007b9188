//! lnd's channels.
//!
//! It counts in whole satoshi here. What the opener of a channel has there, it tells without the fee of the commitment
//! transaction, which the opener pays.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, Txid};
use hh_mining::Msat;
use ldk_node::lightning_types::payment::PaymentHash;
use tonic::Code;

use super::calls::{CALL_LIMIT, LndWallet, failed, node_id, nonsense, sat_per_vbyte};
use super::message::{self, FundingTxid, path};
use crate::{
    Backend, Channel, ChannelId, ChannelState, CloseChannel, Htlc, OpenChannel, OpenedChannel,
    WalletError,
};

/// lnd's `Initiator` of a channel that we have opened.
const INITIATOR_LOCAL: i32 = 1;

/// A channel that is open, with what names it.
pub(super) struct Known {
    pub(super) id: ChannelId,
    pub(super) peer: PublicKey,
    pub(super) funding: OutPoint,
    pub(super) channel: message::Channel,
}

impl Known {
    /// Whether a payment of ours is on its way out through it.
    pub(super) fn holds(&self, hash: PaymentHash) -> bool {
        let htlcs = &self.channel.pending_htlcs;
        htlcs
            .iter()
            .any(|htlc| !htlc.incoming && htlc.hash_lock == hash.0)
    }
}

impl LndWallet {
    /// The channels whose funding is deep enough.
    pub(super) async fn known_channels(&self) -> Result<Vec<Known>, WalletError> {
        let answer: message::ListChannelsResponse = self
            .ask("list its channels", path::LIST_CHANNELS, message::Empty {})
            .await?;
        let known = answer.channels.into_iter().map(|channel| {
            let (id, funding) = channel_point(&channel.channel_point)?;
            Ok(Known {
                id,
                peer: node_id(&channel.remote_pubkey)?,
                funding,
                channel,
            })
        });
        known.collect()
    }

    pub(super) async fn pending(&self) -> Result<message::PendingChannelsResponse, WalletError> {
        self.ask(
            "list its pending channels",
            path::PENDING_CHANNELS,
            message::Empty {},
        )
        .await
    }

    /// Those that are on their way to the chain, or not yet through it.
    pub(super) async fn closing_channels(&self) -> Result<BTreeSet<ChannelId>, WalletError> {
        let pending = self.pending().await?;
        let waiting = pending.waiting_close_channels.into_iter();
        let forced = pending.pending_force_closing_channels.into_iter();
        waiting
            .map(|waiting| waiting.channel)
            .chain(forced.map(|forced| forced.channel))
            .flatten()
            .map(|channel| Ok(channel_point(&channel.channel_point)?.0))
            .collect()
    }

    pub(crate) async fn channels(&self) -> Result<Vec<Channel>, WalletError> {
        let pending = self.pending().await?;
        let opening = pending.pending_open_channels.into_iter();
        let waiting = pending.waiting_close_channels.into_iter();
        let mut channels: Vec<Channel> = opening
            .filter_map(|opening| Some((opening.channel?, ChannelState::Opening)))
            .chain(waiting.filter_map(|waiting| Some((waiting.channel?, ChannelState::Closing))))
            .map(|(channel, state)| pending_channel(&channel, state))
            .collect::<Result<_, _>>()?;
        for known in self.known_channels().await? {
            let mut channel = open_channel(&known);
            channel.is_usable = channel.is_usable && self.is_routable(&known).await?;
            channels.push(channel);
        }
        Ok(channels)
    }

    /// Whether lnd's own router has the channel. It calls one active some milliseconds before that, and a payment in between
    /// fails for lack of a balance.
    async fn is_routable(&self, known: &Known) -> Result<bool, WalletError> {
        const CALL: &str = "tell of a channel in its graph";
        self.check_running()?;
        let id = known.channel.chan_id;
        // Once there, it stays until the channel closes.
        let routable = || {
            let routable = self.inner.routable.lock();
            routable.unwrap_or_else(PoisonError::into_inner)
        };
        if routable().contains(&id) {
            return Ok(true);
        }
        let message = message::ChanInfoRequest { chan_id: id };
        let link = &self.inner.link;
        let edge: Result<message::ChannelEdge, _> =
            link.unary(path::GET_CHAN_INFO, message, CALL_LIMIT).await;
        let edge = match edge {
            Ok(edge) => edge,
            Err(error) if error.code() == Some(Code::NotFound) => return Ok(false),
            Err(error) => return Err(failed(CALL, error)),
        };
        let ours = if node_id(&edge.node1_pub)? == self.inner.node_id {
            edge.node1_policy
        } else {
            edge.node2_policy
        };
        if ours.is_none() {
            return Ok(false);
        }
        routable().insert(id);
        Ok(true)
    }

    pub(crate) async fn open_channel(
        &self,
        request: &OpenChannel,
    ) -> Result<OpenedChannel, WalletError> {
        const CALL: &str = "open a channel";
        self.connect(request.peer, request.address.clone()).await?;
        let message = message::OpenChannelRequest {
            sat_per_vbyte: sat_per_vbyte(request.fee_rate),
            node_pubkey: request.peer.serialize().to_vec(),
            local_funding_amount: i64::try_from(request.capacity_sats).map_err(|_too_large| {
                WalletError::BadRequest {
                    backend: Backend::Lnd,
                    call: CALL,
                    why: "the channel is larger than all the money there is",
                }
            })?,
            private: !request.is_public,
        };
        let point: message::ChannelPoint = self.ask(CALL, path::OPEN_CHANNEL, message).await?;
        let funding = match point.funding_txid {
            Some(FundingTxid::Bytes(bytes)) => txid(&bytes)?,
            Some(FundingTxid::Text(text)) => text
                .parse()
                .map_err(|_error| nonsense(format!("{text:?} is no transaction")))?,
            None => return Err(nonsense("a channel without a transaction".to_owned())),
        };
        let funding = OutPoint::new(funding, point.output_index);
        let id = id_of(funding)?;
        Ok(OpenedChannel { id, funding })
    }

    pub(crate) async fn close_channel(&self, request: &CloseChannel) -> Result<(), WalletError> {
        const CALL: &str = "close a channel";
        let CloseChannel { id, force } = *request;
        let channels = self.known_channels().await?;
        let known = channels.iter().find(|known| known.id == id);
        let known = known.ok_or(WalletError::UnknownChannel {
            backend: Backend::Lnd,
            id,
        })?;
        let message = message::CloseChannelRequest {
            channel_point: Some(message::ChannelPoint {
                funding_txid: Some(FundingTxid::Bytes(
                    known.funding.txid.to_byte_array().to_vec(),
                )),
                output_index: known.funding.vout,
            }),
            force,
            no_wait: !force,
        };
        let link = &self.inner.link;
        let begun: Result<message::Empty, _> =
            link.first(path::CLOSE_CHANNEL, message, CALL_LIMIT).await;
        begun.map(|_| ()).map_err(|error| failed(CALL, error))
    }
}

pub(super) fn open_channel(known: &Known) -> Channel {
    let channel = &known.channel;
    let reserve = |constraints: Option<&message::ChannelConstraints>| {
        constraints.map_or(0, |constraints| constraints.chan_reserve_sat)
    };
    let local_reserve = reserve(channel.local_constraints.as_ref());
    let local_sats = sats(channel.local_balance);
    let remote_sats = sats(channel.remote_balance);
    let unsettled_sats = sats(channel.unsettled_balance);
    let capacity_sats = sats(channel.capacity);
    // Of what we have opened, all is ours that is neither the peer's nor on its way.
    let ours = if channel.initiator {
        capacity_sats
            .saturating_sub(remote_sats)
            .saturating_sub(unsettled_sats)
    } else {
        local_sats
    };
    let theirs = if channel.initiator {
        remote_sats
    } else {
        capacity_sats
            .saturating_sub(local_sats)
            .saturating_sub(unsettled_sats)
    };
    let remote_reserve = reserve(channel.remote_constraints.as_ref());
    let pending_htlcs: Vec<Htlc> = channel.pending_htlcs.iter().filter_map(htlc).collect();
    Channel {
        id: known.id,
        peer: known.peer,
        funding: Some(known.funding),
        short_id: Some(channel.chan_id),
        capacity: from_sats(capacity_sats),
        local: from_sats(ours),
        remote: from_sats(theirs),
        spendable: from_sats(local_sats.saturating_sub(local_reserve))
            .min(at_once(channel, &pending_htlcs)),
        receivable: from_sats(remote_sats.saturating_sub(remote_reserve)),
        on_close: from_sats(local_sats),
        reserve: from_sats(local_reserve),
        close_delay: channel
            .local_constraints
            .as_ref()
            .map(|constraints| constraints.csv_delay),
        state: ChannelState::Ready,
        is_usable: channel.active,
        is_public: !channel.private,
        is_ours: channel.initiator,
        pending_htlcs,
    }
}

/// What may be sent beside what is on its way: many peers want no more than a tenth of a channel at once.
fn at_once(channel: &message::Channel, pending: &[Htlc]) -> Msat {
    let constraints = channel.local_constraints.as_ref();
    let most = constraints.map_or(0, |constraints| constraints.max_pending_amt_msat);
    if most == 0 {
        // It does not tell.
        return Msat(u64::MAX);
    }
    let ours = pending.iter().filter(|htlc| htlc.is_outgoing);
    ours.fold(Msat(most), |left, htlc| {
        left.checked_sub(htlc.amount).unwrap_or(Msat::ZERO)
    })
}

pub(super) fn pending_channel(
    channel: &message::PendingChannel,
    state: ChannelState,
) -> Result<Channel, WalletError> {
    let (id, funding) = channel_point(&channel.channel_point)?;
    let capacity_sats = sats(channel.capacity);
    let on_close = from_sats(sats(channel.local_balance));
    let is_ours = channel.initiator == INITIATOR_LOCAL;
    // Nothing is on its way in a channel that opens: what the peer does not have is ours, who pay for the commitment.
    let local = if is_ours && state == ChannelState::Opening {
        from_sats(capacity_sats.saturating_sub(sats(channel.remote_balance)))
    } else {
        on_close
    };
    Ok(Channel {
        id,
        peer: node_id(&channel.remote_node_pub)?,
        funding: Some(funding),
        short_id: None,
        capacity: from_sats(capacity_sats),
        local,
        remote: from_sats(sats(channel.remote_balance)),
        spendable: Msat::ZERO,
        receivable: Msat::ZERO,
        on_close,
        reserve: from_sats(sats(channel.local_chan_reserve_sat)),
        close_delay: None,
        state,
        is_usable: false,
        is_public: !channel.private,
        is_ours,
        pending_htlcs: Vec::new(),
    })
}

fn htlc(htlc: &message::Htlc) -> Option<Htlc> {
    let hash = PaymentHash(htlc.hash_lock.as_slice().try_into().ok()?);
    Some(Htlc {
        hash,
        amount: from_sats(sats(htlc.amount)),
        expiry_height: htlc.expiration_height,
        is_outgoing: !htlc.incoming,
    })
}

/// `TXID:INDEX`.
pub(super) fn channel_point(text: &str) -> Result<(ChannelId, OutPoint), WalletError> {
    let funding: OutPoint = text
        .parse()
        .map_err(|_error| nonsense(format!("{text:?} is no channel point")))?;
    Ok((id_of(funding)?, funding))
}

pub(super) fn id_of(funding: OutPoint) -> Result<ChannelId, WalletError> {
    ChannelId::of_funding(funding)
        .ok_or_else(|| nonsense(format!("{funding} can't fund a channel")))
}

/// As it is hashed.
pub(super) fn txid(bytes: &[u8]) -> Result<Txid, WalletError> {
    Txid::from_slice(bytes).map_err(|_error| nonsense("no transaction id".to_owned()))
}

/// lnd's amounts are signed; none of those that we read is ever negative, but for rounding near nothing.
pub(super) fn sats(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}

fn from_sats(sats: u64) -> Msat {
    Msat::from_sats(sats).unwrap_or(Msat::MAX_MONEY)
}
