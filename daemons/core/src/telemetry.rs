//! What nodes measure: taken in batches, each sample once, and acknowledged when it is on the disk.
//!
//! One task writes. It takes what has gathered in one transaction, so that five hundred nodes cost a few syncs a second. Samples are
//! kept for some hours; what is shown of a node is its last one.

use crate::report;
use crate::store::{Store, StoreError, Transaction, Value, values};
use hh_daemon::Failure;
use hh_ipc::agent::{MAX_LANES, MAX_SAMPLES, MAX_SERVICES, Sample, TelemetryAck, TelemetryBatch};
use hh_trust::NodeId;
use jiff::Timestamp;
use prost::Message;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Batches that wait for the writer. More nodes than that wait for their place.
const QUEUE: usize = 256;

/// Batches of one transaction.
const GATHERED_MAX: usize = 256;

/// For so long others are waited for after the first batch: one sync for all that came.
const GATHER: Duration = Duration::from_millis(20);

/// Samples are kept for so long: a day of one node is two megabytes.
const KEEP_MS: i64 = 6 * 3_600 * 1_000;

/// How often those that are too old go.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// A clock further ahead than this is wrong: its sample counts as of now.
const AHEAD_MS_MAX: i64 = 5 * 60 * 1_000;

/// A batch, and who waits for it.
struct Delivery {
    node: NodeId,
    batch: TelemetryBatch,
    taken: oneshot::Sender<Result<TelemetryAck, Status>>,
}

/// Where batches go.
#[derive(Clone, Debug)]
pub(crate) struct Intake(mpsc::Sender<Delivery>);

/// Writes batches until the daemon stops.
pub(crate) struct Writer {
    store: Store,
    deliveries: mpsc::Receiver<Delivery>,
}

/// The last sample of a node, and how many its spool had no room for.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    pub(crate) sample: Sample,
    pub(crate) dropped_total: u64,
}

/// Both ends.
pub(crate) fn channel(store: Store) -> (Intake, Writer) {
    let (sender, deliveries) = mpsc::channel(QUEUE);
    (Intake(sender), Writer { store, deliveries })
}

impl Intake {
    /// Takes a batch of a node; it is on the disk when this returns.
    ///
    /// # Errors
    /// It makes no sense, or can't be written now.
    pub(crate) async fn push(
        &self,
        node: NodeId,
        batch: TelemetryBatch,
    ) -> Result<TelemetryAck, Status> {
        check(&batch)?;
        let (taken, was_taken) = oneshot::channel();
        let stopping = || Status::unavailable("hyperhash-core stops");
        let delivery = Delivery { node, batch, taken };
        let sent = self.0.send(delivery).await;
        sent.map_err(|_gone| stopping())?;
        was_taken.await.unwrap_or_else(|_gone| Err(stopping()))
    }
}

fn check(batch: &TelemetryBatch) -> Result<(), Status> {
    let samples = &batch.samples;
    if samples.len() > MAX_SAMPLES {
        return Err(Status::invalid_argument(
            "more samples than a batch may have",
        ));
    }
    let is_full =
        |sample: &Sample| sample.services.len() > MAX_SERVICES || sample.lanes.len() > MAX_LANES;
    if samples.iter().any(is_full) {
        return Err(Status::invalid_argument(
            "more services or lanes than a sample may have",
        ));
    }
    let is_ordered = samples.is_sorted_by(|a, b| a.seq < b.seq);
    let is_number = |number: u64| i64::try_from(number).is_ok();
    let fits = samples
        .iter()
        .all(|sample| sample.seq > 0 && is_number(sample.seq));
    if !is_ordered || !fits || !is_number(batch.stream) || !is_number(batch.dropped_total) {
        return Err(Status::invalid_argument(
            "samples that are not in their order",
        ));
    }
    Ok(())
}

impl Writer {
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                delivery = self.deliveries.recv() => match delivery {
                    Some(first) => self.write(first).await,
                    None => return Ok(()),
                },
                _ = prune.tick() => self.prune().await,
            }
        }
    }

    async fn write(&mut self, first: Delivery) {
        tokio::time::sleep(GATHER).await;
        let mut gathered = vec![first];
        while gathered.len() < GATHERED_MAX
            && let Ok(delivery) = self.deliveries.try_recv()
        {
            gathered.push(delivery);
        }
        let now_ms = Timestamp::now().as_millisecond();
        let (batches, waiting): (Vec<_>, Vec<_>) = gathered
            .into_iter()
            .map(|delivery| ((delivery.node, delivery.batch), delivery.taken))
            .unzip();
        let written: Result<Vec<TelemetryAck>, StoreError> = self
            .store
            .rows(move |transaction| put(transaction, &batches, now_ms))
            .await;
        match written {
            Ok(acks) => {
                for (ack, waiting) in acks.into_iter().zip(waiting) {
                    waiting.send(Ok(ack)).ok();
                }
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "telemetry not written"
                );
                for waiting in waiting {
                    let status = Status::unavailable("telemetry can't be written now");
                    waiting.send(Err(status)).ok();
                }
            }
        }
    }

    async fn prune(&self) {
        let until = Timestamp::now().as_millisecond().saturating_sub(KEEP_MS);
        let pruned: Result<(), StoreError> = self
            .store
            .rows(move |transaction| {
                let delete = "DELETE FROM samples WHERE at_ms < $1";
                transaction.execute(delete, &values![until]).map(drop)
            })
            .await;
        if let Err(error) = pruned {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "old telemetry not removed"
            );
        }
    }
}

