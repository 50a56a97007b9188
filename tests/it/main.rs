//! End-to-end tests: the real binaries on a real bitcoin-node, with the test kit; and the tidy tests, which read the source.

mod crash;
mod devnet;
mod failures;
mod interop;
mod kit;
mod mining;
mod tidy;
