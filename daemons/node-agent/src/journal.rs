//! The journal of orders: what was taken is on the disk before anything is done, and what came of it before it is told.
//!
//! So an order that comes again is answered and not carried out again, and after a crash it is known which orders were not begun, and
//! of which nobody knows what came of them.

mod waiting;

pub(crate) use waiting::Waiting;

use crate::database::{Database, DatabaseError};
use hh_trust::command::{CommandId, Digest};
use hh_trust::command_gate::{AcceptedOrder, OrderState};
use hh_trust::consent::ConsentRequest;
use rusqlite::{OptionalExtension, Transaction, params};
use std::path::Path;

/// Orders that are remembered. One that is older is refused by its number.
const KEPT: u32 = 10_000;

const TABLES: &str = "
-- The state of the gate, in one row.
CREATE TABLE gate (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    epoch INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    newest_iat INTEGER NOT NULL
) STRICT;
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    taken_at_ms INTEGER NOT NULL,
    -- When it was begun; before that nothing was done.
    started_at_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_number ON orders (number);
-- As they were signed; each names the one before.
CREATE TABLE results (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    jws TEXT NOT NULL
) STRICT;
";

/// An order that was taken, and of which there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interrupted {
    pub(crate) id: CommandId,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    /// None if it was never begun.
    pub(crate) started_at_ms: Option<i64>,
}

/// What is known of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It was never taken.
    No,
    Taken,
    /// What came of it, signed.
    Result(String),
}

/// The journal. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    database: Database,
    /// Results that are kept, each with its order.
    kept: u32,
}

