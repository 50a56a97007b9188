//! What the pool says of a channel's work, as its miner sees it.

use crate::miner::error_code;
use crate::pool::{
    COINBASE_PREFIX, COINBASE_SUFFIX, GROUP, MERKLE_PATH, NTIME, Pool, VERSION, future_job, job,
    job_now, tip,
};
use crate::translator::Translator;
use hh_mining::Target;
use hh_sv2::message::{CloseChannel, SetExtranoncePrefix, SetGroupChannel, SetTarget};
use serde_json::{Value, json};

#[tokio::test]
async fn a_job_for_the_group_reaches_every_miner_and_one_for_a_channel_only_its_own() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut alice, first) = translator.mining(&mut upstream, "alice").await;
    let (mut bob, _) = translator.mining(&mut upstream, "bob").await;

    upstream.send([job_now(GROUP, 2)]).await;
    let (to_alice, to_bob) = (alice.notify().await, bob.notify().await);
    assert_eq!(to_alice[8], false, "the same block is built on");
    assert_ne!(to_alice[0], first[0], "no job id twice");
    assert_ne!(to_alice[2], to_bob[2], "each has its own extranonce prefix");
    assert_eq!(to_alice[3], to_bob[3]);
    assert_eq!(to_alice[7], format!("{NTIME:08x}"));

    upstream
        .send([future_job(GROUP, 3), tip(GROUP, 3, 0x22), job_now(2, 4)])
        .await;
    let new_block = alice.notify().await;
    assert_eq!(
        (&new_block[1], &new_block[8]),
        (&json!("22".repeat(32)), &json!(true))
    );
    assert_eq!(bob.notify().await[8], true);
    assert_eq!(bob.notify().await[8], false, "job 4 is bob's");
    assert_eq!(alice.call("mining.ping", json!([])).await["result"], "pong");
    let status = translator.status().await;
    assert_eq!((status.connections, status.miners.len()), (2, 2));
    translator.stop().await;
}

#[tokio::test]
async fn a_notify_carries_what_the_job_has() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (_miner, notify) = translator.mining(&mut upstream, "alice").await;
    assert!(
        notify[2]
            .as_str()
            .unwrap()
            .starts_with(&hex::encode(COINBASE_PREFIX))
    );
    assert_eq!(notify[3], hex::encode(COINBASE_SUFFIX));
    assert_eq!(notify[4], json!(MERKLE_PATH.map(hex::encode)));
    assert_eq!(notify[5], format!("{VERSION:08x}"));
    translator.stop().await;
}

#[tokio::test]
async fn a_new_difficulty_comes_with_the_next_job_and_the_old_job_keeps_its_own() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, easy) = translator.mining(&mut upstream, "alice").await;
    let hard = Target::from_difficulty(4096.0);
    let set_target = SetTarget {
        channel_id: 1,
        maximum_target: hard.to_le_bytes().into(),
    };
    upstream.send([set_target.into()]).await;
    upstream.send([job_now(1, 2)]).await;
    let (method, params) = miner.notification().await;
    assert_eq!(
        (method.as_str(), params),
        ("mining.set_difficulty", json!([4096]))
    );
    let hard = miner.notify().await;

    miner.submit(json!(10), "alice", &hard, 1).await;
    assert_eq!(
        error_code(&miner.answer().await),
        23,
        "by its own job's difficulty"
    );
    miner.submit(json!(11), "alice", &easy, 2).await;
    let share = upstream.recv_share().await;
    assert_eq!(share.job_id, 1);
    upstream.settle(1, share.sequence_number, 1).await;
    assert_eq!(miner.answer().await["result"], true);
    translator.stop().await;
}

#[tokio::test]
async fn a_new_extranonce_prefix_is_in_the_next_job_and_the_old_job_keeps_its_own() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, old) = translator.mining(&mut upstream, "alice").await;
    let set_prefix = SetExtranoncePrefix {
        channel_id: 1,
        extranonce_prefix: vec![0xF7; 8].try_into().unwrap(),
    };
    upstream.send([set_prefix.into(), job_now(1, 2)]).await;
    let new = miner.notify().await;
    assert!(new[2].as_str().unwrap().ends_with(&"f7".repeat(8)));
    miner.submit(json!(1), "alice", &old, 1).await;
    assert_eq!(upstream.recv_share().await.job_id, 1);
    miner.submit(json!(2), "alice", &new, 1).await;
    assert_eq!(upstream.recv_share().await.job_id, 2);
    translator.stop().await;
}

