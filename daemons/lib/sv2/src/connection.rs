//! One encrypted connection to a peer, used by one task.
//!
//! Owns the socket and both cipher states; spawns nothing and has no channel, so what is unread waits in the kernel and a
//! slow peer slows only its own task. It knows no protocol state: [`setup`](crate::setup) and the daemons do.

use std::{
    future::{Future, poll_fn},
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Authority, AuthorityPublicKey, Encoded, Message,
    frame::{FrameError, FrameReader, FrameWriter},
    handshake::{self, HandshakeError},
    message::MessageError,
};

/// Largest frame that a server takes from a client. The largest one a client has to send, SetCustomMiningJob, has 64 KiB of
/// coinbase outputs and 8 KiB of merkle path; SubmitSolution has 64 KiB of coinbase.
pub const FRAME_BYTES_MAX_FROM_CLIENT: usize = 80 * 1024;

/// Largest frame that a client takes from a server. RequestTransactionData.Success carries a block: at most 4,000,000 bytes,
/// and three more for each of at most 65,535 transactions.
pub const FRAME_BYTES_MAX_FROM_SERVER: usize = 4_300_000;

/// Deadline for the TCP connect (client) and the whole handshake. A handshake is one round trip.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// A flush that takes longer means that the peer does not read.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Most bytes that may be queued: a block's transactions twice.
pub const QUEUED_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX_FROM_SERVER;

/// A peer that acknowledges nothing for this long is gone (power cut, cable): the kernel then reports the connection dead.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// What [`Connection::close`] grants the peer to read the last messages.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest payload taken from the peer, plaintext bytes.
    pub max_frame_bytes: usize,
    /// Most bytes queued and not yet written.
    pub max_queued_bytes: usize,
    /// For the TCP connect and the handshake together.
    pub handshake_deadline: Duration,
    /// For one [`Connection::flush`].
    pub write_deadline: Duration,
    /// What the kernel holds of what the peer has not read, beside `max_queued_bytes`; up to some megabytes where it is not
    /// given.
    pub send_buffer_bytes: Option<usize>,
}

impl Limits {
    /// For the side that accepts.
    pub const SERVER: Self = Self {
        max_frame_bytes: FRAME_BYTES_MAX_FROM_CLIENT,
        max_queued_bytes: QUEUED_BYTES_MAX,
        handshake_deadline: HANDSHAKE_DEADLINE,
        write_deadline: WRITE_DEADLINE,
        send_buffer_bytes: None,
    };

    /// For the side that connects.
    pub const CLIENT: Self = Self {
        max_frame_bytes: FRAME_BYTES_MAX_FROM_SERVER,
        ..Self::SERVER
    };
}

