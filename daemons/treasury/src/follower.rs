//! Follows blocks of ours from the pool's ledger to the day on which their reward may be paid, on Bitcoin Core's best chain.
//!
//! It converges: each pass compares what the books say of a block with where it is on the chain, and does the one thing that comes
//! next. So it may be stopped anywhere, and a block that a reorganisation takes away or brings back needs no code of its own.

mod fault;
mod receipt;
mod rounds;
mod splitter;
mod step;
#[cfg(test)]
mod tests;

use crate::chain::{Chain, View};
use crate::clock::unix_ms;
use crate::links::Link;
use crate::payouts::Nudge;
use crate::tip::Tip;
use fault::PassError;
use hh_bitcoin::Presence;
use hh_daemon::Chain as ErrorChain;
use hh_ledger::books::{BookBlock, BookBlockState, Books, NewBlock};
use hh_ledger::{BlockRow, BlockState, LedgerReader};
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

/// See the module.
#[derive(Debug)]
pub(crate) struct Follower {
    pub chain: Chain,
    pub books: Books,
    pub books_link: Link,
    /// The pool's.
    pub ledger: LedgerReader,
    pub ledger_link: Link,
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
                self.ledger_link.set_up();
                self.books_link.set_up();
                last.clear();
            }
            Err(error) => {
                let text = ErrorChain(&error).to_string();
                match &error {
                    PassError::Ledger(_) => drop(self.ledger_link.set_down(text.clone())),
                    PassError::Books(_) => drop(self.books_link.set_down(text.clone())),
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
        let rows = self.ledger.blocks(BLOCKS_MAX as usize).await?;
        let rows: BTreeMap<BlockHash, BlockRow> =
            rows.into_iter().map(|row| (row.hash, row)).collect();
        self.track(&rows).await?;
        let followed = |block: &&BookBlock| is_followed(block.state, block.height, view.height);
        for block in self.blocks().await?.iter().filter(followed) {
            let done = self.follow(view, block, rows.get(&block.hash)).await;
            go_on(block.hash, block.height, done)?;
        }
        self.redo_rounds(&self.blocks().await?).await?;
        self.split(view, &self.blocks().await?, &rows).await?;
        self.mature(&self.blocks().await?).await?;
        Ok(())
    }

    /// All of ours, the lowest first: a round ends where the one before it does.
    async fn blocks(&self) -> Result<Vec<BookBlock>, PassError> {
        let mut blocks = self.books.blocks(BLOCKS_MAX).await?;
        blocks.sort_by_key(|block| block.height);
        Ok(blocks)
    }

    /// Takes in what is new.
    async fn track(&self, rows: &BTreeMap<BlockHash, BlockRow>) -> Result<(), PassError> {
        let known = self.books.blocks(BLOCKS_MAX).await?;
        let known: BTreeSet<BlockHash> = known.into_iter().map(|block| block.hash).collect();
        for row in rows.values().filter(|row| !known.contains(&row.hash)) {
            let block = NewBlock {
                hash: row.hash,
                height: row.height,
                finder: row.account.clone(),
                found_at_ms: row.found_at_ms,
                reward: None,
            };
            let tracked = self.books.track_block(block).await;
            let is_new = tracked.map_err(PassError::from);
            if go_on(row.hash, row.height, is_new)?.is_some() {
                tracing::info!(hash = %row.hash, height = row.height, "block tracked");
            }
        }
        Ok(())
    }

    /// Does what comes next for one block.
    async fn follow(
        &self,
        view: &View,
        block: &BookBlock,
        row: Option<&BlockRow>,
    ) -> Result<(), PassError> {
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
            Step::Keep => {}
            Step::Set(state, confirmations) => {
                self.set(hash, state, confirmations, None).await?;
                if block.state == BookBlockState::Orphaned {
                    tracing::warn!(%hash, height, "block is on the best chain again");
                }
            }
            Step::Orphan => self.orphan(block).await?,
            Step::Reject => {
                let reason = row.and_then(|row| row.reason.clone());
                tracing::error!(%hash, height, reason, "block rejected");
                self.set(hash, BookBlockState::Rejected, 0, reason).await?;
            }
        }
        Ok(())
    }

    async fn orphan(&self, block: &BookBlock) -> Result<(), PassError> {
        let (hash, height) = (block.hash, block.height);
        let reason = "not on the best chain".to_owned();
        if block.split_at_ms.is_some() {
            let reversed = self.books.reverse(hash, reason, unix_ms()).await?;
            let (amount_msat, loss_msat) = (reversed.amount.0, reversed.loss.0);
            tracing::error!(%hash, height, amount_msat, loss_msat, "block orphaned, its reward is taken back");
        } else {
            self.set(hash, BookBlockState::Orphaned, 0, Some(reason))
                .await?;
            tracing::error!(%hash, height, "block orphaned");
        }
        alarm("orphaned");
        Ok(())
    }

    async fn set(
        &self,
        hash: BlockHash,
        state: BookBlockState,
        confirmations: u32,
        reason: Option<String>,
    ) -> Result<(), PassError> {
        let set = self
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
                let error = PassError::of_split(error)?;
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
        self.books.track_block(known).await?;
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
            let row = rows.get(&hash);
            let Err(error) = self.splitter.split(view, block, blocks, row).await else {
                nudge(&self.nudges);
                continue;
            };
            match PassError::of_split(error)? {
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
                alarm("split_lag");
            }
            lag = lag.max(age);
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
            let done = self.mature_block(block, blocks).await;
            go_on(block.hash, block.height, done)?;
        }
        Ok(())
    }

    async fn mature_block(&self, block: &BookBlock, blocks: &[BookBlock]) -> Result<(), PassError> {
        // A wrong split that could not be taken back must not be paid out.
        if self.splitter.is_of_its_round(block, blocks).await?
            && self.books.mature(block.hash, unix_ms()).await?
        {
            tracing::info!(hash = %block.hash, height = block.height, "block is payable");
            nudge(&self.nudges);
        }
        Ok(())
    }
}

/// Tells what is wrong with one block and gives nothing then, so that the others are gone on with: one bad block must not stop
/// everybody's money. Ends the pass where a store or the node itself is away.
fn go_on<T>(
    hash: BlockHash,
    height: u32,
    done: Result<T, PassError>,
) -> Result<Option<T>, PassError> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_away() => Err(error),
        Err(error) => {
            let error = ErrorChain(&error).to_string();
            tracing::error!(%hash, height, error, "block not followed");
            alarm("block_failed");
            Ok(None)
        }
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
        "block_failed",
        "split_failed",
        "split_lag",
        "no_window",
        "another_finder",
        "unbound_finder",
        "insolvent",
    ] {
        counter!("hyperhash_treasury_alarms_total", "alarm" => which).absolute(0);
    }
}
