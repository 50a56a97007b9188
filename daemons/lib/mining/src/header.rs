//! The block header and its hash, in the byte orders of the wire.

use std::fmt;
use std::str::FromStr;

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::hex::{FromHex, HexToArrayError};

/// The hash of a block header, bytes as in a header and in SV2 (least significant first); `Display` is the reversed hex that
/// Bitcoin Core prints.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash([u8; 32]);

impl BlockHash {
    /// Takes the bytes in the order of a header.
    #[must_use]
    pub const fn from_byte_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Gives the bytes in the order of a header.
    #[must_use]
    pub const fn to_byte_array(self) -> [u8; 32] {
        self.0
    }

    /// The bytes in the order of a header.
    #[must_use]
    pub const fn as_byte_array(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .rev()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockHash({self})")
    }
}

impl FromStr for BlockHash {
    type Err = HexToArrayError;

    /// Takes 64 hex digits in the order that Bitcoin Core prints.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = <[u8; 32]>::from_hex(text)?;
        bytes.reverse();
        Ok(Self(bytes))
    }
}

/// A block header. Hashes are in the byte order of the serialized header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: u32,
    pub prev_hash: [u8; 32],
    pub merkle_root: [u8; 32],
    pub ntime: u32,
    pub nbits: u32,
    pub nonce: u32,
}

impl Header {
    /// The 80 bytes that are hashed.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 80] {
        let mut bytes = [0; 80];
        bytes[0..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(&self.prev_hash);
        bytes[36..68].copy_from_slice(&self.merkle_root);
        bytes[68..72].copy_from_slice(&self.ntime.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.nbits.to_le_bytes());
        bytes[76..80].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// Double SHA-256 of the 80 bytes.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        BlockHash(sha256d::Hash::hash(&self.to_bytes()).to_byte_array())
    }
}

#[cfg(test)]
mod tests;
