//! Core Lightning as the wallet, over the Unix socket of a lightningd on this machine: 26.06 or newer.
//!
//! A connection per call: the crate behind it does not look at the numbers of answers, so that after a call that was given up the
//! next one on that connection would get its answer. Who may open the socket owns the node, so the socket's mode is what
//! protects it.
//!
//! Its `xpay` answers when a payment has an end, and goes on when we are gone. Before 26.06 it could say that a payment has failed
//! while parts of it were on their way; so can 26.06, unless it is told to be slow, which is done at the start and when it was away.

mod calls;
mod channels;
mod events;
mod fees;
mod offers;
mod outputs;
mod pay;
mod peers;

pub use calls::{ClnConfig, ClnError, ClnWallet};
pub(crate) use events::ClnEvents;

#[cfg(test)]
mod tests;
