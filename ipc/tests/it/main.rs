//! The contract on the wire and how the server stands up to bad clients.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod fake;
mod hostile;
mod old;
mod proto;
mod sample;
mod socket;
mod wire;
