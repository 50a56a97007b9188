//! `Entry` and `Posting`: what happened to money. Here is the only code that posts.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hh_mining::{BlockHash, Msat};

use super::session::{CallError, RowStatement, Session};
use super::value::{Row, Value, msat, values};
use super::{BookAccount, Books, BooksError, Page, PayoutId, names};

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A block was split: its coinbase is owed to payees, and is not mature.
    Split,
    /// A coinbase has matured.
    Maturity,
    /// A split or a maturity was taken back.
    Reversal,
    /// A payout was opened: it holds the amount.
    PayoutOpen,
    /// A payout was given up: the amount is the payee's again.
    PayoutCancelled,
    /// A payout has been paid.
    PayoutSettled,
    /// A payment settled after its money had been given back or paid otherwise: a loss.
    PayoutLate,
    /// A transaction's fee.
    OnchainFee,
    /// What channels cost.
    ChannelFee,
    /// Moving money between channels has cost something.
    Rebalance,
    /// Fees earned by routing for others.
    RoutingIncome,
    /// Something came or went that nobody has explained.
    Unexplained,
    /// The operator's money was booked as such.
    Capital,
    /// A reserve was distributed to nodes.
    Reserve,
    /// The operator has withdrawn money of his own.
    Withdrawal,
}

names!(EntryKind, "kind of entry", {
    Split = "split",
    Maturity = "maturity",
    Reversal = "reversal",
    PayoutOpen = "payout_open",
    PayoutCancelled = "payout_cancelled",
    PayoutSettled = "payout_settled",
    PayoutLate = "payout_late",
    OnchainFee = "onchain_fee",
    ChannelFee = "channel_fee",
    Rebalance = "rebalance",
    RoutingIncome = "routing_income",
    Unexplained = "unexplained",
    Capital = "capital",
    Reserve = "reserve",
    Withdrawal = "withdrawal",
});

/// One thing that happened to money; its postings sum to zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number; they have no gaps.
    pub id: u64,
    /// Why money moved.
    pub kind: EntryKind,
    /// When it was posted, milliseconds since 1970.
    pub at_ms: i64,
    /// The block that it is about.
    pub block: Option<BlockHash>,
    /// The payout that it is about.
    pub payout: Option<PayoutId>,
    /// The entry that it takes back.
    pub reverses: Option<u64>,
    /// What whoever caused it said.
    pub note: String,
    /// By account.
    pub postings: Vec<Posting>,
}

/// A change of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// The account.
    pub account: BookAccount,
    /// By how much its balance changed: never 0.
    pub amount_msat: i64,
    /// Its balance after that.
    pub after_msat: i64,
}

/// An entry as one line of the ledger: what it changed in each book, whatever the number of accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySummary {
    /// The entry, its postings left out.
    pub entry: Entry,
    /// By book, as `BookAccount` names them; the changes of an entry sum to zero.
    pub changes: Vec<BookChange>,
}

/// What an entry changed in the accounts of one book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookChange {
    /// `immature`, `balance`, `wallet`, ...
    pub book: String,
    /// How many accounts of it.
    pub accounts: u64,
    /// Which one, where it is one and has a name: a payee, a block, a payout's number, a kind of fee.
    pub name: Option<String>,
    /// By how much they changed together.
    pub amount_msat: i64,
}

/// An entry that is being made.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) kind: EntryKind,
    pub(super) at_ms: i64,
    pub(super) block: Option<BlockHash>,
    pub(super) payout: Option<PayoutId>,
    pub(super) reverses: Option<u64>,
    pub(super) key: Option<String>,
    pub(super) note: String,
    postings: BTreeMap<BookAccount, i128>,
}

impl Draft {
    pub(super) fn new(kind: EntryKind, at_ms: i64, note: impl Into<String>) -> Self {
        Self {
            kind,
            at_ms,
            block: None,
            payout: None,
            reverses: None,
            key: None,
            note: note.into(),
            postings: BTreeMap::new(),
        }
    }

    /// Adds to an asset, an expense or a loss; takes from a claim or an income.
    pub(super) fn debit(&mut self, account: BookAccount, amount: Msat) {
        *self.postings.entry(account).or_default() += i128::from(amount.0);
    }

    /// Takes from an asset, an expense or a loss; adds to a claim or an income.
    pub(super) fn credit(&mut self, account: BookAccount, amount: Msat) {
        *self.postings.entry(account).or_default() -= i128::from(amount.0);
    }

