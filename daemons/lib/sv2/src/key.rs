//! The authority key pair a server is recognised by, and its text forms.
//!
//! Owns parsing and printing; never signs (the Noise responder does) and never prints a secret.

use std::{fmt, str::FromStr};

use bitcoin::{
    base58,
    hex::FromHex,
    secp256k1::{Keypair, Secp256k1, SecretKey, XOnlyPublicKey, rand},
};

/// Two-byte little-endian version in front of the key in its text form (specification 4.7).
const KEY_VERSION: [u8; 2] = [1, 0];

/// Why a text is no authority key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The public key's text is not base58 with a valid checksum.
    #[error("authority public key is not valid base58check (mistyped or cut off?)")]
    NotBase58Check,
    /// The public key's text decodes to something else than version and 32 bytes.
    #[error("authority public key has {0} bytes, expected a version of 2 and a key of 32")]
    Length(usize),
    /// The two bytes in front of the public key are not `[1, 0]`.
    #[error("authority public key has version {0}, only 1 is known")]
    Version(u16),
    /// The 32 bytes are no x coordinate on secp256k1.
    #[error("authority public key is not a point on the curve")]
    NotOnCurve,
    /// The secret key's text is not 64 hex digits.
    #[error("authority secret key is not 64 hex digits")]
    NotHex,
    /// The secret key is zero or not below the order of the curve.
    #[error("authority secret key is out of range")]
    SecretOutOfRange,
}

/// An authority's public key: the x coordinate of a secp256k1 point.
///
/// Its text form is base58check over the version `[1, 0]` and the 32 bytes (specification 4.7), as it stands in
/// `stratum2+tcp://HOST:PORT/KEY`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthorityPublicKey([u8; 32]);

impl AuthorityPublicKey {
    /// Takes the 32 bytes of an x coordinate; fails when no curve point has it.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        XOnlyPublicKey::from_slice(&bytes)
            .map(|_| Self(bytes))
            .map_err(|_not_on_curve| KeyError::NotOnCurve)
    }

    /// The 32 bytes of the x coordinate, big-endian as in BIP 340.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl FromStr for AuthorityPublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes =
            base58::decode_check(text.trim()).map_err(|_not_base58| KeyError::NotBase58Check)?;
        let wrong_length = KeyError::Length(bytes.len());
        let (version, key) = bytes
            .split_first_chunk::<2>()
            .ok_or_else(|| wrong_length.clone())?;
        let key = <[u8; 32]>::try_from(key).map_err(|_not_32| wrong_length)?;
        if *version != KEY_VERSION {
            return Err(KeyError::Version(u16::from_le_bytes(*version)));
        }
        Self::from_bytes(key)
    }
}

impl fmt::Display for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&KEY_VERSION);
        bytes[2..].copy_from_slice(&self.0);
        f.write_str(&base58::encode_check(&bytes))
    }
}

/// From its text form, as it stands in configuration files.
impl<'de> serde::Deserialize<'de> for AuthorityPublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityPublicKey({self})")
    }
}

/// An authority's secret key. Its text form is 32 bytes in hex (design.md 7); it is never printed.
#[derive(Clone)]
pub struct AuthoritySecretKey(SecretKey);

impl AuthoritySecretKey {
    /// A fresh key from the operating system's randomness.
    pub fn generate() -> Self {
        Self(SecretKey::new(&mut rand::thread_rng()))
    }

    /// Takes 32 big-endian bytes; fails when they are zero or not below the order of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        SecretKey::from_slice(bytes)
            .map(Self)
            .map_err(|_out_of_range| KeyError::SecretOutOfRange)
    }

    /// The key as hex, for the one place that writes it to its file.
    pub fn to_secret_hex(&self) -> String {
        self.0.display_secret().to_string()
    }

    /// The public key that clients are given.
    pub fn public_key(&self) -> AuthorityPublicKey {
        let pair = Keypair::from_secret_key(&Secp256k1::signing_only(), &self.0);
        AuthorityPublicKey(pair.x_only_public_key().0.serialize())
    }

    pub(crate) fn to_bytes(&self) -> [u8; 32] {
        self.0.secret_bytes()
    }
}

impl FromStr for AuthoritySecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = <[u8; 32]>::from_hex(text.trim()).map_err(|_not_hex| KeyError::NotHex)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Debug for AuthoritySecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthoritySecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one vector of the specification (4.7).
    const SPEC_TEXT: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    const SPEC_RAW: [u8; 32] = [
        118, 99, 112, 0, 151, 156, 28, 17, 175, 12, 48, 11, 205, 140, 127, 228, 134, 16, 252, 233,
        185, 193, 30, 61, 174, 227, 90, 224, 176, 138, 116, 85,
    ];

    #[test]
    fn the_vector_of_the_specification_parses_and_prints() {
        let key: AuthorityPublicKey = SPEC_TEXT.parse().unwrap();
        assert_eq!(key.to_bytes(), SPEC_RAW);
        assert_eq!(
            AuthorityPublicKey::from_bytes(SPEC_RAW)
                .unwrap()
                .to_string(),
            SPEC_TEXT
        );
    }

    #[track_caller]
    fn check_public(text: &str, expected: &KeyError) {
        assert_eq!(
            text.parse::<AuthorityPublicKey>().as_ref(),
            Err(expected),
            "{text}"
        );
    }

    #[test]
    fn a_public_key_that_is_wrong_says_how() {
        check_public("", &KeyError::NotBase58Check);
        check_public(&SPEC_TEXT[1..], &KeyError::NotBase58Check);
        check_public(&SPEC_TEXT.replace('9', "0"), &KeyError::NotBase58Check);
        check_public(&base58::encode_check(&[1, 0, 7]), &KeyError::Length(3));
        check_public(&base58::encode_check(&[2; 34]), &KeyError::Version(0x0202));
        let mut off_curve = [0xff; 34];
        off_curve[..2].copy_from_slice(&KEY_VERSION);
        check_public(&base58::encode_check(&off_curve), &KeyError::NotOnCurve);
    }

    #[test]
    fn a_secret_key_survives_its_hex_and_never_shows_in_debug() {
        let secret = AuthoritySecretKey::generate();
        let hex = secret.to_secret_hex();
        let again: AuthoritySecretKey = format!("{hex}\n").parse().unwrap();
        assert_eq!(again.public_key(), secret.public_key());
        assert!(!format!("{secret:?}").contains(&hex[..8]));
    }

    #[test]
    fn a_secret_key_that_is_wrong_says_how() {
        let parse = |text: &str| text.parse::<AuthoritySecretKey>().unwrap_err();
        assert_eq!(parse("xyz"), KeyError::NotHex);
        assert_eq!(parse(&"0".repeat(64)), KeyError::SecretOutOfRange);
        assert_eq!(parse(&"f".repeat(64)), KeyError::SecretOutOfRange);
    }
}
