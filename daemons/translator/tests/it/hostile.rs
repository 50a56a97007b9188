//! Peers that mean no good, beside miners that do.

use crate::DEADLINE;
use crate::miner::Miner;
use crate::pool::{Pool, PoolConnection};
use crate::translator::Translator;
use hh_ipc::client::within;
use hh_translator::config::TranslatorConfig;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const MINERS: u32 = 5;
const SHARES: u32 = 200;

/// Each kind of peer that a port on the Internet gets, over and over.
const HOSTILE_CONNECTIONS: usize = 120;

/// What one of them sends until it is closed or stopped; then it is there and says nothing.
fn hostile_bytes(kind: usize) -> Vec<u8> {
    let ping = r#"{"id":1,"method":"mining.ping","params":[]}"#;
    match kind % 8 {
        0 => Vec::new(),
        1 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20),
        2 => vec![b'['; 100_000],
        3 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        4 => format!("{ping}\n").repeat(5_000).into_bytes(),
        5 => (0..50_000_u32).flat_map(u32::to_le_bytes).collect(),
        6 => format!("{ping}\n{{\"id\":2,\"method\":\"mining.subscr").into_bytes(),
        // Jobs that nobody has, and nobody reads the answers.
        _ => {
            let share = r#"{"id":1,"method":"mining.submit","params":["x","1","00","00","00"]}"#;
            format!("{share}\n").repeat(60).into_bytes()
        }
    }
}

/// Comes again whenever it is closed.
async fn attack(address: SocketAddr, kind: usize) {
    let bytes = hostile_bytes(kind);
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            continue;
        };
        stream.write_all(&bytes).await.ok();
        // Until the translator has had enough.
        stream.readable().await.ok();
        tokio::task::yield_now().await;
    }
}

/// Sends all shares of one miner and takes their answers; it stays connected.
async fn mine(mut miner: Miner, user: String, notify: Value) -> (Miner, u32) {
    let mut accepted = 0;
    for number in 1..=SHARES {
        miner.submit(json!(number), &user, &notify, number).await;
        accepted += u32::from(miner.answer().await["result"] == true);
    }
    (miner, accepted)
}

async fn settle_all(upstream: &mut PoolConnection) {
    for _ in 0..MINERS * SHARES {
        let share = upstream.recv_share().await;
        upstream
            .settle(share.channel_id, share.sequence_number, 1)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_peers_cost_no_good_miner_a_share() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut attackers = JoinSet::new();
    for kind in 0..HOSTILE_CONNECTIONS {
        attackers.spawn(attack(translator.address, kind));
    }
    let mut good = Vec::new();
    for number in 0..MINERS {
        let user = format!("alice.rig{number}");
        let (miner, notify) = translator.mining(&mut upstream, &user).await;
        good.push(mine(miner, user, notify));
    }
    let mining: JoinSet<_> = good.into_iter().collect();
    settle_all(&mut upstream).await;
    let miners = mining.join_all().await;
    assert!(miners.iter().all(|(_, accepted)| *accepted == SHARES));
    let status = translator.status().await;
    assert_eq!(status.shares.accepted, u64::from(MINERS * SHARES));
    assert_eq!(status.shares_in_flight, 0);
    drop((attackers, miners));
    translator
        .wait_for_status("the attackers have left", |status| status.connections == 0)
        .await;
    translator.stop().await;
}

/// It asks and never reads: what waits for it is bounded, and then it is gone.
#[tokio::test]
async fn a_peer_that_does_not_read_its_answers_is_not_read_from() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let (mut miner, _) = translator.mining(&mut upstream, "alice").await;
    let ping = "{\"id\":1,\"method\":\"mining.ping\",\"params\":[]}\n".repeat(1_000);
    let flood = async {
        // Far more than the buffers of both sockets.
        for _ in 0..10_000 {
            miner.send_raw(&ping).await;
        }
    };
    let pause = std::time::Duration::from_millis(500);
    let all_taken = tokio::time::timeout(pause, flood).await;
    all_taken.expect_err("the translator goes on reading for a peer that does not");
    let (_other, notify) = translator.mining(&mut upstream, "bob").await;
    assert_ne!(notify, Value::Null);
    translator.stop().await;
}

/// As at hh-pool: twenty connections within a minute that are no miner's.
#[tokio::test]
async fn an_address_that_sends_garbage_is_kept_out_unless_somebody_works_there() {
    let pool = Pool::start().await;
    let nobody_exempt = |config: &mut TranslatorConfig| config.auto_ban.exempt = Vec::new();
    let translator = Translator::start_as(&pool, nobody_exempt).await;
    let mut upstream = pool.accept().await;
    let (mut alice, notify) = translator.mining(&mut upstream, "alice").await;
    let garbage = async || {
        for _ in 0..20 {
            let mut peer = translator.miner().await;
            peer.send_raw("GET / HTTP/1.1\r\n".repeat(8)).await;
            peer.closed().await;
        }
    };
    alice.submit(json!(1), "alice", &notify, 1).await;
    let share = upstream.recv_share().await;
    upstream.settle(1, share.sequence_number, 1).await;
    assert_eq!(alice.answer().await["result"], true);
    garbage().await;
    assert_eq!(alice.call("mining.ping", json!([])).await["result"], "pong");
    drop(alice);
    translator
        .wait_for_status("alice has left", |status| status.connections == 0)
        .await;
    garbage().await;
    let kept_out = async {
        loop {
            translator.miner().await.closed().await;
            let lanes = translator.view().lanes(within(DEADLINE)).await.unwrap();
            if lanes[0].ended.contains_key("banned") {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(DEADLINE, kept_out).await;
    waited.expect("the address is banned");
    translator.stop().await;
}
