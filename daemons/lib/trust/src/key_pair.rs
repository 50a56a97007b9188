//! What the Ed25519 keys of this network have in common: 32 bytes of hex for the secret half, bech32m for the public one. Each kind
//! of key is a type of its own, with a prefix of its own, so that none is ever taken for another.

use std::fmt;

use bitcoin::bech32::primitives::decode::CheckedHrpstring;
use bitcoin::bech32::{self, Bech32m, Hrp};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// A secret key. It has no Debug.
pub(crate) struct SecretPair {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SecretPair {
    /// A fresh one; none where the operating system gives no randomness.
    pub(crate) fn generate() -> Option<Self> {
        let seed = ring::rand::generate(&SystemRandom::new()).ok()?;
        Some(Self::from_seed(seed.expose()))
    }

    /// Of a text of 64 hex digits; none if it is another.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut seed = [0; 32];
        hex::decode_to_slice(text.trim(), &mut seed).ok()?;
        Some(Self::from_seed(seed))
    }

    fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        let pair = pair.expect("any 32 bytes are a seed (RFC 8032, 5.1.5)");
        Self { seed, pair }
    }

    pub(crate) fn to_hex(&self) -> String {
        hex::encode(self.seed)
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        let public = self.pair.public_key().as_ref();
        public
            .try_into()
            .expect("an Ed25519 public key has 32 bytes")
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(message);
        let signature = signature.as_ref().try_into();
        signature.expect("an Ed25519 signature has 64 bytes")
    }
}

/// Whether `signature` is that of the key over `message` (RFC 8032, with a canonical S, so that there is one of them).
pub(crate) fn has_signed(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, public);
    key.verify(message, signature).is_ok()
}

/// Reads a public key's text; none if it has another prefix or a mistyped letter.
pub(crate) fn from_text(prefix: Hrp, text: &str) -> Option<[u8; 32]> {
    let parsed = CheckedHrpstring::new::<Bech32m>(text.trim()).ok()?;
    let bytes: Vec<u8> = parsed.byte_iter().collect();
    let bytes = <[u8; 32]>::try_from(bytes).ok()?;
    (parsed.hrp() == prefix).then_some(bytes)
}

/// Writes a public key's text.
pub(crate) fn fmt_text(prefix: Hrp, key: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bech32::encode_to_fmt::<Bech32m, _>(f, prefix, key).or(Err(fmt::Error))
}
