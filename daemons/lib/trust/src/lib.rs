//! What lets one who was not there believe what happened: the journal of the changes that operators make over a daemon's
//! control socket, the chain that shows whether it was tampered with, the credential by which a node proves that shares
//! came through it, and the signature of a block's report. And what core and nodes say to each other, as far as it must be
//! believed: certificates, tokens, signed commands and results, the owner's consent, the audit log, and what operators sign, with the
//! way of that from core to the daemons that heed it.
//!
//! Owns formats and their proofs. It never decides who may do what: the control socket does (hh-daemon), and hh-pool says
//! which nodes it knows. Nothing in front of a miner waits for it.

pub mod api_token;
pub mod audit;
pub mod chain;
pub mod change_journal;
pub mod command;
pub mod command_gate;
pub mod command_result;
pub mod consent;
pub mod control_key;
pub mod directory_feed;
pub mod enrolment;
mod jws;
mod key_pair;
pub mod key_set;
pub mod local_policy;
pub mod node_credential;
pub mod node_directory;
pub mod node_key;
pub mod operator_key;
pub mod payment_order;
pub mod pki;
mod pool_authority;
pub mod report_key;
mod salt_secret;
pub mod ssh_agent;
pub mod statement;

pub use chain::{Chain, ChainError, Entry, Event, Head};
pub use change_journal::{ChangeJournal, ChangeJournalError};
pub use control_key::{
    CheckpointKey, CheckpointPublicKey, CommandKey, CommandPublicKey, ControlKeyError, EnrolKey,
    EnrolPublicKey, NetworkKey, NetworkPublicKey,
};
pub use jws::JwsError;
pub use node_credential::{CredentialError, LaneName, NodeCredential, NodeId, PresentedCredential};
pub use node_key::{NodeKeyError, NodePublicKey, NodeSecretKey};
pub use payment_order::{OrderError, OwnerKey, OwnerKeyError, PaymentOrder};
pub use pool_authority::{PoolAuthority, PoolAuthorityError};
pub use report_key::{ReportKey, ReportKeyError, ReportPublicKey, ReportSignatureError};
pub use salt_secret::{SaltSecret, SaltSecretError};
