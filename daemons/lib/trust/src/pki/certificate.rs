//! What is read from a certificate: whose it is, its serial number, from when to when it holds, and its key.

use std::fmt;
use std::str::FromStr;

use bitcoin::hashes::{Hash, sha256};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SubjectPublicKeyInfo};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{Identity, IdentityError, TrustDomain, Validity};

/// Bytes of a serial number: 16 random ones, so that nobody guesses one and no list of them is kept.
pub(super) const SERIAL_BYTES: usize = 16;

/// Why a certificate is not one of this network.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It is none.
    #[error("it is no certificate: {0}")]
    Malformed(&'static str),
    /// More than one URI, or none: nobody should choose which of them counts.
    #[error("the certificate has {0} URIs in place of one")]
    Uris(usize),
    /// Its URI is none of ours.
    #[error("the certificate is not of a peer of this network")]
    Identity(#[from] IdentityError),
    /// A text that is no pin.
    #[error("{0:?} is no pin of a root: write sha256: and 64 hex digits")]
    Pin(String),
    /// A text that is no serial number.
    #[error("{0:?} is no serial number: write 32 hex digits")]
    Serial(String),
}

/// A serial number of this network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Serial(pub(super) [u8; SERIAL_BYTES]);

/// SHA-256 of a root's public key info: what is written into a token, so that a node knows the network that it joins.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CaPin(pub(super) [u8; 32]);

/// A certificate of a peer, read but not believed: TLS has verified it, or nobody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is.
    pub identity: Identity,
    /// Its number.
    pub serial: Serial,
    /// When it holds.
    pub validity: Validity,
    /// SHA-256 of its public key's info.
    pub key_hash: [u8; 32],
}

impl PeerCertificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// It is no leaf of this network.
    pub fn from_der(der: &[u8], domain: &TrustDomain) -> Result<Self, CertificateError> {
        let certificate = parsed(der)?;
        let names = certificate.subject_alternative_name();
        let names = names.map_err(|_twice| CertificateError::Malformed("its names"))?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let uri = match (uris.next(), uris.count()) {
            (Some(uri), 0) => uri,
            (first, more) => {
                return Err(CertificateError::Uris(usize::from(first.is_some()) + more));
            }
        };
        if certificate.is_ca() {
            return Err(CertificateError::Malformed(
                "it is one of an issuer and no peer's",
            ));
        }
        Ok(Self {
            identity: Identity::from_uri(uri, domain)?,
            serial: serial_of(&certificate)?,
            validity: validity_of(&certificate),
            key_hash: spki_hash(certificate.public_key().raw),
        })
    }
}

impl CaPin {
    /// The pin of a certificate in DER.
    ///
    /// # Errors
    /// It is none.
    pub fn of(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parsed(der)?;
        Ok(Self(spki_hash(certificate.public_key().raw)))
    }

    /// Whether `der` is a certificate of the key that is pinned.
    #[must_use]
    pub fn matches(&self, der: &[u8]) -> bool {
        Self::of(der).is_ok_and(|pin| pin == *self)
    }
}

/// Reads one certificate, and nothing after it.
pub(super) fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertificateError::Malformed("bytes after its end")),
        Err(_) => Err(CertificateError::Malformed("its DER")),
    }
}

pub(super) fn validity_of(certificate: &X509Certificate<'_>) -> Validity {
    Validity {
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    }
}

fn serial_of(certificate: &X509Certificate<'_>) -> Result<Serial, CertificateError> {
    // DER puts a zero before a number whose first bit is set, and leaves zeros out.
    let bytes = certificate.serial.to_bytes_be();
    let error = CertificateError::Malformed("its serial number");
    let mut serial = [0; SERIAL_BYTES];
    let start = SERIAL_BYTES.checked_sub(bytes.len()).ok_or(error)?;
    serial[start..].copy_from_slice(&bytes);
    Ok(Serial(serial))
}

/// Whether the key of a certificate in DER has signed `message`. A key of another kind than ours has signed nothing.
pub(crate) fn has_signed(der: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(certificate) = parsed(der) else {
        return false;
    };
    let Ok(key) = SubjectPublicKeyInfo::from_der(certificate.public_key().raw) else {
        return false;
    };
    let algorithm: &'static dyn VerificationAlgorithm = match key.algorithm() {
        kind if kind == &PKCS_ECDSA_P256_SHA256 => &ECDSA_P256_SHA256_ASN1,
        kind if kind == &PKCS_ED25519 => &ED25519,
        _ => return false,
    };
    let key = UnparsedPublicKey::new(algorithm, key.der_bytes());
    key.verify(message, signature).is_ok()
}

/// SHA-256 of a public key's info in DER.
pub(super) fn spki_hash(info: &[u8]) -> [u8; 32] {
    sha256::Hash::hash(info).to_byte_array()
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Serial {
    type Err = CertificateError;

    fn from_str(text: &str) -> Result<Self, CertificateError> {
        let mut bytes = [0; SERIAL_BYTES];
        let decoded = hex::decode_to_slice(text, &mut bytes);
        match decoded {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(CertificateError::Serial(text.to_owned())),
        }
    }
}

impl fmt::Display for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl FromStr for CaPin {
    type Err = CertificateError;

    fn from_str(text: &str) -> Result<Self, CertificateError> {
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        match hex::decode_to_slice(digits, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(CertificateError::Pin(text.chars().take(80).collect())),
        }
    }
}

macro_rules! text_form {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = CertificateError;

            fn try_from(text: String) -> Result<Self, CertificateError> {
                text.parse()
            }
        }
    };
}
text_form!(Serial);
text_form!(CaPin);
