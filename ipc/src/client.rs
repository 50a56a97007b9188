//! The operator's end of a control socket.

use crate::api::{
    core::CoreClient, node_agent::NodeAgentClient, pool::PoolClient,
    template_provider::TemplateProviderClient, translator::TranslatorClient,
    treasury::TreasuryClient,
};
use crate::codec::ClampedJson;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tarpc::client::{Config, NewClient};
use tarpc::context::Context;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_util::codec::LengthDelimitedCodec;

/// Why a call has no answer.
pub use tarpc::client::RpcError;

/// A stream that carries one daemon's calls: a Unix socket, or a part of a multiplexed SSH session.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Opens a daemon's socket.
///
/// # Errors
/// The error of `connect(2)`: `NotFound` where there is no socket, `ConnectionRefused` where nobody listens on it,
/// `PermissionDenied` where this user may not.
pub async fn dial(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path).await
}

/// None of a daemon's sockets could be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}", path.display())]
pub struct DialError {
    /// The socket that says most: the first one that is there, or else the first one tried.
    pub path: PathBuf,
    /// As [`dial`] gives it.
    pub source: io::Error,
}

/// Opens the first of `paths` that lets us in, such as [`crate::locate::Context::view_sockets`].
///
/// # Errors
/// The error of the first socket that exists but can't be opened, or of the first path where none exists.
///
/// # Panics
/// If `paths` is empty.
pub async fn dial_any(paths: &[PathBuf]) -> Result<UnixStream, DialError> {
    let mut told: Option<DialError> = None;
    for path in paths {
        let source = match dial(path).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let says_more = told.as_ref().is_none_or(|first| {
            first.source.kind() == io::ErrorKind::NotFound
                && source.kind() != io::ErrorKind::NotFound
        });
        if says_more {
            let path = path.clone();
            told = Some(DialError { path, source });
        }
    }
    Err(told.expect("a path was given, so it was opened or its error kept"))
}

/// Calls for hh-pool over `stream`. Must be called within a tokio runtime.
pub fn pool(stream: impl Stream) -> PoolClient {
    let NewClient { client, dispatch } = PoolClient::new(Config::default(), transport(stream));
    run(dispatch);
    client
}

/// Calls for hh-tp over `stream`. Must be called within a tokio runtime.
pub fn template_provider(stream: impl Stream) -> TemplateProviderClient {
    let NewClient { client, dispatch } =
        TemplateProviderClient::new(Config::default(), transport(stream));
    run(dispatch);
    client
}

/// Calls for hh-translator over `stream`. Must be called within a tokio runtime.
pub fn translator(stream: impl Stream) -> TranslatorClient {
    let NewClient { client, dispatch } =
        TranslatorClient::new(Config::default(), transport(stream));
    run(dispatch);
    client
}

/// Calls for hh-treasury over `stream`. Must be called within a tokio runtime.
pub fn treasury(stream: impl Stream) -> TreasuryClient {
    let NewClient { client, dispatch } = TreasuryClient::new(Config::default(), transport(stream));
    run(dispatch);
    client
}

/// Calls for hyperhash-core over `stream`. Must be called within a tokio runtime.
pub fn core(stream: impl Stream) -> CoreClient {
    let NewClient { client, dispatch } = CoreClient::new(Config::default(), transport(stream));
    run(dispatch);
    client
}

/// Calls for hh-node-agent over `stream`. Must be called within a tokio runtime.
pub fn node_agent(stream: impl Stream) -> NodeAgentClient {
    let NewClient { client, dispatch } = NodeAgentClient::new(Config::default(), transport(stream));
    run(dispatch);
    client
}

/// A context for a call that may take `timeout`.
pub fn within(timeout: Duration) -> Context {
    let mut context = tarpc::context::current();
    context.deadline = std::time::Instant::now() + timeout;
    context
}

fn transport<In, Out, S>(
    stream: S,
) -> tarpc::serde_transport::Transport<S, In, Out, ClampedJson<In, Out>>
where
    In: serde::de::DeserializeOwned,
    Out: serde::Serialize,
    S: Stream,
{
    let framed = LengthDelimitedCodec::builder()
        .max_frame_length(crate::MAX_FRAME_BYTES)
        .new_framed(stream);
    tarpc::serde_transport::new(framed, ClampedJson::default())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the dispatch ends by itself when the last clone of its client is dropped"
)]
fn run<F, E>(dispatch: F)
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    // An error reaches the caller as the error of its call.
    drop(tokio::spawn(dispatch));
}
