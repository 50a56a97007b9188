//! REST as people, programs and strangers use it: by HTTP, with tokens of hhctl, and by tools that we have not written.

mod sources;

use crate::site::{PATIENCE, Said, Site, wait_for};
use rusqlite::Connection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use sources::{BLOCK, Sources};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
}

/// One request on a connection of its own.
async fn request(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
    body: &str,
) -> Answer {
    let length = body.len();
    let text = format!(
        "{head}\r\nhost: core\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    read.await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: serde_json::from_str(body).unwrap(),
    }
}

async fn ask(site: &Site, what: &str, token: Option<&str>, body: &str) -> Answer {
    let stream = TcpStream::connect(("127.0.0.1", site.rest)).await.unwrap();
    let bearer = token.map_or(String::new(), |token| {
        format!("\r\nauthorization: Bearer {token}")
    });
    request(stream, &format!("{what} HTTP/1.1{bearer}"), body).await
}

async fn see(site: &Site, path: &str) -> Value {
    let seen = ask(site, &format!("GET {path}"), None, "").await;
    assert_eq!(seen.status, 200, "{path}: {seen:?}");
    seen.body
}

/// A token of hhctl, as its file has it, and its id.
fn token(site: &Site, name: &str, words: &[&str]) -> (String, String) {
    let file = site.path().join(format!("{name}.token"));
    let out = file.to_str().unwrap();
    let create = ["api-token", "create", name, "--out", out, "-o", "json"];
    let made: Said = site.hhctl(&[&create, words].concat());
    assert_eq!(made.status, 0, "{made:?}");
    let id = made.item()["id"].as_str().unwrap().to_owned();
    let secret = std::fs::read_to_string(&file).unwrap();
    (id, secret.trim().to_owned())
}

#[tokio::test]
async fn an_operator_has_a_node_restart_a_service_over_rest() {
    let site = Site::start().await;
    let services = "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";
    let policy = "[services.sleeper]\nallow = [\"restart\"]\n";
    let _agent = site.start_node("berlin-1", services, policy);
    let first = site.running("berlin-1", "sleeper").await;
    let (id, bob) = token(
        &site,
        "bob",
        &["--role", "node-operator", "--node", "berlin-1"],
    );
    let order = r#"{"node":"berlin-1","service":"sleeper","action":"restart"}"#;
    let sent = ask(&site, "POST /v1/operations", Some(&bob), order).await;
    assert_eq!(sent.status, 202, "{sent:?}");
    assert_eq!(sent.body["by"], "api:bob");
    let operation = sent.body["id"].as_str().unwrap();
    let wait = format!("GET /v1/operations/{operation}?wait_seconds=20");
    wait_for("it is done", async || {
        let now = ask(&site, &wait, Some(&bob), "").await;
        (now.body["state"] == "done").then_some(())
    })
    .await;
    wait_for("another process", async || {
        let now = site.running("berlin-1", "sleeper").await;
        (now.pid != first.pid).then_some(())
    })
    .await;
    let nodes = ask(&site, "GET /v1/nodes", Some(&bob), "").await;
    assert_eq!(nodes.body["items"][0]["id"], "berlin-1", "{nodes:?}");
    let audit = ask(&site, "GET /v1/audit", Some(&bob), "").await;
    assert_eq!(audit.status, 403, "{audit:?}");
    let revoked = site.hhctl(&["api-token", "revoke", &id, "--yes"]);
    assert_eq!(revoked.status, 0, "{revoked:?}");
    let again = ask(&site, "POST /v1/operations", Some(&bob), order).await;
    assert_eq!(again.status, 401, "{again:?}");
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    let is_leaked = |text: &str| text.contains(bob.trim_start_matches("hha1."));
    assert!(!is_leaked(&site.core.log()), "a token is in a log");
    let database = std::fs::read(site.database()).unwrap();
    assert!(!is_leaked(&String::from_utf8_lossy(&database)));
}

