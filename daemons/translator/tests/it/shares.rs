//! Shares: what reaches the pool, and what the miner is answered when.

use crate::miner::error_code;
use crate::pool::{
    COINBASE_PREFIX, COINBASE_SUFFIX, GROUP, MERKLE_PATH, NTIME, Pool, VERSION, future_job, prefix,
    tip,
};
use crate::translator::Translator;
use hh_mining::merkle_root_of;
use serde_json::json;

#[tokio::test]
async fn a_share_is_accepted_when_the_pool_says_so_and_not_before() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, notify) = translator.mining(&mut upstream, "alice").await;
    let share = json!(["alice", notify[0], "00000000c0ffee", notify[7], "B2957C02"]);
    miner.send(json!("s"), "mining.submit", share).await;
    let share = upstream.recv_share().await;
    assert_eq!(
        (share.channel_id, share.sequence_number, share.job_id),
        (1, 1, 1)
    );
    assert_eq!(
        (share.version, share.ntime, share.nonce),
        (VERSION, NTIME, 0xb295_7c02)
    );
    assert_eq!(
        share.extranonce.as_bytes(),
        [1, 0, 0, 0, 0, 0xc0, 0xff, 0xee],
        "extranonce1 and 2"
    );

    // The merkle root that the pool computes is that of the coinbase the miner was sent.
    let text = |index: usize| notify[index].as_str().unwrap().to_owned();
    let coinbase = hex::decode(
        [
            text(2),
            "01".to_owned(),
            "00000000c0ffee".to_owned(),
            text(3),
        ]
        .concat(),
    )
    .unwrap();
    let extranonce = [&prefix(1)[..], share.extranonce.as_bytes()].concat();
    assert_eq!(
        merkle_root_of(
            &COINBASE_PREFIX,
            &extranonce,
            &COINBASE_SUFFIX,
            &MERKLE_PATH
        ),
        merkle_root_of(&coinbase, &[], &[], &MERKLE_PATH),
    );

    assert_eq!(
        miner.call("mining.ping", json!([])).await["result"],
        "pong",
        "no answer to the share yet"
    );
    let status = translator.status().await;
    assert_eq!((status.shares_in_flight, status.shares.accepted), (1, 0));
    upstream.settle(1, 1, 1).await;
    assert_eq!(
        miner.answer().await,
        json!({ "id": "s", "result": true, "error": null })
    );
    let status = translator
        .wait_for_status("it is counted", |status| status.shares.accepted == 1)
        .await;
    assert_eq!(
        (status.shares_in_flight, status.miners[0].shares.accepted),
        (0, 1)
    );
    assert!(status.miners[0].last_share_at.is_some());
    translator.stop().await;
}

#[tokio::test]
async fn one_success_settles_all_shares_before_it_but_those_that_were_rejected() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, notify) = translator.mining(&mut upstream, "alice").await;
    for number in 1..=5 {
        miner.submit(json!(number), "alice", &notify, number).await;
    }
    for number in 1..=5 {
        assert_eq!(upstream.recv_share().await.sequence_number, number);
    }
    upstream.reject(1, 2, "stale-share").await;
    let answer = miner.answer().await;
    assert_eq!((error_code(&answer), &answer["id"]), (21, &json!(2)));
    upstream.settle(1, 4, 3).await;
    for id in [1, 3, 4] {
        assert_eq!(
            miner.answer().await,
            json!({ "id": id, "result": true, "error": null })
        );
    }
    upstream.reject(1, 5, "duplicate-share").await;
    assert_eq!(error_code(&miner.answer().await), 22);
    translator.stop().await;
}

#[tokio::test]
async fn what_the_pool_rejects_has_the_code_that_miners_know() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, notify) = translator.mining(&mut upstream, "alice").await;
    for (number, (sv2, sv1)) in (1..).zip([
        ("stale-share", 21),
        ("invalid-job-id", 21),
        ("duplicate-share", 22),
        ("difficulty-too-low", 23),
        ("invalid-share", 20),
        ("a-code-of-tomorrow", 20),
    ]) {
        miner.submit(json!(number), "alice", &notify, number).await;
        upstream.recv_share().await;
        upstream.reject(1, number, sv2).await;
        assert_eq!(error_code(&miner.answer().await), sv1, "{sv2}");
    }
    let status = translator.status().await;
    assert_eq!(status.shares.rejected["stale-share"], 1);
    assert_eq!(status.shares.rejected["other"], 1);
    assert_eq!(
        (status.shares.rejected_total(), status.shares_in_flight),
        (6, 0)
    );
    translator.stop().await;
}

#[tokio::test]
async fn what_can_be_told_without_the_pool_does_not_reach_it() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, notify) = translator.mining(&mut upstream, "alice").await;
    let submit = |job: &serde_json::Value, extranonce2: &str, ntime: &str| {
        json!(["alice", job, extranonce2, ntime, "00000001"])
    };
    let (job, ntime) = (&notify[0], notify[7].as_str().unwrap());
    for (share, code) in [
        (submit(&json!("ff"), "00000000000000", ntime), 21),
        (submit(&json!("not ours"), "00000000000000", ntime), 21),
        (submit(job, "0000000000", ntime), 20),
        (submit(job, "0000000000000000", ntime), 20),
        (submit(job, "000000000000zz", ntime), 20),
        (submit(job, "00000000000000", "00000001"), 20),
    ] {
        let answer = miner.call("mining.submit", share.clone()).await;
        assert_eq!(error_code(&answer), code, "{share}");
    }
    // The same header, in other digits.
    miner
        .send(
            json!(1),
            "mining.submit",
            submit(job, "0000000000000a", ntime),
        )
        .await;
    assert_eq!(
        error_code(
            &miner
                .call("mining.submit", submit(job, "0000000000000A", ntime))
                .await
        ),
        22
    );
    assert_eq!(
        upstream.recv_share().await.sequence_number,
        1,
        "the first that reached the pool"
    );
    translator.stop().await;
}

#[tokio::test]
async fn a_share_for_the_block_before_is_the_pools_to_judge() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, old) = translator.mining(&mut upstream, "alice").await;
    upstream
        .send([future_job(GROUP, 2), tip(GROUP, 2, 0x22)])
        .await;
    miner.notify().await;
    miner.submit(json!(1), "alice", &old, 1).await;
    let share = upstream.recv_share().await;
    assert_eq!(share.job_id, 1);
    upstream
        .reject(1, share.sequence_number, "stale-share")
        .await;
    assert_eq!(error_code(&miner.answer().await), 21);
    translator.stop().await;
}

#[tokio::test]
async fn a_flood_of_shares_is_settled_one_by_one() {
    const SHARES: u32 = 3000;
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, notify) = translator.mining(&mut upstream, "alice").await;
    let answering = async {
        for number in 1..=SHARES {
            let share = upstream.recv_share().await;
            assert_eq!(share.sequence_number, number);
            if number % 10 == 0 {
                upstream.settle(1, number, 10).await;
            }
        }
        upstream
    };
    let mining = async {
        let mut accepted = 0;
        for number in 1..=SHARES {
            miner.submit(json!(number), "alice", &notify, number).await;
            // A window of a hundred.
            if number > 100 {
                assert_eq!(miner.answer().await["result"], true);
                accepted += 1;
            }
        }
        while accepted < SHARES {
            assert_eq!(miner.answer().await["result"], true);
            accepted += 1;
        }
    };
    let (_upstream, ()) = tokio::join!(answering, mining);
    let status = translator.status().await;
    assert_eq!(
        (status.shares.accepted, status.shares_in_flight),
        (SHARES.into(), 0)
    );
    translator.stop().await;
}
