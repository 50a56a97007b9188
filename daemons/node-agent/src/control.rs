//! The calls of `hh_ipc::api::node_agent`. What is converted to the types of the wire goes no further than here.

mod wallet;

use crate::config_change;
use crate::config_file::ConfigFile;
use crate::database::DatabaseError;
use crate::dial::Channel;
use crate::identity::Enrolled;
use crate::journal::{Journal, Waiting};
use crate::supervisor::Supervisor;
use crate::wallet::{NoInvoice, WalletHandle};
use crate::witness::Seen;
use crate::worker::{ClockOffset, Decided, Decision, DecisionError};
use hh_daemon::{Caller, Chain, Context, Failure};
use hh_ipc::agent::{NodeAccount, ServiceReport};
use hh_ipc::api::core::{NodeService, OperationState};
use hh_ipc::api::node_agent::{
    AuditSeen, ConsentDecision, ConsentDetail, DecidedConsent, NodeAgent, NodeAgentStatus,
    NodeWalletStatus, WaitingConsent,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery};
use hh_ipc::{ApiError, Context as Call, ErrorKind};
use hh_trust::ChangeJournal;
use hh_trust::command::{Command, CommandId, ServiceName};
use hh_trust::command_result::{Outcome, plain_output};
use hh_trust::consent::{Owner, WAIT_SECONDS_MAX};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) context: Context,
    pub(crate) changes: ChangeJournal,
    /// Only read here: the worker writes it.
    pub(crate) journal: Journal,
    pub(crate) decisions: mpsc::Sender<Decision>,
    pub(crate) config_files: Arc<BTreeMap<ServiceName, ConfigFile>>,
    pub(crate) supervisor: Supervisor,
    pub(crate) enrolled: watch::Receiver<Option<Enrolled>>,
    pub(crate) channel: watch::Receiver<Option<Channel>>,
    pub(crate) clock: ClockOffset,
    pub(crate) audit: watch::Receiver<Seen>,
    /// None where the node has none.
    pub(crate) wallet: Option<WalletHandle>,
    pub(crate) account: watch::Receiver<Option<NodeAccount>>,
    pub(crate) waits_for: watch::Receiver<Option<NoInvoice>>,
}

#[derive(Clone)]
struct Answers {
    control: Arc<Control>,
    caller: Caller,
}

impl Control {
    /// Answers on both sockets until the daemon stops.
    ///
    /// # Errors
    /// The sockets can't be made.
    pub(crate) fn serve(self) -> Result<(), Failure> {
        let control = Arc::new(self);
        control
            .context
            .clone()
            .serve_control(move |caller, stream| {
                let control = Arc::clone(&control);
                Box::pin(hh_ipc::server::answer(
                    stream,
                    Answers { control, caller }.serve(),
                ))
            })
    }

    async fn status(&self) -> Result<NodeAgentStatus, ApiError> {
        let waiting = self.waiting().await?.len();
        let enrolled = self.enrolled.borrow().clone();
        let enrolled = enrolled.as_ref();
        let certificate = enrolled.and_then(Enrolled::certificate);
        let until = certificate.map(|certificate| timestamp(certificate.validity.not_after));
        Ok(NodeAgentStatus {
            node: enrolled.map(|enrolled| enrolled.node.to_string()),
            trust_domain: enrolled.map(|enrolled| enrolled.domain.to_string()),
            core_address: enrolled.map(|enrolled| enrolled.session_address.clone()),
            is_connected: self.channel.borrow().is_some(),
            epoch: enrolled.map_or(0, |enrolled| enrolled.epoch),
            clock_ahead_ms: self.clock.milliseconds(),
            certificate_until_at: until,
            services: self.supervisor.report().iter().map(service).collect(),
            consents_waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
            audit: self.audit_seen(),
        })
    }

    fn audit_seen(&self) -> AuditSeen {
        let seen = self.audit.borrow();
        AuditSeen {
            lines: seen.lines,
            at: seen.at,
            fault: seen.fault.clone(),
        }
    }

    async fn consents(&self) -> Result<Vec<WaitingConsent>, ApiError> {
        let waiting = self.waiting().await?;
        Ok(waiting.iter().map(consent).collect())
    }

    async fn consent(&self, id: &str) -> Result<ConsentDetail, ApiError> {
        let id = parse(id)?;
        let found = self.journal.waiting_order(id).await;
        let found = found.map_err(|error| journal_error(&error))?;
        let waiting = found.ok_or_else(|| refused(&DecisionError::Unknown(id)))?;
        let changes = match &waiting.request.command {
            Command::ConfigApply { service, body, .. } => {
                let current = self.config_files.get(service).and_then(ConfigFile::text);
                config_change::changes(current.as_deref(), body)
            }
            _ => Vec::new(),
        };
        Ok(ConsentDetail {
            consent: consent(&waiting),
            changes,
        })
    }

