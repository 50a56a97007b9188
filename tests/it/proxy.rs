//! hh-pool behind a real load balancer that tells for whom a connection is.

use hh_ipc::api::pool::MinerQuery;
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::Channel;
use hh_tests::network::{CALL, Network};
use hh_tests::port::Port;
use hh_tests::process::Process;
use hh_tests::wait::wait_for;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// haproxy in front of hh-pool, with checks of its health that come without a client.
fn haproxy(network: &Network, listen: SocketAddr) -> Process {
    let config = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         listen miners\n  bind {listen}\n  server pool {} send-proxy-v2 check inter 200ms\n",
        network.pool_address
    );
    let file = network.dir().join("haproxy.cfg");
    std::fs::write(&file, config).expect("a test's directory can be written");
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    Process::spawn("haproxy", command, network.dir())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_the_pool_sees_the_miners_own_addresses() {
    if Command::new("haproxy").arg("-v").output().is_err() {
        crate::say("skipped: no haproxy (Debian: haproxy)");
        return;
    }
    let mut network = Network::start(Chain::Signet).await;
    let config = network.pool_config();
    let config = format!("{config}\n[proxy_protocol]\nfrom = [\"127.0.0.1\"]\n");
    network.pool.write_config(&config);
    network.pool.restart();
    network.pool.wait_until_ready().await;
    let port = Port::take();
    let listen = SocketAddr::from(([127, 0, 0, 1], port.number));
    let haproxy = haproxy(&network, listen);

    let mut channel = wait_for("the pool answers behind haproxy", DEADLINE, async || {
        Channel::open(listen, &network.pool_key, "behind.proxy")
            .await
            .ok()
    })
    .await;
    channel.submit(5).await.expect("the pool is there");
    channel.settle(0).await.expect("the pool is there");
    let client = network.pool.pool().await;
    let page = client.miners(within(CALL), MinerQuery::default()).await;
    let miners = page.expect("hh-pool answers").miners;
    let peers: Vec<&str> = miners.iter().map(|miner| miner.peer.as_str()).collect();
    assert_eq!(peers, [channel.local_address.to_string()]);

    let direct = Channel::open(network.pool_address, &network.pool_key, "without.header").await;
    direct.expect_err("from here a header must come");
    let status = client.status(within(CALL)).await.expect("hh-pool answers");
    let refused = status.door.dropped.get("proxy_header");
    assert_eq!(refused, Some(&1), "{:?}", status.door);
    assert!(haproxy.is_running(), "{}", haproxy.log());
}
