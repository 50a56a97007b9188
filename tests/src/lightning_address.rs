//! A server of Lightning addresses (LNURL-pay) over TLS, whose invoices are a wallet's.

use crate::checkout;
use bitcoin::hashes::{Hash, sha256};
use hh_lightning::{InvoiceDetails, InvoiceRequest, Wallet};
use hh_mining::Msat;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What its certificate is for.
pub const DOMAIN: &str = "pay.example.test";

/// What it says that its invoices are for.
const METADATA: &str = r#"[["text/plain","a miner's reward"]]"#;

/// Where the certificate is that its clients have to trust.
#[must_use]
pub fn certificate() -> PathBuf {
    file("pay.crt")
}

fn file(name: &str) -> PathBuf {
    let dir = checkout().join("daemons/treasury/src/destination/web/certificates");
    dir.join(name)
}

/// Serves every user of [`DOMAIN`] with invoices of `wallet` for as long as the test runs.
///
/// # Panics
/// If it can't listen.
pub async fn serve(wallet: Wallet) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(certificate()).expect("it is in the checkout");
    let chain = chain
        .collect::<Result<Vec<_>, _>>()
        .expect("it is a certificate");
    let key = PrivateKeyDer::from_pem_file(file("pay.key")).expect("it is in the checkout");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key is the certificate's");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback can be bound");
    let address = listener.local_addr().expect("it is bound");
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's own task, which ends with it"
    )]
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut request = vec![0; 8_192];
            let Ok(length) = stream.read(&mut request).await else {
                continue;
            };
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let body = answer(&wallet, &request).await;
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.ok();
            stream.shutdown().await.ok();
        }
    });
    address
}

async fn answer(wallet: &Wallet, request: &str) -> String {
    let path = request.split_whitespace().nth(1).unwrap_or_default();
    if path.starts_with("/.well-known/lnurlp/") {
        let offer = json!({
            "tag": "payRequest",
            "callback": format!("https://{DOMAIN}/callback"),
            "minSendable": 1_000,
            "maxSendable": 1_000_000_000_000_u64,
            "metadata": METADATA,
        });
        return offer.to_string();
    }
    let msat = path.split_once("amount=").map(|(_, msat)| msat.parse());
    let Some(Ok(msat)) = msat else {
        return json!({ "status": "ERROR", "reason": "no amount" }).to_string();
    };
    let request = InvoiceRequest {
        amount: Some(Msat(msat)),
        details: InvoiceDetails::Hash(sha256::Hash::hash(METADATA.as_bytes()).to_byte_array()),
        expiry: Duration::from_secs(3_600),
    };
    match wallet.invoice(&request).await {
        Ok(invoice) => json!({ "pr": invoice.to_string(), "routes": [] }).to_string(),
        Err(error) => json!({ "status": "ERROR", "reason": error.to_string() }).to_string(),
    }
}
