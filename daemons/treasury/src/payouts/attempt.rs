//! One attempt: handed over once, and followed until the recorded wallet has said what became of it.
//!
//! The order of commits and calls is the whole of it. Between any two of them the process may end (`crash::point`), and what is
//! in the books then is enough to go on without paying twice: before `dispatched` is committed nothing was sent, after it only the
//! wallet knows.

use super::order::Order;
use super::verdict::{Answer, ChainPlace, Verdict};
use super::{ACTOR, Backoff, Rules};
use crate::clock::unix_ms;
use crate::crash;
use crate::destination::{Destinations, NoInvoice};
use crate::exported;
use crate::lightning::{NotReady, Readiness, WalletLink};
use crate::operators::Operators;
use crate::tip::Tip;
use bitcoin::secp256k1::PublicKey;
use hh_ledger::books::{
    Attempt, AttemptId, AttemptState, Books, BooksError, DestinationKind, NewAttempt, Payout,
    PayoutId, Settlement,
};
use hh_lightning::{
    Absence, Bolt11Invoice, ChannelId, Dispatch, FetchInvoice, Lookup, Offer, PayError, PayFetched,
    PayRequest, PaymentHash, Refusal, WalletError,
};
use hh_mining::{Msat, Network};
use metrics::{counter, histogram};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// For how long a wallet may begin new tries of a payment; most are through in a second, and an average below 30 s is asked for.
const PAY_TIMEOUT: Duration = Duration::from_secs(25);

/// What pays, and by which limits. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Payer {
    pub books: Books,
    pub wallet: WalletLink,
    pub destinations: Destinations,
    pub operators: Operators,
    pub tip: watch::Receiver<Option<Tip>>,
    pub chain: Network,
    pub backoff: Backoff,
    pub rules: Rules,
    pub cltv_limit: u32,
}

/// Why a payout is not under way. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    /// The wallet can't pay now: the payout waits as it is, and no try is counted.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// There is no invoice to pay.
    #[error(transparent)]
    NoInvoice(#[from] NoInvoice),
    #[error(transparent)]
    Books(#[from] BooksError),
}

/// Whether there is more to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Ended,
    Open,
}

impl Payer {
    /// Fetches the invoice of a payout that is due, and hands it over.
    ///
    /// # Errors
    /// Nothing was sent; what follows from it is in the books.
    pub(crate) async fn send(&self, payout: &Payout) -> Result<AttemptId, NotSent> {
        let id = payout.id;
        let ready = self.wallet.readiness(payout.amount, only_peer(payout));
        let ready = ready.await?;
        self.books.resolving(id, unix_ms()).await?;
        crash::point("payout.resolving");
        let order = match self.order(payout, &ready).await {
            Ok(order) => order,
            Err(NotSent::NoInvoice(error)) => {
                self.postpone(payout, &error).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error),
        };
        self.books.ready(id, unix_ms()).await?;
        self.operators.strike(&self.books, payout).await?;
        crash::point("attempt.prepare.before");
        let prepared = self
            .books
            .prepare_attempt(self.attempt(payout, &order, &ready), unix_ms());
        let attempt = match prepared.await {
            Ok(attempt) => attempt,
            Err(error) => return Err(self.unprepared(payout, error).await?),
        };
        crash::point("attempt.prepared");
        self.hand_over(attempt, payout, &order, &ready).await?;
        Ok(attempt)
    }

    /// What follows where the books take no attempt. What passes by itself, as a freeze or a day's limit, changes nothing.
    async fn unprepared(&self, payout: &Payout, error: BooksError) -> Result<NotSent, BooksError> {
        match error {
            // Its payee is paid elsewhere now: the next payout goes there.
            BooksError::Destination { .. } => {
                let reason = error.to_string();
                self.give_back(payout, reason).await?;
            }
            BooksError::HashTaken
            | BooksError::Expired
            | BooksError::AnotherAmount { .. }
            // Longer than what is kept.
            | BooksError::Text { .. } => {
                self.postpone(payout, &error).await?;
            }
            _ => {}
        }
        Ok(NotSent::Books(error))
    }

    /// The invoice to pay, checked in every way that needs no wallet.
    async fn order(&self, payout: &Payout, ready: &Readiness) -> Result<Order, NotSent> {
        let order = match payout.to.kind {
            DestinationKind::Bolt12 => Order::Fetched(self.fetched(payout).await?),
            DestinationKind::LnAddress
            | DestinationKind::NodeInvoice
            | DestinationKind::Bolt11Draw => {
                let invoice = self.destinations.invoice(payout).await?;
                Order::Invoice(self.request(payout.amount, invoice))
            }
        };
        let payable = order
            .check(&ready.node_id, self.chain, SystemTime::now())
            .map_err(NoInvoice::from)?;
        let known = self.books.attempts_by_hash(vec![payable.hash.0]).await?;
        if !known.is_empty() {
            return Err(NoInvoice::Used.into());
        }
        Ok(order)
    }

