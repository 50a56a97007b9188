//! hh-node-agent as the owner of its node sees it.

use super::core::{NodeService, OperationState};
use super::{Hello, JournalPage, JournalQuery};
use crate::ApiError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Answered on hh-node-agent's sockets.
#[tarpc::service]
pub trait NodeAgent {
    /// Who answers.
    async fn hello() -> Hello;
    /// One look at everything.
    async fn status() -> Result<NodeAgentStatus, ApiError>;
    /// Commands of core that wait for the owner, in the order in which they came.
    async fn consents() -> Result<Vec<WaitingConsent>, ApiError>;
    /// One of them, and what it would change.
    async fn consent(id: String) -> Result<ConsentDetail, ApiError>;
    /// Has one carried out, and answers when it is; or lets it not be. Refused on a view socket.
    async fn decide(decision: ConsentDecision) -> Result<DecidedConsent, ApiError>;
    /// The node's wallet, what the node is owed, and what became of its invoices.
    async fn wallet() -> Result<NodeWalletStatus, ApiError>;
    /// Lines of the journal of changes.
    async fn journal(query: JournalQuery) -> Result<JournalPage, ApiError>;
}

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAgentStatus {
    /// By which core knows it; none before it has enrolled.
    pub node: Option<String>,
    pub trust_domain: Option<String>,
    /// `HOST:PORT`.
    pub core_address: Option<String>,
    /// There is a session.
    pub is_connected: bool,
    /// Of commands; another one at every enrolment.
    pub epoch: u64,
    /// Our clock less core's, as of core's last word.
    pub clock_ahead_ms: i64,
    pub certificate_until_at: Option<Timestamp>,
    pub services: Vec<NodeService>,
    /// Commands that wait for the owner.
    pub consents_waiting: u32,
    #[serde(default)]
    pub audit: AuditSeen,
}

/// What the node has seen of core's audit log, of which it is a witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSeen {
    /// Lines; 0 before the first checkpoint.
    pub lines: u64,
    /// When the last checkpoint came.
    pub at: Option<Timestamp>,
    /// Why one was refused: the log was cut, written anew, or there are two.
    pub fault: Option<String>,
}

/// A command of core that is carried out only if the owner consents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingConsent {
    /// That of the operation.
    pub id: String,
    /// Who has asked for it, as core says.
    pub operator: String,
    /// Such as `config.apply hh-translator`.
    pub command: String,
    /// All that it does, and why the owner is asked.
    pub question: String,
    pub since_at: Timestamp,
    /// From then on it is given up.
    pub expires_at: Timestamp,
}

/// One of them, and what it would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentDetail {
    pub consent: WaitingConsent,
    /// Keys of the configuration as they are now (`- KEY = VALUE`) and would be (`+ KEY = VALUE`).
    pub changes: Vec<String>,
}

/// The owner's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentDecision {
    pub id: String,
    pub approve: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedConsent {
    pub id: String,
    pub command: String,
    pub state: OperationState,
    /// The agent's code, such as `ok`, `owner-refused` or `rolled-back`.
    pub code: String,
    pub detail: String,
}

/// The node's wallet and its dues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeWalletStatus {
    /// `ldk-node`, `lnd` or `cln`.
    pub backend: String,
    /// Why it can't be used now.
    pub fault: Option<String>,
    /// Of its Lightning node, in hex; none before it has answered once.
    pub node_id: Option<String>,
    /// In step with the chain.
    pub is_synced: bool,
    pub onchain_sat: u64,
    /// Our side of its channels.
    pub in_channels_msat: u64,
    /// The Lightning node of hh-treasury, by this node's own configuration.
    pub treasury_node_id: String,
    /// Channels with it that can be used now. None is an alarm: nothing can be paid to this node.
    pub treasury_channels: u32,
    /// What the largest of them can bring in one payment.
    pub receivable_msat: u64,
    /// What hh-treasury says by way of core that it may pay; none before it has said so in this session.
    pub dues_msat: Option<u64>,
    /// Why no invoice is made for them now.
    pub invoice_waits_for: Option<String>,
    /// Newest first, at most 100.
    pub invoices: Vec<DuesInvoice>,
    /// What the owner has had paid by `hhctl consent approve`, newest first, at most 100.
    #[serde(default)]
    pub payments: Vec<WalletPayment>,
}

/// A payment that is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletPayment {
    pub payment_hash: String,
    pub amount_msat: u64,
    /// None where the wallet has forgotten it.
    pub fee_msat: Option<u64>,
    /// The receipt. Core does not hear it.
    pub preimage: String,
    pub paid_at: Timestamp,
}

/// An invoice for the node's dues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuesInvoice {
    /// SHA-256 of its text.
    pub id: String,
    pub amount_msat: u64,
    pub payment_hash: String,
    pub made_at: Timestamp,
    pub expires_at: Timestamp,
    pub state: DuesInvoiceState,
    /// When hh-treasury has opened or ended its payout, as core says.
    pub reported_at: Option<Timestamp>,
    pub reason: Option<String>,
    /// What the node's own wallet has had for it.
    pub received_msat: Option<u64>,
}

/// How far it is, as hh-treasury says by way of core; whether it was paid the wallet knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuesInvoiceState {
    /// On its way to hh-treasury.
    Sent,
    /// hh-treasury has it, and pays it as soon as it can.
    Waiting,
    Settled,
    /// Nothing was sent for it.
    Cancelled,
    /// It is none that hh-treasury pays.
    Refused,
    /// Nobody has said anything about it in its time.
    Expired,
}
