//! Frames: the six-byte header, encryption in chunks, and the two byte buffers of a connection.
//!
//! Owns both cipher states and knows no socket: bytes are put in and taken out, so that any splitting of the stream can be
//! tested. A frame is a header of 6 bytes, encrypted to 22, and a payload encrypted in chunks of at most 65,519 bytes, each
//! 16 longer on the wire; `msg_length` counts the plaintext (specification 4.6).

use std::sync::Arc;

use stratum_core::{
    buffer_sv2::AeadBuffer,
    noise_sv2::{AEAD_MAC_LEN, AeadError, NoiseDecryptor, NoiseEncryptor},
};

use crate::message::{Message, MessageError};

/// Plaintext bytes of a header.
const HEADER_BYTES: usize = 6;
/// Bytes of a header on the wire.
const ENCRYPTED_HEADER_BYTES: usize = HEADER_BYTES + AEAD_MAC_LEN;
/// A Noise message is at most 65,535 bytes, of which 16 are its tag.
const CHUNK_BYTES: usize = 65_535 - AEAD_MAC_LEN;
/// `msg_length` is an unsigned integer of 24 bits.
const PAYLOAD_BYTES_MAX: usize = (1 << 24) - 1;
/// What an idle connection keeps of each buffer: 25 shares or their answers fit, and a job of an empty block.
const IDLE_BYTES: usize = 2 * 1024;
/// Most that is asked for in one read: a frame's announced length is no reason to allocate more before bytes have come.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Bit 15 of the extension type on the wire.
const CHANNEL_MSG: u16 = 1 << 15;

/// What is wrong with the bytes of a frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("cannot be decrypted")]
    Undecryptable,
    #[error("frame of {length} bytes, at most {max} are taken")]
    TooLarge { length: usize, max: usize },
    #[error("{queued} bytes are waiting to be written, at most {max} may")]
    QueueFull { queued: usize, max: usize },
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl From<AeadError> for FrameError {
    fn from(_: AeadError) -> Self {
        Self::Undecryptable
    }
}

/// A frame's header in plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Without the `channel_msg` bit.
    pub(crate) extension_type: u16,
    pub(crate) channel_msg: bool,
    pub(crate) message_type: u8,
    /// Plaintext bytes of the payload.
    pub(crate) length: usize,
}

impl Header {
    fn from_bytes([ext_0, ext_1, message_type, len_0, len_1, len_2]: [u8; HEADER_BYTES]) -> Self {
        let extension = u16::from_le_bytes([ext_0, ext_1]);
        Self {
            extension_type: extension & !CHANNEL_MSG,
            channel_msg: extension & CHANNEL_MSG != 0,
            message_type,
            length: usize::from(len_0) | usize::from(len_1) << 8 | usize::from(len_2) << 16,
        }
    }

    fn of(message: &Message) -> Result<Self, FrameError> {
        let (extension_type, message_type, channel_msg) = message.kind();
        let length = message.payload_len();
        if length > PAYLOAD_BYTES_MAX {
            let max = PAYLOAD_BYTES_MAX;
            return Err(FrameError::TooLarge { length, max });
        }
        Ok(Self {
            extension_type,
            channel_msg,
            message_type,
            length,
        })
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let channel_bit = if self.channel_msg { CHANNEL_MSG } else { 0 };
        let [ext_0, ext_1] = (self.extension_type & !CHANNEL_MSG | channel_bit).to_le_bytes();
        let [len_0, len_1, len_2, ..] = self.length.to_le_bytes();
        [ext_0, ext_1, self.message_type, len_0, len_1, len_2]
    }
}

/// A message encoded once, for [`Connection::queue_encoded`](crate::Connection::queue_encoded) on many connections: each
/// only copies and encrypts it. Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct Encoded {
    header: Header,
    payload: Arc<[u8]>,
}

impl Encoded {
    /// Encodes `message`. Fails only for a message that no frame can hold (more than 16 MiB).
    pub fn new(message: impl Into<Message>) -> Result<Self, MessageError> {
        let message = message.into();
        let name = message.name();
        let header = Header::of(&message).map_err(|error| match error {
            FrameError::Message(error) => error,
            other => {
                let (extension_type, message_type, _) = message.kind();
                MessageError {
                    name,
                    extension_type,
                    message_type,
                    length: message.payload_len(),
                    reason: other.to_string(),
                }
            }
        })?;
        let mut payload = vec![0; header.length];
        message.encode(&mut payload)?;
        Ok(Self {
            header,
            payload: payload.into(),
        })
    }
}

