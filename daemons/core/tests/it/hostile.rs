//! Who has no business on core's ports gets nothing, and keeps no node out.

use crate::site::{PATIENCE, Site};
use hh_trust::pki::TrustDomain;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// One that shows no certificate.
fn client(
    version: &'static SupportedProtocolVersion,
    root: Option<CertificateDer<'static>>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(root);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn garbage_and_half_a_handshake_keep_no_node_out() {
    let site = Site::start().await;
    let mut silent = Vec::new();
    for port in site.ports {
        for _ in 0..50 {
            let mut stream = connect(port).await;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            silent.push(connect(port).await);
        }
    }
    let _agent = site.start_node(
        "berlin-1",
        "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sleep\", \"1000\"]\n",
        "",
    );
    site.running("berlin-1", "sleeper").await;
}

#[tokio::test]
async fn who_shows_no_certificate_has_no_session() {
    let site = Site::start().await;
    let root = CertificateDer::from_pem_file(site.path().join("pki/root.crt")).unwrap();
    let config = client(&rustls::version::TLS13, Some(root));
    let domain: TrustDomain = "hyperhash.test".parse().unwrap();
    let [enrolment, sessions] = site.ports;
    let connector = TlsConnector::from(Arc::new(config));
    // The same client is let in where none is asked for a certificate.
    let stream = connect(enrolment).await;
    let let_in = connector.connect(domain.core_server_name(), stream).await;
    let_in.unwrap();
    let stream = connect(sessions).await;
    let refused = async {
        let mut tls = connector.connect(domain.core_server_name(), stream).await?;
        tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        tls.read_u8().await
    };
    // In TLS 1.3 the refusal comes after the client's part of the handshake.
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn a_client_of_an_older_tls_is_refused() {
    let site = Site::start().await;
    let config = client(&rustls::version::TLS12, None);
    let connector = TlsConnector::from(Arc::new(config));
    let domain: TrustDomain = "hyperhash.test".parse().unwrap();
    for port in site.ports {
        let stream = connect(port).await;
        let refused = connector.connect(domain.core_server_name(), stream).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("ProtocolVersion"), "{error}");
    }
}
