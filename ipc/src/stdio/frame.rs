//! Frames, and their bytes.

use super::{MAX_CHUNK_BYTES, invalid};
use futures::{SinkExt, StreamExt};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Stream id and kind.
const HEAD_BYTES: usize = 5;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) stream: u32,
    pub(super) kind: Kind,
    pub(super) payload: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To the far end: connect this stream to the daemon whose program name is the payload.
    Open = 0,
    /// To the near end: it is connected.
    Opened = 1,
    /// To the near end: it is not. A byte for the kind of the error, then the reason in words.
    Refused = 2,
    Data = 3,
    /// One frame of data was consumed.
    Credit = 4,
    Close = 5,
}

impl Frame {
    pub(super) fn new(stream: u32, kind: Kind) -> Self {
        Self {
            stream,
            kind,
            payload: Bytes::new(),
        }
    }

    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + self.payload.len());
        bytes.put_u32(self.stream);
        bytes.put_u8(self.kind as u8);
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }

    fn decode(mut bytes: BytesMut) -> io::Result<Self> {
        if bytes.len() < HEAD_BYTES {
            return Err(invalid("a frame without a head"));
        }
        let stream = bytes.get_u32();
        let kind = match bytes.get_u8() {
            0 => Kind::Open,
            1 => Kind::Opened,
            2 => Kind::Refused,
            3 => Kind::Data,
            4 => Kind::Credit,
            5 => Kind::Close,
            _ => return Err(invalid("a frame of an unknown kind")),
        };
        Ok(Self {
            stream,
            kind,
            payload: bytes.freeze(),
        })
    }
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(HEAD_BYTES + MAX_CHUNK_BYTES)
        .new_codec()
}

/// Reads frames, one at a time. Cancel-safe.
pub(super) struct Frames<R>(FramedRead<R, LengthDelimitedCodec>);

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(reader: R) -> Self {
        Self(FramedRead::new(reader, codec()))
    }

    /// None at the end of the session.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
        self.0
            .next()
            .await
            .transpose()?
            .map(Frame::decode)
            .transpose()
    }
}

/// Writes what is queued until nobody can queue any more.
pub(super) async fn write_queued(
    writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Frame>,
) -> io::Result<()> {
    let mut writer = FramedWrite::new(writer, codec());
    while let Some(frame) = queue.recv().await {
        writer.feed(frame.encode()).await?;
        while let Ok(frame) = queue.try_recv() {
            writer.feed(frame.encode()).await?;
        }
        SinkExt::<Bytes>::flush(&mut writer).await?;
    }
    Ok(())
}
