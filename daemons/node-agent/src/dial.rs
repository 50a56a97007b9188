//! A connection to core: TCP, TLS, HTTP/2, and gRPC calls over it. The node dials; nobody dials a node.

use futures::Stream;
use hh_daemon::Tasks;
use hh_ipc::agent::{MAX_MESSAGE_BYTES, REVOKED};
use hh_trust::enrolment::{ChannelBinding, EXPORTER_LABEL};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// To connect, and for the handshakes: over a bad line some seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// For a call with one answer: core syncs its disk in between.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// Core is asked whether it is there when it is silent.
const PING_EVERY: Duration = Duration::from_secs(10);

/// And taken to be gone after this.
const PING_LIMIT: Duration = Duration::from_secs(10);

/// Why there is no connection, or no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("no connection to core at {address}; does it run, and is the way to it open?")]
    Connect { address: String, source: io::Error },
    #[error("no connection to core at {address} within {} s", CONNECT_LIMIT.as_secs())]
    TimedOut { address: String },
    #[error("the TLS handshake with core at {address} failed")]
    Handshake { address: String, source: io::Error },
    #[error("core at {address} speaks no HTTP/2")]
    Http {
        address: String,
        source: hyper::Error,
    },
    #[error("the TLS connection gives no binding")]
    Binding(#[from] rustls::Error),
    #[error("core answered {call} with {:?}: {}", source.code(), source.message())]
    Status {
        call: &'static str,
        source: Box<Status>,
    },
}

impl DialError {
    /// There was a connection, and the call came to nothing on it; core itself may have said that it can't now.
    pub(crate) fn is_cut(&self) -> bool {
        let Self::Status { source, .. } = self else {
            return false;
        };
        matches!(
            source.code(),
            Code::Unknown
                | Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Internal
                | Code::Unavailable
        )
    }

    /// Core has said that this node is let in no more.
    pub(crate) fn is_revoked(&self) -> bool {
        let Self::Status { source, .. } = self else {
            return false;
        };
        let (code, text) = (source.code(), source.message());
        code == Code::PermissionDenied && text.split(':').next() == Some(REVOKED)
    }
}

/// Where core is, and how we know it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// As its certificate names it, whatever its address is.
    pub(crate) name: ServerName<'static>,
    pub(crate) tls: Arc<ClientConfig>,
}

/// A connection. Clones share it; it is closed with the last one.
#[derive(Clone)]
pub(crate) struct Channel {
    sender: http2::SendRequest<Body>,
    origin: http::Uri,
    /// What both ends of this connection know and nobody else.
    pub(crate) binding: ChannelBinding,
}

/// Connects.
///
/// # Errors
/// Core is not there, or is not who it should be.
pub(crate) async fn dial(target: &Target, tasks: &Tasks) -> Result<Channel, DialError> {
    let dialled = tokio::time::timeout(CONNECT_LIMIT, connect(target, tasks)).await;
    dialled.unwrap_or_else(|_elapsed| {
        let address = target.address.clone();
        Err(DialError::TimedOut { address })
    })
}

async fn connect(target: &Target, tasks: &Tasks) -> Result<Channel, DialError> {
    let address = || target.address.clone();
    let tcp = TcpStream::connect(&target.address)
        .await
        .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp));
    let tcp = tcp.map_err(|source| DialError::Connect {
        address: address(),
        source,
    })?;
    let connector = TlsConnector::from(Arc::clone(&target.tls));
    let tls = connector.connect(target.name.clone(), tcp).await;
    let tls = tls.map_err(|source| DialError::Handshake {
        address: address(),
        source,
    })?;
    let (_, session) = tls.get_ref();
    let binding = session.export_keying_material([0; 32], EXPORTER_LABEL, None)?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .handshake(TokioIo::new(tls))
        .await
        .map_err(|source| DialError::Http {
            address: address(),
            source,
        })?;
    let stopped = tasks.token().clone();
    tasks.spawn_session("connection to core", async move {
        // What ends it is told to the calls.
        stopped.run_until_cancelled(connection).await;
    });
    Ok(Channel {
        sender,
        origin: http::Uri::from_static("https://core"),
        binding: ChannelBinding(binding),
    })
}

impl Channel {
    /// A call with one answer.
    ///
    /// # Errors
    /// Core refuses, the connection is lost, or the answer takes too long.
    pub(crate) async fn unary<Q, A>(&self, call: &'static str, message: Q) -> Result<A, DialError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let calling = async {
            let mut grpc = self.grpc().await?;
            let path = PathAndQuery::from_static(call);
            grpc.unary(Request::new(message), path, ProstCodec::default())
                .await
        };
        answered(call, calling).await
    }

    /// A call with any number of messages and answers.
    ///
    /// # Errors
    /// As of [`Self::unary`].
    pub(crate) async fn streaming<Q, A>(
        &self,
        call: &'static str,
        messages: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, DialError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let calling = async {
            let mut grpc = self.grpc().await?;
            let path = PathAndQuery::from_static(call);
            grpc.streaming(Request::new(messages), path, ProstCodec::default())
                .await
        };
        answered(call, calling).await
    }

    async fn grpc(&self) -> Result<Grpc<Sender>, Status> {
        let sender = Sender(self.sender.clone());
        let mut grpc = Grpc::with_origin(sender, self.origin.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }
}

/// What a call gives within its time.
async fn answered<A>(
    call: &'static str,
    calling: impl Future<Output = Result<Response<A>, Status>>,
) -> Result<A, DialError> {
    let late = || Status::deadline_exceeded("no answer in time");
    let answered = tokio::time::timeout(CALL_LIMIT, calling).await;
    let answered = answered.unwrap_or_else(|_elapsed| Err(late()));
    answered
        .map(Response::into_inner)
        .map_err(|status| failed(call, status))
}

fn failed(call: &'static str, status: Status) -> DialError {
    DialError::Status {
        call,
        source: Box::new(status),
    }
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
