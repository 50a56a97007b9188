//! hh-pool as an operator sees it.

mod ban;
mod hyper_node;
mod job;
mod kick;
mod retire;
mod round;
mod tail;
mod vardiff;
mod worker;

pub use ban::{Ban, BanPage, BanRequest, BanTarget, Banned, UnbanRequest};
pub use hyper_node::{HyperNode, HyperNodePage, NodeRevocation, RevokeNodeRequest, RevokedNode};
pub use job::{
    CoinbaseDetail, CoinbaseOutput, CurrentJob, ExtranonceLayout, FutureTemplate, JobChannels,
    ScriptSigPart,
};
pub use kick::{KickRequest, Kicked, KickedMiner, MinerSelector};
pub use retire::{RetireRequest, Retired};
pub use round::{
    LaggingPool, Round, RoundAccount, RoundDetail, RoundPage, RoundSelector, RoundSummary,
};
pub use tail::{ShareCursor, ShareEvent, SharePage, ShareQuery};
pub use vardiff::{DifficultyBounds, VardiffChange, VardiffChanged, VardiffSettings};
pub use worker::{Worker, WorkerPage, WorkerQuery};

use super::{Hello, JournalPage, JournalQuery, LinkStatus, ShareCounts};
use crate::ApiError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Answered on hh-pool's sockets.
#[tarpc::service]
pub trait Pool {
    /// Who answers.
    async fn hello() -> Hello;
    /// One look at everything.
    async fn status() -> PoolStatus;
    /// What miners work on now.
    async fn current_job() -> Result<CurrentJob, ApiError>;
    /// The coinbase of it.
    async fn coinbase() -> Result<CoinbaseDetail, ApiError>;
    /// The channels that are open now, by account and worker.
    async fn miners(query: MinerQuery) -> MinerPage;
    /// One open channel.
    async fn miner(id: u32) -> Result<Miner, ApiError>;
    /// Closes connections or channels, once what they have accepted is answered. Only on the control socket.
    async fn kick(request: KickRequest) -> Result<Kicked, ApiError>;
    /// Keeps an address, a range or an account out, over restarts, and ends what is open of it. Only on the control socket.
    async fn ban(request: BanRequest) -> Result<Banned, ApiError>;
    /// Lifts a ban. Only on the control socket.
    async fn unban(request: UnbanRequest) -> Result<Ban, ApiError>;
    /// The bans that hold.
    async fn bans() -> BanPage;
    /// The Hyper Nodes whose credentials are taken, or were.
    async fn hyper_nodes() -> HyperNodePage;
    /// Lets a node in no more, over restarts, and ends its connections. Only on the control socket.
    async fn revoke_node(request: RevokeNodeRequest) -> Result<RevokedNode, ApiError>;
    /// How often miners are to send shares, and between which difficulties.
    async fn vardiff() -> VardiffSettings;
    /// Changes that, and keeps it over restarts. Only on the control socket.
    async fn set_vardiff(change: VardiffChange) -> Result<VardiffChanged, ApiError>;
    /// Frees the server id of another pool on the ledger, one that will not come back. Only on the control socket.
    async fn retire(request: RetireRequest) -> Result<Retired, ApiError>;
    /// The workers of accounts, connected or not.
    async fn workers(query: WorkerQuery) -> Result<WorkerPage, ApiError>;
    /// Shares as they come: those after a cursor, or the last ones.
    async fn shares_since(query: ShareQuery) -> Result<SharePage, ApiError>;
    /// Shares since the start and in the ledger.
    async fn share_stats() -> Result<ShareStats, ApiError>;
    /// What operators have changed, as the daemon's journal has it.
    async fn journal(query: JournalQuery) -> Result<JournalPage, ApiError>;
    /// The newest blocks of ours, newest first; at most `limit` and never more than 1,000.
    async fn blocks(limit: u32) -> Result<Vec<Block>, ApiError>;
    /// One block of ours; of several at one height the newest.
    async fn block(block: BlockSelector) -> Result<Block, ApiError>;
    /// The round that goes on, and the last ones that have ended, newest first; at most `limit` of these and never more than
    /// 1,000.
    async fn rounds(limit: u32) -> Result<RoundPage, ApiError>;
    /// One round.
    async fn round(round: RoundSelector) -> Result<RoundDetail, ApiError>;
}

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// `main`, `testnet4`, `signet` or `regtest`.
    pub chain: String,
    pub authority_public_key: String,
    pub server_id: u16,
    pub lanes: Vec<Lane>,
    pub template_providers: Vec<LinkStatus>,
    /// The address of the one whose work miners are given; none while no provider has any.
    #[serde(default)]
    pub active_template_provider: Option<String>,
    /// Bitcoin Core nodes that blocks are submitted to beside the template provider.
    pub nodes: Vec<LinkStatus>,
    /// The work that miners have now; none before the first template.
    pub work: Option<CurrentWork>,
    pub connections: u32,
    pub channels: u32,
    /// Of accepted shares over the last 10 minutes, or since the start if that is less.
    pub hashrate_10m_hs: f64,
    pub shares: ShareCounts,
    pub share_log: ShareLogStatus,
    pub ledger: LedgerStatus,
    /// Since the start; `blocks` has all of them.
    pub blocks_found: u64,
    pub last_block: Option<Block>,
    #[serde(default)]
    pub door: DoorStatus,
}

/// Who is at the door, and who was turned away from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorStatus {
    /// Connections that are not set up yet.
    pub half_open: u32,
    /// Connections that were not let in since the start, by reason: `banned`, `over_limit`, `over_rate`.
    pub turned_away: std::collections::BTreeMap<String, u64>,
    /// Connections that were let in and ended by what they did or did not do, by reason: `displaced`, `handshake_failed`,
    /// `not_set_up`, `protocol_error`, `share_flood`, `slow_reader`.
    pub dropped: std::collections::BTreeMap<String, u64>,
    /// Bans that hold.
    pub bans: u32,
}

