//! The answers to everything about payouts.

use super::account::parse_payee;
use super::waiting::Waiting;
use super::{Control, page_rows, refusal, request_id};
use crate::actor;
use crate::clock::{timestamp, unix_ms};
use crate::payouts::{Ask, Plan, is_open};
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    Attempt, AttemptState, CancelRequest, CloseFailedRequest, HoldRequest, Payout, PayoutDetail,
    PayoutEvent, PayoutPage, PayoutPlan, PayoutQuery, PayoutState, PlannedPayout, RunRequest,
};
use hh_ledger::books::Payee;
use hh_ledger::books::{self, Held, Page, PayoutFilter, PayoutId, PayoutStory};
use hh_mining::Msat;
use serde_json::json;

impl Control {
    pub(super) async fn payouts(&self, query: PayoutQuery) -> Result<PayoutPage, ApiError> {
        let payee = query.payee.as_deref().map(parse_payee).transpose()?;
        let states = query.states.as_deref().map(book_states).unwrap_or_default();
        if query.states.is_some() && states.is_empty() {
            return Ok(PayoutPage::default());
        }
        let limit = page_rows(query.limit);
        let filter = PayoutFilter { payee, states };
        let page = Page {
            before: query.before,
            limit,
        };
        let found = self.stores.books.payouts(filter, page).await;
        let found = found.map_err(refusal::books)?;
        let next_before = found.last().map(|payout| payout.id.0);
        let is_whole = found.len() < limit as usize;
        let waiting = self.waiting().await?;
        let mut payouts = Vec::new();
        for payout in found {
            payouts.push(wire(&self.story(payout.id).await?, &waiting));
        }
        // Books know no state of its own for what waits for a word.
        if let Some(states) = &query.states {
            payouts.retain(|payout| states.contains(&payout.state));
        }
        Ok(PayoutPage {
            payouts,
            next_before: next_before.filter(|_| !is_whole),
        })
    }

    pub(super) async fn payout(&self, id: u64) -> Result<PayoutDetail, ApiError> {
        let story = self.story(PayoutId(id)).await?;
        Ok(wire_detail(&story, &self.waiting().await?))
    }

    /// A payout as it stands now.
    pub(super) async fn told(&self, id: PayoutId) -> Result<Payout, ApiError> {
        let story = self.story(id).await?;
        Ok(wire(&story, &self.waiting().await?))
    }

    pub(super) async fn story(&self, id: PayoutId) -> Result<PayoutStory, ApiError> {
        let story = self.stores.books.payout(id).await.map_err(refusal::books)?;
        story.ok_or_else(|| refusal::not_found(format!("there is no payout {}", id.0)))
    }

    pub(super) async fn payout_plan(&self, request: RunRequest) -> Result<PayoutPlan, ApiError> {
        let (plan, day_left) = self.plan(&request).await?;
        self.wire_plan(plan, day_left).await
    }

    async fn plan(&self, request: &RunRequest) -> Result<(Plan, Msat), ApiError> {
        let ask = if request.payees.is_empty() {
            Ask::All
        } else {
            let payees = request.payees.iter().map(|name| parse_payee(name));
            Ask::Payees {
                payees: payees.collect::<Result<_, _>>()?,
                below_minimum: request.below_minimum,
            }
        };
        let planned = self.opener.plan(&ask, unix_ms()).await;
        planned.map_err(refusal::books)
    }

    async fn wire_plan(&self, plan: Plan, day_left: Msat) -> Result<PayoutPlan, ApiError> {
        let frozen = self.stores.books.frozen().await.map_err(refusal::books)?;
        let total_msat = plan.total().0;
        let planned = plan.planned.into_iter().map(|planned| PlannedPayout {
            id: None,
            payee: planned.payee.to_string(),
            amount_msat: planned.amount.0,
            destination: planned.destination,
            needs_approval: planned.needs_approval,
            max_fee_msat: Some(self.payer.rules.max_fee(planned.amount).0),
        });
        let left_out = plan.left_out.into_iter();
        Ok(PayoutPlan {
            planned: planned.collect(),
            left_out: left_out
                .map(|(payee, why)| (payee.to_string(), why.to_string()))
                .collect(),
            total_msat,
            day_limit_left_msat: Some(day_left.0),
            is_frozen: frozen.is_some(),
        })
    }

