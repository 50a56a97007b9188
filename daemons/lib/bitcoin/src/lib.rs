//! Bitcoin Core as our daemons see it: JSON-RPC, block templates over mining IPC, and the submission of found blocks.
//!
//! Owns: every call to a node, the check that it is the right node (chain, version, IPC schema), and what its errors
//! tell an operator. Never: decides what is mined, who is paid, or speaks Stratum. Nothing here starts a task on the
//! caller's runtime: JSON-RPC and mining IPC block, so they have threads of their own and answer through channels.

pub mod chain_tip;
pub mod node;
pub mod presence;
pub mod rpc;
pub mod source;
pub mod submit;
pub mod template;

pub use chain_tip::ChainTip;
pub use node::{IpcSchema, NodeConfig, NodeError, NodeInfo, check_node};
pub use presence::{Presence, Sight, Sought};
pub use rpc::{Rpc, RpcAuth, RpcError};
pub use source::{
    Solution, SourceConfig, SourceError, SourceEvent, TemplateHandle, TemplateSource,
};
pub use submit::{BlockOutcome, BlockSubmitter, PathOutcome, submit_once};
pub use template::{NodeTemplate, Reservation, TemplateBlock, Trigger};
