//! SV2 miners on a lane: what each end hears of what the other says.

pub(crate) mod client;
mod extensions;
mod hostile;
mod loss;

use crate::DEADLINE;
use crate::pool::{
    COINBASE_PREFIX, COINBASE_SUFFIX, EXTRANONCE_SIZE, MERKLE_PATH, NTIME, Pool, PoolConnection,
    VERSION, future_job, job, job_now, prefix, tip,
};
use crate::translator::Translator;
use client::{Client, REQUEST, accepted, extended_share, open_extended, refused, standard_share};
use hh_ipc::api::translator::{DownstreamSelector, KickDownstreams};
use hh_ipc::client::within;
use hh_mining::{Target, merkle_root_of};
use hh_sv2::Message;
use hh_sv2::message::{
    CloseChannel, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION,
    SetExtranoncePrefix, SetTarget, UpdateChannel, UpdateChannelError,
};
use hh_sv2::setup::SetupError;

/// A translator with an SV2 lane, its connection to the pool, and a miner that is set up.
async fn start(flags: u32) -> (Translator, PoolConnection, Client) {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let upstream = pool.accept().await;
    let client = Client::connect(&translator, flags).await;
    (translator, upstream, client)
}

/// The same with an extended channel that has its first job: the miner's channel and job.
async fn mining() -> (Translator, PoolConnection, Client, u32, u32) {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let mut upstream = pool.accept().await;
    let (client, channel_id, job_id) = Client::mining(&translator, &mut upstream).await;
    (translator, upstream, client, channel_id, job_id)
}

#[tokio::test]
async fn an_extended_channel_is_one_of_the_pools_with_its_work() {
    let (translator, mut upstream, mut client) = start(REQUIRES_VERSION_ROLLING).await;
    client.ask_extended("alice.rig1").await;
    let open = upstream.recv_open().await;
    assert_eq!(open.user_identity.as_bytes(), b"alice.rig1");
    assert_eq!(open.min_extranonce_size, 4);
    let target = Target::from_le_bytes([0xfe; 32]);
    let upstream_id = upstream.grant(&open, target).await;
    upstream
        .send([future_job(upstream_id, 41), tip(upstream_id, 41, 0x11)])
        .await;
    let opened = client.opened().await;
    assert_eq!(opened.request_id, REQUEST);
    assert_eq!(opened.target.to_array(), target.to_le_bytes());
    assert_eq!(opened.extranonce_prefix.as_bytes(), prefix(upstream_id));
    assert_eq!(opened.extranonce_size, EXTRANONCE_SIZE);
    assert_ne!(opened.group_channel_id, opened.channel_id);
    let Message::NewExtendedMiningJob(future) = client.recv().await else {
        panic!("no job");
    };
    assert_eq!(future.channel_id, opened.channel_id);
    assert!(future.min_ntime.as_ref().is_none());
    assert_eq!(future.coinbase_tx_prefix.as_bytes(), COINBASE_PREFIX);
    assert_eq!(future.coinbase_tx_suffix.as_bytes(), COINBASE_SUFFIX);
    assert_eq!(future.merkle_path.len(), MERKLE_PATH.len());
    assert!(future.version_rolling_allowed);
    let Message::SetNewPrevHash(tip) = client.recv().await else {
        panic!("no tip");
    };
    assert_eq!(
        (
            tip.channel_id,
            tip.job_id,
            tip.prev_hash.to_array(),
            tip.min_ntime
        ),
        (opened.channel_id, future.job_id, [0x11; 32], NTIME)
    );
    translator.stop().await;
}

