//! What forwarding earns, into the books, each once.
//!
//! lnd and Core Lightning keep a history of forwards in which each has a name: it is read from where the books have it. The embedded
//! node keeps none and names them by nothing: it tells each, and forgets it when we say that it is booked. Where it or we die
//! between the two, it tells the same again as the first thing of its next life; so the books know which was booked last and is
//! not known to be forgotten.

use super::WalletLink;
use crate::Stores;
use crate::clock::unix_ms;
use hh_daemon::Chain;
use hh_ledger::books::{Books, BooksError, EarnedForward};
use hh_lightning::{ChannelId, Forward, ForwardPage, PageCursor, WalletError};
use hh_mining::Msat;
use std::fmt;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a history is read: nobody waits for it.
const INTERVAL: Duration = Duration::from_secs(30);

/// A forward that the embedded node tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub from: ChannelId,
    pub to: ChannelId,
    pub fee: Msat,
    pub amount: Option<Msat>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, fee, .. } = self;
        let amount = self.amount.unwrap_or_default();
        write!(f, "{from}:{to}:{}:{}", fee.0, amount.0)
    }
}

/// How far the embedded node's are booked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    /// How many.
    booked: u64,
    /// The last of them, unless the node has forgotten it.
    told: Option<String>,
}

impl Count {
    fn parse(place: &str) -> Option<Self> {
        let (booked, told) = place.split_once(' ')?;
        Some(Self {
            booked: booked.parse().ok()?,
            told: Some(told.to_owned()).filter(|told| !told.is_empty()),
        })
    }

    fn place(&self) -> String {
        format!(
            "{} {}",
            self.booked,
            self.told.as_deref().unwrap_or_default()
        )
    }
}

/// The books of a node that tells its forwards.
#[derive(Clone, Debug)]
pub(super) struct ToldForwards {
    books: Books,
    node: String,
}

impl ToldForwards {
    pub(super) fn new(books: Books, node: String) -> Self {
        Self { books, node }
    }

    async fn count(&self) -> Result<Count, BooksError> {
        let place = self.books.forwards_place(self.node.clone()).await?;
        let count = place.as_deref().and_then(Count::parse);
        Ok(count.unwrap_or_default())
    }

    /// Books one. `may_be_old`: it may be booked already, as the last one.
    pub(super) async fn book(&self, told: Told, may_be_old: bool) -> Result<(), BooksError> {
        let count = self.count().await?;
        let name = told.to_string();
        if may_be_old && count.told.as_ref() == Some(&name) {
            tracing::info!(name, "a forward that is booked was told again");
            return Ok(());
        }
        let count = Count {
            booked: count.booked.saturating_add(1),
            told: Some(name),
        };
        let Told { from, to, fee, .. } = told;
        let earned = EarnedForward {
            key: count.booked.to_string(),
            fee,
            evidence: format!("forwarded from channel {from} to {to}"),
        };
        let (node, place) = (self.node.clone(), count.place());
        self.books
            .book_forwards(node, vec![earned], place, unix_ms())
            .await?;
        Ok(())
    }

    /// The node has forgotten the last one: what it tells from now on is new.
    pub(super) async fn forgotten(&self) -> Result<(), BooksError> {
        let mut count = self.count().await?;
        count.told = None;
        let (node, place) = (self.node.clone(), count.place());
        self.books
            .book_forwards(node, Vec::new(), place, unix_ms())
            .await?;
        Ok(())
    }
}

/// Why a history is not read.
#[derive(Debug, thiserror::Error)]
enum HistoryError {
    #[error("the wallet does not tell what it has forwarded")]
    Wallet(#[from] WalletError),
    #[error("what was forwarded is not booked")]
    Books(#[from] BooksError),
}

/// Reads the history of a wallet that has one, until `stop` is cancelled.
pub(crate) async fn read(stores: Stores, stop: CancellationToken) {
    let Stores { books, wallet, .. } = stores;
    if wallet.wallet().capabilities().keeps_forwards.is_err() {
        return;
    }
    let mut last = None;
    loop {
        let reading = read_on(&wallet, &books, &mut last);
        match stop.run_until_cancelled(reading).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                let error = Chain(&error).to_string();
                tracing::debug!(error, "forwards are read later");
            }
        }
        let pause = tokio::time::sleep(INTERVAL);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// To the end of what there is. `last`: the page at the end, which is the same where nothing was forwarded meanwhile.
async fn read_on(
    wallet: &WalletLink,
    books: &Books,
    last: &mut Option<ForwardPage>,
) -> Result<(), HistoryError> {
    let wallet = wallet.wallet();
    let node = wallet.info().await?.node_id.to_string();
    let place = books.forwards_place(node.clone()).await?;
    let mut history = place
        .as_deref()
        .and_then(History::parse)
        .unwrap_or_else(History::from_now);
    loop {
        let page = wallet.forwards(history.cursor.as_ref()).await?;
        if last.as_ref() == Some(&page) {
            return Ok(());
        }
        let is_end = history.book(books, &node, &page).await?;
        if is_end {
            *last = Some(page);
            return Ok(());
        }
    }
}

/// A history, and how far it is booked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct History {
    /// What was forwarded before the books knew of the wallet is among what it had then.
    since_s: u64,
    cursor: Option<PageCursor>,
}

impl History {
    fn from_now() -> Self {
        Self {
            since_s: u64::try_from(unix_ms() / 1_000).unwrap_or_default(),
            cursor: None,
        }
    }

    fn parse(place: &str) -> Option<Self> {
        let (since_s, cursor) = place.split_once(' ')?;
        Some(Self {
            since_s: since_s.parse().ok()?,
            cursor: Some(PageCursor(cursor.to_owned())),
        })
    }

    /// Books a page and goes on to the next; says whether there is none.
    async fn book(
        &mut self,
        books: &Books,
        node: &str,
        page: &ForwardPage,
    ) -> Result<bool, BooksError> {
        let forwards = page.forwards.iter();
        let ours = forwards.filter(|forward| forward.settled_at_s >= self.since_s);
        let earned: Vec<EarnedForward> = ours.map(earned).collect();
        let place = format!("{} {}", self.since_s, page.next.0);
        let new = books
            .book_forwards(node.to_owned(), earned, place, unix_ms())
            .await?;
        if new > 0 {
            tracing::info!(new, "routing fees earned");
        }
        let is_end = self.cursor.as_ref() == Some(&page.next);
        self.cursor = Some(page.next.clone());
        Ok(is_end)
    }
}

fn earned(forward: &Forward) -> EarnedForward {
    let (from, to) = (forward.from_short_id, forward.to_short_id);
    EarnedForward {
        key: forward.key.clone(),
        fee: forward.fee,
        evidence: format!(
            "forwarded {} sat from channel {from} to {to}",
            forward.amount
        ),
    }
}

#[cfg(test)]
mod tests;
