//! What stops hh-tp at its start, and what it says then.

use crate::daemon::{Tp, config};
use crate::node::{Node, START};

#[track_caller]
fn check_log(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "{part:?} is not in\n{log}");
    }
}

#[tokio::test]
async fn a_node_on_another_chain_is_a_mistake_of_the_configuration() {
    let node = Node::start().await;
    let mut tp = Tp::with(&config(&node, "signet"));
    assert_eq!(tp.exit().await.code(), Some(78));
    check_log(
        &tp.log(),
        &["is on chain regtest", "configured for signet", &node.url()],
    );
}

#[tokio::test]
async fn a_node_that_does_not_answer_in_time_is_named_with_the_way_out() {
    let mut node = Node::start().await;
    node.kill();
    let mut tp = Tp::with(&format!(
        "start_timeout_seconds = 1\n{}",
        config(&node, "regtest")
    ));
    assert_eq!(tp.exit().await.code(), Some(69));
    check_log(
        &tp.log(),
        &[
            "no usable Bitcoin Core node within 1 s",
            &node.url(),
            "-server",
        ],
    );
}

#[tokio::test]
async fn a_node_without_its_ipc_socket_is_named_with_the_way_out() {
    let node = Node::start().await;
    std::fs::remove_file(node.socket()).unwrap();
    let mut tp = Tp::with(&format!(
        "start_timeout_seconds = 1\n{}",
        config(&node, "regtest")
    ));
    assert_eq!(tp.exit().await.code(), Some(69));
    check_log(&tp.log(), &["node.sock", "-ipcbind=unix"]);
}

#[tokio::test]
async fn a_node_that_comes_within_the_start_timeout_is_used() {
    let mut node = Node::start().await;
    node.kill();
    let tp = Tp::with(&config(&node, "regtest"));
    tp.logged("node not reached yet", "error").await;
    node.restart().await;
    tp.logged("template published", "template_id").await;
    tp.logged("daemon started", "ts").await;
}

#[tokio::test]
async fn all_mistakes_in_the_configuration_are_told_at_once() {
    let mut tp = Tp::with(
        "chain = \"mainnet\"\nfee_delta = 3\nfee_delta_sats = 0\n\
         [[nodes]]\nipc_socket = \"node.sock\"\nrpc_url = \"http://127.0.0.1\"\n",
    );
    let status = tokio::time::timeout(START, tp.exit()).await.unwrap();
    assert_eq!(status.code(), Some(78));
    check_log(&tp.log(), &["mainnet", "fee_delta"]);
}
