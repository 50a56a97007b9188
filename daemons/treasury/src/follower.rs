//! Follows blocks of ours from the pool's ledger to the day on which their reward may be paid, on Bitcoin Core's best chain.
//!
//! It converges: each pass compares what the books say of a block with where it is on the chain, and does the one thing that comes
//! next. So it may be stopped anywhere, and a block that a reorganisation takes away or brings back needs no code of its own.

mod receipt;
mod splitter;
mod step;

use crate::Stores;
use crate::chain::{Chain, View};
use crate::clock::unix_ms;
use crate::payouts::Nudge;
use crate::tip::Tip;
use hh_bitcoin::{Presence, RpcError};
use hh_daemon::Chain as ErrorChain;
use hh_ledger::books::{BookBlock, BookBlockState, BooksError, NewBlock};
use hh_ledger::{BlockRow, BlockState, LedgerError};
use hh_mining::BlockHash;
use metrics::{counter, gauge};
pub(crate) use splitter::{SplitError, Splitter};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use step::{Situation, Step};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the tip is asked for.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often all is gone through though the tip is the same: the pool's ledger may have more shares.
const PASS_INTERVAL: Duration = Duration::from_secs(5);

/// Blocks of ours that are looked at, the newest: on a chain of our own a day's, elsewhere those of years.
const BLOCKS_MAX: u32 = 2_000;

/// Blocks below the tip that are looked at: those of maturity, and as many again for a reorganisation that nobody expects.
const DEPTH: u32 = 288;

/// A split that waits for longer is an alarm (design 4.6).
const LAG_MAX: Duration = Duration::from_secs(600);

