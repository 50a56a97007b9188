//! `hhctl consent` and `hhctl agent status`: on a node, what its owner says and sees.

use crate::Exit;
use crate::change::Plan;
use crate::cli::ConsentCommand;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::core::OperationState;
use hh_ipc::api::node_agent::{
    ConsentDecision, ConsentDetail, DecidedConsent, NodeAgentStatus, WaitingConsent,
};
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;

/// The command is carried out before it is answered: a service stops, starts, and perhaps does so again.
const DONE_LIMIT: Duration = Duration::from_secs(600);

pub(super) async fn report(
    session: &mut Session,
    command: &ConsentCommand,
) -> Result<Report, Failure> {
    match command {
        ConsentCommand::List => list(session).await,
        ConsentCommand::Show { id } => show(session, id).await,
        ConsentCommand::Approve { .. } | ConsentCommand::Refuse { .. } => {
            unreachable!("run() has what changes something planned")
        }
    }
}

async fn list(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.node_agent().await?;
    let answer = daemon.client.consents(daemon.call()).await;
    let waiting = daemon.granted(answer)?;
    let view = vec![Part::Table(table(&waiting, session.now()))];
    Ok(Report::list("WaitingConsentList", &waiting, view))
}

async fn show(session: &mut Session, id: &str) -> Result<Report, Failure> {
    let detail = detail(session, id).await?;
    Ok(item(&detail, session.now(), None))
}

/// What would be carried out, or not.
pub(super) async fn plan(session: &mut Session, command: &ConsentCommand) -> Result<Plan, Failure> {
    let (id, approve) = decision(command);
    let detail = detail(session, id).await?;
    let (would, question) = match approve {
        true => (
            "would have it carried out",
            "Have this command carried out by the agent",
        ),
        false => (
            "would let it not be carried out",
            "Refuse this command at the agent",
        ),
    };
    Ok(Plan {
        report: item(&detail, session.now(), Some(would)),
        question: Some(question.to_owned()),
        typed: None,
    })
}

pub(super) async fn apply(
    session: &mut Session,
    command: &ConsentCommand,
) -> Result<Report, Failure> {
    let (id, approve) = decision(command);
    let daemon = session.node_agent_control().await?;
    let decision = ConsentDecision {
        id: id.to_owned(),
        approve,
    };
    let call = daemon.call_that_waits(DONE_LIMIT);
    let answer = daemon.client.decide(call, decision).await;
    let decided = daemon.granted(answer)?;
    Ok(outcome(&decided, approve))
}

/// `hhctl agent status`.
pub(super) async fn agent(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.node_agent().await?;
    let answer = daemon.client.status(daemon.call()).await;
    let status = daemon.granted(answer)?;
    let now = session.now();
    let services = super::node::service_table(&status.services, now);
    let view = vec![Part::Fields(fields(&status, now)), Part::Table(services)];
    Ok(Report::item("NodeAgentStatus", json!(status), view))
}

fn fields(status: &NodeAgentStatus, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let session = match (&status.node, status.is_connected) {
        (None, _) => Cell::state(State::Warn, "not enrolled: it waits for a token"),
        (Some(_), true) => Cell::state(State::Ok, "up"),
        (Some(_), false) => Cell::state(State::Fail, "down; the services run on"),
    };
    let waiting = match status.consents_waiting {
        0 => "nothing".into(),
        count => Cell::state(
            State::Warn,
            format!(
                "{}; see `hhctl consent list`",
                text::plural(count.into(), "command")
            ),
        ),
    };
    vec![
        ("Node", status.node.clone().unwrap_or_default().into()),
        (
            "Core",
            status.core_address.clone().unwrap_or_default().into(),
        ),
        ("Session", session),
        (
            "Certificate",
            match status.certificate_until_at {
                Some(at) => super::node::until(now, at),
                None => "none".into(),
            },
        ),
        ("Waits for the owner", waiting),
        ("Audit log", audit(status, now)),
    ]
}

/// What the node has seen of core's log, of which it is a witness.
fn audit(status: &NodeAgentStatus, now: Timestamp) -> Cell {
    let seen = &status.audit;
    match (&seen.fault, seen.at) {
        (Some(fault), _) => Cell::state(State::Fail, fault.as_str()),
        (None, None) => "no checkpoint seen".into(),
        (None, Some(at)) => {
            let lines = text::plural(seen.lines, "line");
            Cell::state(
                State::Ok,
                format!("{lines}, the last checkpoint {}", text::ago(now, Some(at))),
            )
        }
    }
}

async fn detail(session: &mut Session, id: &str) -> Result<ConsentDetail, Failure> {
    let daemon = session.node_agent().await?;
    let answer = daemon.client.consent(daemon.call(), id.to_owned()).await;
    daemon.granted(answer)
}

fn decision(command: &ConsentCommand) -> (&str, bool) {
    match command {
        ConsentCommand::Approve { id, .. } => (id, true),
        ConsentCommand::Refuse { id, .. } => (id, false),
        ConsentCommand::List | ConsentCommand::Show { .. } => {
            unreachable!("Command::changes_something() names what is planned")
        }
    }
}

fn item(detail: &ConsentDetail, now: Timestamp, note: Option<&str>) -> Report {
    let consent = &detail.consent;
    let fields = vec![
        ("Command", consent.id.as_str().into()),
        ("Asks", consent.question.as_str().into()),
        ("Since", text::ago(now, Some(consent.since_at)).into()),
        ("Given up in", text::age(consent.expires_at, now).into()),
    ];
    let mut view = vec![Part::Fields(fields)];
    if !detail.changes.is_empty() {
        view.push(Part::Note(detail.changes.join("\n")));
    }
    view.extend(note.map(|note| Part::Note(note.to_owned())));
    Report::item("WaitingConsent", json!(detail), view)
}

fn outcome(decided: &DecidedConsent, approve: bool) -> Report {
    let (state, exit) = match decided.state {
        _ if !approve => (State::Ok, Exit::Done),
        OperationState::Done => (State::Ok, Exit::Done),
        OperationState::Failed | OperationState::Rejected => (State::Fail, Exit::Failed),
        _ => (State::Warn, Exit::Degraded),
    };
    let fields = vec![
        ("Command", decided.command.as_str().into()),
        ("State", Cell::state(state, decided.code.as_str())),
        ("Says", decided.detail.trim_end().into()),
    ];
    let view = vec![Part::Fields(fields)];
    let mut report = Report::item("DecidedConsent", json!(decided), view);
    report.exit = exit;
    report
}

fn table(waiting: &[WaitingConsent], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("COMMAND"),
        Column::left("SINCE"),
        Column::left("BY"),
        Column::left("WHAT"),
    ];
    let mut table = Table::new(columns, "nothing waits for the owner of this node");
    for one in waiting {
        table.row(vec![
            one.id.as_str().into(),
            text::ago(now, Some(one.since_at)).into(),
            one.operator.as_str().into(),
            one.command.as_str().into(),
        ]);
    }
    table
}
