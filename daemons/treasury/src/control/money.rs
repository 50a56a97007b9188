//! The answers to freezing, verifying, and to what moves money between the books' accounts.

use super::status::{wire_balances, wire_freeze, wire_totals};
use super::{Control, refusal, request_id};
use crate::actor;
use crate::audit::Report;
use crate::clock::{timestamp, unix_ms};
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    DepositRequest, DistributionRequest, Finding, Freeze, FreezeRequest, Limits, Totals,
    UnfreezeRequest, VerifyReport,
};
use hh_lightning::OutgoingState;
use hh_mining::Msat;
use serde_json::json;

impl Control {
    pub(super) async fn freeze(
        &self,
        caller: &Caller,
        request: FreezeRequest,
    ) -> Result<Freeze, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let freeze = async {
            let who = actor::of(caller);
            let frozen = self
                .stores
                .books
                .freeze(request.reason, who, unix_ms())
                .await;
            frozen.map_err(refusal::books)?;
            tracing::warn!("payouts frozen by an operator");
            let freeze = self.stores.books.frozen().await.map_err(refusal::books)?;
            let freeze = freeze.map(wire_freeze);
            freeze.ok_or_else(|| refusal::failed("payouts were unfrozen meanwhile".to_owned()))
        };
        self.change(caller, "treasury.freeze", arguments, freeze)
            .await
    }

    pub(super) async fn unfreeze(
        &self,
        caller: &Caller,
        request: UnfreezeRequest,
    ) -> Result<(), ApiError> {
        caller.may_change()?;
        let freezes = self.stores.books.freezes().await.map_err(refusal::books)?;
        if freezes.is_empty() {
            return Err(refusal::not_found("payouts are not frozen".to_owned()));
        }
        let arguments = json!(request);
        let unfreeze = async {
            let report = self.audit.verify().await.map_err(refusal::books)?;
            if let Some(grave) = report.findings.iter().find(|finding| finding.is_grave) {
                let message = format!("payouts stay frozen: {}", grave.what);
                return Err(refusal::not_now(message));
            }
            let unmatched = self.reconcile().await?.unmatched.len();
            if unmatched > 0 {
                let message = format!(
                    "payouts stay frozen: the books don't agree to {unmatched} payments of the wallet; see `hhctl treasury reconcile`"
                );
                return Err(refusal::not_now(message));
            }
            let reasons: Vec<String> = freezes.into_iter().map(|freeze| freeze.reason).collect();
            let terms = reasons.join("; ");
            let actors = self.two_actors(caller, "unfreeze", terms).await?;
            let lifted = self
                .stores
                .books
                .unfreeze(actors, request.reason, unix_ms());
            lifted.await.map_err(refusal::books)?;
            tracing::warn!("payouts unfrozen by two operators");
            Ok(())
        };
        self.change(caller, "treasury.unfreeze", arguments, unfreeze)
            .await
    }

    /// Freezes where it finds something: a view must not.
    pub(super) async fn verify(&self, caller: &Caller) -> Result<VerifyReport, ApiError> {
        caller.may_change()?;
        let report = self.audit.verify().await.map_err(refusal::books)?;
        Ok(wire_report(&report))
    }

    pub(super) async fn deposit(
        &self,
        caller: &Caller,
        request: DepositRequest,
    ) -> Result<Totals, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let key = request_id(&request.request_id)?.to_owned();
        let deposit = async {
            let now_ms = unix_ms();
            let (amount, who) = (Msat(request.amount_msat), actor::of(caller));
            let booked = self
                .stores
                .books
                .deposit_capital(amount, who, key, now_ms)
                .await;
            booked.map_err(refusal::books)?;
            self.totals().await
        };
        self.change(caller, "treasury.deposit", arguments, deposit)
            .await
    }

    pub(super) async fn distribute_reserve(
        &self,
        caller: &Caller,
        request: DistributionRequest,
    ) -> Result<Totals, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        for (node, _) in &request.parts {
            let id = node.parse().map_err(|error| refusal::wrong(&error))?;
            if self.destinations.node(&id).is_none() {
                let message = format!(
                    "there is no node {node} in this treasury's configuration or directory"
                );
                return Err(refusal::not_found(message));
            }
        }
        let terms = json!(request.parts).to_string();
        let distribute = async {
            let subject = "distribute_reserve";
            let actors = self.two_actors(caller, subject, terms).await?;
            let parts = request.parts.iter();
            let parts = parts
                .map(|(node, msat)| (node.clone(), Msat(*msat)))
                .collect();
            let booked = self
                .stores
                .books
                .distribute_reserve(parts, actors, unix_ms())
                .await;
            booked.map_err(refusal::books)?;
            self.totals().await
        };
        self.change(caller, "treasury.distribute_reserve", arguments, distribute)
            .await
    }

    pub(super) async fn limits(&self) -> Result<Limits, ApiError> {
        let day = self.opener.day(unix_ms()).await.map_err(refusal::books)?;
        let rules = &self.opener.rules;
        let left = rules.max_day.checked_sub(day.used).unwrap_or_default();
        Ok(Limits {
            minimum_msat: rules.minimum.0,
            interval_seconds: rules.interval.as_secs(),
            max_payout_msat: rules.max_payout.0,
            approval_above_msat: rules.approval_above.0,
            max_day_msat: rules.max_day.0,
            used_day_msat: day.used.0,
            left_day_msat: left.0,
            day_frees_at: day.ends_ms.map(|(first, _)| timestamp(first)),
            day_resets_at: day.ends_ms.map(|(_, last)| timestamp(last)),
            max_fee_base_msat: rules.max_fee_base.0,
            max_fee_ppm: rules.max_fee_ppm,
            cltv_limit_blocks: self.payer.cltv_limit,
            cooling_off_seconds: self.cooling_off.as_secs(),
            channel_reserve_sat: self.channel_reserve_sat,
        })
    }

    async fn totals(&self) -> Result<Totals, ApiError> {
        let totals = self.stores.books.totals().await.map_err(refusal::books)?;
        Ok(wire_totals(&totals))
    }
}

fn wire_report(report: &Report) -> VerifyReport {
    let finding = |finding: &crate::solvency::Finding| Finding {
        is_grave: finding.is_grave,
        what: finding.what.clone(),
        fix: finding.fix.clone(),
    };
    VerifyReport {
        at: timestamp(report.at_ms),
        is_solvent: !report.is_grave(),
        findings: report.findings.iter().map(finding).collect(),
        totals: wire_totals(&report.totals),
        balances: report.seen.as_ref().map(wire_balances),
        difference_msat: report.difference.and_then(|msat| i64::try_from(msat).ok()),
        entries: report.verification.entries,
    }
}

pub(super) fn payment_state(state: &OutgoingState) -> &'static str {
    match state {
        OutgoingState::InFlight => "in_flight",
        OutgoingState::Settled(_) => "settled",
        OutgoingState::Failed => "failed",
    }
}

pub(super) fn at(seconds: u64) -> Option<jiff::Timestamp> {
    let seconds = i64::try_from(seconds).ok()?;
    jiff::Timestamp::from_second(seconds).ok()
}
