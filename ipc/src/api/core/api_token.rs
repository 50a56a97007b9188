//! Tokens with which people and programs call core's REST interface.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What somebody is to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Miner,
    NodeOperator,
    CoreOperator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Miner, Self::NodeOperator, Self::CoreOperator];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::NodeOperator => "node-operator",
            Self::CoreOperator => "core-operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// For whom to make a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateApiToken {
    /// Of the person or the program, as the audit log will have it: 1 to 32 of `a-z`, `0-9`, `-`.
    pub name: String,
    pub role: Role,
    /// It changes nothing.
    #[serde(default)]
    pub read_only: bool,
    /// Whose operator a node operator is; of no other role.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Whose holder a miner is; of no other role.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// From now on; 1 to 366.
    pub valid_days: u32,
}

/// A token just made. It is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedApiToken {
    pub token: ApiToken,
    /// What is sent as `Authorization: Bearer SECRET`; core keeps its hash.
    pub secret: String,
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiToken {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub read_only: bool,
    pub nodes: Vec<String>,
    pub accounts: Vec<String>,
    pub state: ApiTokenState,
    /// Who made it.
    pub by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Whether a token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApiTokenState {
    Active,
    Expired,
    Revoked,
}

/// Tokens, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiTokenPage {
    /// At most 1,000.
    pub tokens: Vec<ApiToken>,
    /// How many there are, listed here or not.
    pub total: u32,
}

impl fmt::Debug for IssuedApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedApiToken")
            .field("token", &self.token)
            .field("secret", &"[secret]")
            .finish()
    }
}