/// The receiving side: ciphertext in, messages out.
pub(crate) struct FrameReader {
    decryptor: NoiseDecryptor,
    buffer: Vec<u8>,
    /// Where what has not been taken yet starts in `buffer`.
    start: usize,
    /// The header of the frame at `start`, once it has been decrypted (its nonce is used up then).
    header: Option<Header>,
    max_frame_bytes: usize,
}

impl FrameReader {
    pub(crate) fn new(decryptor: NoiseDecryptor, max_frame_bytes: usize) -> Self {
        Self {
            decryptor,
            buffer: Vec::new(),
            start: 0,
            header: None,
            max_frame_bytes,
        }
    }

    /// Where to append what was read; it has room for at least one byte.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        let was_full = self.buffer.len() == self.buffer.capacity();
        self.buffer.drain(..self.start);
        self.start = 0;
        let capacity = self.buffer.capacity();
        // A read that filled the buffer means that more is waiting: the next one takes twice as much.
        let wanted = match was_full {
            true => (2 * capacity).clamp(IDLE_BYTES, READ_BYTES_MAX),
            false => capacity,
        };
        let frame = self
            .header
            .map_or(ENCRYPTED_HEADER_BYTES, |h| encrypted_len(h.length));
        let length = self.buffer.len();
        let missing = frame.saturating_sub(length).clamp(1, READ_BYTES_MAX);
        let room = missing.max(wanted.saturating_sub(length));
        if capacity - length < room {
            self.buffer.reserve(room);
        }
        &mut self.buffer
    }

    /// Gives a grown buffer back when nothing is in it; called when there is nothing to read.
    pub(crate) fn release(&mut self) {
        if self.start == self.buffer.len() && self.buffer.capacity() > IDLE_BYTES {
            self.buffer = Vec::new();
            self.start = 0;
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The next message that is complete in the buffer. After an error the stream is unusable.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, FrameError> {
        self.next_frame()?
            .map(|(header, payload)| Ok(Message::decode(&header, payload)?))
            .transpose()
    }

    /// The next frame that is complete in the buffer, decrypted.
    pub(crate) fn next_frame(&mut self) -> Result<Option<(Header, &mut [u8])>, FrameError> {
        let Some(header) = self.next_header()? else {
            return Ok(None);
        };
        let end = self.start + encrypted_len(header.length);
        let Some(encrypted) = self.buffer.get_mut(self.start..end) else {
            return Ok(None);
        };
        decrypt_chunks(&mut self.decryptor, encrypted)?;
        let payload = self.start..self.start + header.length;
        self.start = end;
        self.header = None;
        Ok(Some((header, &mut self.buffer[payload])))
    }

    fn next_header(&mut self) -> Result<Option<Header>, FrameError> {
        if let Some(header) = self.header {
            return Ok(Some(header));
        }
        let end = self.start + ENCRYPTED_HEADER_BYTES;
        let Some(encrypted) = self.buffer.get_mut(self.start..end) else {
            return Ok(None);
        };
        let mut window = Window::full(encrypted);
        self.decryptor.decrypt(&mut window)?;
        let bytes = *encrypted
            .first_chunk()
            .expect("the slice has the 22 bytes of an encrypted header");
        let header = Header::from_bytes(bytes);
        if header.length > self.max_frame_bytes {
            return Err(FrameError::TooLarge {
                length: header.length,
                max: self.max_frame_bytes,
            });
        }
        self.start = end;
        self.header = Some(header);
        Ok(Some(header))
    }
}

/// The sending side: messages in, ciphertext out.
pub(crate) struct FrameWriter {
    encryptor: NoiseEncryptor,
    buffer: Vec<u8>,
    /// How much of `buffer` has been written to the socket.
    written: usize,
    max_queued_bytes: usize,
}

impl FrameWriter {
    pub(crate) fn new(encryptor: NoiseEncryptor, max_queued_bytes: usize) -> Self {
        Self {
            encryptor,
            buffer: Vec::new(),
            written: 0,
            max_queued_bytes,
        }
    }

    /// Encodes and encrypts `message` behind what is queued.
    pub(crate) fn push(&mut self, message: Message) -> Result<(), FrameError> {
        let header = Header::of(&message)?;
        self.seal(header, |payload| message.encode(payload))
    }

    /// Encrypts `encoded` behind what is queued, with `channel_id` as its first four bytes where one is given.
    pub(crate) fn push_encoded(
        &mut self,
        encoded: &Encoded,
        channel_id: Option<u32>,
    ) -> Result<(), FrameError> {
        self.seal(encoded.header, |payload| {
            payload.copy_from_slice(&encoded.payload);
            if let (Some(channel_id), Some(first)) = (channel_id, payload.first_chunk_mut()) {
                *first = channel_id.to_le_bytes();
            }
            Ok(())
        })
    }

    /// What is to be written.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Tells that the first `count` bytes of [`Self::pending`] have been written.
    pub(crate) fn advance(&mut self, count: usize) {
        self.written += count;
        if self.written == self.buffer.len() {
            self.written = 0;
            if self.buffer.capacity() > IDLE_BYTES {
                self.buffer = Vec::new();
            } else {
                self.buffer.clear();
            }
        }
    }

    fn seal(
        &mut self,
        header: Header,
        fill: impl FnOnce(&mut [u8]) -> Result<(), MessageError>,
    ) -> Result<(), FrameError> {
        let start = self.buffer.len();
        let payload_start = start + ENCRYPTED_HEADER_BYTES;
        let end = payload_start + encrypted_len(header.length);
        let queued = end - self.written;
        if queued > self.max_queued_bytes {
            let max = self.max_queued_bytes;
            return Err(FrameError::QueueFull { queued, max });
        }
        if self.buffer.capacity() < IDLE_BYTES {
            self.buffer.reserve_exact(IDLE_BYTES - start);
        }
        self.buffer.resize(end, 0);
        // The plaintext goes to the end of its room, so that each chunk can be moved forward to its place and grow by
        // its tag without touching the next one.
        if let Err(error) = fill(&mut self.buffer[end - header.length..]) {
            self.buffer.truncate(start);
            return Err(error.into());
        }
        let (header_room, payload_room) = self.buffer[start..].split_at_mut(ENCRYPTED_HEADER_BYTES);
        header_room[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        let mut window = Window::plaintext(header_room, HEADER_BYTES);
        self.encryptor.encrypt(&mut window)?;
        encrypt_chunks(&mut self.encryptor, payload_room, header.length)
    }
}

/// Length on the wire of a payload of `plaintext` bytes.
fn encrypted_len(plaintext: usize) -> usize {
    plaintext + plaintext.div_ceil(CHUNK_BYTES) * AEAD_MAC_LEN
}

/// Encrypts the plaintext in the last `length` bytes of `room`, which is [`encrypted_len`] long, to fill `room`.
fn encrypt_chunks(
    encryptor: &mut NoiseEncryptor,
    room: &mut [u8],
    length: usize,
) -> Result<(), FrameError> {
    let mut source = room.len() - length;
    let mut target = 0;
    while source < room.len() {
        let chunk = CHUNK_BYTES.min(room.len() - source);
        room.copy_within(source..source + chunk, target);
        let sealed = target + chunk + AEAD_MAC_LEN;
        let mut window = Window::plaintext(&mut room[target..sealed], chunk);
        encryptor.encrypt(&mut window)?;
        source += chunk;
        target = sealed;
    }
    Ok(())
}

/// Decrypts the chunks of `encrypted` and leaves the plaintext at its start.
fn decrypt_chunks(decryptor: &mut NoiseDecryptor, encrypted: &mut [u8]) -> Result<(), FrameError> {
    let mut source = 0;
    let mut target = 0;
    while source < encrypted.len() {
        let sealed = (CHUNK_BYTES + AEAD_MAC_LEN).min(encrypted.len() - source);
        let mut window = Window::full(&mut encrypted[source..source + sealed]);
        decryptor.decrypt(&mut window)?;
        let chunk = window.length;
        if source != target {
            encrypted.copy_within(source..source + chunk, target);
        }
        source += sealed;
        target += chunk;
    }
    Ok(())
}

/// A part of a buffer that the cipher grows by a tag or shrinks by one, in place.
struct Window<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl<'a> Window<'a> {
    fn full(bytes: &'a mut [u8]) -> Self {
        let length = bytes.len();
        Self { bytes, length }
    }

    /// `length` bytes of plaintext, with room behind them.
    fn plaintext(bytes: &'a mut [u8], length: usize) -> Self {
        Self { bytes, length }
    }
}

impl AsRef<[u8]> for Window<'_> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl AsMut<[u8]> for Window<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl AeadBuffer for Window<'_> {
    fn extend_from_slice(&mut self, other: &[u8]) -> Result<(), AeadError> {
        let end = self.length + other.len();
        self.bytes
            .get_mut(self.length..end)
            .ok_or(AeadError)?
            .copy_from_slice(other);
        self.length = end;
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}

#[cfg(test)]
mod tests;
