//! The SV2 authority key of a pool, as the name of that pool in a credential.
//!
//! Owns its text, which is that of the Stratum V2 specification 4.7. That it lies on the curve is for who connects to the pool
//! (hh-sv2): here it is only compared.

use std::fmt;
use std::str::FromStr;

use bitcoin::base58;
use serde::{Deserialize, Serialize};

/// In front of the key in its text form, little-endian.
const VERSION: [u8; 2] = [1, 0];

/// Why a text names no pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the authority key of a pool: base58check over the version 1 and 32 bytes")]
pub struct PoolAuthorityError;

/// The 32 bytes of a pool's authority key: the x coordinate, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PoolAuthority([u8; 32]);

impl PoolAuthority {
    /// Takes the bytes of the x coordinate.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for PoolAuthority {
    type Err = PoolAuthorityError;

    fn from_str(text: &str) -> Result<Self, PoolAuthorityError> {
        let bytes = base58::decode_check(text).ok().ok_or(PoolAuthorityError)?;
        match bytes.split_first_chunk() {
            Some((&VERSION, key)) => key.try_into().map(Self).ok().ok_or(PoolAuthorityError),
            _ => Err(PoolAuthorityError),
        }
    }
}

impl fmt::Display for PoolAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&VERSION);
        bytes[2..].copy_from_slice(&self.0);
        f.write_str(&base58::encode_check(&bytes))
    }
}

impl fmt::Debug for PoolAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolAuthority({self})")
    }
}

impl From<PoolAuthority> for String {
    fn from(authority: PoolAuthority) -> Self {
        authority.to_string()
    }
}

impl TryFrom<String> for PoolAuthority {
    type Error = PoolAuthorityError;

    fn try_from(text: String) -> Result<Self, PoolAuthorityError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the Stratum V2 specification 4.7.
    const SPEC_TEXT: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    #[test]
    fn the_text_is_that_of_the_specification() {
        let authority: PoolAuthority = SPEC_TEXT.parse().unwrap();
        assert_eq!(authority.to_string(), SPEC_TEXT);
    }

    #[test]
    fn a_mistyped_key_is_refused() {
        for text in ["", "9bXi", &SPEC_TEXT[1..], &SPEC_TEXT.replace('9', "8")] {
            assert_eq!(
                text.parse::<PoolAuthority>(),
                Err(PoolAuthorityError),
                "{text}"
            );
        }
        let other_version = base58::encode_check(&[2; 34]);
        assert!(other_version.parse::<PoolAuthority>().is_err());
    }
}
