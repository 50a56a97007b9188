//! SetupConnection: the first exchange on a connection, from both sides (specification 3.6.1 to 3.6.3).
//!
//! Owns the version, protocol and flag checks that are the same for every server. What a flag means is the daemon's.

use std::{net::SocketAddr, time::Duration};

use tokio::time::timeout;

use crate::{
    Connection, ConnectionError, Message,
    message::{
        PROTOCOL_VERSION, Protocol, SetupConnection, SetupConnectionError, SetupConnectionSuccess,
        Str0255,
    },
};

/// Deadline for the setup exchange: one round trip. A connection without setup is dropped after it.
pub const SETUP_DEADLINE: Duration = Duration::from_secs(10);

/// Longest text in SetupConnection, in bytes (STR0_255).
const TEXT_BYTES_MAX: usize = 255;

/// Why a connection was not set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// No setup in time.
    #[error("{peer}: no {awaited} within {} s", deadline.as_secs_f32())]
    TimedOut {
        /// The peer's address.
        peer: SocketAddr,
        /// The message that did not come.
        awaited: &'static str,
        /// How long was waited.
        deadline: Duration,
    },
    /// The peer's first message is another one.
    #[error("{peer}: sent {got} instead of {awaited}")]
    Unexpected {
        /// The peer's address.
        peer: SocketAddr,
        /// The message that had to come.
        awaited: &'static str,
        /// The one that came.
        got: &'static str,
    },
    /// We refused the client; SetupConnection.Error has been sent.
    #[error(
        "{peer}: refused, {code} (protocol {protocol}, versions {min_version} to {max_version}, flags {flags:#x})"
    )]
    Refused {
        /// The peer's address.
        peer: SocketAddr,
        /// Error code of the specification.
        code: &'static str,
        /// Protocol number the client asked for.
        protocol: u8,
        /// Lowest version it speaks.
        min_version: u16,
        /// Highest version it speaks.
        max_version: u16,
        /// Its flags.
        flags: u32,
    },
    /// The server refused us.
    #[error("{peer}: the server refuses the connection, {code} (unsupported flags {flags:#x})")]
    RefusedByServer {
        /// The peer's address.
        peer: SocketAddr,
        /// Its error code, printable characters only.
        code: String,
        /// The flags that it does not support.
        flags: u32,
    },
    /// The server chose a version that we did not offer.
    #[error("{peer}: the server uses version {version}, we offered 2 only")]
    Version {
        /// The peer's address.
        peer: SocketAddr,
        /// What it chose.
        version: u16,
    },
}

/// What a client tells about itself. Texts longer than 255 bytes are cut.
#[derive(Debug, Clone)]
pub struct ClientSetup {
    /// The protocol to speak on this connection.
    pub protocol: Protocol,
    /// Flags of that protocol.
    pub flags: u32,
    /// Host the client connects to, as configured.
    pub endpoint_host: String,
    /// Port the client connects to.
    pub endpoint_port: u16,
    /// Maker of the device.
    pub vendor: String,
    /// Model of the device.
    pub hardware_version: String,
    /// Firmware or program version.
    pub firmware: String,
    /// Identifier of the device; may be empty.
    pub device_id: String,
}

/// The server's side: takes SetupConnection as the first message and answers it. Speaks `protocol` in version 2 and knows
/// the flags in `supported_flags`; other flags are refused, all of them named in the answer.
///
/// Gives the client's message. On [`SetupError::Refused`] the caller should [`Connection::close`], so that the answer is read.
pub async fn server_setup(
    connection: &mut Connection,
    protocol: Protocol,
    supported_flags: u32,
    deadline: Duration,
) -> Result<SetupConnection, SetupError> {
    let request = match receive(connection, "SetupConnection", deadline).await? {
        Message::SetupConnection(request) => request,
        // The protocol's number is the first byte; the message's layout depends on no other.
        Message::Unknown(unknown) if unknown.is_setup_of_unknown_protocol() => {
            return refuse(connection, Refusal::unknown_protocol(unknown.payload[0])).await;
        }
        other => {
            return Err(SetupError::Unexpected {
                peer: connection.peer(),
                awaited: "SetupConnection",
                got: other.name(),
            });
        }
    };
    let unsupported_flags = request.flags & !supported_flags;
    let (code, flags) = if request.protocol != protocol {
        ("unsupported-protocol", 0)
    } else if !(request.min_version..=request.max_version).contains(&PROTOCOL_VERSION) {
        // Each Error names what is not supported, so that a client can ask by all flags (specification 3.6.3).
        ("protocol-version-mismatch", unsupported_flags)
    } else if unsupported_flags != 0 {
        ("unsupported-feature-flags", unsupported_flags)
    } else {
        connection.queue(SetupConnectionSuccess {
            used_version: PROTOCOL_VERSION,
            flags: 0,
        })?;
        connection.flush().await?;
        return Ok(request);
    };
    let refusal = Refusal {
        code,
        unsupported_flags: flags,
        protocol: request.protocol as u8,
        min_version: request.min_version,
        max_version: request.max_version,
        flags: request.flags,
    };
    refuse(connection, refusal).await
}