    /// The invoice of an offer, as its payee makes it now.
    async fn fetched(&self, payout: &Payout) -> Result<PayFetched, NoInvoice> {
        let text = &payout.to.text;
        let offer = text.parse::<Offer>();
        let offer = offer.map_err(|_error| NoInvoice::Unreadable(text.clone()))?;
        let request = FetchInvoice {
            offer,
            amount: payout.amount,
            note: Some(format!("payout {} of {}", payout.id, payout.payee)),
        };
        let fetched = self.wallet.wallet().fetch_invoice(&request).await;
        let invoice = fetched.map_err(|error| NoInvoice::NotFetched(Box::new(error)))?;
        Ok(PayFetched {
            invoice,
            max_fee: self.rules.max_fee(payout.amount),
            cltv_limit: self.cltv_limit,
            timeout: PAY_TIMEOUT,
        })
    }

    /// An invoice with the limits that it is paid by.
    pub(crate) fn request(&self, amount: Msat, invoice: Bolt11Invoice) -> PayRequest {
        PayRequest {
            amount: Some(amount),
            invoice,
            max_fee: self.rules.max_fee(amount),
            cltv_limit: self.cltv_limit,
            timeout: PAY_TIMEOUT,
        }
    }

    fn attempt(&self, payout: &Payout, order: &Order, ready: &Readiness) -> NewAttempt {
        NewAttempt {
            payout: payout.id,
            payment_hash: order.hash(),
            invoice: order.text(),
            amount: payout.amount,
            max_fee: order.max_fee(),
            cltv_limit: order.cltv_limit(),
            wallet_node: ready.node_id.to_string(),
            invoice_expires_at_ms: order.expires_at_ms(),
            day_limit: Some(self.rules.max_day),
        }
    }

    /// Calls the wallet, once. What it does not say for sure is looked up later.
    async fn hand_over(
        &self,
        attempt: AttemptId,
        payout: &Payout,
        order: &Order,
        ready: &Readiness,
    ) -> Result<(), BooksError> {
        let channels = ready.channels.iter().map(ToString::to_string).collect();
        self.operators.strike(&self.books, payout).await?;
        crash::point("attempt.dispatch.before");
        self.books
            .dispatched(attempt, ready.height, channels, unix_ms())
            .await?;
        crash::point("attempt.dispatched");
        let paid = order.hand_to(self.wallet.wallet()).await;
        crash::point("attempt.pay.after");
        match paid {
            Ok(()) => {
                self.books.in_flight(attempt, unix_ms()).await?;
                crash::point("attempt.in_flight");
            }
            // It is down or stops: the same invoice may be sent once it is back.
            Err(PayError::Refused(Refusal::NotTaken(why))) => {
                self.books.unknown(attempt, why.clone(), unix_ms()).await?;
                let evidence = format!("the wallet did not take the call: {why}");
                self.books.never_sent(attempt, evidence, unix_ms()).await?;
            }
            Err(PayError::Refused(refusal)) => {
                let evidence = format!("the wallet refused the call: {refusal}");
                self.fail(attempt, payout, "refused", &evidence).await?;
            }
            Err(error) => {
                let why = hh_daemon::Chain(&error).to_string();
                tracing::warn!(attempt = attempt.0, why, "outcome of a payment not known");
                self.books.unknown(attempt, why, unix_ms()).await?;
            }
        }
        Ok(())
    }

    /// Asks the wallet what became of an attempt, and writes down what follows from it.
    ///
    /// # Errors
    /// The books don't answer.
    pub(crate) async fn resolve(&self, attempt: &Attempt) -> Result<Progress, BooksError> {
        if attempt.state == AttemptState::Prepared {
            return self.resume(attempt).await;
        }
        let answer = self.ask(attempt).await;
        crash::point("attempt.looked_up");
        self.conclude(attempt, &answer).await
    }

