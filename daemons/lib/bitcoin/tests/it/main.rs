//! hh-bitcoin against a real bitcoin-node on regtest.
#![cfg(test)]

mod ipc;
mod node;
mod submit;
