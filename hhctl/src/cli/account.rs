//! `hhctl account`.

use super::{Confirmation, NamedConfirmation};
use crate::invoice::Invoice;
use clap::{Args, Subcommand, ValueEnum};
use hh_ipc::api::pool::BlockSelector;
use hh_ipc::api::treasury::DestinationKind;
use hh_trust::ReportPublicKey;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// List accounts with what they have, by name
    #[command(
        after_help = "Examples:\n  hhctl account list\n  hhctl account list --prefix node: --limit 500 -o json\n\nEXPECTED is what the work \
                      of an account earns on average, LUCK what it was credited over that."
    )]
    List {
        /// Only names that begin so, such as miner: or node:
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
        /// Those after this name, to go on where a list ended
        #[arg(long, value_name = "NAME")]
        after: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// One account: what it has, what it was paid, where it is paid, why it is not
    #[command(
        after_help = "Examples:\n  hhctl account show alice\n  hhctl account show node:berlin-1"
    )]
    Show {
        /// Its name; of a miner if it is not miner:NAME, node:ID, reserve:node-network or treasury
        #[arg(value_parser = name)]
        name: String,
    },
    /// What moved on an account, newest first
    #[command(
        after_help = "Examples:\n  hhctl account statement alice\n  hhctl account statement alice --before 1200 -o json"
    )]
    Statement {
        /// Its name, as for `show`
        #[arg(value_parser = name)]
        name: String,
        /// Only what was booked before this entry, to go on where a statement ended
        #[arg(long, value_name = "ENTRY")]
        before: Option<u64>,
        /// At most this many lines
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// What an account has of a block, proven by the block's signed report
    #[command(
        after_help = "Examples:\n  hhctl account proof alice 1203\n  hhctl account proof alice 1203 -o json\n\nWhat nodes have is in the report itself. The proof is checked \
                      here against the report, the report against the treasury's key, and the account's own minutes and shares of the \
                      window against the proof."
    )]
    Proof {
        /// Its name, as for `show`
        #[arg(value_parser = name)]
        name: String,
        /// Height or hash of the block
        #[arg(value_parser = super::block::block)]
        block: BlockSelector,
        /// Public key of the treasury's reports; without it the one that the treasury itself names
        #[arg(long, value_name = "KEY")]
        key: Option<ReportPublicKey>,
    },
    /// Make a name for somebody before its first use, with a token by which he makes it his own
    #[command(
        after_help = "Examples:\n  hhctl account create alice\n  hhctl account create alice --owner-key 3b6a27bc...\n\nThe token is shown \
                      once: give it to him, and to nobody else. With --owner-key the name is his at once."
    )]
    Create {
        /// The name
        #[arg(value_parser = name)]
        name: String,
        /// The Ed25519 key that its changes are signed with, hex
        #[arg(long, value_name = "HEX", value_parser = key)]
        owner_key: Option<String>,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Make a name one's own with the token that an operator gave out
    #[command(
        after_help = "Examples:\n  hhctl account claim alice --token-file token --owner-key 3b6a27bc...\n  hhctl account claim alice \
                      --token-file - --owner-key 3b6a27bc... < token\n\nThe token comes from a file or stdin: on a command line everybody on the \
                      machine sees it."
    )]
    Claim {
        /// The name
        #[arg(value_parser = name)]
        name: String,
        /// File with the token; - for stdin
        #[arg(long, value_name = "FILE")]
        token_file: PathBuf,
        /// The Ed25519 key that its changes are signed with from now on, hex
        #[arg(long, value_name = "HEX", value_parser = key)]
        owner_key: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Give an account that has an owner another key; two operators have to do the same
    #[command(
        after_help = "Example:\n  hhctl account replace-owner alice --owner-key 3b6a27bc... --reason \"key lost, seen in person\"\n\nWho has the \
                      new key says from now on where the account is paid. What the first operator asks for is done when a second one asks \
                      for the same within an hour."
    )]
    ReplaceOwner {
        /// The name
        #[arg(value_parser = name)]
        name: String,
        /// The Ed25519 key that its changes are signed with from now on, hex
        #[arg(long, value_name = "HEX", value_parser = key)]
        owner_key: String,
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
    /// Draw what an account may be paid, or a part of it, by an invoice that its drawing key has signed for
    #[command(
        after_help = "Examples:\n  hhctl account draw alice lnbc420u1p... --dry-run\n  hhctl account draw alice lnbc420u1p... --signature 4f1c...\n\nThe \
                      first shows the text that is signed with the account's drawing key (Ed25519, hex), which its owner has set with \
                      `hhctl account payout-address set`. An invoice draws once: the same command again shows what became of it. Limits, \
                      holds and the approval of two operators are those of every payout."
    )]
    Draw(DrawArgs),
    /// Where an account is paid
    #[command(subcommand, alias = "destination")]
    PayoutAddress(PayoutAddressCommand),
}

