//! The shipper: takes what is durable in the share log to the ledger, in order and exactly once.
//!
//! Owns the place in the log up to which the ledger has it, which it asks the ledger for. It never holds a share up:
//! while the ledger is away the log keeps, and the shipper tries again for ever. It also puts a watermark into the log
//! every second, so that the ledger can tell a pool without shares from one that lags. At a stop it closes the log, and tells
//! the ledger that nothing more is in it.

#[cfg(test)]
mod tests;

use crate::directory::unix_ms;
use crate::share_log::{Entry, LogError, LogReader, Record, Retention, ShareLog};
use hh_daemon::Failure;
use hh_daemon::StateFile;
use hh_ledger::{BindingRow, Ledger, LedgerError, ShareRow, Shipment};
use hh_mining::BlockHash;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How old a durable record gets before it is shipped. A transaction costs some milliseconds of CPU time whatever is in it:
/// at five a second that is more than its shares cost at 2,000/s. Nobody waits for the ledger.
const SHIP_INTERVAL: Duration = Duration::from_secs(1);

/// Most records of a shipment: some megabytes of memory, and a transaction of some tens of milliseconds.
const SHIPMENT_RECORDS_MAX: usize = 10_000;

/// The ledger's readers may conclude within this time that nothing earlier will come.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);

/// Longest pause between two attempts at a ledger that fails.
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// What a stop waits for connections to end, so that their last shares are shipped too: they have five seconds themselves.
const CONNECTIONS_GRACE: Duration = Duration::from_secs(6);

/// What it waits for the last shipment after that; what is left over is shipped at the next start.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// How far the ledger has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shipping {
    /// The last record of the log that is known to be in the ledger, 0 if there is none.
    pub shipped_seq: u64,
    /// The time of the oldest record that waits, milliseconds since 1970; none while all but the last second's are shipped.
    pub oldest_waiting_ms: Option<i64>,
    /// Why shipping does not work at present, with its causes.
    pub last_error: Option<String>,
    /// When something was last shipped, milliseconds since 1970.
    pub last_shipped_at_ms: Option<i64>,
    /// What the log takes of the disk, in bytes.
    pub log_bytes: u64,
    /// Records that neither the ledger nor the log has, since the start.
    pub lost: Option<Lost>,
}

/// Records that the ledger has no more, and the log neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The first of them.
    pub first_seq: u64,
    /// The last of them.
    pub last_seq: u64,
    /// They are not older than this, milliseconds since 1970; none where the ledger has nothing of the log.
    pub after_ms: Option<i64>,
    /// They are not younger than this.
    pub until_ms: Option<i64>,
}

/// How often the place is noted; after a crash the note is so old.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// Up to where the ledger had the log, for a start without the ledger. Only shown: the ledger itself says where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The log, in hex.
    epoch: String,
    shipped_seq: u64,
}

/// What ends a shipper: it can't be made good by trying again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShipperError {
    /// The ledger has records that the log does not: an old copy of the log was restored. Its next records would have
    /// the keys of others, which are in the ledger.
    #[error(
        "the ledger has records up to {shipped_seq} of this share log, which ends at {durable_seq}: an old copy was \
        restored; move the share log's directory away, so that a new log starts"
    )]
    LogBehindLedger {
        /// The last record in the ledger.
        shipped_seq: u64,
        /// The last record in the log.
        durable_seq: u64,
    },
    /// An operator has retired the log.
    #[error(
        "this share log was retired in the ledger, which takes nothing of it any more, and its server id may be another pool's: \
        move the share log's directory away, so that a new log starts, or give this pool another server_id"
    )]
    Retired,
}

impl ShipperError {
    /// What it means for the daemon.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::LogBehindLedger { .. } => Failure::other(self),
            Self::Retired => Failure::config(self),
        }
    }
}

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("could not read the share log")]
    Log(#[from] LogError),
    #[error("could not ship to the ledger")]
    Ledger(#[source] LedgerError),
    #[error("reading the share log was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Final(#[from] ShipperError),
}

impl From<LedgerError> for AttemptError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Retired => Self::Final(ShipperError::Retired),
            error => Self::Ledger(error),
        }
    }
}

