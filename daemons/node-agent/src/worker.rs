//! Carries out what core orders: one order after the other, each checked, written down, done, and told.
//!
//! It owns the journal. The checks are `hh_trust::command_gate`; what may be done at all is the policy's. Reports that find no room are
//! left out: core asks again for every order of which it knows no end.

mod act;
mod owner;

pub(crate) use owner::{Decided, Decision, DecisionError};

use crate::config_file::ConfigFile;
use crate::database::DatabaseError;
use crate::drain::Drain;
use crate::identity::Enrolled;
use crate::journal::{Interrupted, Journal, Known};
use crate::supervisor::Supervisor;
use crate::wallet::WalletHandle;
use hh_daemon::Failure;
use hh_ipc::agent::{Command as Sent, CommandResult as ResultMessage, CommandTaken, node_message};
use hh_trust::NodeSecretKey;
use hh_trust::command::{Command, CommandId, Digest, ServiceName};
use hh_trust::command_gate::{
    AcceptedOrder, CommandGate, CurrentConfig, NodeClock, OrderRefusal, Verdict,
};
use hh_trust::command_result::{CommandResult, Outcome};
use hh_trust::consent::ConsentRequest;
use hh_trust::local_policy::LocalPolicy;
use jiff::Timestamp;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Orders that wait for those before them.
const ORDERS_QUEUE: usize = 128;

/// Words of the owner that wait: he gives them one by one.
const DECISIONS_QUEUE: usize = 8;

/// How often it is looked whether an order has waited for its owner for too long.
const EXPIRE_EVERY: Duration = Duration::from_secs(10);

/// Reports that wait for the session.
const REPORTS_QUEUE: usize = 256;

/// How far the node's clock is ahead of core's, in milliseconds, as the session has found last.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockOffset(Arc<AtomicI64>);

impl ClockOffset {
    pub(crate) fn set(&self, ahead_ms: i64) {
        self.0.store(ahead_ms, Ordering::Relaxed);
    }

    pub(crate) fn milliseconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn seconds(&self) -> i64 {
        self.milliseconds() / 1_000
    }
}

/// The task.
pub(crate) struct Worker {
    parts: Parts,
    orders: mpsc::Receiver<Sent>,
    decisions: mpsc::Receiver<Decision>,
    reports: mpsc::Sender<node_message::Body>,
}

/// What happens to the worker.
enum Event {
    Order(Sent),
    Decision(Decision),
    /// An order may have waited for too long.
    Expiry,
    Stop,
}

/// The session's ends of the worker.
pub(crate) struct Ends {
    pub(crate) orders: mpsc::Sender<Sent>,
    pub(crate) reports: mpsc::Receiver<node_message::Body>,
}

/// What the worker works with.
pub(crate) struct Parts {
    pub(crate) journal: Journal,
    pub(crate) policy: LocalPolicy,
    pub(crate) supervisor: Supervisor,
    pub(crate) node_key: Arc<NodeSecretKey>,
    /// None before the node has joined; without it there are no orders.
    pub(crate) enrolled: watch::Receiver<Option<Enrolled>>,
    pub(crate) clock: ClockOffset,
    /// The certificate is to be renewed now.
    pub(crate) renew: Arc<Notify>,
    /// Of services whose configuration core may change.
    pub(crate) config_files: Arc<BTreeMap<ServiceName, ConfigFile>>,
    pub(crate) drain: Drain,
    /// None where the node has none.
    pub(crate) wallet: Option<WalletHandle>,
}

/// How an order ended.
#[derive(Clone, Debug)]
struct End {
    outcome: Outcome,
    code: String,
    output: String,
}

impl End {
    fn ok(output: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Ok,
            code: "ok".to_owned(),
            output: output.into(),
        }
    }

    fn rejected(code: &str, output: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Rejected,
            code: code.to_owned(),
            output: output.into(),
        }
    }

    fn failed(code: &str, output: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Failed,
            code: code.to_owned(),
            output: output.into(),
        }
    }
}

/// Of which order a result is.
#[derive(Clone, Copy)]
struct About {
    id: CommandId,
    epoch: u64,
    seq: u64,
    started_ms: i64,
}

impl Worker {
    /// The worker, the session's ends of it, and the owner's.
    pub(crate) fn new(parts: Parts) -> (Self, Ends, mpsc::Sender<Decision>) {
        let (orders, waiting) = mpsc::channel(ORDERS_QUEUE);
        let (decide, decisions) = mpsc::channel(DECISIONS_QUEUE);
        let (reports, reported) = mpsc::channel(REPORTS_QUEUE);
        let worker = Self {
            parts,
            orders: waiting,
            decisions,
            reports,
        };
        let ends = Ends {
            orders,
            reports: reported,
        };
        (worker, ends, decide)
    }

