//! Who keeps the checkpoints of a log that he does not write, and so sees when it is written anew.

use serde::{Deserialize, Serialize};

use super::{Checkpoint, tree};
use crate::command::Digest;

/// What a witness has seen of a log, at last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    seen: Option<(u64, Digest)>,
}

/// What a witness says of a checkpoint that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// The log was shorter before: its end was cut off, or an old checkpoint is shown.
    #[error("the audit log has {size} lines, and had {seen} before: its end was cut off")]
    Shorter {
        /// Of the checkpoint.
        size: u64,
        /// Seen before.
        seen: u64,
    },
    /// Two logs of one name.
    #[error(
        "the audit log's first {seen} lines are not those that were seen before: it was written anew, or there are two"
    )]
    Fork {
        /// How far what was seen goes.
        seen: u64,
    },
}

impl Witness {
    /// The lines of the log when it was last seen; 0 if it never was. Who shows a new checkpoint proves that it goes on from there.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.seen.map_or(0, |(size, _)| size)
    }

    /// The root over these lines; none if the log was never seen.
    #[must_use]
    pub fn root(&self) -> Option<Digest> {
        self.seen.map(|(_, root)| root)
    }

    /// Sees a checkpoint whose signature was checked. `proof` is [`super::consistency_proof`] from [`Self::size`].
    ///
    /// # Errors
    /// The log is not what it was; what was seen stays, so that it can be shown.
    pub fn see(&mut self, checkpoint: &Checkpoint, proof: &[Digest]) -> Result<(), WitnessError> {
        let Checkpoint { size, root } = *checkpoint;
        if let Some((seen, seen_root)) = self.seen {
            if size < seen {
                return Err(WitnessError::Shorter { size, seen });
            }
            let goes_on = seen == 0 || tree::extends(seen, seen_root, size, root, proof);
            if !goes_on {
                return Err(WitnessError::Fork { seen });
            }
        }
        self.seen = Some((size, root));
        Ok(())
    }
}
