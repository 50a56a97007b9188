//! Several nodes: which one templates come from, and that clients notice nothing of it.

use std::process::Command;
use std::time::Duration;

use bitcoin::consensus::serialize;
use hh_ipc::api::template_provider::{NodeCondition, NodeStatus};
use hh_sv2::Message;
use serde_json::json;

use crate::client::Client;
use crate::daemon::{Tp, config, node_config};
use crate::node::{Node, START, bytes, wait_for};

/// Two nodes on one chain, and hh-tp on both.
struct Pair {
    first: Node,
    second: Node,
    tp: Tp,
}

impl Pair {
    async fn start() -> Self {
        let (first, second) = (Node::start().await, Node::start().await);
        first.generate(20).await;
        relay(&first, &second).await;
        let tp = Tp::with(&(config(&first, "regtest") + &node_config(&second, "second")));
        Self { first, second, tp }
    }

    /// What is said of one, as soon as it is so.
    async fn wait_for_node(&self, index: usize, is: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        wait_for("the status of a node", START, async || {
            let status = self.tp.status().await.nodes.swap_remove(index);
            is(&status).then_some(status)
        })
        .await
    }

    /// Until both can give templates.
    async fn wait_until_both_are_healthy(&self) {
        for index in [0, 1] {
            self.wait_for_node(index, |node| node.condition == NodeCondition::Healthy)
                .await;
        }
    }

    async fn active(&self) -> Option<String> {
        Some(self.tp.status().await.active_node()?.name.clone())
    }
}

/// As two connected nodes would do.
async fn relay(from: &Node, to: &Node) {
    let (rpc, tip) = (from.rpc(), from.rpc().blockchain_info().await.unwrap());
    for height in 1..=tip.blocks {
        let hash = rpc.block_hash(height).await.unwrap();
        if to.rpc().block_header(hash).await.is_err() {
            let block = rpc.block(hash).await.unwrap();
            to.rpc().submit_block(&serialize(&block)).await.unwrap();
        }
    }
    assert_eq!(to.rpc().best_block_hash().await.unwrap(), tip.bestblockhash);
}

