//! Hyper Nodes: their keys, their credentials, and who of them is let in.

use super::operator::NodeRecordCommand;
use super::{Confirmation, NodeWalletCommand};
use clap::{Args, Subcommand};
use hh_trust::node_credential::HOURS_MAX;
use hh_trust::{LaneName, NodeId, PoolAuthority};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes: those that have enrolled at core, and those that the pool knows, and whether their credentials are taken
    #[command(
        after_help = "Examples:\n  hhctl node list\n  hhctl node list -o json\n\nA site without hyperhash-core has the pool's list only."
    )]
    List,
    /// Show an enrolled node: its session, its services, its machine
    #[command(after_help = "Examples:\n  hhctl node show berlin-1\n  hhctl node show berlin-1 -w")]
    Show {
        /// The node, as `hhctl node list` shows it
        node: String,
    },
    /// Have a node restart one of its services, and wait for what comes of it
    #[command(
        after_help = "Examples:\n  hhctl node restart berlin-1 hh-translator\n  hhctl node restart berlin-1 hh-translator --yes --no-wait\n\nCore \
                      signs a command for the node, which carries it out if its own policy allows it. A node that is away gets it when it \
                      is back within two minutes.\n\nExit status: 1 if it failed or was refused, 3 if it is not known what came of it."
    )]
    Restart(ServiceArgs),
    /// Have a node start one of its services, and wait for what comes of it
    #[command(after_help = "Example:\n  hhctl node start berlin-1 hh-translator")]
    Start(ServiceArgs),
    /// Have a node stop one of its services, and wait for what comes of it
    #[command(
        after_help = "Examples:\n  hhctl node stop berlin-1 hh-translator --dry-run\n  hhctl node stop berlin-1 hh-translator\n\nIt stays \
                      stopped until it is started, or the node's agent is."
    )]
    Stop(ServiceArgs),
    /// Have a node's translator let no new miner in, on any lane; who is connected stays
    #[command(
        after_help = "Examples:\n  hhctl node drain berlin-1\n  hhctl node drain berlin-1 --end\n\nNew connections are closed at once, so \
                      that miners go on to the next pool of their list. A restart of hh-translator lets them in again."
    )]
    Drain {
        /// The node, as `hhctl node list` shows it
        node: String,
        /// Let miners in again
        #[arg(long)]
        end: bool,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Show lines of a service's log on a node
    #[command(
        after_help = "Examples:\n  hhctl node logs berlin-1 hh-translator --lines 200\n  hhctl node logs berlin-1 hh-translator --after \
                      131842:9120\n\nThe first line is the cursor to go on from: `--after` shows the lines that came since, at most \
                      15 KiB at once. The node's policy must allow it (`logs`)."
    )]
    Logs {
        /// The node, as `hhctl node list` shows it
        node: String,
        /// The service, as `hhctl node show` shows it
        service: String,
        /// At most this many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        lines: u16,
        /// Those after this cursor
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Say whether a node is well: connected, its clock right, its services running
    #[command(
        after_help = "Example:\n  hhctl node health berlin-1\n\nExit status: 3 if it is not; for a rollout to wait for."
    )]
    Health {
        /// The node, as `hhctl node list` shows it
        node: String,
    },
    /// Configurations of a node's services
    #[command(subcommand)]
    Config(NodeConfigCommand),
    /// The certificate by which core knows a node
    #[command(subcommand)]
    Certificate(NodeCertificateCommand),
    /// The node's own Lightning wallet
    #[command(subcommand)]
    Wallet(NodeWalletCommand),
    /// Let a node in no more, and end its session and its connections; kept over restarts
    #[command(
        after_help = "Examples:\n  hhctl node revoke berlin-1 --reason \"key stolen\"\n  hhctl node revoke berlin-1 --dry-run\n\nCore \
                      ends its session within seconds and takes nothing of it any more; commands that are open are given up. Its \
                      services run on: they are the owner's. To let it in again, have it enrol anew (`hhctl token create` with \
                      --replace).\n\nWhere the pool knows the node it is its key that is revoked there. To let the node in again, give it \
                      another key (`hhctl node key generate`), write its public half into hh-pool.toml, and restart the pool. What \
                      came through it stays credited."
    )]
    Revoke {
        /// The node, as `hhctl node list` shows it
        node: String,
        /// Why, for those who read the list
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Records: which nodes hh-pool and hh-treasury know, signed by operators
    #[command(subcommand)]
    Record(NodeRecordCommand),
    /// The key by which pools know a node; it never leaves the node
    #[command(subcommand)]
    Key(NodeKeyCommand),
    /// Credentials: a node's signed word, for some hours, that it serves lanes of a pool
    #[command(subcommand)]
    Credential(CredentialCommand),
}

