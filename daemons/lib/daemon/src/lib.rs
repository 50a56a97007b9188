//! The skeleton of every daemon: command line, configuration, logs, metrics, tasks, signals, control sockets, secrets.
//!
//! A daemon's `main.rs` calls [`run`] with its `start` function and nothing else. What the daemon does is none of this
//! crate's business: no word of Bitcoin or mining is in it.

mod address_range;
pub mod ban;
mod config;
mod connect_rate;
mod context;
mod control;
mod failure;
mod half_open;
mod listen;
mod log;
mod memory;
mod metrics;
mod notify;
mod places;
mod proxy_protocol;
mod run;
mod secret;
mod session_threads;
mod state_file;
mod tasks;

pub use self::metrics::{Family, PassingMetrics};
pub use address_range::{AddressRange, AddressRangeError};
pub use config::{Config, ConfigError, Log, Mistakes, Settings, load};
pub use connect_rate::{ConnectRate, TooMany};
pub use context::Context;
pub use control::Caller;
pub use failure::{Chain, ExitStatus, Failure};
pub use half_open::{Entered, HalfOpen};
pub use listen::listen;
pub use memory::hide_memory;
pub use places::{Full, Place, Places};
pub use proxy_protocol::{ProxyError, ProxyProtocol};
pub use run::run;
pub use secret::{Secret, SecretError, SecretRef, SopsError};
pub use state_file::{StateFile, StateFileError};
pub use tasks::{Stuck, Tasks};