/// Why a connection is not or no longer usable. After any of these it is to be dropped.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No TCP connection (refused, unreachable, unknown host).
    #[error("cannot connect to {address}")]
    Connect {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The peer did not do its part in time.
    #[error("{peer}: {doing} took longer than {} s", deadline.as_secs_f32())]
    TimedOut {
        /// The address, as given or of the socket.
        peer: String,
        /// What was waited for.
        doing: &'static str,
        /// How long.
        deadline: Duration,
    },
    /// The peer does not read: what was queued could not be written in time.
    #[error("{peer}: writing took longer than {} s", deadline.as_secs_f32())]
    SlowReader {
        /// The peer's address.
        peer: SocketAddr,
        /// [`Limits::write_deadline`].
        deadline: Duration,
    },
    /// The peer closed or reset the connection.
    #[error("{peer}: closed by the peer")]
    Closed {
        /// The peer's address.
        peer: SocketAddr,
    },
    /// The socket failed.
    #[error("{peer}: socket failed")]
    Io {
        /// The peer's address.
        peer: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The peer sent text where the Noise handshake was expected.
    #[error("{peer}: speaks plain text (Stratum V1 or HTTP?), expected Stratum V2 with Noise")]
    NotNoise {
        /// The peer's address.
        peer: SocketAddr,
    },
    /// The peer sent a PROXY protocol header, and its address is not one that it is taken from.
    #[error("{peer}: sends a PROXY protocol header, and is not in proxy_protocol.from")]
    ProxyHeader {
        /// The peer's address.
        peer: SocketAddr,
    },
    /// The handshake's bytes make no sense: something else listens there, or somebody changed them on the way.
    #[error("{peer}: handshake failed, the peer does not speak Stratum V2 with Noise")]
    HandshakeFailed {
        /// The peer's address.
        peer: SocketAddr,
    },
    /// The server's certificate is signed by another authority than the configured one.
    #[error("{peer}: the server's authority key is not the configured one, {configured}")]
    WrongAuthority {
        /// The peer's address.
        peer: SocketAddr,
        /// The key we were told to expect. The certificate does not name the other one.
        configured: AuthorityPublicKey,
    },
    /// The server's certificate is for another time.
    #[error(
        "{peer}: the server's certificate is valid from {valid_from} to {not_valid_after}, our clock says {now} (Unix seconds)"
    )]
    CertificateTime {
        /// The peer's address.
        peer: SocketAddr,
        /// Unix seconds.
        valid_from: u32,
        /// Unix seconds.
        not_valid_after: u32,
        /// Our clock, Unix seconds.
        now: u32,
    },
    /// A frame's authentication tag is wrong.
    #[error("{peer}: received bytes that cannot be decrypted")]
    Undecryptable {
        /// The peer's address.
        peer: SocketAddr,
    },
    /// The peer announced a frame that is larger than we take.
    #[error("{peer}: frame of {length} bytes, at most {max} are taken")]
    FrameTooLarge {
        /// The peer's address.
        peer: SocketAddr,
        /// Announced plaintext bytes.
        length: usize,
        /// [`Limits::max_frame_bytes`].
        max: usize,
    },
    /// More is queued than the peer's limit allows.
    #[error("{peer}: {queued} bytes are waiting to be written, at most {max} may")]
    QueueFull {
        /// The peer's address.
        peer: SocketAddr,
        /// Bytes there would be.
        queued: usize,
        /// [`Limits::max_queued_bytes`].
        max: usize,
    },
    /// A frame's payload is not the message that its type says, or a message cannot be encoded.
    #[error("{peer}: malformed message")]
    Malformed {
        /// The peer's address.
        peer: SocketAddr,
        /// Which message and what is wrong with it.
        source: MessageError,
    },
}

impl ConnectionError {
    /// Why the connection ended, in the few words of the label `reason` of metrics: `closed`, `io`, `not_set_up`, `slow_reader`,
    /// and for a peer that sent what no client sends `handshake_failed` or `protocol_error`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Connect { .. } | Self::Io { .. } => "io",
            Self::TimedOut { .. } => "not_set_up",
            Self::SlowReader { .. } | Self::QueueFull { .. } => "slow_reader",
            Self::NotNoise { .. }
            | Self::HandshakeFailed { .. }
            | Self::ProxyHeader { .. }
            | Self::WrongAuthority { .. }
            | Self::CertificateTime { .. } => "handshake_failed",
            Self::Undecryptable { .. } | Self::FrameTooLarge { .. } | Self::Malformed { .. } => {
                "protocol_error"
            }
        }
    }

    fn from_frame(peer: SocketAddr, error: FrameError) -> Self {
        match error {
            FrameError::Undecryptable => Self::Undecryptable { peer },
            FrameError::TooLarge { length, max } => Self::FrameTooLarge { peer, length, max },
            FrameError::QueueFull { queued, max } => Self::QueueFull { peer, queued, max },
            FrameError::Message(source) => Self::Malformed { peer, source },
        }
    }

    fn from_io(peer: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof => Self::Closed { peer },
            _ => Self::Io { peer, source },
        }
    }

    fn from_handshake(
        peer: SocketAddr,
        configured: Option<&AuthorityPublicKey>,
        error: HandshakeError,
    ) -> Self {
        match (error, configured) {
            (HandshakeError::Text, _) => Self::NotNoise { peer },
            (HandshakeError::ProxyHeader, _) => Self::ProxyHeader { peer },
            (HandshakeError::WrongAuthority, Some(&configured)) => {
                Self::WrongAuthority { peer, configured }
            }
            (HandshakeError::WrongAuthority | HandshakeError::Undecryptable, _) => {
                Self::HandshakeFailed { peer }
            }
            (
                HandshakeError::CertificateTime {
                    valid_from,
                    not_valid_after,
                    now,
                },
                _,
            ) => Self::CertificateTime {
                peer,
                valid_from,
                not_valid_after,
                now,
            },
            (HandshakeError::Closed, _) => Self::Closed { peer },
            (HandshakeError::Io(source), _) => Self::from_io(peer, source),
        }
    }
}

