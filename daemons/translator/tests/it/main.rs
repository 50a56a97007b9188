//! hh-translator in-process: SV1 lines or SV2 messages on one side of it, SV2 messages on the other.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the message")]

mod aggregated;
mod control;
mod credential;
mod dialogue;
mod failover;
mod hostile;
mod jobs;
mod miner;
mod minerd;
mod node;
mod pool;
mod proxy;
mod quirks;
mod shares;
mod tls;
mod translator;
mod upstream;

use std::time::Duration;

/// Far more than anything here takes; a test that waits longer has failed.
const DEADLINE: Duration = Duration::from_secs(60);
