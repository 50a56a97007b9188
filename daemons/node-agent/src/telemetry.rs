//! What this node measures, every five seconds: into a spool on the disk, and from there to core.
//!
//! The spool has a limit, and the oldest samples make room; how many did is counted and told. So a node that is cut off for a day
//! catches up, and one that is cut off for ever does not fill its disk.

mod sample;
mod spool;

use crate::dial::{Channel, DialError};
use crate::report::Reporter;
use hh_daemon::Failure;
use hh_ipc::agent::{TelemetryAck, path};
use sample::Sampler;
use spool::{Spool, SpoolError};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often the node is measured.
const INTERVAL: Duration = Duration::from_secs(5);

/// After a push that failed, until the next one.
const PUSH_PAUSE: Duration = Duration::from_secs(5);

/// Why a batch was not pushed.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// The task.
pub(crate) struct Telemetry {
    spool: Spool,
    sampler: Sampler,
    channel: watch::Receiver<Option<Channel>>,
}

impl Telemetry {
    /// Opens the spool in `dir`.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) async fn open(
        dir: &Path,
        reporter: Reporter,
        channel: watch::Receiver<Option<Channel>>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            spool: Spool::open(&dir.join("spool.db")).await?,
            sampler: Sampler::new(dir, reporter),
            channel,
        })
    }

    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Failure> {
        let measuring = measure(&self.spool, &self.sampler);
        let pushing = push(&self.spool, self.channel.clone());
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = measuring => Ok(()),
            () = pushing => Ok(()),
        }
    }
}

async fn measure(spool: &Spool, sampler: &Sampler) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let sample = sampler.sample();
        // A disk that is full for a while is no reason to stop what the node does.
        if let Err(error) = spool.put(sample).await {
            tracing::error!(error = &error as &dyn std::error::Error, "sample not kept");
        }
    }
}

async fn push(spool: &Spool, mut channel: watch::Receiver<Option<Channel>>) {
    loop {
        let connected = channel.wait_for(Option::is_some).await;
        let Ok(Some(current)) = connected.map(|channel| channel.clone()) else {
            return;
        };
        match push_batch(spool, &current).await {
            Ok(true) => {}
            Ok(false) => spool.filled().await,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "telemetry not pushed"
                );
                tokio::time::sleep(PUSH_PAUSE).await;
            }
        }
    }
}

/// Pushes the oldest samples. False if there is none.
async fn push_batch(spool: &Spool, channel: &Channel) -> Result<bool, PushError> {
    let Some(batch) = spool.batch().await? else {
        return Ok(false);
    };
    let stream = batch.stream;
    let ack: TelemetryAck = channel.unary(path::PUSH_TELEMETRY, batch).await?;
    spool.forget(stream, ack.through_seq).await?;
    Ok(true)
}