/// Ships one log to one ledger.
#[derive(Debug)]
pub(crate) struct Shipper {
    log: ShareLog,
    ledger: Ledger,
    /// What the log keeps though the ledger has it.
    retention: Retention,
    status: watch::Sender<Shipping>,
    /// Where the place is noted.
    file: StateFile,
    noted_at: Option<Instant>,
    /// None until the ledger has said where it is.
    reader: Option<LogReader>,
    /// Read and not known to be in the ledger.
    pending: Option<Arc<Shipment>>,
}

impl Shipper {
    /// A shipper that has not begun.
    #[must_use]
    pub(crate) fn new(
        log: ShareLog,
        ledger: Ledger,
        retention: Retention,
        file: StateFile,
    ) -> Self {
        // A note that can't be read, or is another log's, is none.
        let place = file.read::<Place>().ok().flatten();
        let place = place.filter(|place| place.epoch == hex::encode(log.epoch()));
        let noted_seq = place.map_or(0, |place| place.shipped_seq);
        // What the log has let go was shipped in any case.
        let shipped_seq = noted_seq.max(log.first_seq().saturating_sub(1));
        let (status, _) = watch::channel(Shipping {
            shipped_seq,
            ..Shipping::default()
        });
        Self {
            log,
            ledger,
            retention,
            status,
            file,
            noted_at: None,
            reader: None,
            pending: None,
        }
    }

    /// How far it has come.
    #[must_use]
    pub(crate) fn status(&self) -> watch::Receiver<Shipping> {
        self.status.subscribe()
    }

    /// Ships until `stop` is cancelled and, after that, `connections_ended` has resolved; then what is durable by then, closes
    /// the log, and makes a checkpoint of the ledger.
    ///
    /// # Errors
    /// [`ShipperError`]; a ledger or a log that fails is none.
    pub(crate) async fn run(
        mut self,
        stop: CancellationToken,
        connections_ended: impl Future<Output = ()>,
    ) -> Result<(), ShipperError> {
        let mut ticks = tokio::time::interval(SHIP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watermark_due = Instant::now();
        let mut retry_interval = SHIP_INTERVAL;
        let mut retry_at = Instant::now();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let now = Instant::now();
            if now >= watermark_due {
                watermark_due = now + WATERMARK_INTERVAL;
                self.mark();
                self.tidy().await;
            }
            if now < retry_at {
                continue;
            }
            match stop.run_until_cancelled(self.ship_all()).await {
                None => break,
                Some(Ok(())) => retry_interval = SHIP_INTERVAL,
                Some(Err(AttemptError::Final(error))) => return Err(error),
                Some(Err(AttemptError::Ledger(error @ LedgerError::Gap { .. }))) => {
                    self.start_over(&error);
                }
                Some(Err(error)) => {
                    self.note(&error).await;
                    retry_at = Instant::now() + retry_interval;
                    retry_interval = (retry_interval * 2).min(RETRY_INTERVAL_MAX);
                }
            }
        }
        self.finish(connections_ended).await;
        Ok(())
    }

    /// The ledger has less than it said: it was restored from a backup, or a standby that lagged has taken its place. It is
    /// asked anew where it is, and gets again what the log still has.
    fn start_over(&mut self, error: &LedgerError) {
        let error = error as &dyn Error;
        tracing::warn!(
            error,
            "the ledger has gone back; shipping again what it lacks"
        );
        self.reader = None;
        self.pending = None;
        self.status.send_modify(|status| status.shipped_seq = 0);
    }

    /// Puts the time into the log. The record is shipped in its turn, so it can't overtake a share.
    fn mark(&self) {
        let watermark = Record::Watermark { at_ms: unix_ms() };
        if let Err(error) = self.log.try_append(vec![watermark]) {
            tracing::debug!(%error, "no watermark this time");
        }
    }

