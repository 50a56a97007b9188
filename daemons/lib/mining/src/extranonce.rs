//! The extranonce space and its partition, so that no two channels of any of our pools search the same headers.
//!
//! A full extranonce is 16 bytes: a prefix of 8 (server id, channel index; both big-endian) and 8 that the miner rolls. A
//! prefix is given out once in an epoch of the pool's log; which indices are used up, the caller knows from that log.

use std::fmt;

/// Bytes of a full extranonce. SV1 firmware with an extranonce1 of more than 16 bytes is known to fail; SV2 allows 32.
pub const EXTRANONCE_SIZE: usize = 16;
/// Bytes of the prefix that the pool gives out.
pub const PREFIX_SIZE: usize = 8;
/// Bytes of the prefix that name the server id; the others count its channels.
pub const SERVER_ID_SIZE: usize = 2;
/// Bytes that the miner of an extended channel rolls. Marketplaces ask for at least 7.
pub const ROLLABLE_SIZE: usize = EXTRANONCE_SIZE - PREFIX_SIZE;

/// The number of channel indices: what 6 bytes hold. At 1,000 channels a second it lasts 8,900 years.
const CHANNEL_INDICES: u64 = 1 << 48;

/// Names one pool's log among all that share a ledger; it is the first part of every extranonce that pool gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u16);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The part of a channel's extranonce that the pool sets: 2 bytes of server id, 6 bytes of channel index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtranoncePrefix([u8; PREFIX_SIZE]);

impl ExtranoncePrefix {
    /// Takes the bytes as they stand in the coinbase.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; PREFIX_SIZE]) -> Self {
        Self(bytes)
    }

    /// Gives the bytes as they stand in the coinbase.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; PREFIX_SIZE] {
        self.0
    }

    /// The pool that gave it out.
    #[must_use]
    pub const fn server_id(self) -> ServerId {
        ServerId(u16::from_be_bytes([self.0[0], self.0[1]]))
    }

    /// Which of that pool's channels, counted from 0 in its log's epoch.
    #[must_use]
    pub const fn channel_index(self) -> u64 {
        u64::from_be_bytes(self.0) & (CHANNEL_INDICES - 1)
    }

    /// The extranonce of an extended channel's share: this prefix and the bytes that the miner rolled.
    #[must_use]
    pub fn extranonce(self, rolled: [u8; ROLLABLE_SIZE]) -> Extranonce {
        let mut bytes = [0; EXTRANONCE_SIZE];
        bytes[..PREFIX_SIZE].copy_from_slice(&self.0);
        bytes[PREFIX_SIZE..].copy_from_slice(&rolled);
        Extranonce(bytes)
    }

    /// The extranonce of a standard channel, whose miner rolls none of it: this prefix and 8 zero bytes.
    #[must_use]
    pub fn standard_extranonce(self) -> Extranonce {
        self.extranonce([0; ROLLABLE_SIZE])
    }
}

impl fmt::Display for ExtranoncePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ExtranoncePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExtranoncePrefix({self})")
    }
}

/// A full extranonce, as it stands in the coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extranonce([u8; EXTRANONCE_SIZE]);

impl Extranonce {
    /// Takes the bytes as they stand in the coinbase.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; EXTRANONCE_SIZE]) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand in the coinbase.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; EXTRANONCE_SIZE] {
        &self.0
    }

    /// The channel it belongs to.
    #[must_use]
    pub fn prefix(&self) -> ExtranoncePrefix {
        let mut bytes = [0; PREFIX_SIZE];
        bytes.copy_from_slice(&self.0[..PREFIX_SIZE]);
        ExtranoncePrefix(bytes)
    }
}

/// Gives out the prefixes of one server id, each once.
#[derive(Clone, Debug)]
pub struct PrefixAllocator {
    server_id: ServerId,
    next: u64,
}

impl PrefixAllocator {
    /// Starts with channel index `next`: one more than the highest that the log of this epoch has ever bound, 0 for a new log.
    #[must_use]
    pub const fn new(server_id: ServerId, next: u64) -> Self {
        Self { server_id, next }
    }

    /// A prefix that this allocator has not given out before.
    ///
    /// # Errors
    /// If all 2^48 are used up; then only a new log (a new epoch) helps.
    pub fn allocate(&mut self) -> Result<ExtranoncePrefix, PrefixesExhausted> {
        if self.next >= CHANNEL_INDICES {
            return Err(PrefixesExhausted {
                server_id: self.server_id,
            });
        }
        let prefix = (u64::from(self.server_id.0) << 48) | self.next;
        self.next += 1;
        Ok(ExtranoncePrefix(prefix.to_be_bytes()))
    }
}

/// Every channel index of the server id has been given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all extranonce prefixes of server id {server_id} have been given out")]
pub struct PrefixesExhausted {
    pub server_id: ServerId,
}

#[cfg(test)]
mod tests;
