//! `Target`: the number a hash must not exceed, and its other spellings: nBits, difficulty, hashrate.
//!
//! Difficulty and hashrate are floating point and for people and protocols that speak them; what is credited is counted
//! in [`Work`], which is exact.

use std::fmt;

use ethnum::{AsU256, U256};

use crate::{BlockHash, Work};

/// 2^256, the number of different hashes.
const TWO_POW_256: f64 = f64::from_bits((1023 + 256) << 52);

/// Whole difficulties up to here are exact in an `f64`.
const MAX_EXACT_DIFFICULTY: u128 = 1 << 53;

/// Difficulty 1 as Bitcoin Core and SV1 count it ("bdiff"): the target of nBits 0x1d00ffff.
const DIFFICULTY_ONE: U256 = U256::from_words(0xFFFF << 80, 0);

/// The largest hash, read as a 256-bit number, that is good enough. Larger is easier; `Ord` is numeric.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target([u8; 32]);

impl Target {
    /// 2^256 - 1: every hash meets it.
    pub const MAX: Self = Self([0xFF; 32]);

    /// The hardest target that the conversions from floating point give; only the hashes 0 and 1 meet it.
    const HARDEST: U256 = U256::ONE;

    /// Takes the number with its most significant byte first.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Gives the number with its most significant byte first.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Takes the number with its least significant byte first, as SV2's U256 fields carry it.
    #[must_use]
    pub fn from_le_bytes(mut bytes: [u8; 32]) -> Self {
        bytes.reverse();
        Self(bytes)
    }

    /// Gives the number with its least significant byte first, as SV2's U256 fields carry it.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 32] {
        let mut bytes = self.0;
        bytes.reverse();
        bytes
    }

    /// Expands nBits as consensus does (Bitcoin Core `arith_uint256::SetCompact`, `CheckProofOfWork`).
    ///
    /// # Errors
    /// What consensus refuses: a negative number, zero, and what does not fit 256 bits.
    pub fn from_compact(nbits: u32) -> Result<Self, CompactError> {
        let exponent = nbits >> 24;
        let mantissa = nbits & 0x007F_FFFF;
        let value = if exponent <= 3 {
            U256::from(mantissa >> (8 * (3 - exponent)))
        } else {
            let bits = 32 - mantissa.leading_zeros() + 8 * (exponent - 3);
            if mantissa != 0 && bits > 256 {
                return Err(CompactError::Overflow(nbits));
            }
            // A mantissa of zero may come with any exponent; the shift must stay below 256 all the same.
            U256::from(mantissa) << (8 * (exponent - 3)).min(255)
        };
        if mantissa != 0 && nbits & 0x0080_0000 != 0 {
            return Err(CompactError::Negative(nbits));
        }
        if value == 0 {
            return Err(CompactError::Zero(nbits));
        }
        Ok(Self::from_uint(value))
    }

    /// The hardest target that `hash` meets: the hash itself as a number. Its difficulty is what miners call the share's.
    #[must_use]
    pub fn from_hash_le(hash: &BlockHash) -> Self {
        Self::from_le_bytes(hash.to_byte_array())
    }

    /// The target of a difficulty, where difficulty 1 is 00000000FFFF0000... (bdiff); exact for whole difficulties below 2^53.
    ///
    /// Total, because the difficulty may come from a miner: what is not a number, zero or negative gives [`Target::MAX`], and
    /// no difficulty gives a target below 1. Clamp the answer to the bounds that apply.
    #[must_use]
    pub fn from_difficulty(difficulty: f64) -> Self {
        if difficulty.is_nan() || difficulty <= 0.0 {
            return Self::MAX;
        }
        let whole = difficulty.as_u256();
        let value = if whole < MAX_EXACT_DIFFICULTY && whole.as_f64() == difficulty {
            DIFFICULTY_ONE / whole
        } else {
            (DIFFICULTY_ONE.as_f64() / difficulty).as_u256()
        };
        Self::from_uint(value.max(Self::HARDEST))
    }

    /// The difficulty (bdiff), for display and for SV1; a whole number where the target is exactly that of one.
    #[must_use]
    pub fn difficulty(self) -> f64 {
        let value = self.to_uint().max(Self::HARDEST);
        let whole = DIFFICULTY_ONE / value;
        if whole != 0 && whole < MAX_EXACT_DIFFICULTY && DIFFICULTY_ONE / whole == value {
            return whole.as_f64();
        }
        DIFFICULTY_ONE.as_f64() / value.as_f64()
    }

    /// The target at which `hashes_per_second` finds `shares_per_minute` on average.
    ///
    /// Total, because the hashrate may be a miner's claim: what is not a number, zero or negative gives [`Target::MAX`].
    /// `shares_per_minute` is ours and above 0.
    #[must_use]
    pub fn from_hashrate(hashes_per_second: f64, shares_per_minute: f64) -> Self {
        Self::from_expected_hashes(hashes_per_second * 60.0 / shares_per_minute)
    }

    /// The hashes per second that find `shares_per_minute` at this target on average.
    #[must_use]
    pub fn hashrate(self, shares_per_minute: f64) -> f64 {
        self.expected_hashes() * shares_per_minute / 60.0
    }

    /// Whether `hash` is at most this target.
    #[must_use]
    pub fn is_met_by(&self, hash: &BlockHash) -> bool {
        hash.as_byte_array().iter().rev().le(self.0.iter())
    }

    /// The expected number of hashes to meet this target once, exact: floor(2^256 / (target + 1)).
    ///
    /// Saturates at `u128::MAX`, which begins at targets below 2^128 (a difficulty of 10^28).
    #[must_use]
    pub fn work(self) -> Work {
        let value = self.to_uint();
        // floor(2^256 / (t + 1)) = floor((2^256 - 1 - t) / (t + 1)) + 1, and 2^256 - 1 - t = !t.
        let work = match value.checked_add(U256::ONE) {
            Some(divisor) => (!value / divisor).saturating_add(U256::ONE),
            None => U256::ONE,
        };
        Work(u128::try_from(work).unwrap_or(u128::MAX))
    }

    /// The target that takes `hashes` hashes on average; [`Target::MAX`] for one or less and for what is not a number.
    pub(crate) fn from_expected_hashes(hashes: f64) -> Self {
        if hashes.is_nan() || hashes <= 1.0 {
            return Self::MAX;
        }
        let value = (TWO_POW_256 / hashes).as_u256().saturating_sub(U256::ONE);
        Self::from_uint(value.max(Self::HARDEST))
    }

    /// The expected number of hashes to meet this target once, as near as an `f64` comes.
    pub(crate) fn expected_hashes(self) -> f64 {
        TWO_POW_256 / (self.to_uint().as_f64() + 1.0)
    }

    /// How many times harder `other` is than this target.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a ratio; vardiff needs two digits of it"
    )]
    pub(crate) fn expected_hashes_ratio(self, other: Self) -> f32 {
        (other.expected_hashes() / self.expected_hashes()) as f32
    }

    fn from_uint(value: U256) -> Self {
        Self(value.to_be_bytes())
    }

    fn to_uint(self) -> U256 {
        U256::from_be_bytes(self.0)
    }
}

impl fmt::Display for Target {
    /// 64 hex digits, most significant first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Why nBits is no target. Holds the nBits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    #[error("nBits {0:#010x} is a negative target")]
    Negative(u32),
    #[error("nBits {0:#010x} is a target of zero")]
    Zero(u32),
    #[error("nBits {0:#010x} is a target of more than 256 bits")]
    Overflow(u32),
}

#[cfg(test)]
mod tests;
