//! The commands of hhctl against daemons that answer with fixed data on sockets of their own.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod account;
mod changes;
mod commands;
mod consent;
mod daemons;
mod errors;
mod fleet;
mod help;
mod lightning;
mod nodes;
mod operator;
mod payout;
mod records;
mod reports;
mod ssh;
mod translator;
mod treasury;
mod withdrawal;
