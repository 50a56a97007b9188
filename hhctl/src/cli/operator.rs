//! `hhctl operator` and `hhctl node record`: what operators sign with their own keys.

use super::Confirmation;
use clap::{Args, Subcommand};
use hh_trust::operator_key::OperatorName;
use hh_trust::statement::LightningId;
use hh_trust::{LaneName, NodeId, NodePublicKey};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Sign that somebody's SSH key is an operator's; two operators have to
    #[command(
        after_help = "Examples:\n  hhctl operator enroll carol --public-key carol.pub --dry-run\n  hhctl operator enroll carol --public-key \
                      carol.pub\n\nYour ssh-agent signs, on this machine. Another operator then runs the same command. hh-pool and hh-treasury take the \
                      key as soon as two operators have signed that their own configuration lists ([operators]); core can't add one. An operator who \
                      was admitted so approves payouts; to admit nodes and operators he has to stand in the configurations."
    )]
    Enroll {
        /// His name
        name: OperatorName,
        /// The file of his public key, as ssh-keygen -t ed25519 makes it
        #[arg(long, value_name = "FILE")]
        public_key: PathBuf,
        #[command(flatten)]
        signing: SigningArgs,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// List who was signed to be an operator, and by how many
    #[command(
        after_help = "Examples:\n  hhctl operator list\n  hhctl operator list -o json\n\nIt is what core keeps. Those whom a configuration \
                      lists itself need not be in it."
    )]
    List,
    /// Have an operator be one no more; nobody has to sign it
    #[command(
        after_help = "Example:\n  hhctl operator revoke carol --reason \"left us\"\n\nOne whom the configuration of hh-pool or hh-treasury lists is \
                      taken out of it there."
    )]
    Revoke {
        /// His name, as `hhctl operator list` shows it
        name: OperatorName,
        /// Why, for those who read the list
        #[arg(long, value_name = "TEXT", default_value = "no reason given")]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeRecordCommand {
    /// Sign that a node is one of the network's, with its key, its Lightning node and its lanes
    #[command(
        after_help = "Examples:\n  hhctl node record sign berlin-1 --lightning-node \
                      02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619 --lane asics\n  hhctl node record sign berlin-1 --lane asics --lane \
                      gpus\n\nWhat is not given is as in the last record, or as core says: compare the key with what `hhctl node key show` shows on the \
                      node. Your ssh-agent signs, on this machine. hh-pool and hh-treasury take a record that an operator of their own \
                      configuration ([operators]) has signed. Another Lightning node needs two: another operator runs the same command."
    )]
    Sign(RecordArgs),
    /// List the last record of each node
    #[command(after_help = "Examples:\n  hhctl node record list\n  hhctl node record list -o json")]
    List,
    /// Have hh-pool and hh-treasury know a node no more; nobody has to sign it
    #[command(
        after_help = "Example:\n  hhctl node record revoke berlin-1 --reason \"key stolen\"\n\nIts connections are closed and its invoices not \
                      paid, until an operator signs a record anew."
    )]
    Revoke {
        /// The node, as `hhctl node record list` shows it
        node: NodeId,
        /// Why, for those who read the list
        #[arg(long, value_name = "TEXT", default_value = "no reason given")]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// What a record of a node says.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecordArgs {
    /// Its name
    pub(crate) node: NodeId,
    /// Its key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<NodePublicKey>,
    /// The Lightning node that is paid for it
    #[arg(long, value_name = "ID")]
    pub(crate) lightning_node: Option<LightningId>,
    /// A lane through which work comes; may be given again
    #[arg(long = "lane", value_name = "NAME")]
    pub(crate) lanes: Vec<LaneName>,
    /// It serves miners of others, and is listed
    #[arg(long, conflicts_with = "private")]
    pub(crate) public: bool,
    /// It serves its own accounts
    #[arg(long)]
    pub(crate) private: bool,
    #[command(flatten)]
    pub(crate) signing: SigningArgs,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

/// By which key, and about which chain.
#[derive(Clone, Debug, Args)]
pub(crate) struct SigningArgs {
    /// The file of the public key to sign with, where ssh-agent has several
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_with: Option<PathBuf>,
    /// `main`, `testnet4`, `signet` or `regtest`; that of the last record, or else of hh-pool
    #[arg(long, value_name = "CHAIN")]
    pub(crate) chain: Option<String>,
}

impl OperatorCommand {
    /// How it is confirmed; none where it changes nothing.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        match self {
            Self::Enroll { confirmation, .. } | Self::Revoke { confirmation, .. } => {
                Some(*confirmation)
            }
            Self::List => None,
        }
    }
}

impl NodeRecordCommand {
    /// How it is confirmed; none where it changes nothing.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        match self {
            Self::Sign(RecordArgs { confirmation, .. }) | Self::Revoke { confirmation, .. } => {
                Some(*confirmation)
            }
            Self::List => None,
        }
    }
}
