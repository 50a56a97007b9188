//! Shares of SV1 miners at the highest rate: how many the pool gets, and whether it has what miners were told that it has.

use super::client::Sv1Client;
use super::connect;
use super::translator::Translator;
use crate::bench::client::ClientError;
use crate::bench::report::Row;
use crate::bench::server::Stage;
use crate::bench::shares::{
    CONNECTIONS, Measured, Outcome, SILENCE_MAX, Schedule, Tally, WINDOW, WINDOW_LOW, load,
};
use crate::network::CALL;
use hh_ipc::api::pool::PoolClient;
use hh_ipc::client::within;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two looks at the pool.
const LOOK: Duration = Duration::from_millis(20);

/// What the pool has had of the load.
#[derive(Debug, Default)]
struct Seen {
    /// Shares a second, while it counted.
    rate: f64,
    /// Shares that miners were told are accepted and that the pool did not have, at its greatest.
    lead_max: u64,
}

/// Each miner always has shares that wait for their answer.
///
/// # Errors
/// The translator refuses or stops.
pub async fn at_full_rate(
    translator: &Translator,
    stage: &Stage,
    counted: Duration,
) -> Result<Outcome, ClientError> {
    let clients = connect(translator, CONNECTIONS).await?;
    let pool = translator.pool().await;
    let before = records(&pool).await;
    let schedule = Schedule::starting_now(counted);
    let told = Arc::new(AtomicU64::new(0));
    let run = |client, _| fill(client, schedule, Arc::clone(&told));
    let bystanders = translator.bystanders(stage);
    let measured = Measured {
        pid: translator.pid,
        bystanders: &bystanders,
    };
    let (load, seen) = tokio::join!(
        load(clients, run, &told, schedule, measured),
        watch(&pool, before, &told, schedule),
    );
    let load = load?;
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let lead_max = seen.lead_max as f64;
    Ok(Outcome {
        figures: vec![(Row::Sv1Shares, seen.rate), (Row::Sv1Lead, lead_max)],
        usage: load.usage,
        lost: load.tally.lost,
    })
}

/// Looks at the pool until the load ends. `before` is what it had when the load began.
async fn watch(pool: &PoolClient, before: u64, told: &AtomicU64, schedule: Schedule) -> Seen {
    let mut seen = Seen::default();
    let mut first = None;
    while Instant::now() < schedule.end {
        tokio::time::sleep(LOOK).await;
        // In this order: what miners are told after that is not held against anybody.
        let told = told.load(Ordering::Relaxed);
        let has = records(pool).await - before;
        let now = Instant::now();
        seen.lead_max = seen.lead_max.max(told.saturating_sub(has));
        if schedule.counts(now) {
            let (since, had) = *first.get_or_insert((now, has));
            let elapsed = now.saturating_duration_since(since).as_secs_f64();
            if elapsed > 0.0 {
                #[expect(clippy::cast_precision_loss, reason = "millions")]
                let shares = (has - had) as f64;
                seen.rate = shares / elapsed;
            }
        }
    }
    seen
}

/// Records in the pool's share log. While no channel opens, only shares are added.
async fn records(pool: &PoolClient) -> u64 {
    let status = pool.status(within(CALL)).await;
    status.expect("hh-pool answers").share_log.durable_seq
}

/// Keeps the window of one miner filled.
async fn fill(
    mut client: Sv1Client,
    schedule: Schedule,
    told: Arc<AtomicU64>,
) -> Result<Tally, ClientError> {
    while Instant::now() < schedule.end {
        while client.in_flight() < WINDOW {
            client.queue_share()?;
        }
        client.flush().await?;
        while client.in_flight() > WINDOW_LOW {
            if tokio::time::timeout(SILENCE_MAX, client.receive())
                .await
                .is_err()
            {
                break;
            }
            told.fetch_add(client.take_accepted(), Ordering::Relaxed);
        }
    }
    Ok(Tally::of_lost(client.refused()))
}
