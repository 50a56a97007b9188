//! The one writer of a pool on PostgreSQL. Owns its connection, connects when it is needed, and gives the connection up
//! after an error, which also takes back what was not committed.

use super::origins::OriginIds;
use super::server::PostgresServer;
use super::session::Session;
use super::shipment::seq;
use super::value::Natural;
use super::{CallError, block, claim, cut, schema, shipment, within_limit};
use crate::{
    BlockRow, Claim, Epoch, LedgerError, PRUNED_ROWS_MAX, RejectedCount, RetireWhere, Retirement,
    Shipment,
};

#[derive(Debug)]
pub(crate) struct Writer {
    server: PostgresServer,
    pool: String,
    session: Option<Session>,
    origins: OriginIds,
}

impl Writer {
    pub(crate) fn new(server: PostgresServer, pool: &str) -> Self {
        Self {
            server,
            pool: pool.to_owned(),
            session: None,
            origins: OriginIds::default(),
        }
    }

    pub(crate) async fn ship(&mut self, shipment: &Shipment) -> Result<(), LedgerError> {
        self.transaction("ship records", async |session, pool, origins| {
            let (log, last_seq) = open_log(session, pool, &shipment.epoch).await?;
            if shipment.last_seq <= last_seq {
                return Ok(());
            }
            if shipment.first_seq > last_seq + 1 {
                let (expected, found) = (last_seq + 1, shipment.first_seq);
                return Err(LedgerError::Gap { expected, found }.into());
            }
            shipment::put(session, origins, (log, last_seq), shipment).await
        })
        .await
    }

    pub(crate) async fn last_seq(&mut self, epoch: &Epoch) -> Result<Option<u64>, LedgerError> {
        self.transaction("look a share log up", async |session, pool, _| {
            let query = "SELECT last_seq FROM logs WHERE pool = $1 AND epoch = $2";
            let rows = session.query(query, &[&pool, &&epoch[..]]).await?;
            let last_seq = |Natural(last_seq)| last_seq;
            Ok(rows
                .first()
                .map(|row| row.try_get(0))
                .transpose()?
                .map(last_seq))
        })
        .await
    }

