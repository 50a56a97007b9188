//! A core under the load of a whole network, on SQLite; killed under it once.

use crate::orders::{Orders, all_done, none_open};
use crate::say;
use crate::simulated::{Fleet, HASHRATE_HS, MINERS};
use crate::site::{Site, wait_for};
use futures::future::join_all;
use hh_ipc::client;
use rusqlite::Connection;
use std::fs;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Nodes of a run, and of a long one.
const NODES: [usize; 2] = [50, 500];

/// For so long the load is measured.
const MEASURED: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(60)];

/// Operators who give an order each quarter of a second.
const OPERATORS: usize = 4;
const ORDER_EVERY: Duration = Duration::from_millis(250);

/// From an order until its result is known, of 99 in 100.
const LATENCY_P99_MAX: Duration = Duration::from_millis(500);
const MEMORY_BYTES_MAX: u64 = 300_000_000;
const CORES_MAX: f64 = 0.5;

/// Samples of a node in a second, and the part of them that core must have taken as it goes: one is always on its way.
const SAMPLES_A_SECOND: f64 = 0.2;
const TAKEN_MIN: f64 = 0.9;

/// Of a second, as the kernel counts the time of processes.
const TICKS: f64 = 100.0;

fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks = fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() / TICKS
}

/// The most that it ever had.
fn memory_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

pub(crate) fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    sorted[(sorted.len() * hundredths / 100).min(sorted.len() - 1)]
}

async fn all_connected(site: &Site, count: usize) {
    wait_for("all nodes have sessions", async || {
        let client = site.client().await;
        let status = client.status(client::within(Duration::from_secs(10))).await;
        let connected = status.ok()?.ok()?.nodes_connected;
        (usize::try_from(connected).unwrap() == count).then_some(())
    })
    .await;
}

/// What all lanes of all nodes do is known as their sum.
async fn all_add_up(site: &Site, count: usize) {
    let miners = u64::try_from(count).unwrap() * MINERS;
    wait_for("the lanes of all nodes add up", async || {
        let client = site.client().await;
        let status = client.status(client::within(Duration::from_secs(10))).await;
        let status = status.ok()?.ok()?;
        let hashrate = HASHRATE_HS * f64::from(u32::try_from(count).unwrap());
        let is_sum = (status.hashrate_10m_hs / hashrate - 1.0).abs() < 1e-9;
        (is_sum && status.miners == miners).then_some(())
    })
    .await;
}

/// Orders of all operators, while `meanwhile` goes on.
async fn orders_while(
    site: &Site,
    fleet: &Fleet,
    meanwhile: impl Future<Output = ()>,
) -> Vec<Orders> {
    let end = CancellationToken::new();
    let names: Vec<String> = fleet.nodes.iter().map(|node| node.name.clone()).collect();
    let parts = names.chunks(names.len().div_ceil(OPERATORS));
    let operators = parts.map(|nodes| Orders::give(site, nodes, ORDER_EVERY, &end));
    let ending = async {
        meanwhile.await;
        end.cancel();
    };
    tokio::join!(join_all(operators), ending).0
}

/// What a load cost.
struct Cost {
    p99: Duration,
    memory_bytes: u64,
    cores: f64,
}

