//! hh-tp as an operator sees it.

use super::{Hello, LinkStatus};
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
}

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateProviderStatus {
    /// `main`, `testnet4`, `signet` or `regtest`.
    pub chain: String,
    pub listen_address: String,
    pub authority_public_key: String,
    pub node: NodeStatus,
    pub clients: Vec<TemplateClient>,
    pub templates_total: u64,
    pub last_template: Option<TemplateSummary>,
    /// The newest solutions, newest first.
    pub solutions: Vec<Solution>,
}

/// The Bitcoin Core node that templates come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub ipc: LinkStatus,
    pub rpc: LinkStatus,
    /// As `getnetworkinfo` tells it, such as 310000; none before it was reached.
    pub version: Option<u32>,
    pub height: Option<u32>,
    pub tip_hash: Option<String>,
    pub initial_block_download: Option<bool>,
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
    /// `new_block`, `mempool`, `timer`, `client` or `start`.
    pub trigger: String,
    pub transactions: u32,
    pub fees_sat: u64,
    /// What the coinbase may pay out.
    pub value_sat: u64,
    pub weight_wu: u64,
    /// From the trigger to the template being ready for clients.
    pub generation_seconds: f64,
    pub created_at: Timestamp,
}

/// A block that a client sent by SubmitSolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Solution {
    pub template_id: u64,
    pub hash: String,
    pub height: u32,
    pub received_at: Timestamp,
    /// A line per path: `ipc`, `rpc URL`, with `accepted`, `duplicate` or the node's reason.
    pub outcomes: Vec<(String, String)>,
}
