//! hh-bitcoin against a real bitcoin-node on regtest.
#![cfg(test)]

mod gbt;
mod ipc;
mod latency;
mod node;
mod source;
mod submit;
