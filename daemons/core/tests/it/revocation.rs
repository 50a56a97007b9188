//! A node that is revoked is out within seconds at every replica, mines on, and comes back by nothing but another enrolment.

use crate::cluster::Cluster;
use crate::site::{Daemon, Setup, Site, wait_for};
use hh_ipc::api::core::{NodeState, OperationState};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const SLEEPER: &str = "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";
const POLICY: &str = "[services.sleeper]\nallow = [\"restart\"]\n";

/// As the issue promises it.
const OUT_WITHIN: Duration = Duration::from_secs(5);

/// What an agent says once it knows.
const TOLD: &str = "core has revoked this node";

fn token(site: &Site, out: &Path) {
    let out = out.to_str().unwrap();
    let made = site.hhctl(&["token", "create", "berlin-1", "--replace", "--out", out]);
    assert_eq!(made.status, 0, "{made:?}");
}

fn told(agent: &Daemon) -> usize {
    agent.log().matches(TOLD).count()
}

/// Waits until the agent has heard of it, and gives how long that took.
async fn is_out(agent: &Daemon, since: Instant) -> Duration {
    wait_for("the node has heard that it is revoked", async || {
        (told(agent) > 0).then_some(since.elapsed())
    })
    .await
}

#[tokio::test]
async fn a_revoked_node_is_out_at_once_and_comes_back_by_another_enrolment_alone() {
    let site = Site::start().await;
    let agent = site.start_node("berlin-1", SLEEPER, POLICY);
    let service = site.running("berlin-1", "sleeper").await;
    let kept = site.path().join("kept-token");
    token(&site, &kept);

    let dry = site.hhctl(&["node", "revoke", "berlin-1", "--dry-run", "-o", "json"]);
    assert_eq!(dry.item()["tokens_revoked"], 1, "{dry:?}");
    let since = Instant::now();
    let words = [
        "node", "revoke", "berlin-1", "--reason", "stolen", "--yes", "-o", "json",
    ];
    let revoked = site.hhctl(&words);
    assert_eq!(revoked.status, 0, "{revoked:?}");
    assert_eq!(revoked.item()["was_connected"], true, "{revoked:?}");
    assert_eq!(revoked.item()["tokens_revoked"], 1, "{revoked:?}");
    let took = is_out(&agent, since).await;
    assert!(took < OUT_WITHIN, "{took:?}");
    let shown = site.node("berlin-1").await.unwrap();
    assert_eq!(shown.node.state, NodeState::Revoked);
    assert_eq!(shown.revocation.unwrap().reason, "stolen");
    // The node is not told why.
    assert!(!agent.log().contains("stolen"));

    // Its services are the owner's: they run on.
    let pid = service.pid.unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    let ordered = site.hhctl(&["node", "restart", "berlin-1", "sleeper", "--yes"]);
    assert!(ordered.stderr.contains("HH5004"), "{ordered:?}");
    // Again changes nothing of it.
    let again = site.hhctl(&["node", "revoke", "berlin-1", "--yes", "-o", "json"]);
    assert_eq!(
        again.item()["revocation"]["reason"],
        json!("stolen"),
        "{again:?}"
    );

    // Neither a new session nor the token that it could have kept brings it back.
    agent.restart();
    wait_for("it is refused", async || (told(&agent) == 2).then_some(())).await;
    assert!(site.core.log().contains("node refused: it is revoked"));
    let dir = site.path().join("berlin-1");
    fs::rename(&kept, dir.join("token")).unwrap();
    wait_for("the token is refused", async || {
        agent.log().contains("the token is of no use").then_some(())
    })
    .await;
    let state = site.node("berlin-1").await.unwrap().node.state;
    assert_eq!(state, NodeState::Revoked);
    token(&site, &dir.join("token"));
    site.running("berlin-1", "sleeper").await;
    assert_eq!(site.node("berlin-1").await.unwrap().revocation, None);
    let verified = site.hhctl(&["audit", "verify", "-o", "json"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    assert_eq!(verified.item()["under_way"], json!([]));
}

#[tokio::test]
async fn what_a_revoked_node_has_not_concluded_is_given_up() {
    let site = Site::start().await;
    // It takes its time to stop.
    let slow = "[[services]]\nname = \"slow\"\ncommand = [\"/bin/sh\", \"-c\", \"trap '' TERM; while true; do sleep 0.1; done\"]\n\
                stop_seconds = 5\n";
    let policy = "[services.slow]\nallow = [\"restart\"]\n";
    let agent = site.start_node("berlin-1", slow, policy);
    site.running("berlin-1", "slow").await;
    let words = [
        "node",
        "restart",
        "berlin-1",
        "slow",
        "--yes",
        "--no-wait",
        "-o",
        "json",
    ];
    let taken = site.hhctl(&words).item()["id"].as_str().unwrap().to_owned();
    wait_for("the node has taken it", async || {
        let operation = site.operation(&taken).await;
        (operation.state == OperationState::Taken).then_some(())
    })
    .await;
    let revoked = site.hhctl(&["node", "revoke", "berlin-1", "--yes", "-o", "json"]);
    assert_eq!(revoked.item()["operations_given_up"], 1, "{revoked:?}");
    let ended = site.operation(&taken).await;
    assert_eq!(ended.state, OperationState::Indeterminate, "{ended:?}");
    is_out(&agent, Instant::now()).await;
    let verified = site.hhctl(&["audit", "verify", "-o", "json"]);
    assert_eq!(verified.item()["under_way"], json!([]), "{verified:?}");
}

#[tokio::test]
async fn a_node_revoked_at_one_replica_is_out_at_the_other() {
    let Some(cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    let options = database.options("postgres");
    let setup = |number: usize, keys_of| Setup {
        keys_of,
        public_ports: None,
        has_no_audit_key: false,
        more: [
            format!("replica = \"core-{number}\""),
            format!(
                "[database.postgres]\nhost = {:?}\nport = {}\ndatabase = {:?}\nuser = \"postgres\"\n",
                options.host, options.port, options.database
            ),
        ],
    };
    let first = Site::start_with(setup(1, None)).await;
    let second = Site::start_with(setup(2, Some(&first))).await;
    let agent = first.start_node("berlin-1", SLEEPER, POLICY);
    first.running("berlin-1", "sleeper").await;
    second.running("berlin-1", "sleeper").await;
    let since = Instant::now();
    let revoked = second.hhctl(&["node", "revoke", "berlin-1", "--yes", "-o", "json"]);
    assert_eq!(revoked.item()["was_connected"], true, "{revoked:?}");
    let took = is_out(&agent, since).await;
    assert!(took < OUT_WITHIN, "{took:?}");
}

#[tokio::test]
async fn a_command_is_taken_back_as_long_as_its_node_is_away() {
    let site = Site::start().await;
    let agent = site.start_node("berlin-1", SLEEPER, POLICY);
    let first = site.running("berlin-1", "sleeper").await;
    agent.kill();
    site.away("berlin-1").await;
    let words = [
        "node",
        "restart",
        "berlin-1",
        "sleeper",
        "--yes",
        "--no-wait",
        "-o",
        "json",
    ];
    let id = site.hhctl(&words).item()["id"].as_str().unwrap().to_owned();
    let cancelled = site.hhctl(&["operation", "cancel", &id, "--yes", "-o", "json"]);
    assert_eq!(cancelled.status, 0, "{cancelled:?}");
    assert_eq!(cancelled.item()["state"], "cancelled", "{cancelled:?}");
    let again = site.hhctl(&["operation", "cancel", &id, "--yes"]);
    assert!(again.stderr.contains("HH5042"), "{again:?}");
    let unknown = site.hhctl(&["operation", "cancel", "00", "--yes"]);
    assert_eq!(unknown.status, 4, "{unknown:?}");
    // The node never sees it, and takes the next one.
    agent.restart();
    let second = site.running("berlin-1", "sleeper").await;
    assert_ne!(second.pid, first.pid);
    let words = [
        "node", "restart", "berlin-1", "sleeper", "--yes", "-o", "json",
    ];
    let done = site.hhctl(&words);
    assert_eq!(done.item()["state"], "done", "{done:?}");
    let late = done.item()["id"].as_str().unwrap().to_owned();
    let late = site.hhctl(&["operation", "cancel", &late, "--yes"]);
    assert!(late.stderr.contains("HH5042"), "{late:?}");
    let verified = site.hhctl(&["audit", "verify", "-o", "json"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    assert_eq!(verified.item()["under_way"], json!([]));
}
