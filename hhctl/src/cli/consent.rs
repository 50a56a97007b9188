//! `hhctl consent` and `hhctl agent`: what the owner of a node says and sees there.

use super::Confirmation;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ConsentCommand {
    /// List the commands of core that wait for the owner
    #[command(after_help = "Examples:\n  hhctl consent list\n  hhctl -H ops@berlin-1 consent list")]
    List,
    /// Show one of them, and what it would change
    #[command(after_help = "Example:\n  hhctl consent show 0a1b2c3d4e5f60718293a4b5c6d7e8f9")]
    Show {
        /// The command, as `hhctl consent list` shows it
        id: String,
    },
    /// Have it carried out, this once
    #[command(
        after_help = "Examples:\n  hhctl consent approve 0a1b2c3d4e5f60718293a4b5c6d7e8f9 --dry-run\n  hhctl consent approve \
                      0a1b2c3d4e5f60718293a4b5c6d7e8f9\n\nIt is for exactly that command. A command that nobody has said anything about \
                      for a day is given up.\n\nExit status: 1 if it failed, 3 if it is not known what came of it."
    )]
    Approve {
        /// The command, as `hhctl consent list` shows it
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Let it not be carried out; core is told
    #[command(
        after_help = "Example:\n  hhctl consent refuse 0a1b2c3d4e5f60718293a4b5c6d7e8f9 --yes"
    )]
    Refuse {
        /// The command, as `hhctl consent list` shows it
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// The session with core, the services, and what waits for the owner
    #[command(after_help = "Examples:\n  hhctl agent status\n  hhctl -H ops@berlin-1 agent status")]
    Status,
    /// The node's wallet, what the node is owed, and its invoices for that
    #[command(
        after_help = "Examples:\n  hhctl agent wallet\n  hhctl agent wallet -o json\n\nWhat is owed and how far an invoice is hh-treasury says, by way of \
                      core; what was received the wallet says itself."
    )]
    Wallet,
}
