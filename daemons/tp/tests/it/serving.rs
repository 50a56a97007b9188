//! Templates to clients.

use std::time::Duration;

use hh_ipc::api::LinkState;
use hh_ipc::client;
use hh_sv2::Message;
use hh_sv2::message::RequestTransactionData;

use crate::client::Client;
use crate::daemon::Tp;
use crate::node::{Node, SOON, bytes, wait_for};

#[tokio::test]
async fn constraints_are_answered_at_once_with_the_current_template_and_its_tip() {
    let node = Node::start().await;
    let tip = node.generate(20).await[19];
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    let (template, new_tip) = client.template().await;
    assert!(new_tip);
    assert_eq!(client.prev_hash(), bytes(tip));
    assert_eq!(template.coinbase_tx_value_remaining, 5_000_000_000);
    assert_eq!(template.coinbase_tx_outputs_count, 1);
}

#[tokio::test]
async fn every_client_gets_every_tip_with_ids_that_only_rise() {
    let node = Node::start().await;
    let mut tp = Tp::start(&node);
    let mut clients = vec![];
    for size in [100, 100, 2000] {
        let mut client = Client::with_outputs(&tp, size).await;
        let (template, _) = client.template().await;
        clients.push((client, template.template_id));
    }
    for _ in 0..5 {
        let tip = node.generate(1).await[0];
        for (client, last_id) in &mut clients {
            let (template, new_tip) = client.template().await;
            assert!(new_tip);
            assert_eq!(client.prev_hash(), bytes(tip));
            assert!(template.template_id > *last_id);
            *last_id = template.template_id;
        }
    }
    let last_id = clients.iter().map(|(_, id)| *id).max().unwrap();
    tp.restart();
    let (template, _) = Client::start(&tp).await.template().await;
    assert!(template.template_id > last_id, "ids rise over restarts");
}

#[tokio::test]
async fn risen_fees_bring_a_template_on_the_same_tip() {
    let node = Node::start().await;
    node.generate(110).await;
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    let (first, _) = client.template().await;

    let spend = node.spend_coinbase(2, 10_000, 1).await;
    let (second, new_tip) = client.template().await;
    assert!(!new_tip);
    assert_eq!(
        second.coinbase_tx_value_remaining,
        first.coinbase_tx_value_remaining + 10_000
    );
    assert_eq!(second.merkle_path.as_slice().len(), 1);

    let Message::RequestTransactionDataSuccess(data) =
        client.transaction_data(second.template_id).await
    else {
        panic!("no transactions");
    };
    assert_eq!(data.template_id, second.template_id);
    assert_eq!(data.excess_data.as_ref(), [0; 32]);
    let transactions: Vec<_> = data
        .transaction_list
        .as_slice()
        .iter()
        .map(|tx| tx.as_ref().to_vec())
        .collect();
    assert_eq!(transactions, [bitcoin::consensus::serialize(&spend)]);

    wait_for("the summary has the transaction", SOON, async || {
        let last = tp.status().await.last_template?;
        (last.transactions == 1 && last.fees_sat == 10_000).then_some(())
    })
    .await;
}

#[tokio::test]
async fn transactions_of_unknown_and_stale_templates_are_refused_with_the_codes_of_the_specification()
 {
    let node = Node::start().await;
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    let (first, _) = client.template().await;
    node.generate(1).await;
    let (second, _) = client.template().await;
    for (template_id, expected) in [
        (first.template_id, "stale-template-id"),
        (second.template_id + 1000, "template-id-not-found"),
    ] {
        let Message::RequestTransactionDataError(error) =
            client.transaction_data(template_id).await
        else {
            panic!("no error");
        };
        assert_eq!(error.error_code.as_bytes(), expected.as_bytes());
        assert_eq!(error.template_id, template_id);
    }
    let data = client.transaction_data(second.template_id).await;
    assert!(
        matches!(data, Message::RequestTransactionDataSuccess(_)),
        "{data:?}"
    );
}