    pub(crate) async fn skip_to(
        &mut self,
        epoch: &Epoch,
        next_seq: u64,
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        self.transaction("note a gap", async |session, pool, _| {
            let (log, last_seq) = open_log(session, pool, epoch).await?;
            if next_seq > last_seq + 1 {
                let (first, last) = (seq(last_seq + 1)?, seq(next_seq - 1)?);
                let insert = "INSERT INTO gaps (log, first_seq, last_seq, noticed_at_ms) VALUES ($1, $2, $3, $4)";
                session.execute(insert, &[&log, &first, &last, &now_ms]).await?;
                let update = "UPDATE logs SET last_seq = $2 WHERE id = $1";
                session.execute(update, &[&log, &last]).await?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn count_rejected(
        &mut self,
        counts: &[RejectedCount],
    ) -> Result<(), LedgerError> {
        self.transaction("count rejected shares", async |session, _, origins| {
            shipment::count_rejected(session, origins, counts).await
        })
        .await
    }

    pub(crate) async fn put_block(&mut self, block: &BlockRow) -> Result<(), LedgerError> {
        self.transaction("write a block", async |session, _, _| {
            block::put(session, block).await
        })
        .await
    }

    pub(crate) async fn cut_next_block(&mut self) -> Result<bool, LedgerError> {
        self.transaction("sum a round up", async |session, _, _| {
            cut::make_next(session).await
        })
        .await
    }

    pub(crate) async fn claim_server_id(
        &mut self,
        server_id: u16,
        epoch: &Epoch,
        now_ms: i64,
    ) -> Result<Claim, LedgerError> {
        self.transaction("claim a server id", async |session, pool, _| {
            claim::make(session, server_id, (pool, epoch), now_ms).await
        })
        .await
    }

    pub(crate) async fn retire_server_id(
        &mut self,
        server_id: u16,
        epoch: &Epoch,
        retire: RetireWhere,
    ) -> Result<Retirement, LedgerError> {
        self.transaction("retire a server id", async |session, _, _| {
            claim::retire(session, server_id, epoch, retire).await
        })
        .await
    }

    pub(crate) async fn close_log(
        &mut self,
        epoch: &Epoch,
        last_seq: u64,
    ) -> Result<bool, LedgerError> {
        self.transaction("close a share log", async |session, pool, _| {
            let (log, shipped_seq) = open_log(session, pool, epoch).await?;
            let close = "UPDATE logs SET is_closed = true WHERE id = $1";
            Ok(shipped_seq == last_seq && session.execute(close, &[&log]).await? > 0)
        })
        .await
    }

    /// Deletes the oldest shares accepted before `before_ms`, at most [`PRUNED_ROWS_MAX`] of each log; says how many. Those
    /// stay from which a cut is still to be made.
    pub(crate) async fn prune(&mut self, before_ms: i64) -> Result<u64, LedgerError> {
        self.transaction("prune shares", async |session, _, _| {
            let before_ms = before_ms.min(cut::needed_from_ms(session).await?);
            // A log's rows are in the order of time: what is old enough is at its beginning.
            let delete = "DELETE FROM shares USING (
                    SELECT id, (
                        SELECT max(seq) FROM (
                            SELECT seq, accepted_at_ms FROM shares WHERE log = logs.id ORDER BY seq LIMIT $2
                        ) AS oldest WHERE accepted_at_ms < $1
                    ) AS last FROM logs
                ) AS pruned WHERE log = id AND seq <= last";
            Ok(session.execute(delete, &[&before_ms, &i64::from(PRUNED_ROWS_MAX)]).await?)
        })
        .await
    }

    /// The last handle is gone.
    pub(crate) async fn close(self) {
        let Some(session) = self.session else {
            return;
        };
        if let Err(error) = session.close().await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "connection to the ledger closed");
        }
    }

    /// Runs `work` in a transaction.
    async fn transaction<T>(
        &mut self,
        action: &'static str,
        work: impl AsyncFnOnce(&mut Session, &str, &mut OriginIds) -> Result<T, CallError>,
    ) -> Result<T, LedgerError> {
        let mut session = self.connected().await?;
        let call = async {
            session.batch("BEGIN").await?;
            let done = work(&mut session, &self.pool, &mut self.origins).await?;
            session.batch("COMMIT").await?;
            Ok(done)
        };
        let done = within_limit(action, &self.server, call).await;
        match done {
            Ok(_) => self.session = Some(session),
            // The transaction may have added some of them.
            Err(_) => self.origins = OriginIds::default(),
        }
        done
    }

    /// The connection, a new one if there is none that works.
    async fn connected(&mut self) -> Result<Session, LedgerError> {
        if let Some(mut session) = self.session.take()
            && session.is_alive()
        {
            return Ok(session);
        }
        let mut session = Session::connect(&self.server, schema::NAME).await?;
        schema::migrate(&mut session, &self.server).await?;
        Ok(session)
    }
}

/// The id of a log, which is added if it is new, and its last sequence number in the ledger. Nobody else writes records
/// of this log, or retires it, until the transaction ends.
async fn open_log(
    session: &mut Session,
    pool: &str,
    epoch: &Epoch,
) -> Result<(i32, u64), CallError> {
    let find =
        "SELECT id, last_seq, retired_at_ms FROM logs WHERE pool = $1 AND epoch = $2 FOR UPDATE";
    let mut rows = session.query(find, &[&pool, &&epoch[..]]).await?;
    if rows.is_empty() {
        let add = "INSERT INTO logs (pool, epoch, last_seq) VALUES ($1, $2, 0)
            ON CONFLICT (pool, epoch) DO UPDATE SET last_seq = logs.last_seq RETURNING id, last_seq, retired_at_ms";
        rows = session.query(add, &[&pool, &&epoch[..]]).await?;
    }
    let row = rows.first().expect("an upsert returns its row");
    if row.try_get::<_, Option<i64>>(2)?.is_some() {
        return Err(LedgerError::Retired.into());
    }
    let Natural(last_seq) = row.try_get(1)?;
    Ok((row.try_get(0)?, last_seq))
}
