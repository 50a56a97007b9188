//! What block relay asks of a node.

use std::time::Duration;

use bitcoin::consensus::encode::{deserialize, serialize};

use crate::node::{Node, REGTEST, executable, wait_for};

#[tokio::test]
async fn the_next_tip_is_told_when_it_is_there_and_the_last_one_when_none_comes() {
    let node = Node::start().await;
    let rpc = node.rpc();
    let first = rpc.tip_from(0, Duration::from_secs(60)).await.unwrap();
    assert_eq!(first.height, 1);
    let same = rpc.tip_from(2, Duration::from_millis(50)).await.unwrap();
    assert_eq!(same, first);
    let (next, mined) = tokio::join!(rpc.tip_from(2, Duration::from_secs(60)), node.generate(1));
    assert_eq!((next.unwrap().hash, first.height + 1), (mined[0], 2));
}

#[tokio::test]
async fn headers_and_blocks_are_bytes_and_a_header_is_taken_or_refused_with_the_nodes_word() {
    let node = Node::start().await;
    let (rpc, hash) = (node.rpc(), node.generate(1).await[0]);
    let bytes = rpc.raw_block(hash).await.unwrap();
    let block: bitcoin::Block = deserialize(&bytes).unwrap();
    assert_eq!(serialize(&block), bytes);
    let header = rpc.raw_header(hash).await.unwrap();
    assert_eq!(header, serialize(&block.header));

    // One that has neither this block nor the one before it.
    let other = Node::launch(&executable(), &REGTEST).await;
    let refused = other.rpc().submit_header(&header).await.unwrap().unwrap();
    assert!(refused.contains("previous header"), "{refused}");
    let before = rpc.raw_header(block.header.prev_blockhash).await.unwrap();
    for one in [&before, &header, &header] {
        assert_eq!(other.rpc().submit_header(one).await.unwrap(), None);
    }
    let mut easy = block.header;
    while easy.target().is_met_by(easy.block_hash()) {
        easy.nonce += 1;
    }
    let refused = other.rpc().submit_header(&serialize(&easy)).await.unwrap();
    assert_eq!(refused.as_deref(), Some("high-hash"));
    assert!(other.rpc().submit_header(&[0; 3]).await.unwrap().is_some());
    wait_for(
        "the header is not the block",
        Duration::from_secs(1),
        async || {
            let known = other.rpc().block_header(hash).await.ok()?;
            (known.n_tx == 0).then_some(())
        },
    )
    .await;
}