    pub(super) async fn payout_run(
        &self,
        caller: &Caller,
        request: RunRequest,
    ) -> Result<PayoutPlan, ApiError> {
        caller.may_change()?;
        let id = request_id(&request.request_id)?;
        let run = async {
            let (plan, day_left) = self.plan(&request).await?;
            let (total, most) = (plan.total(), request.total_msat_max);
            if most.is_some_and(|most| total.0 > most) {
                let message = format!(
                    "it would be {total} sat by now, more than was confirmed; look at the plan again"
                );
                return Err(refusal::not_now(message));
            }
            let run = format!("run-{id}");
            let rule = format!("run by {}", actor::of(caller));
            let mut opened = Vec::new();
            for planned in &plan.planned {
                let payout = self.opener.open(planned, &run, &rule, unix_ms()).await;
                opened.push(payout);
            }
            let mut plan = self.wire_plan(plan, day_left).await?;
            for (planned, payout) in plan.planned.iter_mut().zip(opened) {
                match payout {
                    Ok(payout) => planned.id = Some(payout.0),
                    Err(error) => plan
                        .left_out
                        .push((planned.payee.clone(), hh_daemon::Chain(&error).to_string())),
                }
            }
            plan.planned.retain(|planned| planned.id.is_some());
            plan.total_msat = plan.planned.iter().map(|planned| planned.amount_msat).sum();
            Ok(plan)
        };
        let arguments = json!(request);
        self.change(caller, "payout.run", arguments, run).await
    }

    pub(super) async fn payout_retry(&self, caller: &Caller, id: u64) -> Result<Payout, ApiError> {
        caller.may_change()?;
        let retry = async {
            let retried = self
                .stores
                .books
                .retry_now(PayoutId(id), actor::of(caller), unix_ms());
            retried.await.map_err(refusal::books)?;
            self.told(PayoutId(id)).await
        };
        let arguments = json!({ "id": id });
        self.change(caller, "payout.retry", arguments, retry).await
    }

    pub(super) async fn payout_hold(
        &self,
        caller: &Caller,
        request: HoldRequest,
    ) -> Result<(), ApiError> {
        caller.may_change()?;
        let what = match request.target.strip_prefix("payout:") {
            Some(id) => {
                let id = id.parse();
                let id = id.map_err(|_error| {
                    refusal::usage(format!("{:?} is no payout", request.target))
                })?;
                Held::Payout(PayoutId(id))
            }
            None => Held::Payee(parse_payee(&request.target)?),
        };
        let arguments = json!(request);
        let hold = async {
            let (who, now_ms) = (actor::of(caller), unix_ms());
            if request.is_held {
                let held = self
                    .stores
                    .books
                    .hold(what, request.reason, who, now_ms)
                    .await;
                return held.map_err(refusal::books);
            }
            let released = self.stores.books.release(what, who, now_ms).await;
            match released.map_err(refusal::books)? {
                true => Ok(()),
                false => Err(refusal::not_found(format!(
                    "{} is not held",
                    request.target
                ))),
            }
        };
        self.change(caller, "payout.hold", arguments, hold).await
    }

    pub(super) async fn payout_cancel(
        &self,
        caller: &Caller,
        request: CancelRequest,
    ) -> Result<Payout, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let id = PayoutId(request.id);
        let cancel = async {
            let who = actor::of(caller);
            let cancelled = self
                .stores
                .books
                .cancel_payout(id, who, request.reason, unix_ms());
            cancelled.await.map_err(refusal::books)?;
            self.told(id).await
        };
        self.change(caller, "payout.cancel", arguments, cancel)
            .await
    }

    pub(super) async fn payout_close_failed(
        &self,
        caller: &Caller,
        request: CloseFailedRequest,
    ) -> Result<Payout, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let id = PayoutId(request.id);
        let height = self.tip.borrow().as_ref().map(|tip| tip.height);
        let unknown =
            || refusal::not_now("no Bitcoin Core node tells how high the chain is".to_owned());
        let height = height.ok_or_else(unknown)?;
        self.story(id).await?;
        let close = async {
            let subject = format!("close:{}", id.0);
            let terms = format!("payout {} is closed as failed", id.0);
            let actors = self.two_actors(caller, &subject, terms).await?;
            let closed =
                self.stores
                    .books
                    .close_failed(id, actors, request.reason, height, unix_ms());
            closed.await.map_err(refusal::books)?;
            self.told(id).await
        };
        self.change(caller, "payout.close_failed", arguments, close)
            .await
    }

    /// An invoice that can't be paid now is not kept: its payee would not know what becomes of it.
    pub(super) async fn check_dues(&self, payee: &Payee, amount: Msat) -> Result<(), ApiError> {
        let balance = self.stores.books.balance(payee.clone()).await;
        let payable = balance.map_err(refusal::books)?.payable;
        if payable < amount {
            let message = format!(
                "{payee} has {payable} sat that may be paid, less than the {amount} sat of the invoice"
            );
            return Err(refusal::unpayable(message));
        }
        let last = self
            .opener
            .last_payout(payee)
            .await
            .map_err(refusal::books)?;
        match last.filter(|last| is_open(last.state)) {
            Some(open) => {
                let message = format!(
                    "payout {} of {payee} is open; send the invoice when it has ended",
                    open.id.0
                );
                Err(refusal::not_now(message))
            }
            None => Ok(()),
        }
    }
}

