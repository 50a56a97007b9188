//! Connecting: TCP, handshake and setup, and waiting before it is tried again.

use super::standing::{Introduction, IntroductionError, Wire};
use crate::config::UpstreamConfig;
use hh_sv2::message::Protocol;
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, SetupError, client_setup};
use hh_sv2::{Connection, ConnectionError, Limits, Message};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Sleep;

/// A job with a path of 12 has a kilobyte. The crate's own limit is made for blocks.
const FRAME_BYTES_MAX: usize = 256 * 1024;

/// What is waiting to be written: some thousand shares.
const QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Introduction(#[from] IntroductionError),
}

type Connecting = Pin<Box<dyn Future<Output = Result<Wire, DialError>> + Send>>;

/// A connection on its way from nothing to messages.
pub(super) enum Dial {
    Waiting(Pin<Box<Sleep>>),
    Connecting(Connecting),
    Up(Box<Wire>),
}

/// What happened to it.
pub(super) enum DialEvent {
    /// It is time to connect.
    Due,
    Connected(Box<Wire>),
    Failed(DialError),
    Message(Result<Message, ConnectionError>),
}

impl Dial {
    pub(super) fn after(pause: Duration) -> Self {
        Self::Waiting(Box::pin(tokio::time::sleep(pause)))
    }

    pub(super) fn connect(config: UpstreamConfig, introduction: Introduction) -> Self {
        Self::Connecting(Box::pin(connect(config, introduction)))
    }

    /// The next thing that happens. Cancel-safe.
    pub(super) async fn next(&mut self) -> DialEvent {
        match self {
            Self::Waiting(pause) => {
                pause.await;
                DialEvent::Due
            }
            Self::Connecting(connecting) => match connecting.await {
                Ok(connection) => DialEvent::Connected(Box::new(connection)),
                Err(error) => DialEvent::Failed(error),
            },
            Self::Up(connection) => DialEvent::Message(connection.recv().await),
        }
    }

    pub(super) fn connection(&mut self) -> Option<&mut Wire> {
        match self {
            Self::Up(connection) => Some(connection),
            Self::Waiting(_) | Self::Connecting(_) => None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self, Self::Up(_))
    }
}

/// Connects, sets the connection up and presents what there is to present.
async fn connect(config: UpstreamConfig, introduction: Introduction) -> Result<Wire, DialError> {
    let pool = &config.authority_public_key;
    let mut connection = Connection::connect(&config.address, Some(pool), &limits()).await?;
    client_setup(&mut connection, &setup_of(&config), SETUP_DEADLINE).await?;
    Ok(introduction.introduce(connection, pool).await?)
}

/// What a connection to a pool may cost.
pub(super) fn limits() -> Limits {
    Limits {
        max_frame_bytes: FRAME_BYTES_MAX,
        max_queued_bytes: QUEUED_BYTES_MAX,
        ..Limits::CLIENT
    }
}

/// What is said of us at the setup.
pub(super) fn setup_of(config: &UpstreamConfig) -> ClientSetup {
    let (host, port) = config.host_and_port();
    ClientSetup {
        protocol: Protocol::MiningProtocol,
        flags: 0,
        endpoint_host: host.to_owned(),
        endpoint_port: port,
        vendor: "Hyper Hash Network".to_owned(),
        hardware_version: String::new(),
        firmware: concat!("hh-translator ", env!("CARGO_PKG_VERSION")).to_owned(),
        device_id: String::new(),
    }
}