    /// Writes down what follows from the wallet's answer.
    async fn conclude(&self, attempt: &Attempt, answer: &Answer) -> Result<Progress, BooksError> {
        let place = self.place(attempt);
        match answer.verdict(place) {
            Verdict::Settled { preimage, fee } => {
                let fee = fee.unwrap_or_else(|| unknown_fee(attempt));
                self.settle(attempt, preimage.0, fee).await?;
                Ok(Progress::Ended)
            }
            Verdict::FailedFinal(code) => {
                let Some(payout) = self.payout(attempt.payout).await? else {
                    return Ok(Progress::Ended);
                };
                let evidence = "the wallet has given it up, and no HTLC of it is left";
                self.fail(attempt.id, &payout, code.as_str(), evidence)
                    .await?;
                Ok(Progress::Ended)
            }
            Verdict::NeverSent => self.send_again(attempt).await,
            Verdict::InFlight => {
                if attempt.state != AttemptState::InFlight {
                    self.books.in_flight(attempt.id, unix_ms()).await?;
                }
                Ok(Progress::Open)
            }
            Verdict::Wait(why) => {
                // One that the wallet has said it took is in flight until it says something else.
                if attempt.state == AttemptState::Dispatched {
                    self.doubt(attempt, &why).await?;
                }
                Ok(Progress::Open)
            }
            Verdict::NeedsOperator(why) => {
                self.doubt(attempt, &why).await?;
                self.call_operator(attempt.payout, &why).await?;
                Ok(Progress::Open)
            }
        }
    }

    /// A payment that the wallet says was settled: the preimage is the receipt.
    pub(crate) async fn settle(
        &self,
        attempt: &Attempt,
        preimage: [u8; 32],
        fee: Msat,
    ) -> Result<(), BooksError> {
        // Where a look-up was quicker than the wallet's event, that comes after it, also at a next start: nothing is left to do.
        if attempt.state == AttemptState::Settled {
            return Ok(());
        }
        crash::point("attempt.settle.before");
        let now_ms = unix_ms();
        let booked = self
            .books
            .settled(attempt.id, preimage, fee, now_ms)
            .await?;
        crash::point("attempt.settled");
        let (payout, payee) = (attempt.payout.0, attempt.payee.to_string());
        match booked {
            Settlement::Known => return Ok(()),
            Settlement::Loss => {
                tracing::error!(payout, payee, "payment settled after it was closed: a loss");
            }
            Settlement::Paid => {
                let fee_msat = fee.0;
                tracing::info!(payout, payee, fee_msat, "payout settled");
            }
        }
        exported::payment_settled();
        counter!("hyperhash_payouts_total", "rail" => "lightning", "result" => "settled")
            .increment(1);
        if let Some(dispatched_ms) = attempt.dispatched_at_ms {
            let took_ms = u64::try_from(now_ms.saturating_sub(dispatched_ms)).unwrap_or_default();
            histogram!("hyperhash_payout_latency_seconds", "rail" => "lightning")
                .record(Duration::from_millis(took_ms));
        }
        Ok(())
    }

    async fn ask(&self, attempt: &Attempt) -> Answer {
        let dispatch = match dispatch(attempt) {
            Ok(dispatch) => dispatch,
            Err(what) => return Answer::None(format!("the books have no {what} of it")),
        };
        match self.wallet.wallet().lookup(&dispatch).await {
            Ok(lookup) => Answer::Wallet(lookup),
            Err(error @ WalletError::OtherWallet { .. }) => {
                Answer::AnotherWallet(error.to_string())
            }
            Err(error) => Answer::None(hh_daemon::Chain(&error).to_string()),
        }
    }

    /// What the wallet that was to pay an attempt says of it now, for who asks; nothing follows from it.
    ///
    /// # Errors
    /// Why it says nothing.
    pub(crate) async fn look(&self, attempt: &Attempt) -> Result<Lookup, String> {
        match self.ask(attempt).await {
            Answer::Wallet(lookup) => Ok(lookup),
            Answer::AnotherWallet(why) | Answer::None(why) => Err(why),
        }
    }

    fn place(&self, attempt: &Attempt) -> ChainPlace {
        ChainPlace {
            height: self.tip.borrow().as_ref().map(|tip| tip.height),
            dispatch_height: attempt.dispatch_height.unwrap_or_default(),
            cltv_limit: attempt.cltv_limit,
        }
    }

