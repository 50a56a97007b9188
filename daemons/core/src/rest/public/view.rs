//! The shapes of what everybody sees, made of what the daemons say to operators: no account is in them.

use hh_ipc::api::core::{FleetNode, NodeState};
use hh_ipc::api::pool::PoolStatus;
use hh_ipc::api::treasury::{RewardBlock, RewardBlockState, TreasuryStatus};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// The pool at a glance.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PoolFigures {
    /// `main`, `testnet4`, `signet` or `regtest`.
    chain: String,
    /// Of accepted shares over the last 10 minutes, in hashes a second.
    hashrate_10m_hs: f64,
    connections: u32,
    channels: u32,
    /// Since the pool started.
    shares_accepted: u64,
    shares_rejected: u64,
    /// Found since the pool started.
    blocks_found: u64,
    /// Height of the block that is being mined; none before the first template.
    height: Option<u32>,
    network_difficulty: Option<f64>,
    /// Pins the pool for miners of Stratum V2.
    authority_public_key: String,
}

impl From<PoolStatus> for PoolFigures {
    fn from(status: PoolStatus) -> Self {
        let work = status.work.as_ref();
        Self {
            chain: status.chain,
            hashrate_10m_hs: status.hashrate_10m_hs,
            connections: status.connections,
            channels: status.channels,
            shares_accepted: status.shares.accepted,
            shares_rejected: status.shares.rejected_total(),
            blocks_found: status.blocks_found,
            height: work.map(|work| work.height),
            network_difficulty: work.map(|work| work.network_difficulty),
            authority_public_key: status.authority_public_key,
        }
    }
}

/// The treasury at a glance.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TreasuryFigures {
    chain: String,
    /// Hex of the Ed25519 key that signs the reports of blocks.
    report_public_key: String,
    /// Where blocks of ours pay.
    reward_address: String,
    /// Paid out since the start; none while the books don't answer.
    paid_msat: Option<i64>,
    /// What miners and nodes may be paid now.
    payable_msat: Option<i64>,
    /// What they have of blocks that are not mature.
    immature_msat: Option<i64>,
    /// Payable to nodes by an approved distribution only.
    node_reserve_msat: Option<i64>,
    is_frozen: bool,
}

impl From<TreasuryStatus> for TreasuryFigures {
    fn from(status: TreasuryStatus) -> Self {
        let totals = status.totals.as_ref();
        Self {
            chain: status.chain,
            report_public_key: status.report_public_key,
            reward_address: status.reward_address,
            paid_msat: totals.map(|totals| totals.paid_msat),
            payable_msat: totals.map(|totals| totals.payable_msat),
            immature_msat: totals.map(|totals| totals.immature_msat),
            node_reserve_msat: totals.map(|totals| totals.node_reserve_msat),
            is_frozen: status.freeze.is_some(),
        }
    }
}

/// A node that serves miners of others.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PublicNode {
    pub(super) id: String,
    /// `hhnode1...`: the key that signs its credentials.
    public_key: String,
    is_connected: bool,
    enrolled_at: Timestamp,
}

impl From<FleetNode> for PublicNode {
    fn from(node: FleetNode) -> Self {
        Self {
            id: node.id,
            public_key: node.public_key,
            is_connected: node.state == NodeState::Connected,
            enrolled_at: node.enrolled_at,
        }
    }
}

/// A block of ours.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PublicBlock {
    pub(super) hash: String,
    height: u32,
    state: RewardBlockState,
    confirmations: u32,
    /// What its coinbase pays us.
    value_msat: u64,
    subsidy_msat: u64,
    fees_msat: u64,
    found_at: Timestamp,
    /// From then on it has a report.
    pub(super) split_at: Option<Timestamp>,
    /// How many accounts are paid; none before the split.
    accounts: Option<u32>,
}

impl From<RewardBlock> for PublicBlock {
    fn from(block: RewardBlock) -> Self {
        Self {
            hash: block.hash,
            height: block.height,
            state: block.state,
            confirmations: block.confirmations,
            value_msat: block.value_msat,
            subsidy_msat: block.subsidy_msat,
            fees_msat: block.fees_msat,
            found_at: block.found_at,
            split_at: block.split_at,
            accounts: block.accounts,
        }
    }
}
