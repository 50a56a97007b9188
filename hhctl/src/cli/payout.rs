//! `hhctl payout`.

use super::{Confirmation, NamedConfirmation, node::key_file};
use clap::{Args, Subcommand, ValueEnum};
use hh_ipc::api::treasury::PayoutState;
use hh_trust::NodeId;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum PayoutCommand {
    /// List payouts, newest first
    #[command(
        after_help = "Examples:\n  hhctl payout list\n  hhctl payout list --payee miner:alice --state settled -o json\n  hhctl payout list \
                      --open\n\nSETTLED is how long it took from the dispatch to the preimage, which is the receipt. WAITS FOR is what has \
                      to happen before a payout goes on, and the command that helps."
    )]
    List {
        #[command(flatten)]
        filter: PayoutFilter,
        /// At most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// One payout: its attempts, its history, its receipt
    #[command(after_help = "Example:\n  hhctl payout show 412")]
    Show {
        /// Its number, as `hhctl payout list` shows it
        id: u64,
    },
    /// Show what a run would pay now, and who is left out and why
    #[command(
        after_help = "Examples:\n  hhctl payout plan\n  hhctl payout plan miner:alice --below-minimum"
    )]
    Plan(RunChoice),
    /// Pay now what the rules would pay, whatever their interval, or only the named payees
    #[command(
        after_help = "Examples:\n  hhctl payout run --dry-run\n  hhctl payout run\n  hhctl payout run miner:alice --below-minimum\n  hhctl \
                      payout run --confirm mainnet --request-id 2026-11-25-1\n\nThe plan is shown first: each amount with its destination, what \
                      sending may cost at most, and what the day's limit leaves. Nothing is paid that was not in it. A run has an id, \
                      which is printed before it is sent: where no answer comes, run it again with --request-id, and nothing is opened \
                      twice."
    )]
    Run(RunArgs),
    /// Try a payout again now that waits for its next try
    #[command(
        after_help = "Example:\n  hhctl payout retry 412\n\nA payment whose outcome is not known is never tried again: it is looked up."
    )]
    Retry {
        /// Its number
        id: u64,
    },
    /// Keep a payee or a payout from being paid; it asks nothing
    #[command(
        after_help = "Examples:\n  hhctl payout hold miner:mallory --reason \"disputed\"\n  hhctl payout hold 412 --reason \"disputed\""
    )]
    Hold {
        /// A payee such as miner:alice or node:berlin-1, or the number of a payout
        #[arg(value_parser = target)]
        target: String,
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let a payee or a payout be paid again
    #[command(
        after_help = "Example:\n  hhctl payout release miner:mallory --reason \"settled with him\""
    )]
    Release {
        /// A payee such as miner:alice or node:berlin-1, or the number of a payout
        #[arg(value_parser = target)]
        target: String,
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// End a payout that has no payment on its way; the amount goes back to the balance
    #[command(
        after_help = "Example:\n  hhctl payout cancel 412 --reason \"asked for by the miner\""
    )]
    Cancel {
        /// Its number
        id: u64,
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Give one's word for a payout above the limit; two operators have to
    #[command(
        after_help = "Examples:\n  hhctl payout approve 412 --dry-run\n  hhctl payout approve 412\n\nThe word is for the amount and the \
                      destination that are shown: where either has changed by then it is refused. Where hh-treasury.toml lists operators' SSH \
                      keys ([operators]), your ssh-agent signs it, on this machine; elsewhere two users of the treasury's machine are two operators."
    )]
    Approve {
        /// Its number
        id: u64,
        /// The file of the public key to sign with, where ssh-agent has several
        #[arg(long, value_name = "FILE")]
        sign_with: Option<PathBuf>,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
    /// Close a payout as failed whose outcome can't be concluded; two operators have to
    #[command(
        after_help = "Example:\n  hhctl payout close-failed 412 --reason \"channel lost, wallet restored\"\n\nOnly once the chain has passed \
                      its time limit. If it is settled after all, that is the treasury's loss."
    )]
    CloseFailed {
        /// Its number
        id: u64,
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
    /// Hand in an invoice of a node for its dues, signed with the node's key
    #[command(
        after_help = "Example:\n  hhctl payout submit-invoice --node berlin-1 --key node.key lnbc420u1p...\n\nIt has to be paid to the Lightning \
                      node that hh-treasury has recorded for this node, for no more than it may be paid now."
    )]
    SubmitInvoice(SubmitInvoiceArgs),
    /// Print payouts as CSV, oldest first, for accounting
    #[command(
        after_help = "Examples:\n  hhctl payout export > payouts.csv\n  hhctl payout export --payee miner:alice --state settled\n\nAmounts are \
                      in millisatoshi, times in UTC. Payouts that are made meanwhile are left out."
    )]
    Export(ExportArgs),
}

