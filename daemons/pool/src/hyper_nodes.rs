//! The Hyper Nodes that this pool knows, and whether a credential that somebody presents lets shares through one of them.
//!
//! Which nodes there are says the configuration, and beside it the directory: records that operators of the configuration have signed. A
//! node that both name is as the configuration has it. Which of them an operator has revoked since is kept in a file over restarts. A
//! revocation here is of a node's key: another key in the configuration is another node's to prove, and is let in. One that core passes
//! on is of the node, until a record is signed after it. No share looks in here: a connection asks when it presents a credential.

use crate::config::hyper_node::{HyperNodeConfig, HyperNodeLaneConfig};
use crate::difficulty::DifficultyRange;
use hh_daemon::{StateFile, StateFileError};
use hh_trust::node_directory::Directory;
use hh_trust::statement::NodeRecord;
use hh_trust::{CredentialError, NodeId, NodePublicKey, PoolAuthority, PresentedCredential};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The node of shares that came without a credential.
pub(crate) const CORE_NODE: &str = "core";

/// Longest reason in bytes: a line of a table.
const MAX_REASON_BYTES: usize = 200;

/// Through what shares come, from now until `not_after_unix`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Passage {
    pub node: NodeId,
    pub lane: String,
    /// Of the node's lane.
    pub difficulty: DifficultyRange,
    /// Unix seconds.
    pub not_after_unix: i64,
    /// Whom a private node serves; everybody where there are none.
    pub accounts: Option<Arc<BTreeSet<String>>>,
}

impl Passage {
    /// Whether work for `account` may come through the node.
    pub(crate) fn serves(&self, account: &str) -> bool {
        let accounts = self.accounts.as_ref();
        accounts.is_none_or(|accounts| accounts.contains(account))
    }
}

/// Why a credential is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(
        "the node {node} is neither among the [[hyper_nodes]] of the configuration nor in the directory that operators have signed"
    )]
    UnknownNode { node: NodeId },
    #[error("the node {node} is revoked")]
    Revoked { node: NodeId },
    #[error("this connection serves another node or lane already")]
    OtherPassage,
    #[error("it ends before the one that holds")]
    Earlier,
    #[error("the extension for credentials was not asked for by RequestExtensions")]
    NotGranted,
}

/// All values of [`Refusal::code`], so that each is a metric from the start.
pub(crate) const REFUSAL_CODES: [&str; 12] = [
    "malformed",
    "wrong-key",
    "another-pool",
    "too-long",
    "not-yet-valid",
    "expired",
    "unknown-lane",
    "unknown-node",
    "revoked",
    "other-node",
    "earlier-end",
    "not-negotiated",
];

impl Refusal {
    /// Its word in PresentCredential.Error, and as a label.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Credential(error) => error.code(),
            Self::UnknownNode { .. } => "unknown-node",
            Self::Revoked { .. } => "revoked",
            Self::OtherPassage => "other-node",
            Self::Earlier => "earlier-end",
            Self::NotGranted => "not-negotiated",
        }
    }
}

/// That an operator has revoked a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    pub public_key: NodePublicKey,
    pub reason: String,
    /// Unix time in milliseconds.
    pub since_ms: i64,
}

/// Why a node is not revoked; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevokeError {
    #[error("there is no node {0:?} in this pool's configuration or directory")]
    Unknown(String),
    #[error("the node {0} is revoked already")]
    Already(NodeId),
    #[error("a reason has at most {MAX_REASON_BYTES} bytes, this one has {0}")]
    LongReason(usize),
    #[error(transparent)]
    File(#[from] StateFileError),
}

/// By node.
type Revocations = BTreeMap<NodeId, Revocation>;

/// See the module.
#[derive(Debug)]
pub(crate) struct HyperNodes {
    pool: PoolAuthority,
    nodes: BTreeMap<NodeId, HyperNodeConfig>,
    /// Whom those serve that don't serve everybody.
    private: BTreeMap<NodeId, Arc<BTreeSet<String>>>,
    /// Of operators; empty where the configuration names no core to ask.
    directory: watch::Receiver<Arc<Directory>>,
    file: StateFile,
    /// Held over a write of the file, so that changes come one after another.
    changes: Mutex<()>,
    revoked: Mutex<Revocations>,
}

impl HyperNodes {
    /// The nodes of the configuration of the pool with this authority key, and what `file` says of them.
    ///
    /// # Errors
    /// The file can't be read.
    pub(crate) fn open(
        pool: PoolAuthority,
        nodes: &[HyperNodeConfig],
        file: StateFile,
    ) -> Result<Self, StateFileError> {
        let revoked: Revocations = file.read()?.unwrap_or_default();
        let nodes = nodes.iter().map(|node| (node.id.clone(), node.clone()));
        Ok(Self {
            pool,
            nodes: nodes.collect(),
            private: BTreeMap::new(),
            directory: watch::channel(Arc::default()).1,
            file,
            changes: Mutex::default(),
            revoked: Mutex::new(revoked),
        })
    }

