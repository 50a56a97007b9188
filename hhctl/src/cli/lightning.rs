//! `hhctl ln`.

use super::amount::{msat, whole_sat};
use super::payout::{fresh_request_id, request_id};
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
    /// The nodes that it is connected to or has channels with
    #[command(subcommand, alias = "peers")]
    Peer(PeerCommand),
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
    /// Gives a rebalance that has no id a new one, so that it can be told before it is sent. A look needs none.
    pub(crate) fn name(&mut self) {
        if let Self::Channel(ChannelCommand::Rebalance(args)) = self
            && args.request_id.is_none()
            && !args.confirmation.dry_run
        {
            args.request_id = Some(fresh_request_id());
        }
    }

    /// Whether it is to be planned and confirmed, or done at once.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Self::Status
            | Self::Advice
            | Self::Yield { .. }
            | Self::Payment(_)
            | Self::Invoice(InvoiceArgs { what: Some(_), .. })
            | Self::Peer(PeerCommand::List)
            | Self::Channel(ChannelCommand::List | ChannelCommand::Show { .. }) => false,
            Self::Invoice(_) | Self::Channel(_) | Self::Peer(_) => true,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// List the channels, with what is on either side and what is on its way
    #[command(after_help = "Examples:\n  hhctl ln channel list\n  hhctl ln channel list -o json")]
    List,
    /// One channel: what is on either side, what it can carry, and each payment on its way
    #[command(after_help = "Example:\n  hhctl ln channel show 812345x1x0")]
    Show {
        /// Its id, as `hhctl ln channel list` shows it
        id: String,
    },
    /// Open a channel
    #[command(
        after_help = "Examples:\n  hhctl ln channel open 02ab...@203.0.113.9:9735 --capacity 0.05btc --dry-run\n  hhctl ln channel open \
                      02ab...@203.0.113.9:9735 --capacity 0.05btc"
    )]
    Open(OpenArgs),
    /// Set what routing a payment of others out by a channel costs them
    #[command(
        after_help = "Examples:\n  hhctl ln channel fees 812345x1x0 --base 1sat --ppm 200 --dry-run\n  hhctl ln channel fees 812345x1x0 --base \
                      1sat --ppm 200\n\nIt is what the treasury earns where others route through it; what payouts pay is in [payouts] of \
                      hh-treasury's configuration. The network learns of it in an hour or two."
    )]
    Fees {
        /// Its id, as `hhctl ln channel list` shows it
        id: String,
        /// For each payment, with its unit
        #[arg(long, value_name = "AMOUNT", value_parser = base_fee)]
        base: u32,
        /// In millionths of the payment
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
        ppm: u32,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Close a channel; with --force without the peer
    #[command(
        after_help = "Examples:\n  hhctl ln channel close 812345x1x0 --dry-run\n  hhctl ln channel close 812345x1x0\n  hhctl ln channel \
                      close 812345x1x0 --force\n\nTogether with the peer it costs one transaction. By force our side comes back after a delay \
                      of up to two weeks, and payments on their way are settled on the chain: --dry-run says what each step costs at the fee \
                      rate that Bitcoin Core estimates, and for how many blocks our side is locked."
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
                      --dry-run\n  hhctl ln channel rebalance --from 812345x1x0 --to 812400x3x1 --amount 500ksat --max-fee-ppm 200\n\nIt \
                      is a payment of the wallet to itself, of which only the fee leaves it. --dry-run says whether both channels have enough. \
                      The id of the request is printed before it is sent: where no answer comes, ask again with --request-id, and nothing is \
                      moved twice. Not every backend can: `hhctl ln status` says what this one can."
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
    /// The request's id; a new one if it is not given
    #[arg(long, value_name = "ID", value_parser = request_id)]
    pub(crate) request_id: Option<String>,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// List them, with what channels there are
    #[command(after_help = "Examples:\n  hhctl ln peer list\n  hhctl ln peer list -o json")]
    List,
    /// Connect to a node, and keep it in mind
    #[command(
        after_help = "Example:\n  hhctl ln peer connect 02ab...@203.0.113.9:9735\n\nA channel is opened by `hhctl ln channel open`, which \
                      connects by itself."
    )]
    Connect {
        /// The node
        #[arg(value_name = "NODE_ID@HOST:PORT", value_parser = peer)]
        peer: String,
    },
    /// End the connection to a node; channels with it can't be used until it is back
    #[command(after_help = "Example:\n  hhctl ln peer disconnect 02ab...")]
    Disconnect {
        /// The node's id, as `hhctl ln peer list` shows it
        #[arg(value_name = "NODE_ID", value_parser = node_id)]
        node_id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
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
    /// Show or follow a payment by its hash: the payout, its attempts, what the wallet says of it now
    #[command(
        alias = "show",
        after_help = "Examples:\n  hhctl ln payment track 3b6a27bc...\n  hhctl ln payment track 3b6a27bc... -w\n\nExit status: 4 if neither \
                      the books nor the wallet know the hash. `hhctl ln invoice decode` tells the hash of an invoice."
    )]
    Track {
        /// The payment hash
        #[arg(value_name = "HASH", value_parser = hash)]
        payment_hash: String,
    },
}

/// `1sat`, or nothing.
fn base_fee(text: &str) -> Result<u32, String> {
    if text == "0" {
        return Ok(0);
    }
    let msat = msat(text)?;
    u32::try_from(msat).map_err(|_large| "that is more than any channel takes".to_owned())
}

/// 66 hex digits.
fn node_id(text: &str) -> Result<String, String> {
    let is_point = text.starts_with("02") || text.starts_with("03");
    if text.len() == 66 && is_point && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("write a node's id as 66 hex digits".to_owned())
    }
}

/// `NODE_ID@HOST:PORT`.
fn peer(text: &str) -> Result<String, String> {
    let is_address = |address: &str| {
        let parts = address.rsplit_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    match text.split_once('@') {
        Some((id, address)) if node_id(id).is_ok() && is_address(address) => Ok(text.to_owned()),
        _ => Err("write NODE_ID@HOST:PORT, the id as 66 hex digits".to_owned()),
    }
}
