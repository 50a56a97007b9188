//! A miner's socket, plain or under TLS, with one interface: wait until something can be done, and do what can be done now.
//!
//! Nothing is buffered for a plain one, so that a connection costs no memory while it is silent. TLS runs on the same calls: its
//! handshake is made by whoever reads, and what it has to say is written by whoever writes.

use rustls::{ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::sync::Arc;
use tokio::net::TcpStream;

/// What TLS holds encrypted for a socket that takes no more: a job or two. The session holds the rest, and has a limit for it.
const TLS_BUFFER_BYTES: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) enum MinerStream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// A connection under TLS.
#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: TcpStream,
    tls: ServerConnection,
    /// The last read filled its buffer: there may be more that the socket knows nothing of.
    has_more: bool,
}

impl MinerStream {
    /// A connection that is to begin with a TLS handshake.
    ///
    /// # Errors
    /// The configuration allows no connection, which one that was loaded does.
    pub(crate) fn tls(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        Ok(Self::Tls(Box::new(TlsStream {
            socket,
            tls,
            has_more: false,
        })))
    }

    /// Waits until [`Self::try_read`] may find something. Cancel-safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.readable().await,
            Self::Tls(stream) if stream.has_more => Ok(()),
            Self::Tls(stream) => stream.socket.readable().await,
        }
    }

    /// Waits until the socket takes something. Cancel-safe.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.writable().await,
            Self::Tls(stream) => stream.socket.writable().await,
        }
    }

    /// Reads what is there; 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is; a `rustls::Error` within where what comes is no TLS.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_read(buffer),
            Self::Tls(stream) => {
                let read = stream.try_read(buffer);
                stream.has_more = read.as_ref().is_ok_and(|length| *length == buffer.len());
                read
            }
        }
    }

    /// Writes what the socket takes of `bytes`.
    ///
    /// # Errors
    /// `WouldBlock` if it takes none.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.try_write(bytes),
            Self::Tls(stream) => stream.try_write(bytes),
        }
    }

    /// Whether something is held that the socket has not taken: then [`Self::try_flush`] is to be called when it is writable.
    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.tls.wants_write(),
        }
    }

    /// Writes what is held.
    ///
    /// # Errors
    /// `WouldBlock` if the socket does not take all of it.
    pub(crate) fn try_flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.try_flush(),
        }
    }

    /// Tells the miner that nothing follows, as far as the socket takes it.
    pub(crate) fn close(&mut self) {
        if let Self::Tls(stream) = self {
            stream.tls.send_close_notify();
            stream.try_flush().ok();
        }
    }
}

impl TlsStream {
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Miners hang up without a close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            self.tls.read_tls(&mut Ready(&self.socket))?;
            if let Err(error) = self.tls.process_new_packets() {
                // The alert says why, if it still arrives.
                self.try_flush().ok();
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = match self.tls.writer().write(bytes)? {
            0 => {
                self.try_flush()?;
                self.tls.writer().write(bytes)?
            }
            length => length,
        };
        match self.try_flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ if length == 0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(length),
        }
    }

    fn try_flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut Ready(&self.socket))?;
        }
        Ok(())
    }
}

/// A socket as TLS wants it: what can't be done now fails with `WouldBlock`.
struct Ready<'a>(&'a TcpStream);

impl Read for Ready<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
