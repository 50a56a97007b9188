//! hyperhash-core and hh-node-agent as processes, with hhctl as an operator uses it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod attacks;
mod audit;
#[path = "../../../lib/bitcoin/tests/it/node.rs"]
#[expect(dead_code, reason = "the tests of hh-bitcoin need more of it")]
mod bitcoin_node;
#[path = "../../../lib/ledger/tests/it/cluster.rs"]
#[expect(dead_code, reason = "the ledger's tests need more of it")]
mod cluster;
mod consent;
mod control_plane;
mod directory;
mod drain;
mod figures;
mod hostile;
#[path = "../../../lib/daemon/tests/it/kms.rs"]
mod kms;
mod load;
mod node_socket;
mod orders;
mod polls;
mod recovery;
mod relay;
mod renewal;
mod replicas;
mod rest;
mod revocation;
mod rotation;
mod secrets;
mod simulated;
mod site;

use std::io::Write;

/// Says something where the test runner does not hide it.
fn say(text: &str) {
    let mut out = std::io::stderr();
    out.write_all(format!("{text}\n").as_bytes()).unwrap();
}
