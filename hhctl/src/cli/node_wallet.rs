//! `hhctl node wallet`.

use super::amount;
use super::node::OrderArgs;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeWalletCommand {
    /// Show what a node's wallet has, if its policy lets core read it
    #[command(after_help = "Example:\n  hhctl node wallet show berlin-1")]
    Show {
        /// The node, as `hhctl node list` shows it
        node: String,
    },
    /// Have a node's wallet make an invoice, and show it with the node's signature
    #[command(
        after_help = "Example:\n  hhctl node wallet invoice berlin-1 250ksat --for \"dues of May\"\n\nThe node's agent claims its dues by \
                      itself; this is for what it does not. The node's policy says up to how much (`invoice_msat_max`)."
    )]
    Invoice {
        /// The node, as `hhctl node list` shows it
        node: String,
        /// Of how much, such as 250ksat
        #[arg(value_parser = amount::msat)]
        amount_msat: u64,
        /// What it is for
        #[arg(long = "for", value_name = "TEXT", default_value = "dues")]
        description: String,
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Ask a node's owner to have an invoice paid from the node's wallet
    #[command(
        after_help = "Example:\n  hhctl node wallet pay berlin-1 lnbc420u1p... --amount 42ksat --max-fee 100sat\n\nIt waits for the node's owner \
                      (`hhctl consent list` there), each time and whoever asks; core can't pay from a node's wallet. It is sent once."
    )]
    Pay {
        /// The node, as `hhctl node list` shows it
        node: String,
        /// The invoice (BOLT11)
        invoice: String,
        /// What it is for: the same as the invoice, where that names an amount
        #[arg(long, value_name = "AMOUNT", value_parser = amount::msat)]
        amount: u64,
        /// The most that routing may cost
        #[arg(long, value_name = "AMOUNT", value_parser = amount::msat)]
        max_fee: u64,
        #[command(flatten)]
        order: OrderArgs,
    },
}

impl NodeWalletCommand {
    /// How it is ordered, if it changes something.
    pub(super) fn order(&self) -> Option<OrderArgs> {
        match self {
            Self::Show { .. } => None,
            Self::Invoice { order, .. } | Self::Pay { order, .. } => Some(*order),
        }
    }
}
