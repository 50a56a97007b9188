//! What others were attacked by, tried on a core as it runs. docs/security.md has the table of all attacks, with their tests.

use crate::simulated::Node;
use crate::simulated::wire::{Channel, WireError};
use crate::site::{Setup, Site, free_port, scrape, wait_for};
use hh_ipc::agent::{
    EnrolRequest, EnrolResponse, HandedIn, Heartbeat, LaneReport, MAX_LANES, MAX_MESSAGE_BYTES,
    Method, NodeHello, NodeMessage, PollRequest, PollResponse, RecoverRequest, RecoverResponse,
    RelayCoreMessage, RelayNodeMessage, RenewRequest, RenewResponse, Sample, ServiceReport,
    TelemetryAck, TelemetryBatch, TreasuryReport, core_message, node_message, path,
};
use hh_ipc::api::core::NodeState;
use hh_trust::pki::{
    CaPin, Identity, Issuer, IssuerKind, KeySlot, LeafKey, TrustDomain, enrolment_client,
    session_client,
};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What core says to a certificate of a node that it does not know.
const UNKNOWN: &str = "certificate-not-known";

/// What it says to a call that the permission table has for somebody else.
const FORBIDDEN: &str = "is not for who calls here";

fn domain() -> TrustDomain {
    "hyperhash.test".parse().unwrap()
}

fn issuer(pki: &Path, kind: IssuerKind) -> Issuer {
    let read = |end: &str| {
        let name = format!("{kind}-issuer.{end}");
        std::fs::read_to_string(pki.join(name)).unwrap()
    };
    Issuer::from_pem(kind, &domain(), &read("crt"), &read("key")).unwrap()
}

fn root(site: &Site) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(site.path().join("pki/root.crt")).unwrap()
}

/// A caller who shows a certificate that this issuer has just made.
fn caller(site: &Site, issuer: &Issuer, identity: &Identity) -> Arc<ClientConfig> {
    let key = LeafKey::generate().unwrap();
    let now = jiff::Timestamp::now().as_second();
    let issued = issuer.issue(identity, &key.as_request(), now).unwrap();
    let slot = Arc::new(KeySlot::new(issued.chain, &key).unwrap());
    Arc::new(session_client(&root(site), &slot).unwrap())
}

/// Makes a call with a message that says nothing, and gives why it was not answered.
async fn refusal(port: u16, tls: &Arc<ClientConfig>, method: Method) -> String {
    let called = async {
        let address = format!("127.0.0.1:{port}");
        let channel = Channel::dial(HERE, &address, &domain(), tls).await?;
        match method {
            Method::Enrol => {
                let request = EnrolRequest::default();
                channel
                    .unary::<_, EnrolResponse>(path::ENROL, request)
                    .await?;
            }
            Method::Recover => {
                let request = RecoverRequest::default();
                channel
                    .unary::<_, RecoverResponse>(path::RECOVER, request)
                    .await?;
            }
            Method::Poll => {
                let request = PollRequest::default();
                channel
                    .unary::<_, PollResponse>(path::POLL, request)
                    .await?;
            }
            Method::ExchangePayouts => {
                let report = TreasuryReport::default();
                channel
                    .unary::<_, HandedIn>(path::EXCHANGE_PAYOUTS, report)
                    .await?;
            }
            Method::Relay => {
                let (_outgoing, messages) = mpsc::channel::<RelayNodeMessage>(1);
                let relay = channel.streaming::<_, RelayCoreMessage>(path::RELAY, messages);
                relay.await?.message().await?;
            }
            Method::Renew => {
                let request = RenewRequest::default();
                channel
                    .unary::<_, RenewResponse>(path::RENEW, request)
                    .await?;
            }
            Method::PushTelemetry => {
                let batch = TelemetryBatch::default();
                channel
                    .unary::<_, TelemetryAck>(path::PUSH_TELEMETRY, batch)
                    .await?;
            }
            Method::Session => {
                let (outgoing, messages) = mpsc::channel(1);
                outgoing.send(hello(0)).await.unwrap();
                channel.session(messages).await?.message().await?;
            }
        }
        Ok::<(), WireError>(())
    };
    match called.await {
        Ok(()) => panic!("{method:?} was answered on port {port}"),
        Err(error) => error.to_string(),
    }
}

fn hello(epoch: u64) -> NodeMessage {
    let hello = NodeHello {
        agent_version: "0.1.0".to_owned(),
        epoch,
        last_seq: 0,
        services: Vec::new(),
        audit: None,
    };
    NodeMessage {
        body: Some(node_message::Body::Hello(hello)),
    }
}

