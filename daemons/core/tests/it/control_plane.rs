//! A node joins by a token, does what core has signed and its policy allows, and nothing is lost or done twice when either is killed.

use crate::site::{Site, wait_for};
use hh_ipc::api::core::OperationState;
use rusqlite::Connection;
use std::fs;

const SLEEPER: &str = "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sleep\", \"1000\"]\n\
    [[services]]\nname = \"guarded\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";

const POLICY: &str =
    "[services.sleeper]\nallow = [\"restart\"]\n[services.guarded]\nallow = [\"status\"]\n";

fn is_alive(pid: Option<u32>) -> bool {
    let stat = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    stat.is_some_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_node_joins_and_restarts_a_service_by_a_signed_command() {
    let site = Site::start().await;
    let agent = site.start_node("berlin-1", SLEEPER, POLICY);
    let first = site.running("berlin-1", "sleeper").await;
    assert!(!site.path().join("berlin-1/token").exists());

    let done = site.hhctl(&[
        "node", "restart", "berlin-1", "sleeper", "--yes", "-o", "json",
    ]);
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(done.item()["state"], "done", "{done:?}");
    let second = wait_for("the new process is reported", async || {
        let now = site.running("berlin-1", "sleeper").await;
        (now.pid != first.pid).then_some(now)
    })
    .await;
    assert!(!is_alive(first.pid));
    assert!(is_alive(second.pid));

    // Core signs it all the same: it is the node that says no.
    let refused = site.hhctl(&[
        "node", "restart", "berlin-1", "guarded", "--yes", "-o", "json",
    ]);
    assert_eq!(refused.status, 1, "{refused:?}");
    assert_eq!(refused.item()["state"], "rejected", "{refused:?}");
    assert_eq!(refused.item()["code"], "policy", "{refused:?}");
    let unknown = site.hhctl(&["node", "restart", "paris", "sleeper", "--yes"]);
    assert_eq!(unknown.status, 4, "{unknown:?}");
    let injected = site.hhctl(&["node", "restart", "berlin-1", "sleeper;reboot", "--yes"]);
    assert_eq!(injected.status, 2, "{injected:?}");

    let health = wait_for("telemetry has come", async || {
        site.node("berlin-1").await?.health
    })
    .await;
    assert!(health.memory_total_bytes > 0);
    let list = site.hhctl(&["node", "list"]);
    assert!(list.stdout.contains("connected"), "{list:?}");
    let verified = site.hhctl(&["audit", "verify", "-o", "json"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    assert_eq!(verified.item()["under_way"], serde_json::json!([]));
    drop(agent);
    site.away("berlin-1").await;
}

#[tokio::test]
async fn core_killed_between_a_command_and_its_result_loses_neither() {
    let site = Site::start().await;
    // It takes two seconds to stop, in which core is killed.
    let slow = "[[services]]\nname = \"slow\"\ncommand = [\"/bin/sh\", \"-c\", \"echo begun; trap 'sleep 2; exit' TERM; \
                while true; do sleep 0.1; done\"]\n";
    let policy = "[services.slow]\nallow = [\"restart\"]\n";
    let _agent = site.start_node("berlin-1", slow, policy);
    let first = site.running("berlin-1", "slow").await;
    let sent = site.hhctl(&[
        "node",
        "restart",
        "berlin-1",
        "slow",
        "--yes",
        "--no-wait",
        "-o",
        "json",
    ]);
    let id = sent.item()["id"].as_str().unwrap().to_owned();
    wait_for("the node has taken it", async || {
        let operation = site.operation(&id).await;
        (operation.state == OperationState::Taken).then_some(())
    })
    .await;
    site.core.kill();
    let log = site.path().join("berlin-1/data/services/slow.log");
    wait_for("the service was restarted without core", async || {
        let begun = fs::read_to_string(&log).unwrap().matches("begun").count();
        (begun == 2).then_some(())
    })
    .await;
    site.core.restart();
    site.client().await;
    let ended = site.hhctl(&["operation", "wait", &id, "-o", "json"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    let second = site.running("berlin-1", "slow").await;
    assert_ne!(second.pid, first.pid);
    // It was told twice and done once.
    assert_eq!(
        fs::read_to_string(&log).unwrap().matches("begun").count(),
        2
    );
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    samples_have_no_gap(&site).await;
}

/// What was measured while core was dead is there as well.
async fn samples_have_no_gap(site: &Site) {
    let connection = Connection::open(site.database()).unwrap();
    let (first, last, count) = wait_for("some samples", async || {
        let query = "SELECT min(seq), max(seq), count(*) FROM samples HAVING count(*) > 2";
        let row = connection.query_row(query, [], |row| {
            Ok((
                row.get::<_, u64>(0)?,
                row.get::<_, u64>(1)?,
                row.get::<_, u64>(2)?,
            ))
        });
        row.ok()
    })
    .await;
    assert_eq!(first, 1);
    assert_eq!(last, count);
}

#[tokio::test]
async fn an_agent_killed_in_the_act_says_that_nobody_knows() {
    let site = Site::start().await;
    let slow = "[[services]]\nname = \"slow\"\ncommand = [\"/bin/sh\", \"-c\", \"trap '' TERM; while true; do sleep 0.1; done\"]\n\
                stop_seconds = 5\n";
    let policy = "[services.slow]\nallow = [\"restart\"]\n";
    let agent = site.start_node("berlin-1", slow, policy);
    let first = site.running("berlin-1", "slow").await;
    let sent = site.hhctl(&[
        "node",
        "restart",
        "berlin-1",
        "slow",
        "--yes",
        "--no-wait",
        "-o",
        "json",
    ]);
    let id = sent.item()["id"].as_str().unwrap().to_owned();
    wait_for("the node is at it", async || {
        agent.log().contains("service ordered").then_some(())
    })
    .await;
    agent.restart();
    let ended = site.hhctl(&["operation", "wait", &id, "-o", "json"]);
    assert_eq!(ended.status, 3, "{ended:?}");
    assert_eq!(ended.item()["state"], "indeterminate", "{ended:?}");
    // The process that the killed agent has left is gone before its service runs again.
    let second = site.running("berlin-1", "slow").await;
    assert_ne!(second.pid, first.pid);
    assert!(!is_alive(first.pid));
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
}

#[tokio::test]
async fn a_token_is_used_once_and_a_node_that_joins_anew_leaves_its_old_self_outside() {
    let site = Site::start().await;
    let dir = site.prepare("berlin-1", "", "");
    let token = dir.join("token");
    let out = token.to_str().unwrap();
    assert_eq!(
        site.hhctl(&["token", "create", "berlin-1", "--out", out])
            .status,
        0
    );
    let text = fs::read_to_string(&token).unwrap();
    let agent = site.start_prepared(&dir);
    wait_for("the node is known", async || site.node("berlin-1").await).await;
    let thief = site.start_thief(&text);
    wait_for("the copy is refused", async || {
        thief.log().contains("token-reused").then_some(())
    })
    .await;
    let taken = site.hhctl(&["token", "create", "berlin-1", "--out", out]);
    assert_eq!(taken.status, 1, "{taken:?}");
    assert!(taken.stderr.contains("--replace"), "{taken:?}");

    // Another machine takes the node's place.
    let epoch = site.node("berlin-1").await.unwrap().epoch;
    let elsewhere = site.prepare("elsewhere", "", "");
    let out = elsewhere.join("token");
    let made = site.hhctl(&[
        "token",
        "create",
        "berlin-1",
        "--replace",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!(made.status, 0, "{made:?}");
    let _new = site.start_prepared(&elsewhere);
    wait_for("the node has joined anew", async || {
        (site.node("berlin-1").await?.epoch > epoch).then_some(())
    })
    .await;
    wait_for("its old self is refused", async || {
        agent.log().contains("certificate-not-known").then_some(())
    })
    .await;
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    let leaked = site.core.log() + &fs::read_to_string(dir.join("hh-node-agent.log")).unwrap();
    let secret = text.trim().rsplit('.').next().unwrap();
    assert!(!leaked.contains(secret), "a token is in a log");
}

#[tokio::test]
async fn an_audit_log_that_was_changed_shows_where() {
    let site = Site::start().await;
    for node in ["a", "b", "c"] {
        assert_eq!(site.hhctl(&["token", "create", node]).status, 0);
    }
    site.core.kill();
    let connection = Connection::open(site.database()).unwrap();
    let changed = connection.execute_batch(
        "DROP TRIGGER audit_is_never_changed;
         UPDATE audit SET line = replace(line, 'node:b', 'node:x') WHERE seq = 3;",
    );
    changed.unwrap();
    drop(connection);
    site.core.restart();
    site.client().await;
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 3, "{verified:?}");
    assert!(verified.stdout.contains("line 4"), "{verified:?}");
}
