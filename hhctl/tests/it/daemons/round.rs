//! Rounds of a pool: one that goes on, one that was long and lost a block on its way, and one that waits for a pool.

use super::{block, refused_block, seconds_ago};
use hh_ipc::api::pool::{
    Block, BlockState, LaggingPool, Round, RoundAccount, RoundPage, RoundSummary,
};

pub(super) fn page() -> RoundPage {
    let orphan = Block {
        height: 1150,
        state: BlockState::Orphaned,
        ..refused_block()
    };
    let open = Round {
        block: None,
        started_at: Some(seconds_ago(95)),
        ended_at: None,
        shares: Some(321),
        work: Some("1234567".to_owned()),
        score: Some("20209481842735063101440".to_owned()),
        effort_ratio: Some(0.255),
        luck_ratio: None,
        longer_ratio: Some(0.775),
        other_blocks: Vec::new(),
    };
    let long = Round {
        block: Some(block()),
        started_at: Some(seconds_ago(20_000)),
        ended_at: Some(seconds_ago(95)),
        shares: Some(1_112_345),
        work: Some("4722366482869645213696".to_owned()),
        effort_ratio: Some(2.31),
        luck_ratio: Some(0.433),
        longer_ratio: Some(0.099),
        other_blocks: vec![orphan, refused_block()],
        ..open.clone()
    };
    let waiting = Round {
        block: Some(Block {
            height: 1100,
            ..block()
        }),
        started_at: None,
        ended_at: Some(seconds_ago(20_000)),
        shares: None,
        work: None,
        score: None,
        effort_ratio: None,
        luck_ratio: None,
        longer_ratio: None,
        other_blocks: Vec::new(),
    };
    RoundPage {
        rounds: vec![open, long, waiting],
        summary: Some(RoundSummary {
            rounds: 1,
            effort_ratio: 2.31,
            luck_ratio: Some(0.433),
            effort_low_ratio: 0.051_29,
            effort_median_ratio: 0.69,
            effort_high_ratio: 2.995_73,
        }),
        lagging_pools: vec![LaggingPool {
            pool: "pool-2".to_owned(),
            server_id: 2,
            shipped_through_at: Some(seconds_ago(21_000)),
        }],
    }
}

pub(super) fn accounts() -> Vec<RoundAccount> {
    let account = |account: &str, shares, work: &str, score_ratio| RoundAccount {
        account: account.to_owned(),
        shares,
        work: work.to_owned(),
        score: work.to_owned(),
        score_ratio,
    };
    vec![
        account("alice", 1_112_345, "4722366482869645213696", 0.999),
        account("bob", 12, "12345678", 0.001),
    ]
}
