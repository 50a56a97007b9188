//! The block of a template that was solved.
//!
//! Owns: its header, and putting it together. Never: checks its work, or submits it.

use bitcoin::Transaction;
use bitcoin::consensus::encode::deserialize;
use bitcoin::hashes::Hash;
use hh_mining::{Header, Template, Tip, merkle_root};

use super::Solution;
use crate::template::TemplateBlock;

/// What a template says of its block's header.
#[derive(Debug)]
pub(super) struct HeaderParts {
    prev_hash: [u8; 32],
    nbits: u32,
    merkle_path: Vec<[u8; 32]>,
}

impl HeaderParts {
    pub(super) fn of(template: &Template, tip: &Tip) -> Self {
        Self {
            prev_hash: tip.prev_hash,
            nbits: tip.nbits,
            merkle_path: template.merkle_path.clone(),
        }
    }

    /// The serialized block; `None` where the solution's coinbase is no transaction.
    pub(super) fn assemble(&self, block: &TemplateBlock, solution: &Solution) -> Option<Vec<u8>> {
        let coinbase: Transaction = deserialize(&solution.coinbase).ok()?;
        let txid = coinbase.compute_txid().to_byte_array();
        let header = Header {
            version: solution.version,
            prev_hash: self.prev_hash,
            merkle_root: merkle_root(txid, &self.merkle_path),
            ntime: solution.ntime,
            nbits: self.nbits,
            nonce: solution.nonce,
        };
        Some(block.assemble(&header.to_bytes(), &solution.coinbase))
    }
}