    /// Prepared, and nobody is at it: the process ended before anything was sent. An invoice that was fetched is fetched anew.
    ///
    /// A ledger that was restored, or a standby that took over, may have lost the commit which says that it was sent. So the wallet is
    /// asked first, and while payouts are frozen, as they are then, nothing is concluded from what it does not know.
    async fn resume(&self, attempt: &Attempt) -> Result<Progress, BooksError> {
        let Some(payout) = self.payout(attempt.payout).await? else {
            return Ok(Progress::Ended);
        };
        match self.ask(attempt).await {
            Answer::None(_) => return Ok(Progress::Open),
            Answer::Wallet(Lookup::Absent(Absence::NeverSent | Absence::Unclear(_)))
            | Answer::AnotherWallet(_) => {
                if self.books.frozen().await?.is_some() {
                    return Ok(Progress::Open);
                }
            }
            known @ Answer::Wallet(_) => {
                let id = attempt.id.0;
                tracing::warn!(
                    attempt = id,
                    "the wallet knows a payment that the books have only prepared"
                );
                self.books.in_flight(attempt.id, unix_ms()).await?;
                return self.conclude(attempt, &known).await;
            }
        }
        if is_fetched(&payout) || !self.may_send(attempt) {
            let why = "it was prepared and not sent".to_owned();
            self.books.abandoned(attempt.id, why, unix_ms()).await?;
            return Ok(Progress::Ended);
        }
        self.send_prepared(attempt, &payout).await
    }

    /// The wallet has never sent it: the same invoice again, or none.
    async fn send_again(&self, attempt: &Attempt) -> Result<Progress, BooksError> {
        let Some(payout) = self.payout(attempt.payout).await? else {
            return Ok(Progress::Ended);
        };
        let evidence = "the recorded wallet, in step with the chain, does not know it, and no channel can carry it";
        self.doubt(attempt, evidence).await?;
        // The books have no more of an offer's invoice than its text: another one is fetched.
        let is_offer = payout.to.kind == DestinationKind::Bolt12;
        if is_offer || !self.may_send(attempt) {
            self.fail(attempt.id, &payout, "never_sent", evidence)
                .await?;
            return Ok(Progress::Ended);
        }
        let evidence = evidence.to_owned();
        self.books
            .never_sent(attempt.id, evidence, unix_ms())
            .await?;
        crash::point("attempt.never_sent");
        self.send_prepared(attempt, &payout).await
    }

    async fn send_prepared(
        &self,
        attempt: &Attempt,
        payout: &Payout,
    ) -> Result<Progress, BooksError> {
        let Ok(invoice) = attempt.invoice.parse() else {
            let why = "its invoice can't be read any more".to_owned();
            self.books.abandoned(attempt.id, why, unix_ms()).await?;
            return Ok(Progress::Ended);
        };
        let Ok(ready) = self
            .wallet
            .readiness(attempt.amount, only_peer(payout))
            .await
        else {
            return Ok(Progress::Open);
        };
        if ready.node_id.to_string() != attempt.wallet_node {
            let why = "another wallet is there than it was prepared for".to_owned();
            self.books.abandoned(attempt.id, why, unix_ms()).await?;
            return Ok(Progress::Ended);
        }
        let mut request = self.request(attempt.amount, invoice);
        request.max_fee = attempt.max_fee;
        request.cltv_limit = attempt.cltv_limit;
        let order = Order::Invoice(request);
        self.hand_over(attempt.id, payout, &order, &ready).await?;
        Ok(Progress::Open)
    }

    /// Whether its invoice may still be paid.
    fn may_send(&self, attempt: &Attempt) -> bool {
        let needed = i64::try_from(PAY_TIMEOUT.as_millis()).unwrap_or(i64::MAX) + 60_000;
        attempt.invoice_expires_at_ms > unix_ms().saturating_add(needed)
    }

    /// It is not known what became of it.
    async fn doubt(&self, attempt: &Attempt, why: &str) -> Result<(), BooksError> {
        if matches!(
            attempt.state,
            AttemptState::Dispatched | AttemptState::InFlight
        ) {
            let why = why.to_owned();
            self.books.unknown(attempt.id, why, unix_ms()).await?;
        }
        Ok(())
    }

    async fn call_operator(&self, payout: PayoutId, why: &str) -> Result<(), BooksError> {
        let Some(payout) = self.payout(payout).await? else {
            return Ok(());
        };
        if payout.state != hh_ledger::books::PayoutState::NeedsOperator {
            tracing::error!(payout = payout.id.0, why, "payout needs an operator");
            let why = why.to_owned();
            self.books.needs_operator(payout.id, why, unix_ms()).await?;
        }
        Ok(())
    }

