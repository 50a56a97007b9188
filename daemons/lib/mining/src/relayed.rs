//! What can be checked of a block by who has no chain: that its header took the work of a target which this chain may have, that the
//! target may follow its parent's, and that a body is this header's own and no other's.
//!
//! Whether a block is valid only a node with the chain can say. These rules bound what it costs to be heard: a header that passes took
//! work, and no body that passes can stand in the way of the real one of the same hash.

use std::collections::BTreeSet;

use bitcoin::consensus::Params;
use bitcoin::consensus::encode::{Error as FormatError, deserialize};
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::{Block, Network, Transaction, Txid, merkle_tree};

use crate::{BlockHash, CompactError, Target};

/// A serialized header.
pub const HEADER_BYTES: usize = 80;

/// On mainnet a header of less is no block of today: a hundredth of the difficulty of 2025. Its limit of proof of work is from 2009, and takes
/// one of today's miners less than a second.
const MAINNET_DIFFICULTY_MIN: f64 = 1e12;

/// A retarget changes a target by no more than this, either way.
const RETARGET_MAX: f64 = 4.0;

/// Of rounding: a target is kept with three bytes of precision.
const ROUNDING: f64 = 1.001;

/// A block that is as old as this has been everywhere for long. Miners' clocks may be an hour behind: the time of a block is only above the
/// median of the eleven before it.
const AGE_SECONDS_MAX: u64 = 3 * 3_600;

/// As Bitcoin Core: a block from further in the future is not valid yet.
const AHEAD_SECONDS_MAX: u64 = 2 * 3_600;

/// What starts the output of a coinbase that commits to the witnesses (BIP 141).
const WITNESS_COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// That and the commitment, which begins after it.
const WITNESS_COMMITMENT_BYTES: usize = 38;

/// A header whose work is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayedHeader {
    bytes: [u8; HEADER_BYTES],
    hash: BlockHash,
    target: Target,
}

/// Why a header is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("a header has {size} bytes, not {0}", size = HEADER_BYTES)]
    Length(usize),
    #[error(transparent)]
    Compact(#[from] CompactError),
    #[error("nBits {0:#010x} is easier than a block of this chain may be")]
    TooEasy(u32),
    #[error("the hash {0} does not meet the target of its header")]
    NoWork(BlockHash),
    #[error("its target is more than a retarget away from that of the block before it")]
    Leap,
}

/// Why a body is not this header's.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("it is no serialized block")]
    Format(#[from] FormatError),
    #[error("it has another header")]
    OtherHeader,
    #[error("its first transaction is no coinbase")]
    NoCoinbase,
    #[error("it has a transaction twice")]
    Twice,
    #[error("its transactions are not those of the header")]
    MerkleRoot,
    #[error("its witnesses are not those that the coinbase commits to")]
    Witness,
}

impl RelayedHeader {
    /// Takes a serialized header.
    ///
    /// # Errors
    /// It is none, it is easier than a block of this chain may be, or it has not the work that it names.
    pub fn read(bytes: &[u8], chain: Network) -> Result<Self, HeaderError> {
        let length = bytes.len();
        let bytes: [u8; HEADER_BYTES] = bytes
            .try_into()
            .map_err(|_other| HeaderError::Length(length))?;
        let nbits = word(&bytes, 72);
        let target = Target::from_compact(nbits)?;
        if target > easiest(chain) {
            return Err(HeaderError::TooEasy(nbits));
        }
        let hash = BlockHash::from_byte_array(sha256d::Hash::hash(&bytes).to_byte_array());
        if !target.is_met_by(&hash) {
            return Err(HeaderError::NoWork(hash));
        }
        Ok(Self {
            bytes,
            hash,
            target,
        })
    }

    /// As it is serialized.
    #[must_use]
    pub fn bytes(&self) -> &[u8; HEADER_BYTES] {
        &self.bytes
    }