/// Why a pass ended early; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error("the pool's ledger can't be read")]
    Ledger(#[from] LedgerError),
    #[error("the books don't answer")]
    Books(#[from] BooksError),
    #[error("Bitcoin Core does not answer")]
    Rpc(#[from] RpcError),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Follower {
    pub chain: Chain,
    pub stores: Stores,
    pub splitter: Splitter,
    pub tip: watch::Sender<Option<Tip>>,
    pub nudges: mpsc::Sender<Nudge>,
}

impl Follower {
    /// Follows until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        describe();
        let mut passed: Option<(Tip, Instant)> = None;
        let mut last_error = String::new();
        loop {
            match self.chain.view().await {
                Ok(view) => {
                    let tip = Tip {
                        height: view.height,
                        hash: view.tip,
                    };
                    self.tip.send_replace(Some(tip));
                    let is_due = passed
                        .is_none_or(|(passed, at)| passed != tip || at.elapsed() >= PASS_INTERVAL);
                    if is_due && !view.is_catching_up {
                        let done = self.pass(&view).await;
                        self.tell(done, &mut last_error);
                        passed = Some((tip, Instant::now()));
                    }
                }
                // The chain tells of its nodes.
                Err(error) => tracing::debug!(%error, "no pass without a chain"),
            }
            let pause = tokio::time::sleep(INTERVAL);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    fn tell(&self, done: Result<(), PassError>, last: &mut String) {
        match done {
            Ok(()) => {
                self.stores.ledger_link.set_up();
                self.stores.books_link.set_up();
                last.clear();
            }
            Err(error) => {
                let text = ErrorChain(&error).to_string();
                match &error {
                    PassError::Ledger(_) => drop(self.stores.ledger_link.set_down(text.clone())),
                    PassError::Books(_) => drop(self.stores.books_link.set_down(text.clone())),
                    PassError::Rpc(_) => {}
                }
                if *last != text {
                    tracing::warn!(error = text, "blocks not followed; the next pass goes on");
                    *last = text;
                }
            }
        }
    }

    async fn pass(&self, view: &View) -> Result<(), PassError> {
        let rows = self.stores.ledger.blocks(BLOCKS_MAX as usize).await?;
        let rows: BTreeMap<BlockHash, BlockRow> =
            rows.into_iter().map(|row| (row.hash, row)).collect();
        self.track(&rows).await?;
        let mut blocks = self.stores.books.blocks(BLOCKS_MAX).await?;
        // The lowest first: a round ends where the one before it does.
        blocks.sort_by_key(|block| block.height);
        let mut has_moved = false;
        let followed = |block: &&BookBlock| is_followed(block.state, block.height, view.height);
        for block in blocks.iter().filter(followed) {
            has_moved |= self.follow(view, block, rows.get(&block.hash)).await?;
        }
        if has_moved {
            blocks = self.stores.books.blocks(BLOCKS_MAX).await?;
            blocks.sort_by_key(|block| block.height);
        }
        self.split(view, &blocks, &rows).await?;
        self.mature(&blocks).await?;
        Ok(())
    }

    /// Takes in what is new.
    async fn track(&self, rows: &BTreeMap<BlockHash, BlockRow>) -> Result<(), PassError> {
        let known = self.stores.books.blocks(BLOCKS_MAX).await?;
        let known: BTreeSet<BlockHash> = known.into_iter().map(|block| block.hash).collect();
        for row in rows.values().filter(|row| !known.contains(&row.hash)) {
            let block = NewBlock {
                hash: row.hash,
                height: row.height,
                finder: row.account.clone(),
                found_at_ms: row.found_at_ms,
                reward: None,
            };
            self.stores.books.track_block(block).await?;
            tracing::info!(hash = %row.hash, height = row.height, "block tracked");
        }
        Ok(())
    }

    /// Does what comes next for one block; says whether its state is another now.
    async fn follow(
        &self,
        view: &View,
        block: &BookBlock,
        row: Option<&BlockRow>,
    ) -> Result<bool, PassError> {
        let presence = view.presence(block.hash).await?;
        if matches!(presence, Presence::OnBestChain { .. }) && block.value.is_none() {
            self.read_reward(view, block).await?;
        }
        let situation = Situation {
            state: block.state,
            confirmations: block.confirmations,
            height: block.height,
            tip_height: view.height,
            presence,
            pool_state: row.map_or(BlockState::Accepted, |row| row.state),
        };
        let (hash, height) = (block.hash, block.height);
        match situation.step() {
            Step::Keep => return Ok(false),
            Step::Set(state, confirmations) => {
                let set = self.set(hash, state, confirmations, None);
                set.await?;
                if block.state == BookBlockState::Orphaned {
                    tracing::warn!(%hash, height, "block is on the best chain again");
                    self.redo_rounds(height).await?;
                }
            }
            Step::Orphan => self.orphan(block).await?,
            Step::Reject => {
                let reason = row.and_then(|row| row.reason.clone());
                tracing::error!(%hash, height, reason, "block rejected");
                self.set(hash, BookBlockState::Rejected, 0, reason).await?;
            }
        }
        Ok(true)
    }

    async fn orphan(&self, block: &BookBlock) -> Result<(), PassError> {
        let (hash, height) = (block.hash, block.height);
        let reason = "not on the best chain".to_owned();
        if block.split_at_ms.is_some() {
            let reversed = self.stores.books.reverse(hash, reason, unix_ms()).await?;
            let (amount_msat, loss_msat) = (reversed.amount.0, reversed.loss.0);
            tracing::error!(%hash, height, amount_msat, loss_msat, "block orphaned, its reward is taken back");
        } else {
            self.set(hash, BookBlockState::Orphaned, 0, Some(reason))
                .await?;
            tracing::error!(%hash, height, "block orphaned");
        }
        alarm("orphaned");
        self.redo_rounds(height).await
    }

    async fn set(
        &self,
        hash: BlockHash,
        state: BookBlockState,
        confirmations: u32,
        reason: Option<String>,
    ) -> Result<(), PassError> {
        let set = self
            .stores
            .books
            .set_block_state(hash, state, confirmations, reason, unix_ms());
        Ok(set.await?)
    }

    /// What its coinbase pays us, once it can be read.
    async fn read_reward(&self, view: &View, block: &BookBlock) -> Result<(), PassError> {
        let (hash, height) = (block.hash, block.height);
        let receipt = match self.splitter.receipt(view, hash).await {
            Ok(receipt) => receipt,
            Err(error) => {
                let error = ErrorChain(&error).to_string();
                tracing::error!(%hash, height, error, "block can't be read");
                alarm("unreadable_block");
                return Ok(());
            }
        };
        if receipt.reward.is_short() {
            let value_msat = receipt.reward.value().0;
            tracing::error!(%hash, height, value_msat, "block pays us less than its subsidy");
            alarm("short_value");
        }
        let known = NewBlock {
            hash,
            height,
            finder: block.finder.clone(),
            found_at_ms: block.found_at_ms,
            reward: Some(receipt.reward),
        };
        self.stores.books.track_block(known).await?;
        Ok(())
    }

    /// Splits what is on the chain and was not split, the lowest first.
    async fn split(
        &self,
        view: &View,
        blocks: &[BookBlock],
        rows: &BTreeMap<BlockHash, BlockRow>,
    ) -> Result<(), PassError> {
        let mut lag = Duration::ZERO;
        for block in blocks.iter().filter(|block| is_to_split(block)) {
            let (hash, height) = (block.hash, block.height);
            let Err(error) = self
                .splitter
                .split(view, block, blocks, rows.get(&hash))
                .await
            else {
                nudge(&self.nudges);
                continue;
            };
            match error {
                SplitError::Ledger(error) => return Err(error.into()),
                SplitError::Books(error) => return Err(error.into()),
                SplitError::Rpc(error) => return Err(error.into()),
                SplitError::Waits => tracing::debug!(%hash, height, "split waits for shares"),
                error => {
                    let error = ErrorChain(&error).to_string();
                    tracing::error!(%hash, height, error, "block not split");
                    alarm("split_failed");
                }
            }
            let age_ms = unix_ms().saturating_sub(block.found_at_ms);
            let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or_default());
            if age > LAG_MAX {
                let seconds = age.as_secs();
                tracing::warn!(%hash, height, seconds, "block waits to be split");
            }
            lag = lag.max(age);
            if self.splitter.is_round() {
                // The next one's round begins with this one.
                break;
            }
        }
        gauge!("hyperhash_treasury_split_lag_seconds").set(lag.as_secs_f64());
        Ok(())
    }

    /// Pays out to balances what is mature and split.
    async fn mature(&self, blocks: &[BookBlock]) -> Result<(), PassError> {
        let is_ready = |block: &&BookBlock| {
            block.state == BookBlockState::Mature && block.split_at_ms.is_some()
        };
        for block in blocks.iter().filter(is_ready) {
            if self.stores.books.mature(block.hash, unix_ms()).await? {
                tracing::info!(hash = %block.hash, height = block.height, "block is payable");
                nudge(&self.nudges);
            }
        }
        Ok(())
    }

    /// Where rounds are what counts, a block that goes or comes back moves the begin of those after it: what is not mature is
    /// split again.
    async fn redo_rounds(&self, height: u32) -> Result<(), PassError> {
        if !self.splitter.is_round() {
            return Ok(());
        }
        for block in self.stores.books.open_blocks().await? {
            let is_immature = matches!(
                block.state,
                BookBlockState::Accepted | BookBlockState::Confirmed
            );
            if block.height > height && is_immature && block.split_at_ms.is_some() {
                let reason = format!("the round before it changed at height {height}");
                self.stores
                    .books
                    .unsplit(block.hash, reason, unix_ms())
                    .await?;
            }
        }
        Ok(())
    }
}

/// What a reorganisation could reach, and however deep it lies what has not come to its end: hh-treasury may have been away for days.
fn is_followed(state: BookBlockState, height: u32, tip_height: u32) -> bool {
    let is_over = matches!(
        state,
        BookBlockState::Payable | BookBlockState::Orphaned | BookBlockState::Rejected
    );
    !is_over || height.saturating_add(DEPTH) >= tip_height
}

fn is_to_split(block: &BookBlock) -> bool {
    let is_on_chain = matches!(
        block.state,
        BookBlockState::Accepted | BookBlockState::Confirmed | BookBlockState::Mature
    );
    is_on_chain && block.confirmations > 0 && block.split_at_ms.is_none()
}

fn nudge(nudges: &mpsc::Sender<Nudge>) {
    // One that waits already says the same.
    nudges.try_send(Nudge).ok();
}

/// Something that somebody has to look at.
pub(crate) fn alarm(which: &'static str) {
    counter!("hyperhash_treasury_alarms_total", "alarm" => which).increment(1);
}

fn describe() {
    metrics::describe_counter!(
        "hyperhash_treasury_alarms_total",
        "What somebody has to look at, by kind"
    );
    metrics::describe_gauge!(
        "hyperhash_treasury_split_lag_seconds",
        "Age of the oldest block of ours that is on the chain and not split; 0 where all are"
    );
    for which in [
        "orphaned",
        "short_value",
        "unreadable_block",
        "split_failed",
        "no_window",
        "another_finder",
        "insolvent",
    ] {
        counter!("hyperhash_treasury_alarms_total", "alarm" => which).absolute(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_nobody_has_followed_for_days_is_not_given_up() {
        let deep = 100 + DEPTH + 1;
        assert!(is_followed(BookBlockState::Tracked, 100, deep));
        assert!(is_followed(BookBlockState::Mature, 100, deep));
        assert!(!is_followed(BookBlockState::Payable, 100, deep));
        assert!(is_followed(BookBlockState::Payable, 100, deep - 1));
    }
}
