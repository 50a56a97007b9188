//! The Mining protocol as its specification has it, message by message: what a client sends, and what it is told.

mod client;
mod shares;

use crate::sample;
use crate::sample::server::{Options, TestPool};
use client::{
    CHANNEL, GROUP, NO_CHANNEL, NO_EXTENSION, any_hash, check, check_heard, client, close,
    extended_share, extensions, heard, open_extended, open_standard, standard_share, text,
};
use hh_mining::Target;
use hh_sv2::Message;
use hh_sv2::message::{
    ChannelEndpointChanged, CoinbaseOutputConstraints, OpenExtendedMiningChannel,
    OpenStandardMiningChannel, Protocol, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING,
    Reconnect, Seq064K, SetCustomMiningJob, SetExtranoncePrefix, SetGroupChannel, SetNewPrevHash,
    SetTarget, SetupConnection, SubmitSharesExtended, Unknown, UpdateChannel,
};

const STANDARD: &[&str] = &[
    "OpenStandardMiningChannelSuccess",
    "NewMiningJob for the next tip",
    "SetNewPrevHash",
];
const EXTENDED: &[&str] = &[
    "OpenExtendedMiningChannelSuccess",
    "NewExtendedMiningJob for the next tip",
    "SetNewPrevHash",
];

fn standard(change: impl FnOnce(&mut OpenStandardMiningChannel)) -> Message {
    let mut open = open_standard();
    change(&mut open);
    open.into()
}

fn extended(change: impl FnOnce(&mut OpenExtendedMiningChannel)) -> Message {
    let mut open = open_extended();
    change(&mut open);
    open.into()
}

fn update(change: impl FnOnce(&mut UpdateChannel)) -> Message {
    let mut update = UpdateChannel {
        channel_id: CHANNEL,
        nominal_hash_rate: 0.0,
        maximum_target: any_hash(),
    };
    change(&mut update);
    update.into()
}

#[tokio::test]
async fn opening_a_channel_gives_work_at_once_or_the_code_of_what_is_wrong() {
    let identity = &["OpenMiningChannelError invalid-user-identity"];
    let hashrate = &["OpenMiningChannelError invalid-nominal-hashrate"];
    let no_text = vec![0xff, 0xfe].try_into().unwrap();
    let rows: Vec<(Message, &[&str])> = vec![
        (standard(|_| {}), STANDARD),
        (extended(|_| {}), EXTENDED),
        (extended(|open| open.min_extranonce_size = 0), EXTENDED),
        (
            extended(|open| open.min_extranonce_size = 9),
            &["OpenMiningChannelError min-extranonce-size-too-large"],
        ),
        (extended(|open| open.user_identity = text("")), identity),
        (standard(|open| open.user_identity = no_text), identity),
        (standard(|open| open.nominal_hash_rate = f32::NAN), hashrate),
        (extended(|open| open.nominal_hash_rate = -1.0), hashrate),
        (
            extended(|open| open.nominal_hash_rate = f32::INFINITY),
            hashrate,
        ),
        (
            extended(|open| open.max_target = [0; 32].into()),
            &["OpenMiningChannelError max-target-out-of-range"],
        ),
    ];
    check(REQUIRES_VERSION_ROLLING, &[], rows).await;
}

#[tokio::test]
async fn a_device_for_standard_jobs_gets_no_extended_channel_and_is_in_no_group() {
    let rows: Vec<(Message, &[&str])> = vec![
        (
            extended(|_| {}),
            &["OpenMiningChannelError extended-channels-not-supported-for-standard-jobs"],
        ),
        (standard(|_| {}), STANDARD),
    ];
    check(REQUIRES_STANDARD_JOBS, &[], rows).await;
    let rows: Vec<(Message, &[&str])> = vec![
        (close(GROUP).into(), &[]),
        (
            extended_share(0).into(),
            &["SubmitSharesError invalid-channel-id"],
        ),
    ];
    check(REQUIRES_STANDARD_JOBS, &[standard(|_| {})], rows).await;
}

#[tokio::test]
async fn one_channel_more_than_a_connection_may_have_is_refused() {
    let mut options = Options::default();
    options.limits.max_channels_per_connection = 1;
    let pool = TestPool::start(options).await;
    let (mut miner, _) = client(&pool, 0, &[standard(|_| {})]).await;
    let refused = miner.open("alice").await.unwrap_err();
    assert_eq!(refused, "channel-capacity-exhausted");
    miner.send(close(CHANNEL)).await;
    miner.open("alice").await.unwrap();
}

#[tokio::test]
async fn changing_and_closing_a_channel_is_done_or_refused_with_its_code() {
    let mut harder = Target::MAX.to_le_bytes();
    harder[31] = 0x3f;
    let unknown = &["UpdateChannelError invalid-channel-id"];
    let hashrate = &["UpdateChannelError invalid-nominal-hashrate"];
    let rows: Vec<(Message, &[&str])> = vec![
        (update(|_| {}), &[]),
        // It MUST be honoured, and a job comes with it for which it holds.
        (
            update(|update| update.maximum_target = harder.into()),
            &["SetTarget", "NewExtendedMiningJob for now"],
        ),
        (update(|update| update.channel_id = NO_CHANNEL), unknown),
        (update(|update| update.channel_id = GROUP), unknown),
        (
            update(|update| update.nominal_hash_rate = f32::NAN),
            hashrate,
        ),
        (
            update(|update| update.maximum_target = [0; 32].into()),
            &["UpdateChannelError max-target-out-of-range"],
        ),
        (close(NO_CHANNEL).into(), &[]),
        (close(CHANNEL).into(), &[]),
    ];
    check(0, &[extended(|_| {})], rows).await;
}

