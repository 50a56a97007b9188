//! The secret that all keys of the embedded node come from.

use std::str::FromStr;

use hh_daemon::Secret;
use ldk_node::bip39::Mnemonic;

/// What BIP 39 makes of words, and what ldk-node takes.
const SEED_BYTES: usize = 64;

/// The seed. Who has it has the money; without the node's directory it does not bring back what is in channels.
#[derive(Clone, Debug)]
pub struct Seed(Secret<[u8; SEED_BYTES]>);

/// Why a text is no seed. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wallet's seed is neither 12 to 24 words of BIP 39 nor 128 hexadecimal digits")]
pub struct SeedError;

impl Seed {
    /// From the words of BIP 39 (English, no passphrase), or from hex.
    ///
    /// # Errors
    /// It is neither; a word may be misspelt.
    pub fn parse(text: &Secret<String>) -> Result<Self, SeedError> {
        let text = text.expose().trim();
        let mut bytes = [0; SEED_BYTES];
        if hex::decode_to_slice(text, &mut bytes).is_ok() {
            return Ok(Self(Secret::new(bytes)));
        }
        let words = Mnemonic::from_str(text).map_err(|_secret| SeedError)?;
        Ok(Self(Secret::new(words.to_seed_normalized(""))))
    }

    /// 24 new words, to be written down and kept.
    #[must_use]
    pub fn new_words() -> Secret<String> {
        Secret::new(ldk_node::generate_entropy_mnemonic(None).to_string())
    }

    pub(super) fn bytes(&self) -> [u8; SEED_BYTES] {
        *self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Seed, SeedError> {
        Seed::parse(&Secret::new(text.to_owned()))
    }

    /// The first vector of BIP 39 is with a passphrase; this is the widely published one without.
    #[test]
    fn words_and_the_hex_that_comes_of_them_are_the_same_seed() {
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon about";
        let hex = "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1\
                   9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4";
        assert_eq!(parse(words).unwrap().bytes(), parse(hex).unwrap().bytes());
        assert_eq!(format!("{:?}", parse(hex).unwrap()), "Seed([secret])");
    }

    #[test]
    fn new_words_are_a_seed_and_never_the_same() {
        let words = Seed::new_words();
        assert_eq!(words.expose().split(' ').count(), 24);
        assert!(Seed::parse(&words).is_ok());
        assert_ne!(words.expose(), Seed::new_words().expose());
    }

    #[test]
    fn what_is_no_seed_is_not_repeated() {
        let error = parse("abandon abandon").unwrap_err();
        assert!(!error.to_string().contains("abandon"));
        assert!(parse("").is_err());
        assert!(parse(&"ab".repeat(63)).is_err());
    }
}
