//! What this node has seen of core's audit log: it is a witness of it.
//!
//! Core shows how far its log goes, signed, with a proof that it only went on from what was seen before. The newest checkpoint is kept on
//! this node's disk. A log that was cut, or written anew, is refused: what was seen stays, the refusal stays with it, beside the checkpoint
//! that core has signed, and both are told in every heartbeat, until the node's owner moves the file away. The node's work goes on.

use crate::identity::Enrolled;
use hh_daemon::{StateFile, StateFileError};
use hh_ipc::agent::AuditCheckpoint;
use hh_trust::NetworkPublicKey;
use hh_trust::audit::{Checkpoint, CheckpointError, Witness};
use hh_trust::command::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tokio::sync::watch;

/// The file's name in the data directory.
const FILE: &str = "audit-witness.json";

/// Why a checkpoint does not count at all.
#[derive(Debug, thiserror::Error)]
enum Unsigned {
    #[error("core's list of keys has none for checkpoints that holds now")]
    NoKey,
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// What was seen, for those who tell it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// 0 before the first checkpoint.
    pub(crate) lines: u64,
    pub(crate) root: Option<Digest>,
    /// When the last one came.
    pub(crate) at: Option<Timestamp>,
    /// Why one was refused.
    pub(crate) fault: Option<String>,
}

/// The file's content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Whose log: another network's is another one.
    network: Option<NetworkPublicKey>,
    witness: Witness,
    at: Option<Timestamp>,
    /// The last one that was taken, as core has signed it.
    note: String,
    refused: Option<Refused>,
}

/// The first checkpoint that can't be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    at: Timestamp,
    why: String,
    /// As core has signed it: beside the one that was taken it shows anybody that there are two logs.
    note: String,
}

/// The witness. The link owns it.
#[derive(Debug)]
pub(crate) struct LogWitness {
    file: StateFile,
    kept: Kept,
    seen: watch::Sender<Seen>,
    /// What core shows is not signed, and that was told.
    is_unsigned: bool,
}

impl LogWitness {
    /// With what was kept in the data directory.
    ///
    /// # Errors
    /// The file can't be read, or is damaged.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StateFileError> {
        let file = StateFile::new(data_dir.join(FILE));
        let kept: Kept = file.read()?.unwrap_or_default();
        let seen = watch::Sender::new(Seen::default());
        let witness = Self {
            file,
            kept,
            seen,
            is_unsigned: false,
        };
        witness.publish();
        Ok(witness)
    }

    /// What was seen last, now and later.
    pub(crate) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Sees what core shows.
    ///
    /// # Errors
    /// It can't be kept; what was seen before is.
    pub(crate) fn hear(
        &mut self,
        enrolled: &Enrolled,
        shown: &AuditCheckpoint,
    ) -> Result<(), StateFileError> {
        let now = Timestamp::now();
        let checkpoint = match signed(enrolled, &shown.note, now) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                if !self.is_unsigned {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "checkpoint of the audit log left aside");
                }
                self.is_unsigned = true;
                metrics::counter!("hyperhash_agent_checkpoints_unsigned_total").increment(1);
                return Ok(());
            }
        };
        self.is_unsigned = false;
        if self.kept.network != Some(enrolled.network) {
            self.kept = Kept {
                network: Some(enrolled.network),
                ..Kept::default()
            };
            self.publish();
        }
        let mut kept = self.kept.clone();
        let seen = kept.witness.size();
        if checkpoint.size > seen && shown.from_size != seen {
            // Made before core had heard what was seen last: it hears that with the next heartbeat.
            return Ok(());
        }
        let proof: Option<Vec<Digest>> = match checkpoint.size == seen {
            // The same again, from before core had heard that it was seen: it needs no proof but its root.
            true => None,
            false => shown.proof.iter().map(|part| digest(part)).collect(),
        };
        match kept.witness.see(&checkpoint, &proof.unwrap_or_default()) {
            Ok(()) => {
                kept.at = Some(now);
                kept.note.clone_from(&shown.note);
            }
            Err(error) => {
                if kept.refused.is_some() {
                    // Told, and kept.
                    return Ok(());
                }
                tracing::error!(%error, note = shown.note.as_str(), "core shows another audit log than it has shown before");
                kept.refused = Some(Refused {
                    at: now,
                    why: error.to_string(),
                    note: shown.note.clone(),
                });
            }
        }
        self.file.write(&kept)?;
        self.kept = kept;
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        let kept = &self.kept;
        let refused = kept.refused.as_ref();
        let lines = u32::try_from(kept.witness.size()).unwrap_or(u32::MAX);
        metrics::gauge!("hyperhash_agent_audit_lines").set(f64::from(lines));
        metrics::gauge!("hyperhash_agent_audit_fault").set(f64::from(u8::from(refused.is_some())));
        self.seen.send_replace(Seen {
            lines: kept.witness.size(),
            root: kept.witness.root(),
            at: kept.at,
            fault: refused.map(|refused| format!("{} (since {})", refused.why, refused.at)),
        });
    }
}

/// What the note says, if one of core's keys has signed it.
fn signed(enrolled: &Enrolled, note: &str, now: Timestamp) -> Result<Checkpoint, Unsigned> {
    let keys = enrolled.keys().map(|keys| keys.checkpoints);
    let mut refused = Unsigned::NoKey;
    for timed in keys.unwrap_or_default() {
        if !timed.holds_at(now.as_second()) {
            continue;
        }
        match Checkpoint::verify(note, &enrolled.domain, &timed.key) {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

fn digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest)
}

#[cfg(test)]
mod tests;
