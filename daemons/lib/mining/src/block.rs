//! A whole block from its parts, as `submitblock` and the block journal take it.

use bitcoin::VarInt;
use bitcoin::consensus::encode::serialize;

use crate::Header;

/// The serialized block: header, number of transactions, coinbase, the others in template order.
///
/// `coinbase` is the one with witness ([`crate::Job::coinbase_with_witness`]); `txs` are serialized with witness.
#[must_use]
pub fn assemble_block(header: &Header, coinbase: &[u8], txs: &[Vec<u8>]) -> Vec<u8> {
    let count = serialize(&VarInt::from(1 + txs.len()));
    let size = 80 + count.len() + coinbase.len() + txs.iter().map(Vec::len).sum::<usize>();
    let mut block = Vec::with_capacity(size);
    block.extend_from_slice(&header.to_bytes());
    block.extend_from_slice(&count);
    block.extend_from_slice(coinbase);
    for tx in txs {
        block.extend_from_slice(tx);
    }
    block
}

#[cfg(test)]
mod tests;
