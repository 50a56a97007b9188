//! Tokens with which people and programs call core's REST interface: 256 random bits, of which core keeps the hash.
//!
//! A token says nothing; what it is for is in core's database, so that a revocation holds at once. No slow hash: nobody guesses 256
//! bits, and one that takes its time for each request is a gift to whoever sends many.

use bitcoin::hashes::{Hash as _, sha256};
use ring::rand::SystemRandom;
use std::fmt;
use std::str::FromStr;

/// Begins every token, so that one that lies where it should not is found by who looks for it.
const PREFIX: &str = "hha1.";

/// What a token is called by, where it is not to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiTokenId([u8; 8]);

/// SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiTokenHash([u8; 32]);

/// A token, as its holder has it.
pub struct ApiSecret(String);

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiTokenError {
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
    /// Not of this form.
    #[error("no token of core's: {PREFIX} and 64 hexadecimal digits")]
    Malformed,
}

fn random<const N: usize>() -> Result<[u8; N], ApiTokenError>
where
    [u8; N]: ring::rand::RandomlyConstructable,
{
    let random = ring::rand::generate(&SystemRandom::new());
    let random = random.map_err(|_says_no_more| ApiTokenError::Randomness)?;
    Ok(random.expose())
}

impl ApiTokenId {
    /// Another one.
    ///
    /// # Errors
    /// [`ApiTokenError::Randomness`].
    pub fn generate() -> Result<Self, ApiTokenError> {
        let random: [u8; 16] = random()?;
        let mut id = [0; 8];
        id.copy_from_slice(&random[..8]);
        Ok(Self(id))
    }
}

impl fmt::Display for ApiTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl ApiSecret {
    /// Another one.
    ///
    /// # Errors
    /// [`ApiTokenError::Randomness`].
    pub fn generate() -> Result<Self, ApiTokenError> {
        let random: [u8; 32] = random()?;
        Ok(Self(format!("{PREFIX}{}", hex::encode(random))))
    }

    /// To be shown to its holder, once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What core keeps.
    #[must_use]
    pub fn hash(&self) -> ApiTokenHash {
        ApiTokenHash(sha256::Hash::hash(self.0.as_bytes()).to_byte_array())
    }
}

impl FromStr for ApiSecret {
    type Err = ApiTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix(PREFIX).unwrap_or_default();
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 64 || !digits.bytes().all(is_digit) {
            return Err(ApiTokenError::Malformed);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for ApiSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiSecret([secret])")
    }
}

impl ApiTokenHash {
    /// As core keeps it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_spelling_and_is_not_in_its_debug() {
        let secret = ApiSecret::generate().unwrap();
        let text = secret.expose();
        let again: ApiSecret = text.parse().unwrap();
        assert_eq!(again.hash(), secret.hash());
        assert!(!format!("{secret:?}").contains(&text[5..]));
        let other = text.to_uppercase();
        for wrong in [
            "",
            "hha1.",
            &text[5..],
            &text[..68],
            &other,
            &format!("{text} "),
        ] {
            assert_eq!(
                wrong.parse::<ApiSecret>().unwrap_err(),
                ApiTokenError::Malformed
            );
        }
        assert_ne!(ApiSecret::generate().unwrap().hash(), secret.hash());
    }
}
