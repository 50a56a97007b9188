//! The treasury's books, entry by entry.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerQuery {
    /// Entries before this one; none for the newest.
    pub before: Option<u64>,
    /// At most so many, and never more than 1,000; 0 for as many as there may be.
    #[serde(default)]
    pub limit: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerPage {
    /// Newest first.
    pub entries: Vec<LedgerEntry>,
    pub next_before: Option<u64>,
}

/// One thing that happened to money. The changes of an entry sum to zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    pub entry: u64,
    pub at: Timestamp,
    /// `split`, `maturity`, `reversal`, `payout_open`, ...
    pub kind: String,
    pub block: Option<String>,
    pub payout: Option<u64>,
    /// The entry that it takes back.
    pub reverses: Option<u64>,
    pub note: Option<String>,
    pub changes: Vec<BookChange>,
}

/// What an entry changed in one book: more of an asset or an expense is positive, more that is owed or earned negative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookChange {
    /// `wallet`, `coinbase`, `immature`, `balance`, `payout`, `suspense`, `capital`, `fee`, `income` or `loss`.
    pub book: String,
    /// How many of its accounts.
    pub accounts: u64,
    /// Which one, where it is one: a payee, a block's hash, a payout's number, a kind of fee.
    pub name: Option<String>,
    pub amount_msat: i64,
}
