//! The Lightning wallet.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LightningStatus {
    pub backend: String,
    pub node_id: String,
    pub alias: Option<String>,
    pub version: String,
    pub block_height: u32,
    pub is_synced: bool,
    pub listen_addresses: Vec<String>,
    /// What it can do beside paying invoices: `pay_offers`, `rebalance`, `splice`, `backup`.
    pub capabilities: Vec<String>,
    pub balances: super::Balances,
    pub channels: u32,
    pub channels_usable: u32,
    /// Routing fees earned since the books were opened.
    pub fees_earned_msat: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    Opening,
    Usable,
    /// The peer is away.
    Offline,
    Closing,
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    pub id: String,
    pub peer: String,
    pub state: ChannelState,
    pub is_public: bool,
    pub capacity_sat: u64,
    pub local_msat: u64,
    pub remote_msat: u64,
    /// What can be sent in one payment at most.
    pub spendable_msat: u64,
    pub receivable_msat: u64,
    pub htlcs: Vec<Htlc>,
    /// What opening or closing it costs on the chain, about; none where nobody asked for that.
    #[serde(default)]
    pub cost_msat: Option<u64>,
    /// What that is made of, where a close by force was asked about.
    #[serde(default)]
    pub force_close: Option<ForceCloseCost>,
}

/// What a close by force costs, about and rather too much, and when the rest is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForceCloseCost {
    /// That the fees below are for, in satoshi for a thousand virtual bytes.
    pub fee_rate_sat_per_kvb: u64,
    /// Whether Bitcoin Core has told that rate; else it is the least that is relayed.
    pub is_estimated: bool,
    /// Of the commitment transaction, where it is ours to pay.
    pub commitment_fee_msat: u64,
    /// To have that confirmed, from what is kept back on the chain.
    pub bump_fee_msat: u64,
    /// To fetch our side.
    pub sweep_fee_msat: u64,
    /// To settle the payments on their way.
    pub htlc_fee_msat: u64,
    /// How many these are.
    pub htlcs: u32,
    /// What is left of our side.
    pub returned_msat: u64,
    /// Blocks until our side can be fetched; none where the wallet does not tell.
    pub delay_blocks: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Htlc {
    pub payment_hash: String,
    pub amount_msat: u64,
    pub is_outgoing: bool,
    /// Blocks until it times out.
    pub expires_in_blocks: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LightningPayment {
    pub payment_hash: Option<String>,
    pub is_outgoing: bool,
    pub amount_msat: Option<u64>,
    pub fee_msat: Option<u64>,
    pub state: String,
    pub at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceRequest {
    pub amount_msat: Option<u64>,
    pub description: String,
    pub expiry_seconds: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelOpenRequest {
    /// `NODE_ID@HOST:PORT`.
    pub peer: String,
    pub capacity_sat: u64,
    pub is_public: bool,
    pub dry_run: bool,
}

/// What routing a payment of others out by a channel costs them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelFeesRequest {
    pub id: String,
    /// For each payment,
    pub base_msat: u32,
    /// and in millionths of its amount.
    pub ppm: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCloseRequest {
    pub id: String,
    pub is_forced: bool,
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebalanceRequest {
    /// Made by the caller, 1 to 64 bytes: what is asked for again with the same id is done once. A dry run needs none.
    #[serde(default)]
    pub request_id: String,
    pub from: String,
    pub to: String,
    pub amount_msat: u64,
    pub max_fee_ppm: u32,
    pub dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RebalanceState {
    /// Nothing was done.
    Planned,
    /// It goes on by itself.
    InFlight,
    Settled,
    Failed,
}

/// Money that moves from one channel of ours to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebalance {
    /// Once it is in the books.
    pub id: Option<u64>,
    pub from: String,
    pub to: String,
    pub amount_msat: u64,
    pub max_fee_msat: u64,
    pub state: RebalanceState,
    /// What it has cost, once it is settled.
    pub fee_msat: Option<u64>,
    pub payment_hash: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// What the one channel can send at once and the other one can take, while it is planned.
    pub can_send_msat: Option<u64>,
    pub can_receive_msat: Option<u64>,
}

/// Another node that the wallet knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub node_id: String,
    /// Where it is; none where the wallet does not tell.
    pub address: Option<String>,
    pub is_connected: bool,
    /// Channels with it, of which none can be used while it is away.
    pub channels: u32,
    /// What of these is ours.
    pub local_msat: u64,
}

/// What can be sent and received now, and what could be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liquidity {
    pub can_send_msat: u64,
    pub can_receive_msat: u64,
    /// Balances that may be paid and open payouts.
    pub due_msat: u64,
    /// On the chain, without what is kept back.
    pub on_chain_msat: u64,
    pub advice: Vec<LiquidityAdvice>,
}

/// Something that an operator could do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiquidityAdvice {
    /// `open`, `fund`, `rebalance` or `reconnect`.
    pub action: String,
    pub amount_msat: u64,
    pub why: String,
    /// The command that does it, or begins it.
    pub command: String,
}

/// What a day of UTC has earned, cost and paid, by the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayYield {
    /// `2026-11-30`.
    pub date: String,
    /// Fees earned by routing for others.
    pub routing_income_msat: u64,
    /// Routing fees paid.
    pub routing_fees_msat: u64,
    /// Fees of transactions, and what channels cost.
    pub onchain_fees_msat: u64,
    /// What payouts have paid, without fees.
    pub paid_msat: u64,
    /// Earned less all fees.
    pub net_msat: i64,
}
