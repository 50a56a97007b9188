//! Payouts and their attempts (design: `queued -> resolving -> ready -> paying -> settled | retry_wait | needs_operator`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutState {
    WaitingForApproval,
    Queued,
    Resolving,
    Ready,
    Paying,
    RetryWait,
    NeedsOperator,
    Settled,
    Cancelled,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    Prepared,
    Dispatched,
    InFlight,
    Unknown,
    Settled,
    FailedFinal,
    Abandoned,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Payout {
    pub id: u64,
    /// `miner:NAME` or `node:ID`.
    pub payee: String,
    pub amount_msat: u64,
    /// What it cost to send; none before it is settled.
    pub fee_msat: Option<u64>,
    pub state: PayoutState,
    /// In words: why it waits, or failed.
    pub reason: Option<String>,
    /// What has to happen before it goes on, with the way out; none where it goes on by itself at once, or has ended.
    #[serde(default)]
    pub waiting_for: Option<String>,
    pub destination: String,
    pub attempts: u32,
    pub created_at: Timestamp,
    pub next_try_at: Option<Timestamp>,
    pub settled_at: Option<Timestamp>,
    /// From dispatch to preimage.
    pub latency_seconds: Option<f64>,
    pub payment_hash: Option<String>,
    /// The receipt.
    pub preimage: Option<String>,
    /// Who has approved it so far.
    pub approvals: Vec<String>,
    pub is_held: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub id: u64,
    pub state: AttemptState,
    pub payment_hash: String,
    pub invoice: String,
    pub amount_msat: u64,
    pub max_fee_msat: u64,
    pub fee_msat: Option<u64>,
    /// The wallet that was asked.
    pub wallet_node_id: String,
    pub prepared_at: Timestamp,
    pub dispatched_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    pub failure: Option<String>,
    pub evidence: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutEvent {
    pub at: Timestamp,
    pub what: String,
    pub actor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PayoutDetail {
    pub payout: Payout,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
    pub history: Vec<PayoutEvent>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutQuery {
    pub payee: Option<String>,
    /// None for all.
    pub states: Option<Vec<PayoutState>>,
    /// Those with a lower id.
    pub before: Option<u64>,
    /// 0 and more than 500 mean 500.
    #[serde(default)]
    pub limit: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PayoutPage {
    pub payouts: Vec<Payout>,
    pub next_before: Option<u64>,
}

/// A run by hand. Without payees: all that the rules would pay, whatever their interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Made by the caller; the same id opens nothing twice.
    pub request_id: String,
    pub payees: Vec<String>,
    /// Pays balances below the minimum too, where payees are named.
    pub below_minimum: bool,
    /// Nothing is opened where the plan comes to more: what was shown and confirmed is what is paid at most.
    #[serde(default)]
    pub total_msat_max: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutPlan {
    pub planned: Vec<PlannedPayout>,
    /// Who is left out, and why.
    pub left_out: Vec<(String, String)>,
    pub total_msat: u64,
    /// What the day's limit still allows, this plan not counted.
    pub day_limit_left_msat: Option<u64>,
    pub is_frozen: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPayout {
    /// Once it is opened.
    pub id: Option<u64>,
    pub payee: String,
    pub amount_msat: u64,
    pub destination: String,
    pub needs_approval: bool,
    /// What sending it may cost at most; none where that is not known before.
    #[serde(default)]
    pub max_fee_msat: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRequest {
    /// A payee, or `payout:ID`.
    pub target: String,
    pub is_held: bool,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    pub id: u64,
    pub reason: String,
}

/// Over exactly what was seen: another amount or destination by now is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApproveRequest {
    pub id: u64,
    pub amount_msat: u64,
    pub destination: String,
    /// The text of an [`ApprovalDraft`] with an operator's signature, where hh-treasury wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedApproval>,
}

/// What an operator signs to approve a payout, where hh-treasury knows operators by their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalDraft {
    /// JSON: network, chain, payout, amount, destination and end.
    pub text: String,
    /// The SSH keys whose signatures count.
    pub keys: Vec<String>,
}

/// That text, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedApproval {
    /// To the byte.
    pub text: String,
    /// Of an SSH key over it, armored.
    pub signature: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseFailedRequest {
    pub id: u64,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitInvoiceRequest {
    pub node: String,
    pub invoice: String,
    /// Ed25519, hex, by the node's key over `Hyper Hash Network CHAIN: node NODE invoice INVOICE`.
    pub signature: String,
}

/// What an account may be paid, or a part of it, by an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawRequest {
    pub name: String,
    /// BOLT11, with an amount.
    pub invoice: String,
    /// Ed25519, hex, by the account's drawing key over `Hyper Hash Network CHAIN: draw from ACCOUNT by invoice INVOICE`.
    pub signature: String,
}

/// What the books and the wallet know of a payment hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaymentTrack {
    pub payment_hash: String,
    /// What has tried to pay it, or is to; none where the books don't know the hash.
    pub payout: Option<PayoutDetail>,
    pub wallet: WalletSight,
}

/// What the wallet says of a payment hash now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletSight {
    pub state: WalletSightState,
    pub fee_msat: Option<u64>,
    /// In words: why it failed, or why nothing can be concluded.
    pub note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalletSightState {
    Settled,
    InFlight,
    Failed,
    /// It has never had it, or never sent it.
    Absent,
    /// It does not know it, and may have sent it all the same.
    Unclear,
    /// It does not answer, or another wallet does.
    NoAnswer,
}