/// Writes what is new in batches. The node may come by another replica meanwhile: each sample is one row whoever writes it.
fn put(
    transaction: &Transaction<'_>,
    batches: &[(NodeId, TelemetryBatch)],
    now_ms: i64,
) -> Result<Vec<TelemetryAck>, StoreError> {
    let through = through_seqs(transaction, batches)?;
    let batches = batches.iter().zip(through);
    let (mut samples, mut streams, mut acks) = (Vec::new(), Vec::new(), Vec::new());
    for ((node, batch), through) in batches {
        let news = batch.samples.iter().filter(|sample| sample.seq > through);
        samples.extend(news.map(|sample| sample_row(node, batch.stream, sample, now_ms)));
        let last = batch.samples.last().map_or(0, |sample| sample.seq);
        let through_seq = through.max(last);
        let stream = values![node, batch.stream, through_seq, batch.dropped_total, now_ms];
        streams.push(stream.to_vec());
        acks.push(TelemetryAck { through_seq });
        let count = u64::try_from(batch.samples.len()).unwrap_or_default();
        metrics::counter!("hyperhash_fleet_samples_total").increment(count);
    }
    let insert =
        "INSERT INTO samples (node, stream, seq, at_ms, sample) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (node, stream, seq) DO NOTHING";
    transaction.execute_each(insert, &samples)?;
    let upsert = "INSERT INTO telemetry_streams AS known (node, stream, through_seq, dropped_total, heard_at_ms)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (node, stream) DO UPDATE SET dropped_total = $4, heard_at_ms = $5,
            through_seq = CASE WHEN known.through_seq > $3 THEN known.through_seq ELSE $3 END";
    transaction.execute_each(upsert, &streams)?;
    Ok(acks)
}

fn sample_row(node: &NodeId, stream: u64, sample: &Sample, now_ms: i64) -> Vec<Value> {
    let at_ms = sample.at_unix_ms;
    let at_ms = if at_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
        now_ms
    } else {
        at_ms
    };
    values![node, stream, sample.seq, at_ms, sample.encode_to_vec()].to_vec()
}

/// How far the stream of each batch has come.
fn through_seqs(
    transaction: &Transaction<'_>,
    batches: &[(NodeId, TelemetryBatch)],
) -> Result<Vec<u64>, StoreError> {
    let query = "SELECT through_seq FROM telemetry_streams WHERE node = $1 AND stream = $2";
    let streams = batches.iter();
    let streams = streams.map(|(node, batch)| values![node, batch.stream].to_vec());
    let streams: Vec<_> = streams.collect();
    let found = transaction.query_each(query, &streams)?;
    let through = found
        .iter()
        .map(|rows| rows.first().map_or(Ok(0), |row| row.get(0)));
    through.collect()
}

/// The last sample of a node; none if none came, or the last is too old to be kept.
pub(crate) fn latest(
    transaction: &Transaction<'_>,
    node: &NodeId,
) -> Result<Option<Latest>, StoreError> {
    // The newest stream first, so that not all samples of the node are sorted.
    let query = "SELECT sample, dropped_total
        FROM (SELECT stream, dropped_total FROM telemetry_streams WHERE node = $1 ORDER BY heard_at_ms DESC LIMIT 1) AS newest
        JOIN samples ON samples.node = $1 AND samples.stream = newest.stream ORDER BY seq DESC LIMIT 1";
    let Some(row) = transaction.find(query, &values![node])? else {
        return Ok(None);
    };
    let bytes: Vec<u8> = row.get(0)?;
    let dropped_total = row.get(1)?;
    let sample = Sample::decode(bytes.as_slice()).map_err(|_no| StoreError::Damaged {
        what: format!("a sample of {node} that is none"),
    })?;
    let sample = Sample {
        services: report::services(sample.services),
        lanes: report::lanes(sample.lanes),
        ..sample
    };
    Ok(Some(Latest {
        sample,
        dropped_total,
    }))
}
