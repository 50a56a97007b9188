//! Sends money of the operator's own to an address on the chain, and follows it until it is in a block.
//!
//! It is in the books before the wallet is asked, which is asked once. Nothing is ever sent again by itself: after a crash between the
//! commit and the wallet's answer its transaction is looked for, among those that the wallet took part in, by where it goes and how much.
//! There is one at a time, so that no two are alike. It is booked when a block has it, with the fee that Bitcoin Core tells; until then
//! nothing else that the wallet gains or loses is (ADR 0023).

mod free;

use crate::audit::Audit;
use crate::chain::{Chain, NoNode, Sighting, View};
use crate::clock::unix_ms;
use crate::crash;
use crate::exported;
use crate::lightning::WalletLink;
use crate::solvency::Seen;
use bitcoin::address::NetworkUnchecked;
use bitcoin::hashes::Hash;
use bitcoin::{Address, Amount, FeeRate, Network, Txid};
pub(crate) use free::{Free, NotPossible};
use hh_daemon::Chain as ErrorChain;
use hh_ledger::books::{
    Books, BooksError, NewWithdrawal, OpenedWithdrawal, TwoActors, Withdrawal, WithdrawalState,
};
use hh_lightning::{NodeInfo, PayError, SendOnChain, WalletError, WalletTransaction};
use hh_mining::Msat;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often one is looked for that has not ended.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(5);

/// Between two looks while an operator waits for the answer, and how long he does.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A node has a transaction within milliseconds after the call: before this a look that does not find it says nothing.
const SEND_GRACE_MS: i64 = 30_000;

/// A day's blocks: until then a transaction that nobody has may yet turn up, and two persons can't say that there is none.
const CLOSE_AFTER_BLOCKS: u32 = 144;

/// As deep as its transaction may lie when it is looked for again: a coinbase matures by that.
const LOOK_BACK_BLOCKS: u32 = 100;