impl PayoutCommand {
    /// Whether it is to be planned and confirmed, or done at once.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Self::List { .. } | Self::Show { .. } | Self::Plan(_) | Self::Export(_) => false,
            Self::Run(_)
            | Self::Retry { .. }
            | Self::Hold { .. }
            | Self::Release { .. }
            | Self::Cancel { .. }
            | Self::Approve { .. }
            | Self::CloseFailed { .. }
            | Self::SubmitInvoice(_) => true,
        }
    }
}

/// Which payouts are meant.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PayoutFilter {
    /// Only those of this payee, such as miner:alice or node:berlin-1
    #[arg(long, value_name = "PAYEE")]
    pub(crate) payee: Option<String>,
    /// Only those in this state; may be given again
    #[arg(long = "state", value_name = "STATE")]
    pub(crate) states: Vec<StateChoice>,
    /// Only those that are neither settled nor ended
    #[arg(long, conflicts_with = "states")]
    pub(crate) open: bool,
}

/// An invoice, and who says that it is his.
#[derive(Clone, Debug, Args)]
pub(crate) struct SubmitInvoiceArgs {
    /// Name of the node, as hh-treasury's configuration has it
    #[arg(long, value_name = "ID")]
    pub(crate) node: NodeId,
    /// File with the node's secret key; `file:` in front may be there
    #[arg(long, value_name = "FILE", value_parser = key_file)]
    pub(crate) key: PathBuf,
    /// The invoice (BOLT11), with an amount
    #[arg(value_name = "INVOICE")]
    pub(crate) invoice: String,
}

/// What to export.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) filter: PayoutFilter,
}

/// Whom a run is for.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RunChoice {
    /// Only these payees, such as miner:alice or node:berlin-1
    #[arg(value_name = "PAYEE")]
    pub(crate) payees: Vec<String>,
    /// Balances below the minimum too
    #[arg(long, requires = "payees")]
    pub(crate) below_minimum: bool,
}

/// A run, and how it is confirmed.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) choice: RunChoice,
    /// The run's id; a new one if it is not given
    #[arg(long, value_name = "ID", value_parser = request_id)]
    pub(crate) request_id: Option<String>,
    /// Whether the id is a new one, and nothing can have been opened under it.
    #[arg(skip)]
    pub(crate) is_new: bool,
    #[command(flatten)]
    pub(crate) confirmation: NamedConfirmation,
}

impl RunArgs {
    /// Gives a run that has no id a new one, so that it can be told before it is sent. A look needs none.
    pub(crate) fn name(&mut self) {
        if self.request_id.is_none() && !self.confirmation.dry_run {
            self.request_id = Some(fresh_request_id());
            self.is_new = true;
        }
    }
}

/// A state as it is written on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateChoice {
    WaitingForApproval,
    Queued,
    Resolving,
    Ready,
    Paying,
    RetryWait,
    NeedsOperator,
    Settled,
    Cancelled,
    Failed,
}

impl From<StateChoice> for PayoutState {
    fn from(choice: StateChoice) -> Self {
        match choice {
            StateChoice::WaitingForApproval => Self::WaitingForApproval,
            StateChoice::Queued => Self::Queued,
            StateChoice::Resolving => Self::Resolving,
            StateChoice::Ready => Self::Ready,
            StateChoice::Paying => Self::Paying,
            StateChoice::RetryWait => Self::RetryWait,
            StateChoice::NeedsOperator => Self::NeedsOperator,
            StateChoice::Settled => Self::Settled,
            StateChoice::Cancelled => Self::Cancelled,
            StateChoice::Failed => Self::Failed,
        }
    }
}

/// A payee as it is, a number as `payout:NUMBER`.
fn target(text: &str) -> Result<String, String> {
    if text.parse::<u64>().is_ok() {
        return Ok(format!("payout:{text}"));
    }
    match text.split_once(':') {
        Some(("miner" | "node" | "payout", name)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("write miner:NAME, node:ID or the number of a payout".to_owned()),
    }
}

/// An id that no other request has.
pub(super) fn fresh_request_id() -> String {
    let id: u128 = bitcoin::secp256k1::rand::random();
    format!("{id:032x}")
}

/// It goes into a database and into a shell's history.
pub(super) fn request_id(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("write 1 to 64 letters, digits, dots, dashes or underscores".to_owned())
    }
}
