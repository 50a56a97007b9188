//! hyperhash-core as an operator sees it.

mod api_token;
mod audit;
mod node;
mod operation;
mod pki;
mod record;
mod revocation;
mod token;

pub use api_token::{ApiToken, ApiTokenPage, ApiTokenState, CreateApiToken, IssuedApiToken, Role};
pub use audit::{AuditCheckpoint, AuditPage, AuditQuery, AuditWitness, AuditWitnessPage};
pub use node::{
    FleetNode, FleetNodeDetail, FleetPage, NodeHealth, NodeInventory, NodeLane, NodeProgram,
    NodeService, NodeState,
};
pub use operation::{
    NodeAction, NodeOrder, Operation, OperationPage, OperationQuery, OperationState, ServiceAction,
    ServiceOrder, WaitForOperation,
};
pub use pki::{IssuerStatus, PkiStatus, SigningKeyStatus};
pub use record::{
    KeptRecord, RecordKind, RecordPage, RecordQuery, RecordRevocation, RecordSet, RevokeRecord,
    Revoked, SignedRecord,
};
pub use revocation::{FleetRevocation, RevokeFleetNode, RevokedFleetNode};
pub use token::{CreateToken, EnrolmentToken, IssuedToken, TokenPage, TokenState};

use super::Hello;
use crate::ApiError;
use serde::{Deserialize, Serialize};

/// Answered on hyperhash-core's sockets.
#[tarpc::service]
pub trait Core {
    /// Who answers.
    async fn hello() -> Hello;
    /// One look at everything.
    async fn status() -> Result<CoreStatus, ApiError>;
    /// The nodes that have enrolled.
    async fn nodes() -> Result<FleetPage, ApiError>;
    /// One of them, by its name.
    async fn node(id: String) -> Result<FleetNodeDetail, ApiError>;
    /// Lets a node in no more: its session ends, and it gets nothing. Refused on a view socket.
    async fn revoke_node(request: RevokeFleetNode) -> Result<RevokedFleetNode, ApiError>;
    /// Signs a command for a service of a node. It is carried out when the node is connected. Refused on a view socket.
    async fn order_service(order: ServiceOrder) -> Result<Operation, ApiError>;
    /// Signs a command for a node, as [`Self::order_service`] does. Refused on a view socket.
    async fn order_node(order: NodeOrder) -> Result<Operation, ApiError>;
    /// Commands and what came of them, newest first.
    async fn operations(query: OperationQuery) -> Result<OperationPage, ApiError>;
    /// One of them.
    async fn operation(id: String) -> Result<Operation, ApiError>;
    /// One of them, as soon as it is known what came of it, or when the time is over.
    async fn wait_for_operation(wait: WaitForOperation) -> Result<Operation, ApiError>;
    /// Takes a command back that was never sent. Refused on a view socket.
    async fn cancel_operation(id: String) -> Result<Operation, ApiError>;
    /// Makes a token with which one node may enrol. Refused on a view socket.
    async fn create_token(request: CreateToken) -> Result<IssuedToken, ApiError>;
    /// Tokens, newest first; none of them can be used by who sees them here.
    async fn tokens() -> Result<TokenPage, ApiError>;
    /// Lets a token be of no use any more. Refused on a view socket.
    async fn revoke_token(id: String) -> Result<EnrolmentToken, ApiError>;
    /// Makes a token with which somebody may call core's REST interface. Refused on a view socket.
    async fn create_api_token(request: CreateApiToken) -> Result<IssuedApiToken, ApiError>;
    /// These tokens, newest first; none of them can be used by who sees them here.
    async fn api_tokens() -> Result<ApiTokenPage, ApiError>;
    /// Lets one be of no use any more, at once. Refused on a view socket.
    async fn revoke_api_token(id: String) -> Result<ApiToken, ApiError>;
    /// What operators have signed about nodes and each other, by name: of each the last record.
    async fn records(query: RecordQuery) -> Result<RecordPage, ApiError>;
    /// Keeps a record that an operator has signed, or adds his signature to one that another has. Refused on a view socket.
    async fn create_record(record: SignedRecord) -> Result<KeptRecord, ApiError>;
    /// Has hh-pool and hh-treasury believe a node or an operator no more. Refused on a view socket.
    async fn revoke_record(request: RevokeRecord) -> Result<KeptRecord, ApiError>;
    /// The certificates that core issues with, the keys that it signs with, and when they end.
    async fn pki() -> Result<PkiStatus, ApiError>;
    /// Lines of the audit log.
    async fn audit(query: AuditQuery) -> Result<AuditPage, ApiError>;
    /// How far the log goes now, signed with the key for checkpoints.
    async fn audit_checkpoint() -> Result<AuditCheckpoint, ApiError>;
    /// What nodes have seen of the log.
    async fn audit_witnesses() -> Result<AuditWitnessPage, ApiError>;
}

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CoreStatus {
    /// The part of names in certificates that is the operator's.
    pub trust_domain: String,
    pub enrolment_address: String,
    pub session_address: String,
    /// That have enrolled and are not revoked.
    pub nodes: u32,
    /// Of these, that have a session now.
    pub nodes_connected: u32,
    /// Of the lanes of these, over the last 10 minutes, in hashes a second.
    #[serde(default)]
    pub hashrate_10m_hs: f64,
    /// Connections of miners to these.
    #[serde(default)]
    pub miners: u64,
    /// Commands of which it is not known what came of them.
    pub operations_open: u32,
    /// How many lines the audit log has, and the root of the tree over them, as `LINES:ROOT`.
    pub audit_head: String,
}
