//! The audit log beside those who keep what they have seen of it: nodes, and whoever has exported it.

use crate::site::{Setup, Site, audit_key_line, hhctl, wait_for};
use hh_trust::audit::{Actor, AuditChain, AuditEvent, Detail};
use hh_trust::command::{CommandId, Digest};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the agent of the node berlin-1 says to its owner.
fn seen(site: &Site) -> Value {
    let dir = site.path().join("berlin-1");
    let context = dir.join("context.toml");
    fs::write(
        &context,
        format!("name = \"berlin-1\"\nruntime_dir = {dir:?}\n"),
    )
    .unwrap();
    let context = context.to_str().unwrap();
    let words = ["--context", context, "agent", "status", "-o", "json"];
    let status = hhctl(site.path(), &words);
    match status.status {
        0 => status.item()["audit"].clone(),
        _ => Value::Null,
    }
}

/// Waits until the node has seen all lines of the log.
async fn witnessed(site: &Site) -> u64 {
    wait_for("the node has seen the log", async || {
        let lines = seen(site)["lines"].as_u64()?;
        let verified = site.hhctl(&["audit", "verify", "-o", "json"]);
        (lines > 0 && verified.item()["lines"] == lines).then_some(lines)
    })
    .await
}

/// What a check of all of it beside the nodes says.
fn beside_witnesses(site: &Site) -> (i32, Value) {
    let verified = site.hhctl(&["audit", "verify", "--witness", "-o", "json"]);
    (verified.status, verified.json())
}

/// Writes a log anew in which no line is wrong, as somebody can who has core's database.
fn forge(database: &Path, lines: u64) {
    let mut connection = Connection::open(database).unwrap();
    let transaction = connection.transaction().unwrap();
    transaction
        .execute_batch("DROP TRIGGER audit_is_never_cut; DELETE FROM audit")
        .unwrap();
    let (core, mut chain) = ("core-1".parse().unwrap(), AuditChain::default());
    for _line in 0..lines {
        let event = AuditEvent::Intent {
            op: CommandId::generate().unwrap(),
            actor: Actor::Core,
            via: "control".to_owned(),
            source: None,
            action: "token.create".to_owned(),
            target: None,
            request: Digest::of(b""),
            detail: Detail::default(),
        };
        let (line, next) = chain.append(Timestamp::now(), &core, event).unwrap();
        chain = next;
        let insert = "INSERT INTO audit (seq, line) VALUES (?1, ?2)";
        transaction
            .execute(insert, params![i64::try_from(chain.size()).unwrap(), line])
            .unwrap();
    }
    let kept = serde_json::to_string(&chain).unwrap();
    transaction
        .execute("UPDATE audit_chain SET chain = ?1", params![kept])
        .unwrap();
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_log_that_was_written_anew_by_who_has_core_is_seen_by_its_nodes() {
    let site = Site::start().await;
    let _agent = site.start_node("berlin-1", "", "");
    let lines = witnessed(&site).await;
    let whole = wait_for("core knows what the node has seen", async || {
        let (status, said) = beside_witnesses(&site);
        assert_eq!(status, 0, "{said}");
        (said["witnesses"][0]["lines"] == lines).then_some(said)
    })
    .await;
    assert_eq!(whole["witnesses"][0]["agrees"], true, "{whole}");

    // What is added goes on from there.
    assert_eq!(site.hhctl(&["token", "create", "paris"]).status, 0);
    let lines = witnessed(&site).await;
    assert_eq!(seen(&site)["fault"], Value::Null);

    site.core.kill();
    forge(&site.database(), lines + 3);
    site.core.restart();
    site.client().await;
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "no line of it is wrong: {verified:?}");
    let fault = wait_for("the node says that it is another log", async || {
        let fault = seen(&site)["fault"].as_str()?.to_owned();
        Some(fault)
    })
    .await;
    assert!(fault.contains("written anew"), "{fault}");
    assert_eq!(seen(&site)["lines"], lines, "what was seen stays");
    let told = wait_for("core has heard it", async || {
        let (status, said) = beside_witnesses(&site);
        assert_eq!(status, 3, "{said}");
        said["witnesses"][0]["fault"].is_string().then_some(said)
    })
    .await;
    assert_eq!(told["witnesses"][0]["agrees"], false, "{told}");
    assert!(site.core.log().contains("a node says that the audit log"));
    // The node goes on; both signed notes are on its disk.
    let kept = site.path().join("berlin-1/data/audit-witness.json");
    let kept: Value = serde_json::from_slice(&fs::read(kept).unwrap()).unwrap();
    for note in [&kept["note"], &kept["refused"]["note"]] {
        let note = note.as_str().unwrap();
        assert!(note.starts_with("hyperhash.test/audit\n"), "{note}");
    }
}

