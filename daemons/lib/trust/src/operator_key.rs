//! The keys of operators: their Ed25519 SSH keys, and what these sign (SSHSIG, as `ssh-keygen -Y sign` makes it).
//!
//! A secret half never comes here: ssh-agent or ssh-keygen has it. A signature says in its namespace what it is for, so that none of
//! ours passes for one of git's, or one kind of ours for another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey, SshSig};

use crate::key_pair;

/// Longest signature's text in bytes: one of Ed25519 has 400.
const SIGNATURE_BYTES_MAX: usize = 2 * 1024;

/// Longest name of an operator in bytes.
const NAME_BYTES_MAX: usize = 32;

/// Why a text is no key or signature of an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorKeyError {
    /// No public key of SSH.
    #[error(
        "it is no public key of SSH: give the line of a .pub file, which begins with ssh-ed25519"
    )]
    Key,
    /// One of another kind.
    #[error(
        "it is a key of the kind {0}, and only ssh-ed25519 is taken: make one with ssh-keygen -t ed25519"
    )]
    Kind(String),
    /// A text that is no name.
    #[error(
        "{0:?} is no name of an operator: write 1 to {NAME_BYTES_MAX} of a-z, 0-9, . _ and -, a letter first"
    )]
    Name(String),
    /// No signature.
    #[error("it is no signature of SSH: {0}")]
    Signature(&'static str),
    /// A signature for something else.
    #[error("the signature is for {found:?}, and not for {expected:?}")]
    Namespace {
        /// In the signature.
        found: String,
        /// What it must be for.
        expected: &'static str,
    },
    /// The key has not signed this.
    #[error("the key {0} has not signed this text: one of both was changed")]
    Wrong(OperatorKey),
    /// Two names for one key: one person would be two.
    #[error("the operators {0} and {1} have the same key")]
    Twice(OperatorName, OperatorName),
}

/// An operator's public key: the line of a `.pub` file, without its comment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct OperatorKey([u8; 32]);

/// An operator's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct OperatorName(String);

/// The operators that a daemon's own configuration lists. No two have one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<OperatorName, OperatorKey>")]
pub struct OperatorList(BTreeMap<OperatorName, OperatorKey>);

impl OperatorKey {
    /// By which people know a key: `SHA256:` and base64, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.data().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Checks a signature over `message` in the armored form of OpenSSH.
    ///
    /// # Errors
    /// It is not this key's, or for something else.
    pub fn verify(
        &self,
        namespace: &'static str,
        message: &[u8],
        signature: &str,
    ) -> Result<(), OperatorKeyError> {
        let signature = SshSignature::parse(signature, namespace)?;
        match signature.signer == *self && signature.is_over(message) {
            true => Ok(()),
            false => Err(OperatorKeyError::Wrong(*self)),
        }
    }

    pub(crate) fn data(&self) -> KeyData {
        KeyData::Ed25519(Ed25519PublicKey(self.0))
    }

    pub(crate) fn from_data(data: &KeyData) -> Result<Self, OperatorKeyError> {
        let key = data.ed25519();
        let key = key.ok_or_else(|| OperatorKeyError::Kind(data.algorithm().to_string()))?;
        Ok(Self(key.0))
    }
}

/// A signature that was taken apart. It is believed by nobody before [`Self::is_over`].
pub(crate) struct SshSignature {
    /// Whose it says that it is.
    pub(crate) signer: OperatorKey,
    namespace: &'static str,
    hash: HashAlg,
    bytes: Vec<u8>,
}

impl SshSignature {
    pub(crate) fn parse(text: &str, namespace: &'static str) -> Result<Self, OperatorKeyError> {
        if text.len() > SIGNATURE_BYTES_MAX {
            return Err(OperatorKeyError::Signature("it is too long"));
        }
        let signature = SshSig::from_pem(text.trim());
        let signature = signature
            .map_err(|_says_little| OperatorKeyError::Signature("its armor or its parts"))?;
        // The reader is lenient about lengths inside: only what OpenSSH itself would write is one.
        let again = signature.to_pem(LineEnding::LF).unwrap_or_default();
        let letters = |text: &str| text.split_whitespace().collect::<String>();
        if letters(&again) != letters(text) {
            return Err(OperatorKeyError::Signature(
                "its parts are written in another way",
            ));
        }
        let signer = OperatorKey::from_data(signature.public_key())?;
        if signature.version() != 1 || !signature.reserved().is_empty() {
            return Err(OperatorKeyError::Signature("its version is another"));
        }
        if signature.algorithm() != Algorithm::Ed25519 {
            return Err(OperatorKeyError::Kind(signature.algorithm().to_string()));
        }
        if signature.namespace() != namespace {
            return Err(OperatorKeyError::Namespace {
                found: signature.namespace().chars().take(64).collect(),
                expected: namespace,
            });
        }
        Ok(Self {
            signer,
            namespace,
            hash: signature.hash_alg(),
            bytes: signature.signature_bytes().to_vec(),
        })
    }