/// A listener with its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub name: String,
    pub listen_address: String,
    pub connections: u32,
    pub channels: u32,
    pub hashrate_10m_hs: f64,
}

/// What is being mined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentWork {
    /// Height of the block being mined.
    pub height: u32,
    /// Block being built on, as Bitcoin Core prints it.
    pub prev_hash: String,
    pub template_id: u64,
    pub job_id: u32,
    pub value_sat: u64,
    pub network_difficulty: f64,
    pub received_at: Timestamp,
}

/// The durable log that every accepted share is in before it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareLogStatus {
    /// Hex of the log's random id.
    pub epoch: String,
    /// Last record on disk; 0 while there is none.
    pub durable_seq: u64,
    /// Last record in the ledger.
    pub shipped_seq: u64,
    /// Why shares are not acknowledged at present.
    pub last_error: Option<String>,
    /// Why they soon will not be, unless something is done: there is no room for the next segment.
    #[serde(default)]
    pub warning: Option<String>,
    /// Records that are not on disk yet: more than a few hundred only while the disk fails.
    #[serde(default)]
    pub waiting_records: u64,
    /// What it takes of the disk.
    #[serde(default)]
    pub disk_bytes: u64,
    /// Records from this time on are kept, whether the ledger has them or not; none while all are.
    #[serde(default)]
    pub kept_from_at: Option<Timestamp>,
    /// Records that the ledger lost when the log had let them go, since the daemon's start.
    #[serde(default)]
    pub lost: Option<LostRecords>,
}

impl ShareLogStatus {
    /// Durable records that are not in the ledger yet: a few seconds' while all is well.
    #[must_use]
    pub fn not_shipped(&self) -> u64 {
        self.durable_seq.saturating_sub(self.shipped_seq)
    }
}

/// Records of the share log that are nowhere any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRecords {
    pub first_seq: u64,
    pub last_seq: u64,
    /// They are not older than this; none where the ledger has nothing of the log.
    pub after: Option<Timestamp>,
    /// They are not younger than this.
    pub until: Option<Timestamp>,
}

/// The accounting database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// The file of the SQLite database; or words for the database on PostgreSQL.
    pub path: String,
    /// None while it takes what it is given.
    pub last_error: Option<String>,
    pub last_shipped_at: Option<Timestamp>,
    /// Time of the oldest durable record that is not in it yet; none while it is younger than a second or two.
    #[serde(default)]
    pub oldest_waiting_at: Option<Timestamp>,
}

/// Which miners to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinerQuery {
    #[serde(default)]
    pub account: Option<String>,
    /// Skip this many.
    #[serde(default)]
    pub offset: u32,
    /// At most this many; 0 and more than 1,000 mean 1,000.
    #[serde(default)]
    pub limit: u32,
}

/// A part of the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinerPage {
    pub miners: Vec<Miner>,
    /// How many match, listed here or not.
    pub total: u32,
}

/// One open channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Miner {
    /// Channel id; unique among the open channels of this pool.
    pub id: u32,
    pub account: String,
    pub worker: String,
    pub node: String,
    pub lane: String,
    pub peer: String,
    /// `standard` or `extended`.
    pub channel: String,
    /// Vendor, hardware and firmware as the device told them.
    pub device: String,
    pub connected_at: Timestamp,
    /// Of the job that was sent last.
    pub difficulty: f64,
    pub nominal_hashrate_hs: f64,
    /// Of accepted shares over the last minute and the last 10 minutes, or since the channel opened if that is less.
    pub hashrate_1m_hs: f64,
    pub hashrate_10m_hs: f64,
    pub shares: ShareCounts,
    pub last_share_at: Option<Timestamp>,
    /// Difficulty of the best accepted share.
    pub best_difficulty: f64,
}

/// Shares since the pool's start and in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareStats {
    pub since_start_at: Timestamp,
    pub since_start: ShareCounts,
    pub hashrate_1m_hs: f64,
    pub hashrate_10m_hs: f64,
    /// By account, most work first; at most 1,000.
    pub accounts: Vec<AccountShares>,
}

/// An account's sum over the whole ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountShares {
    pub account: String,
    pub shares: u64,
    /// Expected hashes, a decimal integer (it can pass 2^64).
    pub work: String,
    pub last_share_at: Option<Timestamp>,
}

/// Which block of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockSelector {
    Height(u32),
    /// As Bitcoin Core prints it.
    Hash(String),
}

/// A block that a miner of ours found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    pub height: u32,
    /// As Bitcoin Core prints it.
    pub hash: String,
    pub state: BlockState,
    /// The node's words, where it refused the block; what the chain did, where that left it.
    pub reason: Option<String>,
    /// 1 at the tip that miners build on; none where it is not accepted, or there is no work.
    pub confirmations: Option<u32>,
    pub account: String,
    pub worker: String,
    pub node: String,
    pub lane: String,
    pub found_at: Timestamp,
    pub value_sat: u64,
    pub paths: Vec<SubmissionPath>,
}

/// How far a block has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockState {
    Found,
    Submitted,
    Accepted,
    Rejected,
    Orphaned,
}

/// One of the ways by which a block was given to Bitcoin Core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmissionPath {
    /// `template-provider HOST:PORT` or `node URL`.
    pub path: String,
    /// `sent`, `accepted`, `duplicate`, or the node's reason.
    pub outcome: String,
    pub at: Timestamp,
}