#[tokio::test]
async fn who_is_no_node_of_this_network_calls_nothing() {
    let site = Site::start().await;
    let pki = site.path().join("pki");
    let other = site.path().join("other-network");
    let words = ["pki", "init", "--trust-domain", "hyperhash.test"];
    let made = site.hhctl(&[words.as_slice(), &[other.to_str().unwrap()]].concat());
    assert_eq!(made.status, 0, "{made:?}");
    let ghost = Identity::Node("ghost".parse().unwrap());
    let core = Identity::Core("core-1".parse().unwrap());
    let nodes = issuer(&pki, IssuerKind::Node);
    let servers = issuer(&pki, IssuerKind::Server);
    let others = issuer(&other, IssuerKind::Node);
    let [enrolment, sessions] = site.ports;
    for (who, tls) in [
        ("a node of another network", caller(&site, &others, &ghost)),
        ("core itself", caller(&site, &servers, &core)),
    ] {
        for method in Method::ALL {
            let why = refusal(sessions, &tls, method).await;
            // It is TLS that ends it: nobody looks at the call.
            let is_looked_at = why.contains(UNKNOWN) || why.contains(FORBIDDEN);
            assert!(!is_looked_at, "{who}: {why}");
        }
    }
    // Whoever has stolen the issuer's key makes certificates, and no node that core knows.
    let stolen = caller(&site, &nodes, &ghost);
    for method in Method::ALL {
        let why = refusal(sessions, &stolen, method).await;
        assert!(why.contains(UNKNOWN), "{method:?}: {why}");
    }
    // Who shows none may join, by a token, and nothing else.
    let pin = CaPin::of(&root(&site)).unwrap();
    let anybody = Arc::new(enrolment_client(pin).unwrap());
    for method in Method::ALL {
        let why = refusal(enrolment, &anybody, method).await;
        let is_for_him = !why.contains(FORBIDDEN);
        let joins = matches!(method, Method::Enrol | Method::Recover);
        assert_eq!(is_for_him, joins, "{method:?}: {why}");
    }
    let node = Node::join(&site, 0).await;
    let why = refusal(sessions, &node.joined.tls, Method::Enrol).await;
    assert!(why.contains(FORBIDDEN), "{why}");
}

fn batch(seq: u64, error_bytes: usize) -> TelemetryBatch {
    let service = ServiceReport {
        name: "hh-tp".to_owned(),
        last_error: "x".repeat(error_bytes),
        ..ServiceReport::default()
    };
    let sample = Sample {
        seq,
        services: vec![service],
        ..Sample::default()
    };
    TelemetryBatch {
        stream: 1,
        samples: vec![sample],
        dropped_total: 0,
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_node_goes_on() {
    let site = Site::start().await;
    let node = Node::join(&site, 0).await;
    let joined = &node.joined;
    let channel = Channel::dial(node.source, &joined.address, &joined.domain, &joined.tls);
    let channel = channel.await.unwrap();
    let push = async |batch: TelemetryBatch| {
        channel
            .unary::<_, TelemetryAck>(path::PUSH_TELEMETRY, batch)
            .await
    };
    push(batch(1, MAX_MESSAGE_BYTES)).await.unwrap_err();
    let taken = push(batch(1, 100)).await.unwrap();
    assert_eq!(taken.through_seq, 1);
    // As many lanes as nobody has, and numbers out of order.
    let mut full = batch(2, 0);
    full.samples[0].lanes = vec![LaneReport::default(); MAX_LANES + 1];
    push(full).await.unwrap_err();
    let mut twice = batch(2, 0);
    twice.samples.extend(batch(2, 0).samples);
    push(twice).await.unwrap_err();
    assert_eq!(push(batch(2, 0)).await.unwrap().through_seq, 2);
}

fn lane(name: &str) -> LaneReport {
    LaneReport {
        name: name.to_owned(),
        hashrate_10m_hs: 1e15,
        ..LaneReport::default()
    }
}

fn heartbeat(lanes: Vec<LaneReport>) -> NodeMessage {
    let heartbeat = Heartbeat {
        lanes,
        services: vec![ServiceReport {
            name: "a\"} 1\nup{x=\"".to_owned(),
            state: "running".to_owned(),
            ..ServiceReport::default()
        }],
        ..Heartbeat::default()
    };
    NodeMessage {
        body: Some(node_message::Body::Heartbeat(heartbeat)),
    }
}

#[tokio::test]
async fn no_node_makes_series_as_it_likes() {
    let metrics = free_port();
    let first = format!("metrics_address = \"127.0.0.1:{metrics}\"\n");
    let site = Site::start_with(Setup {
        more: [first, String::new()],
        ..Setup::default()
    })
    .await;
    let node = Node::join(&site, 0).await;
    let joined = &node.joined;
    let channel = Channel::dial(node.source, &joined.address, &joined.domain, &joined.tls);
    let channel = channel.await.unwrap();
    let (outgoing, messages) = mpsc::channel(8);
    outgoing.send(hello(joined.epoch)).await.unwrap();
    let mut incoming = channel.session(messages).await.unwrap();
    let lanes = ["asics", "b\"} 1\nup{x=\"", "asics", "../x", ""].map(lane);
    let series = "hyperhash_fleet_lane_hashrate_hashes_per_second{node=\"node-0\",lane=\"asics\"} 1000000000000000";
    let text = wait_for("the lane is told", async || {
        // A node that says nothing for a while is gone.
        outgoing.try_send(heartbeat(lanes.to_vec())).ok();
        scrape(metrics).filter(|text| text.lines().any(|line| line == series))
    })
    .await;
    let told = text.matches("hyperhash_fleet_lane_hashrate_hashes_per_second{");
    assert_eq!(told.count(), 1, "{text}");
    assert!(
        !text.contains("\nup{") && !text.contains("service=\""),
        "{text}"
    );
    // More than a node may have ends its session, and with it all that it told.
    let many = (0..=MAX_LANES).map(|number| lane(&format!("lane-{number}")));
    outgoing.send(heartbeat(many.collect())).await.unwrap();
    let goodbye = loop {
        let message = incoming
            .message()
            .await
            .unwrap()
            .expect("a goodbye comes first");
        if let Some(core_message::Body::Goodbye(goodbye)) = message.body {
            break goodbye;
        }
    };
    assert!(goodbye.reason.contains("more lanes"), "{goodbye:?}");
    wait_for("nothing of it is told", async || {
        (!scrape(metrics)?.contains("lane=\"")).then_some(())
    })
    .await;
}

/// What core knows by heart and nobody else may, as texts that would show.
fn secrets(site: &Site) -> Vec<String> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(site.path().join("pki").join(name)).unwrap();
        // Of a PEM file the line after its heading, of others all.
        let is_pem = text.starts_with("-----");
        let line = text.lines().nth(usize::from(is_pem)).unwrap();
        assert!(line.len() > 40, "{name}");
        line.to_owned()
    };
    [
        "node-issuer.key",
        "server-issuer.key",
        "enrolment.key",
        "command.key",
    ]
    .map(read)
    .to_vec()
}