    /// Whether the signer has signed `message`.
    pub(crate) fn is_over(&self, message: &[u8]) -> bool {
        let signed = SshSig::signed_data(self.namespace, self.hash, message);
        signed.is_ok_and(|signed| key_pair::has_signed(&self.signer.0, &signed, &self.bytes))
    }
}

impl OperatorList {
    /// The list of these.
    ///
    /// # Errors
    /// [`OperatorKeyError::Twice`].
    pub fn new(keys: BTreeMap<OperatorName, OperatorKey>) -> Result<Self, OperatorKeyError> {
        let mut names: BTreeMap<OperatorKey, &OperatorName> = BTreeMap::new();
        for (name, key) in &keys {
            if let Some(other) = names.insert(*key, name) {
                return Err(OperatorKeyError::Twice(other.clone(), name.clone()));
            }
        }
        Ok(Self(keys))
    }

    /// Whose key it is.
    #[must_use]
    pub fn name_of(&self, key: &OperatorKey) -> Option<&OperatorName> {
        let mut operators = self.0.iter();
        operators.find_map(|(name, known)| (known == key).then_some(name))
    }

    /// The key of that name.
    #[must_use]
    pub fn get(&self, name: &OperatorName) -> Option<&OperatorKey> {
        self.0.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&OperatorName, &OperatorKey)> {
        self.0.iter()
    }

    /// Who of these has signed `message`: names, each once however often he has. What others have signed does not count.
    ///
    /// # Errors
    /// A signature of one of these is wrong, or is for something else.
    pub(crate) fn signers(
        &self,
        namespace: &'static str,
        message: &[u8],
        signatures: &[String],
    ) -> Result<BTreeSet<OperatorName>, OperatorKeyError> {
        let mut signers = BTreeSet::new();
        for signature in signatures {
            let signature = SshSignature::parse(signature, namespace)?;
            let Some(name) = self.name_of(&signature.signer) else {
                continue;
            };
            if !signature.is_over(message) {
                return Err(OperatorKeyError::Wrong(signature.signer));
            }
            signers.insert(name.clone());
        }
        Ok(signers)
    }
}

impl TryFrom<BTreeMap<OperatorName, OperatorKey>> for OperatorList {
    type Error = OperatorKeyError;

    fn try_from(keys: BTreeMap<OperatorName, OperatorKey>) -> Result<Self, OperatorKeyError> {
        Self::new(keys)
    }
}

impl FromStr for OperatorKey {
    type Err = OperatorKeyError;

    fn from_str(text: &str) -> Result<Self, OperatorKeyError> {
        let key = PublicKey::from_openssh(text.trim());
        let key = key.map_err(|_says_little| OperatorKeyError::Key)?;
        Self::from_data(key.key_data())
    }
}

impl fmt::Display for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = PublicKey::new(self.data(), "")
            .to_openssh()
            .or(Err(fmt::Error))?;
        f.write_str(key.trim_end())
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

impl FromStr for OperatorName {
    type Err = OperatorKeyError;

    fn from_str(text: &str) -> Result<Self, OperatorKeyError> {
        let takes = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let is_name = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(takes);
        if is_name && text.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Ok(Self(text.to_owned()));
        }
        let shown = text.chars().take(NAME_BYTES_MAX).collect();
        Err(OperatorKeyError::Name(shown))
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! serde_form {
    ($name:ident) => {
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = OperatorKeyError;

            fn try_from(text: String) -> Result<Self, OperatorKeyError> {
                text.parse()
            }
        }
    };
}
serde_form!(OperatorKey);
serde_form!(OperatorName);

#[cfg(test)]
pub(crate) mod tests;
