//! Commands for nodes, and what came of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What to do with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServiceAction {
    Start,
    Stop,
    Restart,
}

/// A command for a service of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceOrder {
    pub node: String,
    /// As the node's policy names it.
    pub service: String,
    pub action: ServiceAction,
    /// Only say whether it could be signed.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a node is to do, beside what [`ServiceAction`] has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeAction {
    /// To answer.
    Ping,
    /// To say how a service is.
    ServiceStatus { service: String },
    /// To show lines of a service's log: those after a cursor, or the last ones.
    Logs {
        service: String,
        /// 1 to 500.
        lines: u16,
        after: Option<String>,
    },
    /// To give a service another configuration and restart it.
    ApplyConfig {
        service: String,
        /// Higher than that of the last one.
        generation: u64,
        /// The TOML text.
        body: String,
    },
    /// To take no new miners, or to take them again.
    Drain { on: bool },
    /// To have its certificate renewed now.
    RenewCertificate,
    /// To say what its wallet has.
    ReadWallet,
    /// To make an invoice, which its result brings with the node's signature.
    MakeInvoice {
        amount_msat: u64,
        description: String,
    },
    /// To pay an invoice from its wallet, with the consent of the node's owner.
    Spend {
        /// BOLT11.
        invoice: String,
        amount_msat: u64,
        fee_msat_max: u64,
    },
}

/// A command for a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOrder {
    pub node: String,
    pub action: NodeAction,
    /// Only say whether it could be signed.
    #[serde(default)]
    pub dry_run: bool,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Operation {
    /// Empty for one that was only asked about.
    pub id: String,
    pub node: String,
    /// Such as `service.restart hh-translator`.
    pub command: String,
    /// Who asked for it.
    pub by: String,
    pub state: OperationState,
    pub created_at: Timestamp,
    /// From then on the node refuses it.
    pub expires_at: Timestamp,
    /// When it was known what came of it.
    pub ended_at: Option<Timestamp>,
    /// The node's code, such as `ok` or `policy`; `owner-consent` while it waits for the node's owner; none before it is known.
    pub code: Option<String>,
    /// The node's words, or why nothing is known yet.
    pub detail: Option<String>,
}

/// What is known of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Not sent: the node is away.
    Queued,
    /// Sent; the node has not said that it has it.
    Sent,
    /// In the node's journal.
    Taken,
    Done,
    /// The node tried, and it did not work.
    Failed,
    /// The node refused it; nothing was done.
    Rejected,
    /// The node's agent ended between the act and its result: it may have been done or not.
    Indeterminate,
    /// Never sent, and it is too late.
    Expired,
    /// Never sent, and an operator has taken it back.
    Cancelled,
}

impl OperationState {
    /// Whether it is known what came of it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent | Self::Taken)
    }
}

/// Which operations to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationQuery {
    #[serde(default)]
    pub node: Option<String>,
    /// At most this many; 0 and more than 1,000 mean 1,000.
    #[serde(default)]
    pub limit: u32,
}

/// Operations, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationPage {
    pub operations: Vec<Operation>,
    /// How many there are, listed here or not.
    pub total: u32,
}

/// For how long to wait for what comes of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitForOperation {
    pub id: String,
    /// At most 60,000.
    pub wait_ms: u32,
}
