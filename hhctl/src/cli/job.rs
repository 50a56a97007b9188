//! `hhctl pool job` and `hhctl pool coinbase`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// What miners work on now: template, previous block, difficulty, value, and how many channels are on it
    #[command(
        after_help = "Examples:\n  hhctl pool job current\n  hhctl pool job current -w\n\nExit status: 4 if the pool has no work \
                      yet; the reason is told."
    )]
    Current,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CoinbaseCommand {
    /// The coinbase transaction that miners work on, decoded
    #[command(
        after_help = "Examples:\n  hhctl pool coinbase show\n  hhctl pool coinbase show -o json\n\nIt is read back from the bytes \
                      that miners get, not from the configuration. The transaction is prefix, extranonce, suffix; the job's id \
                      stands behind the tag.\n\nExit status: 3 if the outputs do not sum to what the template allows, 4 if the \
                      pool has no work yet."
    )]
    Show,
}
