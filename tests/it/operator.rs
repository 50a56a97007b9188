//! An operator with hhctl on a running network: what he sees is so, and what he changes happens.

use hh_tests::bitcoin_core::{Chain, anyone_can_spend};
use hh_tests::daemon::program;
use hh_tests::miner::{ChannelKind, Miner, MinerConfig, MinerUrl};
use hh_tests::network::Network;
use hh_tests::wait::wait_for;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// For whatever takes a moment, on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A tenth of a core. At eighteen shares a minute its difficulty is 4e-5.
const HASHRATE: u64 = 50_000;

/// Runs hhctl on the network's daemons, and gives what it prints as JSON.
#[track_caller]
pub(crate) fn hhctl(network: &Network, line: &str) -> Value {
    hhctl_exits(network, line, 0)
}

/// The same, where hhctl ends with this status.
#[track_caller]
pub(crate) fn hhctl_exits(network: &Network, line: &str, status: i32) -> Value {
    let context = network.dir().join("context.toml");
    let text = format!("name = \"test\"\nruntime_dir = {:?}\n", network.dir());
    std::fs::write(&context, text).expect("a test's directory can be written");
    let mut command = Command::new(program("hhctl"));
    let command = command.arg("--context").arg(&context);
    let output = command.args(line.split(' ')).args(["-o", "jsonl"]);
    let output = output.output().expect("hhctl can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "hhctl {line}: {said}");
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    match lines.len() {
        1 => lines[0].clone(),
        _ => lines.into(),
    }
}

fn sv2(network: &Network, user: &str) -> Miner {
    let url = MinerUrl::StratumV2 {
        address: network.pool_address.to_string(),
        authority: Some(network.pool_key),
    };
    Miner::start(MinerConfig {
        hashrate_hs: HASHRATE,
        channel: ChannelKind::Extended,
        ..MinerConfig::new(url, user)
    })
}

async fn wait_for_a_share(miner: &Miner) {
    let before = miner.counters().accepted;
    miner
        .wait_for("a share", DEADLINE, |counters| counters.accepted > before)
        .await;
}

/// Late ones are nobody's fault: a block may come between.
#[track_caller]
fn check_no_fault(miner: &Miner) {
    let counters = miner.counters();
    let mut faults = counters.rejected.keys();
    let fault = faults.find(|code| *code != "stale-share");
    assert_eq!(fault, None, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_the_job_its_coinbase_the_shares_and_who_works() {
    let network = Network::start(Chain::Signet).await;
    let miner = sv2(&network, "alice.rig1");
    miner
        .wait_for("shares", DEADLINE, |counters| counters.accepted >= 3)
        .await;
    network.wait_until_shipped().await;

    let (tip, height) = (network.node.tip(), network.node.height());
    let job = &hhctl(&network, "pool job current")["item"];
    // A block of this test's own may just have come.
    if network.node.tip() == tip && job["prev_hash"] == tip.to_string() {
        assert_eq!(job["height"], height + 1);
    }
    assert_eq!(job["template_connection_up"], true);
    assert_eq!(job["value_sat"], 5_000_000_000_u64);
    let on_it = job["jobs"].as_array().unwrap().iter();
    let on_it: u64 = on_it.filter_map(|job| job["channels"].as_u64()).sum();
    assert_eq!(on_it + job["channels_behind"].as_u64().unwrap(), 1);

    let coinbase = &hhctl(&network, "pool coinbase show")["item"];
    assert_eq!(coinbase["value_sat"], coinbase["template_value_sat"]);
    let ours = anyone_can_spend(network.node.chain).to_string();
    assert_eq!(coinbase["outputs"][0]["address"], ours);
    assert_eq!(coinbase["outputs"][1]["kind"], "witness_commitment");
    let tag = coinbase["script_sig"][1]["text"].as_str();
    assert!(
        tag.is_some_and(|tag| tag.starts_with("/Hyper Hash/")),
        "{tag:?}"
    );

    let shares = hhctl(&network, "share tail -n 2 --no-follow --account alice");
    for line in shares.as_array().unwrap() {
        assert_eq!(line["kind"], "Share");
        assert_eq!(line["item"]["result"], "accepted");
        assert_eq!(line["item"]["worker"], "rig1");
    }
    let worker = &hhctl(&network, "worker list --account alice")["items"][0];
    assert_eq!(
        (&worker["worker"], &worker["channels"]),
        (&"rig1".into(), &1.into())
    );
    assert!(worker["shares"].as_u64() >= Some(3), "{worker}");
    assert!(worker["hashrate_1h_hs"].as_f64() > Some(0.0), "{worker}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kicked_miner_comes_back_and_nobody_else_is_disturbed() {
    let network = Network::start(Chain::Signet).await;
    let (alice, bob) = (sv2(&network, "alice.rig1"), sv2(&network, "bob.rig1"));
    wait_for_a_share(&alice).await;
    wait_for_a_share(&bob).await;

    let kicked = &hhctl(&network, "miner kick --account alice --yes")["item"];
    assert_eq!(kicked["connections"], 1);
    assert_eq!(kicked["miners"][0]["account"], "alice");
    alice
        .wait_for("another session", DEADLINE, |counters| {
            counters.sessions == 2 && counters.connected
        })
        .await;
    wait_for_a_share(&alice).await;
    wait_for_a_share(&bob).await;
    assert_eq!(bob.counters().sessions, 1);
    check_no_fault(&alice);
    check_no_fault(&bob);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_kicked_behind_a_translator_comes_back_and_the_others_stay() {
    let network = Network::start(Chain::Signet).await;
    let (_translator, address) = network.start_translator().await;
    let start = |user: &str| {
        let address = address.to_string();
        Miner::start(MinerConfig {
            hashrate_hs: HASHRATE,
            ..MinerConfig::new(MinerUrl::StratumV1 { address }, user)
        })
    };
    let (carol, dave) = (start("carol.old"), start("dave.old"));
    wait_for_a_share(&carol).await;
    wait_for_a_share(&dave).await;
    let kicked = &hhctl(&network, "miner kick --account carol --yes")["item"];
    assert_eq!(
        (&kicked["connections"], &kicked["channels"]),
        (&0.into(), &1.into())
    );
    // The translator opens another channel for a miner that is still there, or sends it away and lets it come back.
    let first = kicked["miners"][0]["id"].clone();
    wait_for("another channel for carol", DEADLINE, async || {
        let miners = hhctl(&network, "miner list --account carol");
        let id = miners["items"][0]["id"].clone();
        (id.is_number() && id != first).then_some(())
    })
    .await;
    wait_for_a_share(&carol).await;
    wait_for_a_share(&dave).await;
    assert_eq!(dave.counters().sessions, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difficulty_that_is_set_holds_for_the_next_jobs_and_for_nobody_else() {
    let mut network = Network::start(Chain::Signet).await;
    let (alice, bob) = (sv2(&network, "alice.rig1"), sv2(&network, "bob.rig1"));
    wait_for_a_share(&alice).await;
    wait_for_a_share(&bob).await;

    // Some 40,000 hashes at the least.
    hhctl(&network, "pool vardiff set --account alice --min 1e-5");
    alice
        .wait_for("a harder job", DEADLINE, |counters| {
            counters.difficulty >= 0.99e-5
        })
        .await;
    wait_for_a_share(&alice).await;
    // And at the most 8,000.
    let set = "pool vardiff set --account alice --max 2e-6 --reset";
    hhctl(&network, set);
    let easier = |counters: &hh_tests::miner::Counters| counters.difficulty <= 2.01e-6;
    alice.wait_for("an easier job", DEADLINE, easier).await;
    wait_for_a_share(&alice).await;

    let shown = &hhctl(&network, "pool vardiff show")["item"];
    assert_eq!(shown["accounts"][0]["name"], "alice");
    assert_eq!(shown["accounts"][0]["max_difficulty"], 2e-6);
    // It is heeded by a miner that connects after a restart, too.
    network.pool.terminate();
    network.pool.restart();
    alice
        .wait_for("another session", DEADLINE, |counters| {
            counters.sessions == 2 && counters.connected
        })
        .await;
    wait_for_a_share(&alice).await;
    assert!(easier(&alice.counters()), "{:?}", alice.counters());
    check_no_fault(&alice);

    // Bob's goes its own way, to where he finds eighteen a minute.
    bob.wait_for("a job above alice's bound", DEADLINE, |counters| {
        counters.difficulty > 1e-5
    })
    .await;
    check_no_fault(&bob);
    let events = hhctl(&network, "event list --daemon hh-pool");
    assert_eq!(events["items"][0]["call"], "pool.vardiff.set");
}
