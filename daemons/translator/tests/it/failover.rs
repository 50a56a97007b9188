//! Several upstreams: away from the one that is gone, back to the one that is preferred, and what becomes of shares meanwhile.

use crate::miner::error_code;
use crate::pool::{EXTRANONCE_SIZE, Pool, PoolConnection, prefix};
use crate::translator::Translator;
use hh_ipc::api::LinkState;
use hh_mining::Target;
use hh_sv2::AuthoritySecretKey;
use hh_sv2::message::{CloseChannel, Reconnect, Seq064K, SetExtranoncePrefix, SetGroupChannel};
use serde_json::json;

async fn send_reconnect(upstream: &mut PoolConnection, host: &str, port: u16) {
    let reconnect = Reconnect {
        new_host: host.try_into().unwrap(),
        new_port: port,
    };
    upstream.send([reconnect.into()]).await;
}

#[tokio::test]
async fn a_miner_is_moved_to_the_next_upstream_at_once_and_keeps_its_connection() {
    let (first, second) = (Pool::start().await, Pool::start().await);
    let translator = Translator::start_with_all(&[&first, &second]).await;
    let mut upstream = first.accept().await;
    let (mut miner, old) = translator.mining(&mut upstream, "alice").await;
    miner.submit(json!(1), "alice", &old, 1).await;
    upstream.recv_share().await;
    drop((upstream, first));
    assert_eq!(error_code(&miner.answer().await), 20, "never settled");

    let mut upstream = second.accept().await;
    let channel_id = upstream.open_with(9, 0x33).await;
    let new = miner.notify().await;
    assert_eq!(new[8], true, "all earlier work is void");
    miner.submit(json!(2), "alice", &new, 1).await;
    let share = upstream.recv_share().await;
    upstream.settle(channel_id, share.sequence_number, 1).await;
    assert_eq!(miner.answer().await["result"], true);
    let status = translator.status().await;
    assert_eq!((status.shares.accepted, status.shares_unsettled), (1, 1));
    translator.stop().await;
}

#[tokio::test]
async fn an_upstream_that_refuses_the_setup_is_shown_with_its_reason_and_the_next_one_is_used() {
    let (first, second) = (Pool::start().await, Pool::start().await);
    let translator = Translator::start_with_all(&[&first, &second]).await;
    first.accept_refusing().await;
    let mut upstream = second.accept().await;
    let (_miner, _) = translator.mining(&mut upstream, "alice").await;
    let refused = |status: &hh_ipc::api::translator::TranslatorStatus| {
        let error = status.upstreams[0].last_error.as_deref();
        error.is_some_and(|error| error.contains("unsupported-protocol"))
            && status.upstreams[1].state == LinkState::Up
    };
    let what = "the reason of the first, and the second in use";
    translator.wait_for_status(what, refused).await;
    translator.stop().await;
}

#[tokio::test]
async fn miners_go_back_to_the_preferred_upstream_and_no_share_of_the_old_one_is_lost() {
    let secret = AuthoritySecretKey::generate();
    let first_address = Pool::start().await.address();
    let second = Pool::start().await;
    let translator = Translator::start_as(&second, |config| {
        config.return_after_seconds = 1;
        config.upstreams.insert(
            0,
            hh_translator::config::UpstreamConfig {
                address: first_address.to_string(),
                authority_public_key: secret.public_key(),
            },
        );
    })
    .await;
    let mut old_pool = second.accept().await;
    let (mut miner, old) = translator.mining(&mut old_pool, "alice").await;
    miner.submit(json!(1), "alice", &old, 1).await;
    let first_share = old_pool.recv_share().await;

    let first = Pool::at(first_address, secret).await;
    let mut new_pool = first.accept().await;
    // Its channel has another id than that of the old pool.
    new_pool.skip_channel_id();
    let channel_id = new_pool.open_with(9, 0x33).await;
    let new = miner.notify().await;
    assert_eq!(new[8], true, "the other pool's work drops all that is out");
    assert!(
        new[2]
            .as_str()
            .unwrap()
            .ends_with(&hex::encode(prefix(channel_id)))
    );

    // A share that was under way to the miner's socket is still the old pool's, and both are settled by it.
    miner.submit(json!(2), "alice", &old, 2).await;
    let second_share = old_pool.recv_share().await;
    assert_eq!((second_share.channel_id, second_share.job_id), (1, 1));
    miner.submit(json!(3), "alice", &new, 1).await;
    let third_share = new_pool.recv_share().await;
    assert_eq!(
        (third_share.channel_id, third_share.job_id),
        (channel_id, 9)
    );
    old_pool
        .reject(1, first_share.sequence_number, "stale-share")
        .await;
    old_pool.settle(1, second_share.sequence_number, 1).await;
    assert_eq!(error_code(&miner.answer().await), 21);
    let answer = miner.answer().await;
    assert_eq!(
        (&answer["id"], &answer["result"]),
        (&json!(2), &json!(true))
    );
    new_pool
        .settle(channel_id, third_share.sequence_number, 1)
        .await;
    let answer = miner.answer().await;
    assert_eq!(
        (&answer["id"], &answer["result"]),
        (&json!(3), &json!(true))
    );
    translator.stop().await;
}

