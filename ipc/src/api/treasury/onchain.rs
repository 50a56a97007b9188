//! The wallet's money on the chain, and what of it the operator sends away. Amounts are whole satoshi.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the wallet has on the chain, as far as it tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnChain {
    /// Unspent outputs; none where the wallet tells only sums.
    pub outputs: Vec<WalletOutput>,
    /// Why there is no list, if there is none.
    pub no_list_because: Option<String>,
    pub balances: super::Balances,
    /// Coinbases of ours that are not mature, as hh-treasury follows them.
    pub immature: Vec<ImmatureCoinbase>,
    /// What the operator may withdraw, before the fee.
    pub free_sat: u64,
    /// What that is the least of.
    pub limits: WithdrawalLimits,
}

/// What may be withdrawn is the least of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawalLimits {
    /// The operator's own by the books.
    pub own_sat: u64,
    /// What can be spent beyond what is owed and what nobody has explained.
    pub spare_sat: u64,
    /// What can be spent on the chain beside what stays there.
    pub on_chain_sat: u64,
    /// What stays on the chain for channels that close.
    pub stays_sat: u64,
    /// Withdrawals of more than this need two operators.
    pub approval_above_sat: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletOutput {
    /// `TXID:INDEX`.
    pub outpoint: String,
    pub address: Option<String>,
    pub amount_sat: u64,
    /// None while no block has it.
    pub height: Option<u32>,
    pub confirmations: u32,
    pub is_immature: bool,
    /// Kept for a transaction that is being made.
    pub is_reserved: bool,
}

/// A coinbase that pays us and can't be spent yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImmatureCoinbase {
    pub block: String,
    pub height: u32,
    pub amount_sat: u64,
    /// The chain's height from which on it can be spent.
    pub mature_at_height: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawRequest {
    /// Made by the caller, 1 to 64 bytes: what is asked for again with the same id is sent once. A dry run needs none.
    #[serde(default)]
    pub request_id: String,
    pub address: String,
    /// None: all that may leave, without the most that the fee can be.
    pub amount_sat: Option<u64>,
    /// None: what Bitcoin Core estimates.
    pub fee_rate_sat_per_vb: Option<u64>,
    pub dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithdrawalState {
    /// Nothing was done.
    Planned,
    /// Whether it was sent is not known; it is looked for.
    Open,
    /// It waits for a block.
    Sent,
    Settled,
    /// Nothing was sent, or it is not waited for any more.
    Failed,
}

/// Money of the operator's own that leaves the wallet on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Once it is in the books.
    pub id: Option<u64>,
    pub request_id: Option<String>,
    pub address: String,
    pub amount_sat: u64,
    /// What the fee was expected to be at most.
    pub max_fee_sat: u64,
    /// While it is planned.
    pub fee_rate_sat_per_kvb: Option<u64>,
    /// While it is planned: whether the rate was given or estimated; else it is the least that is relayed.
    pub is_rate_known: Option<bool>,
    pub needs_approval: bool,
    pub state: WithdrawalState,
    /// What it has cost, once a block has it.
    pub fee_sat: Option<u64>,
    pub txid: Option<String>,
    pub block_height: Option<u32>,
    pub opened_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Who asked for it: both, where two operators did.
    pub actor: Option<String>,
    /// Why it failed, or what it waits for.
    pub reason: Option<String>,
    /// While it is planned: what it has to be within.
    pub limits: Option<WithdrawalLimits>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseWithdrawalRequest {
    pub id: u64,
    pub reason: String,
    /// Only says whether it may be closed.
    pub dry_run: bool,
}