    /// The block's name.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        self.hash
    }

    /// The block before it.
    #[must_use]
    pub fn parent(&self) -> BlockHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(&self.bytes[4..36]);
        BlockHash::from_byte_array(hash)
    }

    /// Sees to it that its target may follow this parent's.
    ///
    /// # Errors
    /// It may not.
    pub fn follow(&self, parent: &Self, chain: Network) -> Result<(), HeaderError> {
        match may_follow(chain, parent.target, self.target) {
            true => Ok(()),
            false => Err(HeaderError::Leap),
        }
    }

    /// Whether it is a block of now: an older one has been everywhere for long.
    #[must_use]
    pub fn is_fresh(&self, now_unix_seconds: u64) -> bool {
        let time = u64::from(word(&self.bytes, 68));
        time.saturating_add(AGE_SECONDS_MAX) >= now_unix_seconds
            && time <= now_unix_seconds.saturating_add(AHEAD_SECONDS_MAX)
    }

    /// Sees to it that a serialized block is this header's, to the byte of its last witness: what else has the same hash is refused, such as
    /// one with its last transactions twice (CVE-2012-2459), or without witnesses.
    ///
    /// # Errors
    /// It is not.
    pub fn check_body(&self, body: &[u8]) -> Result<(), BodyError> {
        if body.get(..HEADER_BYTES) != Some(self.bytes.as_slice()) {
            return Err(BodyError::OtherHeader);
        }
        let block: Block = deserialize(body)?;
        if !block.txdata.first().is_some_and(Transaction::is_coinbase) {
            return Err(BodyError::NoCoinbase);
        }
        let txids: Vec<Txid> = block.txdata.iter().map(Transaction::compute_txid).collect();
        if txids.iter().collect::<BTreeSet<_>>().len() != txids.len() {
            return Err(BodyError::Twice);
        }
        let root = merkle_tree::calculate_root(txids.iter().map(|txid| txid.to_raw_hash()));
        if root != Some(block.header.merkle_root.to_raw_hash()) {
            return Err(BodyError::MerkleRoot);
        }
        match has_its_witnesses(&block) {
            true => Ok(()),
            false => Err(BodyError::Witness),
        }
    }
}

/// Whether the witnesses are those that the coinbase commits to; where it commits to none, there are none.
fn has_its_witnesses(block: &Block) -> bool {
    let Some(coinbase) = block.txdata.first() else {
        return false;
    };
    let scripts = coinbase.output.iter().rev();
    let mut scripts = scripts.map(|output| output.script_pubkey.as_bytes());
    let committed = scripts.find(|script| {
        script.len() >= WITNESS_COMMITMENT_BYTES && script.starts_with(&WITNESS_COMMITMENT)
    });
    let Some(committed) = committed else {
        let mut inputs = block.txdata.iter().flat_map(|one| &one.input);
        return inputs.all(|input| input.witness.is_empty());
    };
    let Some(input) = coinbase.input.first() else {
        return false;
    };
    let mut reserved = input.witness.iter();
    let (Some(reserved), None) = (reserved.next(), reserved.next()) else {
        return false;
    };
    let Some(root) = block.witness_root() else {
        return false;
    };
    let expected = Block::compute_witness_commitment(&root, reserved).to_byte_array();
    let range = WITNESS_COMMITMENT.len()..WITNESS_COMMITMENT_BYTES;
    reserved.len() == 32 && committed.get(range) == Some(expected.as_slice())
}

/// The easiest target of a block of this chain.
fn easiest(chain: Network) -> Target {
    match chain {
        Network::Bitcoin => Target::from_difficulty(MAINNET_DIFFICULTY_MIN),
        Network::Testnet | Network::Testnet4 | Network::Signet | Network::Regtest => {
            let limit = Params::new(chain).max_attainable_target;
            Target::from_be_bytes(limit.to_be_bytes())
        }
    }
}

/// Whether a block with the target `child` may come after one with the target `parent`. Who does not know the height does not know whether
/// a retarget lies between them, so that he allows one.
fn may_follow(chain: Network, parent: Target, child: Target) -> bool {
    match chain {
        Network::Bitcoin | Network::Signet => {
            let ratio = child.difficulty() / parent.difficulty();
            let most = RETARGET_MAX * ROUNDING;
            ratio <= most && ratio * most >= 1.0
        }
        // After twenty minutes without a block the easiest one will do.
        Network::Testnet | Network::Testnet4 => true,
        Network::Regtest => parent == child,
    }
}

fn word(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests;
