//! `Book`: the invoices that were made for the node's dues, what core says of them, what the wallet was paid, and what it has paid, on the
//! disk.

mod payments;

use crate::database::{Database, DatabaseError};
use hh_ipc::agent::{NodePayout, payout_state};
use hh_mining::Msat;
pub(crate) use payments::Payment;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use std::path::Path;

/// Invoices and reports that are kept: years of one a day.
const KEPT: u32 = 1_000;

/// hh-treasury may find out so long after an invoice's end what became of its last try: for so many blocks money may be locked. Who says
/// still later that it waits is not believed.
const WAITING_MS_MAX: i64 = 7 * 86_400 * 1_000;

const TABLES: &str = "
CREATE TABLE invoices (
    number INTEGER PRIMARY KEY,
    -- SHA-256 of its text, in hex.
    id TEXT NOT NULL UNIQUE,
    bolt11 TEXT NOT NULL,
    -- The node's, in hex.
    signature TEXT NOT NULL,
    payment_hash TEXT NOT NULL,
    amount_msat INTEGER NOT NULL,
    made_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT;
-- What hh-treasury says of invoices, by way of core.
CREATE TABLE reports (
    invoice TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    amount_msat INTEGER NOT NULL,
    payment_hash TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    heard_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- What the wallet says itself.
CREATE TABLE received (
    payment_hash TEXT PRIMARY KEY,
    amount_msat INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

const COLUMNS: &str =
    "id, bolt11, signature, invoices.payment_hash, invoices.amount_msat, made_at_ms, expires_at_ms,
    state, at_ms, reason, heard_at_ms, received.amount_msat
    FROM invoices LEFT JOIN reports ON reports.invoice = invoices.id
    LEFT JOIN received ON received.payment_hash = invoices.payment_hash";

/// An invoice that is new.
#[derive(Clone, Debug)]
pub(crate) struct NewInvoice {
    pub(crate) id: String,
    pub(crate) bolt11: String,
    pub(crate) signature: String,
    pub(crate) payment_hash: String,
    pub(crate) amount: Msat,
    pub(crate) made_at_ms: i64,
    pub(crate) expires_at_ms: i64,
}

/// What core says of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// One of [`payout_state`].
    pub(crate) state: String,
    pub(crate) at_ms: i64,
    pub(crate) reason: String,
    /// When it was first said so.
    pub(crate) heard_at_ms: i64,
}

/// An invoice, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct InvoiceRow {
    pub(crate) new: NewInvoice,
    pub(crate) report: Option<Report>,
    /// What the wallet was paid for it.
    pub(crate) received: Option<Msat>,
}

impl InvoiceRow {
    /// Whether it may still be paid: then no other one is made.
    pub(crate) fn is_open(&self, now_ms: i64) -> bool {
        match &self.report {
            // Also where it was just paid: until hh-treasury has said so, what it says the node is owed may have that in it.
            None => self.new.expires_at_ms > now_ms,
            // hh-treasury gives one up that has ended, and says so.
            Some(report) => {
                let ends_ms = self.new.expires_at_ms.saturating_add(WAITING_MS_MAX);
                report.state == payout_state::WAITING && now_ms < ends_ms
            }
        }
    }

    /// When it was said to be paid, where no money has come.
    pub(crate) fn unpaid_ms(&self) -> Option<i64> {
        let settled = self.report.as_ref();
        let settled = settled.filter(|report| report.state == payout_state::SETTLED);
        let settled = settled.filter(|_| self.received.is_none());
        settled.map(|report| report.heard_at_ms)
    }
}

/// The file. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Book(Database);

impl Book {
    /// Opens the book at `path`, and makes one where there is none.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn open(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self(Database::open(path, &[TABLES, payments::TABLES])?))
    }

    /// Writes an invoice down. It may be handed in from then on.
    pub(crate) async fn made(&self, new: NewInvoice) -> Result<(), DatabaseError> {
        let insert = "INSERT INTO invoices (id, bolt11, signature, payment_hash, amount_msat, made_at_ms, expires_at_ms)
            VALUES (?, ?, ?, ?, ?, ?, ?)";
        let write = move |transaction: &Transaction<'_>| {
            transaction.execute(
                insert,
                params![
                    new.id,
                    new.bolt11,
                    new.signature,
                    new.payment_hash,
                    msat(new.amount),
                    new.made_at_ms,
                    new.expires_at_ms,
                ],
            )?;
            forget(transaction)
        };
        self.0.call(write).await
    }

    /// Keeps what core says of invoices of this node, whoever has made them.
    pub(crate) async fn reported(
        &self,
        payouts: Vec<NodePayout>,
        now_ms: i64,
    ) -> Result<(), DatabaseError> {
        let upsert = "INSERT INTO reports (invoice, state, amount_msat, payment_hash, at_ms, reason, heard_at_ms)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (invoice) DO UPDATE SET state = ?2, amount_msat = ?3, payment_hash = ?4, at_ms = ?5, reason = ?6,
                heard_at_ms = CASE WHEN state = ?2 THEN heard_at_ms ELSE ?7 END
            WHERE state <> 'settled'";
        let write = move |transaction: &Transaction<'_>| {
            for payout in payouts {
                transaction.execute(
                    upsert,
                    params![
                        payout.invoice_id,
                        payout.state,
                        msat(Msat(payout.amount_msat)),
                        payout.payment_hash,
                        payout.at_unix_ms,
                        payout.reason,
                        now_ms,
                    ],
                )?;
            }
            forget(transaction)
        };
        self.0.call(write).await
    }

    /// The wallet was paid for an invoice.
    pub(crate) async fn received(&self, hash: String, amount: Msat) -> Result<(), DatabaseError> {
        // The wallet may be paid by others for other things: that is in no book of dues.
        let insert = "INSERT OR IGNORE INTO received (payment_hash, amount_msat)
            SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM invoices WHERE payment_hash = ?1)";
        let write = move |transaction: &Transaction<'_>| {
            transaction.execute(insert, params![hash, msat(amount)])?;
            Ok(())
        };
        self.0.call(write).await
    }

    /// The newest invoice.
    pub(crate) async fn newest(&self) -> Result<Option<InvoiceRow>, DatabaseError> {
        Ok(self.list(1).await?.pop())
    }

    /// Invoices, newest first.
    pub(crate) async fn list(&self, limit: u32) -> Result<Vec<InvoiceRow>, DatabaseError> {
        let query = format!("SELECT {COLUMNS} ORDER BY number DESC LIMIT ?");
        let read = move |transaction: &Transaction<'_>| {
            let mut statement = transaction.prepare(&query)?;
            let rows = statement.query_map([limit], row)?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        };
        self.0.call(read).await
    }

    /// When an invoice was last refused or given up.
    pub(crate) async fn last_setback_ms(&self) -> Result<Option<i64>, DatabaseError> {
        let query = "SELECT max(heard_at_ms) FROM reports
            WHERE state IN (?, ?) AND invoice IN (SELECT id FROM invoices)";
        let read = move |transaction: &Transaction<'_>| {
            let found = transaction.query_row(
                query,
                params![payout_state::REFUSED, payout_state::CANCELLED],
                |row| row.get::<_, Option<i64>>(0),
            );
            Ok(found.optional()?.flatten())
        };
        self.0.call(read).await
    }
}