    /// Where others say something to core, by the session.
    pub(crate) fn reports(&self) -> mpsc::Sender<node_message::Body> {
        self.reports.clone()
    }

    /// Works until the agent stops. What it can't write down it does not do: the node mines on, and core hears no result of that order.
    ///
    /// # Errors
    /// The journal can't be read at the start.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        self.conclude_interrupted().await?;
        self.carry_out_consented(&stop).await?;
        let mut expiry = tokio::time::interval(EXPIRE_EVERY);
        expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => Event::Stop,
                sent = self.orders.recv() => sent.map_or(Event::Stop, Event::Order),
                Some(decision) = self.decisions.recv() => Event::Decision(decision),
                _ = expiry.tick() => Event::Expiry,
            };
            let done = match event {
                Event::Order(sent) => self.handle(sent).await,
                Event::Decision(decision) => self.decide(decision).await,
                Event::Expiry => self.expire().await,
                Event::Stop => return Ok(()),
            };
            if let Err(error) = done {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "order left: the journal can't be used"
                );
            }
        }
    }

    /// Orders that an earlier life of this agent has taken.
    async fn conclude_interrupted(&self) -> Result<(), DatabaseError> {
        for order in self.parts.journal.interrupted().await? {
            let Interrupted { id, epoch, seq, .. } = order;
            let started_ms = order.started_at_ms;
            let end = match started_ms {
                Some(_) => End {
                    outcome: Outcome::Indeterminate,
                    code: "interrupted".to_owned(),
                    output: "the agent ended while it was at it: it may have been done or not"
                        .to_owned(),
                },
                None => End::rejected("not-begun", "the agent ended before it was begun"),
            };
            tracing::warn!(%id, seq, code = end.code, "order of an earlier life of this agent");
            let about = About {
                id,
                epoch,
                seq,
                started_ms: started_ms.unwrap_or_else(now_ms),
            };
            self.conclude(about, end).await?;
        }
        Ok(())
    }

    async fn handle(&self, sent: Sent) -> Result<(), DatabaseError> {
        let Some(enrolled) = self.parts.enrolled.borrow().clone() else {
            return Ok(());
        };
        let Ok(id) = sent.command_id.parse::<CommandId>() else {
            tracing::warn!("order without an id left out");
            return Ok(());
        };
        // What was taken is only told again; nothing of the order is looked at for that.
        match self.parts.journal.known(id).await? {
            Known::Result(jws) => {
                self.report(node_message::Body::Result(ResultMessage { jws }));
                return Ok(());
            }
            // What comes of it is told when it is known.
            Known::Taken => return self.tell_waiting(&enrolled, id).await,
            Known::No => {}
        }
        match self.verdict(&enrolled, id, &sent.jws).await? {
            Ok(Verdict::Run(order)) => self.carry_out(order).await,
            Ok(Verdict::AskOwner(order, why)) => self.ask_owner(&enrolled, order, why).await,
            Ok(Verdict::Known(signed)) => {
                tracing::warn!(%id, %signed, "order left: it came by another id than it was signed with");
                Ok(())
            }
            Err(refusal) => self.refuse(&enrolled, id, &refusal).await,
        }
    }

    async fn verdict(
        &self,
        enrolled: &Enrolled,
        id: CommandId,
        jws: &str,
    ) -> Result<Result<Verdict, OrderRefusal>, DatabaseError> {
        let Some(keys) = enrolled.keys() else {
            return Ok(Err(OrderRefusal::UnknownKey));
        };
        let generations = self.parts.journal.generations().await?;
        let generations: BTreeMap<String, u64> = generations.into_iter().collect();
        let gate = CommandGate {
            domain: &enrolled.domain,
            node: &enrolled.node,
            keys: &keys,
            policy: &self.parts.policy,
            state: self.parts.journal.state(enrolled.epoch).await?,
            clock: NodeClock {
                now: Timestamp::now().as_second(),
                offset: self.parts.clock.seconds(),
            },
        };
        let text = OnceCell::new();
        let config = |service: &ServiceName| CurrentConfig {
            generation: generations
                .get(&service.to_string())
                .copied()
                .unwrap_or_default(),
            text: text.get_or_init(|| self.config_text(service)).as_deref(),
        };
        // The journal does not know this id; a signed one may have been used by any name.
        let is_another = |signed: CommandId| signed != id;
        Ok(gate.check(jws, is_another, config))
    }

    async fn refuse(
        &self,
        enrolled: &Enrolled,
        id: CommandId,
        refusal: &OrderRefusal,
    ) -> Result<(), DatabaseError> {
        let code = refusal.code();
        tracing::warn!(%id, code, error = refusal as &dyn std::error::Error, "order refused");
        metrics::counter!("hyperhash_agent_orders_total", "outcome" => code).increment(1);
        let about = About {
            id,
            epoch: enrolled.epoch,
            seq: 0,
            started_ms: now_ms(),
        };
        let end = End::rejected(code, chain(refusal));
        if refusal.is_of_a_true_order() {
            return self.conclude(about, end).await;
        }
        // It is told and not kept: whoever sent it shall not fill the journal.
        let jws = result(enrolled, about, end).sign(&self.parts.node_key);
        self.report(node_message::Body::Result(ResultMessage { jws }));
        Ok(())
    }

    fn config_text(&self, service: &ServiceName) -> Option<String> {
        let file = self.parts.config_files.get(service);
        file.and_then(ConfigFile::text)
    }

    async fn take(
        &self,
        order: &AcceptedOrder,
        asked: Option<&ConsentRequest>,
    ) -> Result<(), DatabaseError> {
        self.parts.journal.take(order, asked, now_ms()).await?;
        let command_id = order.id.to_string();
        if order.missing > 0 {
            tracing::warn!(
                seq = order.seq,
                missing = order.missing,
                "orders before this one never came"
            );
        }
        self.report(node_message::Body::Taken(CommandTaken { command_id }));
        Ok(())
    }

    async fn carry_out(&self, order: AcceptedOrder) -> Result<(), DatabaseError> {
        self.take(&order, None).await?;
        let about = about(&order);
        let (id, command) = (order.id, order.command.name());
        tracing::info!(%id, seq = order.seq, command, operator = order.operator, "order begun");
        let end = self
            .begin(about, &order.command, order.deadline_seconds)
            .await?;
        self.conclude(about, end).await
    }

    /// Does it, in its time. That it is begun is on the disk before.
    async fn begin(
        &self,
        about: About,
        command: &Command,
        deadline_seconds: u32,
    ) -> Result<End, DatabaseError> {
        self.parts.journal.start(about.id, about.started_ms).await?;
        let limit = Duration::from_secs(deadline_seconds.into());
        let done = match command {
            // It has limits of its own, and must not be left in the middle.
            Command::ConfigApply { .. } => Ok(self.act(command).await),
            _ => tokio::time::timeout(limit, self.act(command)).await,
        };
        let end = match done {
            Ok(end) => end?,
            Err(_elapsed) => End {
                outcome: Outcome::Indeterminate,
                code: "deadline".to_owned(),
                output: format!(
                    "it was not done within {} s, and may still be",
                    limit.as_secs()
                ),
            },
        };
        let (id, command) = (about.id, command.name());
        tracing::info!(%id, command, code = end.code, "order ended");
        metrics::counter!("hyperhash_agent_orders_total", "outcome" => end.code.clone())
            .increment(1);
        Ok(end)
    }

    async fn conclude(&self, about: About, end: End) -> Result<(), DatabaseError> {
        let Some(enrolled) = self.parts.enrolled.borrow().clone() else {
            return Ok(());
        };
        let result = result(&enrolled, about, end);
        let key = Arc::clone(&self.parts.node_key);
        let sign = move |previous| CommandResult { previous, ..result }.sign(&key);
        let jws = self.parts.journal.conclude(about.id, sign).await?;
        self.report(node_message::Body::Result(ResultMessage { jws }));
        Ok(())
    }

    /// Core asks again for what finds no room here.
    fn report(&self, body: node_message::Body) {
        self.reports.try_send(body).ok();
    }
}

fn about(order: &AcceptedOrder) -> About {
    About {
        id: order.id,
        epoch: order.state.epoch,
        seq: order.seq,
        started_ms: now_ms(),
    }
}

/// What is to be signed, but for the hash of the result before.
fn result(enrolled: &Enrolled, about: About, end: End) -> CommandResult {
    CommandResult {
        domain: enrolled.domain.clone(),
        node: enrolled.node.clone(),
        id: about.id,
        seq: about.seq,
        epoch: about.epoch,
        outcome: end.outcome,
        code: end.code,
        started_ms: about.started_ms,
        finished_ms: now_ms(),
        output: end.output,
        previous: Digest([0; 32]),
    }
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    hh_daemon::Chain(error).to_string()
}

#[cfg(test)]
mod tests;
