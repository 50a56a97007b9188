//! Issuers and keys of core are changed, and no node has to be touched.

use crate::site::{Site, wait_for};
use rusqlite::Connection;
use std::fs;

const SLEEPER: &str = "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";
const POLICY: &str = "[services.sleeper]\nallow = [\"restart\"]\n";

#[tokio::test]
async fn nodes_go_on_through_a_change_of_every_issuer_and_key() {
    let site = Site::start().await;
    let _agent = site.start_node("berlin-1", SLEEPER, POLICY);
    site.running("berlin-1", "sleeper").await;
    // With a token of the old key.
    let paris = site.prepare("paris-1", "", "");
    let token = paris.join("token");
    let made = site.hhctl(&[
        "token",
        "create",
        "paris-1",
        "--out",
        token.to_str().unwrap(),
    ]);
    assert_eq!(made.status, 0, "{made:?}");

    let pki = site.path().join("pki");
    let rotate = |what: &str| {
        let dir = pki.to_str().unwrap();
        site.hhctl(&[
            "pki",
            "rotate",
            what,
            dir,
            "--trust-domain",
            "hyperhash.test",
        ])
    };
    for what in [
        "node-issuer",
        "server-issuer",
        "command-key",
        "enrolment-key",
    ] {
        let rotated = rotate(what);
        assert_eq!(rotated.status, 0, "{rotated:?}");
    }
    let again = rotate("node-issuer");
    assert!(again.stderr.contains("less than a day"), "{again:?}");
    site.core.restart();
    site.client().await;

    // By the certificate of the old issuer.
    site.running("berlin-1", "sleeper").await;
    let connection = Connection::open(site.database()).unwrap();
    let certificates = || -> u32 {
        let query = "SELECT count(*) FROM certificates WHERE node = 'berlin-1'";
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(certificates(), 1);
    // By an order that the new key has signed, as the list says that the node was given.
    let words = [
        "node", "restart", "berlin-1", "sleeper", "--yes", "-o", "json",
    ];
    let done = site.hhctl(&words);
    assert_eq!(done.item()["state"], "done", "{done:?}");
    let _paris = site.start_prepared(&paris);
    wait_for("the other node is known", async || {
        site.node("paris-1").await
    })
    .await;
    let words = ["node", "certificate", "renew", "berlin-1", "--yes"];
    let renewed = site.hhctl(&words);
    assert_eq!(renewed.status, 0, "{renewed:?}");
    wait_for("a certificate of the new issuer", async || {
        (certificates() == 2).then_some(())
    })
    .await;

    // Nothing of the old one is needed any more.
    for name in ["node-issuer.former.crt", "node-issuer.former.crl"] {
        fs::remove_file(pki.join(name)).unwrap();
    }
    site.core.restart();
    site.client().await;
    site.running("berlin-1", "sleeper").await;
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
}
