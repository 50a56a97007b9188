//! An lnd of a few lines: real TLS, real HTTP/2, and answers that a test has laid down for each call.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::codegen::http::{HeaderMap, Request, Response};

/// What the fake does when it is called.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// These messages, and the end.
    Messages(Vec<Vec<u8>>),
    /// These messages, and then nothing more.
    Open(Vec<Vec<u8>>),
    /// An error.
    Status(Code, &'static str),
    /// The connection breaks off.
    Cut,
}

impl Reply {
    pub(super) fn one(message: &impl Message) -> Self {
        Self::Messages(vec![message.encode_to_vec()])
    }

    pub(super) fn open(messages: &[impl Message]) -> Self {
        Self::Open(messages.iter().map(Message::encode_to_vec).collect())
    }
}

/// A call that has arrived.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) path: String,
    pub(super) message: Vec<u8>,
    pub(super) macaroon: String,
}

#[derive(Debug, Default)]
struct State {
    replies: BTreeMap<&'static str, VecDeque<Reply>>,
    calls: Vec<Call>,
    /// Ends all connections when it is cancelled.
    cut: CancellationToken,
}

/// The fake; it ends when it is dropped.
pub(super) struct FakeLnd {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
    _serving: JoinSet<()>,
}

/// A certificate, or a key, beside this file.
pub(super) fn pem(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lnd/tests")).join(name)
}

impl FakeLnd {
    /// Shows the certificate of this name.
    pub(super) async fn start(certificate: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(certificate)));
        let state = Arc::new(Mutex::new(State::default()));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, acceptor, Arc::clone(&state)));
        Self {
            address,
            state,
            _serving: serving,
        }
    }

    /// Lays down what the next call of `path` gets; the last one is for all that come after it.
    pub(super) fn on(&self, path: &'static str, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state.replies.entry(path).or_default().push_back(reply);
    }

    /// From now on, whatever was laid down before.
    pub(super) fn always(&self, path: &'static str, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state.replies.insert(path, VecDeque::from([reply]));
    }

    pub(super) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        std::mem::take(&mut state.cut).cancel();
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// The last call of this path, read as what it should be.
    pub(super) fn last<M: Message + Default>(&self, path: &str) -> M {
        let calls = self.calls();
        let call = calls.iter().rfind(|call| call.path == path).unwrap();
        M::decode(call.message.as_slice()).unwrap()
    }
}

fn server_config(name: &str) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(pem(&format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(pem(&format!("{name}.key"))).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            // Who does not like the certificate goes away here.
            let Ok(tls) = acceptor.accept(tcp).await else {
                return;
            };
            let cut = state.lock().unwrap().cut.clone();
            let answering = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            let connection = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(tls), answering);
            tokio::select! {
                _ = connection => {}
                () = cut.cancelled() => {}
            }
        });
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn answer(state: &Mutex<State>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let macaroon = request.headers().get("macaroon");
    let macaroon = macaroon.map(|value| value.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let reply = {
        let mut state = state.lock().unwrap();
        state.calls.push(Call {
            path: path.clone(),
            // A byte for compression and four for the length.
            message: body[5..].to_vec(),
            macaroon: macaroon.unwrap_or_default(),
        });
        let replies = state.replies.get_mut(path.as_str());
        replies.and_then(|replies| {
            if replies.len() > 1 {
                replies.pop_front()
            } else {
                replies.front().cloned()
            }
        })
    };
    match reply.unwrap_or(Reply::Status(Code::Unimplemented, "not laid down")) {
        Reply::Messages(messages) => respond(&messages, Some((Code::Ok, ""))),
        Reply::Open(messages) => respond(&messages, None),
        Reply::Status(code, text) => respond(&[], Some((code, text))),
        Reply::Cut => {
            std::mem::take(&mut state.lock().unwrap().cut).cancel();
            std::future::pending().await
        }
    }
}

/// gRPC's frames, and its status behind them; without one the answer never ends.
fn respond(messages: &[Vec<u8>], end: Option<(Code, &str)>) -> Answer {
    let mut frames: Vec<Result<Frame<Bytes>, Infallible>> = Vec::new();
    for message in messages {
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(message);
        frames.push(Ok(Frame::data(framed.into())));
    }
    let frames = match end {
        Some((code, text)) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", i32::from(code).into());
            trailers.insert("grpc-message", text.parse().unwrap());
            frames.push(Ok(Frame::trailers(trailers)));
            stream::iter(frames).boxed()
        }
        None => stream::iter(frames).chain(stream::pending()).boxed(),
    };
    Response::builder()
        .header("content-type", "application/grpc")
        .body(StreamBody::new(frames).boxed_unsync())
        .unwrap()
}
