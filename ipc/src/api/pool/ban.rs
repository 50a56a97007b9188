//! Keeping addresses and accounts out.

use super::Kicked;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Whom a ban is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BanTarget {
    /// An address, or a range such as `192.0.2.0/24`: no connection from it is let in.
    Address(String),
    /// An account: no channel is opened for it.
    Account(String),
}

/// Whom to keep out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanRequest {
    pub target: BanTarget,
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
pub struct UnbanRequest {
    pub target: BanTarget,
    /// Only say which ban would be lifted.
    #[serde(default)]
    pub dry_run: bool,
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    pub target: BanTarget,
    pub reason: String,
    /// The pool made it for misbehaviour; such a one ends with the process.
    pub automatic: bool,
    pub since_at: Timestamp,
    /// None until it is lifted.
    pub until_at: Option<Timestamp>,
}

/// A ban that was made, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Banned {
    pub ban: Ban,
    /// What ends by it.
    pub kicked: Kicked,
}

/// The bans that hold, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanPage {
    /// At most 1,000.
    pub bans: Vec<Ban>,
    /// How many there are, listed here or not.
    pub total: u32,
}