/// Where no node has an estimate: the least that nodes relay.
const LEAST_RATE: FeeRate = FeeRate::BROADCAST_MIN;

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotBegun {
    #[error(transparent)]
    NotPossible(#[from] NotPossible),
    #[error("the wallet does not answer: {0}")]
    Wallet(String),
    #[error("the wallet is not in step with the chain; try again when `hhctl ln status` says so")]
    Behind,
    #[error(transparent)]
    Node(#[from] NoNode),
    #[error(transparent)]
    Books(#[from] BooksError),
}

/// Why one is not closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotClosed {
    #[error("withdrawal {id} is {state}")]
    Ended { id: u64, state: WithdrawalState },
    #[error("its transaction is there: it ends by itself when a block has it")]
    Seen,
    #[error("it can't be looked for now: {0}")]
    NotLooked(String),
    #[error("its transaction may turn up until block {until_height}, and the chain is at {height}")]
    TooEarly { until_height: u32, height: u32 },
    #[error(transparent)]
    Node(#[from] NoNode),
    #[error(transparent)]
    Books(#[from] BooksError),
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub address: Address,
    /// None: all that may leave.
    pub amount: Option<Msat>,
    /// None: what Bitcoin Core estimates.
    pub fee_rate: Option<FeeRate>,
}

/// What it comes to.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub amount: Msat,
    pub max_fee: Msat,
    pub fee_rate: FeeRate,
    /// Whether the rate was given or told by a node; else it is the least that is relayed.
    pub is_rate_known: bool,
    pub free: Free,
}

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    InBlock,
    /// A node has it, and no block.
    Waiting,
    Nowhere(String),
    /// Somebody who has to be asked did not answer.
    NotLooked(String),
}

/// See the module. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Withdrawer {
    pub books: Books,
    pub wallet: WalletLink,
    pub nodes: Chain,
    pub audit: Audit,
    pub network: Network,
    /// What the rules of channels leave on the chain.
    pub stays: Amount,
}

impl Withdrawer {
    /// What it would be. Changes nothing.
    ///
    /// # Errors
    /// It is not possible, payouts are frozen, or books, wallet or chain do not answer.
    pub(crate) async fn plan(&self, wanted: &Wanted) -> Result<Planned, NotBegun> {
        if let Some(freeze) = self.books.frozen().await? {
            let (reason, actor) = (freeze.reason, freeze.actor);
            return Err(BooksError::Frozen { reason, actor }.into());
        }
        if let Some(open) = self.books.open_withdrawals().await?.first() {
            return Err(BooksError::OpenWithdrawal { id: open.id }.into());
        }
        self.info().await?;
        let known = match wanted.fee_rate {
            Some(rate) => Some(rate),
            None => self.nodes.fee_rate().await,
        };
        let fee_rate = known.unwrap_or(LEAST_RATE).max(LEAST_RATE);
        // lnd knows whole ones only, and rounds up.
        let fee_rate = FeeRate::from_sat_per_vb(fee_rate.to_sat_per_vb_ceil()).unwrap_or(fee_rate);
        let max_fee = free::max_fee(fee_rate, self.spendable_outputs().await?);
        let seen = self.audit.seen().await.map_err(NotBegun::Wallet)?;
        let free = self.free(&seen).await?;
        let least = wanted.address.script_pubkey().minimal_non_dust();
        let least = Msat::from_sats(least.to_sat()).unwrap_or(Msat::MAX_MONEY);
        Ok(Planned {
            amount: free.allow(wanted.amount, max_fee, least)?,
            max_fee,
            fee_rate,
            is_rate_known: known.is_some(),
            free,
        })
    }

    /// What may leave a wallet that has this.
    ///
    /// # Errors
    /// The books do not answer.
    pub(crate) async fn free(&self, seen: &Seen) -> Result<Free, BooksError> {
        let (totals, cover) = self.audit.cover(seen).await?;
        Ok(Free::of(&totals, cover, &seen.balances, self.stays))
    }

    /// Those that a transaction could spend; where the wallet does not list them there are no more than it has had transactions.
    async fn spendable_outputs(&self) -> Result<usize, NotBegun> {
        let wallet = self.wallet.wallet();
        let count = async {
            if wallet.capabilities().lists_outputs.is_err() {
                return Ok::<_, WalletError>(wallet.transactions(0).await?.len());
            }
            let outputs = wallet.outputs().await?;
            let spendable = outputs.iter();
            let spendable = spendable.filter(|output| !output.is_immature && !output.is_reserved);
            Ok(spendable.count())
        };
        self.wallet.noted(count.await).map_err(NotBegun::Wallet)
    }

    async fn info(&self) -> Result<NodeInfo, NotBegun> {
        let info = self.wallet.noted(self.wallet.wallet().info().await);
        let info = info.map_err(NotBegun::Wallet)?;
        if info.is_synced {
            Ok(info)
        } else {
            Err(NotBegun::Behind)
        }
    }

    /// What a request with this key has come to before.
    ///
    /// # Errors
    /// The key was used for another one; the books do not answer.
    pub(crate) async fn known(
        &self,
        wanted: &Wanted,
        key: &str,
    ) -> Result<Option<Withdrawal>, BooksError> {
        let Some(known) = self.books.withdrawal_by_key(key.to_owned()).await? else {
            return Ok(None);
        };
        let is_same_amount = wanted.amount.is_none_or(|amount| amount == known.amount);
        if known.address != wanted.address.to_string() || !is_same_amount {
            let key = key.to_owned();
            return Err(BooksError::KeyTaken { key });
        }
        Ok(Some(known))
    }

    /// Writes it down and asks the wallet, once.
    ///
    /// # Errors
    /// The wallet or the chain does not answer, or the books refuse.
    pub(crate) async fn begin(
        &self,
        (wanted, planned): (&Wanted, &Planned),
        key: &str,
        actor: &str,
        actors: Option<TwoActors>,
    ) -> Result<Withdrawal, NotBegun> {
        let info = self.info().await?;
        let new = NewWithdrawal {
            key: key.to_owned(),
            address: wanted.address.to_string(),
            amount: planned.amount,
            max_fee: planned.max_fee,
            wallet_node: info.node_id.to_string(),
            height: self.nodes.view().await?.height,
            actor: actor.to_owned(),
        };
        let opened = self.books.open_withdrawal(new, actors, unix_ms()).await?;
        let opened = match opened {
            // Somebody was quicker with the same request: he asks the wallet.
            OpenedWithdrawal::Known(known) => return Ok(known),
            OpenedWithdrawal::New(opened) => opened,
        };
        crash::point("withdrawal.opened");
        let request = SendOnChain {
            address: wanted.address.clone(),
            amount: Amount::from_sat(planned.amount.0 / 1_000),
            fee_rate: Some(planned.fee_rate),
        };
        let sent = self.wallet.wallet().send_on_chain(&request).await;
        crash::point("withdrawal.sent");
        match sent {
            Ok(txid) => self.sent(&opened, txid).await?,
            Err(PayError::Refused(refusal)) => {
                let why = format!("the wallet refused the call: {refusal}");
                self.fail(&opened, why).await?;
            }
            Err(error) => {
                let why = ErrorChain(&error).to_string();
                let id = opened.id;
                tracing::warn!(withdrawal = id, why, "outcome of a withdrawal not known");
            }
        }
        Ok(self.books.withdrawal(opened.id).await?)
    }

    /// Waits a little until a node has its transaction.
    ///
    /// # Errors
    /// The books do not answer.
    pub(crate) async fn follow(&self, mut now: Withdrawal) -> Result<Withdrawal, BooksError> {
        let end = Instant::now() + ANSWER_WITHIN;
        while is_open(&now) {
            let sight = self.resolve(&now).await?;
            now = self.books.withdrawal(now.id).await?;
            let is_there = matches!(sight, Sight::InBlock | Sight::Waiting);
            if is_there || Instant::now() >= end {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(now)
    }

    /// Looks for one that has not ended, until `stop` is cancelled. It is all that there is to do after a crash.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let looked_up = async {
                for open in self.books.open_withdrawals().await? {
                    self.resolve(&open).await?;
                }
                Ok::<_, BooksError>(())
            };
            if let Err(error) = looked_up.await {
                let error = ErrorChain(&error).to_string();
                tracing::warn!(error, "open withdrawals not looked for");
            }
            let pause = tokio::time::sleep(LOOK_UP_INTERVAL);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Whether two persons may say that nothing was sent.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn may_close(&self, id: u64) -> Result<Withdrawal, NotClosed> {
        let mut known = self.books.withdrawal(id).await?;
        if is_open(&known) {
            match self.resolve(&known).await? {
                Sight::Nowhere(_) => {}
                Sight::NotLooked(why) => return Err(NotClosed::NotLooked(why)),
                Sight::InBlock | Sight::Waiting => return Err(NotClosed::Seen),
            }
            known = self.books.withdrawal(id).await?;
        }
        if !is_open(&known) {
            let state = known.state;
            return Err(NotClosed::Ended { id, state });
        }
        let (until_height, height) = (closes_at(&known), self.nodes.view().await?.height);
        if height < until_height {
            return Err(NotClosed::TooEarly {
                until_height,
                height,
            });
        }
        Ok(known)
    }

    /// Looks for its transaction, and writes down what follows.
    async fn resolve(&self, open: &Withdrawal) -> Result<Sight, BooksError> {
        let sight = match self.look(open).await {
            Ok(Some((txid, sighting))) => self.found(open, txid, &sighting).await?,
            Ok(None) => Sight::Nowhere(nowhere(open)),
            Err(sight) => sight,
        };
        let waits_for = match &sight {
            Sight::InBlock => return Ok(sight),
            Sight::Waiting => None,
            Sight::Nowhere(_) if was_just_sent(open) => None,
            Sight::Nowhere(why) | Sight::NotLooked(why) => Some(why.clone()),
        };
        let is_news = open.reason != waits_for;
        if is_news
            && self
                .books
                .withdrawal_waits(open.id, waits_for.clone())
                .await?
            && let Some(why) = waits_for
        {
            tracing::warn!(withdrawal = open.id, why, "withdrawal waits");
        }
        Ok(sight)
    }

    /// Its transaction, if the wallet knows one that a node has.
    async fn look(&self, open: &Withdrawal) -> Result<Option<(Txid, Sighting)>, Sight> {
        let not_looked = |why: String| Sight::NotLooked(why);
        let info = self.wallet.wallet().info().await;
        let info = self.wallet.noted(info);
        let info = info.map_err(|why| not_looked(format!("the wallet does not answer: {why}")))?;
        if info.node_id.to_string() != open.wallet_node {
            let why = format!(
                "the wallet is node {}, and node {} was asked to send it: start that one again",
                info.node_id, open.wallet_node
            );
            return Err(not_looked(why));
        }
        let view = self.nodes.view().await;
        let view = view.map_err(|error| not_looked(error.to_string()))?;
        if !info.is_synced || info.block_height < view.height {
            let why = "the wallet is not in step with the chain".to_owned();
            return Err(not_looked(why));
        }
        let from = open.height.saturating_sub(LOOK_BACK_BLOCKS);
        let known = self.wallet.wallet().transactions(from).await;
        let known = self.wallet.noted(known);
        let known =
            known.map_err(|why| not_looked(format!("the wallet does not answer: {why}")))?;
        self.among(open, &known, &view).await
    }

    /// The one of these that pays it.
    async fn among(
        &self,
        open: &Withdrawal,
        known: &[WalletTransaction],
        view: &View,
    ) -> Result<Option<(Txid, Sighting)>, Sight> {
        let not_looked = |error: &dyn std::error::Error| Sight::NotLooked(error.to_string());
        for candidate in self
            .candidates(open, known)
            .await
            .map_err(|error| not_looked(&error))?
        {
            let seen = view.transaction(candidate.txid, candidate.height).await;
            let seen = seen.map_err(|error| Sight::NotLooked(ErrorChain(&error).to_string()))?;
            if let Some(sighting) = seen
                && self.pays(&sighting, open)
            {
                return Ok(Some((candidate.txid, sighting)));
            }
        }
        Ok(None)
    }

    /// Which transactions may be it: the one that the wallet has named, or any that is newer and no other withdrawal's.
    async fn candidates(
        &self,
        open: &Withdrawal,
        known: &[WalletTransaction],
    ) -> Result<Vec<WalletTransaction>, BooksError> {
        if let Some(txid) = open.txid {
            let txid = Txid::from_byte_array(txid);
            let seen = known.iter().find(|known| known.txid == txid);
            let height = seen.and_then(|seen| seen.height);
            return Ok(vec![WalletTransaction { txid, height }]);
        }
        let mut candidates = Vec::new();
        let is_newer = |known: &WalletTransaction| known.height.is_none_or(|at| at > open.height);
        for known in known.iter().copied().filter(is_newer) {
            if !self.books.is_withdrawal(known.txid.to_byte_array()).await? {
                candidates.push(known);
            }
        }
        Ok(candidates)
    }

    fn pays(&self, sighting: &Sighting, open: &Withdrawal) -> bool {
        let address = open.address.parse::<Address<NetworkUnchecked>>().ok();
        let address = address.and_then(|address| address.require_network(self.network).ok());
        let script = address.map(|address| address.script_pubkey());
        sighting.transaction.output.iter().any(|output| {
            Some(&output.script_pubkey) == script.as_ref()
                && Msat::from_sats(output.value.to_sat()) == Some(open.amount)
        })
    }

    async fn found(
        &self,
        open: &Withdrawal,
        txid: Txid,
        sighting: &Sighting,
    ) -> Result<Sight, BooksError> {
        if open.txid.is_none() {
            tracing::info!(withdrawal = open.id, %txid, "transaction of a withdrawal found");
            self.sent(open, txid).await?;
        }
        let Some(height) = sighting.height else {
            return Ok(Sight::Waiting);
        };
        let Some(fee) = sighting.fee.and_then(|fee| Msat::from_sats(fee.to_sat())) else {
            let why = format!(
                "Bitcoin Core does not tell the fee of {txid}: it has pruned what that spends; name a node that has not"
            );
            return Ok(Sight::NotLooked(why));
        };
        crash::point("withdrawal.settle.before");
        let settled = self
            .books
            .withdrawal_settled(open.id, fee, height, unix_ms());
        if settled.await? {
            let (id, fee_msat) = (open.id, fee.0);
            tracing::info!(withdrawal = id, %txid, fee_msat, height, "withdrawal settled");
            exported::withdrawal_ended("settled");
        }
        Ok(Sight::InBlock)
    }

    async fn sent(&self, open: &Withdrawal, txid: Txid) -> Result<(), BooksError> {
        let sent = self.books.withdrawal_sent(open.id, txid.to_byte_array());
        if sent.await? {
            tracing::info!(withdrawal = open.id, %txid, "withdrawal is on its way");
        }
        Ok(())
    }

    async fn fail(&self, open: &Withdrawal, why: String) -> Result<(), BooksError> {
        let failed = self
            .books
            .withdrawal_failed(open.id, why.clone(), unix_ms());
        if failed.await? {
            tracing::warn!(withdrawal = open.id, why, "withdrawal failed");
            exported::withdrawal_ended("failed");
        }
        Ok(())
    }
}

/// Its transaction is known, and may be on its way to a node.
fn was_just_sent(open: &Withdrawal) -> bool {
    open.txid.is_some() && unix_ms() < open.opened_at_ms.saturating_add(SEND_GRACE_MS)
}

fn is_open(withdrawal: &Withdrawal) -> bool {
    matches!(
        withdrawal.state,
        WithdrawalState::Open | WithdrawalState::Sent
    )
}

/// The height from which on two persons may say that nothing was sent.
fn closes_at(open: &Withdrawal) -> u32 {
    open.height.saturating_add(CLOSE_AFTER_BLOCKS)
}

/// What an operator reads of one that is not found, and his way out.
fn nowhere(open: &Withdrawal) -> String {
    let way_out = format!(
        "from block {} on two operators can say that it is not to be waited for: `hhctl treasury withdrawal close-failed {}`",
        closes_at(open),
        open.id
    );
    match open.txid {
        None => format!(
            "the wallet did not say whether it has sent it, and no transaction is known that pays it; it is not sent again. A block may yet have \
             it; {way_out}"
        ),
        Some(txid) => format!(
            "no node has its transaction {}; the wallet may send that again, and nobody else does; {way_out}",
            Txid::from_byte_array(txid)
        ),
    }
}
