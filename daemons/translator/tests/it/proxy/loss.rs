//! The pool goes away, and comes back as another one: the miner's connection and its channels stay.

use super::client::{Client, accepted, extended_share, refused, standard_share};
use super::mining;
use crate::pool::{Pool, future_job, prefix, tip};
use crate::translator::{Translator, upstream_config};
use hh_mining::Target;
use hh_sv2::Message;
use hh_sv2::message::{CloseChannel, OpenExtendedMiningChannelSuccess, Reconnect};

#[tokio::test]
async fn shares_that_the_pool_never_settled_are_refused_and_the_channel_goes_on_with_another_prefix()
 {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let mut upstream = pool.accept().await;
    let (mut client, id, old_job) = Client::mining(&translator, &mut upstream).await;
    for number in 1..=3 {
        client
            .send(extended_share(id, old_job, number, number))
            .await;
        upstream.recv_share().await;
    }
    upstream.settle(1, 1, 1).await;
    assert_eq!(client.verdict().await, accepted(1, 1));
    drop(upstream);
    for number in 2..=3 {
        assert_eq!(client.verdict().await, refused(number, "upstream-lost"));
    }
    client.send(extended_share(id, old_job, 4, 4)).await;
    assert_eq!(client.verdict().await, refused(4, "no-upstream"));

    let mut upstream = pool.accept().await;
    let open = upstream.recv_open().await;
    assert_eq!(open.user_identity.as_bytes(), b"alice.rig1");
    // Another number, and so another prefix, than the channel before.
    upstream.grant_next(&open, Target::MAX, 7).await;
    upstream.send([future_job(7, 1), tip(7, 1, 0x33)]).await;
    let Message::SetExtranoncePrefix(message) = client.recv().await else {
        panic!("no prefix");
    };
    assert_eq!(
        (message.channel_id, message.extranonce_prefix.as_bytes()),
        (id, &prefix(7)[..])
    );
    let new_job = client.first_job().await;
    assert_ne!(new_job, old_job, "the ids of the pool may come again");
    client.send(extended_share(id, old_job, 5, 5)).await;
    assert_eq!(client.verdict().await, refused(5, "stale-share"));
    client.send(extended_share(id, new_job, 6, 1)).await;
    let share = upstream.recv_share().await;
    assert_eq!((share.channel_id, share.job_id), (7, 1));
    upstream.settle(7, share.sequence_number, 1).await;
    assert_eq!(client.verdict().await, accepted(6, 1));

    let status = translator.status().await;
    assert_eq!(
        (
            status.shares.accepted,
            status.shares_unsettled,
            status.shares_in_flight
        ),
        (2, 2, 0)
    );
    translator.stop().await;
}

#[tokio::test]
async fn a_standard_channel_goes_on_with_new_jobs_and_hears_of_no_prefix() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let mut upstream = pool.accept().await;
    let mut client = Client::connect(&translator, 0).await;
    client.ask_standard("bob").await;
    upstream.open().await;
    let Message::OpenStandardMiningChannelSuccess(opened) = client.recv().await else {
        panic!("not opened");
    };
    client.first_job().await;
    drop(upstream);
    let mut upstream = pool.accept().await;
    let open = upstream.recv_open().await;
    upstream.grant_next(&open, Target::MAX, 7).await;
    upstream.send([future_job(7, 1), tip(7, 1, 0x33)]).await;
    let job_id = client.first_job().await;
    client
        .send(standard_share(opened.channel_id, job_id, 1, 1))
        .await;
    let share = upstream.recv_share().await;
    upstream.settle(7, share.sequence_number, 1).await;
    assert_eq!(client.verdict().await, accepted(1, 1));
    translator.stop().await;
}

/// What a miner was told to roll it rolls for ever: zeros make up for what another pool gives beyond.
#[tokio::test]
async fn a_pool_with_more_room_is_mined_for_and_one_with_less_closes_the_channel() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let mut upstream = pool.accept().await;
    let (mut client, id, _) = Client::mining(&translator, &mut upstream).await;
    for (extranonce_size, padding) in [(10, Some(2)), (7, None)] {
        drop(upstream);
        upstream = pool.accept().await;
        let open = upstream.recv_open().await;
        let granted = OpenExtendedMiningChannelSuccess {
            request_id: open.request_id,
            channel_id: 7,
            target: Target::MAX.to_le_bytes().into(),
            extranonce_size,
            extranonce_prefix: vec![0xdd; 4].try_into().unwrap(),
            group_channel_id: crate::pool::GROUP,
        };
        upstream
            .send([granted.into(), future_job(7, 1), tip(7, 1, 0x33)])
            .await;
        let Some(padding) = padding else {
            break;
        };
        let Message::SetExtranoncePrefix(message) = client.recv().await else {
            panic!("no prefix");
        };
        let told = [&[0xdd; 4][..], &vec![0; padding]].concat();
        assert_eq!(message.extranonce_prefix.as_bytes(), told);
        let job_id = client.first_job().await;
        client.send(extended_share(id, job_id, 1, 1)).await;
        let rolled = [&vec![0; padding][..], &[5; 8]].concat();
        assert_eq!(upstream.recv_share().await.extranonce.as_bytes(), rolled);
        upstream.settle(7, 1, 1).await;
        assert_eq!(client.verdict().await, accepted(1, 1));
    }
    let Message::CloseChannel(close) = client.recv().await else {
        panic!("not closed");
    };
    assert_eq!(close.channel_id, id);
    assert!(matches!(upstream.recv().await, Message::CloseChannel(_)));
    client.ask_extended("alice").await;
    upstream.open().await;
    client.opened().await;
    translator.stop().await;
}

