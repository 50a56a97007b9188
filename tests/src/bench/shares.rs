//! Shares: how many a server accepts, how long it takes to answer, and what CPU time each costs it.

use super::client::{Client, ClientError};
use super::connects::connect;
use super::report::{Figures, Row};
use super::samples::Samples;
use super::server::{Server, Stage};
use super::ticker::Ticker;
use super::usage::{Usage, UsageMeter};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Connections with one channel each.
pub const CONNECTIONS: usize = 100;

/// Of all connections together, in a second, where the rate is given.
pub const PACED_RATE: u32 = 2_000;

/// Unanswered shares of a connection at most, where the rate is the server's: far more than any server answers at a time.
pub(super) const WINDOW: usize = 256;
/// It is filled again when so many are left.
pub(super) const WINDOW_LOW: usize = WINDOW / 2;

/// From the start of the load to the start of what counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// From the end of what counts to the end of the load: the last shares that count are answered under load as well.
const COOL_DOWN: Duration = Duration::from_millis(1_500);

/// Longer than any measure takes.
const LONG: Duration = Duration::from_secs(600);

/// A server that says nothing for so long has stopped.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Time between looks at the server's threads, some of which may end.
const LOOK: Duration = Duration::from_secs(1);

/// When load begins, what part of it counts, and when it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: Instant,
    from: Instant,
    to: Instant,
    pub end: Instant,
}

impl Schedule {
    pub(super) fn starting_now(counted: Duration) -> Self {
        let start = Instant::now();
        let from = start + WARM_UP;
        let to = from + counted;
        let end = to + COOL_DOWN;
        Self {
            start,
            from,
            to,
            end,
        }
    }

    pub(super) fn counts(&self, at: Instant) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// What one client has seen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// From when a share was due to its answer, of shares that were due while it counted.
    latencies: Samples,
    /// Shares that were refused, or not answered before the load ended.
    pub lost: u64,
}

impl Tally {
    /// Of a client whose latencies don't count.
    pub(super) fn of_lost(lost: u64) -> Self {
        Self {
            lost,
            ..Self::default()
        }
    }
}

/// The process that is measured, and those that are part of the experiment without being measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured<'pids> {
    pub pid: u32,
    pub bystanders: &'pids [u32],
}

/// What load has shown.
#[derive(Debug)]
pub struct Outcome {
    pub figures: Figures,
    pub usage: Usage,
    /// Shares that were refused or have no answer.
    pub lost: u64,
}

/// The highest rate: each connection always has shares that wait for their answer.
///
/// # Errors
/// The server refuses or stops.
pub async fn at_full_rate(
    server: &Server,
    stage: &Stage,
    counted: Duration,
) -> Result<Outcome, ClientError> {
    let (_, clients) = connect(server, CONNECTIONS).await?;
    let schedule = Schedule::starting_now(counted);
    let accepted = Arc::new(AtomicU64::new(0));
    let run = |client, _| fill(client, schedule, Arc::clone(&accepted));
    let measured = Measured {
        pid: server.pid,
        bystanders: &stage.bystanders(),
    };
    let load = load(clients, run, &accepted, schedule, measured).await?;
    let rate = load.accepted / load.usage.elapsed.as_secs_f64();
    Ok(Outcome {
        figures: vec![(Row::SharesMax, rate)],
        usage: load.usage,
        lost: load.tally.lost,
    })
}

/// A given rate, evenly over the connections: latency, and CPU time of a share.
///
/// # Errors
/// The server refuses or stops.
pub async fn at_given_rate(
    server: &Server,
    stage: &Stage,
    counted: Duration,
) -> Result<Outcome, ClientError> {
    let (_, clients) = connect(server, CONNECTIONS).await?;
    let schedule = Schedule::starting_now(counted);
    let accepted = Arc::new(AtomicU64::new(0));
    let run = |client, number| pace(client, number, schedule, Arc::clone(&accepted));
    let measured = Measured {
        pid: server.pid,
        bystanders: &stage.bystanders(),
    };
    let load = load(clients, run, &accepted, schedule, measured).await?;
    let cpu_us = load.usage.server.as_secs_f64() * 1e6 / load.accepted;
    Ok(Outcome {
        figures: vec![
            (Row::CpuPerShare, cpu_us),
            (Row::LatencyP50, load.tally.latencies.percentile_ms(50)),
            (Row::LatencyP99, load.tally.latencies.percentile_ms(99)),
        ],
        usage: load.usage,
        lost: load.tally.lost,
    })
}

