//! Stratum V2 on the wire: authority keys, the Noise handshake, framing, messages and connection setup.
//!
//! This is the only crate that names SRI crates (`stratum-core`): every SRI release bumps majors of half of them, so an
//! upgrade must touch one place. Message layouts, the Noise primitives and the binary codec are theirs; buffers, deadlines
//! and limits are ours, because theirs have none.
//!
//! It never decides what a message means: channels, jobs and shares belong to the daemons and to `hh-mining`.

pub mod authority;
pub mod connection;
pub mod extensions;
mod frame;
mod handshake;
pub mod key;
pub mod message;
pub mod setup;

pub use authority::Authority;
pub use connection::{Connection, ConnectionError, Limits};
pub use frame::Encoded;
pub use key::{AuthorityPublicKey, AuthoritySecretKey, KeyError};
pub use message::Message;
