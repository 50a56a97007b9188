//! Found blocks.

use std::sync::Arc;

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::{Amount, Block, CompactTarget, Target, Transaction};
use hh_bitcoin::{BlockOutcome, BlockSubmitter, NodeTemplate, Solution};
use hh_mining::{CoinbaseRecipe, Extranonce, Header, Job};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::node::{Node, anyone};
use crate::source::Source;

/// Solves the template: header, and coinbase with witness.
pub(crate) fn solve(template: &NodeTemplate) -> (Header, Vec<u8>) {
    let recipe = CoinbaseRecipe {
        reward_script: anyone(),
        tag: b"/test/".to_vec(),
    };
    let job = Job::build(&template.template, &recipe).unwrap();
    let extranonce = Extranonce::from_bytes([7; 16]);
    let target = Target::from_compact(CompactTarget::from_consensus(template.tip.nbits));
    let mut header = Header {
        version: job.version(),
        prev_hash: template.tip.prev_hash,
        merkle_root: job.merkle_root(&extranonce),
        ntime: template.tip.header_timestamp,
        nbits: template.tip.nbits,
        nonce: 0,
    };
    let met = |header: &Header| {
        let header: bitcoin::block::Header = deserialize(&header.to_bytes()).unwrap();
        target.is_met_by(header.block_hash())
    };
    while !met(&header) {
        header.nonce += 1;
    }
    (header, job.coinbase_with_witness(&extranonce))
}

pub(crate) fn solution(header: &Header, coinbase: Vec<u8>) -> Solution {
    let Header {
        version,
        ntime,
        nonce,
        ..
    } = *header;
    Solution {
        version,
        ntime,
        nonce,
        coinbase,
    }
}

fn submitter(node: &Node) -> BlockSubmitter {
    let nodes = vec![("node".to_owned(), node.rpc())];
    BlockSubmitter::new(nodes, TaskTracker::new(), CancellationToken::new())
}

async fn outcome(submitter: &BlockSubmitter, block: &[u8]) -> BlockOutcome {
    let hash = deserialize::<Block>(block).unwrap().block_hash();
    submitter
        .submit(hash, Arc::from(block))
        .recv()
        .await
        .unwrap()
        .outcome
}

#[tokio::test]
async fn a_solution_by_ipc_is_on_the_chain_and_the_same_block_by_rpc_a_duplicate() {
    let node = Node::start().await;
    node.generate(110).await;
    node.spend_coinbase(2, 10_000, 3).await;
    let mut source = Source::start(&node);
    let mut template = source.template().await;
    let (header, coinbase) = solve(&template);
    let block = template
        .block
        .arrived()
        .await
        .unwrap()
        .assemble(&header.to_bytes(), &coinbase);
    assert_eq!(
        template
            .handle
            .submit(solution(&header, coinbase))
            .await
            .unwrap(),
        BlockOutcome::Accepted
    );
    let hash = deserialize::<Block>(&block).unwrap().block_hash();
    assert_eq!(node.rpc().best_block_hash().await.unwrap(), hash);
    assert_eq!(serialize(&node.rpc().block(hash).await.unwrap()), block);
    assert_eq!(
        outcome(&submitter(&node), &block).await,
        BlockOutcome::Duplicate
    );
    let info = node.rpc().block_header(hash).await.unwrap();
    assert_eq!((info.height, info.confirmations), (template.height, 1));
}

/// A solved block that pays itself so much too much.
pub(crate) async fn greedy(template: &NodeTemplate, sats: u64) -> Block {
    let (header, coinbase) = solve(template);
    let mut greedy: Transaction = deserialize(&coinbase).unwrap();
    greedy.output[0].value += Amount::from_sat(sats);
    let block = template.block.clone().arrived().await.unwrap();
    let block = block.assemble(&header.to_bytes(), &serialize(&greedy));
    let mut block: Block = deserialize(&block).unwrap();
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while !block.header.target().is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    block
}

/// Of a block on the template that `solution` is for.
pub(crate) fn solution_of(block: &Block) -> Solution {
    Solution {
        version: u32::from_ne_bytes(block.header.version.to_consensus().to_ne_bytes()),
        ntime: block.header.time,
        nonce: block.header.nonce,
        coinbase: serialize(&block.txdata[0]),
    }
}

