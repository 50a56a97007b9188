//! The ports that nodes dial: TLS, then HTTP/2 with gRPC in it.
//!
//! A connection has a place before anything is read from it, and so long for its handshake. What goes wrong with one of them ends that
//! one alone: errors never leave the loop that accepts.

use crate::door::{Door, Entrant};
use crate::grpc::{Answer, Call};
use futures::future::BoxFuture;
use hh_daemon::{Failure, Place, Tasks};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// For a TLS handshake: over a bad line it takes two seconds.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Calls at once of one connection: a session, telemetry and a renewal, and a margin.
const MAX_STREAMS: u32 = 8;

/// Largest headers of a call in bytes: ours are some hundred.
const MAX_HEADER_BYTES: u32 = 8 * 1024;

/// A node that is silent is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);

/// And taken to be gone after this.
const PING_LIMIT: Duration = Duration::from_secs(10);

/// For the calls of a connection that is to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// A caller, as TLS knows it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The leaf that it has shown; none where none is asked for.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// Of this connection alone, by [`hh_trust::enrolment::EXPORTER_LABEL`].
    pub(crate) exported: [u8; 32],
}

/// What answers the calls of a port.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers a call, whatever it is.
    fn answer(&self, peer: Peer, call: Call) -> BoxFuture<'static, Answer>;

    /// For how long the connection of this peer may go on; none if it may not begin.
    fn lifetime(&self, peer: &Peer) -> Option<Duration>;
}

/// A port.
pub(crate) struct Listener<S> {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) door: Door,
    pub(crate) tasks: Tasks,
    pub(crate) service: Arc<S>,
}

impl<S: Service> Listener<S> {
    /// Accepts until the daemon stops.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let token = self.tasks.token().clone();
        token.run_until_cancelled(self.accept()).await;
        Ok(())
    }

    async fn accept(self) {
        loop {
            let (stream, address, entrant) = self.door.next(&self.socket).await;
            let connection = Connection {
                acceptor: TlsAcceptor::from(Arc::clone(&self.tls)),
                door: self.door.clone(),
                tasks: self.tasks.clone(),
                service: Arc::clone(&self.service),
            };
            let serve = connection.serve(stream, address, entrant);
            self.tasks.spawn_session("grpc connection", serve);
        }
    }
}

/// One connection, from its first byte on.
struct Connection<S> {
    acceptor: TlsAcceptor,
    door: Door,
    tasks: Tasks,
    service: Arc<S>,
}

impl<S: Service> Connection<S> {
    async fn serve(self, stream: TcpStream, address: SocketAddr, entrant: Entrant) {
        let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, self.handshake(stream, entrant));
        match handshake.await {
            Ok(Ok((tls, peer, _place))) => self.answer(tls, peer).await,
            Ok(Err(error)) => tracing::debug!(%address, error = %error, "handshake failed"),
            Err(_elapsed) => tracing::debug!(%address, "handshake took too long"),
        }
    }

    async fn handshake(
        &self,
        mut stream: TcpStream,
        entrant: Entrant,
    ) -> Result<(TlsStream<TcpStream>, Peer, Place), Failure> {
        stream.set_nodelay(true)?;
        let (address, place) = self.door.learn(&mut stream, entrant).await?;
        let tls = self.acceptor.accept(stream).await?;
        let (_, session) = tls.get_ref();
        let certificates = session.peer_certificates().unwrap_or_default();
        let exported =
            session.export_keying_material([0; 32], hh_trust::enrolment::EXPORTER_LABEL, None)?;
        let peer = Peer {
            address,
            certificate: certificates
                .first()
                .cloned()
                .map(CertificateDer::into_owned),
            exported,
        };
        Ok((tls, peer, place))
    }

    async fn answer(self, tls: TlsStream<TcpStream>, peer: Peer) {
        let Some(lifetime) = self.service.lifetime(&peer) else {
            return;
        };
        let address = peer.address;
        let service = Arc::clone(&self.service);
        let answering = service_fn(move |call: Call| {
            let (service, peer) = (Arc::clone(&service), peer.clone());
            async move { Ok::<_, Infallible>(service.answer(peer, call).await) }
        });
        let executor = CallTasks(self.tasks.clone());
        let connection = http2::Builder::new(executor)
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_BYTES)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .serve_connection(TokioIo::new(tls), answering);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%address, %error, "connection lost");
                }
                return;
            }
            () = tokio::time::sleep(lifetime) => {}
            () = self.tasks.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::time::timeout(FAREWELL, connection).await.ok();
    }
}

/// Runs the calls of a connection as tasks of the daemon.
#[derive(Clone)]
struct CallTasks(Tasks);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for CallTasks {
    fn execute(&self, call: F) {
        self.0.spawn_session("grpc call", call);
    }
}
