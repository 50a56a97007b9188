//! The answers to `rounds` and `round`.

use super::{Control, MAX_LISTED, block, timestamp, unavailable};
use crate::directory::unix_ms;
use hh_ipc::api::pool::{
    LaggingPool, Round, RoundAccount, RoundDetail, RoundPage, RoundSelector, RoundSummary,
};
use hh_ipc::{ApiError, ErrorKind};
use hh_ledger::{Epoch, LedgerError, Sum};
use hh_mining::{Effort, Score, Spread};
use std::collections::HashMap;

/// A pool ships each second; one that is this far behind is worth a word.
const LAG_MS: i64 = 10_000;

impl Control {
    pub(super) async fn rounds(&self, limit: usize) -> Result<RoundPage, ApiError> {
        let rounds = self.ledger.reader().rounds(limit.min(MAX_LISTED)).await;
        let rounds = rounds.map_err(|error| unavailable(&error))?;
        let next_height = self.next_height();
        Ok(RoundPage {
            summary: summary(&rounds),
            rounds: rounds
                .into_iter()
                .map(|row| round(row, next_height))
                .collect(),
            lagging_pools: self.lagging_pools().await?,
        })
    }

    pub(super) async fn round(&self, selector: RoundSelector) -> Result<RoundDetail, ApiError> {
        let reader = self.ledger.reader();
        let limit = match &selector {
            RoundSelector::Open => 0,
            RoundSelector::Height(_) | RoundSelector::Hash(_) => usize::MAX,
        };
        let rounds = reader.rounds(limit).await;
        let rounds = rounds.map_err(|error| unavailable(&error))?;
        let found = rounds.into_iter().find(|round| is_meant(round, &selector));
        let found = found.ok_or_else(|| no_such_round(&selector))?;
        let hash = found.block.as_ref().map(|block| block.hash);
        let accounts = reader
            .round_accounts(found.previous, hash, MAX_LISTED)
            .await
            .map_err(|error| unavailable(&error))?;
        let of_all = found.sum.unwrap_or_default();
        let account = |row: hh_ledger::RoundAccount| account(row, of_all);
        Ok(RoundDetail {
            round: round(found, self.next_height()),
            accounts: accounts.into_iter().flatten().map(account).collect(),
            lagging_pools: self.lagging_pools().await?,
        })
    }

    async fn lagging_pools(&self) -> Result<Vec<LaggingPool>, ApiError> {
        let reader = self.ledger.reader();
        let read = async {
            let logs = reader.logs().await?;
            Ok::<_, LedgerError>((logs, reader.server_ids().await?))
        };
        let (logs, holders) = read.await.map_err(|error| unavailable(&error))?;
        let watermarks: HashMap<(String, Epoch), Option<i64>> = logs
            .into_iter()
            .map(|log| ((log.pool, log.epoch), log.watermark_ms))
            .collect();
        let late = unix_ms() - LAG_MS;
        let lagging = |(server_id, holder): (u16, hh_ledger::Holder)| {
            let key = (holder.pool, holder.epoch);
            let watermark_ms = watermarks.get(&key).copied().flatten();
            let is_late = watermark_ms.unwrap_or(holder.since_ms) < late;
            is_late.then(|| LaggingPool {
                pool: key.0,
                server_id,
                shipped_through_at: watermark_ms.map(timestamp),
            })
        };
        Ok(holders.into_iter().filter_map(lagging).collect())
    }
}

fn is_meant(round: &hh_ledger::Round, selector: &RoundSelector) -> bool {
    match (&round.block, selector) {
        (None, RoundSelector::Open) => true,
        (Some(block), RoundSelector::Height(height)) => block.height == *height,
        (Some(block), RoundSelector::Hash(hash)) => block.hash.to_string() == *hash,
        (None, _) | (Some(_), RoundSelector::Open) => false,
    }
}

fn no_such_round(selector: &RoundSelector) -> ApiError {
    let block = match selector {
        RoundSelector::Open => "none".to_owned(),
        RoundSelector::Height(height) => format!("at height {height}"),
        RoundSelector::Hash(hash) => hash.clone(),
    };
    let message = format!("no round ended with an accepted block of ours {block}");
    ApiError::new(ErrorKind::NotFound, "HH2010", message)
}

fn effort(sum: Sum) -> Effort {
    Effort::of(Score(sum.score))
}

fn round(row: hh_ledger::Round, next_height: Option<u32>) -> Round {
    let block = |row| block(row, next_height);
    let effort = row.sum.map(effort);
    let has_ended = row.block.is_some();
    Round {
        block: row.block.map(block),
        started_at: row.started_at_ms.map(timestamp),
        ended_at: row.ended_at_ms.map(timestamp),
        shares: row.sum.map(|sum| sum.shares),
        work: row.sum.map(|sum| sum.work.to_string()),
        score: row.sum.map(|sum| sum.score.to_string()),
        effort_ratio: effort.map(Effort::blocks),
        luck_ratio: effort
            .filter(|_| has_ended)
            .and_then(|effort| effort.luck(1)),
        longer_ratio: effort.map(Effort::chance_of_more),
        other_blocks: row.other_blocks.into_iter().map(block).collect(),
    }
}

/// The rounds that have ended, as far as they are summed up.
fn summary(rounds: &[hh_ledger::Round]) -> Option<RoundSummary> {
    let ended = rounds.iter().filter(|round| round.block.is_some());
    let sums: Vec<Sum> = ended.filter_map(|round| round.sum).collect();
    let count = super::count(sums.len());
    let spread = Spread::of_rounds(count)?;
    let score = sums
        .iter()
        .fold(0, |all: u128, sum| all.saturating_add(sum.score));
    let effort = Effort::of(Score(score));
    Some(RoundSummary {
        rounds: count,
        effort_ratio: effort.blocks() / f64::from(count),
        luck_ratio: effort.luck(count),
        effort_low_ratio: spread.low,
        effort_median_ratio: spread.median,
        effort_high_ratio: spread.high,
    })
}

fn account(row: hh_ledger::RoundAccount, of_all: Sum) -> RoundAccount {
    RoundAccount {
        account: row.account,
        shares: row.sum.shares,
        work: row.sum.work.to_string(),
        score: row.sum.score.to_string(),
        // The effort of the whole is zero only if that of each part is.
        score_ratio: effort(row.sum).blocks() / effort(of_all).blocks().max(f64::MIN_POSITIVE),
    }
}
