use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;

/// A server that answers one request with exactly these bytes.
fn answering(response: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _read = stream.read(&mut request).unwrap();
        stream.write_all(response.as_bytes()).unwrap();
    });
    url
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn rpc(url: &str) -> Rpc {
    // An empty cookie: no server here looks at it.
    Rpc::new(url, RpcAuth::CookieFile("/dev/null".into())).unwrap()
}

#[track_caller]
fn check_message(error: &RpcError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
    assert!(!message.contains("secret"), "{message:?}");
}

#[tokio::test]
async fn refused_connection_names_the_url_and_the_way_out() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = rpc(&format!("http://{unused}"))
        .network_info()
        .await
        .unwrap_err();
    assert!(matches!(error, RpcError::Unreachable { .. }), "{error:?}");
    check_message(&error, &[&unused.to_string(), "getnetworkinfo", "-server"]);
    assert!(!error.is_config());
}

#[tokio::test]
async fn wrong_password_is_a_mistake_of_the_configuration() {
    let url = answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"secret\n").unwrap();
    let auth = || RpcAuth::Password {
        user: "u".to_owned(),
        password: SecretRef::File(file.path().into()),
    };
    let error = Rpc::new(&url, auth())
        .unwrap()
        .network_info()
        .await
        .unwrap_err();
    assert!(
        matches!(error, RpcError::Unauthorized { status: 401, .. }),
        "{error:?}"
    );
    check_message(&error, &[&url, "user u"]);
    assert!(error.is_config());

    let all = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(all).unwrap();
    let error = Rpc::new(&url, auth())
        .unwrap()
        .network_info()
        .await
        .unwrap_err();
    assert!(matches!(error, RpcError::Password { .. }), "{error:?}");
    check_message(&error, &[&url, "rpc_password"]);
    assert!(error.is_config());
}

#[tokio::test]
async fn missing_cookie_file_is_named() {
    let auth = RpcAuth::CookieFile("/nonexistent/.cookie".into());
    let error = Rpc::new("http://127.0.0.1:1", auth)
        .unwrap()
        .network_info()
        .await
        .unwrap_err();
    check_message(&error, &["/nonexistent/.cookie", "http://127.0.0.1:1"]);
    assert!(!error.is_config());
}

#[tokio::test]
async fn a_starting_node_is_told_from_a_refusal() {
    let body = |code: i32, message: &str| {
        format!(r#"{{"result":null,"error":{{"code":{code},"message":"{message}"}},"id":0}}"#)
    };
    let url = answering(http(
        "500 Internal Server Error",
        &body(-28, "Loading block index…"),
    ));
    let error = rpc(&url).blockchain_info().await.unwrap_err();
    assert!(matches!(error, RpcError::WarmingUp { .. }), "{error:?}");

    let url = answering(http("500 Internal Server Error", &body(-8, "out of range")));
    let error = rpc(&url).block_hash(9).await.unwrap_err();
    assert!(
        matches!(error, RpcError::Refused { code: -8, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_node_that_hangs_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let call = rpc(&url);
    let error = call
        .call::<Value>("uptime", vec![], Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(matches!(error, RpcError::TimedOut { .. }), "{error:?}");
}

#[test]
fn a_url_without_port_or_with_credentials_is_refused() {
    let auth = || RpcAuth::CookieFile("/c".into());
    for url in [
        "127.0.0.1:8332",
        "https://127.0.0.1:8332",
        "http://127.0.0.1",
    ] {
        assert!(
            matches!(Rpc::new(url, auth()), Err(RpcError::BadUrl { .. })),
            "{url}"
        );
    }
    let error = Rpc::new("http://u:secret@127.0.0.1:8332", auth()).unwrap_err();
    check_message(&error, &["credentials"]);
}
