//! hyperhash-core and hh-node-agent as processes, with hhctl as an operator uses it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod consent;
mod control_plane;
mod drain;
mod hostile;
mod node_socket;
mod renewal;
mod site;
