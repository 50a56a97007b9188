//! The contract between the daemons and the operator's programs: one tarpc service per daemon, the types that cross the
//! socket, and the client and server ends of that socket. And the messages between hyperhash-core and the agents of nodes.
//!
//! It owns the wire format (JSON frames over Unix sockets) and the rule where the sockets are, and nothing else: no daemon
//! logic, no domain types, no I/O but the socket, the context file and the operator's ssh. Types here are converted to and
//! from domain types in each daemon's `control.rs` and go no further.
//!
//! How it may change: fields and methods are added, never renamed or given another meaning. A new field carries
//! `#[serde(default)]` or is an `Option`, so that either end may be the older one. Amounts and times have their unit in
//! the name (`_sat`, `_hs` for hashes a second, `_seconds`, `_at` for RFC 3339 UTC).

pub mod agent;
pub mod api;
pub mod client;
mod codec;
mod error;
pub mod locate;
pub mod server;
pub mod ssh;
pub mod stdio;

pub use error::{ApiError, ErrorKind};
pub use tarpc::context::Context;

/// Version of the protocol spoken on the sockets; a client refuses another one.
pub const PROTOCOL: u32 = 1;

/// Largest frame in bytes that either side takes: a page of a thousand miners is about half of it.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Longest path in bytes that a Unix socket address holds on Linux (`sun_path` less its terminating zero).
pub const MAX_SOCKET_PATH_BYTES: usize = 107;
