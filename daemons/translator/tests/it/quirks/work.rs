//! Shares as firmware sends them.

use crate::miner::error_code;
use crate::pool::{NTIME, Pool, VERSION};
use crate::translator::Translator;
use serde_json::{Value, json};

/// Firmware that was built for Bitaxe and DATUM finds duplicates where a pool masks bits away that were hashed.
#[tokio::test]
async fn version_bits_outside_the_mask_are_refused_and_never_masked() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    let extensions = json!([["version-rolling"], { "version-rolling.mask": "1fffe000" }]);
    miner.call("mining.configure", extensions).await;
    miner.begin("alice").await;
    upstream.open().await;
    miner.authorized().await;
    let notify = miner.notify().await;
    let share = |bits: Value| {
        json!([
            "alice",
            notify[0],
            "00000000000001",
            notify[7],
            "00000001",
            bits
        ])
    };
    for outside in ["00000001", "e0000000", "ffffffff", "40002000"] {
        let answer = miner.call("mining.submit", share(json!(outside))).await;
        assert_eq!(error_code(&answer), 20, "{outside}");
    }
    for (inside, version) in [
        (json!("2000"), VERSION | 0x2000),
        (json!("0x00004000"), VERSION | 0x4000),
        (json!("20006000"), VERSION | 0x6000),
        (Value::Null, VERSION),
    ] {
        miner.send(json!(1), "mining.submit", share(inside)).await;
        let shared = upstream.recv_share().await;
        assert_eq!(shared.version, version);
        upstream.settle(1, shared.sequence_number, 1).await;
        assert_eq!(miner.answer().await["result"], true);
    }
    let status = translator.status().await;
    let rejected = &status.shares.rejected;
    assert_eq!(rejected["invalid-non-rollable-version-bit"], 4);
    translator.stop().await;
}

/// ckpool pads and cuts; a share would be credited to work that nobody did.
#[tokio::test]
async fn an_extranonce2_without_its_leading_zeros_is_refused_and_counted() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, notify) = translator.mining(&mut upstream, "alice").await;
    for wrong in ["1", "01", "", "0000000000000001", "zz000000000001"] {
        let share = json!(["alice", notify[0], wrong, notify[7], "00000001"]);
        let answer = miner.call("mining.submit", share).await;
        assert_eq!(error_code(&answer), 20, "{wrong}");
    }
    let status = translator.status().await;
    assert_eq!(status.shares.rejected_total(), 5, "{:?}", status.shares);
    assert_eq!(status.miners[0].shares.rejected_total(), 5);
    translator.stop().await;
}

#[tokio::test]
async fn time_may_be_rolled_forward_as_far_as_the_pool_lets_and_never_back() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, notify) = translator.mining(&mut upstream, "alice").await;
    let share = |ntime: u32| {
        let ntime = format!("{ntime:08x}");
        json!(["alice", notify[0], "00000000000001", ntime, "00000001"])
    };
    let back = miner.call("mining.submit", share(NTIME - 1)).await;
    assert_eq!(error_code(&back), 20);
    for (number, ahead) in (1..).zip([0, 1, 600, 7_000]) {
        let share = share(NTIME + ahead);
        miner.send(json!(number), "mining.submit", share).await;
        assert_eq!(upstream.recv_share().await.ntime, NTIME + ahead);
    }
    upstream.reject(1, 4, "invalid-share").await;
    upstream.settle(1, 3, 3).await;
    assert_eq!(error_code(&miner.answer().await), 20);
    for _ in 0..3 {
        assert_eq!(miner.answer().await["result"], true);
    }
    translator.stop().await;
}

/// A miner that was cut off sends what it found meanwhile, for the jobs that it had.
#[tokio::test]
async fn shares_for_the_jobs_of_an_earlier_connection_are_told_as_that_and_reach_nobody() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (miner, old) = translator.mining(&mut upstream, "alice").await;
    drop(miner);
    let left = upstream.recv().await;
    assert!(matches!(left, hh_sv2::Message::CloseChannel(_)), "{left:?}");
    let (mut miner, new) = translator.mining(&mut upstream, "alice").await;
    assert_ne!(old[0], new[0]);
    for number in 1..=200 {
        miner.submit(json!(number), "alice", &old, number).await;
    }
    for _ in 1..=200 {
        assert_eq!(error_code(&miner.answer().await), 21);
    }
    miner.submit(json!("good"), "alice", &new, 1).await;
    let share = upstream.recv_share().await;
    assert_eq!(share.sequence_number, 1, "the first that reached the pool");
    upstream.settle(share.channel_id, 1, 1).await;
    assert_eq!(miner.answer().await["result"], true);
    translator.stop().await;
}

/// SparkMiner holds 256 bytes of coinb2, ESP-Miner shows 384 bytes of a coinbase and reads lines of some kilobytes.
#[tokio::test]
async fn what_the_translator_adds_to_a_job_is_small() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (_miner, notify) = translator.mining(&mut upstream, "alice").await;
    let sent: usize = [&notify[2], &notify[3]]
        .iter()
        .map(|part| part.as_str().unwrap().len() / 2)
        .sum();
    let of_pool = crate::pool::COINBASE_PREFIX.len() + crate::pool::COINBASE_SUFFIX.len();
    assert_eq!(
        sent,
        of_pool + crate::pool::prefix(1).len(),
        "the channel's prefix"
    );
    assert!(notify[0].as_str().unwrap().len() <= 8, "a short job id");
    translator.stop().await;
}