impl Journal {
    /// Opens the journal at `path`, and makes one where there is none.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn open(path: &Path) -> Result<Self, DatabaseError> {
        Self::with_limit(path, KEPT)
    }

    fn with_limit(path: &Path, kept: u32) -> Result<Self, DatabaseError> {
        let database = Database::open(path, &[TABLES, waiting::TABLES])?;
        Ok(Self { database, kept })
    }

    /// What was done before, in this epoch. In another one the numbers begin anew.
    pub(crate) async fn state(&self, epoch: u64) -> Result<OrderState, DatabaseError> {
        let query = "SELECT last_seq, newest_iat FROM gate WHERE epoch = ?";
        let read = move |transaction: &Transaction<'_>| {
            let found = transaction.query_row(query, [epoch], |row| {
                Ok(OrderState {
                    epoch,
                    last_seq: row.get(0)?,
                    newest_iat: row.get(1)?,
                })
            });
            Ok(found.optional()?.unwrap_or(OrderState {
                epoch,
                last_seq: 0,
                newest_iat: 0,
            }))
        };
        self.database.call(read).await
    }

    /// What is known of an order.
    pub(crate) async fn known(&self, id: CommandId) -> Result<Known, DatabaseError> {
        let read = move |transaction: &Transaction<'_>| {
            let id = id.to_string();
            let query = "SELECT jws FROM results WHERE id = ?";
            let result = transaction.query_row(query, [&id], |row| row.get(0));
            if let Some(jws) = result.optional()? {
                return Ok(Known::Result(jws));
            }
            let query = "SELECT count(*) FROM orders WHERE id = ?";
            let taken: u32 = transaction.query_row(query, [&id], |row| row.get(0))?;
            Ok(if taken > 0 { Known::Taken } else { Known::No })
        };
        self.database.call(read).await
    }

    /// Writes an order down that is to be carried out, at once or when the owner has consented to it.
    pub(crate) async fn take(
        &self,
        order: &AcceptedOrder,
        asked: Option<&ConsentRequest>,
        now_ms: i64,
    ) -> Result<(), DatabaseError> {
        let (id, state) = (order.id.to_string(), order.state);
        let asked = asked.map(|request| waiting::Row::new(request, order.deadline_seconds));
        let write = move |transaction: &Transaction<'_>| {
            let number = "SELECT coalesce(max(number), 0) + 1 FROM orders";
            let number: i64 = transaction.query_row(number, [], |row| row.get(0))?;
            transaction.execute(
                "INSERT INTO orders (id, number, epoch, seq, taken_at_ms) VALUES (?, ?, ?, ?, ?)",
                params![id, number, state.epoch, state.last_seq, now_ms],
            )?;
            transaction.execute(
                "INSERT INTO gate (only, epoch, last_seq, newest_iat) VALUES (1, ?1, ?2, ?3)
                 ON CONFLICT (only) DO UPDATE SET epoch = ?1, last_seq = ?2, newest_iat = ?3",
                params![state.epoch, state.last_seq, state.newest_iat],
            )?;
            if let Some(asked) = &asked {
                asked.insert(transaction)?;
            }
            Ok(())
        };
        self.database.call(write).await
    }

    /// It is begun now.
    pub(crate) async fn start(&self, id: CommandId, now_ms: i64) -> Result<(), DatabaseError> {
        let update = "UPDATE orders SET started_at_ms = ? WHERE id = ?";
        let write = move |transaction: &Transaction<'_>| {
            transaction.execute(update, params![now_ms, id.to_string()])?;
            Ok(())
        };
        self.database.call(write).await
    }

    /// Writes down what came of an order: `sign` is given the hash of the result before. Gives what was signed.
    pub(crate) async fn conclude(
        &self,
        id: CommandId,
        sign: impl FnOnce(Digest) -> String + Send + 'static,
    ) -> Result<String, DatabaseError> {
        let kept = self.kept;
        let write = move |transaction: &Transaction<'_>| {
            let last = "SELECT number, jws FROM results ORDER BY number DESC LIMIT 1";
            let last = transaction.query_row(last, [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            });
            let (number, previous) = match last.optional()? {
                Some((number, jws)) => (number + 1, Digest::of(jws.as_bytes())),
                None => (1, Digest([0; 32])),
            };
            let jws = sign(previous);
            let insert = "INSERT INTO results (number, id, jws) VALUES (?, ?, ?)";
            transaction.execute(insert, params![number, id.to_string(), jws])?;
            transaction.execute("DELETE FROM waiting WHERE id = ?", [id.to_string()])?;
            // With its order: that would be one without a result.
            for delete in [
                "DELETE FROM orders WHERE id IN (SELECT id FROM results WHERE number <= ?1 - ?2)",
                "DELETE FROM results WHERE number <= ?1 - ?2",
            ] {
                transaction.execute(delete, params![number, kept])?;
            }
            Ok(jws)
        };
        self.database.call(write).await
    }

    /// The orders that were taken and have no result, in their order; those that wait for the owner are none of them.
    pub(crate) async fn interrupted(&self) -> Result<Vec<Interrupted>, DatabaseError> {
        let query = "SELECT id, epoch, seq, started_at_ms FROM orders
            WHERE id NOT IN (SELECT id FROM results)
                AND (started_at_ms IS NOT NULL OR id NOT IN (SELECT id FROM waiting))
            ORDER BY number";
        let read = move |transaction: &Transaction<'_>| {
            let mut statement = transaction.prepare(query)?;
            let rows = statement.query_map([], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                ))
            })?;
            let interrupted = rows.map(|row| {
                let (id, epoch, seq, started_at_ms) = row?;
                let id = id
                    .parse()
                    .map_err(|_no| DatabaseError::Damaged("an order without an id"))?;
                Ok(Interrupted {
                    id,
                    epoch,
                    seq,
                    started_at_ms,
                })
            });
            interrupted.collect()
        };
        self.database.call(read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_trust::command::Command;

    fn order(seq: u64) -> AcceptedOrder {
        AcceptedOrder {
            id: format!("{seq:032x}").parse().unwrap(),
            seq,
            operator: "alice".to_owned(),
            command: Command::Ping {},
            deadline_seconds: 10,
            audit: None,
            missing: 0,
            state: OrderState {
                epoch: 7,
                last_seq: seq,
                newest_iat: 1_000,
            },
        }
    }

    #[tokio::test]
    async fn what_was_begun_and_has_no_result_is_told_apart_from_what_was_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let journal = Journal::open(&path).unwrap();
        for seq in 1..=3 {
            journal.take(&order(seq), None, 10).await.unwrap();
        }
        journal.start(order(1).id, 11).await.unwrap();
        journal.start(order(2).id, 12).await.unwrap();
        let result = journal.conclude(order(1).id, |_| "signed".to_owned()).await;
        assert_eq!(result.unwrap(), "signed");
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        let interrupted = journal.interrupted().await.unwrap();
        let seen: Vec<_> = interrupted
            .iter()
            .map(|one| (one.seq, one.started_at_ms))
            .collect();
        assert_eq!(seen, [(2, Some(12)), (3, None)]);
        assert_eq!(journal.state(7).await.unwrap().last_seq, 3);
        assert_eq!(journal.state(8).await.unwrap().last_seq, 0);
        let known = |seq| journal.known(order(seq).id);
        assert_eq!(known(1).await.unwrap(), Known::Result("signed".to_owned()));
        assert_eq!(known(2).await.unwrap(), Known::Taken);
        assert_eq!(known(4).await.unwrap(), Known::No);
    }

    #[tokio::test]
    async fn an_order_is_forgotten_with_its_result_and_not_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::with_limit(&dir.path().join("journal.db"), 3).unwrap();
        for seq in 1..=20 {
            // Every other one is refused: it has a result and was never taken.
            if seq % 2 == 0 {
                journal.take(&order(seq), None, 10).await.unwrap();
            }
            let result = journal.conclude(order(seq).id, |_| "signed".to_owned());
            result.await.unwrap();
        }
        assert_eq!(journal.interrupted().await.unwrap(), []);
        let known = |seq| journal.known(order(seq).id);
        assert_eq!(known(17).await.unwrap(), Known::No);
        assert_eq!(known(18).await.unwrap(), Known::Result("signed".to_owned()));
    }

    #[tokio::test]
    async fn each_result_names_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("journal.db")).unwrap();
        let conclude = |seq| journal.conclude(order(seq).id, |previous| format!("{previous}"));
        let first = conclude(1).await.unwrap();
        assert_eq!(first, Digest([0; 32]).to_string());
        let second = conclude(2).await.unwrap();
        assert_eq!(second, Digest::of(first.as_bytes()).to_string());
    }
}
