use hh_ledger::{BlockPath, BlockRow, BlockState};
use hh_mining::BlockHash;

use crate::{NOW_MS, Site};

fn block(n: u8, state: BlockState) -> BlockRow {
    BlockRow {
        hash: BlockHash::from_byte_array([n; 32]),
        height: 100 + u32::from(n),
        state,
        reason: None,
        account: "alice".to_owned(),
        worker: "rig1".to_owned(),
        node: "core".to_owned(),
        lane: "main".to_owned(),
        found_at_ms: NOW_MS + i64::from(n),
        value_sat: 5_000_000_000,
        extranonce_prefix: "0007000000000001".to_owned(),
        paths: Vec::new(),
    }
}

fn path(name: &str, outcome: &str) -> BlockPath {
    BlockPath {
        path: name.to_owned(),
        outcome: outcome.to_owned(),
        at_ms: NOW_MS,
    }
}

on_both_engines!(
    blocks_are_listed_newest_first_with_what_every_path_said,
    a_block_whose_outcome_is_known_is_not_open_again,
);

async fn blocks_are_listed_newest_first_with_what_every_path_said(site: Site) {
    site.ledger
        .put_block(block(1, BlockState::Found))
        .await
        .unwrap();
    site.ledger
        .put_block(block(2, BlockState::Found))
        .await
        .unwrap();
    let mut submitted = block(1, BlockState::Submitted);
    submitted.paths = vec![path("node a", "no answer")];
    site.ledger.put_block(submitted).await.unwrap();
    let mut rejected = block(1, BlockState::Rejected);
    rejected.reason = Some("bad-cb-amount".to_owned());
    rejected.paths = vec![
        path("node a", "bad-cb-amount"),
        path("node b", "bad-cb-amount"),
    ];
    site.ledger.put_block(rejected.clone()).await.unwrap();
    let blocks = site.ledger.blocks(10).await.unwrap();
    assert_eq!(blocks, [block(2, BlockState::Found), rejected]);
    assert_eq!(site.ledger.blocks(1).await.unwrap().len(), 1);
}

async fn a_block_whose_outcome_is_known_is_not_open_again(site: Site) {
    let check = async |put: BlockState, kept: BlockState| {
        site.ledger.put_block(block(1, put)).await.unwrap();
        assert_eq!(
            site.ledger.blocks(1).await.unwrap()[0].state,
            kept,
            "after {put:?}"
        );
    };
    check(BlockState::Submitted, BlockState::Submitted).await;
    check(BlockState::Found, BlockState::Submitted).await;
    check(BlockState::Rejected, BlockState::Rejected).await;
    check(BlockState::Submitted, BlockState::Rejected).await;
    check(BlockState::Accepted, BlockState::Accepted).await;
    check(BlockState::Found, BlockState::Accepted).await;
    check(BlockState::Orphaned, BlockState::Orphaned).await;
    check(BlockState::Accepted, BlockState::Accepted).await;
}