    /// The changes by account, without those that are none.
    pub(super) fn changes(&self) -> Result<Vec<(BookAccount, i64)>, BooksError> {
        let changes = self.postings.iter().filter(|(_, amount)| **amount != 0);
        changes
            .map(|(account, amount)| {
                let size = u64::try_from(amount.unsigned_abs()).unwrap_or(u64::MAX);
                let size = msat(Msat(size))?;
                let amount = if *amount < 0 { -size } else { size };
                Ok((account.clone(), amount))
            })
            .collect()
    }
}

/// Posts an entry; gives its number.
///
/// # Errors
/// It does not sum to zero, or would leave an account with a balance of the wrong sign.
pub(super) async fn post(session: &mut Session, draft: Draft) -> Result<u64, CallError> {
    let changes = draft.changes()?;
    let sum: i128 = changes.iter().map(|(_, amount)| i128::from(*amount)).sum();
    if sum != 0 {
        return Err(BooksError::Unbalanced { sum }.into());
    }
    let insert = "INSERT INTO entries (id, kind, at_ms, block, payout, reverses, key, note)
        VALUES ((SELECT coalesce(max(id), 0) + 1 FROM entries), $1, $2, $3, $4, $5, $6, $7) RETURNING id";
    let entry = values![
        draft.kind.name(),
        draft.at_ms,
        draft.block,
        draft.payout,
        draft.reverses,
        draft.key,
        draft.note,
    ];
    let id: u64 = match session.find(insert, &entry).await? {
        Some(row) => row.get(0)?,
        None => unreachable!("an insert returns its row"),
    };
    let accounts = changes.iter().map(|(account, _)| {
        let (kind, name) = account.key();
        values![kind, name].to_vec()
    });
    let accounts: Vec<_> = accounts.collect();
    session.query_rows(&ADD_ACCOUNTS, &accounts).await?;
    let changed = accounts.into_iter().zip(&changes);
    let changed = changed.map(|(mut row, (_, amount))| {
        row.push(Value::Int(*amount));
        row
    });
    let changed: Vec<_> = changed.collect();
    let postings = session.query_rows(&CHANGE_BALANCES, &changed).await?;
    let mut by_account = BTreeMap::new();
    for row in &postings {
        let (account, after): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (kind, name): (String, String) = (row.get(2)?, row.get(3)?);
        by_account.insert((kind, name), (account, after));
    }
    let rows = changed.iter().map(|change| {
        let [Value::Text(kind), Value::Text(name), amount] = change.as_slice() else {
            unreachable!("these were put together above");
        };
        let changed = by_account.get(&(kind.clone(), name.clone()));
        let (account, after) = *changed.ok_or(BooksError::Unbalanced { sum: 0 })?;
        Ok(vec![
            id.into(),
            account.into(),
            amount.clone(),
            after.into(),
        ])
    });
    let rows = rows.collect::<Result<Vec<_>, BooksError>>()?;
    session.query_rows(&ADD_POSTINGS, &rows).await?;
    Ok(id)
}

static ADD_ACCOUNTS: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "WITH new (kind, name) AS (VALUES ",
        "(CAST($ AS text), CAST($ AS text))",
        ") INSERT INTO accounts (kind, name, balance_msat)
            SELECT kind, name, 0 FROM new WHERE true ON CONFLICT (kind, name) DO NOTHING",
    )
});

static CHANGE_BALANCES: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "WITH change (kind, name, amount_msat) AS (VALUES ",
        "(CAST($ AS text), CAST($ AS text), CAST($ AS bigint))",
        ") UPDATE accounts SET balance_msat = balance_msat + change.amount_msat FROM change
            WHERE accounts.kind = change.kind AND accounts.name = change.name
            RETURNING accounts.id, accounts.balance_msat, accounts.kind, accounts.name",
    )
});

static ADD_POSTINGS: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "INSERT INTO postings (entry, account, amount_msat, after_msat) VALUES ",
        "($, $, $, $)",
        "",
    )
});

/// The postings of an entry, by account.
pub(super) async fn postings_of(
    session: &mut Session,
    entry: u64,
) -> Result<Vec<Posting>, CallError> {
    let query = "SELECT kind, name, amount_msat, after_msat FROM postings JOIN accounts ON accounts.id = account
        WHERE entry = $1";
    let rows = session.query(query, &values![entry]).await?;
    let postings = rows.iter().map(posting).collect::<Result<Vec<_>, _>>();
    let mut postings = postings?;
    postings.sort_unstable_by(|a, b| a.account.cmp(&b.account));
    Ok(postings)
}

