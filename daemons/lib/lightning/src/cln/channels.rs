//! Core Lightning's channels and its money.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint};
use cln_rpc::model::requests;
use cln_rpc::model::responses::{
    ListfundsOutputs, ListfundsOutputsStatus, ListpeerchannelsChannels,
    ListpeerchannelsChannelsHtlcs, ListpeerchannelsChannelsHtlcsDirection,
};
use cln_rpc::primitives::{AmountOrAll, ChannelSide, ChannelState as ClnState};
use hh_mining::Msat;
use ldk_node::lightning_types::payment::PaymentHash;

use super::calls::{CALL_LIMIT, ClnError, ClnWallet, bad_request, failed, feerate, nonsense};
use crate::{
    Backend, Balances, Channel, ChannelId, ChannelState, CloseChannel, Closing, Htlc, OpenChannel,
    OpenedChannel, WalletError,
};

/// Kept on the chain for channels with anchors, by `min-emergency-msat`; 25,000 sat is lightningd's default.
const EMERGENCY_SATS: u64 = 25_000;
/// A close that both sign is begun and not waited for.
const CLOSE_SECONDS: u32 = 1;

/// What a channel can tell about the payments that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its peer is there, and both have told each other what is in it.
    Usable,
    Away,
    /// On its way to the chain.
    Closing,
    /// All that was in it is back.
    Gone,
}

impl ClnWallet {
    pub(super) async fn peer_channels(&self) -> Result<Vec<ListpeerchannelsChannels>, WalletError> {
        let message = requests::ListpeerchannelsRequest {
            id: None,
            channel_id: None,
            short_channel_id: None,
        };
        Ok(self.ask("list its channels", &message).await?.channels)
    }

    pub(crate) async fn channels(&self) -> Result<Vec<Channel>, WalletError> {
        let channels = self.peer_channels().await?;
        Ok(channels.iter().filter_map(channel).collect())
    }

    pub(crate) async fn balances(&self) -> Result<Balances, WalletError> {
        let funds = requests::ListfundsRequest { spent: None };
        let funds = self.ask("tell what it has", &funds).await?;
        let channels = self.peer_channels().await?;
        let open: Vec<Channel> = channels
            .iter()
            .filter_map(channel)
            .filter(|channel| channel.state != ChannelState::Closing)
            .collect();
        let total = |is_wanted: fn(&ListfundsOutputs) -> bool| {
            let wanted = funds.outputs.iter().filter(|output| is_wanted(output));
            let sum: Option<Msat> = wanted.map(|output| Msat(output.amount_msat.msat())).sum();
            sum.ok_or_else(too_much)
        };
        let all = total(|output| output.status != ListfundsOutputsStatus::SPENT)?;
        let confirmed =
            total(|output| output.status == ListfundsOutputsStatus::CONFIRMED && !output.reserved)?;
        // It learns of what others send when a block has it: before that, an output is one of its own transactions'.
        let change = total(|output| {
            output.status == ListfundsOutputsStatus::UNCONFIRMED && !output.reserved
        })?;
        let immature = total(|output| output.status == ListfundsOutputsStatus::IMMATURE)?;
        let reserve = if open.is_empty() { 0 } else { EMERGENCY_SATS };
        let reserve = reserve.min(confirmed.0 / 1_000);
        let free = |channel: &Channel| {
            let left = channel.on_close.checked_sub(channel.reserve);
            left.unwrap_or(Msat::ZERO)
        };
        let sum = |part: fn(&Channel) -> Msat| {
            let sum: Option<Msat> = open.iter().map(part).sum();
            sum.ok_or_else(too_much)
        };
        Ok(Balances {
            onchain_total: Amount::from_sat(all.0 / 1_000),
            onchain_spendable: Amount::from_sat(confirmed.0 / 1_000 - reserve),
            onchain_change: Amount::from_sat(change.0 / 1_000),
            onchain_immature: Amount::from_sat(immature.0 / 1_000),
            anchor_reserve: Amount::from_sat(reserve),
            in_channels: sum(|channel| channel.local)?,
            in_channels_free: open
                .iter()
                .map(free)
                .sum::<Option<Msat>>()
                .ok_or_else(too_much)?,
            closing: channels.iter().filter_map(closing).collect(),
        })
    }

