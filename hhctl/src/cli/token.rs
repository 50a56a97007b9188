//! `hhctl token`.

use super::Confirmation;
use clap::{Args, Subcommand};
use hh_trust::NodeId;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token with which one node may enrol, once
    #[command(
        after_help = "Examples:\n  hhctl token create berlin-1 --out berlin-1.token\n  hhctl token create berlin-1 --hours 24 --replace --out \
                      berlin-1.token\n\nPut the file on the node as its agent's configuration names it (token_file), for the agent's user alone \
                      to read. It says where core is and by which root the node knows it: whoever can change it on its way can have the \
                      node join another network. Whoever has it first is the node: revoke it where it was seen by others."
    )]
    Create(CreateArgs),
    /// List tokens, newest first
    #[command(after_help = "Examples:\n  hhctl token list\n  hhctl token list -o json")]
    List,
    /// Let a token be of no use any more
    #[command(after_help = "Example:\n  hhctl token revoke 0a1b2c3d4e5f60718293a4b5c6d7e8f9")]
    Revoke {
        /// The token, as `hhctl token list` shows it
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// What a token is for.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// The name that the node gets
    pub(crate) node: NodeId,
    /// How long the token may wait to be used
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=24))]
    pub(crate) hours: u32,
    /// The node will serve miners of others, and is listed
    #[arg(long)]
    pub(crate) public: bool,
    /// The node of that name joins anew; its certificate is of no use from then on
    #[arg(long)]
    pub(crate) replace: bool,
    /// File to write, or to replace; without it the token is printed
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