#[tokio::test]
async fn an_export_is_verified_by_another_program_and_by_who_knows_the_key() {
    let site = Site::start().await;
    for node in ["a", "b", "c"] {
        assert_eq!(site.hhctl(&["token", "create", node]).status, 0);
    }
    let file = site.path().join("audit.jsonl");
    let file = file.to_str().unwrap();
    let exported = site.hhctl(&["audit", "export", file, "-o", "json"]);
    assert_eq!(exported.status, 0, "{exported:?}");
    let (lines, key) = (
        exported.item()["lines"].clone(),
        exported.item()["key"].clone(),
    );
    let key = key.as_str().unwrap();
    let verified = site.hhctl(&["audit", "verify", "--file", file, "--key", key]);
    assert_eq!(verified.status, 0, "{verified:?}");
    fs::write(site.path().join("key.txt"), key).unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../lib/trust/tests/verify_audit_log.py"
    );
    let second = || {
        let mut python = Command::new("python3");
        python.args([script, file, "key.txt"]);
        let output = python.current_dir(site.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(second(), format!("right: {lines} lines\n"));
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replace("node:b", "node:x")).unwrap();
    assert!(second().starts_with("wrong: "));
    let verified = site.hhctl(&["audit", "verify", "--file", file, "--key", key]);
    assert_eq!(verified.status, 3, "{verified:?}");
}

#[tokio::test]
async fn a_network_without_a_key_for_its_log_goes_on_and_can_be_given_one() {
    let setup = Setup {
        has_no_audit_key: true,
        ..Setup::default()
    };
    let site = Site::start_with(setup).await;
    let pki = site.path().join("pki");
    fs::remove_file(pki.join("audit.key")).unwrap();
    let agent = site.start_node("berlin-1", "", "");
    wait_for("the node is known", async || site.node("berlin-1").await).await;
    assert!(site.core.log().contains("hhctl pki add-audit-key"));
    let export = site.path().join("unsigned.jsonl");
    let export = site.hhctl(&["audit", "export", export.to_str().unwrap()]);
    assert_eq!(export.status, 0, "{export:?}");
    assert!(export.stdout.contains("add-audit-key"), "{export:?}");

    let (dir, offline) = (pki.to_str().unwrap(), pki.join("offline"));
    let words = ["pki", "add-audit-key", dir, "--offline"];
    let added = site.hhctl(&[words.as_slice(), &[offline.to_str().unwrap()]].concat());
    assert_eq!(added.status, 0, "{added:?}");
    let file = site.path().join("hyperhash-core.toml");
    let config = fs::read_to_string(&file).unwrap();
    let line = audit_key_line(site.path(), "audit.key");
    let config = config.replace("[rest]", &format!("{line}[rest]"));
    fs::write(&file, config).unwrap();
    site.core.restart();
    site.client().await;
    assert!(witnessed(&site).await > 0);
    assert_eq!(seen(&site)["fault"], Value::Null);
    assert!(!agent.log().contains("left aside"), "{}", agent.log());
}
