//! hh-bitcoin against a real bitcoin-node on regtest.
#![cfg(test)]

mod bridge;
mod chain_tip;
mod gbt;
mod ipc;
mod latency;
mod node;
mod presence;
mod schemas;
mod source;
mod submit;