#[tokio::test]
async fn version_rolling_is_granted_and_taken_back_as_the_jobs_say() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    let extensions = json!([["version-rolling"], { "version-rolling.mask": "1fffe000" }]);
    let answer = miner.call("mining.configure", extensions.clone()).await;
    assert_eq!(answer["result"]["version-rolling.mask"], "1fffe000");
    miner.begin("alice").await;
    upstream.open().await;
    miner.authorized().await;
    let rolling = miner.notify().await;

    let mut share = json!([
        "alice",
        rolling[0],
        "00000000000001",
        rolling[7],
        "00000001",
        "00ffe000"
    ]);
    miner.send(json!(1), "mining.submit", share.clone()).await;
    assert_eq!(upstream.recv_share().await.version, VERSION | 0x00ff_e000);
    share[5] = json!("00000020");
    assert_eq!(
        error_code(&miner.call("mining.submit", share.clone()).await),
        20,
        "outside the mask"
    );

    upstream.send([job(1, 2, Some(NTIME), false).into()]).await;
    let fixed = loop {
        let (method, params) = miner.notification().await;
        if params == json!(["00000000"]) {
            assert_eq!(method, "mining.set_version_mask");
            break miner.notify().await;
        }
    };
    share = json!([
        "alice",
        fixed[0],
        "00000000000001",
        fixed[7],
        "00000001",
        "00ffe000"
    ]);
    assert_eq!(
        error_code(&miner.call("mining.submit", share.clone()).await),
        20,
        "nothing may be rolled now"
    );
    share[5] = json!("00000000");
    miner.send(json!(2), "mining.submit", share).await;
    assert_eq!(upstream.recv_share().await.version, VERSION);

    let mut other = translator.miner().await;
    let answer = other.call("mining.configure", extensions).await;
    let nothing = json!({ "version-rolling.mask": "00000000", "version-rolling": false });
    assert_eq!(answer["result"], nothing, "the pool is known to forbid it");
    translator.stop().await;
}

#[tokio::test]
async fn a_channel_that_the_pool_closes_ends_its_miners_connection_and_no_other() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut alice, _) = translator.mining(&mut upstream, "alice").await;
    let (mut bob, _) = translator.mining(&mut upstream, "bob").await;
    let close = |channel_id| CloseChannel {
        channel_id,
        reason_code: "account-frozen".try_into().unwrap(),
    };
    upstream.send([close(1).into()]).await;
    alice.closed().await;
    assert_eq!(bob.call("mining.ping", json!([])).await["result"], "pong");
    upstream.send([close(GROUP).into()]).await;
    bob.closed().await;
    translator.stop().await;
}

#[tokio::test]
async fn a_channel_that_is_moved_to_another_group_gets_that_groups_jobs() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    let group = SetGroupChannel {
        group_channel_id: 2000,
        channel_ids: vec![1].try_into().unwrap(),
    };
    upstream
        .send([group.into(), job_now(GROUP, 2), job_now(2000, 3)])
        .await;
    let notify = miner.notify().await;
    miner.submit(json!(1), "alice", &notify, 1).await;
    assert_eq!(upstream.recv_share().await.job_id, 3);
    translator.stop().await;
}

#[tokio::test]
async fn a_miner_that_leaves_gives_its_channel_back() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (miner, notify) = translator.mining(&mut upstream, "alice").await;
    assert_ne!(notify, Value::Null);
    drop(miner);
    let hh_sv2::Message::CloseChannel(close) = upstream.recv().await else {
        panic!("the channel is closed");
    };
    assert_eq!(close.channel_id, 1);
    translator
        .wait_for_status("nobody is left", |status| status.connections == 0)
        .await;
    translator.stop().await;
}
