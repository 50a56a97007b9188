//! Tokens with which nodes enrol.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// For which node to make a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateToken {
    /// The name that the node gets.
    pub node: String,
    /// From now on; 60 to 86,400.
    pub valid_seconds: u32,
    /// The node will serve miners of others, and is listed.
    #[serde(default)]
    pub public: bool,
    /// The node of that name enrols again, with other keys; the old ones are of no use from then on.
    #[serde(default)]
    pub replace: bool,
}

/// A token just made. It is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssuedToken {
    pub token: EnrolmentToken,
    /// What the node is given, in a file for its agent alone to read.
    pub secret: String,
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnrolmentToken {
    pub id: String,
    pub node: String,
    pub state: TokenState,
    /// Who made it.
    pub by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
}

/// Whether a token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    Open,
    Used,
    Expired,
    Revoked,
}

/// Tokens, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPage {
    /// At most 1,000.
    pub tokens: Vec<EnrolmentToken>,
    /// How many there are, listed here or not.
    pub total: u32,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken")
            .field("token", &self.token)
            .field("secret", &"[secret]")
            .finish()
    }
}
