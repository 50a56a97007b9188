//! The treasury as a whole.

use super::RewardBlock;
use crate::api::LinkStatus;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreasuryStatus {
    /// `main`, `testnet4`, `signet` or `regtest`.
    pub chain: String,
    pub bitcoin_nodes: Vec<LinkStatus>,
    /// The pool's ledger, which is read only.
    pub pool_ledger: LinkStatus,
    /// The books.
    pub books: LinkStatus,
    pub lightning: LinkStatus,
    /// `ldk-node`, `lnd` or `cln`.
    pub backend: String,
    pub height: Option<u32>,
    pub totals: Option<Totals>,
    pub balances: Option<Balances>,
    /// Why nothing is paid, if payouts are frozen.
    pub freeze: Option<Freeze>,
    pub last_block: Option<RewardBlock>,
    /// Payouts that are neither settled nor ended.
    pub payouts_open: u64,
    /// Of these, those that wait for a person.
    pub payouts_waiting_for_operator: u64,
    pub last_verified_at: Option<Timestamp>,
    /// Hex of the Ed25519 key that signs the reports.
    pub report_public_key: String,
    /// Where blocks have to pay: the pool's `coinbase_reward_address`.
    pub reward_address: String,
}

/// The sums of the books. They add up: wallet + coinbase = immature + payable + in payouts + reserve + suspense + capital + treasury -
/// withdrawn - loss - fees + income.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Matured money as the books have it.
    pub wallet_msat: i64,
    /// Coinbases that are not mature.
    pub coinbase_msat: i64,
    /// What miners, nodes and reserves have of these.
    pub immature_msat: i64,
    /// What miners and nodes may be paid.
    pub payable_msat: i64,
    /// What open payouts hold.
    pub in_payouts_msat: i64,
    /// Payable to nodes by an approved distribution only.
    pub node_reserve_msat: i64,
    /// The treasury's own.
    pub treasury_msat: i64,
    pub suspense_msat: i64,
    pub capital_msat: i64,
    /// What the operator has withdrawn.
    #[serde(default)]
    pub withdrawn_msat: i64,
    pub loss_msat: i64,
    pub fees_msat: i64,
    pub income_msat: i64,
    /// Paid out since the start.
    pub paid_msat: i64,
}

/// What may be paid by itself, and how much of that is left today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Smaller balances carry over.
    pub minimum_msat: u64,
    /// Between two payouts to one account.
    pub interval_seconds: u64,
    /// Most that one payout has.
    pub max_payout_msat: u64,
    /// Payouts of more than this wait for two operators.
    pub approval_above_msat: u64,
    /// Most that is sent in any 24 hours, with what routing may cost.
    pub max_day_msat: u64,
    /// Payouts of the last 24 hours with what routing them may cost.
    pub used_day_msat: u64,
    pub left_day_msat: u64,
    /// When the first of these counts no more; none where there are none.
    pub day_frees_at: Option<Timestamp>,
    /// When none of them does.
    pub day_resets_at: Option<Timestamp>,
    /// What routing one may cost: this much,
    pub max_fee_base_msat: u64,
    /// and so many parts per million of the amount.
    pub max_fee_ppm: u32,
    /// Most blocks for which a payment may lock our money.
    pub cltv_limit_blocks: u32,
    /// How long a new destination has to be known before it is paid to.
    pub cooling_off_seconds: u64,
    /// What the rules of channels leave on the chain.
    pub channel_reserve_sat: u64,
}

/// What the wallet has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balances {
    pub on_chain_spendable_msat: u64,
    pub on_chain_unconfirmed_msat: u64,
    /// Coinbase outputs that are not mature.
    pub on_chain_immature_msat: u64,
    /// Kept back for closing anchor channels.
    pub anchor_reserve_msat: u64,
    /// Our side of channels, after commitment fees and channel reserves.
    pub channels_msat: u64,
    /// Of channels that are being closed.
    pub closing_msat: u64,
    /// Outgoing HTLCs that are pending.
    pub htlcs_outgoing_msat: u64,
}

/// Payouts stand still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    pub reason: String,
    /// Who froze them; `hh-treasury` itself where it found something wrong.
    pub actor: String,
    pub since_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeRequest {
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfreezeRequest {
    pub reason: String,
}

/// What a look at the books and the wallet found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    pub at: Timestamp,
    pub is_solvent: bool,
    /// In the order of their weight; empty where all is well.
    pub findings: Vec<Finding>,
    pub totals: Totals,
    pub balances: Option<Balances>,
    /// What the wallet has more than the books, coinbases that are not mature left out; none where it does not answer. A fee or a
    /// payment that it knows and the books do not yet is in it.
    #[serde(default)]
    pub difference_msat: Option<i64>,
    /// Entries that were added up.
    pub entries: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether it freezes payouts.
    pub is_grave: bool,
    pub what: String,
    pub fix: String,
}

/// The wallet's outgoing payments beside the attempts of payouts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileReport {
    pub matched: u64,
    pub unmatched: Vec<Unmatched>,
    /// Attempts that the wallet does not know and that are not concluded.
    pub open_attempts: u64,
    /// Whether payouts are frozen until this is empty: after a restore.
    pub is_required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmatched {
    pub payment_hash: String,
    pub amount_msat: u64,
    pub state: String,
    pub at: Option<Timestamp>,
    /// What the books say of it, if they know it: other than that it was sent.
    #[serde(default)]
    pub books: Option<String>,
}

/// Capital that the operator brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositRequest {
    /// What is asked for again with the same id is booked once; 1 to 64 bytes.
    pub request_id: String,
    pub amount_msat: u64,
    pub note: String,
}

/// A part of the reserve for nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistributionRequest {
    /// Node ids and amounts.
    pub parts: Vec<(String, u64)>,
    pub reason: String,
}

/// Whose a payment of the wallet's history was that the books don't know, or think to have ended. Two operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptRequest {
    /// Hex, as `reconcile` shows it.
    pub payment_hash: String,
    /// `miner:NAME` or `node:ID`.
    pub payee: String,
    /// How one knows.
    pub evidence: String,
}

/// Payments of the wallet's history that were to no payee: from before hh-treasury had it, to itself, or an operator's own. Two
/// operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdoptForeignRequest {
    /// Hex, as `reconcile` shows them; 1 to 500.
    pub payment_hashes: Vec<String>,
    /// How one knows.
    pub evidence: String,
}