/// The oldest make room.
fn forget(transaction: &Transaction<'_>) -> Result<(), DatabaseError> {
    for delete in [
        "DELETE FROM invoices WHERE number <= (SELECT max(number) FROM invoices) - ?",
        "DELETE FROM reports WHERE invoice NOT IN (SELECT invoice FROM reports ORDER BY heard_at_ms DESC LIMIT ?)",
    ] {
        transaction.execute(delete, [KEPT])?;
    }
    let orphans =
        "DELETE FROM received WHERE payment_hash NOT IN (SELECT payment_hash FROM invoices)";
    transaction.execute(orphans, [])?;
    Ok(())
}

/// SQLite's integers have a sign; no amount of money needs it.
fn msat(amount: Msat) -> i64 {
    i64::try_from(amount.0).unwrap_or(i64::MAX)
}

fn row(row: &Row<'_>) -> rusqlite::Result<InvoiceRow> {
    let report = match row.get::<_, Option<String>>(7)? {
        None => None,
        Some(state) => Some(Report {
            state,
            at_ms: row.get(8)?,
            reason: row.get(9)?,
            heard_at_ms: row.get(10)?,
        }),
    };
    let received = row.get::<_, Option<u64>>(11)?;
    Ok(InvoiceRow {
        new: NewInvoice {
            id: row.get(0)?,
            bolt11: row.get(1)?,
            signature: row.get(2)?,
            payment_hash: row.get(3)?,
            amount: Msat(row.get(4)?),
            made_at_ms: row.get(5)?,
            expires_at_ms: row.get(6)?,
        },
        report,
        received: received.map(Msat),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(id: &str) -> NewInvoice {
        NewInvoice {
            id: id.to_owned(),
            bolt11: format!("lnbcrt{id}"),
            signature: "00".to_owned(),
            payment_hash: format!("hash-{id}"),
            amount: Msat(5_000),
            made_at_ms: 10,
            expires_at_ms: 1_000,
        }
    }

    fn said(id: &str, state: &str) -> Vec<NodePayout> {
        vec![NodePayout {
            invoice_id: id.to_owned(),
            state: state.to_owned(),
            amount_msat: 5_000,
            ..NodePayout::default()
        }]
    }

    #[tokio::test]
    async fn an_invoice_is_open_until_it_ends_or_core_says_what_became_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet.db");
        let book = Book::open(&path).unwrap();
        assert!(book.newest().await.unwrap().is_none());
        book.made(new("a")).await.unwrap();
        drop(book);
        let book = Book::open(&path).unwrap();
        let newest = async || book.newest().await.unwrap().unwrap();
        assert!(newest().await.is_open(999));
        assert!(!newest().await.is_open(1_000));
        book.reported(said("a", "waiting"), 20).await.unwrap();
        let ends_ms = 1_000 + WAITING_MS_MAX;
        assert!(newest().await.is_open(ends_ms - 1), "the treasury has it");
        assert!(!newest().await.is_open(ends_ms), "for ever it has not");
        book.reported(said("a", "settled"), 30).await.unwrap();
        assert!(!newest().await.is_open(999));
        assert_eq!(newest().await.unpaid_ms(), Some(30));
        // What is settled stays so.
        book.reported(said("a", "refused"), 40).await.unwrap();
        assert_eq!(book.last_setback_ms().await.unwrap(), None);
        book.received("hash-a".to_owned(), Msat(5_000))
            .await
            .unwrap();
        assert_eq!(newest().await.received, Some(Msat(5_000)));
        assert_eq!(newest().await.unpaid_ms(), None);
    }

    #[tokio::test]
    async fn one_that_was_just_paid_is_open_until_the_treasury_has_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(&dir.path().join("wallet.db")).unwrap();
        book.made(new("a")).await.unwrap();
        let paid = book.received("hash-a".to_owned(), Msat(5_000)).await;
        paid.unwrap();
        let newest = book.newest().await.unwrap().unwrap();
        assert!(newest.received.is_some() && newest.is_open(999));
    }

    #[tokio::test]
    async fn what_was_paid_is_kept_as_long_as_its_invoice_and_of_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(&dir.path().join("wallet.db")).unwrap();
        book.made(new("a")).await.unwrap();
        for hash in ["hash-a", "hash-of-a-stranger"] {
            let received = book.received(hash.to_owned(), Msat(5_000)).await;
            received.unwrap();
        }
        let kept = async || {
            let count = |transaction: &Transaction<'_>| {
                let query = "SELECT count(*) FROM received";
                Ok(transaction.query_row(query, [], |row| row.get::<_, u32>(0))?)
            };
            book.0.call(count).await.unwrap()
        };
        assert_eq!(kept().await, 1);
        book.made(new("b")).await.unwrap();
        // As if there had been all those between.
        let renumber = |transaction: &Transaction<'_>| {
            let update = "UPDATE invoices SET number = number + ? WHERE id = 'b'";
            Ok(transaction.execute(update, [KEPT])?)
        };
        book.0.call(renumber).await.unwrap();
        book.made(new("c")).await.unwrap();
        assert_eq!(kept().await, 0);
    }

    #[tokio::test]
    async fn a_refusal_that_is_told_again_and_again_is_as_old_as_its_first_word() {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(&dir.path().join("wallet.db")).unwrap();
        book.made(new("a")).await.unwrap();
        for now_ms in [20, 30, 40] {
            book.reported(said("a", "refused"), now_ms).await.unwrap();
        }
        // Of another's nothing is to be made better here.
        book.reported(said("b", "refused"), 50).await.unwrap();
        assert_eq!(book.last_setback_ms().await.unwrap(), Some(20));
    }
}
