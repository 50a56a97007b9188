//! The ledger on a PostgreSQL that is killed under load, and that a second pool wants to share.

use crate::cluster::{Cluster, Database};
use crate::crash::check_ledger;
use hh_ipc::api::JournalQuery;
use hh_ipc::api::pool::RetireRequest;
use hh_ipc::client::within;
use hh_ledger::{LedgerReader, Location};
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::Channel;
use hh_tests::daemon::{Daemon, run_to_its_end};
use hh_tests::network::{CALL, Network};
use hh_tests::wait::wait_until;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shares that a channel sends at once.
const BATCH: usize = 10;

/// Shares acknowledged between two things that happen to the server.
const SHARES: usize = 200;

const DEADLINE: Duration = Duration::from_secs(60);

/// hh-pool's configuration with its ledger in this database, and without vardiff to slow the load down.
fn config_on(network: &Network, database: &Database) -> String {
    let options = database.options("postgres");
    let config = network.pool_config();
    let config = config.replace("[vardiff]", "[vardiff]\nshares_per_minute = 60000.0");
    format!(
        "{config}\n[ledger.postgres]\nhost = \"{}\"\nport = {}\ndatabase = \"{}\"\nuser = \"postgres\"\n",
        options.host, options.port, options.database
    )
}

/// A network whose pool's ledger is that database.
pub(crate) async fn network_on(database: &Database) -> Network {
    let mut network = Network::start(Chain::Signet).await;
    network.pool.write_config(&config_on(&network, database));
    network.pool.restart();
    network.pool.wait_until_ready().await;
    network
}

async fn mine(channel: &mut Channel, shares: usize) {
    let enough = channel.acknowledged.len() + shares;
    while channel.acknowledged.len() < enough {
        let sent = channel.submit(BATCH).await;
        sent.expect("the pool takes shares whatever the ledger does");
        channel
            .settle(BATCH)
            .await
            .expect("the pool answers whatever the ledger does");
    }
}

/// Waits until the pool says that its ledger is away, or that it is not.
async fn wait_for_ledger(network: &Network, away: bool) {
    let client = network.pool.pool().await;
    wait_until("the pool says how its ledger is", DEADLINE, async || {
        let status = client.status(within(CALL)).await;
        status.expect("hh-pool answers").ledger.last_error.is_some() == away
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_killed_under_load_has_every_acknowledged_share_once() {
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    let network = network_on(&database).await;
    let channel = Channel::open(network.pool_address, &network.pool_key, "crash.postgres").await;
    let mut channel = channel.expect("the pool takes miners");
    for _ in 0..if hh_tests::all() { 20 } else { 3 } {
        mine(&mut channel, SHARES).await;
        // What was just acknowledged is being shipped.
        cluster.kill();
        mine(&mut channel, SHARES).await;
        wait_for_ledger(&network, true).await;
        cluster.resume();
        wait_for_ledger(&network, false).await;
    }
    channel.settle(0).await.expect("the pool answers");
    network.wait_until_shipped().await;
    let ledger = LedgerReader::new(&Location::Postgres(database.server()));
    check_ledger(&ledger, &channel.acknowledged, &[]).await;

    let (dir, config) = second_pool(&network, &database, 0);
    let (status, log) = run_to_its_end("hh-pool", &dir, &config);
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(
        log.contains("server id 0 is claimed by the share log"),
        "{log}"
    );
}

/// The directory and the configuration of another pool on the same ledger.
fn second_pool(network: &Network, database: &Database, server_id: u16) -> (PathBuf, String) {
    let second = network.dir().join("second");
    std::fs::create_dir(&second).expect("the directory is new");
    let data_dir = |dir: &Path| format!("data_dir = \"{}\"", dir.join("pool").display());
    let config = config_on(network, database)
        .replace(&data_dir(network.dir()), &data_dir(&second))
        .replace(&network.pool_address.to_string(), "127.0.0.1:0");
    (second, format!("server_id = {server_id}\n{config}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_stopped_cleanly_is_retired_by_another_and_refused_when_it_comes_back() {
    let Some(cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    let mut network = network_on(&database).await;
    let channel = Channel::open(network.pool_address, &network.pool_key, "retire.one").await;
    let mut channel = channel.expect("the pool takes miners");
    mine(&mut channel, SHARES).await;
    let (dir, config) = second_pool(&network, &database, 1);
    let second = Daemon::start("hh-pool", &dir, &config);
    second.wait_until_ready().await;
    let client = second.pool().await;
    let retire = async |server_id, dry_run| {
        let request = RetireRequest {
            server_id,
            lost: false,
            dry_run,
        };
        let answer = client.retire(within(CALL), request).await;
        answer.expect("hh-pool answers")
    };
    let code = async |server_id| retire(server_id, false).await.unwrap_err().code;
    assert_eq!(code(7).await, "HH2020", "nobody has it");
    assert_eq!(code(1).await, "HH2021", "its own");
    assert_eq!(code(0).await, "HH2022", "one that runs");
    let age = "UPDATE pool.logs SET heard_at_ms = heard_at_ms - 61000; UPDATE pool.server_ids SET since_ms = 1";

    network.pool.kill();
    database.psql(age);
    assert_eq!(code(0).await, "HH2023", "one that did not stop cleanly");
    network.pool.restart();
    network.pool.wait_until_ready().await;
    network.pool.terminate();
    database.psql(age);
    let planned = retire(0, true).await.expect("it stopped cleanly");
    assert!(planned.complete, "{planned:?}");
    let retired = retire(0, false).await.expect("it stopped cleanly");
    assert_eq!(retired.last_seq, planned.last_seq);
    assert_eq!(code(0).await, "HH2020", "it is free");
    let journal = client.journal(within(CALL), JournalQuery::default()).await;
    let lines = journal
        .expect("hh-pool answers")
        .expect("it is there")
        .lines;
    assert!(lines[0].contains(r#""call":"pool.retire""#), "{lines:?}");

    let ledger = LedgerReader::new(&Location::Postgres(database.server()));
    check_ledger(&ledger, &channel.acknowledged, &channel.in_flight()).await;
    let config = config_on(&network, &database);
    let (status, log) = run_to_its_end("hh-pool", network.dir(), &config);
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("was retired"), "{log}");
}
