//! What a wallet has, and where.

use bitcoin::Amount;
use hh_mining::Msat;

use crate::ChannelId;

/// The money of a wallet. Nothing is in two of `onchain_spendable`, `onchain_change`,
/// `onchain_immature`, `anchor_reserve`, `in_channels` and `closing`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// All outputs that the wallet has on the chain and in the mempool, also what is not confirmed and coinbases that are not
    /// mature, whatever the wallet's own balance counts.
    pub onchain_total: Amount,
    /// What it can spend on the chain, without the reserve. The embedded node counts the change of its own transactions here,
    /// before they are confirmed.
    pub onchain_spendable: Amount,
    /// Unconfirmed change of its own transactions that is not in `onchain_spendable`: nobody else can take it back.
    pub onchain_change: Amount,
    /// Coinbases that are not mature, where the wallet tells them apart (the embedded node does not: 0). A part of
    /// `onchain_total`.
    pub onchain_immature: Amount,
    /// Kept on the chain to pay the fees of channels that close by force.
    pub anchor_reserve: Amount,
    /// Our side of all channels that are not on their way to the chain, as [`crate::Channel::local`]; from the funding
    /// transaction on, which need not be confirmed.
    pub in_channels: Msat,
    /// Of it, what is left after the fees of commitment transactions and the reserves of the channels.
    pub in_channels_free: Msat,
    /// What comes back from channels that close.
    pub closing: Vec<Closing>,
}

/// Money on its way from a closing channel to the wallet on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// None where the wallet does not know any more.
    pub channel: Option<ChannelId>,
    /// Before the fee of the transaction that fetches it.
    pub amount: Amount,
    /// Height from which on it can be fetched; none where that is not known yet.
    pub from_height: Option<u32>,
    /// A payment that was on its way: the peer takes it if it has the preimage.
    pub is_contested: bool,
}
