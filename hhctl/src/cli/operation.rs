//! `hhctl operation`.

use super::Confirmation;
use clap::Subcommand;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List commands, newest first
    #[command(
        after_help = "Examples:\n  hhctl operation list\n  hhctl operation list --node berlin-1 --limit 5 -o json"
    )]
    List {
        /// Only those of this node
        #[arg(long, value_name = "ID")]
        node: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show a command, and what the node has signed about it
    #[command(after_help = "Example:\n  hhctl operation show 0a1b2c3d4e5f60718293a4b5c6d7e8f9")]
    Show {
        /// The operation, as `hhctl operation list` shows it
        id: String,
    },
    /// Wait until it is known what came of a command
    #[command(
        after_help = "Example:\n  hhctl operation wait 0a1b2c3d4e5f60718293a4b5c6d7e8f9 --for 5m\n\nExit status: 1 if it failed, was refused or \
                      has expired, 3 if it is not known what came of it."
    )]
    Wait {
        /// The operation, as `hhctl operation list` shows it
        id: String,
        /// How long at most
        #[arg(long = "for", value_name = "TIME", default_value = "3m", value_parser = super::time)]
        limit: Duration,
    },
    /// Take a command back that waits for its node
    #[command(
        after_help = "Example:\n  hhctl operation cancel 0a1b2c3d4e5f60718293a4b5c6d7e8f9\n\nOne that was sent can't be taken back: the node may \
                      be at it. `hhctl operation wait` tells what comes of it."
    )]
    Cancel {
        /// The operation, as `hhctl operation list` shows it
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}
