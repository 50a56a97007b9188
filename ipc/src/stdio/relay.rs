//! The far end: connects streams to the sockets of this machine's daemons.

use super::frame::{Frame, Frames, Kind, write_queued};
use super::{MAX_CHUNK_BYTES, MAX_QUEUED_FRAMES, MAX_STREAMS, PREFACE, Pump, Streams, invalid};
use crate::client::dial_any;
use crate::locate::{Context, Daemon};
use std::io;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Serves one session on a pair of pipes until the near end closes it. With `read_only` only view sockets are dialled.
///
/// # Errors
/// The pipes fail, or the near end does not keep to the protocol.
pub async fn relay(
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    context: &Context,
    read_only: bool,
) -> io::Result<()> {
    writer.write_all(PREFACE).await?;
    writer.flush().await?;
    let (outgoing, queue) = mpsc::channel(MAX_QUEUED_FRAMES);
    tokio::select! {
        written = write_queued(writer, queue) => written,
        read = read_frames(Frames::new(reader), outgoing, context, read_only) => read,
    }
}

async fn read_frames<R: AsyncRead + Unpin>(
    mut frames: Frames<R>,
    outgoing: mpsc::Sender<Frame>,
    context: &Context,
    read_only: bool,
) -> io::Result<()> {
    let mut streams = Streams::default();
    let mut pumps = JoinSet::new();
    loop {
        let frame = tokio::select! {
            frame = frames.next() => frame?,
            Some(ended) = pumps.join_next() => {
                streams.0.remove(&ended?);
                continue;
            }
        };
        match frame {
            None => return Ok(()),
            Some(frame) if frame.kind == Kind::Open => {
                if streams.0.contains_key(&frame.stream) || pumps.len() >= MAX_STREAMS {
                    return Err(invalid("too many streams, or one opened twice"));
                }
                let paths = sockets(&frame.payload, context, read_only)?;
                let pump = streams.open(frame.stream, &outgoing);
                pumps.spawn(connect(paths, pump));
            }
            Some(frame) => streams.accept(frame)?,
        }
    }
}

fn sockets(program: &[u8], context: &Context, read_only: bool) -> io::Result<Vec<PathBuf>> {
    let daemon = Daemon::ALL
        .into_iter()
        .chain(Daemon::CONTROLLING)
        .find(|daemon| daemon.program().as_bytes() == program)
        .ok_or_else(|| invalid("a stream to an unknown daemon"))?;
    let [view, control] = context.view_sockets(daemon);
    Ok(if read_only {
        vec![view]
    } else {
        vec![control, view]
    })
}

async fn connect(paths: Vec<PathBuf>, pump: Pump) -> u32 {
    let id = pump.id;
    match dial_any(&paths).await {
        Ok(stream) => {
            pump.outgoing.send(Frame::new(id, Kind::Opened)).await.ok();
            pump.run(stream).await
        }
        Err(error) => {
            let mut frame = Frame::new(id, Kind::Refused);
            let mut payload = vec![super::near::byte_of(error.source.kind())];
            let reason = format!("{}: {}", error.path.display(), error.source);
            payload.extend(reason.bytes().take(MAX_CHUNK_BYTES - 1));
            frame.payload = payload.into();
            pump.outgoing.send(frame).await.ok();
            id
        }
    }
}
