//! Who is let in, over real sockets.

use crate::config::LimitsConfig;
use crate::difficulty::{Change, DifficultyRange};
use crate::directory::unix_ms;
use crate::kick::{Chosen, Selector};
use crate::sample::PATIENCE;
use crate::sample::server::{Options, TestMiner, TestPool};
use hh_daemon::ProxyProtocol;
use hh_daemon::ban::AutoBan;
use hh_daemon::ban::{Ban, Target};
use hh_sv2::Message;
use hh_sv2::message::SubmitSharesExtended;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A pool that bans its own machine too.
async fn strict_pool() -> TestPool {
    TestPool::start(Options {
        auto_ban: AutoBan {
            exempt: Vec::new(),
            ..AutoBan::default()
        },
        ..Options::default()
    })
    .await
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 512];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await;
    matches!(read.expect("the pool closes it"), Ok(0) | Err(_))
}

async fn assert_mines(pool: &TestPool) {
    let (mut miner, mut channel) = pool.mine("alice").await;
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
}

#[tokio::test]
async fn half_open_handshakes_make_room_for_who_means_it() {
    let pool = TestPool::start(Options {
        limits: LimitsConfig {
            max_half_open_per_address: 4,
            ..LimitsConfig::default()
        },
        ..Options::default()
    })
    .await;
    let mut half_open = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(pool.address).await.unwrap();
        stream.write_all(&[0xab; 10]).await.unwrap();
        half_open.push(stream);
    }
    for stream in &mut half_open[..4] {
        assert!(is_closed(stream).await);
    }
    pool.wait_for_disconnects("displaced", 4).await;
    assert_eq!(pool.admission.half_open(), 4);
    assert_mines(&pool).await;
    pool.wait_for_disconnects("displaced", 5).await;
    assert_eq!(pool.admission.half_open(), 3, "the miner is none of them");
}

#[tokio::test]
async fn a_banned_address_is_closed_unread_and_its_connections_end() {
    let pool = TestPool::start(Options::default()).await;
    let (mut miner, _) = pool.mine("alice").await;
    let range = "127.0.0.0/24".parse().unwrap();
    let ban = Ban::new(Target::Address(range), String::new(), None, unix_ms());
    pool.shared.bans.set(ban.unwrap()).unwrap();
    Chosen::find(
        &Selector::Address(range),
        &pool.shared.directory,
        &pool.admission,
    )
    .end();
    assert!(miner.recv().await.is_none(), "it is closed");
    let mut banned = TcpStream::connect(pool.address).await.unwrap();
    assert!(is_closed(&mut banned).await);
    pool.wait_for_disconnects("banned", 1).await;
    assert_eq!(pool.admission.half_open(), 0);
    let lifted = pool.shared.bans.lift(&Target::Address(range), unix_ms());
    lifted.unwrap();
    assert_mines(&pool).await;
}

#[tokio::test]
async fn a_banned_account_opens_no_channel_and_others_do() {
    let pool = TestPool::start(Options::default()).await;
    let mallory = Target::Account("mallory".to_owned());
    let ban = Ban::new(mallory, String::new(), None, unix_ms());
    pool.shared.bans.set(ban.unwrap()).unwrap();
    let mut proxy = pool.connect().await;
    for identity in ["mallory", "mallory.rig1"] {
        assert_eq!(proxy.open(identity).await.unwrap_err(), "unknown-user");
    }
    proxy.open("alice").await.unwrap();
}