#[tokio::test]
async fn an_operator_takes_a_command_back_and_one_of_core_revokes_a_node_over_rest() {
    let site = Site::start().await;
    let agent = site.start_node("berlin-1", "", "");
    wait_for("the node is known", async || site.node("berlin-1").await).await;
    agent.kill();
    site.away("berlin-1").await;
    let words = ["--role", "node-operator", "--node", "berlin-1"];
    let (_, bob) = token(&site, "bob", &words);
    let words = ["--role", "node-operator", "--node", "paris"];
    let (_, carol) = token(&site, "carol", &words);
    let (_, alice) = token(&site, "alice", &["--role", "core-operator"]);
    let order = r#"{"node":"berlin-1","service":"sleeper","action":"restart"}"#;
    let sent = ask(&site, "POST /v1/operations", Some(&bob), order).await;
    let cancel = format!(
        "DELETE /v1/operations/{}",
        sent.body["id"].as_str().unwrap()
    );
    let of_another = ask(&site, &cancel, Some(&carol), "").await;
    assert_eq!(of_another.status, 404, "{of_another:?}");
    let cancelled = ask(&site, &cancel, Some(&bob), "").await;
    assert_eq!(
        (cancelled.status, &cancelled.body["state"]),
        (200, &json!("cancelled"))
    );
    let again = ask(&site, &cancel, Some(&bob), "").await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("HH5042")));

    let revoke = "POST /v1/nodes/berlin-1/revoke";
    let refused = ask(&site, revoke, Some(&bob), "{}").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let long = json!({"reason": "x".repeat(201)}).to_string();
    let refused = ask(&site, revoke, Some(&alice), &long).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let revoked = ask(&site, revoke, Some(&alice), r#"{"reason":"stolen"}"#).await;
    assert_eq!(
        (revoked.status, &revoked.body["node"]["state"]),
        (200, &json!("revoked"))
    );
    let order = ask(&site, "POST /v1/operations", Some(&bob), order).await;
    assert_eq!((order.status, &order.body["code"]), (409, &json!("HH5004")));
    let public = see(&site, "/v1/public/nodes").await;
    assert_eq!(public["items"], json!([]));
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
}

#[tokio::test]
async fn a_view_socket_makes_no_token() {
    let site = Site::start().await;
    let view = site.path().join("hyperhash-core/view.sock");
    let client = hh_ipc::client::core(hh_ipc::client::dial(&view).await.unwrap());
    let call = || hh_ipc::client::within(PATIENCE);
    let refused = client.revoke_api_token(call(), "00".to_owned()).await;
    assert_eq!(refused.unwrap().unwrap_err().code, "HH0201");
    let listed = client.api_tokens(call()).await.unwrap().unwrap();
    assert_eq!(listed.total, 0);
}