fn posting(row: &Row) -> Result<Posting, BooksError> {
    let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(Posting {
        account: BookAccount::of_key(&kind, &name)?,
        amount_msat: row.get(2)?,
        after_msat: row.get(3)?,
    })
}

/// An account's balance: positive for assets, expenses and losses, negative for claims and income.
pub(super) async fn balance_msat(
    session: &mut Session,
    account: &BookAccount,
) -> Result<i64, CallError> {
    let (kind, name) = account.key();
    let query = "SELECT balance_msat FROM accounts WHERE kind = $1 AND name = $2";
    let row = session.find(query, &values![kind, name]).await?;
    Ok(row.map_or(Ok(0), |row| row.get(0))?)
}

/// What an account of claims owes.
pub(super) async fn owed(session: &mut Session, account: &BookAccount) -> Result<Msat, CallError> {
    let balance = balance_msat(session, account).await?;
    Ok(Msat(balance.min(0).unsigned_abs()))
}

/// The content of the entry with this key, if there is one.
pub(super) async fn with_key(
    session: &mut Session,
    key: &str,
) -> Result<Option<(EntryKind, Vec<(BookAccount, i64)>)>, CallError> {
    let query = "SELECT id, kind FROM entries WHERE key = $1";
    let Some(row) = session.find(query, &values![key]).await? else {
        return Ok(None);
    };
    let postings = postings_of(session, row.get(0)?).await?;
    let changes = postings
        .into_iter()
        .map(|posting| (posting.account, posting.amount_msat));
    Ok(Some((row.parse(1)?, changes.collect())))
}

/// Posts an entry with a key once; says whether it is new.
///
/// # Errors
/// [`BooksError::KeyTaken`] if one with that key has another content.
pub(super) async fn post_once(session: &mut Session, draft: Draft) -> Result<bool, CallError> {
    let key = draft.key.clone().unwrap_or_default();
    match with_key(session, &key).await? {
        Some(known) if known == (draft.kind, draft.changes()?) => Ok(false),
        Some(_) => Err(BooksError::KeyTaken { key }.into()),
        None => {
            post(session, draft).await?;
            Ok(true)
        }
    }
}

impl Books {
    /// All entries with their postings, newest first.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn entries(&self, page: Page) -> Result<Vec<Entry>, BooksError> {
        self.read("list entries", async move |session| {
            let mut entries = bare_entries(session, page).await?;
            for entry in &mut entries {
                entry.postings = postings_of(session, entry.id).await?;
            }
            Ok(entries)
        })
        .await
    }

    /// All entries with what they changed in each book, newest first. A split has as many postings as there are accounts.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn entry_summaries(&self, page: Page) -> Result<Vec<EntrySummary>, BooksError> {
        self.read("summarise entries", async move |session| {
            let mut summaries = Vec::new();
            for entry in bare_entries(session, page).await? {
                let changes = changes_of(session, entry.id).await?;
                summaries.push(EntrySummary { entry, changes });
            }
            Ok(summaries)
        })
        .await
    }
}

/// Without their postings.
async fn bare_entries(session: &mut Session, page: Page) -> Result<Vec<Entry>, CallError> {
    let query = "SELECT id, kind, at_ms, block, payout, reverses, note FROM entries
        WHERE id < $1 ORDER BY id DESC LIMIT $2";
    let rows = session
        .query(query, &values![page.bound(), page.limit()])
        .await?;
    let entry = |row: &Row| {
        Ok(Entry {
            id: row.get(0)?,
            kind: row.parse(1)?,
            at_ms: row.get(2)?,
            block: row.get(3)?,
            payout: row.get(4)?,
            reverses: row.get(5)?,
            note: row.get(6)?,
            postings: Vec::new(),
        })
    };
    rows.iter().map(entry).collect()
}

async fn changes_of(session: &mut Session, entry: u64) -> Result<Vec<BookChange>, CallError> {
    let query = "SELECT kind, count(*), CAST(sum(amount_msat) AS bigint), min(name)
        FROM postings JOIN accounts ON accounts.id = account WHERE entry = $1 GROUP BY kind ORDER BY kind";
    let rows = session.query(query, &values![entry]).await?;
    let change = |row: &Row| {
        let (accounts, name): (u64, String) = (row.get(1)?, row.get(3)?);
        Ok(BookChange {
            book: row.get(0)?,
            accounts,
            name: Some(name).filter(|name| accounts == 1 && !name.is_empty()),
            amount_msat: row.get(2)?,
        })
    };
    rows.iter().map(change).collect()
}