#[tokio::test]
async fn a_share_is_the_pools_to_accept_and_has_the_numbers_of_each_end() {
    let (translator, mut upstream, mut client, id, job_id) = mining().await;
    let share = extended_share(id, job_id, 1000, 7);
    client.send(share.clone()).await;
    let forwarded = upstream.recv_share().await;
    assert_eq!(
        (
            forwarded.channel_id,
            forwarded.sequence_number,
            forwarded.job_id
        ),
        (1, 1, 1)
    );
    assert_eq!(
        (forwarded.nonce, forwarded.ntime, forwarded.version),
        (7, NTIME, VERSION)
    );
    assert_eq!(forwarded.extranonce, share.extranonce);
    let in_flight = translator.status().await;
    assert_eq!(
        (in_flight.shares.accepted, in_flight.shares_in_flight),
        (0, 1)
    );
    upstream.settle(1, 1, 1).await;
    assert_eq!(client.verdict().await, accepted(1000, 1));

    let status = translator.status().await;
    assert_eq!((status.shares.accepted, status.shares_in_flight), (1, 0));
    let miner = &status.miners[0];
    assert_eq!(status.miners.len(), 1, "{:?}", status.miners);
    assert_eq!(
        (
            &*miner.user_name,
            &*miner.protocol,
            &*miner.user_agent,
            miner.shares.accepted
        ),
        ("alice.rig1", "sv2", "maker model 1.0", 1)
    );
    assert!(miner.version_rolling && miner.difficulty > 0.0);
    translator.stop().await;
}

#[tokio::test]
async fn a_standard_channel_is_an_extended_one_of_the_pools_with_nothing_left_to_roll() {
    let (translator, mut upstream, mut client) = start(REQUIRES_STANDARD_JOBS).await;
    client.ask_standard("bob").await;
    let open = upstream.recv_open().await;
    assert_eq!(open.min_extranonce_size, 0);
    let upstream_id = upstream.grant(&open, Target::MAX).await;
    upstream
        .send([future_job(upstream_id, 3), tip(upstream_id, 3, 0x11)])
        .await;
    let Message::OpenStandardMiningChannelSuccess(opened) = client.recv().await else {
        panic!("not opened");
    };
    let extranonce = [&prefix(upstream_id)[..], &[0; EXTRANONCE_SIZE as usize]].concat();
    assert_eq!(opened.extranonce_prefix.as_bytes(), extranonce);
    assert_eq!(opened.group_channel_id, 0, "it takes standard jobs only");
    let Message::NewMiningJob(job) = client.recv().await else {
        panic!("no job");
    };
    let root = merkle_root_of(
        &COINBASE_PREFIX,
        &extranonce,
        &COINBASE_SUFFIX,
        &MERKLE_PATH,
    );
    assert_eq!(job.merkle_root.to_array(), root);
    assert_eq!(client.first_job().await, job.job_id);

    client
        .send(standard_share(opened.channel_id, job.job_id, 5, 9))
        .await;
    let forwarded = upstream.recv_share().await;
    assert_eq!(
        forwarded.extranonce.as_bytes(),
        [0; EXTRANONCE_SIZE as usize]
    );
    assert_eq!((forwarded.job_id, forwarded.nonce), (3, 9));
    upstream.settle(upstream_id, 1, 1).await;
    assert_eq!(client.verdict().await, accepted(5, 1));

    client.ask_extended("bob").await;
    let Message::OpenMiningChannelError(error) = client.recv().await else {
        panic!("opened");
    };
    assert_eq!(
        error.error_code.as_utf8_or_hex(),
        "extended-channels-not-supported-for-standard-jobs"
    );
    translator.stop().await;
}

#[tokio::test]
async fn what_the_lane_can_not_do_is_refused_at_setup_with_its_flags() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let flags = REQUIRES_WORK_SELECTION | REQUIRES_VERSION_ROLLING;
    let refusal = Client::try_connect(&translator, flags).await.err();
    let Some(SetupError::RefusedByServer { code, flags, .. }) = refusal else {
        panic!("{refusal:?}");
    };
    assert_eq!(
        (code.as_str(), flags),
        ("unsupported-feature-flags", REQUIRES_WORK_SELECTION)
    );
    translator.stop().await;
}

