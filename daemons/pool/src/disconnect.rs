//! Why connections of miners end, in the few words that metrics and the status count them by.

use crate::session::SessionError;
use hh_daemon::ban::Offence;
use hh_daemon::{AddressRange, Full, TooMany};
use hh_sv2::ConnectionError;
use hh_sv2::setup::{SETUP_DEADLINE, SetupError};

/// Why a connection was not let in. Nothing was read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TurnedAway {
    #[error("its address is banned with {0}")]
    Banned(AddressRange),
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// Why a connection that was let in ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MinerError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("not set up within {} s of its connect", SETUP_DEADLINE.as_secs())]
    NotSetUp,
    #[error("too many connections are not set up, and it was the oldest")]
    Displaced,
}

/// Values of the label `reason` of `hyperhash_miner_disconnects_total` for who was not let in.
pub(crate) const TURNED_AWAY: [&str; 3] = ["banned", "over_limit", "over_rate"];

/// Those for who had to go by what it did or did not do.
pub(crate) const DROPPED: [&str; 7] = [
    "displaced",
    "handshake_failed",
    "not_set_up",
    "protocol_error",
    PROXY_HEADER,
    "share_flood",
    "slow_reader",
];

/// For a connection from a proxy that does not begin with a header.
pub(crate) const PROXY_HEADER: &str = "proxy_header";

/// Those for who left, was asked to, or could not stay.
pub(crate) const LEFT: [&str; 5] = ["closed", "ended", "failed", "io", "setup_refused"];

impl TurnedAway {
    /// Its value of the label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Banned(_) => "banned",
            Self::Full(_) => "over_limit",
            Self::TooMany(_) => "over_rate",
        }
    }
}

impl MinerError {
    /// Its value of the label `reason`.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Connection(error)
            | Self::Setup(SetupError::Connection(error))
            | Self::Session(SessionError::Connection(error)) => error.reason(),
            Self::Setup(SetupError::TimedOut { .. }) | Self::NotSetUp => "not_set_up",
            Self::Setup(SetupError::Unexpected { .. })
            | Self::Session(SessionError::Unexpected { .. }) => "protocol_error",
            Self::Setup(_) => "setup_refused",
            Self::Session(SessionError::Job(_) | SessionError::Encode(_)) => "failed",
            Self::Session(SessionError::Flood) => "share_flood",
            Self::Session(SessionError::Deaf) => "slow_reader",
            Self::Displaced => "displaced",
        }
    }

    /// What it says about the peer's conduct, if anything. Who is merely slow, silent or gone has done nothing.
    pub(crate) fn offence(&self) -> Option<Offence> {
        match self {
            Self::Connection(error) | Self::Setup(SetupError::Connection(error)) => {
                is_hostile(error).then_some(Offence::Garbage)
            }
            Self::Setup(SetupError::Unexpected { .. }) => Some(Offence::Garbage),
            Self::Session(SessionError::Connection(error)) => {
                is_hostile(error).then_some(Offence::Violation)
            }
            Self::Session(SessionError::Unexpected { .. }) => Some(Offence::Violation),
            Self::Session(SessionError::Flood) => Some(Offence::Flood),
            Self::Session(SessionError::Job(_) | SessionError::Encode(_) | SessionError::Deaf)
            | Self::Setup(_)
            | Self::NotSetUp
            | Self::Displaced => None,
        }
    }
}

/// The peer sent what no client of ours sends.
fn is_hostile(error: &ConnectionError) -> bool {
    matches!(error.reason(), "handshake_failed" | "protocol_error")
}
