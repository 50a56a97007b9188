//! What the daemons export, as Prometheus' own tool sees it.

use hh_tests::bitcoin_core::Chain;
use hh_tests::daemon::Daemon;
use hh_tests::network::Network;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_to_mend_in_what_hh_tp_and_hh_pool_export() {
    if Command::new("promtool").arg("--version").output().is_err() {
        crate::say("skipped: no promtool (Debian: prometheus)");
        return;
    }
    let mut network = Network::start(Chain::Regtest).await;
    let (tp, pool) = (network.tp_config(), network.pool_config());
    for (daemon, config) in [(&mut network.tp, tp), (&mut network.pool, pool)] {
        daemon.write_config(&format!("metrics_address = \"127.0.0.1:0\"\n{config}"));
        daemon.restart();
        daemon.wait_until_ready().await;
        let metrics = scrape(daemon).await;
        assert!(metrics.contains("\nhyperhash_"), "{metrics}");
        assert_eq!(complaints(&metrics), "");
    }
}

async fn scrape(daemon: &Daemon) -> String {
    let line = daemon.wait_for_log("metrics served").await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("a log line is JSON");
    let address = line["address"].as_str().expect("it has the address");
    let address: SocketAddr = address.parse().expect("it is one of a socket");
    let answer = get(address).await.expect("the daemon answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it is HTTP");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

async fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// What promtool says; nothing where all is well.
fn complaints(metrics: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there");
    let mut input = promtool.stdin.take().expect("its stdin is piped");
    input
        .write_all(metrics.as_bytes())
        .expect("promtool reads all");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}