#[tokio::test]
async fn several_channels_have_their_own_work_and_a_limit() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |config| {
        config.limits.max_channels_per_connection = 2;
    })
    .await;
    let mut upstream = pool.accept().await;
    let mut client = Client::connect(&translator, 0).await;
    let mut channels = Vec::new();
    for name in ["alice.rig1", "bob.rig2"] {
        client.ask_extended(name).await;
        let upstream_id = upstream.open().await;
        let id = client.opened().await.channel_id;
        channels.push((upstream_id, id, client.first_job().await));
    }
    client.ask_extended("carol").await;
    let Message::OpenMiningChannelError(error) = client.recv().await else {
        panic!("opened");
    };
    assert_eq!(
        error.error_code.as_utf8_or_hex(),
        "channel-capacity-exhausted"
    );

    // The same share on both is two: each is another header.
    for &(upstream_id, id, job_id) in &channels {
        client.send(extended_share(id, job_id, 1, 1)).await;
        assert_eq!(upstream.recv_share().await.channel_id, upstream_id);
    }
    for &(upstream_id, ..) in channels.iter().rev() {
        upstream.settle(upstream_id, 1, 1).await;
        assert_eq!(client.verdict().await, accepted(1, 1));
    }
    let status = translator.status().await;
    let users: Vec<&str> = status.miners.iter().map(|m| &*m.user_name).collect();
    assert_eq!(users, ["alice.rig1", "bob.rig2"]);
    assert_eq!(status.connections, 1);

    // One that is closed makes room, and the pool hears of it.
    let (upstream_id, id, _) = channels[0];
    client
        .send(CloseChannel {
            channel_id: id,
            reason_code: "done".try_into().unwrap(),
        })
        .await;
    let Message::CloseChannel(close) = upstream.recv().await else {
        panic!("not closed");
    };
    assert_eq!(close.channel_id, upstream_id);
    client.ask_extended("carol").await;
    upstream.open().await;
    let again = client.opened().await;
    assert!(!channels.iter().any(|(_, id, _)| *id == again.channel_id));
    translator.stop().await;
}

#[tokio::test]
async fn closing_the_group_closes_all_that_are_in_it() {
    let (translator, mut upstream, mut client) = start(0).await;
    let mut group = 0;
    let mut upstream_ids = Vec::new();
    for _ in 0..2 {
        client.ask_extended("alice").await;
        upstream_ids.push(upstream.open().await);
        group = client.opened().await.group_channel_id;
        client.first_job().await;
    }
    client
        .send(CloseChannel {
            channel_id: group,
            reason_code: "done".try_into().unwrap(),
        })
        .await;
    for expected in upstream_ids {
        let Message::CloseChannel(close) = upstream.recv().await else {
            panic!("not closed");
        };
        assert_eq!(close.channel_id, expected);
    }
    translator.stop().await;
}

#[tokio::test]
async fn work_for_the_pools_group_reaches_every_channel_as_its_own() {
    let (translator, mut upstream, mut client) = start(0).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        client.ask_extended("alice").await;
        upstream.open().await;
        ids.push(client.opened().await.channel_id);
        client.first_job().await;
    }
    let no_rolling = job(crate::pool::GROUP, 8, Some(NTIME + 30), false);
    upstream.send([no_rolling.into()]).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let Message::NewExtendedMiningJob(job) = client.recv().await else {
            panic!("no job");
        };
        assert_eq!(job.min_ntime.into_inner(), Some(NTIME + 30));
        assert!(!job.version_rolling_allowed);
        told.push(job.channel_id);
    }
    told.sort_unstable();
    assert_eq!(told, ids);
    translator.stop().await;
}

