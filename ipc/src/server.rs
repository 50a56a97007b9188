//! The daemon's end of a control socket: one task per connection, bounded in number, in requests and in frame size.

use crate::codec::ClampedJson;
use futures::StreamExt;
use futures::future::BoxFuture;
use std::io;
use std::time::Duration;
use tarpc::server::{BaseChannel, Channel, Config, Serve};
use tarpc::{RequestName, ServerError};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::codec::LengthDelimitedCodec;

/// Connections to one socket at a time: some operators with a CLI and a TUI each.
pub const MAX_CONNECTIONS: usize = 64;

/// Requests of one connection that are worked on or whose answers wait to be read; one more is refused at once. The
/// programs of an operator have a few, and each answer may be a whole frame.
pub const MAX_REQUESTS: usize = 16;

/// Pause after an accept that failed (out of file descriptors), so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Who dialled, as the kernel knows it (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    pub gid: u32,
    /// For the audit line only: it may be another process by the time it is read.
    pub pid: Option<i32>,
}

/// What answers one connection; see [`answer`].
pub type Connection = BoxFuture<'static, ()>;

/// Serves every connection to `listener` with the task that `connection` makes of its peer and stream, until it is
/// dropped. A connection that misbehaves ends alone.
///
/// `connection` gives none for a peer that is refused. It is usually
/// `|_, stream| Some(Box::pin(hh_ipc::server::answer(stream, control.clone().serve())))`: the service type has to be known
/// where the future is boxed, or its being `Send` can't be shown.
pub async fn serve(
    listener: UnixListener,
    connection: impl Fn(Peer, UnixStream) -> Option<Connection>,
) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_BACKOFF).await;
            continue;
        };
        if connections.len() >= MAX_CONNECTIONS {
            continue;
        }
        let Ok(peer) = peer_of(&stream) else {
            continue;
        };
        if let Some(task) = connection(peer, stream) {
            connections.spawn(task);
        }
    }
}

fn peer_of(stream: &UnixStream) -> io::Result<Peer> {
    let credentials = stream.peer_cred()?;
    Ok(Peer {
        uid: credentials.uid(),
        gid: credentials.gid(),
        pid: credentials.pid(),
    })
}

/// A service behind a question that every request is put to first.
#[derive(Clone, Debug)]
struct Guarded<S, F> {
    service: S,
    refusal: F,
}

impl<S, F> Serve for Guarded<S, F>
where
    S: Serve,
    F: Fn(&S::Req) -> Option<S::Resp>,
{
    type Req = S::Req;
    type Resp = S::Resp;

    async fn serve(self, context: crate::Context, request: S::Req) -> Result<S::Resp, ServerError> {
        match (self.refusal)(&request) {
            Some(refused) => Ok(refused),
            None => self.service.serve(context, request).await,
        }
    }
}

/// The method that a request calls, as the trait of its service has it.
pub fn method(request: &impl RequestName) -> &str {
    let name = request.name();
    name.rsplit_once('.').map_or(name, |(_, method)| method)
}

/// As [`answer`], where `refusal` is asked before each request: what it gives is the answer, and the service never sees it. No
/// method of the service can forget to ask.
pub async fn answer_unless<S, F>(stream: UnixStream, service: S, refusal: F)
where
    S: Serve + Clone,
    S::Req: serde::de::DeserializeOwned,
    S::Resp: serde::Serialize,
    F: Fn(&S::Req) -> Option<S::Resp> + Clone,
{
    answer(stream, Guarded { service, refusal }).await;
}

/// Answers the requests of one connection until it closes, or sends what is no request: a caller that asks for a method
/// which this daemon does not have sees its connection end instead of waiting for its deadline.
pub async fn answer<S>(stream: UnixStream, service: S)
where
    S: Serve + Clone,
    S::Req: serde::de::DeserializeOwned,
    S::Resp: serde::Serialize,
{
    let framed = LengthDelimitedCodec::builder()
        .max_frame_length(crate::MAX_FRAME_BYTES)
        .new_framed(stream);
    let transport = tarpc::serde_transport::new(framed, ClampedJson::default());
    let config = Config {
        pending_response_buffer: MAX_REQUESTS,
    };
    // The stream also writes the answers, so it has to be polled however many requests are open: a limit on the futures
    // below instead of the one here would stop the writing that it waits for.
    BaseChannel::new(config, transport)
        .max_concurrent_requests(MAX_REQUESTS)
        .requests()
        // The first error is the last item: a stream that fails to write would give the same error for ever.
        .take_while(|request| futures::future::ready(request.is_ok()))
        .filter_map(|request| async { request.ok() })
        .for_each_concurrent(None, |request| request.execute(service.clone()))
        .await;
}
