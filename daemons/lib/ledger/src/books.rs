//! `Books`: the treasury's double-entry books. `treasury.db` on SQLite, the schema `treasury` on PostgreSQL; one writer,
//! hh-treasury.
//!
//! Owns who is owed what, what was paid, and every step of a payment. It never talks to a wallet or a chain, and has no clock:
//! what has happened there is told to it, with the time. Every method is one transaction, committed to the disk when it
//! returns. What it refuses is a [`BooksError`], and nothing of the call is in the books then.
//!
//! Each change of money is an entry whose postings sum to zero; none is ever edited or deleted. Amounts are msat, times
//! milliseconds since 1970. There is one text of every statement for both engines (`docs/adr/0016`).
#![deny(clippy::float_arithmetic)]

mod account;
mod adoption;
mod approval;
mod attempt;
mod balance;
mod block;
mod consent;
mod day;
mod destination;
mod draw;
mod edge;
mod entry;
mod error;
mod foreign;
mod forward;
mod freeze;
mod history;
mod hold;
mod invoice;
mod link;
mod opening;
mod outcome;
mod owner;
mod payout;
mod proof;
mod rebalance;
mod schema;
mod session;
mod split;
mod totals;
mod value;
mod verify;
mod wallet;
mod withdrawal;
mod witness;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::OnceCell;

pub use account::{BookAccount, Payee};
pub use adoption::AdoptedPayment;
pub use approval::Approval;
pub use attempt::{Attempt, AttemptState, NewAttempt, Preimage};
pub use balance::{PayeeBalance, StatementLine};
pub use block::{BookBlock, BookBlockState, NewBlock};
pub use consent::{Consent, TwoActors};
pub use day::{DAYS_MAX, DayYield};
pub use destination::{Destination, DestinationKind, DestinationOf, NewDestination};
pub use draw::NewDraw;
pub use edge::EdgePage;
pub use entry::{BookChange, Entry, EntryKind, EntrySummary, Posting};
pub use error::BooksError;
pub use foreign::ForeignPayment;
pub use forward::EarnedForward;
pub use freeze::Freeze;
pub use history::HistoryLine;
pub use hold::{Held, Hold};
pub use invoice::{NodeInvoice, NodeInvoiceRow};
pub use opening::NewPayout;
pub use outcome::Settlement;
pub use owner::Owner;
pub use payout::{PayTo, Payout, PayoutFilter, PayoutState, PayoutStory};
pub use proof::{AccountLeaf, SignedReport};
pub use rebalance::{NewRebalance, Opened, Rebalance, RebalanceState};
pub use split::{Reversed, Split, WindowBounds};
pub use totals::Totals;
pub use verify::Verification;
pub use wallet::WalletChange;
pub use withdrawal::{NewWithdrawal, OpenedWithdrawal, Withdrawal, WithdrawalState};

use crate::Location;
use crate::calls::Calls;
use session::{CallError, Session};
use witness::Sync;
use writer::{Reader, Writer};

/// Longest texts that are kept: reasons, evidence, proofs. An invoice of BOLT11 is shorter, and so is a BOLT12 offer.
const TEXT_BYTES_MAX: usize = 8_192;

/// Longest names of persons, keys of requests, rules.
const KEY_BYTES_MAX: usize = 255;

/// Most rows of one answer.
const PAGE_ROWS_MAX: u32 = 10_000;

/// The number of a payout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayoutId(pub u64);

impl fmt::Display for PayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part of a list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only what has a lower number; from the newest on if there is none.
    pub before: Option<u64>,
    /// At most so many; never more than 10,000.
    pub limit: u32,
}

impl Page {
    /// The newest.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self {
            before: None,
            limit,
        }
    }

    /// The number that all are below.
    fn bound(self) -> u64 {
        self.before.unwrap_or(u64::MAX)
    }

    fn limit(self) -> u32 {
        self.limit.min(PAGE_ROWS_MAX)
    }
}

/// Gives a closed set of values the names under which the databases keep them.
macro_rules! names {
    ($type:ident, $what:literal, { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// What the databases and people call it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::books::BooksError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.iter().find(|known| known.name() == name);
                known.copied().ok_or_else(|| $crate::books::BooksError::Unknown {
                    what: $what,
                    name: name.to_owned(),
                })
            }
        }
    };
}
use names;

/// Handle to the books; clones share the writer and the reader, which end after the last one.
#[derive(Debug, Clone)]
pub struct Books {
    writer: Calls<Writer>,
    reader: Calls<Reader>,
    /// Whether the writer has made the schema and seen to it that the database is the right one.
    is_ready: Arc<OnceCell<()>>,
}

impl Books {
    /// Starts the writer of the books at `location`. They are opened, made and migrated by the first call.
    ///
    /// `witness` is a small file that lies elsewhere than the database is backed up to: it has the database's random generation
    /// and the number of its last commit. Where a database that is connected to is another one, or has fewer commits than the
    /// witness has seen, it was restored, or a standby that lagged took over: payouts are frozen in the same moment. A missing
    /// witness beside a database that has paid freezes them as well.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn open(location: &Location, witness: &Path) -> Result<Self, BooksError> {
        let (writer, reader) = (Writer::new(location, witness), Reader::new(location));
        Ok(Self {
            writer: Calls::start(writer, async |writer: Writer| writer.close().await)?,
            reader: Calls::start(reader, async |reader: Reader| reader.close().await)?,
            is_ready: Arc::default(),
        })
    }

    /// Makes and migrates the schema, if that is due; else the first call does.
    ///
    /// # Errors
    /// The database can't be opened, or is of a newer program.
    pub async fn migrate(&self) -> Result<(), BooksError> {
        let connect = async |writer: &mut Writer| writer.connect().await;
        self.writer.call(connect).await
    }

    /// Moves SQLite's write-ahead log into the database, so that a stopped treasury leaves one file to copy. To be called
    /// before a stop, after the last write.
    ///
    /// # Errors
    /// The database is not writable.
    pub async fn checkpoint(&self) -> Result<(), BooksError> {
        let checkpoint = async |writer: &mut Writer| writer.checkpoint().await;
        self.writer.call(checkpoint).await
    }

    async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, BooksError> {
        self.is_ready.get_or_try_init(|| self.migrate()).await?;
        let call = async move |reader: &mut Reader| reader.transaction(action, work).await;
        self.reader.call(call).await
    }

    async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, BooksError> {
        self.write_and_sync(action, Sync::Later, work).await
    }

    /// As `write`; the witness, too, has the commit on the disk when it returns.
    async fn write_witnessed<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, BooksError> {
        self.write_and_sync(action, Sync::Now, work).await
    }

    async fn write_and_sync<T: Send + 'static>(
        &self,
        action: &'static str,
        sync: Sync,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, BooksError> {
        let call = async move |writer: &mut Writer| writer.transaction(action, sync, work).await;
        self.writer.call(call).await
    }
}
