//! What lets one who was not there believe what happened: the journal of the changes that operators make over a daemon's
//! control socket, and the chain that shows whether it was tampered with.
//!
//! Owns the file format and its proof. It never decides who may do what: the control socket does (hh-daemon), and nothing in
//! front of a miner waits for it.

pub mod chain;
pub mod change_journal;

pub use chain::{Chain, ChainError, Entry, Event, Head};
pub use change_journal::{ChangeJournal, ChangeJournalError};
