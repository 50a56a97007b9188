//! hh-lightning with real nodes on regtest.
#![cfg(test)]

mod backends;
mod crash;
mod ldk;
mod node;
mod regtest;
