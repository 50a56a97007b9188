//! What the node's owner has had paid, with the receipts: core is told that it was paid, and no more.

use super::{Book, msat};
use crate::database::DatabaseError;
use hh_mining::Msat;
use rusqlite::{Transaction, params};

/// Payments that are kept: the owner consents to each.
const KEPT: u32 = 1_000;

pub(super) const TABLES: &str = "
CREATE TABLE payments (
    number INTEGER PRIMARY KEY,
    payment_hash TEXT NOT NULL UNIQUE,
    amount_msat INTEGER NOT NULL,
    fee_msat INTEGER,
    preimage TEXT NOT NULL,
    paid_at_ms INTEGER NOT NULL
) STRICT;
";

/// A payment that is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payment {
    pub(crate) hash: String,
    pub(crate) amount: Msat,
    /// None where the wallet has forgotten it.
    pub(crate) fee: Option<Msat>,
    /// The receipt, in hex.
    pub(crate) preimage: String,
    pub(crate) paid_at_ms: i64,
}

impl Book {
    /// Writes a payment down.
    pub(crate) async fn paid(&self, payment: Payment) -> Result<(), DatabaseError> {
        let insert = "INSERT OR IGNORE INTO payments (payment_hash, amount_msat, fee_msat, preimage, paid_at_ms)
            VALUES (?, ?, ?, ?, ?)";
        let delete = "DELETE FROM payments WHERE number <= (SELECT max(number) FROM payments) - ?";
        let write = move |transaction: &Transaction<'_>| {
            transaction.execute(
                insert,
                params![
                    payment.hash,
                    msat(payment.amount),
                    payment.fee.map(msat),
                    payment.preimage,
                    payment.paid_at_ms,
                ],
            )?;
            transaction.execute(delete, [KEPT])?;
            Ok(())
        };
        self.0.call(write).await
    }

    /// Payments, newest first.
    pub(crate) async fn payments(&self, limit: u32) -> Result<Vec<Payment>, DatabaseError> {
        let query = "SELECT payment_hash, amount_msat, fee_msat, preimage, paid_at_ms FROM payments
            ORDER BY number DESC LIMIT ?";
        let read = move |transaction: &Transaction<'_>| {
            let mut statement = transaction.prepare(query)?;
            let rows = statement.query_map([limit], |row| {
                let fee = row.get::<_, Option<u64>>(2)?;
                Ok(Payment {
                    hash: row.get(0)?,
                    amount: Msat(row.get(1)?),
                    fee: fee.map(Msat),
                    preimage: row.get(3)?,
                    paid_at_ms: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        };
        self.0.call(read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receipt_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(&dir.path().join("wallet.db")).unwrap();
        let payment = |hash: &str, fee| Payment {
            hash: hash.to_owned(),
            amount: Msat(5_000),
            fee,
            preimage: "0a".to_owned(),
            paid_at_ms: 7,
        };
        let (first, second) = (payment("a", Some(Msat(1))), payment("b", None));
        for payment in [&first, &second, &first] {
            book.paid(payment.clone()).await.unwrap();
        }
        assert_eq!(book.payments(10).await.unwrap(), [second, first]);
    }
}