#[tokio::test]
async fn by_tls_core_shows_the_networks_certificate() {
    let site = Site::start().await;
    let config = site.path().join("hyperhash-core.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("plain = true", "plain = false")).unwrap();
    site.core.restart();
    site.client().await;
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(site.path().join("pki/root.crt")).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let stream = TcpStream::connect(("127.0.0.1", site.rest)).await.unwrap();
    let domain: hh_trust::pki::TrustDomain = "hyperhash.test".parse().unwrap();
    let name: ServerName<'static> = domain.core_server_name();
    let tls = connector.connect(name, stream).await.unwrap();
    let seen = request(tls, "GET /v1/public/nodes HTTP/1.1", "").await;
    assert_eq!((seen.status, &seen.body["items"]), (200, &json!([])));
}

#[tokio::test]
async fn everybody_sees_blocks_fees_and_payments_and_no_account() {
    let site = Site::start().await;
    let _sources = Sources::start(site.path());
    let pool = see(&site, "/v1/public/pool").await;
    assert_eq!(pool["height"], 211);
    let blocks = see(&site, "/v1/public/blocks").await;
    assert_eq!(blocks["items"][0]["hash"], BLOCK);
    let block = see(&site, &format!("/v1/public/blocks/{BLOCK}")).await;
    let fees = see(&site, "/v1/public/fees").await;
    assert_eq!(fees["items"][0]["finder_msat"], 500_000_000);
    assert_eq!(fees["items"][0]["nodes"][0]["node"], "edge-1");
    let payments = see(&site, "/v1/public/payments").await;
    let (first, second) = (&payments["items"][0], &payments["items"][1]);
    assert_eq!(first["payee"], second["payee"]);
    assert_ne!(first["payment_hash"], second["payment_hash"]);
    for shown in [&blocks, &block, &fees, &payments] {
        let shown = shown.to_string();
        assert!(!shown.contains("alice"), "{shown}");
    }
}

#[tokio::test]
async fn a_daemon_that_is_away_is_told_as_such() {
    let site = Site::start().await;
    for path in ["pool", "treasury", "blocks", "fees", "payments"] {
        let away = ask(&site, &format!("GET /v1/public/{path}"), None, "").await;
        assert_eq!(
            (away.status, &away.body["code"]),
            (503, &json!("HH5030")),
            "{path}"
        );
    }
    see(&site, "/v1/public/nodes").await;
}

/// The environment of scripts/python-tools, if there is one.
#[expect(clippy::print_stderr, reason = "a test that was not run says so")]
fn python_tools() -> Option<PathBuf> {
    let tools = std::env::var_os("HH_PYTHON_TOOLS").map(PathBuf::from);
    if tools.is_none() {
        eprintln!("skipped: HH_PYTHON_TOOLS does not name an environment of scripts/python-tools");
    }
    tools
}

/// Has jwcrypto verify a signature, and gives what it is over.
fn verified(tools: &Path, asked: &Value) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/verify_jws.py");
    let mut python = Command::new(tools.join("bin/python"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(asked.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test]
async fn jwcrypto_verifies_reports_and_commands() {
    let Some(tools) = python_tools() else { return };
    let site = Site::start().await;
    let _sources = Sources::start(site.path());
    let report = see(&site, &format!("/v1/public/blocks/{BLOCK}/report")).await;
    let treasury = see(&site, "/v1/public/treasury").await;
    let mut asked = json!({
        "key": treasury["report_public_key"], "secret": false, "jws": report["signature"], "payload": report["report"],
    });
    assert_eq!(
        verified(&tools, &asked).as_deref(),
        Ok(report["report"].as_str().unwrap())
    );
    asked["payload"] = json!(
        report["report"]
            .as_str()
            .unwrap()
            .replace("500000000", "500000001")
    );
    let forged = verified(&tools, &asked).unwrap_err();
    assert!(forged.contains("InvalidJWSSignature"), "{forged}");

    let _agent = site.start_node("berlin-1", "", "");
    wait_for("the node is known", async || site.node("berlin-1").await).await;
    let words = [
        "node",
        "restart",
        "berlin-1",
        "sleeper",
        "--yes",
        "--no-wait",
    ];
    assert_eq!(site.hhctl(&words).status, 0);
    let connection = Connection::open(site.database()).unwrap();
    let jws: String = connection
        .query_row("SELECT jws FROM commands", [], |row| row.get(0))
        .unwrap();
    let key = std::fs::read_to_string(site.path().join("pki/command.key")).unwrap();
    let asked = json!({"key": key.trim(), "secret": true, "jws": jws, "payload": null});
    let command: Value = serde_json::from_str(&verified(&tools, &asked).unwrap()).unwrap();
    assert!(command.to_string().contains("service.restart"), "{command}");
}

#[tokio::test]
async fn schemathesis_finds_no_failure_and_nothing_undocumented() {
    let Some(tools) = python_tools() else { return };
    let site = Site::start().await;
    let _sources = Sources::start(site.path());
    let _agent = site.start_node("berlin-1", "", "");
    wait_for("the node is known", async || site.node("berlin-1").await).await;
    let (_, alice) = token(&site, "alice", &["--role", "core-operator"]);
    let url = format!("http://127.0.0.1:{}", site.rest);
    let dir = site.path().to_owned();
    let run = move || {
        Command::new(tools.join("bin/schemathesis"))
            .current_dir(dir)
            .args(["run", &format!("{url}/v1/openapi.json"), "--url", &url])
            .args(["--header", &format!("Authorization: Bearer {alice}")])
            .args(["--checks", "all", "--max-examples", "20", "--seed", "7"])
            // What a schema can't say of a name or a cursor is refused, with a 400 that the document has.
            .args(["--exclude-checks", "positive_data_acceptance"])
            .args(["--generation-database", "none", "--no-color"])
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!site.core.log().contains("panicked"));
}
