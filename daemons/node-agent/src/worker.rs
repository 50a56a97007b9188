//! Carries out what core orders: one order after the other, each checked, written down, done, and told.
//!
//! It owns the journal. The checks are `hh_trust::command_gate`; what may be done at all is the policy's. Reports that find no room are
//! left out: core asks again for every order of which it knows no end.

use crate::database::DatabaseError;
use crate::identity::Enrolled;
use crate::journal::{Interrupted, Journal, Known};
use crate::supervisor::{Act, ActError, Supervisor};
use hh_daemon::Failure;
use hh_ipc::agent::{Command as Sent, CommandResult as ResultMessage, CommandTaken, node_message};
use hh_trust::NodeSecretKey;
use hh_trust::command::{Command, CommandId, Digest};
use hh_trust::command_gate::{
    AcceptedOrder, CommandGate, CurrentConfig, NodeClock, OrderRefusal, Verdict,
};
use hh_trust::command_result::{CommandResult, Outcome};
use hh_trust::local_policy::LocalPolicy;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Orders that wait for those before them.
const ORDERS_QUEUE: usize = 128;

/// Reports that wait for the session.
const REPORTS_QUEUE: usize = 256;

/// How far the node's clock is ahead of core's, in milliseconds, as the session has found last.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockOffset(Arc<AtomicI64>);

impl ClockOffset {
    pub(crate) fn set(&self, ahead_ms: i64) {
        self.0.store(ahead_ms, Ordering::Relaxed);
    }

    fn seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed) / 1_000
    }
}

/// The task.
pub(crate) struct Worker {
    parts: Parts,
    orders: mpsc::Receiver<Sent>,
    reports: mpsc::Sender<node_message::Body>,
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
}

/// How an order ended.
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
    pub(crate) fn new(parts: Parts) -> (Self, Ends) {
        let (orders, waiting) = mpsc::channel(ORDERS_QUEUE);
        let (reports, reported) = mpsc::channel(REPORTS_QUEUE);
        let worker = Self {
            parts,
            orders: waiting,
            reports,
        };
        let ends = Ends {
            orders,
            reports: reported,
        };
        (worker, ends)
    }

    /// Works until the agent stops. What it can't write down it does not do: the node mines on, and core hears no result of that order.
    ///
    /// # Errors
    /// The journal can't be read at the start.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        self.conclude_interrupted().await?;
        loop {
            let sent = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                sent = self.orders.recv() => sent,
            };
            let Some(sent) = sent else {
                return Ok(());
            };
            if let Err(error) = self.handle(sent).await {
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
            Known::Taken => return Ok(()),
            Known::No => {}
        }
        match self.verdict(&enrolled, id, &sent.jws).await? {
            Ok(Verdict::Run(order)) => self.carry_out(order).await,
            Ok(Verdict::AskOwner(order, why)) => {
                let end = End::rejected(
                    "owner-consent",
                    format!("the owner is to consent, on the node: {why}"),
                );
                self.take(&order).await?;
                self.conclude(about(&order), end).await
            }
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
        // The journal does not know this id; a signed one may have been used by any name.
        let is_another = |signed: CommandId| signed != id;
        Ok(gate.check(jws, is_another, |_service| CurrentConfig::default()))
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

    async fn take(&self, order: &AcceptedOrder) -> Result<(), DatabaseError> {
        self.parts.journal.take(order, now_ms()).await?;
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
        self.take(&order).await?;
        let about = about(&order);
        let (id, command) = (order.id, order.command.name());
        tracing::info!(%id, seq = order.seq, command, operator = order.operator, "order begun");
        self.parts.journal.start(order.id, about.started_ms).await?;
        let limit = Duration::from_secs(order.deadline_seconds.into());
        let end = match tokio::time::timeout(limit, self.act(&order.command)).await {
            Ok(end) => end,
            Err(_elapsed) => End {
                outcome: Outcome::Indeterminate,
                code: "deadline".to_owned(),
                output: format!(
                    "it was not done within {} s, and may still be",
                    limit.as_secs()
                ),
            },
        };
        tracing::info!(%id, command, code = end.code, "order ended");
        metrics::counter!("hyperhash_agent_orders_total", "outcome" => end.code.clone())
            .increment(1);
        self.conclude(about, end).await
    }

    async fn act(&self, command: &Command) -> End {
        let acted = match command {
            Command::Ping {} => return End::ok("pong"),
            Command::ServiceStart { service } => (service, Some(Act::Start)),
            Command::ServiceStop { service } => (service, Some(Act::Stop)),
            Command::ServiceRestart { service } => (service, Some(Act::Restart)),
            Command::ServiceStatus { service } => (service, None),
            Command::LogsTail {
                service,
                lines,
                after,
            } => {
                return ended(self.parts.supervisor.log(service, *lines, after.as_deref()));
            }
            Command::CertificateRenew {} => {
                self.parts.renew.notify_one();
                return End::ok("the certificate is renewed now");
            }
            Command::ConfigApply { .. }
            | Command::Drain { .. }
            | Command::WalletRead {}
            | Command::WalletInvoice { .. }
            | Command::WalletSpend { .. } => {
                let output = format!("this agent does not know how to do {}", command.name());
                return End::rejected("not-supported", output);
            }
        };
        let (service, act) = acted;
        if let Some(act) = act
            && let Err(error) = self.parts.supervisor.act(service, act).await
        {
            return ended(Err(error));
        }
        let view = self.parts.supervisor.view(service);
        ended(view.map(|view| match view.pid {
            Some(pid) => format!("{service} is {}, process {pid}", view.state.name()),
            None => format!("{service} is {}", view.state.name()),
        }))
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

fn ended(done: Result<String, ActError>) -> End {
    match done {
        Ok(output) => End::ok(output),
        Err(error) => End {
            outcome: Outcome::Failed,
            code: match error {
                ActError::Unknown(_) => "unknown-service",
                ActError::Failed(_) => "failed",
                ActError::Stopped => "stopping",
            }
            .to_owned(),
            output: error.to_string(),
        },
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
