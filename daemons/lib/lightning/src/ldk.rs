//! The wallet inside this process: an ldk-node, with threads of its own.
//!
//! Everything that names ldk-node's calls is in this module: its next release changes half of them. Its calls block, so they
//! run on a runtime of their own, and a panic among its threads ends the process, as the people of ldk-node advise: a part of
//! it that is gone while the rest goes on loses money. Its state must never be copied and started twice, or started again
//! from an old copy: peers take all of a channel whose old state is published. So the directory is locked, and there is no
//! backup but one made while the wallet is stopped, together with the seed.
//!
//! `pay` returns within milliseconds; the node then tries for 10 s, which can't be changed.

mod balances;
mod bitcoind;
mod calls;
mod channels;
mod config;
mod events;
mod fees;
mod keeper;
mod log;
mod lookup;
mod outputs;
mod pay;
mod peers;
mod running;
mod seed;

pub use bitcoind::{Bitcoind, BitcoindAuth};
pub use calls::LdkWallet;
pub use config::{LdkConfig, StartError};
pub(crate) use events::LdkEvents;
pub use seed::{Seed, SeedError};
