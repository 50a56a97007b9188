//! A core under the load of a whole network, on SQLite; killed under it once.

use crate::orders::{Orders, all_done, none_open};
use crate::say;
use crate::simulated::Fleet;
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
const MEMORY_KIB_MAX: u64 = 300 * 1024;
const CORES_MAX: f64 = 0.5;

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
fn memory_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_carries_its_nodes_and_loses_nothing_when_it_is_killed_under_them() {
    let size = usize::from(std::env::var_os("HH_TEST_ALL").is_some());
    let (count, measured) = (NODES[size], MEASURED[size]);
    let site = Site::start().await;
    let mut fleet = Fleet::join(&site, count).await;
    all_connected(&site, count).await;

    let process = site.core.id();
    let (begun, cpu) = (Instant::now(), cpu_seconds(process));
    let before = fleet.samples().0;
    let orders = orders_while(&site, &fleet, tokio::time::sleep(measured)).await;
    let seconds = begun.elapsed().as_secs_f64();
    let cores = (cpu_seconds(process) - cpu) / seconds;
    let memory = memory_kib(process);
    let mut latencies: Vec<Duration> = orders
        .iter()
        .flat_map(|orders| orders.latencies.clone())
        .collect();
    latencies.sort_unstable();
    let samples = fleet.samples().0 - before;
    let [half, p99] = [50, 99].map(|hundredths| percentile(&latencies, hundredths));
    say(&format!(
        "core with {count} nodes for {seconds:.0} s: {} orders, result after {half:.1?} (median), {p99:.1?} (99 in 100); {samples} samples; \
         {cores:.2} cores, {} MiB",
        latencies.len(),
        memory / 1024
    ));
    let mut taken: Vec<String> = orders.into_iter().flat_map(|orders| orders.taken).collect();

    let killing = async {
        wait_for("orders are on their way", async || {
            (fleet.orders().0 > taken.len() + 10).then_some(())
        })
        .await;
        site.core.kill();
        wait_for("every node holds a sample", async || {
            fleet
                .nodes
                .iter()
                .all(|node| node.holds_any())
                .then_some(())
        })
        .await;
        site.core.restart();
        all_connected(&site, count).await;
        wait_for("orders are taken again", async || {
            (fleet.orders().0 > taken.len() + 40).then_some(())
        })
        .await;
    };
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
    say(&format!(
        "core was killed under them: {} orders taken, {done} carried out, {again} told twice; {measured} samples",
        taken.len()
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

    assert!(p99 < LATENCY_P99_MAX, "{p99:?}");
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
    assert!(cores < CORES_MAX, "{cores} cores");
}
