//! How often miners are to send shares, and between which difficulties.

use serde::{Deserialize, Serialize};

/// What holds now. A difficulty of 1 is 2^32 hashes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VardiffSettings {
    pub shares_per_minute: f64,
    /// No job is easier, on lanes that have no bound of their own.
    pub min_difficulty: Option<f64>,
    /// No job is harder, on lanes that have no bound of their own.
    pub max_difficulty: Option<f64>,
    /// Which of these three an operator has set; the others are the configuration's.
    pub set: Vec<String>,
    /// Every lane, with the bounds that hold on it.
    pub lanes: Vec<DifficultyBounds>,
    /// Accounts with bounds of their own, which narrow those of the lane; at most 1,000.
    pub accounts: Vec<DifficultyBounds>,
    /// How many accounts have bounds of their own, listed here or not.
    pub accounts_total: u32,
}

/// Bounds of a lane or of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifficultyBounds {
    pub name: String,
    pub min_difficulty: Option<f64>,
    pub max_difficulty: Option<f64>,
}

/// What to change; what is not given stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VardiffChange {
    /// Only the bounds of this account.
    pub account: Option<String>,
    pub shares_per_minute: Option<f64>,
    pub min_difficulty: Option<f64>,
    pub max_difficulty: Option<f64>,
    /// Forget first what was set before.
    pub reset: bool,
    /// Only say what would hold.
    pub dry_run: bool,
}

/// What holds after a change, or would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VardiffChanged {
    pub settings: VardiffSettings,
    /// Open channels that it is for. Their next jobs heed it; no job that is out changes.
    pub channels: u32,
}
