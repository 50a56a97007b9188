//! How a shipment gets into the tables of PostgreSQL: shares by COPY, everything else in one statement a table.

use std::pin::Pin;

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use super::CallError;
use super::origins::OriginIds;
use super::session::Session;
use super::value::{Bytes, Natural, Numeric, bigint};
use crate::sums::{Minute, Sum, Sums, Total, minute};
use crate::{BindingRow, LedgerError, RejectedCount, ShareRow, Shipment};

/// Puts the records after `last_seq` of log `log` into the tables.
pub(super) async fn put(
    session: &mut Session,
    origins: &mut OriginIds,
    (log, last_seq): (i32, u64),
    shipment: &Shipment,
) -> Result<(), CallError> {
    let new = |seq: u64| seq > last_seq;
    let bindings: Vec<_> = shipment
        .bindings
        .iter()
        .filter(|row| new(row.seq))
        .collect();
    let shares: Vec<_> = shipment.shares.iter().filter(|row| new(row.seq)).collect();
    let of_bindings = bindings.iter().map(|row| (&*row.origin, row.bound_at_ms));
    let of_shares = shares.iter().map(|row| (&*row.origin, row.accepted_at_ms));
    origins.learn(session, of_bindings.chain(of_shares)).await?;

    put_bindings(session, origins, log, &bindings).await?;
    let shares: Vec<_> = shares
        .into_iter()
        .map(|row| (origins.id(&row.origin), row))
        .collect();
    if !shares.is_empty() {
        put_shares(session, log, &shares).await?;
        let mut sums = Sums::touched_by(&shares);
        read_sums(session, log, &mut sums).await?;
        sums.add(&shipment.epoch, &shares)?;
        write_sums(session, log, &sums).await?;
    }
    // greatest() passes over NULLs.
    let update = "UPDATE logs SET last_seq = $2, watermark_ms = greatest(watermark_ms, $3),
            heard_at_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint, is_closed = false
        WHERE id = $1";
    let last_seq = seq(shipment.last_seq)?;
    session
        .execute(update, &[&log, &last_seq, &shipment.watermark_ms])
        .await?;
    Ok(())
}

/// A sequence number as it is stored.
pub(super) fn seq(seq: u64) -> Result<i64, LedgerError> {
    bigint(seq, "a sequence number")
}

async fn put_bindings(
    session: &mut Session,
    origins: &OriginIds,
    log: i32,
    bindings: &[&BindingRow],
) -> Result<(), Error> {
    if bindings.is_empty() {
        return Ok(());
    }
    let prefixes: Vec<&[u8]> = bindings
        .iter()
        .map(|row| &row.extranonce_prefix[..])
        .collect();
    let ids: Vec<i64> = bindings.iter().map(|row| origins.id(&row.origin)).collect();
    let times: Vec<i64> = bindings.iter().map(|row| row.bound_at_ms).collect();
    let insert = "INSERT INTO bindings (log, extranonce_prefix, origin, bound_at_ms)
        SELECT $1, * FROM unnest($2::bytea[], $3::bigint[], $4::bigint[])";
    session
        .execute(insert, &[&log, &prefixes, &ids, &times])
        .await?;
    Ok(())
}

async fn put_shares(
    session: &mut Session,
    log: i32,
    shares: &[(i64, &ShareRow)],
) -> Result<(), CallError> {
    const COPY: &str = "COPY shares (seq, accepted_at_ms, origin, channel_id, job_id, nbits, ntime, nonce, version, log, \
        is_block, hash, extranonce_prefix, work, score) FROM STDIN BINARY";
    let types = [
        [Type::INT8; 9].as_slice(),
        &[
            Type::INT4,
            Type::BOOL,
            Type::BYTEA,
            Type::BYTEA,
            Type::NUMERIC,
            Type::NUMERIC,
        ],
    ]
    .concat();
    // Before the statement, which has no way to say that one of our rows is wrong.
    seq(shares.last().map_or(0, |(_, share)| share.seq))?;
    let rows = async |mut writer: Pin<&mut BinaryCopyInWriter>| {
        for (origin, share) in shares {
            let [channel_id, job_id, nbits, ntime, nonce, version] = [
                share.channel_id,
                share.job_id,
                share.nbits,
                share.ntime,
                share.nonce,
                share.version,
            ]
            .map(i64::from);
            let row: [&(dyn ToSql + Sync); 15] = [
                &share.seq.cast_signed(),
                &share.accepted_at_ms,
                origin,
                &channel_id,
                &job_id,
                &nbits,
                &ntime,
                &nonce,
                &version,
                &log,
                &share.is_block,
                &share.hash.as_byte_array().as_slice(),
                &share.extranonce_prefix.as_slice(),
                &Numeric(share.work),
                &Numeric(share.score),
            ];
            writer.as_mut().write(&row).await?;
        }
        Ok(())
    };
    session.copy(COPY, &types, rows).await?;
    Ok(())
}

