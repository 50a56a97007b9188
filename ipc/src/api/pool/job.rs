//! What miners work on, and the coinbase of it.

use crate::api::LinkStatus;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The work of the newest template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentJob {
    /// Id of the job that every new channel gets.
    pub job_id: u32,
    /// The template provider's id, of its connection alone.
    pub template_id: u64,
    /// Who gave the template.
    pub template_provider: LinkStatus,
    /// Whether that is still the connection that it came over: else no solution goes back over it, and blocks go to the nodes
    /// alone.
    pub template_connection_up: bool,
    /// When the template came.
    pub received_at: Timestamp,
    /// Height of the block being mined.
    pub height: u32,
    /// Block being built on, as Bitcoin Core prints it.
    pub prev_hash: String,
    /// The network's target in its compact form, eight hex digits as Bitcoin Core prints it.
    pub nbits: String,
    pub network_difficulty: f64,
    /// The least time that a header may carry: what the template provider proposes, in seconds since 1970.
    pub min_ntime: u32,
    /// Block version before a miner rolls any bit of it, eight hex digits.
    pub version: String,
    /// Without the coinbase; none while the provider has not sent them.
    pub transactions: Option<u32>,
    /// The block would be empty: the work of a new tip's first moments, or of an empty mempool.
    pub coinbase_only: bool,
    /// All that the coinbase pays.
    pub value_sat: u64,
    /// Hashes beside the coinbase's path to the merkle root.
    pub merkle_path_length: u32,
    /// The jobs of this template that open channels have got last, most channels first: a channel whose difficulty changes while
    /// a template lasts gets another coinbase.
    pub jobs: Vec<JobChannels>,
    /// Open channels that are still on a job of an earlier template.
    pub channels_behind: u32,
    /// Templates that the provider has announced for the next tip.
    pub future_templates: Vec<FutureTemplate>,
}

/// Who is on a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobChannels {
    pub job_id: u32,
    pub channels: u32,
}

/// A template that waits for its tip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FutureTemplate {
    pub template_id: u64,
    pub height: u32,
    pub received_at: Timestamp,
}

/// The coinbase transaction of the job that every new channel gets, read back from the bytes that miners get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoinbaseDetail {
    pub job_id: u32,
    pub template_id: u64,
    pub height: u32,
    /// What stands before the extranonce, without the fields of BIP141.
    pub prefix_hex: String,
    /// What stands after it.
    pub suffix_hex: String,
    pub extranonce: ExtranonceLayout,
    pub script_sig: Vec<ScriptSigPart>,
    /// With the extranonce; consensus allows 100.
    pub script_sig_bytes: u32,
    pub version: u32,
    pub sequence: u32,
    pub locktime: u32,
    pub outputs: Vec<CoinbaseOutput>,
    /// The sum of `outputs`.
    pub value_sat: u64,
    /// What the template allows.
    pub template_value_sat: u64,
    /// With the witness, as it counts in a block.
    pub weight_wu: u64,
}

/// Where each channel's own bytes go, and who sets which of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtranonceLayout {
    /// Of its first byte in the coinbase, without the fields of BIP141.
    pub offset_bytes: u32,
    pub size_bytes: u32,
    /// The first bytes: this pool's server id.
    pub server_id: u16,
    pub server_id_bytes: u32,
    /// Then the channel's number, in the share log's epoch.
    pub channel_bytes: u32,
    /// Then what the miner of an extended channel rolls; zero on a standard channel.
    pub miner_bytes: u32,
}

/// A part of the scriptSig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptSigPart {
    /// `height`, `push`, `opcode` or `extranonce`.
    pub part: String,
    /// The pushed bytes or the opcode; empty for the extranonce, which each channel has its own of.
    pub hex: String,
    /// In words: the height's number; or the pushed bytes where there is text among them, with escapes such as `\x1f`.
    pub text: Option<String>,
}

/// An output of the coinbase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoinbaseOutput {
    pub value_sat: u64,
    /// `p2wpkh`, `p2tr`, `witness_commitment`, ...
    pub kind: String,
    /// Where the script stands for one.
    pub address: Option<String>,
    pub script_hex: String,
    /// True for the reward, false for an output that the template brings.
    pub of_pool: bool,
}
