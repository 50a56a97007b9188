//! Moves money from one channel of ours to another, by a payment of the wallet to itself, and follows it until the wallet has said what
//! became of it.
//!
//! As with a payout the order of commits and calls is the whole of it: the payment's hash is in the books before the wallet is asked,
//! which is asked once. Nothing is ever sent again by itself: a rebalance that was never sent has failed, and an operator asks for another.

mod plan;

use crate::clock::unix_ms;
use crate::crash;
use crate::lightning::WalletLink;
use crate::payouts::{Answer, ChainPlace, Verdict};
use crate::tip::Tip;
use hh_ledger::books::{Books, BooksError, NewRebalance, Opened, Rebalance, RebalanceState};
use hh_lightning::{
    Channel, ChannelId, Dispatch, InvoiceDetails, InvoiceRequest, NodeInfo, PayError, PayRequest,
    PaymentHash, Refusal, WalletError,
};
use hh_mining::Msat;
pub(crate) use plan::{NotPossible, Planned, Wanted};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// For how long the wallet may begin new tries: a way back to oneself is harder to find than one to others.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long the wallet's invoice to itself can be paid: longer than it is tried, with what the wallet wants beside that.
const INVOICE_EXPIRY: Duration = Duration::from_secs(600);

/// How often those are looked up whose outcome is open.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(5);

