//! Many clients, slow ones, and such as never become one.

use std::time::{Duration, Instant};

use hh_sv2::message::RequestTransactionData;
use hh_sv2::{Connection, Limits};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use crate::client::{Client, connect};
use crate::daemon::{Tp, config};
use crate::node::{Node, START, bytes, wait_for};

const CLIENTS: usize = 100;

fn crowded(node: &Node) -> Tp {
    let places = format!("max_clients = {CLIENTS}\nmax_clients_per_address = {CLIENTS}\n");
    Tp::with(&(places + &config(node, "regtest")))
}

#[tokio::test]
async fn a_hundred_clients_get_every_tip_and_one_more_is_turned_away() {
    let node = Node::start().await;
    let tp = crowded(&node);
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        // Three classes.
        let size = [100, 1_000, 5_000][index % 3];
        let mut client = Client::with_outputs(&tp, size).await;
        client.template().await;
        clients.push(client);
    }
    let mut refused = connect(&tp).await;
    assert!(matches!(refused.read(&mut [0]).await, Ok(0) | Err(_)));
    tp.logged("client turned away", "reason").await;

    for _ in 0..5 {
        let tip = node.generate(1).await[0];
        for client in &mut clients {
            let (_, new_tip) = client.template().await;
            assert!(new_tip);
            assert_eq!(client.prev_hash(), bytes(tip));
        }
    }
    assert_eq!(tp.status().await.clients.len(), CLIENTS);
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody_and_is_dropped() {
    let node = Node::start().await;
    node.generate(110).await;
    for height in 2..8 {
        node.spend_coinbase(height, 100_000, 2_000).await;
    }
    let tp = Tp::start(&node);
    let mut good = Client::start(&tp).await;
    let template = wait_for("a template with all of them", START, async || {
        let (template, _) = good.template().await;
        (template.coinbase_tx_value_remaining == 5_000_600_000).then_some(template)
    })
    .await;

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = tp.address().await.parse().unwrap();
    let mut slow = Client::on(socket.connect(address).await.unwrap(), &tp).await;
    slow.constrain(100).await;
    slow.template().await;
    for _ in 0..8 {
        // Half a megabyte each.
        let template_id = template.template_id;
        slow.send(RequestTransactionData { template_id }).await;
    }
    let until = Instant::now() + Duration::from_secs(60);
    let mut tips = 0;
    while !tp.log().contains("\"msg\":\"client dropped\"") {
        assert!(Instant::now() < until, "the slow client is still there");
        let asked = Instant::now();
        let tip = node.generate(1).await[0];
        let (_, new_tip) = good.template().await;
        assert!(new_tip);
        assert_eq!(good.prev_hash(), bytes(tip));
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{:?}",
            asked.elapsed()
        );
        tips += 1;
    }
    assert!(tips > 1);
    let error = tp.logged("client dropped", "error").await;
    assert!(error.contains("writing took longer"), "{error}");
}

#[tokio::test]
async fn who_never_becomes_a_client_is_dropped_after_ten_seconds() {
    let node = Node::start().await;
    let tp = Tp::start(&node);
    let mut good = Client::start(&tp).await;
    good.template().await;
    let started = Instant::now();
    let mut silent = connect(&tp).await;
    let encrypted = Connection::initiate(connect(&tp).await, Some(&tp.authority), &Limits::CLIENT);
    let mut encrypted = encrypted.await.unwrap();
    let mut set_up = Client::without_constraints(&tp).await;
    let all = async {
        let gone = silent.read(&mut [0]).await;
        assert!(matches!(gone, Ok(0) | Err(_)), "{gone:?}");
        assert!(encrypted.recv().await.is_err());
        assert!(set_up.recv().await.is_err());
    };
    tokio::time::timeout(START, all).await.unwrap();
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_secs(9), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
    // One that is set up may be silent for longer.
    node.generate(1).await;
    good.template().await;
}
