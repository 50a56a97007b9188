use super::*;
use crate::api_token::{self, NewApiToken};
use crate::authority::Authority;
use crate::checkpoint::Checkpoints;
use crate::config::CoreConfig;
use crate::fleet::Fleet;
use crate::operations::Operations;
use crate::permission::{self, Access, Interface, ROWS, Who};
use crate::store::{Store, StoreError};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use entrance::Peer;
use hh_ipc::api::core::Role;
use hh_trust::api_token::{ApiSecret, ApiTokenId};
use http_body_util::BodyExt;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SOMEWHERE: &str = "192.0.2.1:1000";

/// In a folder of the checkout.
fn stored(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(name)
}

/// Every operation of the document, as the table names it.
fn operations() -> BTreeSet<String> {
    let (_, openapi) = routes();
    let document: Value = serde_json::from_str(&document(&openapi)).unwrap();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            if ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&&*method) {
                operations.insert(format!("{method} {path}"));
            }
        }
    }
    operations
}

#[test]
fn every_operation_of_the_document_has_a_row_and_every_row_an_operation() {
    let rows = ROWS.iter().filter(|row| row.interface == Interface::Rest);
    let rows: BTreeSet<String> = rows.map(|row| row.method.to_owned()).collect();
    assert!(rows.len() > 15);
    assert_eq!(operations(), rows);
}

#[test]
fn the_stored_document_is_the_one_that_is_served() {
    let (_, openapi) = routes();
    let served = document(&openapi);
    let path = stored("openapi.json");
    if std::env::var_os("HH_WRITE_DOCS").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == served,
        "docs/reference/openapi.json is another one; HH_WRITE_DOCS=1 writes it, and git shows what has changed"
    );
}

