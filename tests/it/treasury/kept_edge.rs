//! The edge of a window outlives the pool's rows of shares: whoever comes later can still count a block again, and hold each share of the
//! minute in which its window is full against the hash that is signed.

use super::reorg::World;
use crate::cluster::Cluster;
use crate::operator::hhctl;
use hh_ipc::api::treasury::RewardBlock;
use hh_ledger::{Ledger, LedgerReader, Location};
use hh_tests::treasury::DEADLINE;
use hh_tests::wait::wait_until;
use serde_json::Value;

/// Less than three shares of half a block's worth each, and no whole number of them: it always begins within a share.
const WINDOW: &str = "[window]\npplns = 1.3\n";

fn verified(world: &World, block: &RewardBlock) -> Value {
    let line = format!("block verify {} --ledger", block.hash);
    hhctl(&world.network, &line)["item"].clone()
}

fn proven(world: &World, block: &RewardBlock, account: &str) -> Value {
    let line = format!("account proof {account} {}", block.hash);
    hhctl(&world.network, &line)["item"].clone()
}

async fn verify_without_rows(world: World, location: Location) {
    for identity in ["alice.rig", "bob.rig", "alice.rig"] {
        world.find(identity).await;
    }
    let block = world.find("bob.rig").await;
    let before = (
        verified(&world, &block),
        proven(&world, &block, "alice"),
        proven(&world, &block, "bob"),
    );
    assert!(before.0["edge_shares"].as_u64() >= Some(1), "{before:?}");

    // As the pool does it itself, in some days. What lies in the minute up to which it has shipped stays.
    let (ledger, reader) = (
        Ledger::open(&location, "pool-1").unwrap(),
        LedgerReader::new(&location),
    );
    wait_until("the pool has no shares left", DEADLINE, async || {
        ledger.prune_before(i64::MAX).await.unwrap();
        reader.share_count().await.unwrap() == 0
    })
    .await;
    let after = (
        verified(&world, &block),
        proven(&world, &block, "alice"),
        proven(&world, &block, "bob"),
    );
    assert_eq!(after, before);
    let file = world.network.dir().join("report.json");
    let line = format!("block report {} --save {}", block.hash, file.display());
    hhctl(&world.network, &line);
    let edge = std::fs::read_to_string(file.with_added_extension("edge.jsonl")).unwrap();
    let rows = u64::try_from(edge.lines().count()).unwrap();
    assert_eq!(Some(rows), before.0["edge_shares"].as_u64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_counted_again_when_the_pool_has_no_share_of_it_any_more() {
    let world = World::start(None, WINDOW).await;
    let location = Location::Sqlite(world.network.dir().join("pool/pool.db"));
    verify_without_rows(world, location).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_counted_again_from_books_on_postgresql() {
    let Some(cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    let world = World::start(Some(&database), WINDOW).await;
    verify_without_rows(world, Location::Postgres(database.server())).await;
}
