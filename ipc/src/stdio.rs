//! All daemons of a machine through one pair of pipes: `hhctl system dial-stdio` at the far end of an SSH session.
//!
//! The far end first writes [`PREFACE`]. After it both ends send frames: a length (u32, big-endian), a stream id (u32), a
//! kind (u8), and up to [`MAX_CHUNK_BYTES`]. The near end opens streams, each to the socket of one daemon. A stream that
//! nobody reads does not hold up the others: each end has at most [`WINDOW_FRAMES`] of a stream on the way, and gets a
//! credit back for each that was consumed.

mod frame;
mod near;
mod relay;

pub use near::{OpenError, Remote, RemoteError};
pub use relay::relay;

use frame::{Frame, Kind};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::bytes::Bytes;

/// The first bytes from the far end. Anything else was printed by a login script or another program.
const PREFACE: &[u8; 8] = b"HHMUX 1\n";

/// Bytes of a stream in one frame: small enough that a long answer of one daemon does not delay another's much.
const MAX_CHUNK_BYTES: usize = 16 * 1024;

/// Frames of a stream that may be on the way: with [`MAX_CHUNK_BYTES`], a quarter of a megabyte of buffer per stream.
const WINDOW_FRAMES: usize = 16;

/// Streams at a time: every daemon of a machine, and some to spare for a program that connects again.
const MAX_STREAMS: usize = 32;

/// Frames of all streams that wait to be written.
const MAX_QUEUED_FRAMES: usize = 64;

/// The streams that are open at one end.
#[derive(Debug, Default)]
struct Streams(HashMap<u32, Stream>);

#[derive(Debug)]
struct Stream {
    incoming: mpsc::Sender<Bytes>,
    credit: Arc<Semaphore>,
}

/// The inner end of a [`Stream`].
struct Pump {
    id: u32,
    incoming: mpsc::Receiver<Bytes>,
    credit: Arc<Semaphore>,
    outgoing: mpsc::Sender<Frame>,
}

impl Streams {
    fn open(&mut self, id: u32, outgoing: &mpsc::Sender<Frame>) -> Pump {
        let (sender, incoming) = mpsc::channel(WINDOW_FRAMES);
        let credit = Arc::new(Semaphore::new(WINDOW_FRAMES));
        let stream = Stream {
            incoming: sender,
            credit: Arc::clone(&credit),
        };
        self.0.insert(id, stream);
        Pump {
            id,
            incoming,
            credit,
            outgoing: outgoing.clone(),
        }
    }

    /// Handles a frame of an open stream; one for a stream that is closed meanwhile is dropped. Never waits.
    fn accept(&mut self, frame: Frame) -> io::Result<()> {
        let Some(stream) = self.0.get(&frame.stream) else {
            return Ok(());
        };
        match frame.kind {
            Kind::Data => match stream.incoming.try_send(frame.payload) {
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Err(invalid("more of a stream than its window"))
                }
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            },
            Kind::Credit => {
                stream.credit.add_permits(1);
                Ok(())
            }
            Kind::Close => {
                self.0.remove(&frame.stream);
                Ok(())
            }
            Kind::Open | Kind::Opened | Kind::Refused => Err(invalid("a frame out of order")),
        }
    }
}

impl Pump {
    /// Moves bytes between `local` and the other end until either closes. Gives the id of the stream.
    async fn run(mut self, local: impl AsyncRead + AsyncWrite) -> u32 {
        let (reader, writer) = tokio::io::split(local);
        let id = self.id;
        let outgoing = self.outgoing.clone();
        // An error ends the stream like its end does: its user sees it closed.
        tokio::select! {
            _ended = send(id, reader, &self.credit, &outgoing) => {}
            _ended = receive(id, writer, &mut self.incoming, &outgoing) => {}
        }
        outgoing.send(Frame::new(id, Kind::Close)).await.ok();
        id
    }
}

async fn send(
    id: u32,
    mut local: impl AsyncRead + Unpin,
    credit: &Semaphore,
    outgoing: &mpsc::Sender<Frame>,
) -> io::Result<()> {
    let mut buffer = vec![0; MAX_CHUNK_BYTES];
    loop {
        credit.acquire().await.map_err(io::Error::other)?.forget();
        let read = local.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let mut frame = Frame::new(id, Kind::Data);
        frame.payload = Bytes::copy_from_slice(&buffer[..read]);
        outgoing.send(frame).await.map_err(io::Error::other)?;
    }
}

async fn receive(
    id: u32,
    mut local: impl AsyncWrite + Unpin,
    incoming: &mut mpsc::Receiver<Bytes>,
    outgoing: &mpsc::Sender<Frame>,
) -> io::Result<()> {
    while let Some(chunk) = incoming.recv().await {
        local.write_all(&chunk).await?;
        local.flush().await?;
        let credit = Frame::new(id, Kind::Credit);
        outgoing.send(credit).await.map_err(io::Error::other)?;
    }
    local.shutdown().await
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
