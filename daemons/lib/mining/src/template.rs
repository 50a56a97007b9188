//! What a Template Provider gives, in the field names of the SV2 Template Distribution Protocol.

use bitcoin::hashes::{Hash, sha256d};

use crate::{CompactError, Target};

/// The contents of `NewTemplate`, except for `future_template`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub template_id: u64,
    /// Block version; a miner may roll the bits of BIP323.
    pub version: u32,
    pub coinbase_tx_version: u32,
    /// The beginning of the coinbase's scriptSig: the block's height (BIP34).
    pub coinbase_prefix: Vec<u8>,
    pub coinbase_tx_input_sequence: u32,
    /// Satoshis that the coinbase may pay beside `coinbase_tx_outputs`.
    pub coinbase_tx_value_remaining: u64,
    pub coinbase_tx_outputs_count: u32,
    /// `coinbase_tx_outputs_count` serialized outputs, one after the other, with no count before them.
    pub coinbase_tx_outputs: Vec<u8>,
    pub coinbase_tx_locktime: u32,
    /// The hashes beside the coinbase's path to the merkle root, the deepest first, in the byte order of the block.
    pub merkle_path: Vec<[u8; 32]>,
}

/// The contents of `SetNewPrevHash` of Template Distribution, except for its `template_id`: what every header on the tip shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The hash of the block to build on, in the byte order of a header.
    pub prev_hash: [u8; 32],
    /// The time the node proposes, and the least that a header may carry.
    pub header_timestamp: u32,
    pub nbits: u32,
    /// What a block's hash must meet for the Template Provider to take it.
    pub target: Target,
}

impl Tip {
    /// A tip whose target is the one that `nbits` stands for.
    ///
    /// # Errors
    /// If `nbits` is no target.
    pub fn new(
        prev_hash: [u8; 32],
        header_timestamp: u32,
        nbits: u32,
    ) -> Result<Self, CompactError> {
        let target = Target::from_compact(nbits)?;
        Ok(Self {
            prev_hash,
            header_timestamp,
            nbits,
            target,
        })
    }
}

impl Template {
    /// The height of the block to be: the number that `coinbase_prefix` begins with (BIP 34). None if it begins with
    /// something else.
    #[must_use]
    pub fn height(&self) -> Option<u32> {
        height_of(&self.coinbase_prefix)
    }
}

/// The number that a scriptSig begins with (BIP 34).
pub(crate) fn height_of(script_sig: &[u8]) -> Option<u32> {
    let (&length, rest) = script_sig.split_first()?;
    match length {
        // OP_0 and OP_1 to OP_16: how small numbers are pushed.
        0x00 => Some(0),
        0x51..=0x60 => Some(u32::from(length) - 0x50),
        1..=4 => {
            let number = rest.get(..usize::from(length))?;
            Some(
                number
                    .iter()
                    .rev()
                    .fold(0, |height, byte| (height << 8) | u32::from(*byte)),
            )
        }
        _ => None,
    }
}

/// The `merkle_path` of a block whose other transactions have these ids, in block order: what stands beside the coinbase and
/// its parents on their way to the root.
#[must_use]
pub fn coinbase_merkle_path(txids: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let mut path = Vec::new();
    // All nodes of a level but the leftmost, which is the coinbase or above it.
    let mut level = txids.to_vec();
    while let Some((sibling, rest)) = level.split_first() {
        path.push(*sibling);
        level = rest
            .chunks(2)
            .map(|pair| {
                let (left, right) = (pair[0], pair.last().unwrap_or(&pair[0]));
                sha256d::Hash::hash(&[left, *right].concat()).to_byte_array()
            })
            .collect();
    }
    path
}

#[cfg(test)]
mod tests;
