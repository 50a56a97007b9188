//! `-H`: the real program at both ends, with a script in the place of ssh.

use crate::daemons::{Answers, Devnet};
use crate::operator::Operator;
use hh_ipc::locate::Daemon;
use hhctl::Exit;
use insta::assert_snapshot;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Writes a script into the devnet's folder.
fn script(devnet: &Devnet, text: &str) -> String {
    let path = devnet.path().join("ssh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Runs what ssh would run at the far end, with this package's hhctl, and checks how it was called.
fn ssh(devnet: &Devnet) -> String {
    let bin = devnet.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hhctl"), bin.join("hhctl")).unwrap();
    let text = format!(
        "[ \"$1 $2 $3 $4 $5\" = '-T -o BatchMode=yes ops@core1 --' ] || exit 99\n\
         cd '{}' && PATH='{}':$PATH exec sh -c \"$6\"",
        devnet.path().display(),
        bin.display()
    );
    script(devnet, &text)
}

#[tokio::test]
async fn one_session_carries_the_calls_to_all_daemons() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet).with_variable("HHCTL_SSH", ssh(&devnet));
    let outcome = operator.types("hhctl -H ops@core1 status").await;
    assert_eq!(outcome.exit, Exit::Done, "{}", outcome.stderr);
    assert_snapshot!("status_over_ssh", outcome.transcript());
    let outcome = operator
        .types("hhctl -H ops@core1 --read-only doctor")
        .await;
    assert_eq!(outcome.exit, Exit::Done, "{}", outcome.stdout);
}

#[tokio::test]
async fn the_context_is_one_of_the_far_end() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet).with_variable("HHCTL_SSH", ssh(&devnet));
    let outcome = operator
        .types("hhctl -H ops@core1 -c devnet block list")
        .await;
    assert_eq!(outcome.exit, Exit::Done, "{}", outcome.stderr);
    let outcome = operator
        .types("hhctl -H ops@core1 -c prod block list")
        .await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert!(
        outcome.stderr.contains("there is no context"),
        "{}",
        outcome.stderr
    );
}

#[tokio::test]
async fn a_daemon_that_the_far_end_can_not_reach_is_told_from_a_broken_session() {
    let devnet = Devnet::empty();
    let operator = Operator::at(&devnet).with_variable("HHCTL_SSH", ssh(&devnet));
    let outcome = operator.types("hhctl -H ops@core1 pool status").await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_snapshot!("ssh_no_daemon", outcome.transcript());
}

/// The error of a session that a script ends.
async fn check(name: &str, text: &str) {
    let devnet = Devnet::empty();
    let operator = Operator::at(&devnet).with_variable("HHCTL_SSH", script(&devnet, text));
    let outcome = operator.types("hhctl -H core1 pool status").await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_snapshot!(name, outcome.transcript());
}

#[tokio::test]
async fn why_ssh_failed_is_told_in_its_words() {
    let denied = "echo 'ops@core1: Permission denied (publickey).' >&2; exit 255";
    check("ssh_denied", denied).await;
    check(
        "ssh_no_hhctl",
        "echo 'sh: 1: hhctl: not found' >&2; exit 127",
    )
    .await;
    check("ssh_login_script", "echo 'Welcome to core1!'; cat").await;
    check("ssh_silent", "exit 0").await;
}

#[tokio::test]
async fn a_program_that_is_no_ssh_is_named() {
    let devnet = Devnet::empty();
    let nowhere = PathBuf::from("/nowhere/ssh").display().to_string();
    let operator = Operator::at(&devnet).with_variable("HHCTL_SSH", nowhere);
    let outcome = operator.types("hhctl -H core1 pool status").await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert!(
        outcome.stderr.contains("can't run /nowhere/ssh"),
        "{}",
        outcome.stderr
    );
}

#[tokio::test]
async fn watching_goes_on_while_a_daemon_is_away() {
    let devnet = Devnet::empty();
    let mut hhctl = Command::new(env!("CARGO_BIN_EXE_hhctl"))
        .args(["block", "list", "--watch=20ms", "-o", "json"])
        .current_dir(devnet.path())
        .env_remove("HHCTL_CONTEXT")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(hhctl.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["errors"][0]["code"], "HH0120");
    let _devnet = devnet.with(Answers::good(), &Daemon::ALL);
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["kind"] == "BlockList" {
            break;
        }
    }
}
