//! The pool goes away, comes late, comes back, or is another one.

use crate::miner::error_code;
use crate::pool::{Pool, prefix};
use crate::translator::Translator;
use hh_ipc::api::LinkState;
use hh_mining::Target;
use hh_sv2::AuthoritySecretKey;
use serde_json::json;

#[tokio::test]
async fn the_loss_of_the_pool_settles_nothing_and_keeps_every_miner() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, old) = translator.mining(&mut upstream, "alice").await;
    for number in 1..=3 {
        miner.submit(json!(number), "alice", &old, number).await;
        upstream.recv_share().await;
    }
    upstream.settle(1, 1, 1).await;
    assert_eq!(miner.answer().await["result"], true);
    drop(upstream);
    for id in 2..=3 {
        let answer = miner.answer().await;
        assert_eq!((error_code(&answer), &answer["id"]), (20, &json!(id)));
        assert!(
            answer["error"][1]
                .as_str()
                .unwrap()
                .contains("before it settled the share"),
            "{answer}"
        );
    }
    miner.submit(json!(4), "alice", &old, 4).await;
    assert_eq!(
        error_code(&miner.answer().await),
        20,
        "there is nobody to send it to"
    );

    let mut upstream = pool.accept().await;
    let open = upstream.recv_open().await;
    assert_eq!(open.user_identity.as_bytes(), b"alice");
    let channel_id = upstream.grant(&open, Target::MAX).await;
    upstream
        .send([
            crate::pool::future_job(channel_id, 9),
            crate::pool::tip(channel_id, 9, 0x33),
        ])
        .await;
    let new = miner.notify().await;
    assert_eq!(new[8], true, "all earlier work is void");
    assert!(
        new[2]
            .as_str()
            .unwrap()
            .ends_with(&hex::encode(prefix(channel_id)))
    );
    miner.submit(json!(5), "alice", &old, 5).await;
    assert_eq!(error_code(&miner.answer().await), 21);
    miner.submit(json!(6), "alice", &new, 1).await;
    let share = upstream.recv_share().await;
    assert_eq!((share.channel_id, share.job_id), (channel_id, 9));
    upstream.settle(channel_id, share.sequence_number, 1).await;
    assert_eq!(miner.answer().await["result"], true);

    let status = translator.status().await;
    assert_eq!(
        (
            status.shares.accepted,
            status.shares_unsettled,
            status.shares_in_flight
        ),
        (2, 2, 0)
    );
    assert_eq!(status.upstreams[0].state, LinkState::Up);
    assert!(
        status.upstreams[0].last_error.is_some(),
        "of the time before"
    );
    translator.stop().await;
}

#[tokio::test]
async fn the_next_channel_starts_from_the_difficulty_of_the_last() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    miner.begin("alice").await;
    upstream.open_at(Target::from_difficulty(4096.0)).await;
    miner.authorized().await;
    drop(upstream);
    let mut upstream = pool.accept().await;
    let hashrate = f64::from(upstream.recv_open().await.nominal_hash_rate);
    let expected = Target::from_difficulty(4096.0).hashrate(18.0);
    assert!(
        (hashrate / expected - 1.0).abs() < 1e-3,
        "{hashrate} for {expected}"
    );
    translator.stop().await;
}

#[tokio::test]
async fn miners_may_come_before_the_pool_does() {
    let address = Pool::start().await.address();
    let secret = AuthoritySecretKey::generate();
    let translator = Translator::start_with(address, secret.public_key()).await;
    let mut miner = translator.miner().await;
    miner.begin("alice.rig1").await;
    let down = |status: &hh_ipc::api::translator::TranslatorStatus| {
        status.upstreams[0]
            .last_error
            .as_ref()
            .is_some_and(|error| error.contains("cannot connect"))
    };
    translator
        .wait_for_status("the pool is seen to be away", down)
        .await;
    let pool = Pool::at(address, secret).await;
    let mut upstream = pool.accept().await;
    upstream.open().await;
    miner.authorized().await;
    miner.notify().await;
    translator.stop().await;
}

#[tokio::test]
async fn a_pool_with_another_key_is_named_as_that_and_tried_again() {
    let pool = Pool::start().await;
    let other = AuthoritySecretKey::generate().public_key();
    let translator = Translator::start_with(pool.address(), other).await;
    pool.accept_failing().await;
    let named = |status: &hh_ipc::api::translator::TranslatorStatus| {
        let error = status.upstreams[0]
            .last_error
            .as_deref()
            .unwrap_or_default();
        error.contains("authority key is not the configured one")
            && error.contains(&other.to_string())
    };
    translator.wait_for_status("the key is named", named).await;
    pool.accept_failing().await;
    translator.stop().await;
}

#[tokio::test]
async fn a_channel_that_is_refused_on_reconnect_ends_its_miners_connection() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    drop(upstream);
    let mut upstream = pool.accept().await;
    let open = upstream.recv_open().await;
    upstream.refuse(&open, "unknown-user").await;
    miner.closed().await;
    translator.stop().await;
}