#[tokio::test]
async fn a_block_that_is_not_valid_is_refused_with_the_reason_on_every_path() {
    let node = Node::start().await;
    node.generate(20).await;
    let mut source = Source::start(&node);
    let template = source.template().await;
    let submitter = submitter(&node);
    let expected = BlockOutcome::Rejected("bad-cb-amount".to_owned());

    let by_ipc_first = greedy(&template, 1).await;
    let solution = solution_of(&by_ipc_first);
    assert_eq!(template.handle.submit(solution).await.unwrap(), expected);
    let then_by_rpc = outcome(&submitter, &serialize(&by_ipc_first)).await;
    assert_eq!(then_by_rpc, expected);

    let by_rpc_first = greedy(&template, 2).await;
    assert_eq!(
        outcome(&submitter, &serialize(&by_rpc_first)).await,
        expected
    );
    let solution = solution_of(&by_rpc_first);
    assert_eq!(template.handle.submit(solution).await.unwrap(), expected);

    for sats in 3..8 {
        let at_once = greedy(&template, sats).await;
        let by_ipc = template.handle.submit(solution_of(&at_once));
        let block = serialize(&at_once);
        let by_rpc = outcome(&submitter, &block);
        let (by_ipc, by_rpc) = tokio::join!(by_ipc, by_rpc);
        assert_eq!(
            (by_ipc.unwrap(), by_rpc),
            (expected.clone(), expected.clone())
        );
    }

    let mut easy = greedy(&template, 0).await;
    while easy.header.target().is_met_by(easy.block_hash()) {
        easy.header.nonce += 1;
    }
    let expected = BlockOutcome::Rejected("high-hash".to_owned());
    let refused = template.handle.submit(solution_of(&easy)).await.unwrap();
    assert_eq!(refused, expected);
    assert_eq!(outcome(&submitter, &serialize(&easy)).await, expected);
}

#[tokio::test]
async fn a_good_block_is_accepted_or_a_duplicate_on_every_path_at_once() {
    let node = Node::start().await;
    let mut source = Source::start(&node);
    let submitter = submitter(&node);
    for _ in 0..10 {
        let template = source.template().await;
        let good = greedy(&template, 0).await;
        let by_ipc = template.handle.submit(solution_of(&good));
        let block = serialize(&good);
        let by_rpc = outcome(&submitter, &block);
        let (by_ipc, by_rpc) = tokio::join!(by_ipc, by_rpc);
        for verdict in [by_ipc.unwrap(), by_rpc] {
            let good = matches!(verdict, BlockOutcome::Accepted | BlockOutcome::Duplicate);
            assert!(good, "{verdict}");
        }
        assert_eq!(
            node.rpc().best_block_hash().await.unwrap(),
            good.block_hash()
        );
    }
}

#[tokio::test]
async fn submitblock_accepts_a_good_block_and_names_what_is_wrong_with_a_bad_one() {
    let node = Node::start().await;
    node.generate(20).await;
    let mut source = Source::start(&node);
    let mut template = source.template().await;
    let (header, coinbase) = solve(&template);
    let parts = template.block.arrived().await.unwrap();
    let submitter = submitter(&node);

    let bad = greedy(&template, 1).await;
    let rejected = outcome(&submitter, &serialize(&bad)).await;
    assert_eq!(rejected, BlockOutcome::Rejected("bad-cb-amount".to_owned()));

    let again = outcome(&submitter, &serialize(&bad)).await;
    assert_eq!(again, rejected, "also of a block that the node has refused");

    let good = parts.assemble(&header.to_bytes(), &coinbase);
    assert_eq!(outcome(&submitter, &good).await, BlockOutcome::Accepted);

    let mut side: Block = deserialize(&good).unwrap();
    side.header.time += 1;
    while !side.header.target().is_met_by(side.block_hash()) {
        side.header.nonce += 1;
    }
    assert_eq!(
        outcome(&submitter, &serialize(&side)).await,
        BlockOutcome::Inconclusive
    );
}

#[tokio::test]
async fn a_block_is_kept_for_a_node_that_does_not_know_its_parent_yet() {
    let (ahead, behind) = (Node::start().await, Node::start().await);
    let hashes = ahead.generate(3).await;
    let block = async |height: u32| {
        let hash = ahead.rpc().block_hash(height).await.unwrap();
        serialize(&ahead.rpc().block(hash).await.unwrap())
    };
    let tip = *hashes.last().unwrap();
    let mut outcomes = submitter(&behind).submit(tip, block(4).await.into());
    // Its own answer to a block that hangs in the air, which is what the submission gets too.
    let answer = behind.rpc().submit_block(&block(4).await).await.unwrap();
    assert_eq!(answer.as_deref(), Some("prev-blk-not-found"));
    for height in 1..=3 {
        behind
            .rpc()
            .submit_block(&block(height).await)
            .await
            .unwrap();
    }
    let outcome = outcomes.recv().await.unwrap();
    assert!(
        matches!(
            outcome.outcome,
            BlockOutcome::Accepted | BlockOutcome::Duplicate
        ),
        "{outcome:?}"
    );
    assert!(outcome.attempts > 1, "{outcome:?}");
    assert_eq!(behind.rpc().best_block_hash().await.unwrap(), tip);
}
