//! The one JSON that a published thing has: its fields in their order, nothing between them, numbers that may pass 2^53 as
//! decimal text, hashes in lower-case hex. What is read is written again and must come out the same, so that two spellings
//! never have one meaning, nor one spelling two.

use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{BlockHash, Msat, Score, Work};

/// Why bytes are not the JSON of what was expected.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// More than anything of the kind has.
    #[error("it has {bytes} bytes, more than {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// No JSON, a field that is missing or not known, or a value out of its range.
    #[error("it does not have the fields that it must have, and no others")]
    Fields(#[source] serde_json::Error),
    /// The same values written in another way.
    #[error("it is not written in the one way that is allowed (order of fields, spaces, digits)")]
    Spelling,
}

pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts, numbers and lists have a JSON")
}

pub(crate) fn from_json<T: Serialize + DeserializeOwned>(
    json: &[u8],
    bytes_max: usize,
) -> Result<T, CanonicalError> {
    let bytes = json.len();
    if bytes > bytes_max {
        return Err(CanonicalError::TooLong { bytes, bytes_max });
    }
    let value: T = serde_json::from_slice(json).map_err(CanonicalError::Fields)?;
    if to_json(&value) == json {
        Ok(value)
    } else {
        Err(CanonicalError::Spelling)
    }
}

/// Integers as decimal text.
pub(crate) mod decimal {
    use super::{Deserialize, Deserializer, FromStr, Serializer, fmt};
    use serde::de::Error;

    pub(crate) fn serialize<T: fmt::Display, S: Serializer>(
        number: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(crate) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.parse().ok();
        number
            .ok_or_else(|| D::Error::custom("a number in decimal text that is none, or too large"))
    }
}

/// 16 or 32 bytes in hex.
pub(crate) mod hex_text {
    use super::{Deserialize, Deserializer, Serializer};
    use bitcoin::hex::{DisplayHex, FromHex};
    use serde::de::Error;

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&bytes.as_slice().as_hex())
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = Vec::from_hex(&text).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| D::Error::custom(format_args!("hex of {N} bytes that is none")))
    }
}

/// 32 bytes in hex, or null.
pub(crate) mod optional_hex {
    use super::{Deserialize, Deserializer, Serialize, Serializer, hex_text};

    #[derive(Serialize, Deserialize)]
    struct Hex(#[serde(with = "hex_text")] [u8; 32]);

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.map(Hex).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 32]>, D::Error> {
        let hex = Option::<Hex>::deserialize(deserializer)?;
        Ok(hex.map(|Hex(bytes)| bytes))
    }
}

macro_rules! decimal_text {
    ($($name:ident),*) => {
        $(
            /// As decimal text: JSON's numbers are exact up to 2^53 only.
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    decimal::serialize(&self.0, serializer)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    decimal::deserialize(deserializer).map(Self)
                }
            }
        )*
    };
}
decimal_text!(Msat, Score, Work);

/// In the order that Bitcoin Core prints.
impl Serialize for BlockHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlockHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