pub(super) fn wire_detail(story: &PayoutStory, waiting: &Waiting) -> PayoutDetail {
    let event = |line: &books::HistoryLine| PayoutEvent {
        at: timestamp(line.at_ms),
        what: line.what.clone(),
        actor: line.actor.clone(),
    };
    PayoutDetail {
        payout: wire(story, waiting),
        attempts: story.attempts.iter().map(wire_attempt).collect(),
        history: story.history.iter().map(event).collect(),
    }
}

fn wire(story: &PayoutStory, waiting: &Waiting) -> Payout {
    let payout = &story.payout;
    let settled = story
        .attempts
        .iter()
        .find(|attempt| attempt.state == books::AttemptState::Settled);
    let last = settled.or(story.attempts.last());
    let latency = settled.and_then(|attempt| {
        let took_ms = attempt.ended_at_ms? - attempt.dispatched_at_ms?;
        let took_ms = u32::try_from(took_ms).ok()?;
        Some(f64::from(took_ms) / 1_000.0)
    });
    let preimage = settled.and_then(|attempt| attempt.preimage.as_ref());
    Payout {
        id: payout.id.0,
        payee: payout.payee.to_string(),
        amount_msat: payout.amount.0,
        fee_msat: settled.and_then(|attempt| attempt.fee).map(|fee| fee.0),
        state: wire_state(story, waiting),
        reason: payout.reason.clone(),
        waiting_for: waiting.of(story),
        destination: payout.to.text.clone(),
        attempts: u32::try_from(story.attempts.len()).unwrap_or(u32::MAX),
        created_at: timestamp(payout.created_at_ms),
        next_try_at: payout.next_try_at_ms.map(timestamp),
        settled_at: settled
            .and_then(|attempt| attempt.ended_at_ms)
            .map(timestamp),
        latency_seconds: latency,
        payment_hash: last.map(|attempt| hex::encode(attempt.payment_hash)),
        preimage: preimage.map(|preimage| hex::encode(preimage.expose())),
        approvals: story
            .approvals
            .iter()
            .map(|approval| approval.actor.clone())
            .collect(),
        is_held: !story.holds.is_empty(),
    }
}

fn wire_state(story: &PayoutStory, waiting: &Waiting) -> PayoutState {
    let approved = waiting.approved(story);
    match story.payout.state {
        books::PayoutState::Queued if approved < story.payout.approvals_needed => {
            PayoutState::WaitingForApproval
        }
        books::PayoutState::Queued => PayoutState::Queued,
        books::PayoutState::Resolving => PayoutState::Resolving,
        books::PayoutState::Ready => PayoutState::Ready,
        books::PayoutState::Paying => PayoutState::Paying,
        books::PayoutState::RetryWait => PayoutState::RetryWait,
        books::PayoutState::NeedsOperator => PayoutState::NeedsOperator,
        books::PayoutState::Settled => PayoutState::Settled,
        books::PayoutState::Cancelled => PayoutState::Cancelled,
    }
}

fn book_states(states: &[PayoutState]) -> Vec<books::PayoutState> {
    let book = |state: &PayoutState| match state {
        PayoutState::WaitingForApproval | PayoutState::Queued => Some(books::PayoutState::Queued),
        PayoutState::Resolving => Some(books::PayoutState::Resolving),
        PayoutState::Ready => Some(books::PayoutState::Ready),
        PayoutState::Paying => Some(books::PayoutState::Paying),
        PayoutState::RetryWait => Some(books::PayoutState::RetryWait),
        PayoutState::NeedsOperator => Some(books::PayoutState::NeedsOperator),
        PayoutState::Settled => Some(books::PayoutState::Settled),
        PayoutState::Cancelled => Some(books::PayoutState::Cancelled),
        // Nothing ends so: what fails for good is given back, and is cancelled.
        PayoutState::Failed => None,
    };
    states.iter().filter_map(book).collect()
}

fn wire_attempt(attempt: &books::Attempt) -> Attempt {
    Attempt {
        id: attempt.id.0,
        state: match attempt.state {
            books::AttemptState::Prepared => AttemptState::Prepared,
            books::AttemptState::Dispatched => AttemptState::Dispatched,
            books::AttemptState::InFlight => AttemptState::InFlight,
            books::AttemptState::Unknown => AttemptState::Unknown,
            books::AttemptState::Settled | books::AttemptState::SettledLate => {
                AttemptState::Settled
            }
            books::AttemptState::FailedFinal => AttemptState::FailedFinal,
            books::AttemptState::Abandoned => AttemptState::Abandoned,
        },
        payment_hash: hex::encode(attempt.payment_hash),
        invoice: attempt.invoice.clone(),
        amount_msat: attempt.amount.0,
        max_fee_msat: attempt.max_fee.0,
        fee_msat: attempt.fee.map(|fee| fee.0),
        wallet_node_id: attempt.wallet_node.clone(),
        prepared_at: timestamp(attempt.prepared_at_ms),
        dispatched_at: attempt.dispatched_at_ms.map(timestamp),
        resolved_at: attempt.ended_at_ms.map(timestamp),
        failure: attempt.failure.clone(),
        evidence: attempt.evidence.clone(),
    }
}
