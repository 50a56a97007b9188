//! Client and server over a real socket.

use crate::fake::{PATIENCE, Server};
use crate::sample;
use hh_ipc::server::MAX_REQUESTS;
use hh_ipc::{ErrorKind, MAX_FRAME_BYTES, client};
use std::io;
use std::path::PathBuf;

#[tokio::test]
async fn calls_are_answered() {
    let server = Server::start();
    let pool = server.client().await;
    let within = || client::within(PATIENCE);
    assert_eq!(pool.hello(within()).await.unwrap(), sample::hello());
    assert_eq!(pool.status(within()).await.unwrap(), sample::pool_status());
    let page = pool.miners(within(), sample::miner_query()).await.unwrap();
    assert_eq!(page, sample::miner_page());
    assert_eq!(
        pool.miner(within(), 12).await.unwrap().unwrap(),
        sample::miner()
    );
}

#[tokio::test]
async fn refusals_reach_the_caller_whole() {
    let server = Server::start();
    let pool = server.client().await;
    let refusal = pool.miner(client::within(PATIENCE), 13).await.unwrap();
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotFound);
    assert_eq!(refusal.code, "HH2001");
    assert_eq!(refusal.to_string(), "there is no channel 13");
}

#[tokio::test]
async fn as_many_calls_at_once_as_are_allowed_are_all_answered() {
    let server = Server::start();
    let pool = server.client().await;
    let calls = (0..MAX_REQUESTS).map(|_| pool.hello(client::within(PATIENCE)));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), sample::hello());
    }
}

#[tokio::test]
async fn a_thousand_blocks_fit_a_frame() {
    let server = Server::start();
    let pool = server.client().await;
    let blocks = pool.blocks(client::within(PATIENCE), 1000).await.unwrap();
    assert_eq!(blocks.unwrap().len(), 1000);
}

#[test]
fn a_page_of_a_thousand_miners_fits_a_frame() {
    let miner = serde_json::to_vec(&sample::miner()).unwrap();
    assert!(
        miner.len() * 1000 < MAX_FRAME_BYTES * 2 / 3,
        "{} bytes a miner",
        miner.len()
    );
}

#[tokio::test]
async fn an_answer_that_fits_no_frame_fails_the_call_and_not_the_server() {
    let server = Server::start();
    let pool = server.client().await;
    let call = pool.blocks(client::within(PATIENCE), 10_000);
    let answer = tokio::time::timeout(PATIENCE / 2, call).await;
    assert!(answer.expect("fails before its deadline").is_err());
    server.assert_answers().await;
}

#[tokio::test]
async fn the_socket_that_is_there_is_dialled() {
    let server = Server::start();
    let paths = [PathBuf::from("/nonexistent/view.sock"), server.path.clone()];
    client::dial_any(&paths).await.unwrap();
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_told_before_one_that_is_missing() {
    let server = Server::start();
    let dead = server.path.with_file_name("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let paths = [PathBuf::from("/nonexistent/view.sock"), dead.clone()];
    let error = client::dial_any(&paths).await.unwrap_err();
    assert_eq!(error.path, dead);
    assert_eq!(error.source.kind(), io::ErrorKind::ConnectionRefused);
}
