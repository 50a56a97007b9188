//! A node whose certificate has ended comes back by itself, and nobody comes in its place.

use crate::site::{Daemon, Site, wait_for};
use hh_trust::pki::{Identity, IssuedCertificate, Issuer, IssuerKind, LeafKey, Root, TrustDomain};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const DAY: i64 = 86_400;

fn domain() -> TrustDomain {
    "hyperhash.test".parse().unwrap()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A site whose issuer of nodes was made so long ago that its certificates may have ended.
async fn aged_site() -> (Site, Issuer) {
    let site = Site::start().await;
    site.core.kill();
    let pki = site.path().join("pki");
    let read = |name: &str| fs::read_to_string(pki.join(name)).unwrap();
    let root = Root::from_pem(&domain(), &read("root.crt"), &read("offline/root.key")).unwrap();
    let issuer = root
        .make_issuer(IssuerKind::Node, now() - 20 * DAY)
        .unwrap();
    // Its file keeps its mode.
    fs::write(pki.join("node-issuer.crt"), issuer.certificate_pem()).unwrap();
    fs::write(pki.join("node-issuer.key"), issuer.to_secret_pem()).unwrap();
    site.core.restart();
    site.client().await;
    (site, issuer)
}

/// A certificate of the node that ended nine days ago.
fn ended(issuer: &Issuer, key: &LeafKey) -> IssuedCertificate {
    let identity = Identity::Node("berlin-1".parse().unwrap());
    issuer
        .issue(&identity, &key.as_request(), now() - 10 * DAY)
        .unwrap()
}

struct Node {
    agent: Daemon,
    identity: PathBuf,
}

impl Node {
    async fn join(site: &Site) -> Self {
        let agent = site.start_node("berlin-1", "", "");
        let identity = site.path().join("berlin-1/data/identity.json");
        let node = Self { agent, identity };
        node.has_session(1).await;
        node
    }

    async fn has_session(&self, sessions: usize) {
        wait_for("the node has a session", async || {
            let begun = self.agent.log().matches("session with core begun").count();
            (begun >= sessions).then_some(())
        })
        .await;
    }

    fn kept(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(&self.identity).unwrap()).unwrap()
    }

    /// Has it think that it was given this certificate for this key.
    fn put(&self, issued: &IssuedCertificate, key: &LeafKey) {
        let mut kept = self.kept();
        let chain = issued.chain.iter().map(|one| json!(hex::encode(one)));
        kept["enrolled"]["chain"] = chain.collect();
        kept["enrolled"]["key_pem"] = json!(key.to_secret_pem());
        fs::write(&self.identity, kept.to_string()).unwrap();
    }
}

/// Has core think that this was the last certificate of the node.
fn is_the_last(site: &Site, issued: &IssuedCertificate, key: &LeafKey) {
    let mut chain = Vec::new();
    for certificate in &issued.chain {
        let length = u32::try_from(certificate.len()).unwrap();
        chain.extend(length.to_be_bytes());
        chain.extend(certificate.as_ref());
    }
    let connection = Connection::open(site.database()).unwrap();
    let update = "UPDATE certificates SET serial = ?, key_hash = ?, chain = ?, until_ms = ? WHERE node = 'berlin-1'";
    let values = params![
        issued.serial.to_string(),
        key.as_request().key_hash().to_vec(),
        chain,
        issued.validity.not_after * 1_000,
    ];
    assert_eq!(connection.execute(update, values).unwrap(), 1);
}

#[tokio::test]
async fn a_node_that_was_off_for_days_comes_back_without_an_operator() {
    let (site, issuer) = aged_site().await;
    let node = Node::join(&site).await;
    node.agent.kill();
    site.core.kill();
    let key = node.kept()["enrolled"]["key_pem"].clone();
    let key = LeafKey::from_pem(key.as_str().unwrap()).unwrap();
    let last = ended(&issuer, &key);
    is_the_last(&site, &last, &key);
    site.core.restart();
    site.client().await;

    // Whoever has the node's own key and no key of its last certificate gets nothing.
    let other = LeafKey::generate().unwrap();
    node.put(&ended(&issuer, &other), &other);
    node.agent.restart();
    wait_for("it is refused", async || {
        let log = node.agent.log();
        log.contains("not-its-last-certificate").then_some(())
    })
    .await;
    node.agent.kill();
    assert_eq!(
        node.agent.log().matches("session with core begun").count(),
        1
    );

    node.put(&last, &key);
    node.agent.restart();
    node.has_session(2).await;
    assert!(
        node.agent
            .log()
            .contains("another certificate was made for this node")
    );
    let shown = site.node("berlin-1").await.unwrap();
    assert!(shown.node.certificate_until_at > jiff::Timestamp::now());
    let verified = site.hhctl(&["audit", "verify", "-o", "json"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    let connection = Connection::open(site.database()).unwrap();
    let lines = "SELECT count(*) FROM audit WHERE line LIKE '%node.recover%'";
    let lines: u32 = connection.query_row(lines, [], |row| row.get(0)).unwrap();
    // That one was refused, as often as it tried, and that the other was let back.
    assert!(lines >= 2, "{lines}");
    // What it was given is its own from then on.
    node.agent.restart();
    node.has_session(3).await;
}
