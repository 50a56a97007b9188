//! What operators sign, as far as no ssh-agent is needed: what is shown, asked and refused. The rest is in hyperhash-core's tests.

use crate::daemons::{Answers, Devnet};
use crate::operator::Operator;
use hh_ipc::locate::Daemon;
use hh_trust::NodeSecretKey;
use hhctl::Exit;

const LIGHTNING: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn with_core() -> Devnet {
    Devnet::start(Answers::good()).with(Answers::good(), &[Daemon::Core])
}

#[tokio::test]
async fn a_record_is_shown_before_it_is_signed_and_nobody_signs_unasked() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let key: NodeSecretKey = "01".repeat(32).parse().unwrap();
    let key = key.public_key().to_string();
    let line = format!(
        "hhctl node record sign rome --key {key} --lightning-node {LIGHTNING} --lane asics --chain signet"
    );
    let shown = operator.types(&format!("{line} --dry-run")).await;
    assert_eq!(shown.exit, Exit::Done, "{shown:?}");
    for words in [key.as_str(), LIGHTNING, "asics", "hyperhash.example/signet"] {
        assert!(shown.stdout.contains(words), "{words}: {shown:?}");
    }
    let no = Operator::at(&devnet).who_answers("n\n").types(&line).await;
    assert_eq!(no.exit, Exit::NotConfirmed, "{no:?}");
    assert!(devnet.changes().is_empty());
}

#[tokio::test]
async fn what_a_record_lacks_is_told() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let line = "hhctl node record sign rome --chain signet --dry-run";
    let lanes = operator.types(line).await;
    assert_eq!(lanes.exit, Exit::Usage, "{lanes:?}");
    assert!(lanes.stderr.contains("--lane"), "{lanes:?}");
    let key = operator.types(&format!("{line} --lane asics")).await;
    assert!(key.stderr.contains("--key"), "{key:?}");
    let file = "hhctl operator enroll carol --public-key nowhere.pub --chain signet --dry-run";
    let file = operator.types(file).await;
    assert!(file.stderr.contains("HH0160"), "{file:?}");
    for wrong in [
        "hhctl operator enroll Carol --public-key x",
        "hhctl node record sign rome --lightning-node 02",
        "hhctl node record sign rome --public --private",
        "hhctl node record sign rome --watch",
    ] {
        assert_eq!(operator.types(wrong).await.exit, Exit::Usage, "{wrong}");
    }
}

#[tokio::test]
async fn where_nothing_was_signed_that_is_told() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let operators = operator.types("hhctl operator list").await;
    assert!(
        operators.stdout.contains("nobody was signed"),
        "{operators:?}"
    );
    let nodes = operator.types("hhctl node record list").await;
    assert!(nodes.stdout.contains("no record of a node"), "{nodes:?}");
    let revoked = operator.types("hhctl node record revoke paris -y").await;
    assert_eq!(revoked.exit, Exit::NotFound, "{revoked:?}");
    assert!(
        revoked.stderr.contains("hhctl node record list"),
        "{revoked:?}"
    );
}
