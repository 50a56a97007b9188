//! Blocks of ours as money.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a block has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RewardBlockState {
    Tracked,
    Accepted,
    Confirmed,
    Mature,
    Payable,
    Rejected,
    Orphaned,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardBlock {
    pub hash: String,
    pub height: u32,
    pub state: RewardBlockState,
    pub confirmations: u32,
    /// Until the coinbase may be spent: 100 less the confirmations, at least 0.
    pub blocks_to_maturity: u32,
    pub value_msat: u64,
    pub subsidy_msat: u64,
    pub fees_msat: u64,
    /// The account that gets the fees; none before the split.
    pub finder: Option<String>,
    pub found_at: Timestamp,
    pub split_at: Option<Timestamp>,
    /// What the split waits for, or why the block is lost.
    pub reason: Option<String>,
    /// Accounts that are paid; none before the split.
    pub accounts: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RewardBlockPage {
    pub blocks: Vec<RewardBlock>,
    /// How many there are in all.
    pub total: u64,
}

/// A signed report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockReport {
    pub hash: String,
    /// The canonical JSON, to the byte (docs/reference/block-report.md).
    pub report: String,
    /// A JWS over it.
    pub signature: String,
}

/// Which part of a window's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowPageQuery {
    pub hash: String,
    /// Its entries only; none for all.
    #[serde(default)]
    pub account: Option<String>,
    /// As the page before named it; none for the first.
    pub cursor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowPage {
    /// Lines as the reference defines them.
    pub lines: Vec<String>,
    /// None at the end.
    pub next: Option<String>,
}

/// Which part of a window's edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgePageQuery {
    pub hash: String,
    /// As the page before named it; none for the first.
    pub cursor: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgePage {
    /// Lines as the reference defines them, newest first.
    pub lines: Vec<String>,
    /// None at the end.
    pub next: Option<String>,
    /// Whether the books have them: not of an edge that is too large, nor of one from before they were kept; nor is there anything
    /// where a window has no edge.
    pub is_kept: bool,
}

/// Whose pseudonyms are in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesQuery {
    pub hash: String,
    /// The account after which the page begins; none for the first.
    pub after: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesPage {
    /// The finder's account.
    pub finder: String,
    /// In the order of accounts.
    pub names: Vec<ReportName>,
    /// None at the end.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportName {
    pub account: String,
    /// From which its pseudonyms are made, in hex.
    pub salt: String,
}
