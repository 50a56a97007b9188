//! `hhctl treasury`.

use super::account::name;
use super::amount::msat;
use super::payout::{fresh_request_id, request_id};
use super::withdrawal::{WithdrawArgs, WithdrawalCommand};
use super::{Confirmation, NamedConfirmation};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum TreasuryCommand {
    /// Whether payouts go, what waits, what is owed, and what the treasury rests on
    #[command(
        after_help = "Examples:\n  hhctl treasury status\n  hhctl treasury status --watch=5s"
    )]
    Status,
    /// The sums of the books, and what the wallet has
    #[command(
        after_help = "Examples:\n  hhctl treasury balance\n  hhctl treasury balance -o json\n\nIn JSON amounts are in millisatoshi, as the \
                      names of the fields say."
    )]
    Balance,
    /// What may be paid by itself, how much of it is left today, and what needs two operators
    #[command(
        after_help = "Examples:\n  hhctl treasury limits\n  hhctl treasury limits -o json\n\nThe day is any 24 hours: what a payout took of its \
                      limit is free again a day after it was opened. The limits are in hh-treasury's configuration, [payouts]: there is no command that sets them, so that nobody raises a limit and \
                      pays above it at one sitting. Change the file, have a second person review it, and restart hh-treasury."
    )]
    Limits,
    /// What the wallet has on the chain: its outputs where it lists them, immature coinbases, and what may be withdrawn
    #[command(
        after_help = "Examples:\n  hhctl treasury utxo\n  hhctl treasury utxo -o json\n\nlnd and Core Lightning list their outputs. The embedded \
                      node tells what they sum up to; coinbases that are not mature are those that hh-treasury follows itself."
    )]
    Utxo,
    /// Send money of the operator's own to an address on the chain; above the limit two operators have to do the same
    #[command(
        after_help = "Examples:\n  hhctl treasury withdraw bc1q... 0.5btc --dry-run\n  hhctl treasury withdraw bc1q... 0.5btc\n  hhctl treasury \
                      withdraw bc1q... --all-free --fee-rate 4\n\nOnly what is owed to nobody, what the wallet has on the chain, and not what stays \
                      there for channels: --dry-run shows the figures. Nothing leaves while payouts are frozen, and one at a time. Above \
                      payouts.approval_above_sat it is sent when a second operator asks for the same amount, address and --request-id within an \
                      hour. The id of the request is printed before it is sent: where no answer comes, ask again with it, and nothing leaves \
                      twice. After a crash it is looked for on the chain, and never sent again by itself."
    )]
    Withdraw(WithdrawArgs),
    /// What was withdrawn
    #[command(subcommand, alias = "withdrawals")]
    Withdrawal(WithdrawalCommand),
    /// A fresh on-chain address of the wallet, to bring it money
    #[command(
        after_help = "Example:\n  hhctl treasury address\n\nWhat arrives is in suspense until `hhctl treasury deposit` books it."
    )]
    Address,
    /// Stop new payouts at once; it asks nothing and works twice
    #[command(
        after_help = "Examples:\n  hhctl treasury freeze\n  hhctl treasury freeze --reason \"wallet looks wrong\"\n\nPayments that are on \
                      their way end as they end. `hhctl treasury unfreeze` lets payouts go on."
    )]
    Freeze {
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT", default_value = "by an operator's word")]
        reason: String,
    },
    /// Let payouts go on; two operators have to do the same
    #[command(
        after_help = "Examples:\n  hhctl treasury unfreeze --reason \"channel is back\" --dry-run\n  hhctl treasury unfreeze --reason \
                      \"channel is back\"\n\nIt shows what would be paid at once. What the first operator asks for is done when a second \
                      one asks for the same within an hour. It is refused while the books or the wallet's history don't agree: see `hhctl \
                      treasury verify` and `reconcile`."
    )]
    Unfreeze {
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
    /// Add the books up and compare them with the wallet; payouts are frozen where they don't agree
    #[command(
        after_help = "Example:\n  hhctl treasury verify\n\nExit status: 3 if they don't agree."
    )]
    Verify,
    /// What the books are made of, entry by entry, newest first
    #[command(
        after_help = "Examples:\n  hhctl treasury ledger\n  hhctl treasury ledger --before 812 --limit 100 -o json\n\nAssets and expenses grow by \
                      positive amounts, what is owed or earned by negative ones; the amounts of an entry sum to zero. What moved on one \
                      account is shown by `hhctl account statement`."
    )]
    Ledger {
        /// Entries before this one
        #[arg(long, value_name = "ENTRY")]
        before: Option<u64>,
        /// At most this many entries
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Match the wallet's outgoing payments to payouts
    #[command(
        after_help = "Example:\n  hhctl treasury reconcile\n\nAfter a restore of the ledger payouts are frozen until every payment of the \
                      wallet is matched: `hhctl treasury adopt` says whose one was, `adopt-foreign` that it was nobody's.\n\nExit status: 3 if one is not."
    )]
    Reconcile,
    /// Say whose a payment of the wallet was that the books don't agree to; two operators have to do the same
    #[command(
        after_help = "Example:\n  hhctl treasury adopt 3b6a27bc... --payee miner:alice --evidence \"her wallet shows it\" --dry-run\n\nThe hash is \
                      that of `hhctl treasury reconcile`. It settles the payout that it paid, or comes off the payee's balance. What the \
                      first operator asks for is done when a second one asks for the same within an hour."
    )]
    Adopt {
        /// The payment's hash
        #[arg(value_name = "HASH", value_parser = hash)]
        payment_hash: String,
        /// Whom it paid, such as miner:alice or node:berlin-1
        #[arg(long, value_parser = name)]
        payee: String,
        /// How one knows
        #[arg(long, value_name = "TEXT")]
        evidence: String,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
    /// Say that payments of the wallet were to no payee; two operators have to do the same
    #[command(
        after_help = "Example:\n  hhctl treasury adopt-foreign 3b6a27bc... 9f86d081... --evidence \"paid by hand, before the treasury\"\n\nFor \
                      what a wallet paid before it was the treasury's, to itself, or by hand. The books keep the hashes; no money moves in \
                      them. What the first operator asks for is done when a second one asks for the same within an hour."
    )]
    AdoptForeign {
        /// Hashes of payments, as `hhctl treasury reconcile` shows them
        #[arg(value_name = "HASH", required = true, value_parser = hash)]
        payment_hashes: Vec<String>,
        /// How one knows
        #[arg(long, value_name = "TEXT")]
        evidence: String,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
    /// Book capital that the operator brought, out of what arrived unexplained
    #[command(
        after_help = "Examples:\n  hhctl treasury deposit 0.05btc --note \"for channels\" --dry-run\n  hhctl treasury deposit 5000ksat \
                      --note \"for channels\"\n\nSend it to `hhctl treasury address` first: it is in suspense until then. The id of the \
                      request is printed before it is sent: where no answer comes, ask again with --request-id, and nothing is booked twice."
    )]
    Deposit {
        /// How much, with its unit: 5000ksat, 0.05btc
        #[arg(value_name = "AMOUNT", value_parser = msat)]
        amount_msat: u64,
        /// What for
        #[arg(long, value_name = "TEXT")]
        note: String,
        /// The request's id; a new one if it is not given
        #[arg(long, value_name = "ID", value_parser = request_id)]
        request_id: Option<String>,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Give a part of the reserve to nodes; two operators have to do the same
    #[command(
        after_help = "Examples:\n  hhctl treasury distribute berlin-1=300ksat oslo=120ksat --reason \"October\" --dry-run\n  hhctl treasury \
                      distribute berlin-1=300ksat oslo=120ksat --reason \"October\"\n\nThe reserve is the node network's part for work that \
                      came through no node. What the first operator asks for is done when a second one asks for the same."
    )]
    Distribute {
        /// Nodes with their amounts
        #[arg(value_name = "NODE=AMOUNT", required = true, value_parser = part)]
        parts: Vec<(String, u64)>,
        /// Why, for those who read the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        confirmation: NamedConfirmation,
    },
}