/// The next template that builds on a block; ids must rise on the way.
async fn template_on(client: &mut Client, tip: bitcoin::BlockHash, last_id: &mut u64) {
    wait_for("a template on the tip", START, async || {
        let (template, _) = client.template().await;
        assert!(template.template_id > *last_id);
        *last_id = template.template_id;
        (client.prev_hash() == bytes(tip)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_killed_node_is_left_within_a_moment_and_gone_back_to_and_clients_see_only_templates() {
    let mut pair = Pair::start().await;
    let mut client = Client::start(&pair.tp).await;
    let (template, _) = client.template().await;
    let mut last_id = template.template_id;
    pair.wait_until_both_are_healthy().await;
    assert_eq!(pair.active().await.as_deref(), Some("first"));

    pair.first.kill();
    let (next, new_tip) = client.template().await;
    assert!(!new_tip && next.template_id > last_id, "the same tip");
    last_id = next.template_id;
    assert_eq!(pair.active().await.as_deref(), Some("second"));
    pair.tp.logged("node left for another", "left").await;
    let last = pair.tp.status().await.last_template.unwrap();
    assert_eq!(
        (last.trigger.as_str(), last.node.as_str()),
        ("failover", "second")
    );
    assert!(last.generation_seconds < 1.0, "{last:?}");
    let active = async |name| {
        let labels = [("upstream", name)];
        pair.tp
            .metric("hyperhash_template_node_active", &labels)
            .await
    };
    assert_eq!(
        (active("first").await, active("second").await),
        (Some(0.0), Some(1.0))
    );
    let switches = "hyperhash_template_node_switches_total";
    let down = pair.tp.metric(switches, &[("reason", "down")]).await;
    assert_eq!(down, Some(1.0));

    // What the dead node has made is still worth a block: the other node gets it.
    client.send(client.solve(&template)).await;
    let found = wait_for("the block", START, async || {
        let solutions = pair.tp.status().await.solutions;
        let on_chain = ("chain".to_owned(), "on the best chain".to_owned());
        let solution = solutions.first()?;
        solution
            .outcomes
            .contains(&on_chain)
            .then(|| solution.clone())
    })
    .await;
    let tip = pair.second.rpc().best_block_hash().await.unwrap();
    assert_eq!(found.hash, tip.to_string());
    template_on(&mut client, tip, &mut last_id).await;

    pair.first.restart().await;
    relay(&pair.second, &pair.first).await;
    pair.wait_for_node(0, |node| node.active).await;
    pair.tp
        .logged("templates come from the preferred node again", "node")
        .await;
    let back = pair.tp.metric(switches, &[("reason", "preferred")]).await;
    assert_eq!(back, Some(1.0));
    let tip = pair.first.generate(1).await[0];
    template_on(&mut client, tip, &mut last_id).await;
    assert_eq!(pair.tp.status().await.clients.len(), 1);
}

#[tokio::test]
async fn transactions_of_a_node_that_died_are_still_to_be_had() {
    let mut pair = Pair::start().await;
    let mut client = Client::start(&pair.tp).await;
    let (template, _) = client.template().await;
    pair.wait_until_both_are_healthy().await;
    pair.first.kill();
    client.template().await;
    let data = client.transaction_data(template.template_id).await;
    assert!(
        matches!(data, Message::RequestTransactionDataSuccess(_)),
        "{data:?}"
    );
}

#[tokio::test]
async fn a_node_that_stays_behind_is_left_and_said_to_lag() {
    let pair = Pair::start().await;
    let mut client = Client::start(&pair.tp).await;
    let mut last_id = client.template().await.0.template_id;
    pair.wait_until_both_are_healthy().await;
    // The first hears nothing of them.
    let tip = pair.second.generate(2).await[1];
    template_on(&mut client, tip, &mut last_id).await;
    let lagging = pair.wait_for_node(0, |node| !node.active).await;
    assert_eq!(lagging.condition, NodeCondition::Lagging);
    let reason = lagging.reason.unwrap();
    assert!(reason.contains("second has more work"), "{reason}");

    relay(&pair.second, &pair.first).await;
    pair.wait_for_node(0, |node| {
        node.active && node.condition == NodeCondition::Healthy
    })
    .await;
}

#[tokio::test]
async fn a_node_that_refuses_the_chain_of_another_is_not_taken_for_one_that_lags() {
    let pair = Pair::start().await;
    let mut client = Client::start(&pair.tp).await;
    let mut last_id = client.template().await.0.template_id;
    let before = pair.first.rpc().best_block_hash().await.unwrap();
    let invalid = pair.first.generate(1).await[0];
    relay(&pair.first, &pair.second).await;
    pair.wait_until_both_are_healthy().await;
    let _null = pair
        .first
        .call("invalidateblock", vec![json!(invalid)])
        .await;
    template_on(&mut client, before, &mut last_id).await;
    let msg =
        "node refuses the chain that another node follows: find out at once which of them is right";
    assert_eq!(pair.tp.logged(msg, "node").await, "first");
    let refusing = pair.wait_for_node(0, |node| node.reason.is_some()).await;
    assert_eq!(refusing.condition, NodeCondition::Healthy);
    assert!(refusing.active);
    let reason = refusing.reason.unwrap();
    assert_eq!(reason, "a block that second follows is invalid to it");
    // And when that chain grows.
    pair.second.generate(1).await;
    let tip = pair
        .second
        .rpc()
        .best_block_hash()
        .await
        .unwrap()
        .to_string();
    let again = format!("\"tip\":\"{tip}\"");
    wait_for("it is asked again", START, async || {
        pair.tp.log().contains(&again).then_some(())
    })
    .await;
    assert_eq!(pair.active().await.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_node_that_hangs_is_left() {
    let pair = Pair::start().await;
    let mut client = Client::start(&pair.tp).await;
    let mut last_id = client.template().await.0.template_id;
    pair.wait_until_both_are_healthy().await;
    let signal = |name: &str| {
        let pid_file = pair.first.cookie_file().with_file_name("bitcoind.pid");
        let pid = std::fs::read_to_string(pid_file).unwrap();
        let pid = pid.trim();
        let status = Command::new("kill").args([name, pid]).status();
        assert!(status.unwrap().success());
    };
    signal("-STOP");
    pair.wait_for_node(1, |node| node.active).await;
    let tip = pair.second.generate(1).await[0];
    template_on(&mut client, tip, &mut last_id).await;
    signal("-CONT");
    relay(&pair.second, &pair.first).await;
    pair.wait_for_node(0, |node| node.active).await;
}

#[tokio::test]
async fn with_both_nodes_down_clients_stay_and_go_on_when_one_is_back() {
    let mut pair = Pair::start().await;
    let mut client = Client::start(&pair.tp).await;
    let mut last_id = client.template().await.0.template_id;
    pair.wait_until_both_are_healthy().await;
    pair.first.kill();
    pair.second.kill();
    for index in [0, 1] {
        let down = pair
            .wait_for_node(index, |node| node.condition == NodeCondition::Down)
            .await;
        assert!(!down.active && down.reason.is_some(), "{down:?}");
    }
    let left = pair
        .tp
        .logged("no node gives templates, they are not renewed", "reason");
    assert_eq!(left.await, "down");
    assert_eq!(pair.tp.status().await.clients.len(), 1);

    pair.second.restart().await;
    pair.wait_for_node(1, |node| node.active).await;
    let tip = pair.second.generate(1).await[0];
    template_on(&mut client, tip, &mut last_id).await;
    assert!(client.silent_for(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn a_class_of_its_own_is_served_by_the_node_that_takes_over() {
    let mut pair = Pair::start().await;
    let mut client = Client::with_outputs(&pair.tp, 5_000).await;
    let (template, _) = client.template().await;
    pair.wait_until_both_are_healthy().await;
    let tip = pair.first.generate(1).await[0];
    relay(&pair.first, &pair.second).await;
    let mut last_id = template.template_id;
    template_on(&mut client, tip, &mut last_id).await;
    pair.first.kill();
    // The second may have told of its tip only now: one on the tip before may come first.
    template_on(&mut client, tip, &mut last_id).await;
    assert_eq!(pair.active().await.as_deref(), Some("second"));
}

/// One more node, whose templates come by `getblocktemplate`.
fn without_ipc(node: &Node, name: &str) -> String {
    let config = node_config(node, name);
    let lines = config
        .lines()
        .filter(|line| !line.starts_with("ipc_socket"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn a_node_without_mining_ipc_takes_over_and_its_blocks_are_submitted() {
    let (mut first, second) = (Node::start().await, Node::start().await);
    first.generate(110).await;
    relay(&first, &second).await;
    second.spend_coinbase(2, 10_000, 1).await;
    let tp = Tp::with(&(config(&first, "regtest") + &without_ipc(&second, "second")));
    let mut client = Client::start(&tp).await;
    client.template().await;
    let healthy = |node: &NodeStatus| node.condition == NodeCondition::Healthy;
    wait_for("both are healthy", START, async || {
        tp.status().await.nodes.iter().all(healthy).then_some(())
    })
    .await;
    first.kill();
    let (template, new_tip) = client.template().await;
    assert!(!new_tip);
    assert_eq!(template.merkle_path.as_slice().len(), 1);
    let data = client.transaction_data(template.template_id).await;
    assert!(matches!(data, Message::RequestTransactionDataSuccess(_)));

    client.send(client.solve(&template)).await;
    assert!(client.template().await.1, "its block is the next tip");
    let best = second.rpc().best_block_hash().await.unwrap();
    assert_eq!(client.prev_hash(), bytes(best));
    let outcomes = wait_for("the outcome", START, async || {
        let solution = tp.status().await.solutions.swap_remove(0);
        let settled = |path: &str| solution.outcomes.iter().any(|(known, _)| known == path);
        settled("chain").then_some(solution.outcomes)
    })
    .await;
    let expected = [("second rpc", "accepted"), ("chain", "on the best chain")];
    let expected = expected.map(|(path, outcome)| (path.to_owned(), outcome.to_owned()));
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn a_node_that_can_never_be_used_does_not_stop_the_others() {
    let (good, other) = (Node::start().await, Node::start().await);
    let unused = node_config(&other, "second").replace("/.cookie", "/.no-cookie");
    let tp = Tp::with(&(config(&good, "regtest") + &unused));
    let mut client = Client::start(&tp).await;
    client.template().await;
    let nodes = wait_for("the second is down", START, async || {
        let nodes = tp.status().await.nodes;
        (nodes[1].condition == NodeCondition::Down).then_some(nodes)
    })
    .await;
    let reason = nodes[1].reason.as_deref().unwrap();
    assert!(reason.contains(".no-cookie"), "{reason}");
}
