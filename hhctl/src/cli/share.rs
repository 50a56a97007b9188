//! `hhctl share`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum ShareCommand {
    /// Shares since the pool's start, and of each account in the ledger
    #[command(after_help = "Example:\n  hhctl share stats")]
    Stats,
    /// Follow accepted and refused shares as they come
    #[command(
        after_help = "Examples:\n  hhctl share tail\n  hhctl share tail --account alice --worker rig1\n  hhctl share tail --rejected -n \
                      100 --no-follow\n  hhctl share tail -o jsonl | jq .item.hash\n\nAn accepted share is shown when it is durable; \
                      the last ones are looked for in the share log as far as it still has them, refused ones among the last \
                      1,000. With -o json or jsonl each is a line. Whoever reads too slowly is told on stderr, and by a line of \
                      the kind Missed, how much was passed over."
    )]
    Tail(TailArgs),
}

/// What to follow.
#[derive(Clone, Debug, Args)]
pub(crate) struct TailArgs {
    /// Begin with the last so many, of those that are still at hand
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub(crate) last: u32,
    /// Show these, and wait for no more
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// Only this account's
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Only this worker's
    #[arg(long, value_name = "NAME")]
    pub(crate) worker: Option<String>,
    /// Only those that come through this lane
    #[arg(long, value_name = "NAME")]
    pub(crate) lane: Option<String>,
    /// Only those that were refused
    #[arg(long)]
    pub(crate) rejected: bool,
}
