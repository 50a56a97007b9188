//! The claim of this pool's server id, its part of the extranonce space. Two pools that hand out the same part would hand
//! out the same work, so each share log claims one in the ledger, once.
//!
//! Owns the note in the data directory that says that the claim was made: with it a pool starts and mines without the
//! ledger. While the pool runs it asks again and again whether the claim stands: another pool may have been asked to retire it.

use crate::directory::unix_ms;
use hh_daemon::{Context, Failure};
use hh_daemon::{StateFile, StateFileError};
use hh_ledger::{Claim, Epoch, Holder, Ledger, LedgerError, RetireWhere};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;

/// Pause between two attempts at a ledger that is away.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How often the ledger is asked whether the claim still stands. Whoever retires a claim that is in use was told not to: this is
/// how long two pools could hand out the same work then, if the shipper did not notice before.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Why a pool may not hand out work with its server id.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// Another log has it.
    #[error(
        "server id {server_id} is claimed by the share log {} of {} since {}: give this pool a server_id of its own",
        hex::encode(holder.epoch), holder.pool, time(holder.since_ms)
    )]
    Taken {
        /// The server id.
        server_id: u16,
        /// Who has it.
        holder: Holder,
    },
    /// It was this log's, and was retired.
    #[error(
        "server id {server_id} of this share log was retired at {}, and may be another pool's: move the share log's directory \
        away, so that a new log starts, which claims it again if it is free, or give this pool another server_id",
        time(*at_ms)
    )]
    Retired {
        /// The server id.
        server_id: u16,
        /// When, milliseconds since 1970.
        at_ms: i64,
    },
    /// Nobody can say yet.
    #[error(
        "this share log has not claimed server id {server_id} yet, and the ledger does not answer"
    )]
    Unanswered {
        /// The server id.
        server_id: u16,
        /// The ledger's last error.
        source: LedgerError,
    },
    /// The note can't be read or written.
    #[error("the note of the claimed server id is not usable")]
    Note(#[from] StateFileError),
}

impl ClaimError {
    /// What it means for the daemon.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::Taken { .. } | Self::Retired { .. } => Failure::config(self),
            Self::Unanswered { .. } => Failure::unavailable(self),
            Self::Note(_) => Failure::other(self),
        }
    }
}

/// What is noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    server_id: u16,
    /// The log that holds it, in hex.
    epoch: String,
}

/// The claim of a share log to its server id.
#[derive(Clone, Debug)]
pub(crate) struct ServerIdClaim {
    pub ledger: Ledger,
    pub server_id: u16,
    /// The share log.
    pub epoch: Epoch,
    /// Where the claim is noted.
    pub file: StateFile,
    /// How often the ledger is asked about it; [`CHECK_INTERVAL`] but in tests.
    pub check_interval: Duration,
}

impl ServerIdClaim {
    /// Makes sure that the server id is this log's: by the note, or by the ledger. The ledger is asked again while the daemon
    /// runs, which ends with status 78 where the claim stands no more.
    ///
    /// # Errors
    /// [`ClaimError`]: another log has it, this log was retired, or the ledger does not answer until the start is to be
    /// given up.
    pub(crate) async fn hold(self, context: &Context) -> Result<(), ClaimError> {
        let noted: Option<Note> = self.file.read()?;
        if noted.as_ref() != Some(&self.note()) {
            self.claim_at_start(noted.as_ref(), context).await?;
        }
        let stop = context.tasks.token().clone();
        context.tasks.spawn("server id", async move {
            let watched = stop.run_until_cancelled(self.watch()).await;
            watched.map_or(Ok(()), |error| Err(error.failure()))
        });
        Ok(())
    }

    async fn claim_at_start(
        &self,
        noted: Option<&Note>,
        context: &Context,
    ) -> Result<(), ClaimError> {
        let deadline = context.start_deadline();
        loop {
            match self.claim(noted).await {
                Ok(claim) => {
                    self.check(claim)?;
                    break;
                }
                Err(source) if tokio::time::Instant::now() >= deadline => {
                    let server_id = self.server_id;
                    return Err(ClaimError::Unanswered { server_id, source });
                }
                Err(error) => {
                    let error = &error as &dyn Error;
                    tracing::warn!(error, "server id not claimed yet; trying again");
                }
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        tracing::info!(server_id = self.server_id, "server id claimed");
        Ok(self.file.write(&self.note())?)
    }

    /// Asks the ledger, whenever it answers, whether the claim stands; says why once it does not.
    async fn watch(&self) -> ClaimError {
        loop {
            // A ledger that was restored from before the claim has it from here on again.
            let pause = match self.claim(None).await {
                Ok(claim) => match self.check(claim) {
                    Ok(()) => self.check_interval,
                    Err(error) => return error,
                },
                // The shipper tells of a ledger that is away.
                Err(_) => RETRY_INTERVAL,
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn check(&self, claim: Claim) -> Result<(), ClaimError> {
        let server_id = self.server_id;
        match claim {
            Claim::Ours => Ok(()),
            Claim::Taken(holder) => Err(ClaimError::Taken { server_id, holder }),
            Claim::Retired { at_ms } => Err(ClaimError::Retired { server_id, at_ms }),
        }
    }

    /// Claims the server id. From a log that this data directory had before, it is taken over: that log was moved away
    /// or deleted, and can't be this pool's any more.
    async fn claim(&self, noted: Option<&Note>) -> Result<Claim, LedgerError> {
        let (id, epoch) = (self.server_id, self.epoch);
        let claim = self.ledger.claim_server_id(id, epoch, unix_ms()).await?;
        let Claim::Taken(holder) = claim else {
            return Ok(claim);
        };
        let theirs = Note {
            server_id: id,
            epoch: hex::encode(holder.epoch),
        };
        if noted != Some(&theirs) {
            return Ok(Claim::Taken(holder));
        }
        tracing::warn!(
            server_id = id,
            epoch = theirs.epoch,
            "server id taken over from the share log that was here before"
        );
        let replaced = RetireWhere::Replaced;
        self.ledger
            .retire_server_id(id, holder.epoch, replaced)
            .await?;
        self.ledger.claim_server_id(id, epoch, unix_ms()).await
    }

    fn note(&self) -> Note {
        Note {
            server_id: self.server_id,
            epoch: hex::encode(self.epoch),
        }
    }
}

fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests;