impl NodeCommand {
    /// How it is ordered, if it is a command that the node carries out and that changes something.
    pub(crate) fn order(&self) -> Option<OrderArgs> {
        match self {
            Self::Start(args) | Self::Stop(args) | Self::Restart(args) => Some(args.order),
            Self::Drain { order, .. }
            | Self::Config(NodeConfigCommand::Apply { order, .. })
            | Self::Certificate(NodeCertificateCommand::Renew { order, .. }) => Some(*order),
            Self::Wallet(command) => command.order(),
            Self::List
            | Self::Show { .. }
            | Self::Logs { .. }
            | Self::Health { .. }
            | Self::Revoke { .. }
            | Self::Record(_)
            | Self::Key(_)
            | Self::Credential(_) => None,
        }
    }

    /// Whether it is about files of the node, and no daemon is asked.
    pub(crate) fn is_about_files(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Credential(_))
    }
}

/// A service of a node, and how it is ordered.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServiceArgs {
    /// The node, as `hhctl node list` shows it
    pub(crate) node: String,
    /// The service, as `hhctl node show` shows it
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) order: OrderArgs,
}

/// Flags of commands that a node carries out.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OrderArgs {
    /// Only have it signed and sent
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeConfigCommand {
    /// Give a service of a node another configuration, and restart it
    #[command(
        after_help = "Examples:\n  hhctl node config apply berlin-1 hh-translator hh-translator.toml --dry-run\n  hhctl node config apply berlin-1 \
                      hh-translator hh-translator.toml\n\nThe service's own program checks it on the node before it takes the place of what \
                      there is, which is kept, and comes back if the service does not come up. What touches addresses, keys, secrets, \
                      wallets or destinations waits for the node's owner (`hhctl consent list` there), and so does every key that its \
                      policy does not name."
    )]
    Apply {
        /// The node, as `hhctl node list` shows it
        node: String,
        /// The service, as `hhctl node show` shows it
        service: String,
        /// The whole new file
        file: PathBuf,
        /// Its number, higher than that of the last one; the time in seconds where it is not given
        #[arg(long, value_name = "NUMBER")]
        generation: Option<u64>,
        #[command(flatten)]
        order: OrderArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCertificateCommand {
    /// Have it renewed now; the agent does that by itself at half of its life
    #[command(after_help = "Example:\n  hhctl node certificate renew berlin-1")]
    Renew {
        /// The node, as `hhctl node list` shows it
        node: String,
        #[command(flatten)]
        order: OrderArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeKeyCommand {
    /// Make a secret key, for its owner alone to read, and show its public key
    #[command(
        after_help = "Example:\n  hhctl node key generate /etc/hyperhash/node.key\n\nThe public key goes into hh-pool.toml, as \
                      `public_key` of a [[hyper_nodes]] table. A file that exists is left alone."
    )]
    Generate {
        /// File to make
        file: PathBuf,
    },
    /// Show the public key of a secret key
    #[command(after_help = "Example:\n  hhctl node key show /etc/hyperhash/node.key")]
    Show {
        /// File with the secret key
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// Sign a credential, for hh-translator to present to the pool
    #[command(
        after_help = "Example:\n  hhctl node credential issue --node berlin-1 --lane asics --lane gpus \\\n    --key \
                      /etc/hyperhash/node.key --hours 24 --out /etc/hyperhash/node.credential \\\n    --pool-authority \
                      9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh\n\nRun it on the node, as the user of hh-translator, well before the last one \
                      ends: every six hours by a timer, say. hh-translator notices that the file has changed and renews on \
                      the connections that it has. It is of no use at another pool, nor on a lane that it does not name."
    )]
    Issue(IssueArgs),
    /// Show what a credential says, and whether it holds now
    #[command(after_help = "Example:\n  hhctl node credential show /etc/hyperhash/node.credential")]
    Show {
        /// File with the credential
        file: PathBuf,
    },
}

/// What a credential is to say.
#[derive(Clone, Debug, Args)]
pub(crate) struct IssueArgs {
    /// File with the node's secret key; `file:` in front may be there
    #[arg(long, value_name = "FILE", value_parser = key_file)]
    pub(crate) key: PathBuf,
    /// Name of the node, as the pool's configuration has it
    #[arg(long, value_name = "ID")]
    pub(crate) node: NodeId,
    /// A lane of hh-translator that it is for; may be given again
    #[arg(long = "lane", value_name = "NAME", required = true)]
    pub(crate) lanes: Vec<LaneName>,
    /// Authority public key of the pool that it is for
    #[arg(long, value_name = "KEY")]
    pub(crate) pool_authority: PoolAuthority,
    /// How long it holds from now on
    #[arg(long, default_value_t = HOURS_MAX, value_parser = clap::value_parser!(u32).range(1..=i64::from(HOURS_MAX)))]
    pub(crate) hours: u32,
    /// File to write, or to replace
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// A path, or a reference as configurations have it.
pub(super) fn key_file(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("file:").unwrap_or(text);
    match path {
        "" => Err("write the path of the file".to_owned()),
        path => Ok(path.into()),
    }
}
