//! The Ed25519 keys of the control plane, one for each thing that is signed. Each is a type of its own, with a text of its own: none
//! is ever taken for another, and none that is stolen signs what is another's.
//!
//! The network's key is offline. It signs nothing but the list of the online ones, so that a core from which those were stolen
//! gets new ones, and every node knows.

use std::fmt;
use std::str::FromStr;

use bitcoin::bech32::Hrp;
use serde::{Deserialize, Serialize};

use crate::key_pair::{self, SecretPair};

/// Why a text is no key of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlKeyError {
    /// The public key's text.
    #[error(
        "it is not the public key of {what}, which begins with {prefix}1 (mistyped or cut off?)"
    )]
    Public {
        /// What the key signs.
        what: &'static str,
        /// In front of its text.
        prefix: &'static str,
    },
    /// The secret key's text; it is not repeated here.
    #[error("the secret key of {what} is not 64 hex digits")]
    Secret {
        /// What the key signs.
        what: &'static str,
    },
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness for a key")]
    Randomness,
}

macro_rules! control_key {
    ($what:literal, $prefix:literal, $(#[$public_doc:meta])* $public:ident, $(#[$secret_doc:meta])* $secret:ident) => {
        $(#[$public_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $public([u8; 32]);

        impl $public {
            pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
                key_pair::has_signed(&self.0, message, signature)
            }
        }

        impl FromStr for $public {
            type Err = ControlKeyError;

            fn from_str(text: &str) -> Result<Self, ControlKeyError> {
                let key = key_pair::from_text(Hrp::parse_unchecked($prefix), text);
                key.map(Self).ok_or(ControlKeyError::Public {
                    what: $what,
                    prefix: $prefix,
                })
            }
        }

        impl fmt::Display for $public {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                key_pair::fmt_text(Hrp::parse_unchecked($prefix), &self.0, f)
            }
        }

        impl fmt::Debug for $public {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl From<$public> for String {
            fn from(key: $public) -> Self {
                key.to_string()
            }
        }

        impl TryFrom<String> for $public {
            type Error = ControlKeyError;

            fn try_from(text: String) -> Result<Self, ControlKeyError> {
                text.parse()
            }
        }

        $(#[$secret_doc])*
        pub struct $secret(SecretPair);

        impl $secret {
            /// A fresh key from the operating system's randomness.
            ///
            /// # Errors
            /// [`ControlKeyError::Randomness`].
            pub fn generate() -> Result<Self, ControlKeyError> {
                let pair = SecretPair::generate();
                pair.map(Self).ok_or(ControlKeyError::Randomness)
            }

            /// The key as hex, for the one place that writes it to its file.
            #[must_use]
            pub fn to_secret_hex(&self) -> String {
                self.0.to_hex()
            }

            /// The half that those have who check.
            #[must_use]
            pub fn public_key(&self) -> $public {
                $public(self.0.public())
            }

            pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
                self.0.sign(message)
            }
        }

        impl FromStr for $secret {
            type Err = ControlKeyError;

            fn from_str(text: &str) -> Result<Self, ControlKeyError> {
                // What is wrong in it would show a digit of it.
                let pair = SecretPair::from_hex(text);
                pair.map(Self).ok_or(ControlKeyError::Secret { what: $what })
            }
        }

        impl fmt::Debug for $secret {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($secret), "([secret])"))
            }
        }
    };
}

control_key!(
    "the network",
    "hhnetwork",
    /// By which nodes know the keys of their network's core. It is in every token, and never changes.
    NetworkPublicKey,
    /// The offline key that signs lists of keys. It is not shown by Debug.
    NetworkKey
);
control_key!(
    "enrolment",
    "hhenrol",
    /// Which tokens a core takes.
    EnrolPublicKey,
    /// Signs tokens. It is not shown by Debug.
    EnrolKey
);
control_key!(
    "commands",
    "hhcommand",
    /// Whose commands a node carries out.
    CommandPublicKey,
    /// Signs commands. It is not shown by Debug.
    CommandKey
);
impl CheckpointPublicKey {
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

control_key!(
    "checkpoints",
    "hhaudit",
    /// Whose checkpoints of the audit log count.
    CheckpointPublicKey,
    /// Signs checkpoints of the audit log. It is not shown by Debug.
    CheckpointKey
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_read_as_one_of_another_kind() {
        let texts = [
            NetworkKey::generate().unwrap().public_key().to_string(),
            EnrolKey::generate().unwrap().public_key().to_string(),
            CommandKey::generate().unwrap().public_key().to_string(),
            CheckpointKey::generate().unwrap().public_key().to_string(),
            crate::NodeSecretKey::generate()
                .unwrap()
                .public_key()
                .to_string(),
            crate::ReportKey::generate()
                .unwrap()
                .public_key()
                .to_string(),
        ];
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(text.parse::<NetworkPublicKey>().is_ok(), at == 0, "{text}");
            assert_eq!(text.parse::<EnrolPublicKey>().is_ok(), at == 1, "{text}");
            assert_eq!(text.parse::<CommandPublicKey>().is_ok(), at == 2, "{text}");
            assert_eq!(
                text.parse::<CheckpointPublicKey>().is_ok(),
                at == 3,
                "{text}"
            );
            assert_eq!(
                text.parse::<crate::NodePublicKey>().is_ok(),
                at == 4,
                "{text}"
            );
            assert_eq!(
                text.parse::<crate::ReportPublicKey>().is_ok(),
                at == 5,
                "{text}"
            );
        }
    }

    #[test]
    fn both_halves_are_read_again_and_no_secret_is_shown() {
        let key = CommandKey::generate().unwrap();
        let again: CommandKey = format!("{}\n", key.to_secret_hex()).parse().unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(key.public_key().to_string().parse(), Ok(key.public_key()));
        assert_eq!(format!("{key:?}"), "CommandKey([secret])");
        for text in ["", "00", "x", &"z".repeat(64)] {
            let error = text.parse::<CommandKey>().unwrap_err();
            assert_eq!(error, ControlKeyError::Secret { what: "commands" });
        }
    }
}
