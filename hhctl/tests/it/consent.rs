//! On a node: what its owner sees and says.

use crate::daemons::node_agent::WAITING;
use crate::daemons::{Answers, Devnet};
use crate::operator::Operator;
use hh_ipc::locate::Daemon;
use hhctl::Exit;
use insta::assert_snapshot;

fn node() -> Devnet {
    Devnet::start_some(Answers::good(), &[Daemon::NodeAgent])
}

#[tokio::test]
async fn the_owner_sees_what_a_command_would_change_before_he_says_yes() {
    let devnet = node();
    let operator = Operator::at(&devnet);
    let list = operator.types("hhctl consent list").await;
    assert_snapshot!("consent_list", list.transcript());
    let show = operator
        .types(&format!("hhctl consent show {WAITING}"))
        .await;
    assert_snapshot!("consent_show", show.transcript());
    let line = format!("hhctl consent approve {WAITING}");
    let no = Operator::at(&devnet).who_answers("n\n").types(&line).await;
    assert_snapshot!("consent_approve_unsaid", no.transcript());
    assert!(devnet.changes().is_empty());
    let yes = Operator::at(&devnet).who_answers("y\n").types(&line).await;
    assert_snapshot!("consent_approve", yes.transcript());
    assert_eq!(devnet.changes(), ["decide true"]);
    let refuse = format!("hhctl consent refuse {WAITING} --yes");
    let refused = operator.types(&refuse).await;
    assert_eq!(refused.exit, Exit::Done, "{refused:?}");
    assert_eq!(devnet.changes(), ["decide false"]);
    let none = operator.types("hhctl consent approve 00 --yes").await;
    assert_eq!(none.exit, Exit::NotFound, "{none:?}");
}

#[tokio::test]
async fn an_agent_says_what_its_wallet_has_and_what_became_of_its_invoices() {
    let devnet = node();
    let wallet = Operator::at(&devnet).types("hhctl agent wallet").await;
    assert_snapshot!("agent_wallet", wallet.transcript());
}

#[tokio::test]
async fn an_agent_says_what_waits_for_its_owner() {
    let devnet = node();
    let status = Operator::at(&devnet).types("hhctl agent status").await;
    assert_snapshot!("agent_status", status.transcript());
}
