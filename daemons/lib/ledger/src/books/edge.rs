//! The edge of a block's window: the shares of the minute in which it is full, one by one. The pool prunes their rows; here they stay
//! for as long as the report that was made from them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hh_mining::{BlockHash, EdgeShare, EntryOrigin};

use super::session::{CallError, RowStatement, Session};
use super::value::{Row, Value, values};
use super::{Books, BooksError, PAGE_ROWS_MAX};
use crate::LedgerError;

/// Most shares of an edge that are kept, of some 100 bytes (on PostgreSQL 200) each: 17,000 a second for its whole minute, eight times
/// what a pool is built for. A larger edge is split and reported like any other, and can be made again while the pool has its rows.
const EDGE_SHARES_MAX: usize = 1 << 20;

/// Shares that are made rows of at once.
const SHARES_AT_ONCE: usize = 10_000;

/// Some of the shares of an edge, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgePage {
    /// The shares.
    pub shares: Vec<EdgeShare<'static>>,
    /// The place of the next one, counted from the newest of all; none after the last.
    pub next: Option<u64>,
}

/// The log and the origin of a share: many have the same.
type Source<'a> = (&'a str, [u8; 16], &'a EntryOrigin<'a>);

/// Writes the shares of a block's edge in the place of those that were there.
pub(super) async fn put(
    session: &mut Session,
    hash: BlockHash,
    shares: &[EdgeShare<'static>],
) -> Result<(), CallError> {
    delete(session, hash).await?;
    if shares.len() > EDGE_SHARES_MAX {
        let shares = shares.len();
        tracing::warn!(%hash, shares, max = EDGE_SHARES_MAX, "edge of a window too large to be kept");
        return Ok(());
    }
    let mut origins: BTreeMap<Source<'_>, u64> =
        shares.iter().map(|share| (source(share), 0)).collect();
    let mut rows = Vec::with_capacity(origins.len());
    for ((key, number), next) in origins.iter_mut().zip(0..) {
        *number = next;
        rows.push(origin_row(hash, *key, next));
    }
    session.query_rows(&ADD_ORIGINS, &rows).await?;
    for (chunk, first) in shares
        .chunks(SHARES_AT_ONCE)
        .zip((0_u64..).step_by(SHARES_AT_ONCE))
    {
        let rows = chunk.iter().zip(first..).map(|(share, place)| {
            let seq = i64::try_from(share.seq).map_err(|_error| {
                let what = "the place of a share in its log";
                BooksError::from(LedgerError::OutOfRange { what })
            })?;
            let (origin, score, counted) = (origins[&source(share)], share.score, share.counted);
            Ok(values![hash, place, origin, share.at_ms, seq, score, counted].to_vec())
        });
        let rows = rows.collect::<Result<Vec<_>, BooksError>>()?;
        session.query_rows(&ADD_SHARES, &rows).await?;
    }
    Ok(())
}

/// Takes away what is kept of a block whose split no longer stands.
pub(super) async fn delete(session: &mut Session, hash: BlockHash) -> Result<(), CallError> {
    for delete in [
        "DELETE FROM edge_shares WHERE block = $1",
        "DELETE FROM edge_origins WHERE block = $1",
    ] {
        session.execute(delete, &values![hash]).await?;
    }
    Ok(())
}

fn source<'a>(share: &'a EdgeShare<'_>) -> Source<'a> {
    (&share.pool, share.epoch, &share.origin)
}

fn origin_row(hash: BlockHash, (pool, epoch, origin): Source<'_>, number: u64) -> Vec<Value> {
    let [account, worker] = [&*origin.account, &*origin.worker];
    let [node, lane] = [&*origin.node, &*origin.lane];
    values![hash, number, pool, epoch, account, worker, node, lane].to_vec()
}

static ADD_ORIGINS: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "INSERT INTO edge_origins (block, number, pool, epoch, account, worker, node, lane) VALUES ",
        "($, $, $, $, $, $, $, $)",
        "",
    )
});

static ADD_SHARES: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "INSERT INTO edge_shares (block, place, origin, at_ms, seq, score, counted) VALUES ",
        "($, $, $, $, $, $, $)",
        "",
    )
});

fn share(row: &Row) -> Result<EdgeShare<'static>, BooksError> {
    let text = |column| row.get::<String>(column).map(Into::into);
    Ok(EdgeShare {
        at_ms: row.get(1)?,
        seq: row.get(2)?,
        score: row.get(3)?,
        counted: row.get(4)?,
        pool: text(5)?,
        epoch: row.get(6)?,
        origin: EntryOrigin {
            account: text(7)?,
            worker: text(8)?,
            node: text(9)?,
            lane: text(10)?,
        },
    })
}

impl Books {
    /// The shares of a block's edge from the place `from` on, newest first: all, or those of an account; at most `limit`, never more
    /// than 10,000. None if the books have no edge of it.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn edge_page(
        &self,
        hash: BlockHash,
        account: Option<String>,
        from: u64,
        limit: u32,
    ) -> Result<Option<EdgePage>, BooksError> {
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        self.read("list the shares of an edge", async move |session| {
            let kept = "SELECT 1 FROM edge_shares WHERE block = $1 AND place = 0";
            if session.find(kept, &values![hash]).await?.is_none() {
                return Ok(None);
            }
            let query = "SELECT place, at_ms, seq, score, counted, pool, epoch, account, worker, node, lane
                FROM edge_shares JOIN edge_origins ON edge_origins.block = edge_shares.block AND number = origin
                WHERE edge_shares.block = $1 AND place >= $2 AND (CAST($3 AS text) IS NULL OR account = $3)
                ORDER BY place LIMIT $4";
            // One more, to know whether there is one.
            let values = values![hash, from, account, u64::from(limit) + 1];
            let rows = session.query(query, &values).await?;
            let (page, rest) = rows.split_at(rows.len().min(limit as usize));
            let shares = page.iter().map(share).collect::<Result<_, _>>()?;
            let next = rest.first().map(|row| row.get(0)).transpose()?;
            Ok(Some(EdgePage { shares, next }))
        })
        .await
    }
}
