//! hh-lightning with real nodes on regtest.
#![cfg(test)]

mod crash;
mod ldk;
mod node;
mod regtest;
