//! Sessions over a real socket.

use crate::kick::{Chosen, Selector};
use crate::sample::server::{Options, TestPool};
use hh_sv2::Message;

fn kick(pool: &TestPool, selector: &Selector) -> Chosen {
    let chosen = Chosen::find(selector, &pool.shared.directory, &pool.admission);
    chosen.end();
    chosen
}

#[tokio::test]
async fn a_kicked_miner_has_its_shares_answered_and_its_connection_closed() {
    let pool = TestPool::start(Options::default()).await;
    let (mut miner, mut channel) = pool.mine("alice.rig1").await;
    let (mut other, mut other_channel) = pool.mine("bob").await;
    miner.submit(&mut channel).await;
    miner.verdict().await.unwrap();
    let chosen = kick(&pool, &Selector::Account("alice".to_owned()));
    assert_eq!((chosen.connections.len(), chosen.alone.len()), (1, 0));
    assert!(miner.recv().await.is_none(), "closed, without a word");
    other.submit(&mut other_channel).await;
    other.verdict().await.unwrap();
    let (mut again, mut channel) = pool.mine("alice.rig1").await;
    again.submit(&mut channel).await;
    again.verdict().await.unwrap();
}

#[tokio::test]
async fn a_kick_on_a_shared_connection_closes_the_channel_alone() {
    let pool = TestPool::start(Options::default()).await;
    let (mut proxy, alice) = pool.mine("alice").await;
    let mut bob = proxy.open("bob").await.unwrap();
    let chosen = kick(&pool, &Selector::Channel(alice.id));
    assert_eq!((chosen.connections.len(), chosen.alone.len()), (0, 1));
    let Some(Message::CloseChannel(close)) = proxy.recv().await else {
        panic!("no CloseChannel");
    };
    assert_eq!(close.channel_id, alice.id);
    assert_eq!(close.reason_code.as_utf8_or_hex(), "closed-by-operator");
    assert!(pool.shared.directory.channel(alice.id).is_none());
    proxy.submit(&mut bob).await;
    proxy.verdict().await.unwrap();
    let mut gone = alice;
    proxy.submit(&mut gone).await;
    assert_eq!(proxy.verdict().await.unwrap_err(), "invalid-channel-id");
}

#[tokio::test]
async fn a_kick_by_address_reaches_connections_that_have_not_spoken_yet() {
    let pool = TestPool::start(Options::default()).await;
    let mut silent = tokio::net::TcpStream::connect(pool.address).await.unwrap();
    // The listener takes connections in their order: with the second one there, the first is.
    let _later = pool.connect().await;
    let chosen = kick(&pool, &Selector::Address("127.0.0.0/8".parse().unwrap()));
    assert_eq!(chosen.connections.len(), 2);
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}
