//! lnd as the wallet, over gRPC: 0.21 or newer.
//!
//! It goes on with a payment when we are gone, keeps its own books of it from before it sends anything, and after a restart
//! collects what is out and sends nothing new. So its word is final, as long as it is the same node with the same books.

mod balances;
mod calls;
mod channels;
mod events;
mod fees;
mod link;
mod message;
mod outputs;
mod pay;
mod peers;

pub use calls::{LndConfig, LndError, LndWallet};
pub(crate) use events::LndEvents;
pub use link::LinkError;

#[cfg(test)]
mod tests;
