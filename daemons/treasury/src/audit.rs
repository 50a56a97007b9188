//! Looks whether books and wallet agree: at the start, from time to time and when somebody asks. What is grave freezes payouts.
//!
//! What the wallet has gained or lost beside payouts and coinbases is booked here: fees of the chain and of channels, and what
//! nobody can explain, which goes to suspense. That is done only in quiet moments, when nothing is on its way and the difference
//! has stood still: a payment or a channel that is half done looks like money that is gone.

use crate::clock::unix_ms;
use crate::follower::alarm;
use crate::lightning::WalletLink;
use crate::payouts::ACTOR;
use crate::solvency::{Cover, Finding, OnTheWay, Seen, findings};
use crate::tip::Tip;
use hh_ledger::books::{BookBlockState, Books, BooksError, Totals, Verification, WalletChange};
use hh_lightning::{ChannelState, WalletError};
use hh_mining::Msat;
use metrics::gauge;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the wallet's money is compared with the books'.
const INTERVAL: Duration = Duration::from_secs(10);

/// How often all is added up without being asked for.
const VERIFY_INTERVAL: u32 = 360;

/// A difference has to be the same so often in a row: a block that the wallet has seen and we have not passes in one.
const STEADY_LOOKS: u32 = 3;

/// Between the looks of one verification, while the wallet seems to have too little: a payment or a maturity that one of the two knows
/// and the other does not yet passes in that time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Looks of one verification. Where nothing ever stands still, the last one counts.
const LOOKS_MAX: u32 = 15;

/// Until books and wallet have been compared for the first time, which payouts wait for.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// Blocks of ours that may be immature: a day's of a chain of our own.
const BLOCKS_MAX: u32 = 2_000;

/// Fees of a funding or closing transaction are no more than this; what is missing beyond is unexplained.
const CHANNEL_FEE_MAX: Msat = Msat(200_000_000);

/// What an audit found.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub at_ms: i64,
    pub totals: Totals,
    pub verification: Verification,
    pub seen: Option<Seen>,
    pub findings: Vec<Finding>,
    /// What the wallet has more than the books, in msat.
    pub difference: Option<i128>,
    /// The wallet has less than is owed.
    is_uncovered: bool,
    /// The wallet answers, and knows another chain than the follower.
    lags: bool,
    /// What was on its way.
    open: OnTheWay,
}

impl Report {
    /// Whether what it says of the wallet may pass by itself, after so many looks of which the last `steady` saw the same.
    fn is_to_look_again(&self, steady: u32, looks: u32) -> bool {
        if !self.verification.findings.is_empty() {
            return false;
        }
        may_pass(self.lags, self.is_uncovered, steady, looks)
    }

    pub(crate) fn is_grave(&self) -> bool {
        self.findings.iter().any(|finding| finding.is_grave)
    }
}

/// See the module. Clones share the last report.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    books: Books,
    wallet: WalletLink,
    last: Arc<Mutex<Option<Report>>>,
    verified: watch::Sender<bool>,
    tip: watch::Receiver<Option<Tip>>,
}

/// A difference that was seen, and how often in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Difference {
    msat: i128,
    looks: u32,
}

impl Difference {
    fn saw(&mut self, msat: i128) -> bool {
        self.looks = if self.msat == msat { self.looks + 1 } else { 1 };
        self.msat = msat;
        msat != 0 && self.looks >= STEADY_LOOKS
    }
}

impl Audit {
    pub(crate) fn new(books: Books, wallet: WalletLink, tip: watch::Receiver<Option<Tip>>) -> Self {
        Self {
            books,
            wallet,
            tip,
            last: Arc::default(),
            verified: watch::Sender::new(false),
        }
    }

    /// Whether all has been added up since the start, whatever came of it.
    pub(crate) fn verified(&self) -> watch::Receiver<bool> {
        self.verified.subscribe()
    }