#[derive(Debug)]
pub(super) struct Load {
    accepted: f64,
    pub usage: Usage,
    pub tally: Tally,
}

/// Runs every client, and measures the server in the middle of that.
pub(super) async fn load<C, F>(
    clients: Vec<C>,
    run: impl Fn(C, usize) -> F,
    accepted: &AtomicU64,
    schedule: Schedule,
    measured: Measured<'_>,
) -> Result<Load, ClientError>
where
    F: Future<Output = Result<Tally, ClientError>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        running.spawn(run(client, number));
    }
    tokio::time::sleep_until(schedule.from.into()).await;
    let before = accepted.load(Ordering::Relaxed);
    let mut meter = UsageMeter::start(measured.pid, measured.bystanders);
    while Instant::now() < schedule.to {
        let next = (Instant::now() + LOOK).min(schedule.to);
        tokio::time::sleep_until(next.into()).await;
        meter.look();
    }
    let usage = meter.usage();
    let accepted = accepted.load(Ordering::Relaxed) - before;
    let mut tally = Tally::default();
    while let Some(joined) = running.join_next().await {
        let of_client = joined.expect("a client does not panic")?;
        tally.latencies.extend(of_client.latencies);
        tally.lost += of_client.lost;
    }
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    let accepted = accepted as f64;
    Ok(Load {
        accepted,
        usage,
        tally,
    })
}

/// Keeps the window of one connection filled.
async fn fill(
    mut client: Client,
    schedule: Schedule,
    accepted: Arc<AtomicU64>,
) -> Result<Tally, ClientError> {
    while Instant::now() < schedule.end {
        while client.in_flight() < WINDOW {
            client.queue_share(schedule.start)?;
        }
        client.flush().await?;
        while client.in_flight() > WINDOW_LOW {
            if tokio::time::timeout(SILENCE_MAX, client.receive())
                .await
                .is_err()
            {
                break;
            }
            let settled = client.take_settled().count() as u64;
            accepted.fetch_add(settled, Ordering::Relaxed);
        }
    }
    Ok(Tally::of_lost(client.refused()))
}

/// Puts a server under the given rate until what it returns is dropped; what becomes of the shares is nobody's concern.
pub(super) fn pace_until_dropped(clients: Vec<Client>) -> JoinSet<Result<Tally, ClientError>> {
    let schedule = Schedule::starting_now(LONG);
    let mut running = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        running.spawn(pace(client, number, schedule, Arc::default()));
    }
    running
}

/// Sends one connection's part of the given rate.
async fn pace(
    mut client: Client,
    number: usize,
    schedule: Schedule,
    accepted: Arc<AtomicU64>,
) -> Result<Tally, ClientError> {
    let connections = u32::try_from(CONNECTIONS).expect("it is small");
    let interval = Duration::from_secs(1) * connections / PACED_RATE;
    let number = u32::try_from(number).expect("it is small");
    let mut due = schedule.start + interval * (number + 1) / connections;
    let ticker = Ticker::start(due, interval)?;
    let mut tally = Tally::default();
    while due < schedule.end {
        tokio::select! {
            biased;
            received = client.receive() => received?,
            ticks = ticker.ticks() => {
                for _ in 0..ticks? {
                    client.queue_share(due)?;
                    due += interval;
                }
                client.flush().await?;
            }
        }
        let now = Instant::now();
        let mut settled = 0;
        for due in client.take_settled() {
            settled += 1;
            if schedule.counts(due) {
                tally.latencies.push(now.saturating_duration_since(due));
            }
        }
        accepted.fetch_add(settled, Ordering::Relaxed);
    }
    let unanswered = client.due_in_flight();
    let unanswered = unanswered.filter(|due| schedule.counts(*due)).count() as u64;
    tally.lost = client.refused() + unanswered;
    Ok(tally)
}
