//! The certificates that core issues with, and the keys that it signs with.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PkiStatus {
    pub trust_domain: String,
    /// What a token pins: `sha256:` and the hash of the root's public key.
    pub root_pin: String,
    pub issuers: Vec<IssuerStatus>,
    pub keys: Vec<SigningKeyStatus>,
}

/// A certificate that signs others, or core's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssuerStatus {
    /// `server-issuer`, `node-issuer`, `service-issuer` or `server`.
    pub name: String,
    pub until_at: Timestamp,
}

/// A key that signs texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SigningKeyStatus {
    /// What it signs: `enrolment`, `commands` or `checkpoints`.
    pub purpose: String,
    /// Its name in what it has signed.
    pub id: String,
}
