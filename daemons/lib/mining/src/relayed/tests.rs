use bitcoin::consensus::encode::serialize;
use bitcoin::constants::genesis_block;
use proptest::prelude::*;

use super::*;
use crate::Header;

/// nBits of regtest: every other hash will do.
const REGTEST: u32 = 0x207f_ffff;

fn genesis(chain: Network) -> [u8; HEADER_BYTES] {
    serialize(&genesis_block(chain).header).try_into().unwrap()
}

/// With work, by another nonce where it takes one.
fn solved(mut header: Header) -> [u8; HEADER_BYTES] {
    let target = Target::from_compact(header.nbits).unwrap();
    while !target.is_met_by(&header.hash()) {
        header.nonce = header.nonce.wrapping_add(1);
    }
    header.to_bytes()
}

/// A real block of testnet with witnesses.
fn block() -> Block {
    let bytes = hex::decode(include_str!("../block/testnet_1263442.hex").trim()).unwrap();
    deserialize(&bytes).unwrap()
}

fn read(block: &Block) -> RelayedHeader {
    RelayedHeader::read(&serialize(&block.header), Network::Testnet).unwrap()
}

#[test]
fn a_header_has_the_work_of_its_chain() {
    for chain in [Network::Testnet, Network::Signet, Network::Regtest] {
        let header = RelayedHeader::read(&genesis(chain), chain).unwrap();
        assert_eq!(
            header.hash().to_string(),
            genesis_block(chain).block_hash().to_string()
        );
        assert_eq!(header.parent().to_byte_array(), [0; 32]);
        assert_eq!(header.bytes(), &genesis(chain));
    }
    // What took a processor of 2009 some minutes is none of today's blocks.
    let easy = RelayedHeader::read(&genesis(Network::Bitcoin), Network::Bitcoin);
    assert_eq!(easy, Err(HeaderError::TooEasy(0x1d00_ffff)));
    let foreign = RelayedHeader::read(&genesis(Network::Regtest), Network::Signet);
    assert_eq!(foreign, Err(HeaderError::TooEasy(REGTEST)));
    let mut bytes = genesis(Network::Signet);
    bytes[79] ^= 1;
    let idle = RelayedHeader::read(&bytes, Network::Signet);
    assert!(matches!(idle, Err(HeaderError::NoWork(_))), "{idle:?}");
    for length in [0, 79, 81] {
        let cut = RelayedHeader::read(&vec![0; length], Network::Regtest);
        assert_eq!(cut, Err(HeaderError::Length(length)));
    }
}

#[track_caller]
fn check_follows(chain: Network, parent: f64, child: f64, expected: bool) {
    let [parent, child] = [parent, child].map(Target::from_difficulty);
    assert_eq!(may_follow(chain, parent, child), expected);
}

#[test]
fn a_target_is_at_most_a_retarget_away_from_its_parents() {
    for chain in [Network::Bitcoin, Network::Signet] {
        check_follows(chain, 1e14, 1e14, true);
        check_follows(chain, 1e14, 4e14, true);
        check_follows(chain, 1e14, 0.25e14, true);
        check_follows(chain, 1e14, 4.1e14, false);
        check_follows(chain, 1e14, 0.24e14, false);
    }
    check_follows(Network::Testnet4, 1e14, 1.0, true);
    check_follows(Network::Regtest, 1.0, 1.0, true);
    check_follows(Network::Regtest, 1.0, 2.0, false);
}

#[test]
fn a_block_of_yesterday_or_of_tomorrow_is_not_fresh() {
    let header = RelayedHeader::read(&genesis(Network::Regtest), Network::Regtest).unwrap();
    let time = u64::from(genesis_block(Network::Regtest).header.time);
    for (now, expected) in [
        (time, true),
        (time + AGE_SECONDS_MAX, true),
        (time + AGE_SECONDS_MAX + 1, false),
        (time - AHEAD_SECONDS_MAX, true),
        (time - AHEAD_SECONDS_MAX - 1, false),
        (u64::MAX, false),
    ] {
        assert_eq!(header.is_fresh(now), expected, "{now}");
    }
}

