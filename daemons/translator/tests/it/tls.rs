//! Miners under TLS.

use crate::DEADLINE;
use crate::miner::Miner;
use crate::pool::{GROUP, Pool, job_now};
use crate::translator::Translator;
use hh_daemon::SecretRef;
use hh_translator::config::{LaneProtocol, TranslatorConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CERTIFICATE: &str = include_str!("certificates/one.crt");
const KEY: &str = include_str!("certificates/one.key");

/// Its first lane speaks TLS.
async fn start(pool: &Pool, dir: &Path) -> Translator {
    let (certificate, key) = (dir.join("crt"), dir.join("key"));
    fs::write(&certificate, CERTIFICATE).unwrap();
    fs::write(&key, KEY).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let speaks_tls = |config: &mut TranslatorConfig| {
        let lane = &mut config.lanes[0];
        lane.protocol = LaneProtocol::Sv1Tls;
        lane.certificate_file = Some(certificate);
        lane.private_key_file = Some(SecretRef::File(key));
    };
    Translator::start_as(pool, speaks_tls).await
}

/// A miner that speaks this version and trusts the lane's certificate alone.
async fn connect(translator: &Translator, version: &'static SupportedProtocolVersion) -> Miner {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(translator.address).await.unwrap();
    let name = ServerName::try_from("lane.example").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, socket);
    let connected = tokio::time::timeout(DEADLINE, connecting).await;
    Miner::over(connected.expect("the handshake goes on").unwrap())
}

#[tokio::test]
async fn miners_mine_under_both_versions_of_tls() {
    let (pool, dir) = (Pool::start().await, tempfile::tempdir().unwrap());
    let translator = start(&pool, dir.path()).await;
    let mut upstream = pool.accept().await;
    for version in [&TLS12, &TLS13] {
        let mut miner = connect(&translator, version).await;
        miner.begin("alice").await;
        let channel_id = upstream.open().await;
        miner.authorized().await;
        let notify = miner.notify().await;
        miner.submit(json!(1), "alice", &notify, 1).await;
        let share = upstream.recv_share().await;
        upstream.settle(channel_id, share.sequence_number, 1).await;
        assert_eq!(miner.answer().await["result"], true);
        drop(miner);
        let hh_sv2::Message::CloseChannel(_) = upstream.recv().await else {
            panic!("a miner that hangs up gives its channel back");
        };
    }
    translator.stop().await;
}

/// More than a TLS record and more than the buffer under it, both ways: nothing is stuck between the session and the socket.
#[tokio::test]
async fn floods_in_both_directions_arrive_whole_under_tls() {
    const PINGS: usize = 2_000;
    const JOBS: u32 = 100;
    let (pool, dir) = (Pool::start().await, tempfile::tempdir().unwrap());
    let translator = start(&pool, dir.path()).await;
    let mut upstream = pool.accept().await;
    let mut miner = connect(&translator, &TLS13).await;
    miner.begin("alice").await;
    upstream.open().await;
    miner.authorized().await;
    miner.notify().await;
    let jobs = (2..).take(JOBS as usize);
    upstream.send(jobs.map(|job| job_now(GROUP, job))).await;
    for _ in 0..JOBS {
        miner.notify().await;
    }
    let ping = r#"{"id":1,"method":"mining.ping","params":[]}"#;
    for _ in 0..PINGS / 100 {
        miner.send_raw(format!("{ping}\n").repeat(100)).await;
        for _ in 0..100 {
            assert_eq!(miner.answer().await["result"], "pong");
        }
    }
    translator.stop().await;
}

#[tokio::test]
async fn a_miner_on_the_wrong_kind_of_lane_is_closed_at_once() {
    let (pool, dir) = (Pool::start().await, tempfile::tempdir().unwrap());
    let translator = start(&pool, dir.path()).await;
    let mut plain = translator.miner().await;
    plain
        .send_raw("{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n")
        .await;
    plain.closed().await;
    translator.stop().await;

    let translator = Translator::start(&pool).await;
    let mut hello = translator.miner().await;
    hello.send_raw(b"\x16\x03\x01\x02\x00\x01\x00\x01").await;
    hello.closed().await;
    translator.stop().await;
}
