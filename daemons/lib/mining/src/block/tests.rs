use bitcoin::Block;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;

use super::*;

/// Takes a block apart and assembles it again.
#[track_caller]
fn check(block_hex: &str, hash: &str) {
    let bytes = hex::decode(block_hex.trim()).unwrap();
    let block: Block = deserialize(&bytes).unwrap();
    let header = Header {
        version: u32::from_le_bytes(block.header.version.to_consensus().to_le_bytes()),
        prev_hash: block.header.prev_blockhash.to_byte_array(),
        merkle_root: block.header.merkle_root.to_byte_array(),
        ntime: block.header.time,
        nbits: block.header.bits.to_consensus(),
        nonce: block.header.nonce,
    };
    assert_eq!(header.hash().to_string(), hash);
    let mut txs: Vec<_> = block.txdata.iter().map(serialize).collect();
    let coinbase = txs.remove(0);
    assert_eq!(assemble_block(&header, &coinbase, &txs), bytes);
}

#[test]
fn a_real_block_is_assembled_from_its_parts() {
    check(
        include_str!("testnet_180480.hex"),
        "00000000fd3ceb2404ff07a785c7fdcc76619edc8ed61bd25134eaa22084366a",
    );
}

#[test]
fn a_real_block_with_witnesses_is_assembled_from_its_parts() {
    check(
        include_str!("testnet_1263442.hex"),
        "000000006f27ddfe1dd680044a34548f41bed47eba9e6f0b310da21423bc5f33",
    );
}

#[test]
fn a_block_of_many_transactions_counts_them_in_three_bytes() {
    let header = Header {
        version: 0,
        prev_hash: [0; 32],
        merkle_root: [0; 32],
        ntime: 0,
        nbits: 0,
        nonce: 0,
    };
    let block = assemble_block(&header, &[1], &vec![vec![2]; 255]);
    assert_eq!(block[80..86], [0xfd, 0x00, 0x01, 1, 2, 2]);
    assert_eq!(block.len(), 80 + 3 + 256);
}
