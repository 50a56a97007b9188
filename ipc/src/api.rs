//! The services, a file per daemon, and the types that several of them use.

pub mod core;
mod journal;
pub mod node_agent;
pub mod pool;
pub mod template_provider;
pub mod translator;
pub mod treasury;

pub use journal::{JournalPage, JournalQuery};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who answers on a socket. The first call of every client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL`] of the daemon.
    pub protocol: u32,
    /// Program name, such as `hh-pool`.
    pub daemon: String,
    /// Package version, such as `0.1.0`.
    pub version: String,
    pub pid: u32,
    pub started_at: Timestamp,
    /// True on a `view.sock`: methods that change something are refused.
    pub read_only: bool,
}

/// A connection that a daemon keeps to a service it needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// `HOST:PORT`, a URL or the path of a socket.
    pub address: String,
    pub state: LinkState,
    /// When `state` was entered.
    pub since_at: Timestamp,
    /// Why it is down, in words; the last reason while it is up again.
    pub last_error: Option<String>,
}

/// What is known of a [`LinkStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    Connecting,
    Up,
    Down,
}

/// Shares counted since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareCounts {
    pub accepted: u64,
    /// By reason: the error codes of the SV2 specification, such as `stale-share`.
    pub rejected: std::collections::BTreeMap<String, u64>,
}

impl ShareCounts {
    /// Rejected shares of all reasons.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}
