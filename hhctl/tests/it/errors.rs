//! What goes wrong, in what words, with what exit status.

use crate::daemons::{Answers, Devnet};
use crate::operator::Operator;
use hh_ipc::locate::Daemon;
use hhctl::Exit;
use insta::assert_snapshot;
use std::io::{self, Write};

#[tokio::test]
async fn a_daemon_that_is_not_running_is_named_with_the_command_that_starts_it() {
    let devnet = Devnet::start_some(Answers::good(), &[Daemon::Tp, Daemon::Translator]);
    let operator = Operator::at(&devnet);
    let outcome = operator.types("hhctl pool status").await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_snapshot!("pool_not_running", outcome.transcript());
    let status = operator.types("hhctl status").await;
    assert_eq!(status.exit, Exit::Degraded);
    assert_snapshot!("status_without_pool", status.transcript());
    let version = operator.types("hhctl version --all").await;
    assert_eq!(version.exit, Exit::Partial);
    let json = operator.types("hhctl status -o json").await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["item"]["pool"], serde_json::Value::Null);
    assert_eq!(json["errors"][0]["code"], "HH0120");
}

#[tokio::test]
async fn a_network_that_is_down_is_one_error() {
    let devnet = Devnet::empty();
    let outcome = Operator::at(&devnet).types("hhctl status").await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_snapshot!("nothing_runs", outcome.transcript());
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_unreachable() {
    let devnet = Devnet::empty();
    drop(devnet.listen(Daemon::Pool));
    let outcome = Operator::at(&devnet).types("hhctl block list").await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert!(
        outcome.stderr.starts_with("error[HH0121]: "),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.stdout, "");
}

#[tokio::test]
async fn a_daemon_that_hangs_is_given_up_after_the_timeout() {
    let devnet = Devnet::empty();
    let _deaf = devnet.listen(Daemon::Tp);
    let outcome = Operator::at(&devnet)
        .types("hhctl tp status --timeout 50ms")
        .await;
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_snapshot!("hangs", outcome.transcript());
}

#[tokio::test]
async fn a_daemon_that_hangs_up_is_unreachable() {
    let devnet = Devnet::empty();
    let listener = devnet.listen(Daemon::Tp);
    let hang_up = async { drop(listener.accept().await.unwrap()) };
    let operator = Operator::at(&devnet);
    let (outcome, ()) = tokio::join!(operator.types("hhctl tp status"), hang_up);
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert!(
        outcome.stderr.starts_with("error[HH0124]: "),
        "{}",
        outcome.stderr
    );
}

#[tokio::test]
async fn another_protocol_is_told_with_who_must_be_upgraded() {
    let mut answers = Answers::good();
    answers.protocol = hh_ipc::PROTOCOL + 1;
    let devnet = Devnet::start(answers);
    let outcome = Operator::at(&devnet).types("hhctl pool status").await;
    assert_eq!(outcome.exit, Exit::Protocol);
    assert_snapshot!("protocol", outcome.transcript());
}

#[tokio::test]
async fn what_a_daemon_does_not_know_is_not_found_with_its_code() {
    let devnet = Devnet::start(Answers::good());
    let outcome = Operator::at(&devnet).types("hhctl miner show 99").await;
    assert_eq!(outcome.exit, Exit::NotFound);
    assert_snapshot!("not_found", outcome.transcript());
}

#[tokio::test]
async fn a_context_that_is_not_known_is_wrong_usage_and_a_broken_one_is_named() {
    let devnet = Devnet::empty();
    let operator = Operator::at(&devnet);
    let outcome = operator.types("hhctl status -c prod").await;
    assert_eq!(outcome.exit, Exit::Usage);
    assert_snapshot!("unknown_context", outcome.transcript());
    std::fs::write(devnet.context_file(), "name = 3\n").unwrap();
    let outcome = operator.types("hhctl status").await;
    assert_eq!(outcome.exit, Exit::Failed);
    assert_snapshot!("broken_context", outcome.transcript());
}

#[tokio::test]
async fn wrong_words_and_flags_are_wrong_usage() {
    let devnet = Devnet::empty();
    let operator = Operator::at(&devnet);
    for line in [
        "hhctl",
        "hhctl pool",
        "hhctl staus",
        "hhctl status --colour red",
        "hhctl status -o yaml",
        "hhctl status --timeout forever",
        "hhctl status -H -oProxyCommand=x",
        "hhctl miner show x",
        "hhctl miner list --limit 0",
        "hhctl round show last",
        "hhctl round list --limit 1001",
        "hhctl help staus",
    ] {
        let outcome = operator.types(line).await;
        assert_eq!(outcome.exit, Exit::Usage, "{line}");
        assert!(
            outcome.stdout.is_empty() && !outcome.stderr.is_empty(),
            "{line}"
        );
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error_message() {
    let devnet = Devnet::start(Answers::good());
    let operator = Operator::at(&devnet);
    // A message would panic: nothing may be written to stderr.
    struct Nothing;
    impl Write for Nothing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert!(bytes.is_empty());
            Ok(0)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let exit = operator
        .run("hhctl status", Box::new(Closed), Box::new(Nothing))
        .await;
    assert_eq!(exit, Exit::BrokenPipe);
}
