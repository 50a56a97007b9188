//! Blocks that clients find.

use std::path::PathBuf;
use std::process::Command;

use hh_sv2::message::SubmitSolution;

use crate::client::Client;
use crate::daemon::Tp;
use crate::node::{Node, SOON, wait_for};

fn files(tp: &Tp) -> Vec<String> {
    std::fs::read_dir(tp.blocks_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // At its start the daemon tries whether it can write there.
        .filter(|name| !name.starts_with('.'))
        .collect()
}

async fn wait_for_file(tp: &Tp, extension: &str) -> String {
    wait_for(extension, SOON, async || {
        let files = files(tp);
        let is_open = |name: &str| name.ends_with(".block") || name.ends_with(".new");
        let settled = files.iter().find(|name| !is_open(name));
        assert!(
            settled.is_none_or(|name| name.ends_with(extension)),
            "{files:?}\n{}",
            tp.log()
        );
        settled.cloned()
    })
    .await
}

#[tokio::test]
async fn a_solution_is_on_the_chain_journalled_and_told() {
    let node = Node::start().await;
    node.generate(110).await;
    node.spend_coinbase(2, 10_000, 5).await;
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    let (template, _) = client.template().await;
    let solution = client.solve(&template);
    client.send(solution).await;

    let (next, new_tip) = client.template().await;
    assert!(new_tip && next.template_id > template.template_id);
    let best = node.rpc().best_block_hash().await.unwrap();
    assert_eq!(client.prev_hash(), crate::node::bytes(best));
    let block = node.rpc().block(best).await.unwrap();
    assert_eq!(block.txdata.len(), 2);

    let file = wait_for_file(&tp, ".accepted").await;
    assert_eq!(file, format!("112-{best}.accepted"));
    let journalled = std::fs::read(tp.blocks_dir().join(file)).unwrap();
    assert_eq!(journalled, bitcoin::consensus::serialize(&block));

    let solutions = tp.status().await.solutions;
    assert_eq!(
        (solutions.len(), solutions[0].hash.clone()),
        (1, best.to_string())
    );
    let outcomes = &solutions[0].outcomes;
    let outcome_of = |wanted: &str| {
        let found = outcomes.iter().find(|(path, _)| path == wanted);
        found.map(|(_, outcome)| outcome.as_str())
    };
    assert_eq!(outcome_of("first ipc"), Some("accepted"));
    assert_eq!(outcome_of("chain"), Some("on the best chain"));
    let by_rpc = outcome_of("first rpc").unwrap();
    assert!(["accepted", "duplicate"].contains(&by_rpc), "{outcomes:?}");
}

#[tokio::test]
async fn a_coinbase_without_its_witness_is_completed() {
    let node = Node::start().await;
    node.generate(20).await;
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    let (template, _) = client.template().await;
    let solution = client.solve(&template);
    let mut coinbase: bitcoin::Transaction =
        bitcoin::consensus::deserialize(solution.coinbase_tx.as_ref()).unwrap();
    coinbase.input[0].witness = bitcoin::Witness::new();
    let stripped = bitcoin::consensus::serialize(&coinbase).try_into().unwrap();
    client
        .send(SubmitSolution {
            coinbase_tx: stripped,
            ..solution
        })
        .await;
    wait_for_file(&tp, ".accepted").await;
}

#[tokio::test]
async fn what_is_no_block_is_refused_and_what_the_node_refuses_is_told_with_its_reason() {
    let node = Node::start().await;
    node.generate(20).await;
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    let (mut template, _) = client.template().await;
    let mut solution = client.solve(&template);
    solution.version ^= 0xff;
    while client.is_block(&template, &solution) {
        solution.header_nonce += 1;
    }
    client.send(solution).await;
    let error = tp.logged("solution refused", "error").await;
    assert!(error.contains("above the template's target"), "{error}");

    template.coinbase_tx_value_remaining += 1;
    let greedy = client.solve(&template);
    client.send(greedy).await;
    wait_for_file(&tp, ".refused").await;
    let reason = tp.logged("block is not on the best chain", "reason").await;
    assert_eq!(reason, "bad-cb-amount");
    wait_for("the reason in the status", SOON, async || {
        let solutions = tp.status().await.solutions;
        let mut outcomes = solutions[0].outcomes.iter();
        outcomes
            .all(|(path, outcome)| path == "chain" || outcome == "rejected: bad-cb-amount")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_block_that_was_journalled_only_is_submitted_at_the_next_start() {
    let node = Node::start().await;
    node.generate(20).await;
    let mut tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    let (template, _) = client.template().await;
    client.send(client.solve(&template)).await;
    let accepted = wait_for_file(&tp, ".accepted").await;
    let path = tp.blocks_dir().join(&accepted);
    tp.kill();
    // As if the daemon had been killed before it heard of the verdict.
    std::fs::rename(&path, path.with_extension("block")).unwrap();
    tp.restart();
    assert_eq!(wait_for_file(&tp, ".accepted").await, accepted);
    tp.logged("journalled block is submitted again", "hash")
        .await;
}

#[tokio::test]
async fn a_block_that_its_node_forgets_by_kill_9_is_on_its_chain_again_without_the_client() {
    let mut node = Node::start().await;
    // From here on it writes nothing down by itself for most of an hour.
    node.call("gettxoutsetinfo", vec!["none".into()]).await;
    let mut tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    let (template, _) = client.template().await;
    client.send(client.solve(&template)).await;
    wait_for_file(&tp, ".accepted").await;
    let hash = node.rpc().best_block_hash().await.unwrap();
    drop(client);

    node.restart().await;
    is_again_at_the_tip(&node, hash).await;
    tp.logged(
        "node does not have a block of a client; it gets it again",
        "hash",
    )
    .await;

    tp.kill();
    node.restart().await;
    assert_ne!(node.rpc().best_block_hash().await.unwrap(), hash);
    tp.restart();
    is_again_at_the_tip(&node, hash).await;
}

/// On a real full disk, where the machine lets us mount one.
#[tokio::test]
async fn a_block_is_on_the_chain_though_the_disk_of_the_journal_is_full() {
    let node = Node::start().await;
    node.generate(20).await;
    let tp = Tp::start(&node);
    let mut client = Client::start(&tp).await;
    let (template, _) = client.template().await;
    let Some(_disk) = SmallDisk::mount(tp.blocks_dir()) else {
        println!("skipped: can't mount a tmpfs");
        return;
    };
    let filler = tp.blocks_dir().join("filler");
    let error = std::fs::write(filler, vec![0; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);

    let before = node.rpc().best_block_hash().await.unwrap();
    client.send(client.solve(&template)).await;
    tp.logged("block is on the best chain", "hash").await;
    assert_ne!(node.rpc().best_block_hash().await.unwrap(), before);
    tp.logged("block cannot be journalled", "error").await;
    // No part of it that a node could be given.
    assert_eq!(files(&tp), ["filler"]);
}

/// A disk over a folder, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(dir: PathBuf) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "hh-tp-test"])
            .arg(&dir)
            .status();
        let is_mounted = mounted.is_ok_and(|status| status.success());
        is_mounted.then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

async fn is_again_at_the_tip(node: &Node, hash: bitcoin::BlockHash) {
    wait_for("the block is at the tip again", SOON, async || {
        let tip = node.rpc().best_block_hash().await.ok()?;
        (tip == hash).then_some(())
    })
    .await;
}