    async fn decide(
        &self,
        caller: &Caller,
        decision: ConsentDecision,
    ) -> Result<DecidedConsent, ApiError> {
        caller.may_change()?;
        let waiting = self.consent(&decision.id).await?.consent;
        let arguments = serde_json::json!({
            "id": waiting.id,
            "approve": decision.approve,
            "question": waiting.question,
        });
        let act = async {
            let (done, was_done) = oneshot::channel();
            let word = Decision {
                id: parse(&waiting.id)?,
                is_yes: decision.approve,
                owner: Owner::of(caller.peer.uid),
                done,
            };
            self.decisions
                .send(word)
                .await
                .map_err(|_gone| stopping())?;
            let decided = was_done.await.map_err(|_gone| stopping())?;
            decided.map_err(|error| refused(&error))
        };
        let decided = self.changes.record(&caller.peer, "decide", arguments, act);
        Ok(answer(&waiting, decided.await?))
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, ApiError> {
        let waiting = self.journal.waiting().await;
        waiting.map_err(|error| journal_error(&error))
    }
}

impl NodeAgent for Answers {
    async fn hello(self, _: Call) -> Hello {
        self.control.context.hello(self.caller.read_only)
    }

    async fn status(self, _: Call) -> Result<NodeAgentStatus, ApiError> {
        self.control.status().await
    }

    async fn consents(self, _: Call) -> Result<Vec<WaitingConsent>, ApiError> {
        self.control.consents().await
    }

    async fn consent(self, _: Call, id: String) -> Result<ConsentDetail, ApiError> {
        self.control.consent(&id).await
    }

    async fn decide(self, _: Call, decision: ConsentDecision) -> Result<DecidedConsent, ApiError> {
        self.control.decide(&self.caller, decision).await
    }

    async fn wallet(self, _: Call) -> Result<NodeWalletStatus, ApiError> {
        self.control.wallet().await
    }

    async fn journal(self, _: Call, query: JournalQuery) -> Result<JournalPage, ApiError> {
        self.control.changes.page(query).await
    }
}

fn parse(id: &str) -> Result<CommandId, ApiError> {
    id.parse().map_err(|_no| {
        let id: String = id.chars().take(64).collect();
        let message = format!("{id:?} is no command; `hhctl consent list` shows those that wait");
        ApiError::new(ErrorKind::NotFound, "HH6001", message)
    })
}

fn refused(error: &DecisionError) -> ApiError {
    match error {
        DecisionError::Unknown(_) => {
            ApiError::new(ErrorKind::NotFound, "HH6001", error.to_string())
        }
    }
}

fn stopping() -> ApiError {
    ApiError::new(ErrorKind::Unavailable, "HH6002", "hh-node-agent stops")
}

fn journal_error(error: &DatabaseError) -> ApiError {
    let message = Chain(error).to_string();
    ApiError::new(ErrorKind::Unavailable, "HH6003", message)
}

fn consent(waiting: &Waiting) -> WaitingConsent {
    let request = &waiting.request;
    let name = request.command.name();
    WaitingConsent {
        id: request.id.to_string(),
        operator: one_line(&request.operator),
        command: match request.command.service() {
            Some(service) => format!("{name} {service}"),
            None => name.to_owned(),
        },
        question: one_line(&request.question()),
        since_at: timestamp(request.since),
        expires_at: timestamp(request.since.saturating_add(WAIT_SECONDS_MAX)),
    }
}

/// Core has written it: nothing of it moves the owner's terminal, or makes a line of its own.
fn one_line(text: &str) -> String {
    plain_output(text).replace(['\n', '\t'], " ")
}

fn answer(waiting: &WaitingConsent, decided: Decided) -> DecidedConsent {
    DecidedConsent {
        id: waiting.id.clone(),
        command: waiting.command.clone(),
        state: match decided.outcome {
            Outcome::Ok => OperationState::Done,
            Outcome::Failed => OperationState::Failed,
            Outcome::Rejected => OperationState::Rejected,
            Outcome::AwaitsOwner => OperationState::Taken,
            Outcome::Indeterminate => OperationState::Indeterminate,
        },
        code: decided.code,
        detail: plain_output(&decided.output),
    }
}

fn service(report: &ServiceReport) -> NodeService {
    let since = Timestamp::from_millisecond(report.since_unix_ms);
    let error = &report.last_error;
    NodeService {
        name: report.name.clone(),
        state: report.state.clone(),
        since_at: since.unwrap_or_default(),
        restarts: report.restarts,
        pid: (report.pid != 0).then_some(report.pid),
        last_error: (!error.is_empty()).then(|| error.clone()),
        memory_bytes: report.memory_bytes,
    }
}

/// A time for the wire; one that no calendar has shows as 1970.
fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_core_writes_moves_no_terminal_and_makes_no_line_of_its_own() {
        let shown = one_line("alice\u{1b}[2J\nState  approved\u{202e}");
        assert_eq!(shown, "alice[2J State  approved");
    }
}
