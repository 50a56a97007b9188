//! The connection to lnd: HTTP/2 over TLS to the one certificate that we have, and gRPC calls over it.
//!
//! The macaroon, which is all that lnd asks for, leaves this process only after the handshake, which succeeds with the pinned
//! certificate alone: no authority, no name and no date counts. The certificate's file is read at every connection, since lnd
//! makes a new one when the old one ends.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hh_daemon::{Secret, Tasks};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// To connect, and for the handshakes: on a network that works they take less than a second.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// While calls wait, the other end is asked whether it is there; lnd cuts off who asks more often than every 5 s.
const PING_EVERY: Duration = Duration::from_secs(20);
/// And taken to be gone after this.
const PING_LIMIT: Duration = Duration::from_secs(10);
/// The largest answer is a page of payments, or the list of channels: a thousand channels are less than a megabyte.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("no connection to lnd at {address}; is it running, and does it listen there?")]
    Connect {
        address: String,
        source: std::io::Error,
    },
    #[error("no connection to lnd at {address} within {} s", CONNECT_LIMIT.as_secs())]
    ConnectTimedOut { address: String },
    #[error(
        "the TLS handshake with lnd at {address} failed: is its certificate the one in {certificate}? The macaroon was not sent"
    )]
    Handshake {
        address: String,
        certificate: PathBuf,
        source: std::io::Error,
    },
    #[error("could not read lnd's certificate {path}")]
    Certificate {
        path: PathBuf,
        source: rustls::pki_types::pem::Error,
    },
    #[error("could not set TLS up for lnd")]
    Tls(#[from] rustls::Error),
    #[error("lnd at {address} speaks no HTTP/2")]
    Http {
        address: String,
        source: hyper::Error,
    },
    #[error("{0} is no HOST:PORT of lnd")]
    Address(String),
    #[error("lnd's macaroon is not in hexadecimal; see xxd -p, or lncli bakemacaroon")]
    Macaroon,
    /// lnd's own answer, or the loss of the connection.
    #[error("lnd answered {call} with {:?}: {}", source.code(), source.message())]
    Status {
        call: &'static str,
        source: Box<Status>,
    },
}

impl LinkError {
    /// lnd's code, if it answered.
    pub(super) fn code(&self) -> Option<tonic::Code> {
        match self {
            Self::Status { source, .. } => Some(source.code()),
            _ => None,
        }
    }

    /// Whether the call may have reached lnd. It has not where there was no connection.
    pub(super) fn may_have_arrived(&self) -> bool {
        matches!(self, Self::Status { .. })
    }

    pub(super) fn is_config(&self) -> bool {
        matches!(self, Self::Address(_) | Self::Macaroon)
    }
}

/// Where lnd is, and how we know it and it us.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    /// `HOST:PORT`.
    pub(super) address: String,
    /// `tls.cert` of lnd, in PEM; the first certificate in it counts.
    pub(super) certificate: PathBuf,
    /// In hexadecimal.
    pub(super) macaroon: Secret<String>,
}

/// A connection that is made again when it is lost.
pub(super) struct Link {
    pinned: Pinned,
    macaroon: AsciiMetadataValue,
    tasks: Tasks,
    live: Mutex<Option<Live>>,
}

#[derive(Clone)]
struct Live {
    sender: http2::SendRequest<Body>,
    since: Instant,
}

impl Link {
    pub(super) fn new(pinned: Pinned, tasks: Tasks) -> Result<Self, LinkError> {
        let text = pinned.macaroon.expose();
        let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let macaroon = is_hex.then(|| AsciiMetadataValue::try_from(text.as_str()));
        let Some(Ok(mut macaroon)) = macaroon else {
            return Err(LinkError::Macaroon);
        };
        macaroon.set_sensitive(true);
        Ok(Self {
            pinned,
            macaroon,
            tasks,
            live: Mutex::new(None),
        })
    }

    /// For how long the connection stands; lnd has run for at least as long.
    pub(super) fn age(&self) -> Duration {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.as_ref()
            .filter(|live| !live.sender.is_closed())
            .map_or(Duration::ZERO, |live| live.since.elapsed())
    }