impl TreasuryCommand {
    /// Gives a deposit or a withdrawal that has no id a new one, so that it can be told before it is sent. A look needs none.
    pub(crate) fn name(&mut self) {
        if let Self::Withdraw(args) = self {
            args.name();
        }
        if let Self::Deposit {
            request_id: id @ None,
            confirmation,
            ..
        } = self
            && !confirmation.dry_run
        {
            *id = Some(fresh_request_id());
        }
    }

    /// Whether it is to be planned and confirmed, or done at once.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Self::Status
            | Self::Balance
            | Self::Ledger { .. }
            | Self::Limits
            | Self::Utxo
            | Self::Withdrawal(WithdrawalCommand::List { .. }) => false,
            Self::Address
            | Self::Freeze { .. }
            | Self::Unfreeze { .. }
            | Self::Verify
            | Self::Reconcile
            | Self::Adopt { .. }
            | Self::AdoptForeign { .. }
            | Self::Deposit { .. }
            | Self::Distribute { .. }
            | Self::Withdraw(_)
            | Self::Withdrawal(_) => true,
        }
    }
}

pub(super) fn hash(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("write a payment hash as 64 hex digits".to_owned())
    }
}

/// `berlin-1=300ksat`.
fn part(text: &str) -> Result<(String, u64), String> {
    match text.split_once('=') {
        Some((node, amount)) if !node.is_empty() => Ok((node.to_owned(), msat(amount)?)),
        _ => Err("write a node and its amount, such as berlin-1=300ksat".to_owned()),
    }
}
