//! How long a new tip takes to our templates. Measurements, for a quiet machine; what they must be is in the table.

use std::time::{Duration, Instant};

use bitcoin::OutPoint;
use hh_bitcoin::{NodeTemplate, Trigger};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::node::{Node, SOON};
use crate::source::{Source, generate_without_mempool};

const BLOCKS: usize = 20;

/// So many transactions of one input and one output, independent of each other.
pub(crate) async fn fill(node: &Node, count: u32) {
    let mut outputs = Vec::new();
    let mut left = count;
    for height in 1.. {
        if left == 0 {
            break;
        }
        let parts = left.min(2_000);
        left -= parts;
        let spread = node.spend_coinbase(height, 200_000, parts).await;
        let txid = spread.compute_txid();
        outputs.extend((0..parts).map(|vout| (OutPoint::new(txid, vout), spread.output[0].value)));
    }
    node.generate(1).await;
    for (from, value) in outputs {
        let _spend = node.spend(from, value, 1_000, 1).await;
    }
}

/// From the node's own word of a tip to each template on it, until that with the transactions is here. The node gives its word
/// under the lock under which it builds templates, so where there is no coinbase-only template it may come late.
async fn measure(node: &Node, source: &mut Source, transactions: usize) {
    let (mut first, mut full, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        let tip = node.rpc().best_block_hash().await.unwrap();
        let (rpc, mut announced) = (node.rpc(), JoinSet::new());
        announced.spawn(async move {
            let params = vec![json!(0), json!(tip)];
            let _block: Value = rpc.call("waitfornewblock", params, SOON).await.unwrap();
            Instant::now()
        });
        generate_without_mempool(node).await;
        let (mut begun, mut done): (Option<Instant>, Option<(Instant, NodeTemplate)>) =
            (None, None);
        while done.is_none() {
            let template = source.template().await;
            if template.trigger == Trigger::Mempool {
                continue;
            }
            let now = Instant::now();
            begun.get_or_insert(now);
            let all = template.trigger != Trigger::CoinbaseOnly;
            done = all.then_some((now, template));
        }
        let announced = announced.join_next().await.unwrap().unwrap();
        let (begun, (done, mut template)) = (begun.unwrap(), done.unwrap());
        first.push(begun.saturating_duration_since(announced));
        full.push(done.saturating_duration_since(announced));
        ours.push(done.saturating_duration_since(template.announced_at));
        let block = template.block.arrived().await.unwrap();
        assert_eq!(block.transaction_count(), transactions);
    }
    print("first template on the tip", first);
    print("the one with transactions", full);
    print("of it after the node had it", ours);
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let mean = times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap();
    let [p50, p99] = [50, 99].map(|p| times[(times.len() * p).div_ceil(100) - 1]);
    println!("{what}: mean {mean:?}, p50 {p50:?}, p99 {p99:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; run alone with --ignored --nocapture"]
async fn from_the_tip_to_the_templates() {
    for transactions in [0_u32, 300, 1_000, 4_000] {
        let node = Node::start().await;
        node.generate(110).await;
        fill(&node, transactions).await;
        let count = usize::try_from(transactions).unwrap();
        println!("-- {transactions} transactions, mining IPC");
        measure(
            &node,
            &mut Source::quiet(Some(node.socket()), node.rpc()).await,
            count,
        )
        .await;
        println!("-- {transactions} transactions, getblocktemplate");
        measure(&node, &mut Source::quiet(None, node.rpc()).await, count).await;
    }
}