/// The client's side: sends SetupConnection for version 2 and takes the answer. Gives the server's flags.
pub async fn client_setup(
    connection: &mut Connection,
    setup: &ClientSetup,
    deadline: Duration,
) -> Result<SetupConnectionSuccess, SetupError> {
    let peer = connection.peer();
    connection.queue(SetupConnection {
        protocol: setup.protocol,
        min_version: PROTOCOL_VERSION,
        max_version: PROTOCOL_VERSION,
        flags: setup.flags,
        endpoint_host: text(&setup.endpoint_host),
        endpoint_port: setup.endpoint_port,
        vendor: text(&setup.vendor),
        hardware_version: text(&setup.hardware_version),
        firmware: text(&setup.firmware),
        device_id: text(&setup.device_id),
    })?;
    connection.flush().await?;
    match receive(connection, "SetupConnection.Success", deadline).await? {
        Message::SetupConnectionSuccess(success) if success.used_version == PROTOCOL_VERSION => {
            Ok(success)
        }
        Message::SetupConnectionSuccess(success) => Err(SetupError::Version {
            peer,
            version: success.used_version,
        }),
        Message::SetupConnectionError(error) => Err(SetupError::RefusedByServer {
            peer,
            code: printable(error.error_code.as_bytes()),
            flags: error.flags,
        }),
        other => Err(SetupError::Unexpected {
            peer,
            awaited: "SetupConnection.Success",
            got: other.name(),
        }),
    }
}

/// A code or name that a peer sent, fit for a log: printable ASCII, anything else as `?` (specification 3.5).
pub fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '?',
        })
        .collect()
}

/// Why a client is refused, and what it asked for.
struct Refusal {
    code: &'static str,
    unsupported_flags: u32,
    protocol: u8,
    min_version: u16,
    max_version: u16,
    flags: u32,
}

impl Refusal {
    fn unknown_protocol(protocol: u8) -> Self {
        Self {
            code: "unsupported-protocol",
            unsupported_flags: 0,
            protocol,
            min_version: 0,
            max_version: 0,
            flags: 0,
        }
    }
}

async fn refuse(
    connection: &mut Connection,
    refusal: Refusal,
) -> Result<SetupConnection, SetupError> {
    connection.queue(SetupConnectionError {
        flags: refusal.unsupported_flags,
        error_code: text(refusal.code),
    })?;
    connection.flush().await?;
    Err(SetupError::Refused {
        peer: connection.peer(),
        code: refusal.code,
        protocol: refusal.protocol,
        min_version: refusal.min_version,
        max_version: refusal.max_version,
        flags: refusal.flags,
    })
}

async fn receive(
    connection: &mut Connection,
    awaited: &'static str,
    deadline: Duration,
) -> Result<Message, SetupError> {
    let peer = connection.peer();
    match timeout(deadline, connection.recv()).await {
        Ok(received) => Ok(received?),
        Err(_elapsed) => Err(SetupError::TimedOut {
            peer,
            awaited,
            deadline,
        }),
    }
}

/// `value` as STR0_255, cut at a character's boundary where it is longer.
fn text(value: &str) -> Str0255 {
    let end = value.floor_char_boundary(TEXT_BYTES_MAX);
    value[..end]
        .try_into()
        .expect("it was cut to the length that fits")
}

#[cfg(test)]
pub(crate) mod tests;