/// An encrypted connection. One task uses it; dropping it closes the socket.
pub struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    reader: FrameReader,
    writer: FrameWriter,
    write_deadline: Duration,
}

impl Connection {
    /// Does the server's side of the handshake on an accepted socket.
    pub async fn accept(
        stream: TcpStream,
        authority: &Authority,
        limits: &Limits,
    ) -> Result<Self, ConnectionError> {
        let peer = peer_of(&stream)?;
        Self::accept_from(peer, stream, authority, limits).await
    }

    /// As [`Self::accept`], for a socket of a proxy that has told for which `peer` it is.
    pub async fn accept_from(
        peer: SocketAddr,
        mut stream: TcpStream,
        authority: &Authority,
        limits: &Limits,
    ) -> Result<Self, ConnectionError> {
        prepare(&stream, peer, limits)?;
        let deadline = limits.handshake_deadline;
        let engine = timeout(deadline, handshake::respond(&mut stream, authority))
            .await
            .map_err(|_elapsed| timed_out(peer, "the handshake", deadline))?
            .map_err(|error| ConnectionError::from_handshake(peer, None, error))?;
        Ok(Self::new(stream, peer, engine, limits))
    }

    /// Connects to `address` (`HOST:PORT`) and does the client's side of the handshake. With `None` for the authority
    /// the connection is encrypted, but the server may be anybody.
    pub async fn connect(
        address: &str,
        authority: Option<&AuthorityPublicKey>,
        limits: &Limits,
    ) -> Result<Self, ConnectionError> {
        let deadline = limits.handshake_deadline;
        let stream = timeout(deadline, TcpStream::connect(address))
            .await
            .map_err(|_elapsed| timed_out(address, "the TCP connect", deadline))?
            .map_err(|source| ConnectionError::Connect {
                address: address.to_owned(),
                source,
            })?;
        Self::initiate(stream, authority, limits).await
    }

    /// Does the client's side of the handshake on a connected socket.
    pub async fn initiate(
        mut stream: TcpStream,
        authority: Option<&AuthorityPublicKey>,
        limits: &Limits,
    ) -> Result<Self, ConnectionError> {
        let peer = peer_of(&stream)?;
        prepare(&stream, peer, limits)?;
        let deadline = limits.handshake_deadline;
        let engine = timeout(deadline, handshake::initiate(&mut stream, authority))
            .await
            .map_err(|_elapsed| timed_out(peer, "the handshake", deadline))?
            .map_err(|error| ConnectionError::from_handshake(peer, authority, error))?;
        Ok(Self::new(stream, peer, engine, limits))
    }

