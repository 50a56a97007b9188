//! A miner that nobody here wrote: cpuminer's `minerd`, where MINERD_BIN names it.

use crate::pool::{
    COINBASE_PREFIX, COINBASE_SUFFIX, GROUP, MERKLE_PATH, NBITS, Pool, future_job, prefix, tip,
};
use crate::translator::Translator;
use hh_mining::{Header, Target, merkle_root_of};
use hh_sv2::message::SubmitSharesExtended;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Two million hashes: a fraction of a second of one core.
const DIFFICULTY: f64 = 0.0005;

/// As the pool sees it.
fn hash_meets_target(share: &SubmitSharesExtended, prev_hash: [u8; 32]) -> bool {
    let extranonce = [&prefix(share.channel_id)[..], share.extranonce.as_bytes()].concat();
    let merkle_root = merkle_root_of(
        &COINBASE_PREFIX,
        &extranonce,
        &COINBASE_SUFFIX,
        &MERKLE_PATH,
    );
    let header = Header {
        version: share.version,
        prev_hash,
        merkle_root,
        ntime: share.ntime,
        nbits: NBITS,
        nonce: share.nonce,
    };
    Target::from_difficulty(DIFFICULTY).is_met_by(&header.hash())
}

#[tokio::test]
async fn minerd_mines_and_is_told_of_every_share_that_the_pool_accepts() {
    let Ok(minerd) = std::env::var("MINERD_BIN") else {
        println!("not run: MINERD_BIN names no minerd (github.com/pooler/cpuminer)");
        return;
    };
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = Command::new(minerd)
        .args([
            "--algo",
            "sha256d",
            "--threads",
            "1",
            "--user",
            "alice.minerd",
            "--pass",
            "x",
        ])
        .arg(format!("--url=stratum+tcp://{}", translator.address))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(miner.stderr.take().unwrap()).lines();

    let channel_id = upstream.open_at(Target::from_difficulty(DIFFICULTY)).await;
    let mut prev_hash = [0x11; 32];
    for number in 1..=6 {
        if number == 4 {
            prev_hash = [0x22; 32];
            upstream
                .send([future_job(GROUP, 2), tip(GROUP, 2, 0x22)])
                .await;
        }
        let share = loop {
            let share = upstream.recv_share().await;
            if prev_hash == [0x11; 32] || share.job_id == 2 {
                break share;
            }
            upstream
                .reject(channel_id, share.sequence_number, "stale-share")
                .await;
        };
        assert!(hash_meets_target(&share, prev_hash), "{share:?}");
        upstream.settle(channel_id, share.sequence_number, 1).await;
        loop {
            let line = log.next_line().await.unwrap().expect("minerd runs");
            if line.contains("yay") {
                break;
            }
        }
    }
    let status = translator.status().await;
    assert_eq!(status.shares.accepted, 6);
    assert!(
        status
            .shares
            .rejected
            .keys()
            .all(|code| code == "stale-share"),
        "{status:?}"
    );
    assert!(status.miners[0].user_agent.starts_with("cpuminer/"));
    translator.stop().await;
}
