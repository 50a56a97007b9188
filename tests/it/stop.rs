//! A stop that is asked for: within ten seconds, whatever miners and disks do, and with nothing lost that was acknowledged.

use crate::crash::check_ledger;
use hh_sv2::message::{Protocol, SubmitSharesExtended};
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, client_setup};
use hh_sv2::{Connection, Limits};
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::Channel;
use hh_tests::disk::tamper;
use hh_tests::network::Network;
use rustix::process::Signal;
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

/// From SIGTERM to the end of the process; the loaded machine of a test is given some seconds more.
const STOP: Duration = Duration::from_secs(10 + 5);

/// What is not taken within this is taken not at all.
const FULL: Duration = Duration::from_secs(1);

#[track_caller]
fn stop(network: &Network) {
    let asked = Instant::now();
    let status = network.pool.terminate();
    let took = asked.elapsed();
    assert!(status.success(), "{status}: {}", network.pool.log());
    assert!(took < STOP, "{took:?}");
}

/// A miner that asks and does not read the answers, until the pool takes no more.
async fn deaf(network: &Network) -> Connection {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(4_096)
        .expect("its buffer is ours");
    let stream = socket.connect(network.pool_address).await;
    let stream = stream.expect("the pool takes connections");
    let mut connection = Connection::initiate(stream, Some(&network.pool_key), &Limits::CLIENT)
        .await
        .expect("the pool has this key");
    let setup = ClientSetup {
        protocol: Protocol::MiningProtocol,
        flags: 0,
        endpoint_host: String::new(),
        endpoint_port: 0,
        vendor: "deaf".to_owned(),
        hardware_version: String::new(),
        firmware: String::new(),
        device_id: String::new(),
    };
    client_setup(&mut connection, &setup, SETUP_DEADLINE)
        .await
        .expect("the pool takes miners");
    loop {
        for sequence_number in 0..1_000 {
            let share = SubmitSharesExtended {
                channel_id: 1,
                sequence_number,
                job_id: 0,
                nonce: 0,
                ntime: 0,
                version: 0,
                extranonce: vec![0; 8].try_into().expect("eight bytes fit"),
            };
            connection.queue(share).expect("there is room for these");
        }
        if tokio::time::timeout(FULL, connection.flush())
            .await
            .is_err()
        {
            return connection;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_answers_what_it_accepted_and_waits_for_no_deaf_miner() {
    let mut network = Network::start(Chain::Signet).await;
    let mut channel = Channel::open(network.pool_address, &network.pool_key, "to.stop")
        .await
        .expect("the pool takes miners");
    let deaf = [deaf(&network).await, deaf(&network).await];
    channel.submit(50).await.expect("the pool is there");
    channel.settle(40).await.expect("the pool is there");
    stop(&network);
    // What was on its way to us at the end.
    channel.settle(0).await.ok();
    drop(deaf);
    let (acknowledged, in_flight) = (channel.acknowledged.clone(), channel.in_flight());
    assert!(acknowledged.len() >= 10);
    network.pool.restart();
    network.pool.wait_until_ready().await;
    network.wait_until_shipped().await;
    check_ledger(&network.ledger(), &acknowledged, &in_flight).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_disk_that_does_not_answer() {
    let network = Network::start(Chain::Signet).await;
    let mut channel = Channel::open(network.pool_address, &network.pool_key, "stuck.disk")
        .await
        .expect("the pool takes miners");
    let minutes = "delay_enter=120000000";
    let strace = tamper(network.pool.process(), "fdatasync", minutes, network.dir()).await;
    channel.submit(10).await.expect("the pool is there");
    let asked = Instant::now();
    network.pool.process().signal(Signal::TERM);
    network.pool.wait_for_log("daemon stopped").await;
    assert!(asked.elapsed() < STOP, "{:?}", asked.elapsed());
    // Until then a call of its that is under way keeps the process.
    drop(strace);
    let status = network.pool.wait_for_exit();
    assert!(status.success(), "{status}");
    channel
        .settle(0)
        .await
        .expect_err("nothing is acknowledged");
    assert!(channel.acknowledged.is_empty());
}