#[track_caller]
fn check_body(change: impl FnOnce(&mut Block), expected: &str) {
    let mut changed = block();
    let header = read(&changed);
    change(&mut changed);
    let refused = header.check_body(&serialize(&changed)).unwrap_err();
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn no_other_body_passes_as_that_of_a_header() {
    let whole = block();
    read(&whole).check_body(&serialize(&whole)).unwrap();
    check_body(
        |block| block.header.nonce += 1,
        &BodyError::OtherHeader.to_string(),
    );
    check_body(
        |block| drop(block.txdata.remove(0)),
        &BodyError::NoCoinbase.to_string(),
    );
    check_body(
        |block| drop(block.txdata.pop()),
        &BodyError::MerkleRoot.to_string(),
    );
    check_body(
        |block| block.txdata.clear(),
        &BodyError::NoCoinbase.to_string(),
    );
    check_body(
        |block| {
            let last = block.txdata.last().unwrap().clone();
            block.txdata.push(last);
        },
        &BodyError::Twice.to_string(),
    );
    // Without witnesses it has the same transactions, and the same hash.
    check_body(
        |block| {
            let inputs = block.txdata.iter_mut().flat_map(|one| &mut one.input);
            inputs.for_each(|input| input.witness.clear());
        },
        &BodyError::Witness.to_string(),
    );
    check_body(
        |block| {
            let mut inputs = block
                .txdata
                .iter_mut()
                .skip(1)
                .flat_map(|one| &mut one.input);
            inputs
                .find(|input| !input.witness.is_empty())
                .unwrap()
                .witness
                .push([1_u8]);
        },
        &BodyError::Witness.to_string(),
    );
    let mut longer = serialize(&whole);
    longer.push(0);
    let refused = read(&whole).check_body(&longer);
    assert!(matches!(refused, Err(BodyError::Format(_))), "{refused:?}");
    assert!(read(&whole).check_body(&longer[..40]).is_err());
}

proptest! {
    #[test]
    fn whatever_is_taken_has_the_work_that_it_names(
        bytes in prop::collection::vec(any::<u8>(), HEADER_BYTES),
        nbits in prop_oneof![Just(REGTEST), any::<u32>()],
    ) {
        let mut bytes = bytes;
        bytes[72..76].copy_from_slice(&nbits.to_le_bytes());
        if let Ok(header) = RelayedHeader::read(&bytes, Network::Regtest) {
            let theirs: bitcoin::block::Header = deserialize(&bytes).unwrap();
            prop_assert_eq!(header.hash().to_byte_array(), theirs.block_hash().to_byte_array());
            prop_assert_eq!(header.parent().to_byte_array(), theirs.prev_blockhash.to_byte_array());
            prop_assert!(theirs.target().is_met_by(theirs.block_hash()));
            prop_assert!(theirs.target() <= Params::new(Network::Regtest).max_attainable_target);
        }
    }

    #[test]
    fn what_a_miner_has_solved_is_taken(prev_hash: [u8; 32], merkle_root: [u8; 32], ntime: u32, nonce: u32) {
        let header = Header { version: 4, prev_hash, merkle_root, ntime, nbits: REGTEST, nonce };
        let read = RelayedHeader::read(&solved(header), Network::Regtest).unwrap();
        prop_assert_eq!(read.parent().to_byte_array(), prev_hash);
        prop_assert!(read.is_fresh(ntime.into()));
    }

    #[test]
    fn no_bytes_that_follow_a_header_pass_as_another_body(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let header = RelayedHeader::read(&genesis(Network::Regtest), Network::Regtest).unwrap();
        let mut bytes = genesis(Network::Regtest).to_vec();
        bytes.extend(body);
        let whole = serialize(&genesis_block(Network::Regtest));
        prop_assert_eq!(header.check_body(&bytes).is_ok(), bytes == whole);
        prop_assert!(header.check_body(&whole).is_ok());
    }
}
