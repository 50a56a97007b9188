//! `hhctl api-token`.

use super::Confirmation;
use clap::{Args, Subcommand, ValueEnum};
use hh_ipc::api::core::Role;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum ApiTokenCommand {
    /// Make a token with which a person or a program may call core's REST interface
    #[command(
        after_help = "Examples:\n  hhctl api-token create alice --role core-operator --out alice.token\n  hhctl api-token create dashboard \
                      --role core-operator --read-only --out dashboard.token\n  hhctl api-token create bob --role node-operator --node \
                      berlin-1 --node berlin-2\n  hhctl api-token create carol --role miner --account miner:carol\n\nIt is sent as \
                      `Authorization: Bearer TOKEN`. Core keeps its hash: who loses it gets another one. What each role may is in \
                      docs/reference/permissions.md."
    )]
    Create(CreateApiTokenArgs),
    /// List tokens, newest first
    #[command(after_help = "Examples:\n  hhctl api-token list\n  hhctl api-token list -o json")]
    List,
    /// Let a token be of no use any more, at once
    #[command(after_help = "Example:\n  hhctl api-token revoke 0a1b2c3d4e5f6071")]
    Revoke {
        /// The token, as `hhctl api-token list` shows it
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// What a token is for.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateApiTokenArgs {
    /// The person or the program, as the audit log will have it
    pub(crate) name: String,
    /// What it may do
    #[arg(long)]
    pub(crate) role: RoleArg,
    /// It changes nothing
    #[arg(long)]
    pub(crate) read_only: bool,
    /// A node that a node-operator speaks of; may be given more than once
    #[arg(long = "node", value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// An account that a miner speaks of, as `hhctl account list` shows it; may be given more than once
    #[arg(long = "account", value_name = "ACCOUNT")]
    pub(crate) accounts: Vec<String>,
    /// How long it holds
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=366))]
    pub(crate) days: u32,
    /// File to write, or to replace; without it the token is printed
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// A role, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleArg {
    Miner,
    NodeOperator,
    CoreOperator,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Miner => Self::Miner,
            RoleArg::NodeOperator => Self::NodeOperator,
            RoleArg::CoreOperator => Self::CoreOperator,
        }
    }
}