    /// Lets go of segments that the ledger has, and finds out what the log takes of the disk: whether the ledger is there or
    /// not, since a disk that is full needs the room now.
    async fn tidy(&self) {
        let (log, retention) = (self.log.clone(), self.retention);
        let shipped_seq = self.status.borrow().shipped_seq;
        let tidying = tokio::task::spawn_blocking(move || {
            let released = log.release(shipped_seq, &retention, unix_ms());
            (released, log.disk_bytes())
        });
        let Ok((released, log_bytes)) = tidying.await else {
            return;
        };
        if let Err(error) = released {
            tracing::warn!(
                error = &error as &dyn Error,
                "shipped segment of the share log stays"
            );
        }
        self.status
            .send_modify(|status| status.log_bytes = log_bytes);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("hyperhash_share_log_bytes").set(log_bytes as f64);
    }

    /// Ships all that is durable.
    async fn ship_all(&mut self) -> Result<(), AttemptError> {
        loop {
            if self.pending.is_none() {
                self.pending = self.next_shipment().await?.map(Arc::new);
            }
            let Some(shipment) = self.pending.clone() else {
                return Ok(());
            };
            let started = Instant::now();
            let last_seq = shipment.last_seq;
            self.ledger.ship(shipment).await?;
            self.pending = None;
            self.shipped(last_seq);
            metrics::histogram!("hyperhash_ledger_ship_seconds").record(started.elapsed());
        }
    }

    /// Reads the next durable records.
    async fn next_shipment(&mut self) -> Result<Option<Shipment>, AttemptError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.start().await?,
        };
        let is_due = self.noted_at.is_none_or(|at| at.elapsed() >= NOTE_INTERVAL);
        let note = is_due.then(|| (self.file.clone(), self.place()));
        if is_due {
            self.noted_at = Some(Instant::now());
        }
        let reading = tokio::task::spawn_blocking(move || {
            if let Some((file, place)) = note {
                write_note(&file, &place);
            }
            let entries = reader.read(SHIPMENT_RECORDS_MAX);
            (reader, entries)
        });
        let (reader, entries) = reading.await?;
        self.reader = Some(reader);
        let entries = entries?;
        let oldest_ms = entries.first().map(|entry| entry.record.at_ms());
        self.status
            .send_modify(|status| status.oldest_waiting_ms = oldest_ms);
        Ok(shipment(&self.log, entries))
    }

    /// A reader that starts after the last record in the ledger.
    async fn start(&self) -> Result<LogReader, AttemptError> {
        let epoch = self.log.epoch();
        let shipped_seq = self.ledger.last_seq(epoch).await?.unwrap_or(0);
        let durable_seq = *self.log.durable().borrow();
        if shipped_seq > durable_seq {
            return Err(ShipperError::LogBehindLedger {
                shipped_seq,
                durable_seq,
            }
            .into());
        }
        let first_seq = self.log.first_seq();
        if shipped_seq + 1 < first_seq {
            self.skip(shipped_seq, first_seq).await?;
        }
        self.status
            .send_modify(|status| status.shipped_seq = shipped_seq.max(first_seq - 1));
        Ok(self.log.reader(first_seq.max(shipped_seq + 1))?)
    }

    /// Gives up what lies between the ledger and the log. It had been shipped when the log let it go: the ledger is not the one
    /// that it was.
    async fn skip(&self, shipped_seq: u64, first_seq: u64) -> Result<(), AttemptError> {
        let epoch = self.log.epoch();
        let logs = self.ledger.reader().logs().await?;
        let known = logs.into_iter().find(|log| log.epoch == epoch);
        let lost = Lost {
            first_seq: shipped_seq + 1,
            last_seq: first_seq - 1,
            after_ms: known.and_then(|log| log.watermark_ms),
            until_ms: self.log.kept_from_ms(),
        };
        tracing::error!(
            first_seq = lost.first_seq,
            last_seq = lost.last_seq,
            after_ms = lost.after_ms,
            until_ms = lost.until_ms,
            "records are neither in the ledger nor in the share log; was an old ledger restored?"
        );
        self.ledger.skip_to(epoch, first_seq, unix_ms()).await?;
        self.status.send_modify(|status| status.lost = Some(lost));
        Ok(())
    }

    fn shipped(&self, last_seq: u64) {
        self.status.send_modify(|status| {
            if status.last_error.take().is_some() {
                tracing::info!("shipping to the ledger works again");
            }
            status.shipped_seq = last_seq;
            status.last_shipped_at_ms = Some(unix_ms());
        });
    }

    async fn note(&self, error: &AttemptError) {
        let oldest_ms = self.oldest_waiting_ms().await;
        self.status.send_modify(|status| {
            status.oldest_waiting_ms = oldest_ms;
            if status.last_error.is_none() {
                tracing::warn!(error = error as &dyn Error, "shares wait in the share log");
            }
            status.last_error = Some(hh_daemon::Chain(error).to_string());
        });
    }

    fn place(&self) -> Place {
        Place {
            epoch: hex::encode(self.log.epoch()),
            shipped_seq: self.status.borrow().shipped_seq,
        }
    }

    /// The time of the oldest record that waits. While the ledger has not said where it is that may be one which it has.
    async fn oldest_waiting_ms(&self) -> Option<i64> {
        let status = self.status.borrow().clone();
        if status.oldest_waiting_ms.is_some() {
            return status.oldest_waiting_ms;
        }
        let mut reader = self.log.reader(status.shipped_seq + 1).ok()?;
        let first = tokio::task::spawn_blocking(move || reader.read(1));
        let first = first.await.ok()?.ok()?;
        first.first().map(|entry| entry.record.at_ms())
    }

    async fn finish(&mut self, connections_ended: impl Future<Output = ()>) {
        let ended = tokio::time::timeout(CONNECTIONS_GRACE, connections_ended);
        let nothing_comes = ended.await.is_ok();
        let last = async {
            if nothing_comes {
                self.mark();
                self.log.close().await;
            }
            self.ship_all().await?;
            let (file, place) = (self.file.clone(), self.place());
            tokio::task::spawn_blocking(move || write_note(&file, &place)).await?;
            if nothing_comes {
                let last_seq = *self.log.durable().borrow();
                if self.ledger.close_log(self.log.epoch(), last_seq).await? {
                    tracing::info!(last_seq, "the ledger has all of the share log");
                }
            }
            Ok::<_, AttemptError>(self.ledger.checkpoint().await?)
        };
        match tokio::time::timeout(STOP_GRACE, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "shares wait for the next start"
                );
            }
            Err(_elapsed) => tracing::warn!("shares wait for the next start: the ledger is slow"),
        }
    }
}

