//! The benchmark: our pool and translator and the reference implementation's side by side, on one machine, in one run.
//!
//! Owns the load generator and what each figure means. It asks a server nothing that a miner could not ask, except for its
//! memory and CPU time, which it reads from `/proc`. It runs on one thread, because it shares the cores with the server that
//! it measures, and it measures itself too: a run in which the generator was the limit, or others were at work, says so.

pub mod blocks;
pub mod client;
pub mod connects;
pub mod mempool;
pub mod report;
pub mod samples;
pub mod server;
pub mod shares;
pub mod solver;
pub mod sv1;
pub mod templates;
pub mod ticker;
pub mod usage;