#[tokio::test]
async fn a_new_target_and_a_new_prefix_hold_for_the_jobs_after_them() {
    let (translator, mut upstream, mut client, id, old_job) = mining().await;
    let hard = Target::from_le_bytes(
        [0; 31]
            .into_iter()
            .chain([1])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap(),
    );
    upstream
        .send([
            SetTarget {
                channel_id: 1,
                maximum_target: hard.to_le_bytes().into(),
            }
            .into(),
            SetExtranoncePrefix {
                channel_id: 1,
                extranonce_prefix: vec![0xbb; 8].try_into().unwrap(),
            }
            .into(),
            job_now(1, 2),
        ])
        .await;
    let Message::SetTarget(target) = client.recv().await else {
        panic!("no target");
    };
    assert_eq!(
        (target.channel_id, target.maximum_target.to_array()),
        (id, hard.to_le_bytes())
    );
    let Message::SetExtranoncePrefix(prefix) = client.recv().await else {
        panic!("no prefix");
    };
    assert_eq!(
        (prefix.channel_id, prefix.extranonce_prefix.as_bytes()),
        (id, &[0xbb; 8][..])
    );
    let Message::NewExtendedMiningJob(job) = client.recv().await else {
        panic!("no job");
    };
    // The old job keeps what it was sent with.
    client.send(extended_share(id, old_job, 1, 1)).await;
    upstream.recv_share().await;
    client.send(extended_share(id, job.job_id, 2, 1)).await;
    assert_eq!(client.verdict().await, refused(2, "difficulty-too-low"));
    upstream.settle(1, 1, 1).await;
    assert_eq!(client.verdict().await, accepted(1, 1));
    translator.stop().await;
}

#[tokio::test]
async fn shares_that_have_no_chance_are_refused_here_and_the_pool_hears_of_none() {
    let (translator, mut upstream, mut client, id, job_id) = mining().await;
    let good = extended_share(id, job_id, 1, 1);
    let mut short = good.clone();
    short.extranonce = vec![1; 7].try_into().unwrap();
    let mut version = good.clone();
    version.version ^= 1;
    let mut early = good.clone();
    early.ntime = NTIME - 1;
    let refusals = [
        (extended_share(id + 9, job_id, 1, 1), "invalid-channel-id"),
        (extended_share(id, job_id + 9, 1, 1), "invalid-job-id"),
        (extended_share(id, 0, 1, 1), "invalid-job-id"),
        (short, "bad-extranonce-size"),
        (version, "invalid-non-rollable-version-bit"),
        (early, "invalid-share"),
    ];
    for (share, code) in refusals {
        client.send(share).await;
        assert_eq!(client.verdict().await, refused(1, code));
    }
    client.send(standard_share(id, job_id, 1, 1)).await;
    assert_eq!(client.verdict().await, refused(1, "invalid-channel-id"));
    client.send(good.clone()).await;
    client.send(good.clone()).await;
    assert_eq!(client.verdict().await, refused(1, "duplicate-share"));
    // The good one is the first that the pool hears of.
    assert_eq!(upstream.recv_share().await.sequence_number, 1);
    upstream.settle(1, 1, 1).await;
    assert_eq!(client.verdict().await, accepted(1, 1));
    translator.stop().await;
}

#[tokio::test]
async fn what_the_pool_says_to_shares_is_passed_on_in_its_own_words() {
    let (translator, mut upstream, mut client, id, job_id) = mining().await;
    for number in 1..=3 {
        client
            .send(extended_share(id, job_id, 10 * number, number))
            .await;
        upstream.recv_share().await;
    }
    upstream.reject(1, 2, "a-code-of-tomorrow").await;
    assert_eq!(client.verdict().await, refused(20, "a-code-of-tomorrow"));
    upstream.settle(1, 3, 2).await;
    assert_eq!(client.verdict().await, accepted(30, 2));
    let status = translator.status().await;
    assert_eq!(
        (status.shares.accepted, status.shares.rejected_total()),
        (2, 1)
    );
    translator.stop().await;
}

