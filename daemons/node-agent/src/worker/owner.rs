//! Orders that need the owner's consent: asked, waited for, and carried out or not.
//!
//! His word comes over the agent's own control socket and from nowhere else. It is signed by the node's key and in the journal before
//! the order is begun. Nothing that core sends is one.

use super::act::no_wallet;
use super::{About, End, Worker, about, chain, now_ms, result};
use crate::database::DatabaseError;
use crate::identity::Enrolled;
use crate::journal::Waiting;
use hh_ipc::agent::{CommandResult as ResultMessage, node_message};
use hh_trust::command::{Command, CommandId};
use hh_trust::command_gate::AcceptedOrder;
use hh_trust::command_result::Outcome;
use hh_trust::consent::{ConsentRequest, Owner};
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Orders that wait for the owner at once: nobody reads more, and each may hold a configuration of 64 KiB.
const WAITING_MAX: usize = 16;

/// For the wallet to start after the agent has: a consent is good once, and a restart must not use it up.
const WALLET_START_LIMIT: Duration = Duration::from_secs(60);

/// The owner's word.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) id: CommandId,
    pub(crate) is_yes: bool,
    pub(crate) owner: Owner,
    /// Who is told what came of it.
    pub(crate) done: oneshot::Sender<Result<Decided, DecisionError>>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) outcome: Outcome,
    pub(crate) code: String,
    pub(crate) output: String,
}

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecisionError {
    #[error("no command {0} waits for the owner; `hhctl consent list` shows those that do")]
    Unknown(CommandId),
}

impl Worker {
    /// Keeps an order until its owner has said something.
    pub(super) async fn ask_owner(
        &self,
        enrolled: &Enrolled,
        order: AcceptedOrder,
        reason: String,
    ) -> Result<(), DatabaseError> {
        let waiting = self.parts.journal.waiting().await?.len();
        let is_of_wallet = matches!(order.command, Command::WalletSpend { .. });
        let refused = if is_of_wallet && self.parts.wallet.is_none() {
            Some(no_wallet())
        } else if waiting >= WAITING_MAX {
            let output = format!("{waiting} commands wait for the owner already");
            Some(End::rejected("too-many-waiting", output))
        } else {
            None
        };
        let about = about(&order);
        if let Some(end) = refused {
            self.take(&order, None).await?;
            return self.conclude(about, end).await;
        }
        let request = ConsentRequest {
            node: enrolled.node.clone(),
            id: order.id,
            command: order.command.clone(),
            reason,
            operator: order.operator.clone(),
            since: now(),
        };
        self.take(&order, Some(&request)).await?;
        let (id, command) = (order.id, order.command.name());
        tracing::warn!(%id, command, operator = order.operator, "order waits for the owner");
        show_waiting(waiting + 1);
        self.tell_waiting(enrolled, order.id).await
    }

    /// Tells core that an order waits, if it does.
    pub(super) async fn tell_waiting(
        &self,
        enrolled: &Enrolled,
        id: CommandId,
    ) -> Result<(), DatabaseError> {
        let Some(waiting) = self.parts.journal.waiting_order(id).await? else {
            return Ok(());
        };
        let reason = &waiting.request.reason;
        let end = End {
            outcome: Outcome::AwaitsOwner,
            code: "owner-consent".to_owned(),
            output: format!("it waits for the node's owner (`hhctl consent list` there): {reason}"),
        };
        // It concludes nothing, and is no link in the chain of results.
        let jws = result(enrolled, about_waiting(&waiting), end).sign(&self.parts.node_key);
        self.report(node_message::Body::Result(ResultMessage { jws }));
        Ok(())
    }

    pub(super) async fn decide(&self, decision: Decision) -> Result<(), DatabaseError> {
        let Decision {
            id,
            is_yes,
            owner,
            done,
        } = decision;
        let Some(waiting) = self.parts.journal.waiting_order(id).await? else {
            // Who asked may have gone.
            done.send(Err(DecisionError::Unknown(id))).ok();
            return Ok(());
        };
        tracing::info!(%id, is_yes, uid = owner.uid, "owner has decided");
        let about = about_waiting(&waiting);
        let end = match is_yes {
            true => self.consent(&waiting, owner).await?,
            false => End::rejected("owner-refused", "the node's owner has refused it"),
        };
        self.conclude(about, end.clone()).await?;
        show_waiting(self.parts.journal.waiting().await?.len());
        let decided = Decided {
            outcome: end.outcome,
            code: end.code,
            output: end.output,
        };
        done.send(Ok(decided)).ok();
        Ok(())
    }