/// Connects with something that is no handshake, and waits for the end.
async fn send_garbage(pool: &TestPool) {
    let mut stream = TcpStream::connect(pool.address).await.unwrap();
    let line = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n";
    // The pool may have closed before.
    stream.write_all(line).await.ok();
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn who_sends_garbage_again_and_again_is_banned_and_nobody_who_works() {
    let pool = strict_pool().await;
    let (mut miner, mut channel) = pool.mine("alice").await;
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
    for n in 1..=25 {
        send_garbage(&pool).await;
        pool.wait_for_disconnects("handshake_failed", n).await;
    }
    assert_eq!(pool.shared.bans.count(unix_ms()), 0, "alice works there");
    drop(miner);
    pool.wait_for_disconnects("closed", 1).await;
    for _ in 1..=25 {
        send_garbage(&pool).await;
    }
    let bans = pool.shared.bans.list(unix_ms());
    assert_eq!(bans.len(), 1);
    assert!(bans[0].automatic);
    let mut banned = TcpStream::connect(pool.address).await.unwrap();
    assert!(is_closed(&mut banned).await);
}

/// Submits `count` shares that are all alike, and reads the answers while they come.
async fn submit_alike(miner: &mut TestMiner, channel_id: u32, job_id: u32, count: u32) -> bool {
    for sequence_number in 0..count {
        let share = SubmitSharesExtended {
            channel_id,
            sequence_number,
            job_id,
            nonce: 1,
            ntime: crate::sample::TIP_TIME,
            version: 0x2000_0000,
            extranonce: vec![0; 8].try_into().unwrap(),
        };
        miner.connection.queue(share).unwrap();
        if sequence_number % 100 == 99 && miner.connection.flush().await.is_err() {
            return false;
        }
    }
    miner.connection.flush().await.is_ok()
}

#[tokio::test]
async fn a_flood_of_invalid_shares_ends_the_connection_and_bans_its_address() {
    let pool = strict_pool().await;
    let (mut miner, channel) = pool.mine("mallory").await;
    assert!(submit_alike(&mut miner, channel.id, channel.job_id, 4_000).await);
    while miner.recv().await.is_some() {}
    pool.wait_for_disconnects("share_flood", 1).await;
    assert_eq!(pool.shared.bans.count(unix_ms()), 1);
}

#[tokio::test]
async fn a_miner_that_lags_far_behind_is_no_flood() {
    let pool = strict_pool().await;
    let (mut miner, mut channel) = pool.mine("alice").await;
    // Job ids grow: it was a job of long ago.
    assert!(submit_alike(&mut miner, channel.id, channel.job_id - 1, 4_000).await);
    for _ in 0..4_000 {
        assert_eq!(miner.verdict().await.unwrap_err(), "stale-share");
    }
    // What an operator sets is heeded at the tick that also looks for floods.
    let change = Change {
        account: Some("alice".to_owned()),
        range: DifficultyRange {
            min: Some(1.0),
            max: None,
        },
        ..Change::default()
    };
    pool.difficulty.set(&change).unwrap();
    while !matches!(miner.recv().await.unwrap(), Message::SetTarget(_)) {}
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
    assert_eq!(pool.shared.bans.count(unix_ms()), 0);
}

/// A pool behind a proxy on this machine.
async fn proxied_pool() -> TestPool {
    TestPool::start(Options {
        proxy_protocol: ProxyProtocol {
            from: vec!["127.0.0.0/8".parse().unwrap()],
        },
        ..Options::default()
    })
    .await
}

/// The header of a proxy for a client at an address.
fn header(client: [u8; 4]) -> Vec<u8> {
    let kind = [0x21, 0x11, 0, 12];
    let addresses = [&client[..], &[192, 0, 2, 1], &[0x1f, 0x90, 0, 1]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &kind, &addresses].concat()
}

#[tokio::test]
async fn behind_a_proxy_a_miner_is_who_the_header_tells() {
    let pool = proxied_pool().await;
    let mut stream = TcpStream::connect(pool.address).await.unwrap();
    stream.write_all(&header([203, 0, 113, 7])).await.unwrap();
    let mut miner = pool.set_up(stream, 0).await;
    let mut channel = miner.open("alice").await.unwrap();
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
    let channel = pool.shared.directory.channel(channel.id).unwrap();
    assert_eq!(channel.connection.peer.to_string(), "203.0.113.7:8080");

    // Its address is banned, and nobody else's behind the proxy.
    let target = Target::Address("203.0.113.7".parse().unwrap());
    let ban = Ban::new(target, String::new(), None, unix_ms());
    pool.shared.bans.set(ban.unwrap()).unwrap();
    let mut banned = TcpStream::connect(pool.address).await.unwrap();
    banned.write_all(&header([203, 0, 113, 7])).await.unwrap();
    assert!(is_closed(&mut banned).await);
    pool.wait_for_disconnects("banned", 1).await;
    let mut other = TcpStream::connect(pool.address).await.unwrap();
    other.write_all(&header([203, 0, 113, 8])).await.unwrap();
    pool.set_up(other, 0).await.open("bob").await.unwrap();
}

#[tokio::test]
async fn a_proxy_without_a_header_and_a_header_without_a_proxy_are_refused() {
    let pool = proxied_pool().await;
    let mut direct = TcpStream::connect(pool.address).await.unwrap();
    direct.write_all(&[0xab; 64]).await.unwrap();
    assert!(is_closed(&mut direct).await);
    pool.wait_for_disconnects("proxy_header", 1).await;

    let pool = TestPool::start(Options::default()).await;
    let mut spoofed = TcpStream::connect(pool.address).await.unwrap();
    spoofed.write_all(&header([203, 0, 113, 7])).await.unwrap();
    assert!(is_closed(&mut spoofed).await);
    pool.wait_for_disconnects("handshake_failed", 1).await;
    assert_mines(&pool).await;
}
