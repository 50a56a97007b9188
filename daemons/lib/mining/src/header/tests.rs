use proptest::prelude::*;

use super::*;

fn bytes32(hex_le: &str) -> [u8; 32] {
    <[u8; 32]>::from_hex(hex_le).unwrap()
}

/// The genesis block of mainnet.
fn genesis() -> Header {
    Header {
        version: 1,
        prev_hash: [0; 32],
        merkle_root: bytes32("3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"),
        ntime: 1_231_006_505,
        nbits: 0x1d00_ffff,
        nonce: 2_083_236_893,
    }
}

#[test]
fn the_genesis_header_has_its_hash() {
    let hash = genesis().hash();
    let expected = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
    assert_eq!(hash.to_string(), expected);
    assert_eq!(expected.parse(), Ok(hash));
    assert_eq!(hash.as_byte_array()[31], 0);
}

#[test]
fn text_that_is_no_hash_is_refused() {
    for text in ["", "00", "zz", &"0".repeat(63), &"0".repeat(66)] {
        assert!(text.parse::<BlockHash>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn serializes_and_hashes_as_in_rust_bitcoin(
        version in any::<u32>(), prev_hash in any::<[u8; 32]>(), merkle_root in any::<[u8; 32]>(),
        ntime in any::<u32>(), nbits in any::<u32>(), nonce in any::<u32>(),
    ) {
        let header = Header { version, prev_hash, merkle_root, ntime, nbits, nonce };
        let theirs: bitcoin::block::Header =
            bitcoin::consensus::deserialize(&header.to_bytes()).unwrap();
        prop_assert_eq!(theirs.prev_blockhash.to_byte_array(), prev_hash);
        prop_assert_eq!(theirs.merkle_root.to_byte_array(), merkle_root);
        prop_assert_eq!((theirs.time, theirs.bits.to_consensus(), theirs.nonce), (ntime, nbits, nonce));
        prop_assert_eq!(theirs.version.to_consensus().to_le_bytes(), version.to_le_bytes());
        prop_assert_eq!(theirs.block_hash().to_byte_array(), header.hash().to_byte_array());
        prop_assert_eq!(theirs.block_hash().to_string(), header.hash().to_string());
    }
}
