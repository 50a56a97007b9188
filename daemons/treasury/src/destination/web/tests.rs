use super::*;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const DOMAIN: &str = "pay.example.test";

fn certificate(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    dir.join("src/destination/web/certificates").join(name)
}

/// A server that gives each connection the same answer, whatever it asks for.
async fn server(answer: Vec<u8>) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(certificate("pay.crt")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate("pay.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            // A client that does not trust us ends here.
            let Ok(mut stream) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut request = [0; 4_096];
            // It comes in one piece.
            let read = stream.read(&mut request).await;
            assert!(read.is_ok_and(|bytes| bytes > 0));
            stream.write_all(&answer).await.ok();
            stream.shutdown().await.ok();
        }
    });
    address
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// Asks a server of our own for `https://DOMAIN/x`.
async fn get(answer: Vec<u8>, domain: &str, roots: Option<PathBuf>) -> Result<Vec<u8>, WebError> {
    let own = LightningAddressServer {
        domain: domain.to_owned(),
        address: server(answer).await,
        root_certificates: roots,
    };
    let web = Web::new(&[own]).unwrap();
    web.get(&format!("https://{domain}/x")).await
}

async fn trusted(answer: Vec<u8>) -> Result<Vec<u8>, WebError> {
    get(answer, DOMAIN, Some(certificate("pay.crt"))).await
}

#[track_caller]
fn check_refused(url: &str) {
    assert!(matches!(parse(url), Err(WebError::Url(_))), "{url}");
}

#[test]
fn only_https_without_credentials_is_asked() {
    let (_, host, port) = parse("https://Pay.Example:8443/a?b=c").unwrap();
    assert_eq!((host.as_str(), port), ("pay.example", 8443));
    check_refused("http://pay.example/");
    check_refused("https://user:word@pay.example/");
    check_refused("file:///etc/passwd");
    check_refused("/relative");
    check_refused("");
    check_refused(&format!(
        "https://pay.example/{}",
        "a".repeat(MAX_URL_BYTES)
    ));
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_asked() {
    let web = Web::new(&[]).unwrap();
    for url in [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data/",
    ] {
        let error = web.get(url).await.unwrap_err();
        assert!(
            matches!(error, WebError::Private { .. }),
            "{url}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_of_our_own_answers_from_inside_our_network() {
    assert_eq!(trusted(ok("hello")).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_no_request() {
    let error = get(ok("hello"), DOMAIN, None).await.unwrap_err();
    assert!(matches!(error, WebError::Connect { .. }), "{error:?}");
    let roots = Some(certificate("pay.crt"));
    let error = get(ok("hello"), "other.example.test", roots).await;
    assert!(matches!(error, Err(WebError::Connect { .. })), "{error:?}");
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1/\r\ncontent-length: 0\r\n\r\n";
    let error = trusted(answer.into()).await.unwrap_err();
    assert!(matches!(error, WebError::Status { .. }), "{error:?}");
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let error = trusted(ok(&"a".repeat(MAX_BODY_BYTES + 1)))
        .await
        .unwrap_err();
    assert!(matches!(error, WebError::TooLong { .. }), "{error:?}");
    assert!(trusted(ok(&"a".repeat(MAX_BODY_BYTES))).await.is_ok());
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    let error = trusted(b"hello\n".to_vec()).await.unwrap_err();
    assert!(matches!(error, WebError::Http { .. }), "{error:?}");
}
