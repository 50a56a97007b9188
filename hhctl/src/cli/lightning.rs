//! `hhctl ln`.

use super::amount::{msat, whole_sat};
use super::treasury::hash;
use super::{Confirmation, NamedConfirmation};
use crate::invoice::Invoice;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum LightningCommand {
    /// The node: its id, what it can do, whether it follows the chain, what it has
    #[command(after_help = "Example:\n  hhctl ln status")]
    Status,
    /// Its channels
    #[command(subcommand, alias = "channels")]
    Channel(ChannelCommand),
    /// Payments of the wallet, whatever they were for
    #[command(subcommand, alias = "payments")]
    Payment(PaymentCommand),
    /// What could be done so that all that is due can be sent
    #[command(
        after_help = "Example:\n  hhctl ln advice\n\nNothing of it is done by itself: the rules of [channels] in hh-treasury's \
                      configuration open channels, the rest is yours to decide."
    )]
    Advice,
    /// What each day has earned by routing, what channels cost, and what was paid out
    #[command(after_help = "Examples:\n  hhctl ln yield\n  hhctl ln yield --days 365 -o csv")]
    Yield {
        /// From so many days ago to today, in UTC
        #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=400))]
        days: u32,
    },
    /// Make an invoice of the wallet, or read anybody's
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "Examples:\n  hhctl ln invoice --amount 50ksat --description \"from the other wallet\"\n  hhctl ln invoice \
                      --description \"any amount\" --expiry-minutes 1440"
    )]
    Invoice(InvoiceArgs),
}

/// An invoice to make, or what else is done with one.
#[derive(Clone, Debug, Args)]
pub(crate) struct InvoiceArgs {
    #[command(subcommand)]
    pub(crate) what: Option<InvoiceCommand>,
    /// How much, with its unit; any amount if it is not given
    #[arg(long, value_name = "AMOUNT", value_parser = msat)]
    pub(crate) amount: Option<u64>,
    /// What the payer is shown
    #[arg(long, value_name = "TEXT", required = true)]
    pub(crate) description: Option<String>,
    /// How long it can be paid
    #[arg(long, value_name = "NUMBER", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    pub(crate) expiry_minutes: u32,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum InvoiceCommand {
    /// What an invoice says: amount, payee, chain, what for, until when. Asks no daemon
    #[command(
        after_help = "Examples:\n  hhctl ln invoice decode lnbc2500u1p...\n  hhctl ln invoice decode lightning:LNBC2500U1P... -o json"
    )]
    Decode {
        /// The invoice (BOLT11)
        invoice: Invoice,
    },
}

impl LightningCommand {
    /// Whether it is to be planned and confirmed, or done at once.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Self::Status
            | Self::Advice
            | Self::Yield { .. }
            | Self::Payment(_)
            | Self::Invoice(InvoiceArgs { what: Some(_), .. })
            | Self::Channel(ChannelCommand::List) => false,
            Self::Invoice(_) | Self::Channel(_) => true,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// List the channels, with what is on either side and what is on its way
    #[command(after_help = "Examples:\n  hhctl ln channel list\n  hhctl ln channel list -o json")]
    List,
    /// Open a channel
    #[command(
        after_help = "Examples:\n  hhctl ln channel open 02ab...@203.0.113.9:9735 --capacity 0.05btc --dry-run\n  hhctl ln channel open \
                      02ab...@203.0.113.9:9735 --capacity 0.05btc"
    )]
    Open(OpenArgs),
    /// Close a channel; with --force without the peer
    #[command(
        after_help = "Examples:\n  hhctl ln channel close 812345x1x0 --dry-run\n  hhctl ln channel close 812345x1x0\n  hhctl ln channel \
                      close 812345x1x0 --force\n\nTogether with the peer it costs one transaction. By force our side comes back after a delay \
                      of up to two weeks, at a fee that was agreed on before, and payments on their way are settled on the chain."
    )]
    Close {
        /// Its id, as `hhctl ln channel list` shows it
        id: String,
        /// Without the peer: slow and dear, for one that does not answer
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
    /// Move balance from one channel to another by a payment to oneself
    #[command(
        after_help = "Examples:\n  hhctl ln channel rebalance --from 812345x1x0 --to 812400x3x1 --amount 500ksat --max-fee-ppm 200 \
                      --dry-run\n  hhctl ln channel rebalance --from 812345x1x0 --to 812400x3x1 --amount 500ksat --max-fee-ppm 200\n\nNot every \
                      backend can: `hhctl ln status` says what this one can."
    )]
    Rebalance(RebalanceArgs),
}

/// What to open.
#[derive(Clone, Debug, Args)]
pub(crate) struct OpenArgs {
    /// The peer
    #[arg(value_name = "NODE_ID@HOST:PORT", value_parser = peer)]
    pub(crate) peer: String,
    /// How much of ours goes in, with its unit
    #[arg(long, value_name = "AMOUNT", value_parser = whole_sat)]
    pub(crate) capacity: u64,
    /// Tell the network of it, so that others route through it
    #[arg(long)]
    pub(crate) public: bool,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

/// What to move.
#[derive(Clone, Debug, Args)]
pub(crate) struct RebalanceArgs {
    /// Channel that has too much on our side
    #[arg(long, value_name = "ID")]
    pub(crate) from: String,
    /// Channel that has too little
    #[arg(long, value_name = "ID")]
    pub(crate) to: String,
    /// How much, with its unit
    #[arg(long, value_name = "AMOUNT", value_parser = msat)]
    pub(crate) amount: u64,
    /// What it may cost at most, in millionths of the amount
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(crate) max_fee_ppm: u32,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PaymentCommand {
    /// List the wallet's payments, newest first
    #[command(
        after_help = "Examples:\n  hhctl ln payment list\n  hhctl ln payment list --limit 100 -o json"
    )]
    List {
        /// At most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Follow a payment by its hash: the payout, its attempts, what the wallet says of it now
    #[command(
        after_help = "Examples:\n  hhctl ln payment track 3b6a27bc...\n  hhctl ln payment track 3b6a27bc... -w\n\nExit status: 4 if neither \
                      the books nor the wallet know the hash. `hhctl ln invoice decode` tells the hash of an invoice."
    )]
    Track {
        /// The payment hash
        #[arg(value_name = "HASH", value_parser = hash)]
        payment_hash: String,
    },
}

/// `NODE_ID@HOST:PORT`.
fn peer(text: &str) -> Result<String, String> {
    let is_node_id = |id: &str| {
        let is_point = id.starts_with("02") || id.starts_with("03");
        id.len() == 66 && is_point && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let is_address = |address: &str| {
        let parts = address.rsplit_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    match text.split_once('@') {
        Some((id, address)) if is_node_id(id) && is_address(address) => Ok(text.to_owned()),
        _ => Err("write NODE_ID@HOST:PORT, the id as 66 hex digits".to_owned()),
    }
}
