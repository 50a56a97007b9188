//! The money of the embedded node.
//!
//! It tells what each channel would give if it were closed now, what closing channels still have on the chain, and what is
//! being swept from there. The same coin can be in two of these lists: each is counted where it is last.

use std::collections::BTreeMap;

use bitcoin::Amount;
use hh_mining::Msat;
use ldk_node::lightning::chain::channelmonitor::BalanceSource;
use ldk_node::{BalanceDetails, LightningBalance, PendingSweepBalance};

use super::calls::LdkWallet;
use super::channels::{self, Monitored};
use crate::{Backend, Balances, Channel, ChannelId, Closing, WalletError};

impl LdkWallet {
    pub(crate) async fn balances(&self) -> Result<Balances, WalletError> {
        self.call("tell what it has", |running| {
            let balances = running.node.list_balances();
            let channels = channels::open_channels(&running.node, &balances)?;
            sum(&balances, &channels).ok_or_else(|| WalletError::Answer {
                backend: Backend::Ldk,
                what: "its balances are more than all the money there is".to_owned(),
            })
        })
        .await
    }
}

/// The channel that a balance is of.
pub(super) fn channel_of(balance: &LightningBalance) -> ChannelId {
    match balance {
        LightningBalance::ClaimableOnChannelClose { channel_id, .. }
        | LightningBalance::ClaimableAwaitingConfirmations { channel_id, .. }
        | LightningBalance::ContentiousClaimable { channel_id, .. }
        | LightningBalance::MaybeTimeoutClaimableHTLC { channel_id, .. }
        | LightningBalance::MaybePreimageClaimableHTLC { channel_id, .. }
        | LightningBalance::CounterpartyRevokedOutputClaimable { channel_id, .. } => {
            ChannelId(channel_id.0)
        }
    }
}

/// None where a sum does not fit.
fn sum(balances: &BalanceDetails, channels: &[Channel]) -> Option<Balances> {
    let open: BTreeMap<ChannelId, &Channel> = channels.iter().map(|c| (c.id, c)).collect();
    let of_closed = balances
        .lightning_balances
        .iter()
        .filter(|balance| !open.contains_key(&channel_of(balance)))
        .filter_map(closing);
    let swept = balances
        .pending_balances_from_channel_closures
        .iter()
        .filter_map(sweeping);
    let free = |channel: &Channel| {
        let left = channel.on_close.checked_sub(channel.reserve);
        left.unwrap_or(Msat::ZERO)
    };
    Some(Balances {
        onchain_total: Amount::from_sat(balances.total_onchain_balance_sats),
        onchain_spendable: Amount::from_sat(balances.spendable_onchain_balance_sats),
        onchain_change: Amount::ZERO,
        onchain_immature: Amount::ZERO,
        anchor_reserve: Amount::from_sat(balances.total_anchor_channels_reserve_sats),
        in_channels: channels
            .iter()
            .map(|channel| channel.local)
            .sum::<Option<Msat>>()?,
        in_channels_free: channels.iter().map(free).sum::<Option<Msat>>()?,
        closing: of_closed.chain(swept).collect(),
    })
}

/// What a channel that is closed, or whose closing is under way, still gives; none for what the chain's wallet has already.
fn closing(balance: &LightningBalance) -> Option<Closing> {
    let (sats, from_height, is_contested) = match balance {
        LightningBalance::ClaimableOnChannelClose {
            amount_satoshis, ..
        } => (*amount_satoshis, None, false),
        // Both have signed it to an address of the wallet.
        LightningBalance::ClaimableAwaitingConfirmations {
            source: BalanceSource::CoopClose,
            ..
        } => return None,
        LightningBalance::ClaimableAwaitingConfirmations {
            amount_satoshis,
            confirmation_height,
            ..
        } => (*amount_satoshis, Some(*confirmation_height), false),
        // We have the preimage.
        LightningBalance::ContentiousClaimable {
            amount_satoshis, ..
        }
        | LightningBalance::CounterpartyRevokedOutputClaimable {
            amount_satoshis, ..
        } => (*amount_satoshis, None, false),
        LightningBalance::MaybeTimeoutClaimableHTLC {
            amount_satoshis,
            claimable_height,
            ..
        } => (*amount_satoshis, Some(*claimable_height), true),
        // Ours only if whoever it was for has the preimage.
        LightningBalance::MaybePreimageClaimableHTLC { .. } => return None,
    };
    Some(Closing {
        channel: Some(channel_of(balance)),
        amount: Amount::from_sat(sats),
        from_height,
        is_contested,
    })
}

fn sweeping(sweep: &PendingSweepBalance) -> Option<Closing> {
    let (channel, sats) = match sweep {
        PendingSweepBalance::PendingBroadcast {
            channel_id,
            amount_satoshis,
        }
        // In the mempool the chain's wallet has it among its total, but not as something to spend.
        | PendingSweepBalance::BroadcastAwaitingConfirmation {
            channel_id,
            amount_satoshis,
            ..
        } => (channel_id, *amount_satoshis),
        // Confirmed, it can be spent.
        PendingSweepBalance::AwaitingThresholdConfirmations { .. } => return None,
    };
    Some(Closing {
        channel: channel.map(|id| ChannelId(id.0)),
        amount: Amount::from_sat(sats),
        from_height: None,
        is_contested: false,
    })
}

/// What the channels' monitors tell, by channel.
pub(super) fn monitored(balances: &BalanceDetails) -> BTreeMap<ChannelId, Monitored> {
    let mut found = BTreeMap::<ChannelId, Monitored>::new();
    for balance in &balances.lightning_balances {
        found.entry(channel_of(balance)).or_default().take(balance);
    }
    found
}
