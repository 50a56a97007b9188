//! Accounts: whose money it is, and where it goes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountQuery {
    /// `miner:`, `node:` or none for all.
    pub prefix: Option<String>,
    pub after: Option<String>,
    /// 0 and more than 500 mean 500.
    #[serde(default)]
    pub limit: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountPage {
    pub accounts: Vec<Account>,
    pub next: Option<String>,
}

/// A miner's account, a node or a reserve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Account {
    /// `miner:NAME`, `node:ID`, `reserve:node-network` or `treasury`.
    pub name: String,
    /// `name`, `address`, `lightning_address`, `node` or `reserve`.
    pub kind: String,
    pub immature_msat: i64,
    pub payable_msat: i64,
    pub in_payouts_msat: i64,
    pub paid_msat: i64,
    pub destination: Option<Destination>,
    /// A change that is not in force yet.
    pub pending_destination: Option<Destination>,
    /// Whether somebody has proved that it is his.
    pub is_claimed: bool,
    /// Why it is not paid, in words.
    pub held_reason: Option<String>,
    /// What the pool's shares say that it earned on average: of S - P by work.
    pub expected_msat: Option<i64>,
    /// What it was credited for its work: without the fees of the blocks that it found.
    pub realised_msat: Option<i64>,
    /// Realised over expected.
    pub luck_ratio: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DestinationKind {
    LightningAddress,
    NodeInvoices,
    Bolt12Offer,
    /// Whoever has its secret part draws by invoice.
    DrawingKey,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Destination {
    pub kind: DestinationKind,
    /// `user@domain`, a node id, an offer, or an Ed25519 key in hex.
    pub text: String,
    pub set_at: Timestamp,
    /// When it counts, after the cooling-off period.
    pub active_from: Timestamp,
    /// The number of the change; the next proof has to have a higher one.
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementQuery {
    pub name: String,
    /// Lines before this entry; none for the newest.
    pub before: Option<u64>,
    #[serde(default)]
    pub limit: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub name: String,
    /// Newest first.
    pub lines: Vec<StatementLine>,
    pub next_before: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    pub entry: u64,
    pub at: Timestamp,
    /// `split`, `maturity`, `reversal`, `payout_open`, ...
    pub kind: String,
    /// `immature` or `payable`.
    pub book: String,
    pub amount_msat: i64,
    pub balance_msat: i64,
    pub block: Option<String>,
    pub payout: Option<u64>,
    pub note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofRequest {
    pub name: String,
    pub block: String,
}

/// Canonical JSON of the proof (docs/reference/block-report.md) beside the report it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountProofAnswer {
    pub proof: String,
    pub report: super::BlockReport,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateAccountRequest {
    pub name: String,
    /// An Ed25519 key in hex, or none for a claim token.
    pub owner_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimToken {
    pub name: String,
    /// Shown once; the books keep its hash.
    pub token: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequest {
    pub name: String,
    pub token: String,
    /// The key that changes are signed with from now on, hex.
    pub owner_key: String,
}

impl std::fmt::Debug for ClaimRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimRequest")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Another key for an account that has an owner: his is lost, or is not his alone any more. Two operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceOwnerKeyRequest {
    pub name: String,
    /// The new one, hex.
    pub owner_key: String,
    pub reason: String,
}

/// Takes a destination back, so that nothing is paid there. Two operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelDestinationRequest {
    pub name: String,
    /// Which one: the number of its change.
    pub seq: u64,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDestinationRequest {
    pub name: String,
    pub kind: DestinationKind,
    pub text: String,
    pub seq: u64,
    /// `UTC` of the signed text, seconds since 1970.
    pub until: i64,
    /// BIP-322 signature in base64 for an address, Ed25519 signature in hex for an owner's key.
    pub signature: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationChanged {
    pub name: String,
    pub previous: Option<Destination>,
    pub destination: Destination,
}
