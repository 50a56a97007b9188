//! `Notice`: what a transaction has changed that somebody may wait for, here or at another replica.
//!
//! A notice only makes somebody look sooner. One that is lost costs a second: what is due is looked for by then anyway.

use super::StoreError;
use hh_ledger::{PostgresListener, PostgresServer};
use hh_trust::NodeId;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::broadcast;

/// The channel of NOTIFY.
const CHANNEL: &str = "hyperhash_core";

/// Until it is connected again after the connection was lost.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Notice {
    /// There are commands for a node, or its session is not what it was.
    Node(NodeId),
    /// More is known of a command.
    Operation,
    /// An operator has signed or revoked something.
    Records,
    /// Anything: some were lost.
    Any,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node {id}"),
            Self::Operation => f.write_str("operation"),
            Self::Records => f.write_str("records"),
            Self::Any => f.write_str("any"),
        }
    }
}

/// What a newer replica says is something.
impl FromStr for Notice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let node = text.strip_prefix("node ").and_then(|id| id.parse().ok());
        Ok(match (node, text) {
            (Some(id), _) => Self::Node(id),
            (None, "operation") => Self::Operation,
            (None, "records") => Self::Records,
            (None, _) => Self::Any,
        })
    }
}

/// Passes on what other replicas notify, until the daemon stops.
pub(super) async fn listen(server: PostgresServer, heard: broadcast::Sender<Notice>) {
    loop {
        match PostgresListener::connect(&server, CHANNEL).await {
            Ok(mut listener) => {
                // What was said before is lost.
                tell(&heard, Notice::Any);
                while let Some(text) = listener.next().await {
                    let Ok(notice) = text.parse();
                    tell(&heard, notice);
                }
                tracing::warn!("connection for notices lost");
            }
            Err(error) => {
                let error = &StoreError::Connect(error);
                tracing::debug!(
                    error = error as &dyn std::error::Error,
                    "no connection for notices"
                );
            }
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

fn tell(heard: &broadcast::Sender<Notice>, notice: Notice) {
    // Nobody may listen yet.
    heard.send(notice).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read_as_it_was_written_and_a_strange_one_is_about_anything() {
        for notice in [
            Notice::Node("berlin-1".parse().unwrap()),
            Notice::Operation,
            Notice::Records,
            Notice::Any,
        ] {
            assert_eq!(notice.to_string().parse(), Ok(notice));
        }
        for strange in ["", "node ", "node ../x", "weather"] {
            assert_eq!(strange.parse(), Ok(Notice::Any), "{strange}");
        }
    }
}
