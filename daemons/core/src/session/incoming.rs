//! Where the messages of a node come from: a stream, or a long poll, for networks that cut streams. What is done with them is the same.

use hh_ipc::agent::NodeMessage;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Status, Streaming};

pub(super) enum Incoming {
    Stream(Box<Streaming<NodeMessage>>),
    Poll {
        /// What came with it.
        said: VecDeque<NodeMessage>,
        /// When it is answered, with whatever there is.
        until: Instant,
    },
}

impl Incoming {
    pub(super) fn stream(stream: Streaming<NodeMessage>) -> Self {
        Self::Stream(Box::new(stream))
    }

    pub(super) fn poll(said: Vec<NodeMessage>, wait: Duration) -> Self {
        Self::Poll {
            said: said.into(),
            until: Instant::now() + wait,
        }
    }

    pub(super) fn is_poll(&self) -> bool {
        matches!(self, Self::Poll { .. })
    }

    /// The next message; none when no more will come.
    pub(super) async fn message(&mut self) -> Result<Option<NodeMessage>, Status> {
        match self {
            Self::Stream(stream) => stream.message().await,
            Self::Poll { said, until } => match said.pop_front() {
                Some(message) => Ok(Some(message)),
                None => {
                    tokio::time::sleep_until(*until).await;
                    Ok(None)
                }
            },
        }
    }

    /// There is something for the node: a poll is answered when all was heard that came with it.
    pub(super) fn hurry(&mut self) {
        if let Self::Poll { until, .. } = self {
            *until = Instant::now();
        }
    }
}