    fn new(
        stream: TcpStream,
        peer: SocketAddr,
        engine: stratum_core::noise_sv2::NoiseEngine,
        limits: &Limits,
    ) -> Self {
        let (encryptor, decryptor) = engine.into_split();
        Self {
            stream,
            peer,
            reader: FrameReader::new(decryptor, limits.max_frame_bytes),
            writer: FrameWriter::new(encryptor, limits.max_queued_bytes),
            write_deadline: limits.write_deadline,
        }
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The next message. Cancel-safe: dropped before it is ready, it has lost nothing. It has no deadline, because a
    /// healthy peer may be silent for as long as it likes.
    pub async fn recv(&mut self) -> Result<Message, ConnectionError> {
        loop {
            if let Some(message) = self.try_recv()? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    /// The next message that has been read completely, without waiting. After [`Self::recv`] this gives what came in the
    /// same read, so that all of it can be answered by one write.
    pub fn try_recv(&mut self) -> Result<Option<Message>, ConnectionError> {
        self.reader
            .next()
            .map_err(|error| ConnectionError::from_frame(self.peer, error))
    }

    /// Encodes and encrypts a message behind what is queued; [`Self::flush`] sends it. Does not wait.
    pub fn queue(&mut self, message: impl Into<Message>) -> Result<(), ConnectionError> {
        self.writer
            .push(message.into())
            .map_err(|error| ConnectionError::from_frame(self.peer, error))
    }

    /// Like [`Self::queue`], for a message that was encoded once for many connections.
    pub fn queue_encoded(&mut self, encoded: &Encoded) -> Result<(), ConnectionError> {
        self.writer
            .push_encoded(encoded, None)
            .map_err(|error| ConnectionError::from_frame(self.peer, error))
    }

    /// Like [`Self::queue_encoded`], with another channel id: messages with the `channel_msg` bit start with it, so that
    /// a job encoded once serves every channel.
    pub fn queue_encoded_for(
        &mut self,
        encoded: &Encoded,
        channel_id: u32,
    ) -> Result<(), ConnectionError> {
        self.writer
            .push_encoded(encoded, Some(channel_id))
            .map_err(|error| ConnectionError::from_frame(self.peer, error))
    }

    /// Whether something is queued that [`Self::flush`] has not sent.
    pub fn has_queued(&self) -> bool {
        !self.writer.pending().is_empty()
    }

    /// Sends what is queued, in one write where the kernel has room. Cancel-safe: what was not sent stays queued.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        if !self.has_queued() {
            return Ok(());
        }
        let deadline = self.write_deadline;
        timeout(deadline, self.write_pending())
            .await
            .map_err(|_elapsed| ConnectionError::SlowReader {
                peer: self.peer,
                deadline,
            })?
    }

    /// Sends what is queued and closes. The peer is given a second to read it: a socket that is dropped with unread bytes
    /// in it sends a reset, and a reset can overtake the last message.
    pub async fn close(mut self) -> Result<(), ConnectionError> {
        self.flush().await?;
        let peer = self.peer;
        let to_error = |source| ConnectionError::from_io(peer, source);
        self.stream.shutdown().await.map_err(to_error)?;
        let mut scrap = [0; 512];
        let drain = async { while matches!(self.stream.read(&mut scrap).await, Ok(1..)) {} };
        // Elapsed: the peer keeps talking and has had its second.
        timeout(LINGER, drain).await.unwrap_or_default();
        Ok(())
    }

    async fn write_pending(&mut self) -> Result<(), ConnectionError> {
        while self.has_queued() {
            let written = self
                .stream
                .write(self.writer.pending())
                .await
                .map_err(|source| ConnectionError::from_io(self.peer, source))?;
            self.writer.advance(written);
        }
        Ok(())
    }

    /// Reads what is there into the buffer, waiting for at least one byte.
    async fn fill(&mut self) -> Result<(), ConnectionError> {
        let Self { stream, reader, .. } = self;
        // The future of a read keeps nothing between polls, so it is made anew for each, and the buffer can be given back
        // while there is nothing to read.
        let read = poll_fn(|context| {
            let polled = pin!(stream.read_buf(reader.buffer())).poll(context);
            if polled.is_pending() {
                reader.release();
            }
            polled
        })
        .await;
        match read {
            Ok(0) => Err(ConnectionError::Closed { peer: self.peer }),
            Ok(_) => Ok(()),
            Err(source) => Err(ConnectionError::from_io(self.peer, source)),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("queued", &self.writer.pending().len())
            .finish_non_exhaustive()
    }
}

fn peer_of(stream: &TcpStream) -> Result<SocketAddr, ConnectionError> {
    // A socket that was reset before we got to it has no peer address any more.
    let gone = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    stream
        .peer_addr()
        .map_err(|source| ConnectionError::from_io(gone, source))
}

/// Sets what every connection needs: no Nagle (the first job would come 40 ms late), and an end for peers that vanish.
fn prepare(stream: &TcpStream, peer: SocketAddr, limits: &Limits) -> Result<(), ConnectionError> {
    let set = || -> io::Result<()> {
        use rustix::net::sockopt;
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, UNACKNOWLEDGED_MAX)?;
        let unacknowledged_ms = u32::try_from(UNACKNOWLEDGED_MAX.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(stream, unacknowledged_ms)?;
        if let Some(bytes) = limits.send_buffer_bytes {
            sockopt::set_socket_send_buffer_size(stream, bytes)?;
        }
        Ok(())
    };
    set().map_err(|source| ConnectionError::from_io(peer, source))
}

fn timed_out(peer: impl ToString, doing: &'static str, deadline: Duration) -> ConnectionError {
    ConnectionError::TimedOut {
        peer: peer.to_string(),
        doing,
        deadline,
    }
}

#[cfg(test)]
mod tests;