    /// Those that have a consent, and were not begun when an earlier life of this agent ended.
    pub(super) async fn carry_out_consented(
        &self,
        stop: &CancellationToken,
    ) -> Result<(), DatabaseError> {
        for waiting in self.parts.journal.waiting().await? {
            if let Some(consent) = waiting.consent.clone() {
                let ready = self.ready_for(&waiting.request.command);
                if stop.run_until_cancelled(ready).await.is_none() {
                    // The next life does it.
                    return Ok(());
                }
                let end = self.use_consent(&waiting, &consent).await?;
                self.conclude(about_waiting(&waiting), end).await?;
            }
        }
        Ok(())
    }

    /// Until what it is done with is there, or for as long as that is waited for.
    async fn ready_for(&self, command: &Command) {
        if let (Command::WalletSpend { .. }, Some(wallet)) = (command, &self.parts.wallet) {
            let started = wallet.has_started();
            tokio::time::timeout(WALLET_START_LIMIT, started).await.ok();
        }
    }

    /// Gives up what has waited for too long.
    pub(super) async fn expire(&self) -> Result<(), DatabaseError> {
        let all = self.parts.journal.waiting().await?;
        let mut left = all.len();
        for waiting in all {
            if let Err(late) = waiting.request.check_time(now()) {
                let end = End::rejected("owner-silent", chain(&late));
                self.conclude(about_waiting(&waiting), end).await?;
                left -= 1;
            }
        }
        show_waiting(left);
        Ok(())
    }

    async fn consent(&self, waiting: &Waiting, owner: Owner) -> Result<End, DatabaseError> {
        let consent = waiting.request.consent(owner, &self.parts.node_key, now());
        let consent = match consent {
            Ok(consent) => consent,
            Err(late) => return Ok(End::rejected("owner-silent", chain(&late))),
        };
        let (id, text) = (waiting.request.id, consent.clone());
        self.parts.journal.consented(id, text).await?;
        self.use_consent(waiting, &consent).await
    }

    /// Carries it out if the consent is for it, and everything else is still as the owner was told.
    async fn use_consent(&self, waiting: &Waiting, consent: &str) -> Result<End, DatabaseError> {
        let ConsentRequest { id, command, .. } = &waiting.request;
        let key = self.parts.node_key.public_key();
        if let Err(error) = waiting.request.check(consent, &key, now()) {
            return Ok(End::rejected("consent", chain(&error)));
        }
        let epoch = self.parts.enrolled.borrow().as_ref().map(|now| now.epoch);
        if epoch != Some(waiting.epoch) {
            let output = "the node was enrolled anew since it was ordered";
            return Ok(End::rejected("wrong-epoch", output));
        }
        let current = command.service().and_then(|one| self.config_text(one));
        if let Err(error) = self.parts.policy.judge(command, current.as_deref()) {
            return Ok(End::rejected("policy", chain(&error)));
        }
        if let Command::ConfigApply {
            service,
            generation,
            ..
        } = command
        {
            let own = self.parts.journal.generation(service.clone()).await?;
            if *generation <= own {
                let output = format!("the configuration of {service} is {own} by now");
                return Ok(End::rejected("generation", output));
            }
        }
        tracing::info!(%id, command = command.name(), "order begun with the owner's consent");
        let about = about_waiting(waiting);
        self.begin(about, command, waiting.deadline_seconds).await
    }
}

fn about_waiting(waiting: &Waiting) -> About {
    About {
        id: waiting.request.id,
        epoch: waiting.epoch,
        seq: waiting.seq,
        started_ms: now_ms(),
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn show_waiting(count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    metrics::gauge!("hyperhash_agent_consents_waiting").set(f64::from(count));
}
