//! hh-translator as an operator sees it.

mod ban;
mod downstream;
mod lane;
mod upstream;

pub use ban::{AddressBan, AddressBanPage, BanAddress, BannedAddress, UnbanAddress};
pub use downstream::{
    DownstreamDetail, DownstreamPage, DownstreamQuery, DownstreamSelector, KickDownstreams,
    KickedDownstreams,
};
pub use lane::{DifficultyClass, LaneDetail, PauseLane};
pub use upstream::{
    SwitchUpstream, SwitchedLane, SwitchedUpstream, Upstream, UpstreamState, UpstreamTest,
};

use super::{Hello, JournalPage, JournalQuery, LinkStatus, ShareCounts};
use crate::ApiError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Answered on hh-translator's sockets.
#[tarpc::service]
pub trait Translator {
    /// Who answers.
    async fn hello() -> Hello;
    /// One look at everything.
    async fn status() -> TranslatorStatus;
    /// The miners that match.
    async fn downstreams(query: DownstreamQuery) -> DownstreamPage;
    /// One miner, by its id.
    async fn downstream(id: u64) -> Result<DownstreamDetail, ApiError>;
    /// Closes the connections of miners; they may come back. Refused on a view socket.
    async fn kick_downstreams(request: KickDownstreams) -> Result<KickedDownstreams, ApiError>;
    /// Keeps an address or a range out, over restarts, and closes what is open of it. Refused on a view socket.
    async fn ban(request: BanAddress) -> Result<BannedAddress, ApiError>;
    /// Lifts a ban. Refused on a view socket.
    async fn unban(request: UnbanAddress) -> Result<AddressBan, ApiError>;
    /// The bans that hold.
    async fn bans() -> AddressBanPage;
    /// All lanes.
    async fn lanes() -> Vec<LaneDetail>;
    /// One lane, by its name.
    async fn lane(name: String) -> Result<LaneDetail, ApiError>;
    /// Lets no new connection in on a lane, or all again; who is connected stays. A restart forgets it. Refused on a view socket.
    async fn pause_lane(request: PauseLane) -> Result<LaneDetail, ApiError>;
    /// The upstreams of every lane, the preferred one first.
    async fn upstreams() -> Vec<Upstream>;
    /// Connects to an upstream and puts it before all others. Refused on a view socket.
    async fn switch_upstream(request: SwitchUpstream) -> Result<SwitchedUpstream, ApiError>;
    /// Connects to one upstream, or to all, beside those in use, and closes again. Refused on a view socket.
    async fn test_upstreams(address: Option<String>) -> Result<Vec<UpstreamTest>, ApiError>;
    /// Lines of the journal of changes.
    async fn journal(query: JournalQuery) -> Result<JournalPage, ApiError>;
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
    /// Of each lane.
    #[serde(default)]
    pub credentials: Vec<LaneCredential>,
    /// Of the aggregated lanes, the easiest of each first; those that nobody is in are left out.
    #[serde(default)]
    pub classes: Vec<DifficultyClass>,
}

/// Through which node the pool takes a lane's work to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneCredential {
    pub lane: String,
    /// The Hyper Node, or `core` where the pool has taken no credential.
    pub node: String,
    /// When the credential ends that the pool has taken; none for `core`.
    pub until_at: Option<Timestamp>,
    /// Why it is `core`; none where no credential is configured.
    pub reason: Option<String>,
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
    /// No new connection is let in.
    #[serde(default)]
    pub paused: bool,
    /// Its miners share channels of the pool.
    #[serde(default)]
    pub aggregated: bool,
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