/// Between two looks while an operator waits for the answer, and how long he does: most take seconds, and the others go on by
/// themselves.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Why there is no rebalance. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotBegun {
    #[error(transparent)]
    NotPossible(#[from] NotPossible),
    #[error("the wallet does not answer: {0}")]
    Wallet(String),
    #[error("the wallet is not in step with the chain; try again when `hhctl ln status` says so")]
    Behind,
    #[error("the wallet's own invoice can't be paid")]
    Invoice(#[from] Refusal),
    #[error(transparent)]
    Books(#[from] BooksError),
}

/// See the module. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Rebalancer {
    pub books: Books,
    pub wallet: WalletLink,
    pub tip: watch::Receiver<Option<Tip>>,
    /// Most blocks for which a payment may lock our money.
    pub cltv_limit: u32,
}

impl Rebalancer {
    /// What it would be. Changes nothing.
    ///
    /// # Errors
    /// It is not possible, or the wallet does not answer.
    pub(crate) async fn plan(&self, wanted: &Wanted) -> Result<Planned, NotBegun> {
        let (_, channels) = self.ask().await?;
        Ok(wanted.plan(&channels)?)
    }

    /// Writes it down, asks the wallet, and waits a little for the outcome. What comes again with the same key is what it was.
    ///
    /// # Errors
    /// It is not possible, the wallet does not answer, or the books refuse: frozen, or the key was used for something else.
    pub(crate) async fn run_one(
        &self,
        wanted: &Wanted,
        key: &str,
        actor: &str,
    ) -> Result<Rebalance, NotBegun> {
        let begun = match self.books.rebalance_by_key(key.to_owned()).await? {
            Some(known) => wanted.same(known)?,
            None => self.begin(wanted, key, actor).await?,
        };
        let end = Instant::now() + ANSWER_WITHIN;
        let mut now = begun;
        while now.state == RebalanceState::Open && Instant::now() < end {
            self.resolve(&now).await?;
            let known = self.books.rebalance_by_key(key.to_owned()).await?;
            now = known.unwrap_or(now);
            if now.state == RebalanceState::Open {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(now)
    }

    async fn ask(&self) -> Result<(NodeInfo, Vec<Channel>), NotBegun> {
        let asked = async {
            let info = self.wallet.wallet().info().await?;
            let channels = self.wallet.wallet().channels().await?;
            Ok::<_, WalletError>((info, channels))
        };
        let asked = self.wallet.noted(asked.await).map_err(NotBegun::Wallet)?;
        if asked.0.is_synced {
            Ok(asked)
        } else {
            Err(NotBegun::Behind)
        }
    }

    async fn begin(&self, wanted: &Wanted, key: &str, actor: &str) -> Result<Rebalance, NotBegun> {
        let (info, channels) = self.ask().await?;
        let planned = wanted.plan(&channels)?;
        let invoice = InvoiceRequest {
            amount: Some(wanted.amount),
            details: InvoiceDetails::Text("rebalance".to_owned()),
            expiry: INVOICE_EXPIRY,
        };
        let invoice = self.wallet.wallet().invoice(&invoice).await;
        let invoice = self.wallet.noted(invoice).map_err(NotBegun::Wallet)?;
        let request = hh_lightning::Rebalance {
            payment: PayRequest {
                invoice,
                amount: None,
                max_fee: planned.max_fee,
                cltv_limit: self.cltv_limit,
                timeout: TIMEOUT,
            },
            from: wanted.from,
            into: wanted.into,
        };
        let payable = request.check(&info.node_id, info.network, SystemTime::now())?;
        let new = NewRebalance {
            key: key.to_owned(),
            payment_hash: payable.hash.0,
            from: wanted.from.to_string(),
            into: wanted.into.to_string(),
            amount: wanted.amount,
            max_fee: planned.max_fee,
            cltv_limit: self.cltv_limit,
            wallet_node: info.node_id.to_string(),
            height: info.block_height,
            channels: channels.iter().map(|known| known.id.to_string()).collect(),
            actor: actor.to_owned(),
        };
        let opened = match self.books.open_rebalance(new, unix_ms()).await? {
            // Somebody was quicker with the same request: he asks the wallet.
            Opened::Known(known) => return Ok(known),
            Opened::New(opened) => opened,
        };
        crash::point("rebalance.opened");
        let sent = self.wallet.wallet().rebalance(&request).await;
        crash::point("rebalance.sent");
        match sent {
            Ok(()) => tracing::info!(rebalance = opened.id, "rebalance is on its way"),
            Err(PayError::Refused(refusal)) => {
                let why = format!("the wallet refused the call: {refusal}");
                self.fail(&opened, why).await?;
            }
            Err(error) => {
                let why = hh_daemon::Chain(&error).to_string();
                let id = opened.id;
                tracing::warn!(rebalance = id, why, "outcome of a rebalance not known");
            }
        }
        Ok(opened)
    }

    /// Looks those up whose outcome is open, until `stop` is cancelled. It is all that there is to do after a crash.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let looked_up = async {
                for open in self.books.open_rebalances().await? {
                    self.resolve(&open).await?;
                }
                Ok::<_, BooksError>(())
            };
            if let Err(error) = looked_up.await {
                let error = hh_daemon::Chain(&error).to_string();
                tracing::warn!(error, "open rebalances not looked up");
            }
            let pause = tokio::time::sleep(LOOK_UP_INTERVAL);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Asks the recorded wallet what became of it, and writes down what follows.
    async fn resolve(&self, open: &Rebalance) -> Result<(), BooksError> {
        let answer = self.look_up(open).await;
        let place = ChainPlace {
            height: self.tip.borrow().as_ref().map(|tip| tip.height),
            dispatch_height: open.height,
            cltv_limit: open.cltv_limit,
        };
        // Of a payout this would need a person. Here no money is at stake once no HTLC can be left: it is in one of our channels.
        let is_over = place.is_past_limit() && !matches!(answer, Answer::None(_));
        match answer.verdict(place) {
            Verdict::Settled { preimage, fee } => {
                self.settle(open, preimage.0, fee.unwrap_or_default()).await
            }
            Verdict::FailedFinal(code) => self.fail(open, code.to_string()).await,
            Verdict::NeverSent => {
                let why =
                    "never sent: the recorded wallet does not know it, and no channel can carry it";
                self.fail(open, why.to_owned()).await
            }
            Verdict::NeedsOperator(why) if is_over => self.fail(open, why).await,
            Verdict::InFlight | Verdict::Wait(_) | Verdict::NeedsOperator(_) => Ok(()),
        }
    }

    async fn look_up(&self, open: &Rebalance) -> Answer {
        let Some(dispatch) = dispatch(open) else {
            return Answer::None("what the books have of it can't be read".to_owned());
        };
        match self.wallet.wallet().lookup(&dispatch).await {
            Ok(lookup) => Answer::Wallet(lookup),
            Err(error @ WalletError::OtherWallet { .. }) => {
                Answer::AnotherWallet(error.to_string())
            }
            Err(error) => Answer::None(hh_daemon::Chain(&error).to_string()),
        }
    }

    async fn settle(
        &self,
        open: &Rebalance,
        preimage: [u8; 32],
        fee: Msat,
    ) -> Result<(), BooksError> {
        crash::point("rebalance.settle.before");
        let settled = self
            .books
            .rebalance_settled(open.id, preimage, fee, unix_ms());
        if settled.await? {
            let (id, fee_msat) = (open.id, fee.0);
            tracing::info!(rebalance = id, fee_msat, "rebalance settled");
        }
        Ok(())
    }

    async fn fail(&self, open: &Rebalance, why: String) -> Result<(), BooksError> {
        let failed = self.books.rebalance_failed(open.id, why.clone(), unix_ms());
        if failed.await? {
            tracing::warn!(rebalance = open.id, why, "rebalance failed");
        }
        Ok(())
    }
}

/// What was written down before the wallet was asked.
fn dispatch(open: &Rebalance) -> Option<Dispatch> {
    let at_ms = u64::try_from(open.opened_at_ms).ok()?;
    let channels: Result<Vec<ChannelId>, _> = open.channels.iter().map(|id| id.parse()).collect();
    Some(Dispatch {
        wallet: open.wallet_node.parse().ok()?,
        hash: PaymentHash(open.payment_hash),
        amount: open.amount,
        at: UNIX_EPOCH + Duration::from_millis(at_ms),
        timeout: TIMEOUT,
        channels: channels.ok()?,
    })
}