impl AccountCommand {
    /// Whether it is to be planned and confirmed.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Self::List { .. }
            | Self::Show { .. }
            | Self::Proof { .. }
            | Self::Statement { .. }
            | Self::PayoutAddress(PayoutAddressCommand::Show { .. }) => false,
            Self::Create { .. }
            | Self::Claim { .. }
            | Self::Draw(_)
            | Self::ReplaceOwner { .. }
            | Self::PayoutAddress(
                PayoutAddressCommand::Set(_) | PayoutAddressCommand::Cancel { .. },
            ) => true,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum PayoutAddressCommand {
    /// Show where an account is paid, and a change that is not in force yet
    #[command(after_help = "Example:\n  hhctl account payout-address show alice")]
    Show {
        /// Its name, as for `hhctl account show`
        #[arg(value_parser = name)]
        name: String,
    },
    /// Set where an account is paid, with its owner's signature; in force after the cooling-off period
    #[command(
        after_help = "Examples:\n  hhctl account payout-address set alice alice@wallet.example --seq 3 --until 1764200000 --dry-run\n  \
                      hhctl account payout-address set alice alice@wallet.example --seq 3 --until 1764200000 --signature 4f1c...\n  \
                      hhctl account payout-address set alice 3b6a27bc... --seq 4 --until 1764200000 --dry-run\n\nThe first shows the text that the owner signs, with the account's key (Ed25519, hex) or, where the account is a Bitcoin \
                      address, by BIP-322 (base64). `hhctl account payout-address show` tells the next number. A signature is good for \
                      a week at most. A key as the destination lets whoever has its secret part draw by invoice: see `hhctl account draw`."
    )]
    Set(DestinationArgs),
    /// Take a destination back, so that nothing is paid there; two operators have to do the same
    #[command(
        after_help = "Example:\n  hhctl account payout-address cancel alice --seq 4 --reason \"not signed by her\"\n\nA change that is taken back \
                      before it counts leaves the destination before it. One that has counted leaves none: what is earned is held until a \
                      new one is set."
    )]
    Cancel {
        /// Its name, as for `hhctl account show`
        #[arg(value_parser = name)]
        name: String,
        /// The number of the change, as `payout-address show` has it
        #[arg(long, value_name = "NUMBER")]
        seq: u64,
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
}

/// Where to pay, and the proof that one may say so.
#[derive(Clone, Debug, Args)]
pub(crate) struct DestinationArgs {
    /// Its name, as for `hhctl account show`
    #[arg(value_parser = name)]
    pub(crate) name: String,
    /// A Lightning address, a BOLT12 offer, or the Ed25519 key (64 hex digits) that may draw by invoice; not the owner's own
    pub(crate) destination: String,
    /// What it is; by its form if it is not given
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<KindChoice>,
    /// The number of the change in the signed text
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seq: u64,
    /// Until when the signature is good, as in the signed text: seconds since 1970
    #[arg(long, value_name = "UTC")]
    pub(crate) until: i64,
    /// The signature
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub(crate) signature: Option<String>,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

impl DestinationArgs {
    /// What the destination is: told, or seen by its form.
    pub(crate) fn kind(&self) -> DestinationKind {
        match self.kind {
            Some(KindChoice::LightningAddress) => DestinationKind::LightningAddress,
            Some(KindChoice::Bolt12Offer) => DestinationKind::Bolt12Offer,
            Some(KindChoice::DrawingKey) => DestinationKind::DrawingKey,
            None if key(&self.destination).is_ok() => DestinationKind::DrawingKey,
            None if self.destination.starts_with("lno1") => DestinationKind::Bolt12Offer,
            None => DestinationKind::LightningAddress,
        }
    }
}

/// An invoice, and the proof that its payee may have the money.
#[derive(Clone, Debug, Args)]
pub(crate) struct DrawArgs {
    /// Its name, as for `hhctl account show`
    #[arg(value_parser = name)]
    pub(crate) name: String,
    /// The invoice (BOLT11), with an amount
    pub(crate) invoice: Invoice,
    /// The signature of the drawing key
    #[arg(long, value_name = "HEX", required_unless_present = "dry_run")]
    pub(crate) signature: Option<String>,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

/// A kind of destination as it is written on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindChoice {
    LightningAddress,
    Bolt12Offer,
    DrawingKey,
}

/// Miners' accounts are meant where nothing else is said.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        _ if text.is_empty() => Err("write the name of an account".to_owned()),
        _ if text == "treasury" => Ok(text.to_owned()),
        Some(("miner" | "node" | "reserve", name)) if !name.is_empty() => Ok(text.to_owned()),
        Some(_) => Err("write NAME, miner:NAME, node:ID or reserve:node-network".to_owned()),
        None => Ok(format!("miner:{text}")),
    }
}

fn key(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("write an Ed25519 public key as 64 hex digits".to_owned())
    }
}