    /// Failed for good: tried again later with another invoice, or given back where there is no other.
    async fn fail(
        &self,
        attempt: AttemptId,
        payout: &Payout,
        code: &str,
        evidence: &str,
    ) -> Result<(), BooksError> {
        let now_ms = unix_ms();
        let wait = self.backoff.after(payout.tries.saturating_add(1));
        let next_ms = now_ms.saturating_add(millis(wait.unwrap_or_default()));
        crash::point("attempt.fail.before");
        let (code, evidence) = (code.to_owned(), evidence.to_owned());
        let failed = self
            .books
            .failed_final(attempt, code.clone(), evidence, next_ms, now_ms);
        let is_news = failed.await?;
        crash::point("attempt.failed");
        if !is_news {
            // It has settled meanwhile, or somebody else was quicker.
            return Ok(());
        }
        tracing::warn!(payout = payout.id.0, code, "payment failed");
        exported::payment_failed(&code);
        counter!("hyperhash_payouts_total", "rail" => "lightning", "result" => "failed")
            .increment(1);
        if is_one_invoice(payout) {
            let reason = format!("its invoice failed: {code}");
            return self.give_back(payout, reason).await;
        }
        if wait.is_none() {
            let why = format!("failed {} times, last: {code}", payout.tries + 1);
            self.books.needs_operator(payout.id, why, unix_ms()).await?;
        }
        Ok(())
    }

    /// There was no invoice to pay.
    async fn postpone<E: std::error::Error + 'static>(
        &self,
        payout: &Payout,
        error: &E,
    ) -> Result<(), BooksError> {
        let reason = hh_daemon::Chain(error).to_string();
        tracing::warn!(payout = payout.id.0, reason, "no invoice for a payout");
        if is_one_invoice(payout) {
            return self.give_back(payout, reason).await;
        }
        let now_ms = unix_ms();
        match self.backoff.after(payout.tries.saturating_add(1)) {
            Some(wait) => {
                let next_ms = now_ms.saturating_add(millis(wait));
                self.books
                    .retry_later(payout.id, reason, next_ms, now_ms)
                    .await
            }
            None => self.books.needs_operator(payout.id, reason, now_ms).await,
        }
    }

    async fn give_back(&self, payout: &Payout, reason: String) -> Result<(), BooksError> {
        let actor = ACTOR.to_owned();
        self.books
            .cancel_payout(payout.id, actor, reason, unix_ms())
            .await
    }

    async fn payout(&self, id: PayoutId) -> Result<Option<Payout>, BooksError> {
        Ok(self.books.payout(id).await?.map(|story| story.payout))
    }
}

/// Whether it can be paid by one invoice only, which its payee has sent.
pub(super) fn is_one_invoice(payout: &Payout) -> bool {
    matches!(
        payout.to.kind,
        DestinationKind::NodeInvoice | DestinationKind::Bolt11Draw
    )
}

/// Whether its payee makes a new invoice whenever one is asked for.
fn is_fetched(payout: &Payout) -> bool {
    matches!(
        payout.to.kind,
        DestinationKind::LnAddress | DestinationKind::Bolt12
    )
}

/// The Lightning node that a node's invoice can be paid to over a channel of ours only: it names no other way. So it is held until
/// there is one (design 5).
fn only_peer(payout: &Payout) -> Option<PublicKey> {
    if payout.to.kind != DestinationKind::NodeInvoice {
        return None;
    }
    let invoice = crate::destination::parse(&payout.to.text).ok()?;
    let has_no_hint = invoice.route_hints().is_empty();
    has_no_hint.then(|| invoice.recover_payee_pub_key())
}

fn unknown_fee(attempt: &Attempt) -> Msat {
    tracing::warn!(
        attempt = attempt.id.0,
        "the wallet has forgotten what a payment cost; booked as free"
    );
    Msat::ZERO
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// What was written down at the dispatch, or before it; the error is what is missing.
fn dispatch(attempt: &Attempt) -> Result<Dispatch, &'static str> {
    let at_ms = attempt.dispatched_at_ms.unwrap_or(attempt.prepared_at_ms);
    let at_ms = u64::try_from(at_ms).map_err(|_error| "time of dispatch")?;
    let channels = attempt.channels.iter();
    let channels: Result<Vec<ChannelId>, _> = channels.map(|id| id.parse()).collect();
    Ok(Dispatch {
        wallet: attempt.wallet_node.parse().map_err(|_error| "wallet")?,
        hash: PaymentHash(attempt.payment_hash),
        amount: attempt.amount,
        at: UNIX_EPOCH + Duration::from_millis(at_ms),
        timeout: PAY_TIMEOUT,
        channels: channels.map_err(|_error| "channels")?,
    })
}

#[cfg(test)]
mod tests;