#[tokio::test]
async fn a_channel_that_the_pool_closes_or_does_not_open_again_is_closed_with_its_reason() {
    let (translator, mut upstream, mut client, id, job_id) = mining().await;
    client.send(extended_share(id, job_id, 1, 1)).await;
    upstream.recv_share().await;
    let close = CloseChannel {
        channel_id: 1,
        reason_code: "closed-by-operator".try_into().unwrap(),
    };
    upstream.send([close.into()]).await;
    assert_eq!(client.verdict().await, refused(1, "upstream-lost"));
    let Message::CloseChannel(closed) = client.recv().await else {
        panic!("not closed");
    };
    assert_eq!(
        (closed.channel_id, closed.reason_code.as_utf8_or_hex()),
        (id, "closed-by-operator".to_owned())
    );
    client.send(extended_share(id, job_id, 2, 2)).await;
    assert_eq!(client.verdict().await, refused(2, "invalid-channel-id"));
    let status = translator.status().await;
    assert_eq!(
        (
            status.shares_unsettled,
            status.shares_in_flight,
            status.miners.len()
        ),
        (1, 0, 0)
    );
    translator.stop().await;
}

#[tokio::test]
async fn a_miner_may_ask_for_its_channel_before_there_is_a_pool() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let silent = pool.accept_silently().await;
    let mut client = Client::connect(&translator, 0).await;
    client.ask_extended("alice").await;
    translator
        .wait_for_status("the channel is listed", |status| status.miners.len() == 1)
        .await;
    drop(silent);
    let mut upstream = pool.accept().await;
    upstream.open().await;
    client.opened().await;
    client.first_job().await;
    translator.stop().await;
}

#[tokio::test]
async fn what_waits_when_a_miner_leaves_is_counted_and_its_channel_given_back() {
    let (translator, mut upstream, mut client, id, job_id) = mining().await;
    client.send(extended_share(id, job_id, 1, 1)).await;
    upstream.recv_share().await;
    drop(client);
    let Message::CloseChannel(close) = upstream.recv().await else {
        panic!("not closed");
    };
    assert_eq!(close.channel_id, 1);
    translator
        .wait_for_status("nothing is left of it", |status| {
            (
                status.connections,
                status.shares_in_flight,
                status.shares_unsettled,
            ) == (0, 0, 1)
        })
        .await;
    translator.stop().await;
}

/// The pool that is left settles its own shares, and the miner is told in the order in which it sent them.
#[tokio::test]
async fn a_miner_that_is_moved_to_another_pool_loses_no_share_and_hears_nothing_too_early() {
    let (first, second) = (Pool::start().await, Pool::start().await);
    let second_config = upstream_config(&second);
    let translator = Translator::start_sv2(&first, |config| {
        config.upstreams.push(second_config);
    })
    .await;
    let mut old_pool = first.accept().await;
    let (mut client, id, old_job) = Client::mining(&translator, &mut old_pool).await;
    client.send(extended_share(id, old_job, 1, 1)).await;
    old_pool.recv_share().await;
    let at = second.address();
    let reconnect = Reconnect {
        new_host: at.ip().to_string().as_str().try_into().unwrap(),
        new_port: at.port(),
    };
    old_pool.send([reconnect.into()]).await;
    let mut new_pool = second.accept().await;
    let open = new_pool.recv_open().await;
    new_pool.grant_next(&open, Target::MAX, 7).await;
    new_pool.send([future_job(7, 1), tip(7, 1, 0x33)]).await;
    let Message::SetExtranoncePrefix(message) = client.recv().await else {
        panic!("no prefix");
    };
    assert_eq!(message.extranonce_prefix.as_bytes(), prefix(7));
    let new_job = client.first_job().await;

    // One that was under way when the new job came is work for the old pool.
    client.send(extended_share(id, old_job, 2, 2)).await;
    assert_eq!(old_pool.recv_share().await.channel_id, 1);
    client.send(extended_share(id, new_job, 3, 1)).await;
    let third = new_pool.recv_share().await;
    new_pool.settle(7, third.sequence_number, 1).await;
    // A success for the third would be taken for the two before it.
    translator
        .wait_for_status("the third is accepted", |status| {
            status.shares.accepted == 1
        })
        .await;
    old_pool.reject(1, 1, "stale-share").await;
    assert_eq!(client.verdict().await, refused(1, "stale-share"));
    old_pool.settle(1, 2, 1).await;
    assert_eq!(client.verdict().await, accepted(3, 2));
    let status = translator.status().await;
    assert_eq!(
        (
            status.shares.accepted,
            status.shares_unsettled,
            status.shares_in_flight
        ),
        (2, 0, 0)
    );
    translator.stop().await;
}
