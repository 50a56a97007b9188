//! A server of Lightning addresses (LNURL-pay) over TLS: its invoices are a wallet's, but for users that it is told to treat badly.

use crate::checkout;
use bitcoin::hashes::{Hash, sha256};
use hh_lightning::{InvoiceDetails, InvoiceRequest, Wallet};
use hh_mining::Msat;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What its certificate is for.
pub const DOMAIN: &str = "pay.example.test";

/// What it says that its invoices are for.
pub const METADATA: &str = r#"[["text/plain","a miner's reward"]]"#;

/// Between two bytes of an answer that comes slowly.
const DRIP: Duration = Duration::from_millis(500);

/// How a user is answered.
#[derive(Clone, Debug)]
pub enum Manner {
    /// With an offer, and the wallet's invoice.
    Honest,
    /// With this for an offer.
    Offer(Value),
    /// With an honest offer, and this for an invoice.
    Invoice(String),
    /// With these bytes for HTTP.
    Bytes(&'static str),
    /// With a body that never ends.
    Endless,
    /// With a body of which a byte comes now and then.
    Slow,
}

/// See the module. It ends with the test.
#[derive(Clone, Debug)]
pub struct LightningAddresses {
    pub address: SocketAddr,
    manners: Arc<Mutex<BTreeMap<String, Manner>>>,
}

/// What it says at first to a user whom it serves.
#[must_use]
pub fn offer(user: &str) -> Value {
    json!({
        "tag": "payRequest",
        "callback": format!("https://{DOMAIN}/callback?user={user}"),
        "minSendable": 1_000,
        "maxSendable": 1_000_000_000_000_u64,
        "metadata": METADATA,
    })
}

fn file(name: &str) -> PathBuf {
    let dir = checkout().join("daemons/treasury/src/destination/web/certificates");
    dir.join(name)
}

impl LightningAddresses {
    /// Serves every user of [`DOMAIN`] with invoices of `wallet`.
    ///
    /// # Panics
    /// If it can't listen.
    pub async fn start(wallet: Wallet) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback can be bound");
        let server = Self {
            address: listener.local_addr().expect("it is bound"),
            manners: Arc::default(),
        };
        let (acceptor, clients) = (acceptor(), server.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "a test's own task, which ends with it"
        )]
        tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (server, wallet) = (clients.clone(), wallet.clone());
                let acceptor = acceptor.clone();
                // A client that goes away is the client's affair.
                open.spawn(async move { server.serve(&acceptor, tcp, &wallet).await.ok() });
            }
        });
        server
    }

    /// How a user is answered from now on.
    pub fn treat(&self, user: &str, manner: Manner) {
        let mut manners = self.manners.lock().unwrap_or_else(PoisonError::into_inner);
        manners.insert(user.to_owned(), manner);
    }

    /// What makes hh-treasury find it.
    #[must_use]
    pub fn config(&self) -> String {
        let (address, certificate) = (self.address, file("pay.crt"));
        format!(
            "[[lightning_address_servers]]\ndomain = \"{DOMAIN}\"\naddress = \"{address}\"\nroot_certificates = \"{}\"\n",
            certificate.display()
        )
    }

    async fn serve(
        &self,
        acceptor: &TlsAcceptor,
        tcp: TcpStream,
        wallet: &Wallet,
    ) -> io::Result<()> {
        let mut stream = acceptor.accept(tcp).await?;
        let mut request = vec![0; 8_192];
        let length = stream.read(&mut request).await?;
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let path = request.split_whitespace().nth(1).unwrap_or_default();
        match path.strip_prefix("/.well-known/lnurlp/") {
            Some(user) => self.present(&mut stream, user).await?,
            None => {
                let body = self.invoice(path, wallet).await;
                stream.write_all(whole(&body).as_bytes()).await?;
            }
        }
        stream.shutdown().await
    }

    fn manner(&self, user: &str) -> Manner {
        let manners = self.manners.lock().unwrap_or_else(PoisonError::into_inner);
        manners.get(user).cloned().unwrap_or(Manner::Honest)
    }

    /// The first answer of two.
    async fn present(&self, stream: &mut TlsStream<TcpStream>, user: &str) -> io::Result<()> {
        match self.manner(user) {
            Manner::Honest | Manner::Invoice(_) => {
                stream.write_all(whole(&offer(user)).as_bytes()).await
            }
            Manner::Offer(offer) => stream.write_all(whole(&offer).as_bytes()).await,
            Manner::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await,
            Manner::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b' '; 1_024]).await?;
                }
            }
            Manner::Slow => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                let mut tick = tokio::time::interval(DRIP);
                loop {
                    tick.tick().await;
                    stream.write_all(b" ").await?;
                    stream.flush().await?;
                }
            }
        }
    }

    /// The second one.
    async fn invoice(&self, path: &str, wallet: &Wallet) -> Value {
        let asked = path.split_once("user=").and_then(|(_, rest)| {
            let (user, msat) = rest.split_once("&amount=")?;
            Some((user, msat.parse().ok()?))
        });
        let Some((user, msat)) = asked else {
            return json!({ "status": "ERROR", "reason": "no amount" });
        };
        if let Manner::Invoice(invoice) = self.manner(user) {
            return json!({ "pr": invoice, "routes": [] });
        }
        let request = InvoiceRequest {
            amount: Some(Msat(msat)),
            details: InvoiceDetails::Hash(sha256::Hash::hash(METADATA.as_bytes()).to_byte_array()),
            expiry: Duration::from_secs(3_600),
        };
        match wallet.invoice(&request).await {
            Ok(invoice) => json!({ "pr": invoice.to_string(), "routes": [] }),
            Err(error) => json!({ "status": "ERROR", "reason": error.to_string() }),
        }
    }
}

fn whole(body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn acceptor() -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(file("pay.crt")).expect("it is in the checkout");
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
    TlsAcceptor::from(Arc::new(config))
}
