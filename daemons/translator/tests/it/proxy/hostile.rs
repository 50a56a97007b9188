//! Peers that mean no good on an SV2 lane, and what others notice of them.

use super::client::{Client, accepted, extended_share, open_extended, refused};
use super::mining;
use crate::pool::Pool;
use crate::translator::Translator;
use hh_daemon::ProxyProtocol;
use hh_ipc::api::translator::BanAddress;
use hh_ipc::client::within;
use hh_sv2::Message;
use hh_sv2::message::{
    CoinbaseOutputConstraints, RequestExtensions, Seq064K, SetTarget, Unknown, UpdateChannel,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Waits for the end of the connection; what is said before it is dropped.
async fn closed(stream: &mut TcpStream) {
    let mut said = Vec::new();
    let end = tokio::time::timeout(crate::DEADLINE, stream.read_to_end(&mut said)).await;
    // A reset is an end too.
    end.expect("the translator closes it").ok();
}

#[tokio::test]
async fn what_is_no_sv2_is_closed() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    for garbage in [
        &b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n"[..],
        &[0xab; 4096],
    ] {
        let mut stream = TcpStream::connect(translator.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        closed(&mut stream).await;
    }
    translator.stop().await;
}

#[tokio::test]
async fn behind_a_load_balancer_a_miner_is_who_the_header_tells() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |config| {
        config.proxy_protocol = ProxyProtocol {
            from: vec!["127.0.0.0/8".parse().unwrap()],
        };
    })
    .await;
    let mut upstream = pool.accept().await;
    let mut stream = TcpStream::connect(translator.address).await.unwrap();
    let addresses = [203, 0, 113, 7, 192, 0, 2, 1, 0x1f, 0x90, 0, 1];
    let header = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat();
    stream.write_all(&header).await.unwrap();
    let mut client = Client::set_up(&translator, stream, 0).await.unwrap();
    client.ask_extended("alice").await;
    upstream.open().await;
    client.opened().await;
    let status = translator.status().await;
    assert_eq!(status.miners[0].peer, "203.0.113.7:8080");
    translator.stop().await;
}

#[tokio::test]
async fn a_ban_closes_a_connection_that_has_no_channel_yet() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let mut client = Client::connect(&translator, 0).await;
    let request = BanAddress {
        address: "127.0.0.1".to_owned(),
        seconds: Some(60),
        reason: None,
        dry_run: false,
    };
    let control = translator.control().await;
    let banned = control.ban(within(crate::DEADLINE), request).await;
    assert_eq!(banned.unwrap().unwrap().kicked.connections, 1);
    client.closed().await;
    translator.stop().await;
}

#[tokio::test]
async fn one_address_has_no_more_connections_than_it_may() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |config| {
        config.limits.max_connections_per_address = 1;
    })
    .await;
    let client = Client::connect(&translator, 0).await;
    let mut second = TcpStream::connect(translator.address).await.unwrap();
    closed(&mut second).await;
    drop(client);
    translator
        .wait_for_status("the place is free", |status| status.connections == 0)
        .await;
    Client::connect(&translator, 0).await;
    translator.stop().await;
}

#[tokio::test]
async fn what_only_a_pool_says_ends_the_connection() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let messages: [Message; 2] = [
        SetTarget {
            channel_id: 33,
            maximum_target: [0xff; 32].into(),
        }
        .into(),
        CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: 0,
            coinbase_output_max_additional_sigops: 0,
        }
        .into(),
    ];
    for message in messages {
        let mut client = Client::connect(&translator, 0).await;
        client.send(message).await;
        client.closed().await;
    }
    translator.stop().await;
}

#[tokio::test]
async fn who_asks_for_more_than_channels_can_need_is_closed() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |config| {
        config.limits.max_channels_per_connection = 1;
    })
    .await;
    let mut client = Client::connect(&translator, 0).await;
    for _ in 0..200 {
        let nobodys = UpdateChannel {
            channel_id: 1,
            nominal_hash_rate: 1.0,
            maximum_target: [0xff; 32].into(),
        };
        // It may have been closed by then.
        client.connection.queue(nobodys).unwrap();
    }
    client.connection.flush().await.ok();
    client.closed().await;
    translator.stop().await;
}

#[tokio::test]
async fn a_flood_of_invalid_shares_ends_its_connection_and_no_other() {
    let (translator, mut upstream, mut good, id, job_id) = mining().await;
    let mut bad = Client::connect(&translator, 0).await;
    for number in 0..4_000 {
        bad.connection
            .queue(extended_share(99, 1, number, 1))
            .unwrap();
        if number % 100 == 99 && bad.connection.flush().await.is_err() {
            break;
        }
    }
    bad.closed().await;
    good.send(extended_share(id, job_id, 1, 1)).await;
    upstream.recv_share().await;
    upstream.settle(1, 1, 1).await;
    assert_eq!(good.verdict().await, accepted(1, 1));
    translator.stop().await;
}