    pub(crate) async fn open_channel(
        &self,
        request: &OpenChannel,
    ) -> Result<OpenedChannel, WalletError> {
        const CALL: &str = "open a channel";
        self.connect(request.peer, request.address.clone()).await?;
        let capacity = Msat::from_sats(request.capacity_sats).ok_or_else(|| {
            bad_request(CALL, "the channel is larger than all the money there is")
        })?;
        let message = requests::FundchannelRequest {
            id: request.peer,
            amount: AmountOrAll::Amount(cln_rpc::primitives::Amount::from_msat(capacity.0)),
            announce: Some(request.is_public),
            feerate: request.fee_rate.map(feerate),
            close_to: None,
            compact_lease: None,
            minconf: None,
            mindepth: None,
            push_msat: None,
            request_amt: None,
            reserve: None,
            channel_type: None,
            utxos: None,
        };
        let opened = self.ask(CALL, &message).await?;
        let txid = opened
            .txid
            .parse()
            .map_err(|_error| nonsense(format!("{:?} is no transaction", opened.txid)))?;
        Ok(OpenedChannel {
            id: ChannelId(opened.channel_id.to_byte_array()),
            funding: OutPoint::new(txid, opened.outnum),
        })
    }

    pub(crate) async fn close_channel(&self, request: &CloseChannel) -> Result<(), WalletError> {
        const CALL: &str = "close a channel";
        let CloseChannel { id, force } = *request;
        let channels = self.channels().await?;
        if !channels.iter().any(|channel| channel.id == id) {
            return Err(WalletError::UnknownChannel {
                backend: Backend::Cln,
                id,
            });
        }
        let message = requests::CloseRequest {
            id: id.to_string(),
            // 0 is never: both have to sign, however long that takes.
            unilateraltimeout: Some(if force { CLOSE_SECONDS } else { 0 }),
            destination: None,
            fee_negotiation_step: None,
            force_lease_closed: None,
            wrong_funding: None,
            feerange: None,
        };
        match self.request(&message, CALL_LIMIT).await {
            Ok(_) => Ok(()),
            // It waits for the end of the close, and goes on without us.
            Err(ClnError::TimedOut { .. }) if !force => Ok(()),
            Err(error) => Err(failed(CALL, error)),
        }
    }
}

fn too_much() -> WalletError {
    nonsense("it has more than all the money there is".to_owned())
}

/// A payment of ours that a channel holds.
pub(super) fn holds(channel: &ListpeerchannelsChannels, hash: PaymentHash) -> bool {
    let htlcs = channel.htlcs.iter().flatten();
    htlcs.into_iter().any(|htlc| {
        htlc.direction == ListpeerchannelsChannelsHtlcsDirection::OUT
            && htlc.payment_hash.to_byte_array() == hash.0
    })
}

fn id_of(channel: &ListpeerchannelsChannels) -> Option<ChannelId> {
    Some(ChannelId(channel.channel_id?.to_byte_array()))
}

/// None before it has an id.
pub(super) fn standing(channel: &ListpeerchannelsChannels) -> Option<(ChannelId, Standing)> {
    let standing = match state(channel.state) {
        Some(ChannelState::Closing) => Standing::Closing,
        None => Standing::Gone,
        Some(ChannelState::Opening | ChannelState::Ready) => {
            if channel.peer_connected && channel.reestablished.unwrap_or(false) {
                Standing::Usable
            } else {
                Standing::Away
            }
        }
    };
    Some((id_of(channel)?, standing))
}

