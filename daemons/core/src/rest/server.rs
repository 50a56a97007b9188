//! The port of REST: TLS, or plain on loopback for a proxy on this machine, then HTTP/1.1.
//!
//! A connection has a place before anything is read from it, and so long for its handshake and for each request's head.

use super::entrance::Peer;
use crate::door::{Door, Entrant};
use axum::Router;
use axum::extract::Request;
use hh_daemon::{Failure, Place, Tasks};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// For a TLS handshake: over a bad line it takes two seconds.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// For the head of a request; a connection that is kept and asks nothing is closed after it.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// For one connection with all its requests: a token that was revoked, an address that was closed out.
const LIFETIME: Duration = Duration::from_secs(600);

/// Most headers of a request; browsers send a dozen or two.
const HEADERS_MAX: usize = 64;

/// Largest head of a request in bytes, and least that hyper takes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// For the request of a connection that is to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// The port.
pub(crate) struct Server {
    pub(crate) socket: TcpListener,
    /// None where it is plain.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) door: Door,
    pub(crate) tasks: Tasks,
    pub(crate) router: Router,
}

impl Server {
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
                tls: self.tls.clone(),
                door: self.door.clone(),
                tasks: self.tasks.clone(),
                router: self.router.clone(),
            };
            let serve = connection.serve(stream, address, entrant);
            self.tasks.spawn_session("rest connection", serve);
        }
    }
}

/// One connection, from its first byte on.
struct Connection {
    tls: Option<Arc<ServerConfig>>,
    door: Door,
    tasks: Tasks,
    router: Router,
}

impl Connection {
    async fn serve(self, mut stream: TcpStream, address: SocketAddr, entrant: Entrant) {
        let greeted = tokio::time::timeout(HANDSHAKE_LIMIT, self.greet(&mut stream, entrant));
        let (address, _place) = match greeted.await {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(error)) => return tracing::debug!(%address, %error, "connection closed"),
            Err(_elapsed) => return tracing::debug!(%address, "connection was silent"),
        };
        let Some(tls) = self.tls.clone() else {
            return self.answer(stream, address).await;
        };
        let handshake = TlsAcceptor::from(tls).accept(stream);
        match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
            Ok(Ok(stream)) => self.answer(stream, address).await,
            Ok(Err(error)) => tracing::debug!(%address, %error, "handshake failed"),
            Err(_elapsed) => tracing::debug!(%address, "handshake took too long"),
        }
    }

    async fn greet(
        &self,
        stream: &mut TcpStream,
        entrant: Entrant,
    ) -> Result<(SocketAddr, Place), Failure> {
        stream.set_nodelay(true)?;
        Ok(self.door.learn(stream, entrant).await?)
    }

    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr) {
        let router = TowerToHyperService::new(self.router);
        let answering = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(address));
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), answering);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%address, %error, "connection lost");
                }
                return;
            }
            () = tokio::time::sleep(LIFETIME) => {}
            () = self.tasks.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::time::timeout(FAREWELL, connection).await.ok();
    }
}