#[tokio::test]
async fn while_the_pool_is_away_a_busy_miner_is_no_flood() {
    let pool = Pool::start().await;
    let translator = Translator::start_sv2(&pool, |_| {}).await;
    let mut upstream = pool.accept().await;
    let (mut client, id, job_id) = Client::mining(&translator, &mut upstream).await;
    drop(upstream);
    let _silent = pool.accept_silently().await;
    for number in 0..4_000 {
        let share = extended_share(id, job_id, number, number);
        client.connection.queue(share).unwrap();
        if number % 100 == 99 {
            client.connection.flush().await.unwrap();
            for number in number - 99..=number {
                assert_eq!(client.verdict().await, refused(number, "no-upstream"));
            }
        }
    }
    translator.stop().await;
}

/// What a peer may send after its setup: bytes in the place of any message, or messages that make no sense.
#[derive(Clone, Debug)]
enum Move {
    Frame {
        extension_type: u16,
        message_type: u8,
        channel_msg: bool,
        payload: Vec<u8>,
    },
    Open,
    Share {
        channel_id: u32,
        job_id: u32,
        nonce: u32,
    },
    Extensions(Vec<u16>),
}

fn any_move() -> impl Strategy<Value = Move> {
    let extension = prop_oneof![4 => Just(0_u16), 1 => Just(1), 1 => any::<u16>()];
    let message_type = prop_oneof![4 => 0_u8..0x30, 1 => any::<u8>()];
    prop_oneof![
        3 => (extension, message_type, any::<bool>(), vec(any::<u8>(), 0..120)).prop_map(
            |(extension_type, message_type, channel_msg, payload)| Move::Frame {
                extension_type: extension_type & 0x7fff,
                message_type,
                channel_msg,
                payload,
            }
        ),
        1 => Just(Move::Open),
        3 => (30_u32..36, 0_u32..4, any::<u32>())
            .prop_map(|(channel_id, job_id, nonce)| Move::Share { channel_id, job_id, nonce }),
        1 => vec(any::<u16>(), 0..5).prop_map(Move::Extensions),
    ]
}

fn message(one: Move) -> Message {
    match one {
        Move::Frame {
            extension_type,
            message_type,
            channel_msg,
            payload,
        } => Unknown {
            extension_type,
            message_type,
            channel_msg,
            payload,
        }
        .into(),
        Move::Open => open_extended("mallory").into(),
        Move::Share {
            channel_id,
            job_id,
            nonce,
        } => extended_share(channel_id, job_id, 1, nonce).into(),
        Move::Extensions(extensions) => RequestExtensions {
            request_id: 1,
            requested_extensions: Seq064K::new(extensions).unwrap(),
        }
        .into(),
    }
}

/// Runs of peers, each with what it sends; `HH_TEST_ALL` makes it long.
fn runs() -> impl Strategy<Value = Vec<Vec<Move>>> {
    let all = std::env::var_os("HH_TEST_ALL").is_some();
    vec(vec(any_move(), 1..12), if all { 2_000 } else { 100 })
}

/// One good miner beside all of them; what it has sent is settled, once each, and the pool hears no share of the others but such
/// as are worth one.
#[test]
fn hostile_peers_cost_a_good_miner_no_share() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::default();
    let peers = runs().new_tree(&mut runner).unwrap().current();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(beside(peers));
}

async fn beside(peers: Vec<Vec<Move>>) {
    let (translator, mut upstream, mut good, id, job_id) = mining().await;
    let serving = async move {
        loop {
            match upstream.recv().await {
                Message::OpenExtendedMiningChannel(open) => {
                    upstream.grant(&open, hh_mining::Target::MAX).await;
                }
                Message::SubmitSharesExtended(share, None) => {
                    let (channel_id, number) = (share.channel_id, share.sequence_number);
                    upstream.settle(channel_id, number, 1).await;
                    if channel_id == 1 && share.nonce == u32::MAX {
                        return;
                    }
                }
                Message::CloseChannel(_) => {}
                other => panic!("the pool hears {other:?}"),
            }
        }
    };
    let count = u32::try_from(peers.len()).unwrap();
    let attack = async {
        for (number, peer) in (1_u32..).zip(peers) {
            let mut bad = Client::connect(&translator, 0).await;
            for one in peer {
                // Where it has been closed already, the rest is not sent.
                if bad.connection.queue(message(one)).is_err()
                    || bad.connection.flush().await.is_err()
                {
                    break;
                }
            }
            let nonce = if number == count { u32::MAX } else { number };
            good.send(extended_share(id, job_id, number, nonce)).await;
            assert_eq!(good.verdict().await, accepted(number, 1));
        }
    };
    tokio::join!(serving, attack);
    let status = translator.status().await;
    assert!(status.shares.accepted >= u64::from(count));
    translator.stop().await;
}