#[tokio::test]
async fn the_work_of_an_upstream_that_is_being_left_reaches_nobody_that_has_moved() {
    let (first, second) = (Pool::start().await, Pool::start().await);
    let translator = Translator::start_with_all(&[&first, &second]).await;
    let mut old_pool = first.accept().await;
    let (mut miner, _) = translator.mining(&mut old_pool, "alice").await;
    let second_at = second.address();
    send_reconnect(&mut old_pool, &second_at.ip().to_string(), second_at.port()).await;
    let mut new_pool = second.accept().await;
    // Its channel has another id than that of the old pool.
    new_pool.skip_channel_id();
    let open = new_pool.recv_open().await;
    // Until there is a new channel the old one goes on.
    old_pool.send([crate::pool::job_now(1, 2)]).await;
    assert_eq!(miner.notify().await[8], false);
    let channel_id = new_pool.grant(&open, Target::MAX).await;
    let work = [
        crate::pool::future_job(channel_id, 9),
        crate::pool::tip(channel_id, 9, 0x33),
    ];
    new_pool.send(work).await;
    let new = miner.notify().await;
    assert!(
        new[2]
            .as_str()
            .unwrap()
            .ends_with(&hex::encode(prefix(channel_id)))
    );
    old_pool
        .send([crate::pool::job_now(1, 3), crate::pool::tip(1, 3, 0x44)])
        .await;
    new_pool.send([crate::pool::job_now(channel_id, 10)]).await;
    let newest = miner.notify().await;
    assert_eq!((&newest[1], &newest[8]), (&new[1], &json!(false)));
    translator.stop().await;
}

#[tokio::test]
async fn a_pool_may_send_us_to_its_own_host_and_to_configured_ones_only() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    let elsewhere = Pool::start().await;
    send_reconnect(&mut upstream, "localhost", elsewhere.address().port()).await;
    // The configured address it is, though the other pool listens.
    let mut upstream = pool.accept().await;
    upstream.open().await;
    assert_eq!(miner.notify().await[8], true);
    send_reconnect(&mut upstream, "", 0).await;
    let mut upstream = pool.accept().await;
    upstream.open().await;
    assert_eq!(miner.notify().await[8], true);
    translator.stop().await;
}

#[tokio::test]
async fn a_new_prefix_is_a_new_job_and_the_older_job_keeps_its_own() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, old) = translator.mining(&mut upstream, "alice").await;
    let new_prefix = SetExtranoncePrefix {
        channel_id: 1,
        extranonce_prefix: [0xB7; 8].to_vec().try_into().unwrap(),
    };
    upstream
        .send([new_prefix.into(), crate::pool::job_now(1, 2)])
        .await;
    let new = miner.notify().await;
    assert!(new[2].as_str().unwrap().ends_with(&hex::encode([0xB7; 8])));
    assert_eq!(new[8], false, "older jobs are good");
    for (id, notify, job_id) in [(1, &old, 1), (2, &new, 2)] {
        miner.submit(json!(id), "alice", notify, id).await;
        let share = upstream.recv_share().await;
        assert_eq!(share.job_id, job_id);
        assert_eq!(
            share.extranonce.as_bytes().len(),
            usize::from(EXTRANONCE_SIZE)
        );
        upstream.settle(1, share.sequence_number, 1).await;
        assert_eq!(miner.answer().await["result"], true);
    }
    translator.stop().await;
}

#[tokio::test]
async fn a_channel_that_the_pool_closes_ends_its_miner_and_no_other() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut closed, _) = translator.mining(&mut upstream, "alice").await;
    let (mut kept, _) = translator.mining(&mut upstream, "bob").await;
    let close = CloseChannel {
        channel_id: 1,
        reason_code: "by-operator".try_into().unwrap(),
    };
    upstream.send([close.into()]).await;
    closed.closed().await;
    upstream.send([crate::pool::job_now(2, 2)]).await;
    kept.notify().await;
    translator.stop().await;
}

#[tokio::test]
async fn a_channel_that_is_put_into_another_group_hears_that_one() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    let (mut other, _) = translator.mining(&mut upstream, "bob").await;
    let group = SetGroupChannel {
        group_channel_id: 2000,
        channel_ids: Seq064K::new(vec![1]).unwrap(),
    };
    upstream
        .send([
            group.into(),
            crate::pool::job_now(crate::pool::GROUP, 2),
            crate::pool::job_now(2000, 3),
        ])
        .await;
    let notify = miner.notify().await;
    other.notify().await;
    miner.submit(json!(1), "alice", &notify, 1).await;
    assert_eq!(upstream.recv_share().await.job_id, 3);
    translator.stop().await;
}
