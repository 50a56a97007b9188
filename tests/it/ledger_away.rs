//! A PostgreSQL that is away for as long as an hour of mining takes, and one that comes back older than it was.

use crate::cluster::Cluster;
use crate::crash::check_ledger;
use crate::load::Load;
use crate::postgres::network_on;
use hh_ipc::api::pool::PoolStatus;
use hh_ipc::client::within;
use hh_ledger::{LedgerReader, Location};
use hh_tests::network::{CALL, Network, SHIPPED};
use std::process::Command;
use std::time::Instant;
use tokio::task::block_in_place;

const CONNECTIONS: usize = 2;

/// What a share takes in the log: its numbers and its names.
const BYTES_A_SHARE_MIN: u64 = 130;

/// With names of the usual length, and its part of a frame's header.
const BYTES_A_SHARE_MAX: u64 = 200;

/// The segment that is written to, one that is prepared, and one that the first was started with.
const SEGMENTS_BYTES: u64 = 3 * (64 << 20);

async fn status(network: &Network) -> PoolStatus {
    let status = network.pool.pool().await.status(within(CALL)).await;
    status.expect("hh-pool answers")
}

/// An hour of time makes no difference to anything here; what an hour of miners sends does. These are the shares of 185 miners in an
/// hour, with 18 a minute each, or of 1,000 in eleven minutes; a tenth of it by default.
fn shares_of_an_hour() -> u64 {
    if hh_tests::all() { 200_000 } else { 20_000 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_of_an_hour_without_postgresql_are_all_caught_up() {
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    let network = network_on(&database).await;
    let mut load = Load::start(&network, CONNECTIONS);
    load.wait_for_shares(100).await;
    cluster.kill();
    let shares = shares_of_an_hour();
    let mut left = shares;
    while left > 0 {
        let step = left.min(10_000);
        load.wait_for_shares(step).await;
        left -= step;
    }
    let away = status(&network).await;
    let behind = away.share_log.durable_seq - away.share_log.shipped_seq;
    assert!(behind >= shares, "{behind} behind");
    assert!(away.ledger.last_error.is_some(), "{away:?}");
    assert_eq!(away.share_log.last_error, None);
    let log_bytes = away.share_log.disk_bytes;
    let bounds = behind * BYTES_A_SHARE_MIN..=behind * BYTES_A_SHARE_MAX + SEGMENTS_BYTES;
    assert!(bounds.contains(&log_bytes), "{log_bytes} bytes");

    let started = Instant::now();
    block_in_place(|| cluster.resume());
    let told = block_in_place(|| load.end());
    network.wait_until_shipped().await;
    let seconds = started.elapsed().as_secs_f64();
    crate::say(&format!(
        "{behind} records behind in a log of {log_bytes} bytes: caught up in {seconds:.1} s"
    ));
    let ledger = LedgerReader::new(&Location::Postgres(database.server()));
    check_ledger(&ledger, &told.acknowledged, &told.in_flight).await;
    assert_eq!(status(&network).await.ledger.last_error, None);
}

/// Keeps a copy of the data of the server, which is not running.
fn back_up(cluster: &Cluster) {
    let path = |name| cluster.path().join(name);
    let mut copy = Command::new("cp");
    let copied = copy
        .arg("-a")
        .arg(path("data"))
        .arg(path("backup"))
        .status();
    assert!(copied.is_ok_and(|status| status.success()));
}

/// Puts the copy in the place of the data of the server, which is not running.
fn restore(cluster: &Cluster) {
    let path = |name| cluster.path().join(name);
    std::fs::remove_dir_all(path("data")).expect("the data is there");
    std::fs::rename(path("backup"), path("data")).expect("the copy is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_restored_from_a_backup_gets_again_what_it_lacks() {
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    let network = network_on(&database).await;
    let mut load = Load::start(&network, CONNECTIONS);
    load.wait_for_shares(2_000).await;
    cluster.kill();
    back_up(&cluster);
    block_in_place(|| cluster.resume());
    load.wait_for_shares(2_000).await;
    let durable_seq = status(&network).await.share_log.durable_seq;
    hh_tests::wait::wait_until("it has what was durable", SHIPPED, async || {
        status(&network).await.share_log.shipped_seq >= durable_seq
    })
    .await;
    cluster.kill();
    restore(&cluster);
    block_in_place(|| cluster.resume());
    network.pool.wait_for_log("the ledger has gone back").await;
    load.wait_for_shares(2_000).await;
    let told = block_in_place(|| load.end());
    network.wait_until_shipped().await;
    let ledger = LedgerReader::new(&Location::Postgres(database.server()));
    check_ledger(&ledger, &told.acknowledged, &told.in_flight).await;
    assert_eq!(database.psql("SELECT count(*) FROM pool.gaps"), "0");
}
