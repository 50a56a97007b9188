//! hh-tp as an operator sees it.

use super::{Hello, LinkStatus};
use crate::ApiError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Answered on hh-tp's sockets.
#[tarpc::service]
pub trait TemplateProvider {
    /// Who answers.
    async fn hello() -> Hello;
    /// One look at everything.
    async fn status() -> TemplateProviderStatus;
    /// The newest templates, newest first; at most `limit`, and what is kept (some 50).
    async fn templates(limit: u32) -> Vec<TemplateSummary>;
    /// One of them, with what its clients were told.
    ///
    /// # Errors
    /// It is not kept any more, or there never was one with this id.
    async fn template(template_id: u64) -> Result<TemplateDetail, ApiError>;
}

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateProviderStatus {
    /// `main`, `testnet4`, `signet` or `regtest`.
    pub chain: String,
    pub listen_address: String,
    pub authority_public_key: String,
    /// The Bitcoin Core nodes that templates may come from, in the order of preference.
    pub nodes: Vec<NodeStatus>,
    pub clients: Vec<TemplateClient>,
    pub templates_total: u64,
    pub last_template: Option<TemplateSummary>,
    /// The newest solutions, newest first.
    pub solutions: Vec<Solution>,
}

impl TemplateProviderStatus {
    /// The node that templates come from now; none while no node gives any.
    pub fn active_node(&self) -> Option<&NodeStatus> {
        self.nodes.iter().find(|node| node.active)
    }
}

/// A Bitcoin Core node that templates may come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// As configured; the URL of its RPC where it has no name.
    pub name: String,
    /// Whether templates come from it now.
    pub active: bool,
    pub condition: NodeCondition,
    /// When `condition` was entered.
    pub since_at: Timestamp,
    /// Why it is not healthy, in words.
    pub reason: Option<String>,
    /// Where templates come from: its mining IPC socket, or its RPC.
    pub templates: LinkStatus,
    pub rpc: LinkStatus,
    /// As `getnetworkinfo` tells it, such as 310000; none before it was reached.
    pub version: Option<u32>,
    pub height: Option<u32>,
    pub tip_hash: Option<String>,
    pub initial_block_download: Option<bool>,
    /// How long its RPC took for the last answer.
    pub latency_seconds: Option<f64>,
}

/// What a node is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeCondition {
    /// It has neither given a template nor failed yet.
    Connecting,
    /// It gives templates of the best chain that is known: the active node, or one that can take over at any moment.
    Healthy,
    /// Another node has had more work for a while, or its templates are not of its own tip.
    Lagging,
    InitialDownload,
    /// It gives templates, but its RPC does not answer.
    Silent,
    /// It gives no templates.
    Down,
}

/// A connected client, such as a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateClient {
    pub peer: String,
    pub connected_at: Timestamp,
    /// From its CoinbaseOutputConstraints; none before it sent them.
    pub coinbase_output_max_additional_size_bytes: Option<u32>,
    pub coinbase_output_max_additional_sigops: Option<u16>,
}

/// A template without its transactions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateSummary {
    pub template_id: u64,
    /// Height of the block to be.
    pub height: u32,
    pub prev_hash: String,
    /// `new_block`, `coinbase_only`, `transactions`, `mempool`, `start` or `failover`.
    pub trigger: String,
    /// Name of the node that made it.
    pub node: String,
    pub transactions: u32,
    pub fees_sat: u64,
    /// What the coinbase may pay out.
    pub value_sat: u64,
    pub weight_wu: u64,
    /// From the trigger to the template being ready for clients.
    pub generation_seconds: f64,
    pub created_at: Timestamp,
}

/// A template as its clients were told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateDetail {
    #[serde(flatten)]
    pub summary: TemplateSummary,
    pub validity: TemplateValidity,
    /// Of the header.
    pub version: u32,
    /// The compact target as Bitcoin Core writes it, such as `1d00ffff`.
    pub nbits: String,
    /// The earliest time a header may have, in seconds since 1970.
    pub header_timestamp: u32,
    /// Start of the coinbase's scriptSig: the height, by BIP 34.
    pub coinbase_prefix_hex: String,
    /// Outputs that the coinbase must have beside those of the client.
    pub coinbase_outputs: Vec<CoinbaseOutput>,
    /// Hashes from the coinbase to the merkle root.
    pub merkle_path_length: u32,
    /// What was kept free for the client's coinbase.
    pub reserved_weight_wu: u64,
    pub reserved_sigops: u64,
}

/// Whether a block on a template is still one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateValidity {
    /// The newest of its class.
    Current,
    /// On the same tip as the newest.
    Valid,
    /// Of an earlier tip; solutions are still taken.
    Stale,
    /// Let go of: a solution would be refused.
    Gone,
}

/// An output of a coinbase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoinbaseOutput {
    pub value_sat: u64,
    pub script_hex: String,
}

/// A block that a client sent by SubmitSolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Solution {
    pub template_id: u64,
    pub hash: String,
    pub height: u32,
    pub received_at: Timestamp,
    /// A line per path: `NODE ipc`, `NODE rpc`, with `accepted`, `duplicate` or the node's reason; then `check` with what the node
    /// found wrong, and `chain` with how it ended.
    pub outcomes: Vec<(String, String)>,
}
