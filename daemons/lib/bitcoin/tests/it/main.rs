//! hh-bitcoin against a real bitcoin-node on regtest.
#![cfg(test)]

mod gbt;
mod ipc;
mod node;
mod source;
mod submit;
