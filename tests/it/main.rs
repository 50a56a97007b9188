//! End-to-end tests: the real binaries on a real bitcoin-node, with the test kit; and the tidy tests, which read the source.

#[expect(clippy::unwrap_used, reason = "in tests a panic is the message")]
mod aggregated;
mod blocks;
/// The tests of hh-ledger have the same: this crate may not depend on that one's tests, nor the other way round.
#[path = "../../daemons/lib/ledger/tests/it/cluster.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "the ledger's own tests use more of it, and may panic"
)]
mod cluster;
mod crash;
mod devnet;
mod disk;
mod edge_proxy;
mod failures;
mod finder;
mod hostile;
mod interop;
mod kit;
mod ledger_away;
mod load;
mod metrics;
mod minerd;
mod mining;
#[expect(clippy::unwrap_used, reason = "in tests a panic is the message")]
mod node_credential;
mod operator;
mod postgres;
mod providers;
mod proxy;
mod random_crash;
mod stop;
mod sv1_load;
mod tidy;
mod translator_outage;
#[expect(clippy::unwrap_used, reason = "in tests a panic is the message")]
mod treasury;

use std::io::{self, Write};

/// Says something where the test runner does not hide it.
fn say(text: &str) {
    let said = io::stderr().write_all(format!("{text}\n").as_bytes());
    said.expect("stderr can be written");
}