/// None for what is through the chain.
fn state(state: ClnState) -> Option<ChannelState> {
    Some(match state {
        ClnState::OPENINGD
        | ClnState::CHANNELD_AWAITING_LOCKIN
        | ClnState::DUALOPEND_OPEN_INIT
        | ClnState::DUALOPEND_AWAITING_LOCKIN
        | ClnState::DUALOPEND_OPEN_COMMITTED
        | ClnState::DUALOPEND_OPEN_COMMIT_READY => ChannelState::Opening,
        ClnState::CHANNELD_NORMAL | ClnState::CHANNELD_AWAITING_SPLICE => ChannelState::Ready,
        ClnState::CHANNELD_SHUTTING_DOWN
        | ClnState::CLOSINGD_SIGEXCHANGE
        | ClnState::CLOSINGD_COMPLETE
        | ClnState::AWAITING_UNILATERAL
        | ClnState::FUNDING_SPEND_SEEN
        | ClnState::ONCHAIN => ChannelState::Closing,
        ClnState::CLOSED => return None,
    })
}

/// None for one that has no id yet, or is through the chain.
fn channel(found: &ListpeerchannelsChannels) -> Option<Channel> {
    let state = state(found.state)?;
    let msat = |amount: Option<cln_rpc::primitives::Amount>| Msat(amount.map_or(0, |a| a.msat()));
    let capacity = msat(found.total_msat);
    let pending_htlcs: Vec<Htlc> = found.htlcs.iter().flatten().map(htlc).collect();
    // It counts as ours what is on its way out, until it has arrived.
    let outgoing = pending_htlcs.iter().filter(|htlc| htlc.is_outgoing);
    let outgoing: Option<Msat> = outgoing.map(|htlc| htlc.amount).sum();
    let to_us = msat(found.to_us_msat);
    let local = to_us.checked_sub(outgoing?).unwrap_or(Msat::ZERO);
    let is_ours = found.opener == ChannelSide::LOCAL;
    let fee = if is_ours {
        msat(found.last_tx_fee_msat)
    } else {
        Msat::ZERO
    };
    let txid = found
        .funding_txid
        .as_ref()
        .and_then(|txid| txid.parse().ok());
    let funding = txid.zip(found.funding_outnum);
    Some(Channel {
        id: id_of(found)?,
        peer: found.peer_id,
        funding: funding.map(|(txid, vout)| OutPoint::new(txid, vout)),
        short_id: found.short_channel_id.map(|id| id.to_u64()),
        capacity,
        local,
        remote: capacity.checked_sub(to_us).unwrap_or(Msat::ZERO),
        spendable: msat(found.spendable_msat),
        receivable: msat(found.receivable_msat),
        on_close: local.checked_sub(fee).unwrap_or(Msat::ZERO),
        reserve: msat(found.our_reserve_msat),
        close_delay: found.our_to_self_delay,
        state,
        is_usable: state == ChannelState::Ready
            && found.peer_connected
            && found.reestablished.unwrap_or(false),
        is_public: !found.private.unwrap_or(false),
        is_ours,
        pending_htlcs,
    })
}

fn htlc(found: &ListpeerchannelsChannelsHtlcs) -> Htlc {
    Htlc {
        hash: PaymentHash(found.payment_hash.to_byte_array()),
        amount: Msat(found.amount_msat.msat()),
        expiry_height: found.expiry,
        is_outgoing: found.direction == ListpeerchannelsChannelsHtlcsDirection::OUT,
    }
}

/// What a channel on its way to the chain still gives. Once its transaction is confirmed, lightningd lists what is ours of it
/// among its outputs.
fn closing(found: &ListpeerchannelsChannels) -> Option<Closing> {
    match found.state {
        ClnState::CHANNELD_SHUTTING_DOWN
        | ClnState::CLOSINGD_SIGEXCHANGE
        | ClnState::CLOSINGD_COMPLETE
        | ClnState::AWAITING_UNILATERAL
        | ClnState::FUNDING_SPEND_SEEN => {}
        _ => return None,
    }
    let channel = channel(found)?;
    Some(Closing {
        channel: Some(channel.id),
        amount: Amount::from_sat(channel.on_close.0 / 1_000),
        from_height: None,
        is_contested: false,
    })
}
