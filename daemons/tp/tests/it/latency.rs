//! How long a new tip takes to the client. A measurement, for a quiet machine; what it must be is in the table.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::daemon::Tp;
use crate::node::{Node, SOON};

const BLOCKS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; run alone with --ignored --nocapture"]
async fn from_the_nodes_own_announcement_to_the_template_at_the_client() {
    let node = Node::start().await;
    node.generate(20).await;
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    client.template().await;
    let mut delays = Vec::new();
    for _ in 0..BLOCKS {
        let tip = node.rpc().best_block_hash().await.unwrap();
        let (rpc, mut announced) = (node.rpc(), JoinSet::new());
        announced.spawn(async move {
            let params = vec![json!(0), json!(tip)];
            let _block: Value = rpc.call("waitfornewblock", params, SOON).await.unwrap();
            Instant::now()
        });
        node.generate(1).await;
        assert!(client.template().await.1);
        let here = Instant::now();
        let announced = announced.join_next().await.unwrap().unwrap();
        delays.push(here.saturating_duration_since(announced));
    }
    print("tip to template at the client", delays);
    // From the moment the node told us to the moment clients have it: our part, and the node's small calls.
    let ours = tp.log();
    let ours = ours
        .lines()
        .filter(|line| line.contains("\"trigger\":\"new_block\""));
    let micros = ours.map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        Duration::from_micros(line["generation_us"].as_u64().unwrap())
    });
    print(
        "of it from the node's word to publication",
        micros.collect(),
    );
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let [p50, p90, p99] = [50, 90, 99].map(|p| times[(times.len() * p).div_ceil(100) - 1]);
    println!("{what}: p50 {p50:?}, p90 {p90:?}, p99 {p99:?}");
}