fn whoami(site: &Site, token: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", site.rest)).unwrap();
    let request = format!(
        "GET /v1/whoami HTTP/1.1\r\nhost: core\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn what_core_is_told_in_confidence_it_tells_nobody() {
    let site = Site::start().await;
    let made = site.hhctl(&["token", "create", "berlin-1"]);
    assert_eq!(made.status, 0, "{made:?}");
    let token = made.stdout.trim().to_owned();
    let made = site.hhctl(&["api-token", "create", "bob", "--role", "core-operator"]);
    assert_eq!(made.status, 0, "{made:?}");
    let api_token = made.stdout.trim().to_owned();
    let _agent = site.start_thief(&token);
    wait_for("the node has joined by the token", async || {
        let detail = site.node("berlin-1").await?;
        (detail.node.state == NodeState::Connected).then_some(())
    })
    .await;
    assert!(whoami(&site, &api_token).starts_with("HTTP/1.1 200"));
    let wrong = format!("{api_token}a");
    assert!(whoami(&site, &wrong).starts_with("HTTP/1.1 401"));

    let proc = Path::new("/proc").join(site.core.id().to_string());
    let mut told = vec![
        site.core.log(),
        std::fs::read_to_string(proc.join("cmdline")).unwrap(),
        std::fs::read_to_string(proc.join("environ")).unwrap_or_default(),
    ];
    for file in std::fs::read_dir(site.path().join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        told.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    for words in [
        ["node", "show", "berlin-1", "-o", "json"].as_slice(),
        &["token", "list", "-o", "json"],
        &["api-token", "list", "-o", "json"],
        &["pki", "status", "-o", "json"],
        &["event", "list", "-o", "json"],
    ] {
        let said = site.hhctl(words);
        told.push(said.stdout + &said.stderr);
    }
    let mut all = secrets(&site);
    // The signature of the one, and the random part of the other.
    all.push(token.rsplit('.').next().unwrap().to_owned());
    all.push(api_token.rsplit('.').next().unwrap().to_owned());
    for secret in &all {
        for text in &told {
            assert!(!text.contains(secret), "a secret is told");
        }
    }
}

/// In an agent's log, once for each.
const SESSION: &str = "session with core begun";

#[tokio::test]
async fn ten_renewals_with_orders_in_between_lose_none() {
    let site = Site::start().await;
    let services = "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";
    let policy = "[services.sleeper]\nallow = [\"restart\"]\n";
    let agent = site.start_node("berlin-1", services, policy);
    site.running("berlin-1", "sleeper").await;
    for _ in 0..10 {
        let renewed = site.hhctl(&["node", "certificate", "renew", "berlin-1", "--yes"]);
        assert_eq!(renewed.status, 0, "{renewed:?}");
        let restarted = site.hhctl(&["node", "restart", "berlin-1", "sleeper", "--yes"]);
        assert_eq!(restarted.status, 0, "{restarted:?}");
    }
    wait_for("all were renewed", async || {
        (agent.log().matches("certificate renewed").count() >= 10).then_some(())
    })
    .await;
    // The last of them opens a session like the first.
    let sessions = agent.log().matches(SESSION).count();
    agent.restart();
    wait_for("it has another session", async || {
        (agent.log().matches(SESSION).count() > sessions).then_some(())
    })
    .await;
    site.running("berlin-1", "sleeper").await;
}
