//! Keeping addresses out. Accounts are the pool's to keep out.

use super::KickedDownstreams;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Whom to keep out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanAddress {
    /// An address, or a range such as `192.0.2.0/24`.
    pub address: String,
    /// How long; until it is lifted where it is not given.
    #[serde(default)]
    pub seconds: Option<u64>,
    /// For those who read the list.
    #[serde(default)]
    pub reason: Option<String>,
    /// Only say what would end.
    #[serde(default)]
    pub dry_run: bool,
}

/// Whom to let in again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnbanAddress {
    /// As it was banned.
    pub address: String,
    /// Only say which ban would be lifted.
    #[serde(default)]
    pub dry_run: bool,
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressBan {
    /// An address or a range.
    pub address: String,
    pub reason: String,
    /// The translator made it for misbehaviour; such a one ends with the process.
    pub automatic: bool,
    pub since_at: Timestamp,
    /// None until it is lifted.
    pub until_at: Option<Timestamp>,
}

/// A ban that was made, or would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BannedAddress {
    pub ban: AddressBan,
    /// What ends by it.
    pub kicked: KickedDownstreams,
}

/// The bans that hold, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressBanPage {
    /// At most 1,000.
    pub bans: Vec<AddressBan>,
    /// How many there are, listed here or not.
    pub total: u32,
}