    /// What was found last.
    pub(crate) fn last(&self) -> Option<Report> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// Looks from time to time until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut difference = Difference::default();
        // The number of channels when the books last agreed: fees are paid where it changes.
        let mut channels = None;
        let mut until_verify = 0;
        loop {
            let looked = async {
                self.compare(&mut difference, &mut channels).await?;
                if until_verify == 0 && self.is_wallet_at_tip().await {
                    self.verify().await?;
                    until_verify = VERIFY_INTERVAL;
                }
                Ok::<_, BooksError>(())
            };
            if let Err(error) = looked.await {
                let error = hh_daemon::Chain(&error).to_string();
                tracing::debug!(error, "books and wallet not compared");
            }
            until_verify = until_verify.saturating_sub(1);
            let is_verified = *self.verified.borrow();
            let pause = tokio::time::sleep(if is_verified {
                INTERVAL
            } else {
                FIRST_INTERVAL
            });
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Adds all up, and freezes payouts where something grave is found.
    ///
    /// # Errors
    /// The books don't answer.
    pub(crate) async fn verify(&self) -> Result<Report, BooksError> {
        let verification = self.books.verify().await?;
        let mut report = self.look(&verification).await?;
        let (mut steady, mut looks) = (1, 1);
        while report.is_to_look_again(steady, looks) {
            tokio::time::sleep(LOOK_AGAIN).await;
            let next = self.look(&verification).await?;
            let is_same = next.totals == report.totals && next.open == report.open;
            steady = if is_same { steady + 1 } else { 1 };
            looks += 1;
            report = next;
        }
        if let Some(grave) = report.findings.iter().find(|finding| finding.is_grave) {
            alarm("insolvent");
            tracing::error!(
                what = grave.what,
                "books and wallet do not agree; payouts are frozen"
            );
            let reason = format!("verify: {}", grave.what);
            self.books
                .freeze(reason, ACTOR.to_owned(), unix_ms())
                .await?;
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
        self.verified.send_replace(true);
        Ok(report)
    }

    /// Books and wallet beside each other, and what was on its way.
    async fn look(&self, verification: &Verification) -> Result<Report, BooksError> {
        let is_at_tip = self.is_wallet_at_tip().await;
        let seen = self.seen().await.ok();
        let lags = seen.is_some() && !is_at_tip;
        let seen = seen.filter(|_| is_at_tip);
        let totals = self.books.totals().await?;
        let difference = match &seen {
            Some(seen) => Some(self.difference(seen, &totals).await?),
            None => None,
        };
        let open = self.on_the_way(difference).await?;
        let is_uncovered = seen
            .as_ref()
            .is_some_and(|seen| !Cover::of(&totals, seen, &open).is_solvent());
        Ok(Report {
            at_ms: unix_ms(),
            findings: findings(&totals, verification, seen.as_ref(), &open),
            difference,
            totals,
            verification: verification.clone(),
            seen,
            is_uncovered,
            lags,
            open,
        })
    }

    /// What there is and what is owed, as a verification would have it.
    ///
    /// # Errors
    /// The books don't answer.
    pub(crate) async fn cover(&self, seen: &Seen) -> Result<(Totals, Cover), BooksError> {
        let totals = self.books.totals().await?;
        let difference = self.difference(seen, &totals).await?;
        let open = self.on_the_way(Some(difference)).await?;
        let cover = Cover::of(&totals, seen, &open);
        Ok((totals, cover))
    }

    async fn on_the_way(&self, difference: Option<i128>) -> Result<OnTheWay, BooksError> {
        let missing = difference.unwrap_or_default().min(0).unsigned_abs();
        Ok(OnTheWay {
            attempts: self.books.open_attempts().await?,
            rebalances: self.books.open_rebalances().await?,
            missing: Msat(u64::try_from(missing).unwrap_or(u64::MAX)),
        })
    }

    /// What the wallet has now.
    pub(crate) async fn seen(&self) -> Result<Seen, String> {
        let asked = async {
            let balances = self.wallet.wallet().balances().await?;
            let channels = self.wallet.wallet().channels().await?;
            Ok::<_, WalletError>(Seen { balances, channels })
        };
        self.wallet.noted(asked.await)
    }

    /// Whether wallet and books speak of the same chain: a wallet that lags behind has not seen a coinbase mature, or a channel close.
    async fn is_wallet_at_tip(&self) -> bool {
        let info = self.wallet.wallet().info().await;
        let height = self.tip.borrow().as_ref().map(|tip| tip.height);
        info.is_ok_and(|info| info.is_synced && Some(info.block_height) == height)
    }

    /// Whether money of ours may be on its way, in a payment or in a transaction that no block has.
    async fn is_anything_open(&self) -> Result<bool, BooksError> {
        Ok(!self.books.open_attempts().await?.is_empty()
            || !self.books.open_rebalances().await?.is_empty()
            || !self.books.open_withdrawals().await?.is_empty())
    }

    /// Books what the wallet has gained or lost by itself.
    async fn compare(
        &self,
        difference: &mut Difference,
        channels: &mut Option<usize>,
    ) -> Result<(), BooksError> {
        if !self.is_wallet_at_tip().await || self.is_anything_open().await? {
            *difference = Difference::default();
            return Ok(());
        }
        let Ok(seen) = self.seen().await else {
            return Ok(());
        };
        let is_settled = |channel: &hh_lightning::Channel| {
            channel.state == ChannelState::Ready && channel.pending_htlcs.is_empty()
        };
        if !seen.channels.iter().all(is_settled) {
            *difference = Difference::default();
            return Ok(());
        }
        let totals = self.books.totals().await?;
        let found = self.difference(&seen, &totals).await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!("hyperhash_treasury_ledger_mismatch_satoshis").set(found as f64 / 1_000.0);
        if !difference.saw(found) {
            if found == 0 {
                *channels = Some(seen.channels.len());
            }
            return Ok(());
        }
        let has_changed = channels.is_none_or(|before| before != seen.channels.len());
        self.book(found, has_changed).await?;
        *channels = Some(seen.channels.len());
        *difference = Difference::default();
        Ok(())
    }

    /// What the wallet has more than the books say, in msat.
    async fn difference(&self, seen: &Seen, totals: &Totals) -> Result<i128, BooksError> {
        let immature = self.immature().await?;
        Ok(actual(seen) - i128::from(immature.0) - i128::from(totals.wallet_msat))
    }

    async fn book(&self, found: i128, have_channels_changed: bool) -> Result<(), BooksError> {
        let amount = Msat(u64::try_from(found.unsigned_abs()).unwrap_or(u64::MAX));
        let change = if found > 0 {
            WalletChange::UnexplainedIn(amount)
        } else if have_channels_changed && amount <= CHANNEL_FEE_MAX {
            WalletChange::ChannelFee(amount)
        } else {
            WalletChange::UnexplainedOut(amount)
        };
        let now_ms = unix_ms();
        tracing::warn!(?change, "the wallet has changed by itself");
        let evidence = "the wallet's money beside the books', in a quiet moment".to_owned();
        let key = format!("wallet:{now_ms}");
        self.books
            .book_wallet_change(change, evidence, key, now_ms)
            .await?;
        Ok(())
    }

    /// Coinbases that the wallet has and the books have not moved to it yet.
    async fn immature(&self) -> Result<Msat, BooksError> {
        let blocks = self.books.blocks(BLOCKS_MAX).await?;
        let is_immature = |state| {
            matches!(
                state,
                BookBlockState::Accepted | BookBlockState::Confirmed | BookBlockState::Mature
            )
        };
        let values = blocks.iter().filter(|block| is_immature(block.state));
        let sum: Option<Msat> = values.filter_map(|block| block.value).sum();
        Ok(sum.unwrap_or(Msat::MAX_MONEY))
    }
}

/// Whether one more look is worth it: at a wallet that lags, or that seems to have too little while something still moves.
fn may_pass(lags: bool, is_uncovered: bool, steady: u32, looks: u32) -> bool {
    (lags && looks < STEADY_LOOKS) || (is_uncovered && steady < STEADY_LOOKS && looks < LOOKS_MAX)
}

/// All that the wallet has, wherever; coinbases that are not mature are among it on every backend.
fn actual(seen: &Seen) -> i128 {
    let sats = |amount: bitcoin::Amount| i128::from(amount.to_sat()) * 1_000;
    let closing = seen.balances.closing.iter();
    sats(seen.balances.onchain_total)
        + i128::from(seen.balances.in_channels.0)
        + closing.map(|closing| sats(closing.amount)).sum::<i128>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_money_counts_once_it_has_stood_still_or_for_half_a_minute() {
        assert!(!may_pass(false, false, 1, 1), "all is well");
        assert!(may_pass(false, true, 2, 2) && !may_pass(false, true, 3, 3));
        assert!(may_pass(false, true, 1, LOOKS_MAX - 1) && !may_pass(false, true, 1, LOOKS_MAX));
        assert!(may_pass(true, false, 1, 2) && !may_pass(true, false, 1, 3));
    }

    #[test]
    fn a_difference_counts_once_it_has_stood_still() {
        let mut difference = Difference::default();
        assert!(!difference.saw(-5) && !difference.saw(-5));
        assert!(!difference.saw(-7));
        assert!(!difference.saw(-7) && difference.saw(-7));
        assert!(!difference.saw(0) && !difference.saw(0) && !difference.saw(0));
    }
}
