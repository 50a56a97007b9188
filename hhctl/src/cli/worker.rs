//! `hhctl worker`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// List the workers of accounts, connected or not: hashrate, shares, rejects, last share
    #[command(
        after_help = "Examples:\n  hhctl worker list --account alice\n  hhctl worker list --limit 1000 -o json\n\nHashrate of an \
                      hour and of a day, shares and rejects are those in the ledger, of all its pools; CHANNELS and the hashrate \
                      of 10m are of this pool now. A worker whom a proxy names share by share has no channel of its own. NODE is where \
                      its shares came through, core if straight to a pool."
    )]
    List {
        /// Only this account's
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}
