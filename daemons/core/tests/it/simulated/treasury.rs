//! Who calls as hh-treasury, and what its certificate is good for.

use super::wire::Channel;
use crate::site::Site;
use hh_ipc::agent::{HandedIn, NodeAccount, TelemetryAck, TelemetryBatch, TreasuryReport, path};
use hh_trust::pki::{Identity, Issuer, IssuerKind, KeySlot, LeafKey, TrustDomain};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;

const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);

/// What a daemon at core's site, or a thief of an issuer's key, shows.
fn tls(site: &Site, kind: IssuerKind, identity: &Identity) -> Arc<ClientConfig> {
    let domain: TrustDomain = "hyperhash.test".parse().unwrap();
    let read = |name: String| fs::read_to_string(site.path().join("pki").join(name)).unwrap();
    let certificate = read(format!("{kind}-issuer.crt"));
    let key = read(format!("{kind}-issuer.key"));
    let issuer = Issuer::from_pem(kind, &domain, &certificate, &key).unwrap();
    let key = LeafKey::generate().unwrap();
    let now = jiff::Timestamp::now().as_second();
    let issued = issuer.issue(identity, &key.as_request(), now).unwrap();
    let slot = Arc::new(KeySlot::new(issued.chain, &key).unwrap());
    let root = CertificateDer::from_pem_slice(read("root.crt".to_owned()).as_bytes()).unwrap();
    Arc::new(hh_trust::pki::session_client(&root, &slot).unwrap())
}

async fn dial(site: &Site, kind: IssuerKind, identity: &Identity) -> Channel {
    let domain = "hyperhash.test".parse().unwrap();
    let address = format!("127.0.0.1:{}", site.ports[1]);
    let tls = tls(site, kind, identity);
    let channel = Channel::dial(SOURCE, &address, &domain, &tls).await;
    channel.unwrap()
}

fn report() -> TreasuryReport {
    let account = NodeAccount {
        node: "berlin-1".to_owned(),
        payable_msat: 5,
        ..NodeAccount::default()
    };
    TreasuryReport {
        accounts: vec![account],
    }
}

async fn exchanges(channel: &Channel) -> bool {
    let answered = channel.unary(path::EXCHANGE_PAYOUTS, report()).await;
    let answered: Result<HandedIn, _> = answered;
    answered.is_ok()
}

#[tokio::test]
async fn only_hh_treasury_says_what_nodes_are_owed_and_it_does_nothing_else() {
    let site = Site::start().await;
    let service = |name: &str| Identity::Service(name.parse().unwrap());
    let treasury = dial(&site, IssuerKind::Service, &service("hh-treasury")).await;
    assert!(exchanges(&treasury).await);
    let pushed = treasury.unary(path::PUSH_TELEMETRY, TelemetryBatch::default());
    let pushed: Result<TelemetryAck, _> = pushed.await;
    assert!(pushed.is_err(), "it is no node");
    let pool = dial(&site, IssuerKind::Service, &service("hh-pool")).await;
    assert!(!exchanges(&pool).await, "another service");
    let node = Identity::Node("berlin-1".parse().unwrap());
    let node = dial(&site, IssuerKind::Node, &node).await;
    assert!(!exchanges(&node).await, "a node");
}