/// A core of a test with its REST interface; nobody listens.
struct Site {
    service: TowerToHyperService<Router>,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Site {
    fn start(public_per_minute: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::of_test(dir.path());
        let loaded = hh_daemon::load::<CoreConfig>(&dir.path().join("core.toml"));
        let (settings, _) = loaded.unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let fleet = Fleet::default();
        let operations = Operations::new(store.clone(), Arc::clone(&authority));
        let checkpoints = Checkpoints::new(store.clone(), Arc::clone(&authority));
        let nowhere = "127.0.0.1:0".parse().unwrap();
        let control = Control {
            context: hh_daemon::Context::new("hyperhash-core", "0", settings),
            authority,
            store: store.clone(),
            fleet,
            operations,
            checkpoints,
            enrolment_address: nowhere,
            session_address: nowhere,
            enrolment_url: "https://127.0.0.1:1".to_owned(),
        };
        let config = RestConfig {
            listen_address: nowhere,
            plain: true,
            pool_socket: None,
            treasury_socket: Some(dir.path().join("nobody.sock")),
            public_requests_per_minute: public_per_minute,
            requests_per_minute: 100_000,
        };
        Self {
            service: TowerToHyperService::new(router(Arc::new(control), &config)),
            store,
            _dir: dir,
        }
    }

    /// A token of somebody, who is an operator of the node berlin or has the account of alice.
    async fn token(&self, role: Role, access: Access, ends_in_ms: i64) -> (String, String) {
        let (id, secret) = (
            ApiTokenId::generate().unwrap(),
            ApiSecret::generate().unwrap(),
        );
        let now_ms = Timestamp::now().as_millisecond();
        let names = |wanted, name: &str| match role == wanted {
            true => vec![name.to_owned()],
            false => Vec::new(),
        };
        let token = NewApiToken {
            id,
            hash: secret.hash(),
            name: "somebody".to_owned(),
            role,
            read_only: access == Access::ReadOnly,
            nodes: names(Role::NodeOperator, "berlin"),
            accounts: names(Role::Miner, "miner:alice"),
            made_by: "local:root".to_owned(),
            created_at_ms: now_ms,
            expires_at_ms: now_ms + ends_in_ms,
        };
        let put: Result<(), StoreError> = self
            .store
            .call(move |transaction| api_token::put(transaction, &token))
            .await;
        put.unwrap();
        (id.to_string(), secret.expose().to_owned())
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Response {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .extension(Peer(SOMEWHERE.parse().unwrap()));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.service.call(request).await.unwrap()
    }
}

async fn json(response: Response) -> Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[track_caller]
fn is_problem(response: &Response, status: StatusCode) {
    assert_eq!(response.status(), status);
    let kind = response.headers().get("content-type").unwrap();
    assert_eq!(kind, "application/problem+json");
}

/// An operation with names for what is in braces.
fn filled(operation: &str) -> (String, String) {
    let (method, path) = operation.split_once(' ').unwrap();
    let hash = "0".repeat(64);
    let path = path
        .replace("{node}", "berlin")
        .replace("{id}", "00")
        .replace("{hash}", &hash)
        .replace("{block}", &hash)
        .replace("{account}", "miner:alice");
    (method.to_owned(), path)
}

const HOUR_MS: i64 = 3_600_000;

#[tokio::test]
async fn every_role_gets_what_the_table_gives_it_of_every_operation() {
    let site = Site::start(100_000);
    let mut driven = 0;
    for who in Who::ALL {
        let token = match who {
            Who::Anyone => None,
            Who::Person(role, access) => Some(site.token(role, access, HOUR_MS).await.1),
            Who::Unenrolled | Who::Node | Who::Treasury => continue,
        };
        for operation in operations() {
            let (method, path) = filled(&operation);
            let response = site.ask(&method, &path, token.as_deref(), "{}").await;
            let status = response.status();
            let is_refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
            let may = permission::allows(Interface::Rest, &operation, who);
            assert_eq!(!is_refused, may, "{who:?} {operation}: {status}");
            if is_refused {
                let expected = match who {
                    Who::Anyone => StatusCode::UNAUTHORIZED,
                    _ => StatusCode::FORBIDDEN,
                };
                is_problem(&response, expected);
            }
            assert!(status.as_u16() != 500, "{who:?} {operation}");
            driven += 1;
        }
    }
    assert_eq!(driven, 7 * operations().len());
}

#[tokio::test]
async fn a_token_that_does_not_hold_opens_nothing() {
    let site = Site::start(100_000);
    let (id, good) = site.token(Role::CoreOperator, Access::Full, HOUR_MS).await;
    let (_, late) = site.token(Role::CoreOperator, Access::Full, 0).await;
    assert_eq!(
        site.ask("GET", "/v1/nodes", Some(&good), "").await.status(),
        StatusCode::OK
    );
    let other = ApiSecret::generate().unwrap();
    for wrong in [
        late.as_str(),
        other.expose(),
        "",
        "hha1.",
        &good[..60],
        "x y",
    ] {
        let response = site.ask("GET", "/v1/nodes", Some(wrong), "").await;
        is_problem(&response, StatusCode::UNAUTHORIZED);
        // Nor is who shows one nobody: what everybody sees is not for who shows a wrong one.
        let response = site.ask("GET", "/v1/public/nodes", Some(wrong), "").await;
        is_problem(&response, StatusCode::UNAUTHORIZED);
    }
    let revoked: Result<(), StoreError> = site
        .store
        .call(move |transaction| api_token::revoke(transaction, &id, 1))
        .await;
    revoked.unwrap();
    let response = site.ask("GET", "/v1/nodes", Some(&good), "").await;
    is_problem(&response, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_speaks_of_its_own_nodes_and_accounts_alone() {
    let site = Site::start(100_000);
    let (_, operator) = site.token(Role::NodeOperator, Access::Full, HOUR_MS).await;
    let order = r#"{"node":"paris","service":"hh-translator","action":"restart"}"#;
    let response = site
        .ask("POST", "/v1/operations", Some(&operator), order)
        .await;
    is_problem(&response, StatusCode::NOT_FOUND);
    assert_eq!(json(response).await["code"], "HH5021");
    // His own is not known either, but that core says.
    let own = order.replace("paris", "berlin");
    let response = site
        .ask("POST", "/v1/operations", Some(&operator), &own)
        .await;
    is_problem(&response, StatusCode::NOT_FOUND);
    assert_eq!(json(response).await["code"], "HH5001");
    let (_, miner) = site.token(Role::Miner, Access::Full, HOUR_MS).await;
    let other = site
        .ask("GET", "/v1/accounts/miner:bob", Some(&miner), "")
        .await;
    is_problem(&other, StatusCode::NOT_FOUND);
    // hh-treasury is away.
    let own = site
        .ask("GET", "/v1/accounts/miner:alice", Some(&miner), "")
        .await;
    is_problem(&own, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn what_is_made_over_rest_is_in_the_audit_log_with_who_made_it() {
    let site = Site::start(100_000);
    let (id, token) = site.token(Role::CoreOperator, Access::Full, HOUR_MS).await;
    let body = r#"{"node":"berlin","valid_seconds":3600}"#;
    for _ in 0..3 {
        let made = site
            .ask("POST", "/v1/enrolment-tokens", Some(&token), body)
            .await;
        assert_eq!(made.status(), StatusCode::CREATED);
    }
    // One by one, by the cursors.
    let (mut seen, mut cursor) = (BTreeSet::new(), String::new());
    for _ in 0..3 {
        let path = format!("/v1/enrolment-tokens?limit=1{cursor}");
        let page = json(site.ask("GET", &path, Some(&token), "").await).await;
        seen.insert(page["items"][0]["id"].as_str().unwrap().to_owned());
        cursor = match page["next"].as_str() {
            Some(next) => format!("&cursor={next}"),
            None => String::new(),
        };
    }
    assert_eq!((seen.len(), cursor.as_str()), (3, ""));
    let path = format!("/v1/enrolment-tokens/{}", seen.first().unwrap());
    let revoked = json(site.ask("DELETE", &path, Some(&token), "").await).await;
    assert_eq!(revoked["state"], "revoked");
    let audit = json(
        site.ask("GET", "/v1/audit?limit=200", Some(&token), "")
            .await,
    )
    .await;
    let lines = audit["items"].as_array().unwrap();
    assert_eq!((lines.len(), &audit["next"]), (8, &Value::Null));
    let intent: Value = serde_json::from_str(lines[6].as_str().unwrap()).unwrap();
    assert_eq!(intent["action"], "token.revoke");
    assert_eq!(
        (&intent["via"], &intent["source"]),
        (&"rest".into(), &SOMEWHERE.into())
    );
    assert_eq!(intent["actor"]["credential"], id);
}

#[tokio::test]
async fn what_is_too_much_or_makes_no_sense_is_a_problem() {
    let site = Site::start(100_000);
    let (_, token) = site.token(Role::CoreOperator, Access::Full, HOUR_MS).await;
    let token = Some(token.as_str());
    let long = format!("{{\"node\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
    for (method, path, body, status) in [
        (
            "POST",
            "/v1/operations",
            long.as_str(),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        ("POST", "/v1/operations", "{", StatusCode::BAD_REQUEST),
        (
            "POST",
            "/v1/operations",
            "{\"node\":1}",
            StatusCode::BAD_REQUEST,
        ),
        ("GET", "/v1/nodes?limit=0", "", StatusCode::BAD_REQUEST),
        ("GET", "/v1/nodes?limit=x", "", StatusCode::BAD_REQUEST),
        (
            "GET",
            "/v1/operations?cursor=00",
            "",
            StatusCode::BAD_REQUEST,
        ),
        ("GET", "/v1/audit?cursor=x", "", StatusCode::BAD_REQUEST),
        ("GET", "/v1/nodes/%00", "", StatusCode::BAD_REQUEST),
        ("GET", "/v1/nodes/%ff", "", StatusCode::BAD_REQUEST),
        (
            "GET",
            "/v1/operations/00?wait_seconds=21",
            "",
            StatusCode::BAD_REQUEST,
        ),
        ("GET", "/v1/public/blocks/00", "", StatusCode::BAD_REQUEST),
        ("GET", "/v1/nothing", "", StatusCode::NOT_FOUND),
        ("PUT", "/v1/nodes", "", StatusCode::METHOD_NOT_ALLOWED),
        (
            "GET",
            "/v1/public/pool",
            "",
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        (
            "GET",
            "/v1/public/blocks",
            "",
            StatusCode::SERVICE_UNAVAILABLE,
        ),
    ] {
        let response = site.ask(method, path, token, body).await;
        assert_eq!(response.status(), status, "{method} {path}");
        is_problem(&response, status);
    }
    let put = site.ask("PUT", "/v1/operations", None, "").await;
    assert_eq!(put.headers().get("allow").unwrap(), "GET, POST");
    let head = site
        .ask(Method::HEAD.as_str(), "/v1/public/nodes", None, "")
        .await;
    assert_eq!(head.status(), StatusCode::OK);
}

#[tokio::test]
async fn who_comes_too_often_waits_and_keeps_no_holder_of_a_token_out() {
    let site = Site::start(5);
    for _ in 0..5 {
        let seen = site.ask("GET", "/v1/public/nodes", None, "").await;
        assert_eq!(seen.status(), StatusCode::OK);
    }
    let refused = site.ask("GET", "/v1/public/nodes", None, "").await;
    is_problem(&refused, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let guess = ApiSecret::generate().unwrap();
    let guessed = site.ask("GET", "/v1/nodes", Some(guess.expose()), "").await;
    is_problem(&guessed, StatusCode::TOO_MANY_REQUESTS);
    let (_, token) = site.token(Role::CoreOperator, Access::Full, HOUR_MS).await;
    let seen = site.ask("GET", "/v1/nodes", Some(&token), "").await;
    assert_eq!(seen.status(), StatusCode::OK);
}
