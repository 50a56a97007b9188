//! A connection of a simulated node: TLS from an address of its own, and gRPC calls over it.

use hh_ipc::agent::{CoreMessage, NodeMessage, path};
use hh_trust::enrolment::{ChannelBinding, EXPORTER_LABEL};
use hh_trust::pki::TrustDomain;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::ClientConfig;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// For a connection with its handshakes, and for a call.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    #[error("no binding: {0}")]
    Binding(#[from] rustls::Error),
    #[error("core says: {0}")]
    Status(#[from] Status),
    #[error("no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("the connection is closed")]
    Closed,
}

/// Closed when it is dropped.
pub(crate) struct Channel {
    sender: http2::SendRequest<Body>,
    pub(crate) binding: ChannelBinding,
    moving: AbortHandle,
}

impl Channel {
    pub(crate) async fn dial(
        source: Ipv4Addr,
        address: &str,
        domain: &TrustDomain,
        tls: &Arc<ClientConfig>,
    ) -> Result<Self, WireError> {
        tokio::time::timeout(LIMIT, connect(source, address, domain, tls)).await?
    }

    pub(crate) async fn unary<Q, A>(&self, call: &'static str, message: Q) -> Result<A, WireError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let calling = async {
            let mut grpc = self.grpc().await?;
            let path = PathAndQuery::from_static(call);
            let codec = ProstCodec::default();
            grpc.unary(Request::new(message), path, codec).await
        };
        Ok(tokio::time::timeout(LIMIT, calling).await??.into_inner())
    }

    pub(crate) async fn session(
        &self,
        messages: mpsc::Receiver<NodeMessage>,
    ) -> Result<Streaming<CoreMessage>, WireError> {
        self.streaming(path::SESSION, messages).await
    }

    pub(crate) async fn streaming<Q, A>(
        &self,
        call: &'static str,
        messages: mpsc::Receiver<Q>,
    ) -> Result<Streaming<A>, WireError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let messages = futures::stream::unfold(messages, |mut messages| async move {
            let message = messages.recv().await?;
            Some((message, messages))
        });
        let calling = async {
            let mut grpc = self.grpc().await?;
            let path = PathAndQuery::from_static(call);
            let codec = ProstCodec::default();
            grpc.streaming(Request::new(messages), path, codec).await
        };
        Ok(tokio::time::timeout(LIMIT, calling).await??.into_inner())
    }

    async fn grpc(&self) -> Result<Grpc<Sender>, Status> {
        let origin = http::Uri::from_static("https://core");
        let mut grpc = Grpc::with_origin(Sender(self.sender.clone()), origin);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.moving.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "it ends with its channel")]
async fn connect(
    source: Ipv4Addr,
    address: &str,
    domain: &TrustDomain,
    tls: &Arc<ClientConfig>,
) -> Result<Channel, WireError> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source, 0)))?;
    let address: SocketAddr = address.parse().expect("core is at an address here");
    let tcp = socket.connect(address).await?;
    tcp.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(tls));
    let tls = connector.connect(domain.core_server_name(), tcp).await?;
    let (_, session) = tls.get_ref();
    let binding = session.export_keying_material([0; 32], EXPORTER_LABEL, None)?;
    let builder = http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(tls)).await?;
    let moving = tokio::spawn(connection).abort_handle();
    Ok(Channel {
        sender,
        binding: ChannelBinding(binding),
        moving,
    })
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
