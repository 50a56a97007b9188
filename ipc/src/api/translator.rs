//! hh-translator as an operator sees it.

use super::{Hello, LinkStatus, ShareCounts};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Answered on hh-translator's sockets.
#[tarpc::service]
pub trait Translator {
    /// Who answers.
    async fn hello() -> Hello;
    /// One look at everything.
    async fn status() -> TranslatorStatus;
}

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TranslatorStatus {
    pub lanes: Vec<TranslatorLane>,
    pub upstreams: Vec<LinkStatus>,
    /// At most 1,000 of the connected miners, oldest first.
    pub miners: Vec<DownstreamMiner>,
    pub connections: u32,
    /// Answered to miners since the start; `accepted` means that the pool has said so.
    pub shares: ShareCounts,
    /// Forwarded and not yet settled by the pool.
    pub shares_in_flight: u64,
    /// Answered with an error because the upstream went away before it settled them.
    pub shares_unsettled: u64,
    /// What SV2 miners pin, base58check; none where no key is configured.
    #[serde(default)]
    pub authority_public_key: Option<String>,
}

/// A listener with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranslatorLane {
    pub name: String,
    pub listen_address: String,
    pub connections: u32,
    /// As in the configuration: `sv1`, `sv1-tls` or `sv2`.
    #[serde(default = "sv1")]
    pub protocol: String,
}

/// What a translator speaks that does not say.
fn sv1() -> String {
    "sv1".to_owned()
}

/// One SV1 connection, or one channel of an SV2 connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DownstreamMiner {
    pub id: u64,
    pub peer: String,
    pub lane: String,
    /// That of its lane.
    #[serde(default = "sv1")]
    pub protocol: String,
    /// As the miner gave it; empty before it authorized.
    pub user_name: String,
    pub user_agent: String,
    pub connected_at: Timestamp,
    /// SV1 difficulty (1 = 00000000ffff0000...) that it was told last.
    pub difficulty: f64,
    pub version_rolling: bool,
    /// Of accepted shares over the last 10 minutes, or since it connected if that is less.
    #[serde(default)]
    pub hashrate_10m_hs: f64,
    pub shares: ShareCounts,
    pub last_share_at: Option<Timestamp>,
}
