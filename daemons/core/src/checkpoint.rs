//! Checkpoints of the audit log: how far it goes, signed, for those who keep that elsewhere.
//!
//! Nodes are its witnesses. Each says with its heartbeats what it has seen, and is told a newer checkpoint with a proof that the log only
//! went on from there. So somebody who has core's database and all its keys can still not write the log anew without every node seeing
//! it. Before one is signed the lines are held against the end that was kept beside them: a log of which a line was changed gets none.

use crate::audit;
use crate::authority::Authority;
use crate::store::{Store, StoreError};
use hh_ipc::agent::{AuditCheckpoint, AuditSeen};
use hh_trust::audit::{Checkpoint, LeafHash, Tree};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it is looked how far the log goes. Nodes say as often what they have seen, and are told what is new.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// And no oftener because of what nodes say: whoever claims to have seen more keeps no replica busy.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lines that are read at a time: half a megabyte.
const LINES_READ: u32 = 1_000;

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(
        "checkpoints of the audit log are not signed: pki.audit_key is not set; `hhctl pki add-audit-key` makes the key"
    )]
    NoKey,
    #[error(
        "the first {size} lines of the audit log are not those that were written: one was changed or removed"
    )]
    Changed { size: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A checkpoint, and the note that says so.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: String,
}

/// What checkpoints are made from. Clones share it.
#[derive(Clone)]
pub(crate) struct Checkpoints(Arc<Shared>);

struct Shared {
    store: Store,
    authority: Arc<Authority>,
    /// Over the lines that were read so far: all, but for what was written since the last look.
    tree: Mutex<Tree>,
    latest: Mutex<Option<Signed>>,
    /// When it was looked last because of what a node had seen.
    looked: Mutex<Option<Instant>>,
}

impl Checkpoints {
    pub(crate) fn new(store: Store, authority: Arc<Authority>) -> Self {
        Self(Arc::new(Shared {
            store,
            authority,
            tree: Mutex::default(),
            latest: Mutex::default(),
            looked: Mutex::default(),
        }))
    }

    /// Signs what is new, until the daemon stops.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut is_told = false;
        loop {
            let Some(taken) = stop.run_until_cancelled(self.take()).await else {
                return;
            };
            let is_changed = matches!(taken, Err(CheckpointError::Changed { .. }));
            metrics::gauge!("hyperhash_audit_log_changed").set(f64::from(u8::from(is_changed)));
            match taken {
                Ok(_) => is_told = false,
                Err(error @ CheckpointError::NoKey) => {
                    tracing::warn!(why = %error, "nodes are no witnesses of the audit log");
                    return;
                }
                Err(error) if !is_told => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "no checkpoint of the audit log");
                    is_told = true;
                }
                Err(_again) => {}
            }
            let pause = tokio::time::sleep(CHECKPOINT_EVERY);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Signs how far the log goes now.
    ///
    /// # Errors
    /// There is no key to sign with, the log was changed, or the database can't be read.
    pub(crate) async fn take(&self) -> Result<Signed, CheckpointError> {
        let authority = &self.0.authority;
        let key = authority.audit_key.as_ref();
        let key = key.ok_or(CheckpointError::NoKey)?;
        let checkpoint = self.follow().await?;
        let size = checkpoint.size;
        if self.tree().root_at(size) != Some(checkpoint.root) {
            return Err(CheckpointError::Changed { size });
        }
        let note = checkpoint.sign(&authority.domain, key);
        let signed = Signed { checkpoint, note };
        let mut latest = self.latest();
        // Another call may have been quicker.
        if latest
            .as_ref()
            .is_none_or(|latest| latest.checkpoint.size <= size)
        {
            *latest = Some(signed.clone());
        }
        Ok(signed)
    }

    /// What a node is to be told that has seen so much; none if that is all there is.
    pub(crate) async fn news(&self, seen: &AuditSeen) -> Option<AuditCheckpoint> {
        let mut signed = self.latest().clone()?;
        if signed.checkpoint.size < seen.size {
            // Another replica may have written and signed more than was read here. The node says so again in a few seconds.
            if !self.may_look() {
                return None;
            }
            signed = self.take().await.ok()?;
        }
        let Checkpoint { size, root } = signed.checkpoint;
        if size == 0 || (size == seen.size && seen.root == root.0) {
            return None;
        }
        let proof = self.tree().consistency_proof(seen.size, size);
        Some(AuditCheckpoint {
            note: signed.note,
            from_size: seen.size,
            proof: proof.iter().map(|part| part.0.to_vec()).collect(),
        })
    }

    fn may_look(&self) -> bool {
        let now = Instant::now();
        // Nothing in between can panic.
        let looked = self.0.looked.lock();
        let mut looked = looked.unwrap_or_else(PoisonError::into_inner);
        let may = looked.is_none_or(|last| now.duration_since(last) >= LOOK_EVERY);
        if may {
            *looked = Some(now);
        }
        may
    }

    /// Reads the lines that are not in the tree yet, and gives how far the log goes by what is kept beside them.
    async fn follow(&self) -> Result<Checkpoint, StoreError> {
        loop {
            let after = self.tree().size();
            let read: Result<_, StoreError> = self
                .0
                .store
                .read(move |transaction| audit::lines_after(transaction, after, LINES_READ))
                .await;
            let (lines, head) = read?;
            let mut tree = self.tree();
            for (seq, line) in &lines {
                // Another call may have put it there meanwhile; after a gap nothing is the next one.
                if *seq == tree.size() + 1 {
                    tree.push(LeafHash::of(line));
                }
            }
            if tree.size() >= head.size || tree.size() == after {
                return Ok(head);
            }
        }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        // Nothing in between can panic.
        self.0.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> MutexGuard<'_, Option<Signed>> {
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoints").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
