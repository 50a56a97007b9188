//! The orders that wait for the node's owner, and which configuration a service was given last.

use super::Journal;
use crate::database::DatabaseError;
use hh_trust::command::{CommandId, ServiceName};
use hh_trust::consent::ConsentRequest;
use rusqlite::{OptionalExtension, Transaction, params};

pub(super) const TABLES: &str = "
CREATE TABLE waiting (
    id TEXT PRIMARY KEY,
    -- What the owner is asked, as JSON.
    request TEXT NOT NULL,
    deadline_seconds INTEGER NOT NULL,
    -- The owner's, signed; it is there before the order is begun.
    consent TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE configs (
    service TEXT PRIMARY KEY,
    generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// An order that waits for the owner, or has his consent and is not begun.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) request: ConsentRequest,
    pub(crate) deadline_seconds: u32,
    pub(crate) consent: Option<String>,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

/// What is written of one.
pub(super) struct Row {
    id: String,
    request: String,
    deadline_seconds: u32,
}

impl Row {
    pub(super) fn new(request: &ConsentRequest, deadline_seconds: u32) -> Self {
        Self {
            id: request.id.to_string(),
            request: serde_json::to_string(request).expect("texts and numbers have a JSON"),
            deadline_seconds,
        }
    }

    pub(super) fn insert(&self, transaction: &Transaction<'_>) -> Result<(), DatabaseError> {
        transaction.execute(
            "INSERT INTO waiting (id, request, deadline_seconds) VALUES (?, ?, ?)",
            params![self.id, self.request, self.deadline_seconds],
        )?;
        Ok(())
    }
}

impl Journal {
    /// The orders that wait for the owner, in the order in which they came.
    pub(crate) async fn waiting(&self) -> Result<Vec<Waiting>, DatabaseError> {
        let query = "SELECT w.request, w.deadline_seconds, w.consent, o.epoch, o.seq
            FROM waiting w JOIN orders o USING (id) WHERE o.started_at_ms IS NULL ORDER BY o.number";
        let read = move |transaction: &Transaction<'_>| {
            let mut statement = transaction.prepare(query)?;
            let rows = statement.query_map([], |row| {
                let request: String = row.get(0)?;
                Ok((request, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })?;
            let waiting = rows.map(|row| {
                let (request, deadline_seconds, consent, epoch, seq) = row?;
                let request = serde_json::from_str(&request)
                    .map_err(|_no| DatabaseError::Damaged("a question to the owner"))?;
                Ok(Waiting {
                    request,
                    deadline_seconds,
                    consent,
                    epoch,
                    seq,
                })
            });
            waiting.collect()
        };
        self.database.call(read).await
    }

    /// One of them.
    pub(crate) async fn waiting_order(
        &self,
        id: CommandId,
    ) -> Result<Option<Waiting>, DatabaseError> {
        let mut waiting = self.waiting().await?.into_iter();
        Ok(waiting.find(|one| one.request.id == id))
    }

    /// The owner has consented.
    pub(crate) async fn consented(
        &self,
        id: CommandId,
        consent: String,
    ) -> Result<(), DatabaseError> {
        let write = move |transaction: &Transaction<'_>| {
            let update = "UPDATE waiting SET consent = ? WHERE id = ?";
            transaction.execute(update, params![consent, id.to_string()])?;
            Ok(())
        };
        self.database.call(write).await
    }

    /// The number of the configuration that a service was given last; 0 if it was never given one.
    pub(crate) async fn generation(&self, service: ServiceName) -> Result<u64, DatabaseError> {
        let read = move |transaction: &Transaction<'_>| {
            let query = "SELECT generation FROM configs WHERE service = ?";
            let found = transaction.query_row(query, [service.to_string()], |row| row.get(0));
            Ok(found.optional()?.unwrap_or_default())
        };
        self.database.call(read).await
    }

    /// The numbers of all of them.
    pub(crate) async fn generations(&self) -> Result<Vec<(String, u64)>, DatabaseError> {
        let read = |transaction: &Transaction<'_>| {
            let mut statement = transaction.prepare("SELECT service, generation FROM configs")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        self.database.call(read).await
    }

    /// A service runs with this configuration now.
    pub(crate) async fn configured(
        &self,
        service: ServiceName,
        generation: u64,
    ) -> Result<(), DatabaseError> {
        let write = move |transaction: &Transaction<'_>| {
            let insert = "INSERT INTO configs (service, generation) VALUES (?1, ?2)
                ON CONFLICT (service) DO UPDATE SET generation = ?2";
            transaction.execute(insert, params![service.to_string(), generation])?;
            Ok(())
        };
        self.database.call(write).await
    }

    /// As if an order had come then.
    #[cfg(test)]
    pub(crate) async fn age(&self, id: CommandId, since: i64) -> Result<(), DatabaseError> {
        let write = move |transaction: &Transaction<'_>| {
            let update =
                "UPDATE waiting SET request = json_set(request, '$.since', ?) WHERE id = ?";
            transaction.execute(update, params![since, id.to_string()])?;
            Ok(())
        };
        self.database.call(write).await
    }

    /// As if so many orders had come since that this one is not remembered.
    #[cfg(test)]
    pub(crate) async fn forget(&self, id: CommandId) -> Result<(), DatabaseError> {
        let write = move |transaction: &Transaction<'_>| {
            transaction.execute("DELETE FROM orders WHERE id = ?", [id.to_string()])?;
            transaction.execute("DELETE FROM results WHERE id = ?", [id.to_string()])?;
            Ok(())
        };
        self.database.call(write).await
    }
}
