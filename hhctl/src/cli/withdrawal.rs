//! What leaves the treasury's wallet on the chain: `hhctl treasury withdraw` and `hhctl treasury withdrawal`.

use super::NamedConfirmation;
use super::amount::whole_sat;
use super::payout::{fresh_request_id, request_id};
use clap::{Args, Subcommand};

/// What to send, and where.
#[derive(Clone, Debug, Args)]
pub(crate) struct WithdrawArgs {
    /// An address of the treasury's chain
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    /// How much, with its unit; the fee is paid beside it
    #[arg(value_name = "AMOUNT", value_parser = whole_sat, required_unless_present = "all_free", conflicts_with = "all_free")]
    pub(crate) amount_sat: Option<u64>,
    /// All that is the operator's own and may leave, but for the most that the fee can be
    #[arg(long)]
    pub(crate) all_free: bool,
    /// Fee in satoshi for each virtual byte; what Bitcoin Core estimates if it is not given
    #[arg(long, value_name = "SAT_PER_VB", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) fee_rate: Option<u64>,
    /// The request's id; a new one if it is not given
    #[arg(long, value_name = "ID", value_parser = request_id)]
    pub(crate) request_id: Option<String>,
    #[command(flatten)]
    pub(crate) confirmation: NamedConfirmation,
}

impl WithdrawArgs {
    /// Gives a request that has no id a new one, so that it can be told before it is sent. A look needs none.
    pub(super) fn name(&mut self) {
        if self.request_id.is_none() && !self.confirmation.dry_run {
            self.request_id = Some(fresh_request_id());
        }
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum WithdrawalCommand {
    /// List withdrawals, newest first, with what those wait for that have not ended
    #[command(
        after_help = "Examples:\n  hhctl treasury withdrawal list\n  hhctl treasury withdrawal list --limit 100 -o json"
    )]
    List {
        /// At most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Say that a withdrawal whose transaction nobody has is not to be waited for; two operators have to do the same
    #[command(
        after_help = "Examples:\n  hhctl treasury withdrawal close-failed 3 --reason \"the wallet was killed before it sent it\" --dry-run\n  \
                      hhctl treasury withdrawal close-failed 3 --reason \"the wallet was killed before it sent it\"\n\nOnly once 144 blocks have \
                      passed and neither wallet nor Bitcoin Core know a transaction of it. Look into the wallet first: should a block have it \
                      after all, the books say that so much has left unexplained. What the first operator asks for is done when a second one \
                      asks for the same within an hour."
    )]
    CloseFailed {
        /// Its number, as `hhctl treasury withdrawal list` shows it
        #[arg(value_name = "ID")]
        id: u64,
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
}
