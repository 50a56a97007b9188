//! Why connections of SV2 miners end.

use super::CHANNEL_DEADLINE;
use hh_daemon::ban::Offence;
use hh_sv2::ConnectionError;
use hh_sv2::setup::{SETUP_DEADLINE, SetupError};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyEnd {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("not set up within {} s of its connect", SETUP_DEADLINE.as_secs())]
    NotSetUp,
    #[error("too many connections are not set up, and it was the oldest")]
    Displaced,
    #[error("no channel for {} s", CHANNEL_DEADLINE.as_secs())]
    NoChannel,
    #[error("it sent a flood of invalid shares")]
    ShareFlood,
    #[error("it asked for more than its channels can need")]
    TooManyMessages,
    #[error("the message {0} has no business on a connection of a miner")]
    Unexpected(&'static str),
    #[error("fell behind the pool's messages")]
    FellBehind,
    #[error("an operator closed it")]
    Kicked,
    #[error("the translator stops")]
    Stop,
}

impl ProxyEnd {
    /// What [`Self::label`] may be.
    pub(crate) const LABELS: [&str; 14] = [
        "closed",
        "io",
        "handshake_failed",
        "protocol_error",
        "slow_reader",
        "setup_refused",
        "not_set_up",
        "displaced",
        "no_channel",
        "share_flood",
        "too_many_messages",
        "fell_behind",
        "kicked",
        "stop",
    ];

    /// The label `reason` of `hyperhash_miner_disconnects_total`.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Connection(error) | Self::Setup(SetupError::Connection(error)) => error.reason(),
            Self::Setup(SetupError::TimedOut { .. }) | Self::NotSetUp => "not_set_up",
            Self::Setup(SetupError::Unexpected { .. }) | Self::Unexpected(_) => "protocol_error",
            Self::Setup(_) => "setup_refused",
            Self::Displaced => "displaced",
            Self::NoChannel => "no_channel",
            Self::ShareFlood => "share_flood",
            Self::TooManyMessages => "too_many_messages",
            Self::FellBehind => "fell_behind",
            Self::Kicked => "kicked",
            Self::Stop => "stop",
        }
    }

    /// What it says about the peer's conduct, if anything. Who is merely slow, silent or gone has done nothing.
    pub(crate) fn offence(&self) -> Option<Offence> {
        match self.label() {
            "handshake_failed" => Some(Offence::Garbage),
            "protocol_error" | "too_many_messages" => Some(Offence::Violation),
            "share_flood" => Some(Offence::Flood),
            _ => None,
        }
    }

    /// The connection works, and it is we who end it: what is queued can be written first.
    pub(super) fn is_ours(&self) -> bool {
        !matches!(self, Self::Connection(_) | Self::Setup(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_end_has_a_label_that_metrics_know() {
        let peer = "192.0.2.1:1".parse().unwrap();
        let setup = SetupError::Unexpected {
            peer,
            awaited: "SetupConnection",
            got: "CloseChannel",
        };
        let slow = ConnectionError::SlowReader {
            peer,
            deadline: Duration::ZERO,
        };
        for end in [
            ProxyEnd::Connection(ConnectionError::Closed { peer }),
            ProxyEnd::Connection(ConnectionError::NotNoise { peer }),
            ProxyEnd::Connection(slow),
            ProxyEnd::Setup(setup),
            ProxyEnd::NotSetUp,
            ProxyEnd::Displaced,
            ProxyEnd::NoChannel,
            ProxyEnd::ShareFlood,
            ProxyEnd::TooManyMessages,
            ProxyEnd::Unexpected("SetTarget"),
            ProxyEnd::FellBehind,
            ProxyEnd::Stop,
        ] {
            assert!(ProxyEnd::LABELS.contains(&end.label()), "{end}");
        }
    }
}
