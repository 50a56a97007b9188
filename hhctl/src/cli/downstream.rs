//! Miners and lanes of the translator.

use super::Confirmation;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum DownstreamCommand {
    /// List the connected miners, the one that has been there for longest first
    #[command(
        after_help = "Examples:\n  hhctl translator downstream list\n  hhctl translator downstream list --user alice --lane main -o json"
    )]
    List {
        /// Only those of this account, or with this user name
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Only those on this lane
        #[arg(long, value_name = "NAME")]
        lane: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// One miner: what it says of itself, its difficulty, its shares, its channel at the pool
    #[command(after_help = "Example:\n  hhctl translator downstream show 12")]
    Show {
        /// Its id, as `hhctl translator downstream list` shows it
        id: u64,
    },
    /// Close the connections of miners; they may come back
    #[command(
        after_help = "Examples:\n  hhctl translator downstream kick 12\n  hhctl translator downstream kick --user alice\n  hhctl \
                      translator downstream kick --lane main --dry-run\n\nAn SV2 connection is closed with all of its channels. \
                      Shares that the pool has not answered by then are not \
                      answered any more; those that it accepts count all the same."
    )]
    Kick {
        #[command(flatten)]
        miners: DownstreamChoice,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// Whom a command is about.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct DownstreamChoice {
    /// A miner's id, as `hhctl translator downstream list` shows it
    pub(crate) id: Option<u64>,
    /// All miners of an account, or with this user name
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// All from an address, or from a range such as 203.0.113.0/24
    #[arg(long, value_name = "ADDRESS|CIDR")]
    pub(crate) address: Option<String>,
    /// All on a lane
    #[arg(long, value_name = "NAME")]
    pub(crate) lane: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LaneCommand {
    /// List the lanes of the translator
    #[command(after_help = "Examples:\n  hhctl lane list\n  hhctl lane list -o json")]
    List,
    /// One lane: its bounds, its shares, and how connections on it ended
    #[command(after_help = "Example:\n  hhctl lane show main")]
    Show {
        /// Its name
        name: String,
    },
    /// Let no new miner in on a lane; who is connected stays
    #[command(
        after_help = "Examples:\n  hhctl lane pause main\n  hhctl lane pause main && hhctl translator downstream kick --lane \
                      main\n\nA new connection is closed at once, so that the miner goes on to the next pool of its list. A \
                      restart of hh-translator lets miners in again."
    )]
    Pause {
        /// Its name
        name: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Let miners in again
    #[command(after_help = "Example:\n  hhctl lane resume main")]
    Resume {
        /// Its name
        name: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}