    /// With these of which each serves accounts of its own alone.
    pub(crate) fn with_private(self, private: &BTreeMap<NodeId, BTreeSet<String>>) -> Self {
        let private = private.iter();
        let private = private.map(|(node, accounts)| (node.clone(), Arc::new(accounts.clone())));
        Self {
            private: private.collect(),
            ..self
        }
    }

    /// And those of a directory.
    pub(crate) fn beside(self, directory: watch::Receiver<Arc<Directory>>) -> Self {
        Self { directory, ..self }
    }

    /// The directory, to watch.
    pub(crate) fn directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.directory.clone()
    }

    fn known(&self, node: &NodeId) -> Option<HyperNodeConfig> {
        let configured = self.nodes.get(node).cloned();
        configured.or_else(|| self.directory.borrow().last_record(node).map(recorded))
    }

    /// Through what a connection's shares come that presents `credential` for `lane` at `now_unix`, in seconds.
    ///
    /// # Errors
    /// Why through nothing.
    pub(crate) fn admit(
        &self,
        credential: &[u8],
        lane: &str,
        now_unix: i64,
    ) -> Result<Passage, Refusal> {
        let presented = PresentedCredential::parse(credential)?;
        let node = presented.node().clone();
        let Some(known) = self.known(&node) else {
            return Err(Refusal::UnknownNode { node });
        };
        let credential = presented.verify(&known.public_key, self.pool, lane, now_unix)?;
        // Only who has the key is told that it is revoked.
        if self.is_revoked(&node) {
            return Err(Refusal::Revoked { node });
        }
        let lanes = &mut known.lanes.iter();
        let Some(known_lane) = lanes.find(|known| known.name.as_str() == lane) else {
            let lane = lane.to_owned();
            return Err(CredentialError::UnknownLane { lane }.into());
        };
        Ok(Passage {
            accounts: self.private.get(&node).cloned(),
            node,
            lane: lane.to_owned(),
            difficulty: known_lane.difficulty(),
            not_after_unix: credential.not_after,
        })
    }

    /// Whether a node's present key is let in no more.
    pub(crate) fn is_revoked(&self, node: &NodeId) -> bool {
        let Some(known) = self.known(node) else {
            return false;
        };
        known.revoked || self.revocation(&known).is_some() || self.is_revoked_in_directory(node)
    }

    /// Whether core has passed on that it was revoked, and no operator has signed a record of it since.
    pub(crate) fn is_revoked_in_directory(&self, node: &NodeId) -> bool {
        self.directory.borrow().is_node_revoked(node)
    }

    /// The nodes of the configuration and of the directory by name, and whether an operator has revoked them here since.
    pub(crate) fn list(&self) -> Vec<(HyperNodeConfig, Option<Revocation>)> {
        let directory = Arc::clone(&self.directory.borrow());
        let recorded = directory.last_records().map(recorded);
        let mut all: BTreeMap<NodeId, HyperNodeConfig> =
            recorded.map(|node| (node.id.clone(), node)).collect();
        all.extend(self.nodes.clone());
        all.into_values()
            .map(|node| {
                let revocation = self.revocation(&node);
                (node, revocation)
            })
            .collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of this name, or it can't be revoked for this reason.
    pub(crate) fn revocable(
        &self,
        node: &str,
        reason: &str,
    ) -> Result<HyperNodeConfig, RevokeError> {
        let known = node.parse().ok().and_then(|id: NodeId| self.known(&id));
        let known = known.ok_or_else(|| RevokeError::Unknown(node.to_owned()))?;
        if self.is_revoked(&known.id) {
            return Err(RevokeError::Already(known.id.clone()));
        }
        if reason.len() > MAX_REASON_BYTES {
            return Err(RevokeError::LongReason(reason.len()));
        }
        Ok(known)
    }

    /// Lets a node in no more, durably; who is in is for the caller to end. Blocks for the disk.
    ///
    /// # Errors
    /// As [`Self::revocable`], or the file can't be written.
    pub(crate) fn revoke(
        &self,
        node: &str,
        reason: String,
        now_ms: i64,
    ) -> Result<(), RevokeError> {
        let changing = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.revocable(node, &reason)?;
        let mut all = self.lock().clone();
        let revocation = Revocation {
            public_key: known.public_key,
            reason,
            since_ms: now_ms,
        };
        all.insert(known.id.clone(), revocation);
        self.file.write(&all)?;
        *self.lock() = all;
        drop(changing);
        Ok(())
    }

    fn revocation(&self, node: &HyperNodeConfig) -> Option<Revocation> {
        let revoked = self.lock();
        let revocation = revoked.get(&node.id)?;
        (revocation.public_key == node.public_key).then(|| revocation.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Revocations> {
        // It is replaced as a whole.
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node as operators have signed it: its lanes are within the bounds of the pool's own.
fn recorded(record: &NodeRecord) -> HyperNodeConfig {
    let lanes = record.lanes.iter().map(|name| HyperNodeLaneConfig {
        name: name.clone(),
        min_difficulty: None,
        max_difficulty: None,
    });
    HyperNodeConfig {
        id: record.node.clone(),
        public_key: record.key,
        lanes: lanes.collect(),
        revoked: false,
    }
}

#[cfg(test)]
mod tests;