#[tokio::test]
async fn metrics_have_a_help_text_and_tell_how_long_templates_take_and_how_old_they_are() {
    let node = Node::start().await;
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    client.template().await;
    let tip = node.generate(1).await[0];
    client.template().await;
    let metrics = tp.metrics().await;
    let names = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    for name in names.map(|line| line.split(' ').next().unwrap()) {
        assert!(
            metrics.contains(&format!("# HELP {name} ")),
            "{name} has no help text"
        );
    }
    for stage in ["fetch", "build", "total"] {
        let labels = [("trigger", "new_block"), ("stage", stage)];
        let count = tp
            .metric("hyperhash_template_generation_seconds_count", &labels)
            .await;
        assert_eq!(count, Some(1.0), "{stage}");
    }
    let newest = "hyperhash_template_last_success_timestamp_seconds";
    let newest = tp.metric(newest, &[]).await.unwrap();
    let told = tp.status().await.last_template.unwrap();
    assert_eq!(told.prev_hash, tip.to_string());
    assert!((told.created_at.as_duration().as_secs_f64() - newest).abs() < 0.001);
    // Before anything has happened.
    let labels = [("reason", "lagging")];
    let never = tp
        .metric("hyperhash_template_node_switches_total", &labels)
        .await;
    assert_eq!(never, Some(0.0));
    let failures = tp
        .metric("hyperhash_template_failures_total", &[("reason", "ipc")])
        .await;
    assert_eq!(failures, Some(0.0));
}

#[tokio::test]
async fn a_client_that_asks_for_too_much_or_too_early_is_dropped_alone() {
    let node = Node::start().await;
    let tp = Tp::start(&node);
    let mut good = Client::start(&tp).await;
    good.template().await;
    let mut greedy = Client::with_outputs(&tp, 1_000_000).await;
    assert!(greedy.recv().await.is_err());
    let mut early = Client::without_constraints(&tp).await;
    early.send(RequestTransactionData { template_id: 1 }).await;
    assert!(early.recv().await.is_err());
    tp.logged("client dropped", "error").await;

    node.generate(1).await;
    good.template().await;
}

#[tokio::test]
async fn new_constraints_move_a_client_to_another_class_on_the_same_tip() {
    let node = Node::start().await;
    let tp = Tp::start(&node);
    let mut client = Client::with_outputs(&tp, 5_000).await;
    let (first, _) = client.template().await;
    client.constrain(100).await;
    let (second, new_tip) = client.template().await;
    assert!(!new_tip && second.template_id > first.template_id);
    node.generate(1).await;
    assert!(client.template().await.1);
    assert!(
        client.silent_for(Duration::from_millis(300)).await,
        "one class, one template"
    );
    tp.logged("reservation class given up", "reserved_weight")
        .await;
}

#[tokio::test]
async fn clients_keep_their_connection_while_the_node_restarts() {
    let mut node = Node::start().await;
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    client.template().await;
    let status = tp.status().await;
    assert_eq!(status.nodes[0].templates.state, LinkState::Up);
    assert_eq!(
        (status.chain.as_str(), status.clients.len()),
        ("regtest", 1)
    );
    assert_eq!(
        status.clients[0].coinbase_output_max_additional_size_bytes,
        Some(100)
    );

    node.kill();
    wait_for("the link is down", SOON, async || {
        let ipc = tp.status().await.nodes[0].templates.clone();
        (ipc.state == LinkState::Down && ipc.last_error.is_some()).then_some(())
    })
    .await;
    node.restart().await;
    let tip = node.generate(1).await[0];
    // Its tip of before the restart may come first.
    wait_for("a template on the new tip", SOON, async || {
        client.template().await;
        (client.prev_hash() == bytes(tip)).then_some(())
    })
    .await;
    let templates = tp
        .control()
        .await
        .templates(client::within(SOON), 10)
        .await
        .unwrap();
    assert!(templates.iter().any(|template| template.trigger == "start"));
    assert_eq!(tp.status().await.nodes[0].templates.state, LinkState::Up);
}
