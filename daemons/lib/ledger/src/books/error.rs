//! `BooksError`: why a call was refused.

use std::io;
use std::path::PathBuf;

use hh_mining::{BlockHash, Msat};

use super::{
    AttemptId, AttemptState, BookAccount, BookBlockState, Held, Payee, PayoutId, PayoutState,
    WithdrawalState,
};
use crate::LedgerError;

/// Why a call was refused. Nothing of the call is in the books then.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The witness beside the database.
    #[error("could not {action} the witness {}", path.display())]
    Witness {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A mistake of ours: an entry that does not sum to zero was not posted.
    #[error("an entry would sum to {sum} msat, not to zero: this is a defect of the program")]
    Unbalanced {
        /// What it sums to.
        sum: i128,
    },
    /// More than all the money there is.
    #[error("{amount} sat is more than all the money there is")]
    TooMuch {
        /// The amount.
        amount: Msat,
    },
    /// An amount of nothing.
    #[error("there is no amount: give more than 0 msat")]
    NoAmount,
    /// A name that this program doesn't know.
    #[error("{name:?} is no {what}")]
    Unknown {
        /// What it should be.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A text that is too long to be kept, or empty where it must not be.
    #[error("{what} has {bytes} bytes; between 1 and {max} are kept")]
    Text {
        /// Which one.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest.
        max: usize,
    },
    /// A text with a byte that PostgreSQL does not keep.
    #[error("{what} has a zero byte in it")]
    ZeroByte {
        /// Which one.
        what: &'static str,
    },
    /// The key was used for something else.
    #[error("the key {key:?} is taken by another request: use a new one for a new request")]
    KeyTaken {
        /// The key.
        key: String,
    },
    /// Two persons' word is needed, and has been used or has expired.
    #[error(
        "two persons have to agree about {subject}, again where it was done before or an hour has passed"
    )]
    NotAgreed {
        /// About what.
        subject: String,
    },
    /// An account has less.
    #[error("{account} has {has} sat, less than {wanted} sat")]
    TooSmall {
        /// The account.
        account: BookAccount,
        /// What it has.
        has: Msat,
        /// What was asked for.
        wanted: Msat,
    },
    /// Payouts are frozen.
    #[error("payouts are frozen by {actor}: {reason}; unfreeze them first")]
    Frozen {
        /// Why.
        reason: String,
        /// By whom.
        actor: String,
    },
    /// A payee or a payout is held.
    #[error("{what} is held: {reason}; release it first")]
    Held {
        /// What is held.
        what: Held,
        /// Why.
        reason: String,
    },
    /// No such block.
    #[error("the books have no block {hash}")]
    NoBlock {
        /// The block.
        hash: BlockHash,
    },
    /// The block is known with other facts.
    #[error("block {hash} is in the books with another {what}")]
    AnotherBlock {
        /// The block.
        hash: BlockHash,
        /// Which of the facts.
        what: &'static str,
    },
    /// The block's state does not allow it.
    #[error("block {hash} is {state}: {why}")]
    BlockState {
        /// The block.
        hash: BlockHash,
        /// Its state.
        state: BookBlockState,
        /// Why that is in the way.
        why: &'static str,
    },
    /// The parts are not the whole.
    #[error("the parts of block {hash} sum to {sum} sat, not to the {value} sat it pays")]
    Division {
        /// The block.
        hash: BlockHash,
        /// The sum of the parts.
        sum: Msat,
        /// What the block pays.
        value: Msat,
    },
    /// The block is split in another way.
    #[error("block {hash} has been split in another way: take that split back first")]
    AnotherSplit {
        /// The block.
        hash: BlockHash,
    },
    /// The block is not split.
    #[error("block {hash} has not been split")]
    NoSplit {
        /// The block.
        hash: BlockHash,
    },
    /// A reserve is distributed, not paid.
    #[error("{payee} is never paid out: distribute it to nodes")]
    NotPayable {
        /// The reserve.
        payee: Payee,
    },
    /// The payee can't be paid there.
    #[error("{payee} can't be paid there: {why}")]
    Destination {
        /// Whom.
        payee: Payee,
        /// Why not.
        why: &'static str,
    },
    /// A destination's number must be higher than the last one.
    #[error("the destination no. {seq} of {payee} is not above the last one, {last}")]
    DestinationSeq {
        /// Whose.
        payee: Payee,
        /// Its number.
        seq: u64,
        /// The last one.
        last: u64,
    },
    /// The payee has an open payout.
    #[error("{payee} has the open payout {payout}: one at a time")]
    OpenPayout {
        /// Whom.
        payee: Payee,
        /// The open one.
        payout: PayoutId,
    },
    /// No such payout.
    #[error("the books have no payout {payout}")]
    NoPayout {
        /// The payout.
        payout: PayoutId,
    },
    /// The payout's state does not allow it.
    #[error("payout {payout} is {state}: {why}")]
    PayoutState {
        /// The payout.
        payout: PayoutId,
        /// Its state.
        state: PayoutState,
        /// Why that is in the way.
        why: &'static str,
    },
    /// An approval of something else.
    #[error("payout {payout} is not over that amount and destination: look at it again")]
    AnotherPayout {
        /// The payout.
        payout: PayoutId,
    },
    /// Approvals are missing.
    #[error("payout {payout} has {found} of {needed} approvals")]
    NotApproved {
        /// The payout.
        payout: PayoutId,
        /// How many are valid.
        found: u32,
        /// How many are needed.
        needed: u32,
    },
    /// An attempt of the payout may still settle.
    #[error("attempt {attempt} of payout {payout} is {state} and may still settle")]
    LiveAttempt {
        /// The payout.
        payout: PayoutId,
        /// The live attempt.
        attempt: AttemptId,
        /// Its state.
        state: AttemptState,
    },
    /// No such attempt.
    #[error("the books have no attempt {attempt}")]
    NoAttempt {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The attempt's state does not allow it.
    #[error("attempt {attempt} is {state}: {why}")]
    AttemptState {
        /// The attempt.
        attempt: AttemptId,
        /// Its state.
        state: AttemptState,
        /// Why that is in the way.
        why: &'static str,
    },
    /// The payment hash was used.
    #[error("an invoice with this payment hash was used before: get a new one")]
    HashTaken,
    /// The payment is another payee's.
    #[error("payout {payout} pays this, and is {payee}'s")]
    AnotherPayee {
        /// The payout.
        payout: PayoutId,
        /// Whose it is.
        payee: Payee,
    },
    /// The invoice is over another amount.
    #[error("the invoice is over {invoice} sat, not {payout} sat")]
    AnotherAmount {
        /// What the invoice asks for.
        invoice: Msat,
        /// What is owed.
        payout: Msat,
    },
    /// The invoice has expired.
    #[error("the invoice has expired: get a new one")]
    Expired,
    /// The day's limit is reached.
    #[error(
        "{sent} sat were sent in 24 hours, and {wanted} sat more would pass the limit of {limit} sat"
    )]
    DayLimit {
        /// Sent, or on the way.
        sent: Msat,
        /// This one and its fee limit.
        wanted: Msat,
        /// The limit.
        limit: Msat,
    },
    /// The preimage is not the one.
    #[error("the preimage is not that of attempt {attempt}")]
    Preimage {
        /// The attempt.
        attempt: AttemptId,
    },
    /// No such rebalance.
    #[error("the books have no rebalance {id}")]
    NoRebalance {
        /// Its number.
        id: u64,
    },
    /// The preimage is not the one.
    #[error("the preimage is not that of rebalance {id}")]
    RebalancePreimage {
        /// Its number.
        id: u64,
    },
    /// Too many are on their way.
    #[error("{max} rebalances are on their way: wait until one has ended")]
    TooManyRebalances {
        /// The most at once.
        max: u64,
    },
    /// No such withdrawal.
    #[error("the books have no withdrawal {id}")]
    NoWithdrawal {
        /// Its number.
        id: u64,
    },
    /// One at a time.
    #[error("withdrawal {id} has not ended: one at a time")]
    OpenWithdrawal {
        /// The open one.
        id: u64,
    },
    /// The withdrawal's state does not allow it.
    #[error("withdrawal {id} is {state}")]
    WithdrawalState {
        /// Its number.
        id: u64,
        /// Its state.
        state: WithdrawalState,
    },
    /// Others' money is not the operator's to draw.
    #[error("{own} sat are the operator's own by the books, less than {wanted} sat with the fee")]
    NotTheOperators {
        /// What is.
        own: Msat,
        /// What was asked for, with the most that its transaction may cost.
        wanted: Msat,
    },
    /// An HTLC may still be open.
    #[error(
        "attempt {attempt} may settle until block {until_height}, and the chain is at {height}"
    )]
    TooEarly {
        /// The attempt.
        attempt: AttemptId,
        /// The dispatch height and the limit of the timelock.
        until_height: u64,
        /// The chain's height.
        height: u32,
    },
    /// The account can't be claimed.
    #[error("account {account:?} can't be claimed: {why}")]
    Claim {
        /// The account.
        account: String,
        /// Why not.
        why: &'static str,
    },
}

/// The same text, if it has at least one byte, no more than `max`, and none that is zero.
pub(super) fn bounded(what: &'static str, text: String, max: usize) -> Result<String, BooksError> {
    let bytes = text.len();
    if !(1..=max).contains(&bytes) {
        return Err(BooksError::Text { what, bytes, max });
    }
    if text.contains('\0') {
        return Err(BooksError::ZeroByte { what });
    }
    Ok(text)
}