/// Blocks for the disk. Without the note a start without the ledger shows more as waiting than does.
fn write_note(file: &StateFile, place: &Place) {
    if let Err(error) = file.write(place) {
        let error = &error as &dyn Error;
        tracing::debug!(error, "the shipper's place was not noted");
    }
}

/// What goes to the ledger of these records; none if there are none.
fn shipment(log: &ShareLog, entries: Vec<Entry>) -> Option<Shipment> {
    let (first, last) = (entries.first()?.seq, entries.last()?.seq);
    let mut shipment = Shipment {
        epoch: log.epoch(),
        first_seq: first,
        last_seq: last,
        shares: Vec::with_capacity(entries.len()),
        bindings: Vec::new(),
        watermark_ms: None,
    };
    for Entry { seq, record } in entries {
        match record {
            Record::Share(share) => shipment.shares.push(ShareRow {
                seq,
                accepted_at_ms: share.accepted_at_ms,
                origin: share.origin,
                hash: BlockHash::from_byte_array(share.hash),
                extranonce_prefix: share.extranonce_prefix,
                channel_id: share.channel_id,
                job_id: share.job_id,
                nbits: share.nbits,
                ntime: share.ntime,
                nonce: share.nonce,
                version: share.version,
                work: share.work,
                score: share.score,
                is_block: share.is_block,
            }),
            Record::Binding(binding) => shipment.bindings.push(BindingRow {
                seq,
                bound_at_ms: binding.bound_at_ms,
                extranonce_prefix: binding.extranonce_prefix,
                origin: binding.origin,
            }),
            Record::Watermark { at_ms } => shipment.watermark_ms = Some(at_ms),
        }
    }
    Some(shipment)
}
