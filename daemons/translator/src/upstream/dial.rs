//! Connecting: TCP, handshake and setup, and waiting before it is tried again.

use super::link::{LinkError, connect};
use super::standing::{Introduction, Wire};
use crate::config::UpstreamConfig;
use hh_sv2::{ConnectionError, Message};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Sleep;

type Connecting = Pin<Box<dyn Future<Output = Result<Wire, LinkError>> + Send>>;

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
    Failed(LinkError),
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
