//! hyperhash-core and hh-node-agent as processes, with hhctl as an operator uses it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod control_plane;
mod hostile;
mod renewal;
mod rest;
mod site;