/// Fills in what the ledger has.
async fn read_sums(session: &mut Session, log: i32, sums: &mut Sums) -> Result<(), Error> {
    let (minutes, origins): (Vec<i64>, Vec<i64>) = sums.minutes.keys().copied().unzip();
    let query = "SELECT minute, origin, shares, work, score, chain
        FROM unnest($2::bigint[], $3::bigint[]) AS wanted (minute, origin) JOIN minute_sums USING (minute, origin)
        WHERE log = $1";
    for row in session.query(query, &[&log, &minutes, &origins]).await? {
        let Bytes(chain) = row.try_get(5)?;
        let found = Minute {
            sum: sum(&row, 2)?,
            chain,
        };
        sums.minutes
            .insert((row.try_get(0)?, row.try_get(1)?), found);
    }
    let origins: Vec<i64> = sums.totals.keys().copied().collect();
    let query = "SELECT origin, shares, work, score, last_share_at_ms FROM totals
        WHERE log = $1 AND origin = ANY ($2)";
    for row in session.query(query, &[&log, &origins]).await? {
        let found = Total {
            sum: sum(&row, 1)?,
            last_share_at_ms: row.try_get(4)?,
        };
        sums.totals.insert(row.try_get(0)?, found);
    }
    Ok(())
}

/// Shares, work and score from column `first` on.
pub(super) fn sum(row: &Row, first: usize) -> Result<Sum, Error> {
    let Natural(shares) = row.try_get(first)?;
    let (Numeric(work), Numeric(score)) = (row.try_get(first + 1)?, row.try_get(first + 2)?);
    Ok(Sum {
        shares,
        work,
        score,
    })
}

async fn write_sums(session: &mut Session, log: i32, sums: &Sums) -> Result<(), CallError> {
    let (minutes, origins): (Vec<i64>, Vec<i64>) = sums.minutes.keys().copied().unzip();
    let (shares, works, scores) = columns(sums.minutes.values().map(|minute| &minute.sum))?;
    let chains: Vec<&[u8]> = sums
        .minutes
        .values()
        .map(|minute| &minute.chain[..])
        .collect();
    let upsert = "INSERT INTO minute_sums (log, minute, origin, shares, work, score, chain)
        SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::numeric[], $6::numeric[], $7::bytea[])
        ON CONFLICT (minute, log, origin) DO UPDATE
        SET shares = excluded.shares, work = excluded.work, score = excluded.score, chain = excluded.chain";
    session
        .execute(
            upsert,
            &[&log, &minutes, &origins, &shares, &works, &scores, &chains],
        )
        .await?;

    let origins: Vec<i64> = sums.totals.keys().copied().collect();
    let (shares, works, scores) = columns(sums.totals.values().map(|total| &total.sum))?;
    let times: Vec<Option<i64>> = sums
        .totals
        .values()
        .map(|total| total.last_share_at_ms)
        .collect();
    let upsert = "INSERT INTO totals (log, origin, shares, work, score, last_share_at_ms)
        SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::numeric[], $5::numeric[], $6::bigint[])
        ON CONFLICT (log, origin) DO UPDATE SET shares = excluded.shares, work = excluded.work, score = excluded.score,
            last_share_at_ms = excluded.last_share_at_ms";
    session
        .execute(upsert, &[&log, &origins, &shares, &works, &scores, &times])
        .await?;
    Ok(())
}

/// Shares, work and score in columns.
pub(super) type SumColumns = (Vec<i64>, Vec<Numeric>, Vec<Numeric>);

pub(super) fn columns<'a>(sums: impl Iterator<Item = &'a Sum>) -> Result<SumColumns, LedgerError> {
    let mut columns = SumColumns::default();
    for sum in sums {
        columns.0.push(bigint(sum.shares, "a number of shares")?);
        columns.1.push(Numeric(sum.work));
        columns.2.push(Numeric(sum.score));
    }
    Ok(columns)
}

/// Adds to the counts of rejected shares.
pub(super) async fn count_rejected(
    session: &mut Session,
    origins: &mut OriginIds,
    counts: &[RejectedCount],
) -> Result<(), CallError> {
    origins
        .learn(
            session,
            counts.iter().map(|count| (&*count.origin, count.at_ms)),
        )
        .await?;
    let minutes: Vec<i64> = counts.iter().map(|count| minute(count.at_ms)).collect();
    let ids: Vec<i64> = counts
        .iter()
        .map(|count| origins.id(&count.origin))
        .collect();
    let reasons: Vec<&str> = counts.iter().map(|count| &*count.reason).collect();
    let shares: Vec<i64> = counts
        .iter()
        .map(|count| bigint(count.shares, "a number of shares"))
        .collect::<Result<_, _>>()?;
    // In order, for the reason that origins.rs gives.
    let upsert = "INSERT INTO rejected (minute, origin, reason, shares)
        SELECT minute, origin, reason, sum(shares)::bigint
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) AS more (minute, origin, reason, shares)
        GROUP BY minute, origin, reason ORDER BY minute, origin, reason COLLATE \"C\"
        ON CONFLICT (minute, origin, reason) DO UPDATE SET shares = rejected.shares + excluded.shares";
    session
        .execute(upsert, &[&minutes, &ids, &reasons, &shares])
        .await?;
    Ok(())
}
