//! hh-tp as a process, on a real bitcoin-node on regtest, with clients of our own connection layer.
#![cfg(test)]

mod client;
mod daemon;
mod exit;
mod failover;
mod latency;
mod limits;
#[path = "../../../lib/bitcoin/tests/it/node.rs"]
mod node;
mod serving;
mod solving;
