//! A request for a certificate, of which the public key is all that counts.
//!
//! Talos (CVE-2022-36103), SPIRE (CVE-2021-27098) and Puppet (CVE-2011-3872) let a request say what its certificate may do. So
//! nothing of it gets out of here but the key, and that only if the request is signed by it.

use std::fmt;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rcgen::{PublicKeyData, SigningKey, SubjectPublicKeyInfo};
use rustls::pki_types::PrivateKeyDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::certificate::spki_hash;

/// Longest request in bytes: ours have 200.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is none.
    #[error("it is no request for a certificate: {0}")]
    Malformed(&'static str),
    /// Its key has not signed it.
    #[error("the request is not signed by the key that is in it")]
    Unsigned,
    /// A key of another kind.
    #[error("the key is neither of ECDSA P-256 nor of Ed25519")]
    KeyKind,
    /// The key on this machine.
    #[error("could not make or read the key of a certificate")]
    Key(#[source] rcgen::Error),
}

/// The public key of a request that was signed by it.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    key: SubjectPublicKeyInfo,
}

impl CertificateRequest {
    /// Reads a PKCS #10 request (RFC 2986) and checks that its key has signed it.
    ///
    /// # Errors
    /// It is none, or its key is of another kind than ours.
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::Malformed("it is too long"));
        }
        let parsed = X509CertificationRequest::from_der(der).ok();
        let (rest, request) = parsed.ok_or(RequestError::Malformed("its DER"))?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed("bytes after its end"));
        }
        let signed = request.verify_signature();
        signed.map_err(|_says_no_more| RequestError::Unsigned)?;
        let key = request.certification_request_info.subject_pki.raw;
        let key = SubjectPublicKeyInfo::from_der(key).ok();
        let key = key.ok_or(RequestError::KeyKind)?;
        if [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519].contains(&key.algorithm()) {
            Ok(Self { key })
        } else {
            Err(RequestError::KeyKind)
        }
    }

    /// SHA-256 of the public key's info: by which a key is known again.
    #[must_use]
    pub fn key_hash(&self) -> [u8; 32] {
        spki_hash(&self.key.subject_public_key_info())
    }

    pub(super) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }
}

/// The TLS key of a peer, ECDSA P-256. It is not shown by Debug.
pub struct LeafKey(KeyPair);

impl LeafKey {
    /// A fresh key.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn generate() -> Result<Self, RequestError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        pair.map(Self).map_err(RequestError::Key)
    }

    /// Reads the text that [`Self::to_secret_pem`] writes.
    ///
    /// # Errors
    /// It is another.
    pub fn from_pem(text: &str) -> Result<Self, RequestError> {
        let pair = KeyPair::from_pem(text);
        pair.map(Self).map_err(RequestError::Key)
    }

    /// The key in PKCS #8, for the one place that writes it to its file.
    #[must_use]
    pub fn to_secret_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// A request for a certificate, in DER: it asks for nothing.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn request(&self) -> Result<Vec<u8>, RequestError> {
        let mut asks_nothing = CertificateParams::default();
        asks_nothing.distinguished_name = rcgen::DistinguishedName::new();
        let request = asks_nothing.serialize_request(&self.0);
        let request = request.map_err(RequestError::Key)?;
        Ok(request.der().to_vec())
    }

    /// The request as its receiver has it, where both are one program.
    #[must_use]
    pub fn as_request(&self) -> CertificateRequest {
        let key = SubjectPublicKeyInfo::from_der(&self.0.subject_public_key_info());
        let key = key.expect("the info of a key of ours is read as it was written");
        CertificateRequest { key }
    }

    /// A signature over `message`, as its certificate's key checks it ([`super::certificate::has_signed`]).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, RequestError> {
        self.0.sign(message).map_err(RequestError::Key)
    }

    pub(super) fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.0.serialize_der().into())
    }
}

impl fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeafKey([secret])")
    }
}
