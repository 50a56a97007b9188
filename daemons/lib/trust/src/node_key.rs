//! A node's Ed25519 key pair, which never leaves the node, and the texts of both halves.
//!
//! The public key's text is bech32m with `hhnode` in front (BIP 350): one mistyped letter is noticed where it is written, and not
//! as a node that nobody can explain why it is refused. The secret key's is 32 bytes in hex, as that of every key in this network.
//! What is signed with it says in itself what it is for: one key never signs two things that look alike.

use std::fmt;
use std::str::FromStr;

use bitcoin::bech32::Hrp;
use serde::{Deserialize, Serialize};

use crate::key_pair::{self, SecretPair};

/// In front of the public key's text.
const PREFIX: Hrp = Hrp::parse_unchecked("hhnode");

/// Why a text is no key of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeKeyError {
    /// The public key's text.
    #[error("it is not the public key of a node, which begins with hhnode1 (mistyped or cut off?)")]
    Public,
    /// The secret key's text; it is not repeated here.
    #[error("the secret key of a node is not 64 hex digits")]
    Secret,
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness for a key")]
    Randomness,
}

/// The half that a pool knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NodePublicKey([u8; 32]);

impl NodePublicKey {
    /// Whether `signature` is this key's over `message` (RFC 8032, with a canonical S, so that there is one of them).
    #[must_use]
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        key_pair::has_signed(&self.0, message, signature)
    }
}

impl FromStr for NodePublicKey {
    type Err = NodeKeyError;

    fn from_str(text: &str) -> Result<Self, NodeKeyError> {
        let key = key_pair::from_text(PREFIX, text);
        key.map(Self).ok_or(NodeKeyError::Public)
    }
}

impl fmt::Display for NodePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        key_pair::fmt_text(PREFIX, &self.0, f)
    }
}

impl fmt::Debug for NodePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodePublicKey({self})")
    }
}

impl From<NodePublicKey> for String {
    fn from(key: NodePublicKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for NodePublicKey {
    type Error = NodeKeyError;

    fn try_from(text: String) -> Result<Self, NodeKeyError> {
        text.parse()
    }
}

/// The half that signs. It is not shown by Debug.
pub struct NodeSecretKey(SecretPair);

impl NodeSecretKey {
    /// A fresh key from the operating system's randomness.
    ///
    /// # Errors
    /// [`NodeKeyError::Randomness`].
    pub fn generate() -> Result<Self, NodeKeyError> {
        let pair = SecretPair::generate();
        pair.map(Self).ok_or(NodeKeyError::Randomness)
    }

    /// The key as hex, for the one place that writes it to its file.
    #[must_use]
    pub fn to_secret_hex(&self) -> String {
        self.0.to_hex()
    }

    /// The half that pools are given.
    #[must_use]
    pub fn public_key(&self) -> NodePublicKey {
        NodePublicKey(self.0.public())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

impl FromStr for NodeSecretKey {
    type Err = NodeKeyError;

    fn from_str(text: &str) -> Result<Self, NodeKeyError> {
        // What is wrong in it would show a digit of it.
        let pair = SecretPair::from_hex(text);
        pair.map(Self).ok_or(NodeKeyError::Secret)
    }
}

impl fmt::Debug for NodeSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeSecretKey([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::bech32::{self, Bech32m};

    /// RFC 8032, 7.1, test 1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const SIGNATURE: &str = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";

    #[test]
    fn keys_and_signatures_are_those_of_the_rfc() {
        let secret: NodeSecretKey = SEED.parse().unwrap();
        let public = secret.public_key();
        assert_eq!(hex::encode(public.0), PUBLIC);
        assert_eq!(hex::encode(secret.sign(b"")), SIGNATURE);
        assert!(public.has_signed(b"", &hex::decode(SIGNATURE).unwrap()));
        assert!(!public.has_signed(b"x", &hex::decode(SIGNATURE).unwrap()));
    }

    #[test]
    fn both_texts_are_read_again_and_debug_shows_no_secret() {
        let secret = NodeSecretKey::generate().unwrap();
        let again: NodeSecretKey = format!("{}\n", secret.to_secret_hex()).parse().unwrap();
        assert_eq!(again.public_key(), secret.public_key());
        let text = secret.public_key().to_string();
        assert!(text.starts_with("hhnode1"), "{text}");
        assert_eq!(text.parse(), Ok(secret.public_key()));
        let debug = format!("{secret:?}");
        assert!(!debug.contains(&secret.to_secret_hex()[..8]), "{debug}");
    }

    #[test]
    fn a_public_key_with_a_wrong_letter_is_refused() {
        let text = NodeSecretKey::generate().unwrap().public_key().to_string();
        let refused = |text: &str| text.parse::<NodePublicKey>() == Err(NodeKeyError::Public);
        for at in 7..text.len() {
            let other = if &text[at..=at] == "q" { "p" } else { "q" };
            let mut wrong = text.clone();
            wrong.replace_range(at..=at, other);
            assert!(refused(&wrong), "{wrong}");
        }
        assert!(refused(""));
        assert!(refused(&text[1..]));
        let other = bech32::encode::<Bech32m>(Hrp::parse("hhpool").unwrap(), &[1; 32]).unwrap();
        assert!(refused(&other));
        let short = bech32::encode::<Bech32m>(PREFIX, &[1; 31]).unwrap();
        assert!(refused(&short));
        let older = bech32::encode::<bech32::Bech32>(PREFIX, &[1; 32]).unwrap();
        assert!(refused(&older));
    }

    #[test]
    fn a_secret_key_that_is_none_says_so_and_is_not_repeated() {
        for text in ["", "abc", &SEED[2..], "x".repeat(64).as_str()] {
            let error = text.parse::<NodeSecretKey>().unwrap_err();
            assert_eq!(error, NodeKeyError::Secret);
        }
    }
}