    /// A call with one answer.
    pub(super) async fn unary<Q, A>(
        &self,
        path: &'static str,
        message: Q,
        limit: Duration,
    ) -> Result<A, LinkError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc(path).await?;
        let calling = grpc.unary(
            self.request(message),
            http::uri::PathAndQuery::from_static(path),
            ProstCodec::default(),
        );
        let answered = tokio::time::timeout(limit, calling).await;
        match answered.unwrap_or_else(|_elapsed| Err(late(limit))) {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(failed(path, status)),
        }
    }

    /// A call with any number of answers. It is sent when the first is waited for, since lnd says nothing before it has one.
    /// To drop what this returns ends the call.
    pub(super) async fn stream<Q, A>(
        &self,
        path: &'static str,
        message: Q,
    ) -> Result<Answers<A>, LinkError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc(path).await?;
        let request = self.request(message);
        let calling = async move {
            let path = http::uri::PathAndQuery::from_static(path);
            let codec = ProstCodec::default();
            let answered = grpc.server_streaming(request, path, codec).await;
            answered.map(tonic::Response::into_inner)
        };
        Ok(Answers {
            call: path,
            state: Answering::Calling(Box::pin(calling)),
        })
    }

    /// The first answer of such a call.
    pub(super) async fn first<Q, A>(
        &self,
        path: &'static str,
        message: Q,
        limit: Duration,
    ) -> Result<A, LinkError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let first = async {
            let mut answers = self.stream(path, message).await?;
            answers.next().await
        };
        let answered = tokio::time::timeout(limit, first).await;
        answered.unwrap_or_else(|_elapsed| Err(failed(path, late(limit))))
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("macaroon", self.macaroon.clone());
        request
    }

    async fn grpc(&self, path: &'static str) -> Result<Grpc<Sender>, LinkError> {
        let sender = Sender(self.live().await?);
        let origin = format!("https://{}", self.pinned.address).parse().map_err(
            |_bad: http::uri::InvalidUri| LinkError::Address(self.pinned.address.clone()),
        )?;
        let mut grpc =
            Grpc::with_origin(sender, origin).max_decoding_message_size(ANSWER_BYTES_MAX);
        grpc.ready()
            .await
            .map_err(|error| failed(path, Status::unavailable(error.to_string())))?;
        Ok(grpc)
    }

    /// The connection, made if there is none. Two calls at once may make two; the later one stays.
    async fn live(&self) -> Result<http2::SendRequest<Body>, LinkError> {
        let kept = {
            let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            live.clone().filter(|live| !live.sender.is_closed())
        };
        if let Some(live) = kept {
            return Ok(live.sender);
        }
        let connecting = tokio::time::timeout(CONNECT_LIMIT, self.connect()).await;
        let sender = connecting.unwrap_or_else(|_elapsed| {
            Err(LinkError::ConnectTimedOut {
                address: self.pinned.address.clone(),
            })
        })?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        *live = Some(Live {
            sender: sender.clone(),
            since: Instant::now(),
        });
        Ok(sender)
    }

    async fn connect(&self) -> Result<http2::SendRequest<Body>, LinkError> {
        let address = || self.pinned.address.clone();
        let tls = TlsConnector::from(Arc::new(tls_config(&self.pinned)?));
        let name = server_name(&self.pinned.address)?;
        let tcp = TcpStream::connect(&self.pinned.address)
            .await
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
            .map_err(|source| LinkError::Connect {
                address: address(),
                source,
            })?;
        let stream = tls
            .connect(name, tcp)
            .await
            .map_err(|source| LinkError::Handshake {
                address: address(),
                certificate: self.pinned.certificate.clone(),
                source,
            })?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| LinkError::Http {
                address: address(),
                source,
            })?;
        let stopped = self.tasks.token().clone();
        self.tasks.spawn_session("lnd", async move {
            // What ends it is told to the calls.
            tokio::select! {
                _ = connection => {}
                () = stopped.cancelled() => {}
            }
        });
        Ok(sender)
    }
}

/// The answers of one call, one after the other.
pub(super) struct Answers<A> {
    call: &'static str,
    state: Answering<A>,
}

enum Answering<A> {
    Calling(BoxFuture<Streaming<A>, Status>),
    Answered(Box<Streaming<A>>),
}

impl<A> Answers<A> {
    /// The next one; to give up waiting loses nothing. There is always one more, or the call has failed: none of lnd's streams
    /// that we follow has an end.
    pub(super) async fn next(&mut self) -> Result<A, LinkError> {
        let answer = loop {
            match &mut self.state {
                Answering::Calling(calling) => match calling.await {
                    Ok(stream) => self.state = Answering::Answered(Box::new(stream)),
                    Err(status) => break Err(status),
                },
                Answering::Answered(stream) => break stream.message().await,
            }
        };
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(failed(
                self.call,
                Status::unavailable("the answers have ended"),
            )),
            Err(status) => Err(failed(self.call, status)),
        }
    }
}

fn failed(call: &'static str, status: Status) -> LinkError {
    LinkError::Status {
        call,
        source: Box::new(status),
    }
}

fn late(limit: Duration) -> Status {
    Status::deadline_exceeded(format!("no answer within {} s", limit.as_secs()))
}

/// hyper's connection, as tonic wants it.
struct Sender(http2::SendRequest<Body>);

impl Service<http::Request<Body>> for Sender {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Takes one certificate, byte for byte.
#[derive(Debug)]
struct Pin {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.certificate.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General(
                "it has shown another certificate than the pinned one".to_owned(),
            ))
        }
    }

    // Whoever shows the certificate has to have its key.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn tls_config(pinned: &Pinned) -> Result<ClientConfig, LinkError> {
    let certificate = CertificateDer::from_pem_file(&pinned.certificate).map_err(|source| {
        LinkError::Certificate {
            path: pinned.certificate.clone(),
            source,
        }
    })?;
    let provider = Arc::new(ring::default_provider());
    let pin = Pin {
        certificate,
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// What lnd is told that it is called by; nothing depends on it.
fn server_name(address: &str) -> Result<ServerName<'static>, LinkError> {
    let host = address
        .rsplit_once(':')
        .map(|(host, _)| host.trim_matches(['[', ']']));
    host.and_then(|host| ServerName::try_from(host.to_owned()).ok())
        .ok_or_else(|| LinkError::Address(address.to_owned()))
}
