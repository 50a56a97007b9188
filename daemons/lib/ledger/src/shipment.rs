//! What a pool ships from its share log.
//!
//! A shipment is one transaction: rows, sums over minutes, sums over all time, first uses, bindings, the watermark and
//! the last sequence number are always of the same moment.

use std::sync::Arc;

use hh_mining::BlockHash;

use crate::{Epoch, Origin};

/// An accepted share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRow {
    /// Its place in the share log's epoch.
    pub seq: u64,
    /// When it was accepted, milliseconds since 1970.
    pub accepted_at_ms: i64,
    /// Who is credited.
    pub origin: Arc<Origin>,
    /// Hash of the header.
    pub hash: BlockHash,
    /// The channel's extranonce prefix.
    pub extranonce_prefix: [u8; 8],
    /// The SV2 channel id on its connection.
    pub channel_id: u32,
    /// The SV2 job id in that channel.
    pub job_id: u32,
    /// The job's nBits.
    pub nbits: u32,
    /// The header's time.
    pub ntime: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The header's version.
    pub version: u32,
    /// Expected hashes of the target that the job was sent with.
    pub work: u128,
    /// Work x 2^96 / network work of the job's nBits.
    pub score: u128,
    /// Whether it meets the network's target.
    pub is_block: bool,
}

/// A channel's extranonce prefix and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingRow {
    /// The record's place in the share log's epoch.
    pub seq: u64,
    /// When it was bound, milliseconds since 1970.
    pub bound_at_ms: i64,
    /// The prefix.
    pub extranonce_prefix: [u8; 8],
    /// Whose it is.
    pub origin: Arc<Origin>,
}

/// A run of a share log's records, without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// The log's id.
    pub epoch: Epoch,
    /// Sequence number of the first record.
    pub first_seq: u64,
    /// Sequence number of the last record.
    pub last_seq: u64,
    /// Its shares, in the order of `seq`.
    pub shares: Vec<ShareRow>,
    /// Its bindings.
    pub bindings: Vec<BindingRow>,
    /// The last watermark among the records: no later record has an earlier time.
    pub watermark_ms: Option<i64>,
}

/// Rejected shares of one kind, to be added to the count of their minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedCount {
    /// When they were rejected, milliseconds since 1970.
    pub at_ms: i64,
    /// Who sent them.
    pub origin: Arc<Origin>,
    /// The error code with which they were rejected.
    pub reason: String,
    /// How many.
    pub shares: u64,
}
