//! The near end: opens streams to the daemons of another machine.

use super::frame::{Frame, Frames, Kind, write_queued};
use super::{MAX_QUEUED_FRAMES, MAX_STREAMS, PREFACE, Streams, invalid};
use crate::locate::Daemon;
use std::collections::HashMap;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::bytes::Bytes;

/// Between a stream and its user.
const DUPLEX_BYTES: usize = 64 * 1024;

/// What a login script may print before the far end is given up, in bytes.
const MAX_NOISE_BYTES: u64 = 1024;

/// A session with the far end. It ends when this and all its streams are dropped. Clones share it.
#[derive(Clone, Debug)]
pub struct Remote(mpsc::Sender<Request>);

#[derive(Debug)]
struct Request {
    daemon: Daemon,
    answer: oneshot::Sender<Result<DuplexStream, OpenError>>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("the session ended before the other side said anything")]
    Closed,
    #[error("the other side is no `hhctl system dial-stdio` of this version; it said: {said}")]
    Noise { said: String },
    #[error("can't read from the session")]
    Read(#[source] io::Error),
}

/// Why a stream was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The far end could not open the socket.
    #[error("{reason}")]
    Refused {
        kind: io::ErrorKind,
        /// The path of the socket and the error, as the far end sees them.
        reason: String,
    },
    #[error("the session has ended")]
    Ended,
}

impl Remote {
    /// Starts a session on the pipes to a far end, once that has answered. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The far end closes, or says something else than it should.
    pub async fn start<R, W>(mut reader: R, writer: W) -> Result<Self, RemoteError>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        read_preface(&mut reader).await?;
        let (requests, waiting) = mpsc::channel(MAX_STREAMS);
        let (outgoing, queue) = mpsc::channel(MAX_QUEUED_FRAMES);
        let session = async move {
            let near = Near {
                frames: Frames::new(reader),
                outgoing,
                streams: Streams::default(),
                opening: HashMap::new(),
                pumps: JoinSet::new(),
                next_id: 0,
            };
            // Whoever waits for the session sees its channels close.
            tokio::select! {
                _ended = write_queued(writer, queue) => {}
                _ended = near.run(waiting) => {}
            }
        };
        spawn(session);
        Ok(Self(requests))
    }

    /// Opens a stream to `daemon`'s socket at the far end.
    ///
    /// # Errors
    /// The far end can't open the socket, or is gone.
    pub async fn open(&self, daemon: Daemon) -> Result<DuplexStream, OpenError> {
        let (answer, answered) = oneshot::channel();
        let request = Request { daemon, answer };
        if self.0.send(request).await.is_err() {
            return Err(OpenError::Ended);
        }
        answered.await.unwrap_or(Err(OpenError::Ended))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the session ends by itself when its last user is dropped"
)]
fn spawn(session: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(session));
}

async fn read_preface(reader: &mut (impl AsyncRead + Unpin)) -> Result<(), RemoteError> {
    let mut read = Vec::with_capacity(PREFACE.len());
    let length = PREFACE.len() as u64;
    reader
        .take(length)
        .read_to_end(&mut read)
        .await
        .map_err(RemoteError::Read)?;
    if read == PREFACE {
        return Ok(());
    }
    if read.is_empty() {
        return Err(RemoteError::Closed);
    }
    // It may go on printing, or wait for us: take what is there without waiting long.
    let mut rest = reader.take(MAX_NOISE_BYTES);
    let a_moment = std::time::Duration::from_millis(200);
    drop(tokio::time::timeout(a_moment, rest.read_to_end(&mut read)).await);
    let said = String::from_utf8_lossy(&read);
    let printable = said
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    Err(RemoteError::Noise {
        said: printable.collect(),
    })
}

struct Near<R> {
    frames: Frames<R>,
    outgoing: mpsc::Sender<Frame>,
    streams: Streams,
    opening: HashMap<u32, oneshot::Sender<Result<DuplexStream, OpenError>>>,
    pumps: JoinSet<u32>,
    next_id: u32,
}

impl<R: AsyncRead + Unpin> Near<R> {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> io::Result<()> {
        let mut has_users = true;
        while has_users || !self.pumps.is_empty() {
            tokio::select! {
                frame = self.frames.next() => match frame? {
                    None => return Ok(()),
                    Some(frame) => self.on_frame(frame)?,
                },
                Some(ended) = self.pumps.join_next() => {
                    self.streams.0.remove(&ended?);
                }
                request = requests.recv(), if has_users => match request {
                    None => has_users = false,
                    Some(request) => self.on_request(request).await?,
                },
            }
        }
        Ok(())
    }

    async fn on_request(&mut self, request: Request) -> io::Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        let mut frame = Frame::new(id, Kind::Open);
        frame.payload = Bytes::from_static(request.daemon.program().as_bytes());
        self.opening.insert(id, request.answer);
        self.outgoing.send(frame).await.map_err(io::Error::other)
    }

    fn on_frame(&mut self, frame: Frame) -> io::Result<()> {
        match frame.kind {
            Kind::Opened => {
                let answer = self.opened(frame.stream)?;
                let (ours, theirs) = tokio::io::duplex(DUPLEX_BYTES);
                let pump = self.streams.open(frame.stream, &self.outgoing);
                self.pumps.spawn(pump.run(ours));
                // A caller that has given up closes the stream by dropping it.
                answer.send(Ok(theirs)).ok();
            }
            Kind::Refused => {
                let answer = self.opened(frame.stream)?;
                let (kind, reason) = match &frame.payload[..] {
                    [kind, reason @ ..] => (kind_of(*kind), String::from_utf8_lossy(reason)),
                    [] => (io::ErrorKind::Other, "no reason given".into()),
                };
                let reason = reason.into_owned();
                answer.send(Err(OpenError::Refused { kind, reason })).ok();
            }
            Kind::Open | Kind::Data | Kind::Credit | Kind::Close => self.streams.accept(frame)?,
        }
        Ok(())
    }

    fn opened(&mut self, id: u32) -> io::Result<oneshot::Sender<Result<DuplexStream, OpenError>>> {
        self.opening
            .remove(&id)
            .ok_or_else(|| invalid("an answer about a stream that was not asked for"))
    }
}

/// The errors of `connect(2)` that have each their own remedy; all others are 0.
const KINDS: [(u8, io::ErrorKind); 3] = [
    (1, io::ErrorKind::NotFound),
    (2, io::ErrorKind::ConnectionRefused),
    (3, io::ErrorKind::PermissionDenied),
];

pub(super) fn byte_of(kind: io::ErrorKind) -> u8 {
    KINDS
        .iter()
        .find(|(_, known)| *known == kind)
        .map_or(0, |(byte, _)| *byte)
}

fn kind_of(byte: u8) -> io::ErrorKind {
    KINDS
        .iter()
        .find(|(known, _)| *known == byte)
        .map_or(io::ErrorKind::Other, |(_, kind)| *kind)
}