/// Measures what the load costs for so long, and says it. Gives the orders that were taken.
async fn measure(site: &Site, fleet: &Fleet, time: Duration) -> (Cost, Vec<String>) {
    let (process, count) = (site.core.id(), fleet.nodes.len());
    let (begun, cpu) = (Instant::now(), cpu_seconds(process));
    let before = fleet.samples().0;
    let orders = orders_while(site, fleet, tokio::time::sleep(time)).await;
    let seconds = begun.elapsed().as_secs_f64();
    let (samples, held) = fleet.samples();
    let samples = samples - before;
    let latencies = orders.iter().flat_map(|orders| orders.latencies.clone());
    let mut latencies: Vec<Duration> = latencies.collect();
    latencies.sort_unstable();
    let [half, p99] = [50, 99].map(|hundredths| percentile(&latencies, hundredths));
    let cost = Cost {
        p99,
        memory_bytes: memory_bytes(process),
        cores: (cpu_seconds(process) - cpu) / seconds,
    };
    say(&format!(
        "core with {count} nodes for {seconds:.0} s: {} orders, result after {half:.1?} (median), {p99:.1?} (99 in 100); \
         {samples} samples, {held} of them not taken yet; {:.2} cores, {} MB at most",
        latencies.len(),
        cost.cores,
        cost.memory_bytes / 1_000_000
    ));
    let due = f64::from(u32::try_from(count).unwrap()) * seconds * SAMPLES_A_SECOND;
    let is_taken = |samples: u64| f64::from(u32::try_from(samples).unwrap()) > due * TAKEN_MIN;
    let held = u64::try_from(held).unwrap();
    assert!(is_taken(samples.saturating_sub(held)), "{due} are due");
    let taken = orders.into_iter().flat_map(|orders| orders.taken);
    (cost, taken.collect())
}

/// Kills core while orders are on their way, and starts it again when every node holds a sample. Goes on until it takes orders again.
async fn kill_and_restart(site: &Site, fleet: &Fleet, orders_before: usize) {
    wait_for("orders are on their way", async || {
        (fleet.orders().0 > orders_before + 10).then_some(())
    })
    .await;
    site.core.kill();
    wait_for("every node holds a sample", async || {
        let mut nodes = fleet.nodes.iter();
        nodes.all(|node| node.holds_any()).then_some(())
    })
    .await;
    site.core.restart();
    all_connected(site, fleet.nodes.len()).await;
    wait_for("orders are taken again", async || {
        (fleet.orders().0 > orders_before + 40).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_carries_its_nodes_and_loses_nothing_when_it_is_killed_under_them() {
    let size = usize::from(std::env::var_os("HH_TEST_ALL").is_some());
    let count = NODES[size];
    let site = Site::start().await;
    let mut fleet = Fleet::join(&site, count).await;
    all_connected(&site, count).await;
    all_add_up(&site, count).await;
    let (cost, mut taken) = measure(&site, &fleet, MEASURED[size]).await;

    let killing = kill_and_restart(&site, &fleet, taken.len());
    let orders = orders_while(&site, &fleet, killing).await;
    taken.extend(orders.into_iter().flat_map(|orders| orders.taken));
    all_done(&site, &taken).await;
    none_open(&site).await;
    fleet.quiet();
    wait_for("core has every sample", async || {
        (fleet.samples().1 == 0).then_some(())
    })
    .await;
    let (done, again) = fleet.orders();
    let (measured, _) = fleet.samples();
    let memory = memory_bytes(site.core.id());
    say(&format!(
        "core was killed under them: {} orders taken, {done} carried out, {again} told twice; {measured} samples; {} MB at most",
        taken.len(),
        memory / 1_000_000
    ));
    fleet.stop().await;
    // What core had signed, and could not say so any more, was carried out, too.
    assert!(done >= taken.len());
    let connection = Connection::open(site.database()).unwrap();
    let one = |query: &str| -> u64 { connection.query_row(query, [], |row| row.get(0)).unwrap() };
    let known = one("SELECT count(*) FROM commands WHERE state = 'done'");
    assert_eq!(known, u64::try_from(done).unwrap());
    assert_eq!(
        one("SELECT count(*) FROM commands WHERE state <> 'done'"),
        0
    );
    assert_eq!(one("SELECT count(*) FROM samples"), measured);
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    site.core.kill();

    assert!(cost.p99 < LATENCY_P99_MAX, "{:?}", cost.p99);
    let memory = memory.max(cost.memory_bytes);
    assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes");
    assert!(cost.cores < CORES_MAX, "{} cores", cost.cores);
}
