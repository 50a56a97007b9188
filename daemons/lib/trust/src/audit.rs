//! The audit log of a network: who asked for what and what came of it, so that nobody can take a line out of it later.
//!
//! An intent is written before it is tried, and its outcome afterwards as a line of its own: nothing is ever changed. A line is JSON
//! of one line, and what is hashed are its bytes as they were written. Each names the hash of the one before, and a Merkle tree
//! (RFC 6962) is over all of them, so that a proof about one line is short. A [`Checkpoint`] signs how far the log goes and what its
//! root is. Who can write the whole log anew shows only beside a checkpoint that somebody else has kept: nodes and operators do, as
//! a [`Witness`].

mod checkpoint;
mod entry;
mod intake;
mod log;
mod tree;
mod witness;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use entry::{Actor, AuditEntry, AuditEvent, AuditOutcome, Detail, JournalSource, OperationId};
pub use intake::JournalIntake;
pub use log::{AuditChain, AuditFault, AuditReport, AuditVerifier};
pub use tree::{Frontier, LeafHash, Tree, consistency_proof, extends, includes, inclusion_proof};
pub use witness::{Witness, WitnessError};