#[tokio::test]
async fn a_channel_is_refused_with_the_pools_code_or_with_ours_where_the_pool_need_not_be_asked() {
    let (translator, mut upstream, mut client) = start(0).await;
    client.ask_extended("mallory").await;
    let open = upstream.recv_open().await;
    upstream.refuse(&open, "unknown-user").await;
    let mut nan = open_extended("alice");
    nan.nominal_hash_rate = f32::NAN;
    let mut zero = open_extended("alice");
    zero.max_target = [0; 32].into();
    let mut codes = Vec::new();
    for ours in [nan, zero, open_extended("")] {
        let Message::OpenMiningChannelError(error) = client.recv().await else {
            panic!("opened");
        };
        assert_eq!(error.request_id, REQUEST);
        codes.push(error.error_code.as_utf8_or_hex());
        client.send(ours).await;
    }
    let Message::OpenMiningChannelError(error) = client.recv().await else {
        panic!("opened");
    };
    codes.push(error.error_code.as_utf8_or_hex());
    let expected = [
        "unknown-user",
        "invalid-nominal-hashrate",
        "max-target-out-of-range",
        "invalid-user-identity",
    ];
    assert_eq!(codes, expected);
    // It may try again.
    client.ask_extended("alice").await;
    upstream.open().await;
    client.opened().await;
    translator.stop().await;
}

#[tokio::test]
async fn a_change_of_a_channel_goes_to_the_pool_and_its_refusal_to_the_miner() {
    let (translator, mut upstream, mut client, id, _) = mining().await;
    let update = |channel_id, nominal_hash_rate| UpdateChannel {
        channel_id,
        nominal_hash_rate,
        maximum_target: [0x7f; 32].into(),
    };
    client.send(update(id, 5e12)).await;
    let Message::UpdateChannel(passed_on) = upstream.recv().await else {
        panic!("not passed on");
    };
    assert_eq!(passed_on.channel_id, 1);
    assert!((passed_on.nominal_hash_rate / 5e12 - 1.0).abs() < 1e-3);
    assert_eq!(passed_on.maximum_target.to_array(), [0x7f; 32]);
    let refusal = UpdateChannelError {
        channel_id: 1,
        error_code: "max-target-out-of-range".try_into().unwrap(),
    };
    upstream.send([refusal.into()]).await;
    let mut codes = Vec::new();
    for next in [update(id, -1.0), update(id + 1, 1.0)] {
        let Message::UpdateChannelError(error) = client.recv().await else {
            panic!("not refused");
        };
        codes.push((error.channel_id, error.error_code.as_utf8_or_hex()));
        client.send(next).await;
    }
    let Message::UpdateChannelError(error) = client.recv().await else {
        panic!("not refused");
    };
    codes.push((error.channel_id, error.error_code.as_utf8_or_hex()));
    let codes: Vec<(u32, &str)> = codes.iter().map(|(id, code)| (*id, &**code)).collect();
    let expected = [
        (id, "max-target-out-of-range"),
        (id, "invalid-nominal-hashrate"),
        (id + 1, "invalid-channel-id"),
    ];
    assert_eq!(codes, expected);
    translator.stop().await;
}

#[tokio::test]
async fn a_lanes_smallest_difficulty_holds_for_sv2_miners_too() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |config| {
        config.lanes[0].min_difficulty = Some(64.0);
    })
    .await;
    let mut upstream = pool.accept().await;
    let mut client = Client::connect(&translator, 0).await;
    client.ask_extended("alice").await;
    let open = upstream.recv_open().await;
    let max_target = Target::from_le_bytes(open.max_target.to_array());
    assert_eq!(max_target, Target::from_difficulty(64.0));
    translator.stop().await;
}

#[tokio::test]
async fn a_kick_of_one_channels_miner_ends_the_connection_with_all_of_its_channels() {
    let (translator, mut upstream, mut client) = start(0).await;
    for name in ["alice.rig1", "bob.rig2"] {
        client.ask_extended(name).await;
        upstream.open().await;
        client.opened().await;
        client.first_job().await;
    }
    let control = translator.control().await;
    let kick = KickDownstreams {
        miners: DownstreamSelector::User("bob".to_owned()),
        dry_run: false,
    };
    let kicked = control.kick_downstreams(within(DEADLINE), kick).await;
    assert_eq!(kicked.unwrap().unwrap().connections, 1);
    client.closed().await;
    for _ in 0..2 {
        assert!(matches!(upstream.recv().await, Message::CloseChannel(_)));
    }
    translator
        .wait_for_status("nobody is left", |status| {
            status.connections == 0 && status.miners.is_empty()
        })
        .await;
    translator.stop().await;
}