#[tokio::test]
async fn what_only_a_server_says_ends_the_connection() {
    let channel_id = CHANNEL;
    let messages: [Message; 8] = [
        SetTarget {
            channel_id,
            maximum_target: any_hash(),
        }
        .into(),
        SetExtranoncePrefix {
            channel_id,
            extranonce_prefix: text("x"),
        }
        .into(),
        SetGroupChannel {
            group_channel_id: GROUP,
            channel_ids: Seq064K::new(vec![channel_id]).unwrap(),
        }
        .into(),
        SetNewPrevHash {
            channel_id,
            job_id: 1,
            prev_hash: any_hash(),
            min_ntime: 0,
            nbits: 0,
        }
        .into(),
        Reconnect {
            new_host: text("elsewhere.example"),
            new_port: 1,
        }
        .into(),
        ChannelEndpointChanged { channel_id }.into(),
        CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: 0,
            coinbase_output_max_additional_sigops: 0,
        }
        .into(),
        setup().into(),
    ];
    let closed: &[&str] = &["closed"];
    let rows = messages.map(|message| (message, closed));
    check(0, &[extended(|_| {})], rows.into()).await;
}

fn setup() -> SetupConnection {
    SetupConnection {
        protocol: Protocol::MiningProtocol,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: text(""),
        endpoint_port: 0,
        vendor: text(""),
        hardware_version: text(""),
        firmware: text(""),
        device_id: text(""),
    }
}

#[tokio::test]
async fn extensions_are_negotiated_and_what_is_of_an_unknown_one_is_discarded() {
    let granted = &["RequestExtensionsSuccess"];
    let refused = &["RequestExtensionsError"];
    let of_nobody = Unknown {
        extension_type: NO_EXTENSION,
        message_type: 0x1b,
        channel_msg: true,
        payload: vec![1, 2, 3],
    };
    let rows: Vec<(Message, &[&str])> = vec![
        (extensions(&[2]).into(), granted),
        (extensions(&[NO_EXTENSION, 2]).into(), granted),
        (extensions(&[NO_EXTENSION, NO_EXTENSION]).into(), refused),
        (extensions(&[]).into(), refused),
        (of_nobody.into(), &[]),
    ];
    check(0, &[], rows).await;
}

#[tokio::test]
async fn custom_work_is_refused_until_job_declaration_comes() {
    let custom_job = SetCustomMiningJob {
        channel_id: CHANNEL,
        request_id: 8,
        token: text("token"),
        version: 0x2000_0000,
        prev_hash: any_hash(),
        min_ntime: sample::TIP_TIME,
        nbits: sample::REGTEST_NBITS,
        coinbase_tx_version: 2,
        coinbase_prefix: text("x"),
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_outputs: text("x"),
        coinbase_tx_locktime: 0,
        merkle_path: Vec::new().try_into().unwrap(),
    };
    let refused: &[&str] = &["SetCustomMiningJobError jd-not-supported"];
    check(0, &[extended(|_| {})], vec![(custom_job.into(), refused)]).await;
}

/// What each sort of client hears of a template on its tip, and of a new tip.
#[tokio::test]
async fn new_work_is_said_once_to_a_group_and_to_each_channel_of_a_device_for_standard_jobs() {
    let mut pool = TestPool::start(Options::default()).await;
    let both = [standard(|_| {}), extended(|_| {})];
    let (mut proxy, _) = client(&pool, 0, &both).await;
    let twice = [standard(|_| {}), standard(|_| {})];
    let (mut device, _) = client(&pool, REQUIRES_STANDARD_JOBS, &twice).await;
    let (mut idle, _) = client(&pool, 0, &[]).await;

    let board = &mut pool.board;
    let template = sample::template(2);
    board.on_new_template(0, template, false, 0).unwrap();
    let job = proxy.recv().await.unwrap();
    assert!(matches!(&job, Message::NewExtendedMiningJob(job) if job.channel_id == GROUP));
    check_heard("proxy", &heard(&mut proxy).await, &[]);
    let now = "NewMiningJob for now";
    check_heard("device", &hear(&mut device, 2).await, &[now, now]);

    let template = sample::template(3);
    board.on_new_template(0, template, true, 0).unwrap();
    let tip = sample::tip(9);
    board.on_set_new_prev_hash(0, 3, tip, 0).unwrap();
    let job = proxy.recv().await.unwrap();
    assert!(matches!(&job, Message::NewExtendedMiningJob(job) if job.channel_id == GROUP));
    check_heard("proxy", &heard(&mut proxy).await, &["SetNewPrevHash"]);
    let future = "NewMiningJob for the next tip";
    let each = [future, "SetNewPrevHash", future, "SetNewPrevHash"];
    check_heard("device", &hear(&mut device, 4).await, &each);
    check_heard("without a channel", &heard(&mut idle).await, &[]);
}

/// The next `count` messages, and those behind them.
async fn hear(miner: &mut crate::sample::server::TestMiner, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(client::told(&miner.recv().await.unwrap()));
    }
    all.extend(heard(miner).await);
    all
}

#[tokio::test]
async fn closing_the_group_closes_all_that_are_in_it() {
    let pool = TestPool::start(Options::default()).await;
    let both = [standard(|_| {}), extended(|_| {})];
    let (mut proxy, job_id) = client(&pool, 0, &both).await;
    proxy.send(close(GROUP)).await;
    check_heard("no word", &heard(&mut proxy).await, &[]);
    let second = SubmitSharesExtended {
        channel_id: CHANNEL + 1,
        ..extended_share(job_id)
    };
    proxy.send(standard_share(job_id)).await;
    proxy.send(second).await;
    for _ in 0..2 {
        assert_eq!(proxy.verdict().await.unwrap_err(), "invalid-channel-id");
    }
    assert!(pool.shared.directory.channels().is_empty());
}
