//! Core Lightning's channels and its money.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint};
use cln_rpc::model::requests;
use cln_rpc::model::responses::{
    ListfundsOutputs, ListfundsOutputsStatus, ListpeerchannelsChannels,
    ListpeerchannelsChannelsHtlcs, ListpeerchannelsChannelsHtlcsDirection,
    ListtransactionsTransactions as Transaction,
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
/// Of the two outputs by which the fee of a commitment transaction can be raised (BOLT 3); who has opened the channel pays for them.
const ANCHORS_SATS: u64 = 660;
/// A close that both sign is begun and not waited for.
const CLOSE_SECONDS: u32 = 1;

/// With a peer that is there both have signed within a second.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// How often it is looked again where a channel has changed meanwhile: each changes a few times in its life.
const MOMENTS: usize = 10;

type Funds = (
    Vec<ListpeerchannelsChannels>,
    Vec<ListfundsOutputs>,
    Vec<Transaction>,
);

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
        let (channels, outputs, transactions) = self.funds().await?;
        let open: Vec<Channel> = channels
            .iter()
            .filter_map(channel)
            .filter(|channel| channel.state != ChannelState::Closing)
            .collect();
        let total = |is_wanted: fn(&ListfundsOutputs) -> bool| {
            let wanted = outputs.iter().filter(|output| is_wanted(output));
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
            closing: channels
                .iter()
                .filter_map(|channel| closing(channel, &outputs, &transactions))
                .collect(),
        })
    }

    /// Its channels, its outputs on the chain, and the transactions between the two, as of one moment: in the block that ends a channel
    /// the money goes from the first to the second.
    pub(super) async fn funds(&self) -> Result<Funds, WalletError> {
        let mut channels = self.peer_channels().await?;
        for _ in 0..MOMENTS {
            let message = requests::ListfundsRequest { spent: None };
            let outputs = self.ask("tell what it has", &message).await?.outputs;
            let transactions = self.transactions_under_way(&outputs, &channels).await?;
            let before = std::mem::replace(&mut channels, self.peer_channels().await?);
            if states(&before) == states(&channels) {
                return Ok((channels, unspent(outputs, &transactions), transactions));
            }
        }
        Err(nonsense(
            "its channels change faster than they can be counted".to_owned(),
        ))
    }

    /// Its own transactions, and those that end its channels: there are none to ask for where nothing is under way.
    async fn transactions_under_way(
        &self,
        outputs: &[ListfundsOutputs],
        channels: &[ListpeerchannelsChannels],
    ) -> Result<Vec<Transaction>, WalletError> {
        let is_under_way = outputs.iter().any(|output| output.reserved)
            || channels
                .iter()
                .any(|channel| channel.state == ClnState::ONCHAIN);
        if !is_under_way {
            return Ok(Vec::new());
        }
        let message = requests::ListtransactionsRequest {};
        let found = self.ask("list its transactions", &message).await?;
        Ok(found.transactions)
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
        let limit = if force { CALL_LIMIT } else { CLOSE_LIMIT };
        match self.request(&message, limit).await {
            Ok(_) => Ok(()),
            // It answers at the end of the close, which a peer that is away holds up, and goes on without us.
            Err(ClnError::TimedOut { .. }) if !force && self.is_closing(id).await? => Ok(()),
            Err(error) => Err(failed(CALL, error)),
        }
    }

    async fn is_closing(&self, id: ChannelId) -> Result<bool, WalletError> {
        let channels = self.channels().await?;
        let mut others = channels.iter().filter(|channel| channel.id == id);
        Ok(others.all(|channel| channel.state == ChannelState::Closing))
    }
}

fn states(channels: &[ListpeerchannelsChannels]) -> BTreeMap<Option<ChannelId>, ClnState> {
    let states = channels.iter().map(|found| (id_of(found), found.state));
    states.collect()
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
    let outgoing: Msat = outgoing.map(|htlc| htlc.amount).sum::<Option<_>>()?;
    let to_us = msat(found.to_us_msat);
    let local = to_us.checked_sub(outgoing).unwrap_or(Msat::ZERO);
    // Its own count of what can be sent leaves out how much the peer wants to have on the way at once: many want a tenth.
    let at_once = found.their_max_htlc_value_in_flight_msat;
    let at_once = at_once.map_or(u64::MAX, |most| most.msat());
    let at_once = Msat(at_once.saturating_sub(outgoing.0));
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
        spendable: msat(found.spendable_msat).min(at_once),
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

/// Without those that a transaction has spent which no block has yet: it goes on listing these, as reserved, beside what it got for them.
fn unspent(
    mut outputs: Vec<ListfundsOutputs>,
    transactions: &[Transaction],
) -> Vec<ListfundsOutputs> {
    let unconfirmed = transactions.iter().filter(|found| found.blockheight == 0);
    let inputs = unconfirmed.flat_map(|found| &found.inputs);
    let spent: BTreeSet<_> = inputs
        .map(|input| (input.txid.as_str(), input.index))
        .collect();
    outputs.retain(|output| !spent.contains(&(output.txid.as_str(), output.output)));
    outputs
}

/// What a channel on its way to the chain still gives, beside what lightningd lists of it as an output: once both have signed a close,
/// or in the block of one by the peer.
fn closing(
    found: &ListpeerchannelsChannels,
    outputs: &[ListfundsOutputs],
    transactions: &[Transaction],
) -> Option<Closing> {
    let known = channel(found)?;
    // The newest transaction that we have for its end.
    let ours = found.scratch_txid.as_deref();
    let mut listed = outputs.iter();
    if listed.any(|output| Some(output.txid.as_str()) == ours) {
        return None;
    }
    match found.state {
        ClnState::CHANNELD_SHUTTING_DOWN
        | ClnState::CLOSINGD_SIGEXCHANGE
        | ClnState::CLOSINGD_COMPLETE
        | ClnState::AWAITING_UNILATERAL
        | ClnState::FUNDING_SPEND_SEEN => Some(Closing {
            channel: Some(known.id),
            amount: Amount::from_sat(known.on_close.0 / 1_000),
            from_height: None,
            is_contested: false,
        }),
        ClnState::ONCHAIN => {
            let mut all = transactions.iter();
            let close = all.find(|close| Some(close.hash.as_str()) == ours)?;
            locked(&known, close, transactions)
        }
        _ => None,
    }
}

/// Our side after a close of ours by force, which lightningd lists once it has fetched it, some blocks later.
fn locked(known: &Channel, close: &Transaction, transactions: &[Transaction]) -> Option<Closing> {
    let anchors = if known.is_ours { ANCHORS_SATS } else { 0 };
    let expected = (known.on_close.0 / 1_000).checked_sub(anchors)?;
    let output = close.outputs.iter().find(|output| {
        // It counts the fee in whole satoshi.
        (output.amount_msat.msat() / 1_000).abs_diff(expected) <= 1
    })?;
    let is_fetched = transactions.iter().any(|later| {
        let mut inputs = later.inputs.iter();
        inputs.any(|input| input.txid == close.hash && input.index == output.index)
    });
    let delay = known.close_delay.unwrap_or(0);
    (!is_fetched).then(|| Closing {
        channel: Some(known.id),
        amount: Amount::from_sat(output.amount_msat.msat() / 1_000),
        from_height: (close.blockheight > 0).then(|| close.blockheight.saturating_add(delay)),
        is_contested: false,
    })
}
