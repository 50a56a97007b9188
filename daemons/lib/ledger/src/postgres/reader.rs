//! The queries on PostgreSQL, each one statement on a connection that only reads. A few connections are kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hh_mining::BlockHash;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::server::PostgresServer;
use super::session::Session;
use super::value::{Bytes, Natural, Numeric};
use super::{CallError, block, claim, cut, schema, shipment, within_limit, worker};
use crate::round::{RoundParts, blocks_from_ms};
use crate::sums::minute;
use crate::window::{Step, WindowSearch};
use crate::worker::by_worker;
use crate::{
    AccountSum, BlockRow, Epoch, FirstUse, Holder, LedgerError, LogRow, MinuteSum, Origin, Round,
    RoundAccount, ShareRow, Standing, WorkerSum, WorkerWindows,
};

/// Queries at one time; more wait. A server takes a hundred connections by default, of all its users.
const CONNECTIONS_MAX: usize = 4;

/// Reads with connections of its own; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    server: PostgresServer,
    idle: Arc<Mutex<Vec<Session>>>,
    permits: Arc<Semaphore>,
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Reader {
    pub(crate) fn new(server: PostgresServer) -> Self {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self {
            server,
            idle: Arc::default(),
            permits,
        }
    }

    pub(crate) async fn logs(&self) -> Result<Vec<LogRow>, LedgerError> {
        let query = "SELECT pool, epoch, last_seq, watermark_ms FROM logs ORDER BY id";
        self.rows("list the share logs", query, &[], |row| {
            let (Bytes(epoch), Natural(last_seq)) = (row.try_get(1)?, row.try_get(2)?);
            let (pool, watermark_ms) = (row.try_get(0)?, row.try_get(3)?);
            Ok(LogRow {
                pool,
                epoch,
                last_seq,
                watermark_ms,
            })
        })
        .await
    }

    pub(crate) async fn share_count(&self) -> Result<u64, LedgerError> {
        let query = "SELECT count(*) FROM shares";
        let counts = self.rows("count shares", query, &[], |row| {
            let Natural::<u64>(count) = row.try_get(0)?;
            Ok(count)
        });
        Ok(counts.await?.into_iter().sum())
    }

    pub(crate) async fn shares(
        &self,
        epoch: &Epoch,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<ShareRow>, LedgerError> {
        let query =
            "SELECT * FROM share_records WHERE epoch = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
        let Ok(from_seq) = i64::try_from(from_seq) else {
            return Ok(Vec::new());
        };
        self.rows(
            "list shares",
            query,
            &[&&epoch[..], &from_seq, &bounded(limit)],
            share,
        )
        .await
    }

    pub(crate) async fn shares_by_hash(
        &self,
        hash: &BlockHash,
    ) -> Result<Vec<ShareRow>, LedgerError> {
        let query = "SELECT * FROM share_records WHERE hash = $1";
        self.rows(
            "look a share up",
            query,
            &[&hash.as_byte_array().as_slice()],
            share,
        )
        .await
    }

    pub(crate) async fn minute_sums(
        &self,
        first: i64,
        last: i64,
    ) -> Result<Vec<MinuteSum>, LedgerError> {
        let query = "SELECT minute, epoch, account, worker, node, lane, shares, work, score, chain
            FROM minute_sums JOIN logs ON logs.id = log JOIN origins ON origins.id = origin
            WHERE minute BETWEEN $1 AND $2 ORDER BY minute, log, origin";
        self.rows("list minute sums", query, &[&first, &last], |row| {
            let (Bytes(epoch), Bytes(chain)) = (row.try_get(1)?, row.try_get(9)?);
            let Natural(shares) = row.try_get(6)?;
            let (Numeric(work), Numeric(score)) = (row.try_get(7)?, row.try_get(8)?);
            let (minute, origin) = (row.try_get(0)?, origin(row, 2)?);
            Ok(MinuteSum {
                minute,
                epoch,
                origin,
                shares,
                work,
                score,
                chain,
            })
        })
        .await
    }

    pub(crate) async fn account_sums(&self, limit: usize) -> Result<Vec<AccountSum>, LedgerError> {
        let query = "SELECT account, coalesce(sum(shares), 0)::bigint, coalesce(sum(work), 0), coalesce(sum(score), 0),
                max(last_share_at_ms)
            FROM origins LEFT JOIN totals ON origins.id = origin
            GROUP BY account ORDER BY 3 DESC, 1 LIMIT $1";
        self.rows("sum shares", query, &[&bounded(limit)], |row| {
            let Natural(shares) = row.try_get(1)?;
            let (Numeric(work), Numeric(score)) = (row.try_get(2)?, row.try_get(3)?);
            let (account, last_share_at_ms) = (row.try_get(0)?, row.try_get(4)?);
            Ok(AccountSum {
                account,
                shares,
                work,
                score,
                last_share_at_ms,
            })
        })
        .await
    }

    pub(crate) async fn worker_sums(
        &self,
        account: Option<&str>,
        windows: WorkerWindows,
    ) -> Result<Vec<WorkerSum>, LedgerError> {
        let parameters: Parameters<'_> = &[&account, &windows.day, &windows.hour];
        let origins = self.rows(
            "sum workers up",
            worker::ORIGINS,
            parameters,
            worker::origin,
        );
        by_worker(origins.await?)
    }

    pub(crate) async fn accounts(&self) -> Result<Vec<FirstUse>, LedgerError> {
        let query = "SELECT account, NULL, first_used_at_ms FROM accounts ORDER BY 3, 1";
        self.rows("list accounts", query, &[], first_use).await
    }

    pub(crate) async fn workers(&self) -> Result<Vec<FirstUse>, LedgerError> {
        let query = "SELECT account, worker, first_used_at_ms FROM workers ORDER BY 3, 1, 2";
        self.rows("list workers", query, &[], first_use).await
    }

    pub(crate) async fn binding(
        &self,
        epoch: &Epoch,
        prefix: &[u8; 8],
    ) -> Result<Option<Origin>, LedgerError> {
        let query = "SELECT account, worker, node, lane FROM bindings
            JOIN logs ON logs.id = log JOIN origins ON origins.id = origin
            WHERE epoch = $1 AND extranonce_prefix = $2";
        let parameters: Parameters<'_> = &[&&epoch[..], &&prefix[..]];
        let found = self.rows("look a prefix up", query, parameters, |row| origin(row, 0));
        Ok(found.await?.pop())
    }

    pub(crate) async fn blocks(&self, limit: usize) -> Result<Vec<BlockRow>, LedgerError> {
        let action = "list blocks";
        let rows = self.query(action, block::LAST, &[&bounded(limit)]).await?;
        block::from_rows(&rows).map_err(|error| error.at(action, &self.server))
    }

    pub(crate) async fn rounds(&self, limit: usize) -> Result<Vec<Round>, LedgerError> {
        let action = "list rounds";
        let offset = bounded(limit);
        let edge = |row: &Row| Ok(row.try_get(0)?);
        let edge: Option<i64> = self.rows(action, cut::EDGE, &[&offset], edge).await?.pop();
        let from = blocks_from_ms(edge);
        let blocks = self
            .rows(action, cut::BLOCKS, &[&from], cut::block_and_cut)
            .await?;
        let total = |row: &Row| Ok((shipment::sum(row, 0)?, row.try_get(3)?));
        let totals = self.rows(action, cut::TOTAL, &[], total).await?.pop();
        let (total, first_used_at_ms) = totals.unwrap_or_default();
        let parts = RoundParts {
            blocks,
            limit,
            from_the_first: edge.is_none(),
            total,
            first_used_at_ms,
        };
        parts.rounds()
    }

    pub(crate) async fn round_accounts(
        &self,
        (after, through): (Option<BlockHash>, Option<BlockHash>),
        limit: usize,
    ) -> Result<Option<Vec<RoundAccount>>, LedgerError> {
        let action = "sum a round up";
        let ends = [(after, i64::MIN), (through, i64::MAX)];
        let mut minutes = Vec::with_capacity(ends.len());
        for (block, without) in ends {
            let Some(hash) = block else {
                minutes.push(without);
                continue;
            };
            let hash = hash.as_byte_array().as_slice();
            let at = |row: &Row| Ok(row.try_get(0)?);
            let Some(at_ms) = self.rows(action, cut::CUT_AT, &[&hash], at).await?.pop() else {
                return Ok(None);
            };
            minutes.push(minute(at_ms));
        }
        let hash = |block: Option<BlockHash>| block.map(|hash| hash.to_byte_array().to_vec());
        let (after, through) = (hash(after), hash(through));
        let limit = bounded(limit);
        let parameters: Parameters<'_> = &[&minutes[0], &minutes[1], &after, &through, &limit];
        let accounts = self
            .rows(action, cut::ACCOUNTS, parameters, cut::account)
            .await;
        accounts.map(Some)
    }

    pub(crate) async fn window_start(
        &self,
        end: i64,
        score: u128,
    ) -> Result<Option<i64>, LedgerError> {
        let action = "find where a window begins";
        let first = "SELECT min(minute) FROM minute_sums";
        let first = self.rows(action, first, &[], |row| Ok(row.try_get(0)?));
        let Some(first) = first.await?.pop().flatten() else {
            return Ok(None);
        };
        let look = "SELECT minute, sum(score) FROM minute_sums WHERE minute BETWEEN $1 AND $2
            GROUP BY minute ORDER BY minute DESC";
        let mut search = WindowSearch::new(score, end, first);
        loop {
            let (from, to) = match search.step() {
                Step::BeginsIn(minute) => return Ok(Some(minute)),
                Step::TakesAll => return Ok(None),
                Step::Look(from, to) => (from, to),
            };
            let minute = |row: &Row| {
                let (minute, Numeric(score)) = (row.try_get(0)?, row.try_get(1)?);
                Ok((minute, score))
            };
            let seen = self.rows(action, look, &[&from, &to], minute).await?;
            search.saw(from, seen);
        }
    }

    pub(crate) async fn oldest_open_block(&self) -> Result<Option<i64>, LedgerError> {
        let query = "SELECT min(found_at_ms) FROM blocks WHERE state IN ('found', 'submitted')";
        let oldest = self.rows(
            "look for open blocks",
            query,
            &[],
            |row| Ok(row.try_get(0)?),
        );
        Ok(oldest.await?.pop().flatten())
    }

    pub(crate) async fn server_ids(&self) -> Result<Vec<(u16, Holder)>, LedgerError> {
        let query = "SELECT server_id, pool, epoch, since_ms FROM server_ids ORDER BY server_id";
        self.rows("list server ids", query, &[], |row| {
            let (Natural(server_id), Bytes(epoch)) = (row.try_get(0)?, row.try_get(2)?);
            let (pool, since_ms) = (row.try_get(1)?, row.try_get(3)?);
            Ok((
                server_id,
                Holder {
                    pool,
                    epoch,
                    since_ms,
                },
            ))
        })
        .await
    }

    pub(crate) async fn standing(&self, server_id: u16) -> Result<Option<Standing>, LedgerError> {
        let id = i64::from(server_id);
        let action = "look a server id up";
        let parameters: Parameters<'_> = &[&id];
        let found = self.rows(action, claim::STANDING, parameters, claim::standing);
        Ok(found.await?.pop())
    }

    async fn rows<T>(
        &self,
        action: &'static str,
        query: &'static str,
        parameters: Parameters<'_>,
        row: impl Fn(&Row) -> Result<T, CallError>,
    ) -> Result<Vec<T>, LedgerError> {
        let rows = self.query(action, query, parameters).await?;
        let rows: Result<_, CallError> = rows.iter().map(row).collect();
        rows.map_err(|error| error.at(action, &self.server))
    }

    async fn query(
        &self,
        action: &'static str,
        query: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, LedgerError> {
        let (permit, mut session) = self.take().await?;
        let call = async { Ok(session.query(query, parameters).await?) };
        let rows = within_limit(action, &self.server, call).await?;
        // One that failed, or that nobody waits for any more, is dropped and so closed.
        self.give_back(permit, session);
        Ok(rows)
    }

    /// A connection, and the right to use one.
    pub(super) async fn take(&self) -> Result<(OwnedSemaphorePermit, Session), LedgerError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        Ok((
            permit.or(Err(LedgerError::Closed))?,
            self.connected().await?,
        ))
    }

    /// Keeps a connection for the next one who needs it.
    pub(super) fn give_back(&self, permit: OwnedSemaphorePermit, session: Session) {
        self.idle().push(session);
        drop(permit);
    }

    pub(super) fn server(&self) -> &PostgresServer {
        &self.server
    }

    async fn connected(&self) -> Result<Session, LedgerError> {
        let alive = std::iter::from_fn(|| self.idle().pop())
            .find_map(|mut session| session.is_alive().then_some(session));
        if let Some(session) = alive {
            return Ok(session);
        }
        let mut session = Session::connect(&self.server, schema::NAME).await?;
        schema::check(&mut session, &self.server).await?;
        let only_read = async {
            Ok(session
                .batch("SET default_transaction_read_only = on")
                .await?)
        };
        within_limit("begin to read", &self.server, only_read).await?;
        Ok(session)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        // The list is whole after every statement.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit as it is sent.
fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A row of the view `share_records`.
fn share(row: &Row) -> Result<ShareRow, CallError> {
    let natural = |column: &str| row.try_get(column).map(|Natural::<u32>(value)| value);
    let Natural(seq) = row.try_get("seq")?;
    let (Bytes(hash), Bytes(extranonce_prefix)) =
        (row.try_get("hash")?, row.try_get("extranonce_prefix")?);
    let (Numeric(work), Numeric(score)) = (row.try_get("work")?, row.try_get("score")?);
    Ok(ShareRow {
        seq,
        accepted_at_ms: row.try_get("accepted_at_ms")?,
        origin: Arc::new(origin(row, 4)?),
        hash: BlockHash::from_byte_array(hash),
        extranonce_prefix,
        channel_id: natural("channel_id")?,
        job_id: natural("job_id")?,
        nbits: natural("nbits")?,
        ntime: natural("ntime")?,
        nonce: natural("nonce")?,
        version: natural("version")?,
        work,
        score,
        is_block: row.try_get("is_block")?,
    })
}

/// The four names from column `first` on.
pub(super) fn origin(row: &Row, first: usize) -> Result<Origin, CallError> {
    let name = |offset: usize| row.try_get::<_, String>(first + offset);
    let origin = Origin::new(name(0)?, name(1)?, name(2)?, name(3)?);
    Ok(origin.or(Err(LedgerError::OutOfRange { what: "a name" }))?)
}

fn first_use(row: &Row) -> Result<FirstUse, CallError> {
    let (account, worker) = (row.try_get(0)?, row.try_get(1)?);
    Ok(FirstUse {
        account,
        worker,
        first_used_at_ms: row.try_get(2)?,
    })
}
