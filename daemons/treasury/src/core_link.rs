//! `CoreLink`: calls hyperhash-core over TLS 1.3, certificates on both sides. It dials; nobody dials hh-treasury.
//!
//! Its certificate is made for each connection, by the issuer of services, and ends within a day; so does the connection.

use crate::config::{CoreConfig, TreasuryConfig};
use hh_daemon::{Context, Failure, Tasks};
use hh_ipc::agent::{HandedIn, MAX_MESSAGE_BYTES, TREASURY, TreasuryReport, path};
use hh_trust::pki::{
    AuthorityError, ChannelError, Identity, Issuer, IssuerKind, KeySlot, LeafKey, PeerName,
    RequestError, TrustDomain,
};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Context as Polled, Poll, Service, http};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// To connect, and for the handshakes.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// For a call: core syncs its disk in between.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// Core is asked whether it is there when it is silent.
const PING_EVERY: Duration = Duration::from_secs(20);

/// And taken to be gone after this.
const PING_LIMIT: Duration = Duration::from_secs(10);

/// Why core did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("no connection to hyperhash-core at {address}")]
    Connect { address: String, source: io::Error },
    #[error("hyperhash-core at {address} did not answer within {} s", CONNECT_LIMIT.as_secs())]
    TimedOut { address: String },
    #[error("hyperhash-core speaks no HTTP/2")]
    Http(#[from] hyper::Error),
    #[error("no certificate could be made")]
    Certificate(#[from] AuthorityError),
    #[error("no key could be made")]
    Key(#[from] RequestError),
    #[error("TLS can't be set up")]
    Tls(#[from] ChannelError),
    #[error("hyperhash-core answered {:?}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
}

/// Where core is, and how we know it and it knows us.
pub(crate) struct CoreLink {
    address: String,
    domain: TrustDomain,
    root: CertificateDer<'static>,
    issuer: Issuer,
    name: PeerName,
    tasks: Tasks,
    connection: Option<http2::SendRequest<Body>>,
}

impl CoreLink {
    /// Reads the certificates and the key; none where the configuration names no core. Nothing is dialled.
    ///
    /// # Errors
    /// One of them can't be used.
    pub(crate) fn of(config: &TreasuryConfig, context: &Context) -> Result<Option<Self>, Failure> {
        let (Some(core), Some(domain)) = (&config.core, &config.trust_domain) else {
            return Ok(None);
        };
        Self::new(core, domain, context.tasks.clone()).map(Some)
    }

    fn new(config: &CoreConfig, domain: &TrustDomain, tasks: Tasks) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = config.pki_dir.join(name);
            std::fs::read_to_string(&path).map_err(|error| {
                let path = path.display();
                Failure::config(format!("core.pki_dir: can't read {path}: {error}"))
            })
        };
        let root = CertificateDer::from_pem_slice(read("root.crt")?.as_bytes());
        let root = root.map_err(|error| Failure::config(format!("core.pki_dir: {error:?}")))?;
        let key = config.service_issuer_key.read().map_err(Failure::secret)?;
        let issuer = Issuer::from_pem(
            IssuerKind::Service,
            domain,
            &read("service-issuer.crt")?,
            key.expose(),
        );
        Ok(Self {
            address: config.address.clone(),
            domain: domain.clone(),
            root,
            issuer: issuer.map_err(Failure::config)?,
            name: TREASURY.parse().map_err(Failure::config)?,
            tasks,
            connection: None,
        })
    }

    /// Says what nodes are owed, and gets the invoices that they have handed in.
    ///
    /// # Errors
    /// Core is not there, is not who it should be, or refuses.
    pub(crate) async fn exchange(&mut self, report: TreasuryReport) -> Result<HandedIn, LinkError> {
        let sender = match self.connection.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.dial().await?,
        };
        let answered = call(sender.clone(), report).await?;
        // One that has failed is not used again.
        self.connection = Some(sender);
        Ok(answered)
    }

    async fn dial(&self) -> Result<http2::SendRequest<Body>, LinkError> {
        let address = || self.address.clone();
        let tls = self.tls()?;
        let connecting = async {
            let tcp = TcpStream::connect(&self.address).await?;
            tcp.set_nodelay(true)?;
            let connector = TlsConnector::from(Arc::new(tls));
            connector.connect(self.domain.core_server_name(), tcp).await
        };
        let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
        let connected = connected.map_err(|_elapsed| LinkError::TimedOut { address: address() })?;
        let tls = connected.map_err(|source| LinkError::Connect {
            address: address(),
            source,
        })?;
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .handshake(TokioIo::new(tls));
        let handshake = tokio::time::timeout(CONNECT_LIMIT, handshake).await;
        let shaken = handshake.map_err(|_elapsed| LinkError::TimedOut { address: address() })?;
        let (sender, connection) = shaken?;
        let stopped = self.tasks.token().clone();
        self.tasks.spawn_session("connection to core", async move {
            // What ends it is told to the calls.
            stopped.run_until_cancelled(connection).await;
        });
        Ok(sender)
    }

    fn tls(&self) -> Result<ClientConfig, LinkError> {
        let key = LeafKey::generate()?;
        let identity = Identity::Service(self.name.clone());
        let now = Timestamp::now().as_second();
        let issued = self.issuer.issue(&identity, &key.as_request(), now)?;
        let slot = Arc::new(KeySlot::new(issued.chain, &key)?);
        Ok(hh_trust::pki::session_client(&self.root, &slot)?)
    }
}

async fn call(
    sender: http2::SendRequest<Body>,
    report: TreasuryReport,
) -> Result<HandedIn, LinkError> {
    let calling = async {
        let origin = http::Uri::from_static("https://core");
        let mut grpc =
            Grpc::with_origin(Sender(sender), origin).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let call = PathAndQuery::from_static(path::EXCHANGE_PAYOUTS);
        let codec = ProstCodec::default();
        grpc.unary(Request::new(report), call, codec).await
    };
    let answered = tokio::time::timeout(CALL_LIMIT, calling).await;
    let late = || Status::deadline_exceeded("no answer in time");
    let answered = answered.unwrap_or_else(|_elapsed| Err(late()));
    match answered {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(LinkError::Status(Box::new(status))),
    }
}

/// hyper's connection, as tonic wants it.
struct Sender(http2::SendRequest<Body>);

impl Service<http::Request<Body>> for Sender {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Polled<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
