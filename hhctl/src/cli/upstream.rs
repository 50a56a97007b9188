//! Upstreams of the translator.

use super::Confirmation;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum UpstreamCommand {
    /// List the upstreams of each lane, the preferred one first
    #[command(
        after_help = "Examples:\n  hhctl translator upstream list\n  hhctl translator upstream list -o json\n\nSTATE is in use, \
                      standby (not needed), connecting, returning (connected beside the one in use; miners are moved to it once it \
                      has been healthy for return_after_seconds) or down. ROOM is what its channels let be rolled."
    )]
    List,
    /// Put an upstream before all others, and move the miners to it
    #[command(
        after_help = "Examples:\n  hhctl translator upstream switch pool2.example.net:34254 --dry-run\n  hhctl translator upstream \
                      switch pool2.example.net:34254\n\nIt is connected to first: a lane where that fails stays where it is. Miners \
                      keep their connections, and shares on their way are still settled by the old pool. The switch holds until \
                      the next one or a restart of hh-translator; where the upstream is lost, the others are used until it has been \
                      healthy for return_after_seconds."
    )]
    Switch {
        /// One of [[upstreams]] in hh-translator.toml
        #[arg(value_name = "HOST:PORT")]
        address: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Connect to upstreams beside those in use, and show how long each step took
    #[command(
        after_help = "Examples:\n  hhctl translator upstream test pool2.example.net:34254\n  hhctl translator upstream test --all\n\n\
                      Steps are TCP, the handshake with the pool's key, and the setup. No channel is opened and no miner moved.\n\n\
                      Exit status: 3 if one failed."
    )]
    Test {
        #[command(flatten)]
        choice: UpstreamChoice,
    },
}

/// Which upstreams a test is for.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct UpstreamChoice {
    /// One of [[upstreams]] in hh-translator.toml
    #[arg(value_name = "HOST:PORT")]
    pub(crate) address: Option<String>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
}
