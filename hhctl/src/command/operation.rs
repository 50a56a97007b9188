//! `hhctl operation`: commands that nodes were given, and what came of them.

use crate::Exit;
use crate::change::Plan;
use crate::cli::OperationCommand;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::core::{
    NodeOrder, Operation, OperationQuery, OperationState, ServiceOrder, WaitForOperation,
};
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// The command holds for two minutes, and a service may have to stop and start.
pub(super) const ORDER_LIMIT: Duration = Duration::from_secs(180);

/// Code of a command that waits for the owner of its node.
const OWNER_CONSENT: &str = "owner-consent";

/// One call waits for so long; then core is asked again.
const WAIT_STEP: Duration = Duration::from_secs(10);

pub(super) async fn report(
    session: &mut Session,
    command: &OperationCommand,
) -> Result<Report, Failure> {
    match command {
        OperationCommand::List { node, limit } => list(session, node.clone(), *limit).await,
        OperationCommand::Show { id } => show(session, id).await,
        OperationCommand::Wait { id, limit } => wait(session, id, *limit).await,
        OperationCommand::Cancel { .. } => unreachable!("{}", super::PLANNED),
    }
}

async fn list(session: &mut Session, node: Option<String>, limit: u32) -> Result<Report, Failure> {
    let daemon = session.core().await?;
    let query = OperationQuery { node, limit };
    let answer = daemon.client.operations(daemon.call(), query).await;
    let page = daemon.granted(answer)?;
    let mut view = vec![Part::Table(table(&page.operations, session.now()))];
    view.extend(Part::cut(
        page.operations.len(),
        page.total,
        "; see --limit",
    ));
    Ok(Report::list("OperationList", &page.operations, view))
}

async fn one(session: &mut Session, id: &str) -> Result<Operation, Failure> {
    let daemon = session.core().await?;
    let answer = daemon.client.operation(daemon.call(), id.to_owned()).await;
    daemon.granted(answer)
}

/// What would be taken back.
pub(super) async fn plan(session: &mut Session, id: &str) -> Result<Plan, Failure> {
    let operation = one(session, id).await?;
    let (command, node) = (&operation.command, &operation.node);
    let summary = match operation.state {
        OperationState::Queued => {
            format!("would take {command} back, which waits for the node {node}")
        }
        _ => format!("{command} does not wait for the node {node} any more: core would refuse"),
    };
    let question = format!("Take {command} for the node {node} back");
    let mut report = item(&operation, session.now());
    report.exit = Exit::Done;
    report.view.push(Part::Note(summary));
    Ok(Plan {
        report,
        question: Some(question),
        typed: None,
    })
}

pub(super) async fn cancel(session: &mut Session, id: &str) -> Result<Report, Failure> {
    let daemon = session.core_control().await?;
    let answer = daemon
        .client
        .cancel_operation(daemon.call(), id.to_owned())
        .await;
    let operation = daemon.granted(answer)?;
    let mut report = item(&operation, session.now());
    report.exit = Exit::Done;
    Ok(report)
}

async fn show(session: &mut Session, id: &str) -> Result<Report, Failure> {
    let operation = one(session, id).await?;
    let mut report = item(&operation, session.now());
    report.exit = Exit::Done;
    Ok(report)
}

/// Waits until it is known what came of it, and gives an exit status that says so.
pub(super) async fn wait(
    session: &mut Session,
    id: &str,
    limit: Duration,
) -> Result<Report, Failure> {
    let ended = ended(session, id, limit).await?;
    Ok(item(&ended, session.now()))
}

/// One of them, when it is known what came of it, it waits for the owner of its node, or the time is over.
pub(super) async fn ended(
    session: &mut Session,
    id: &str,
    limit: Duration,
) -> Result<Operation, Failure> {
    let until = Instant::now() + limit;
    let daemon = session.core().await?;
    loop {
        let step = until
            .saturating_duration_since(Instant::now())
            .min(WAIT_STEP);
        let wait = WaitForOperation {
            id: id.to_owned(),
            wait_ms: u32::try_from(step.as_millis()).unwrap_or(u32::MAX),
        };
        let call = daemon.call_that_waits(step);
        let answer = daemon.client.wait_for_operation(call, wait).await;
        let operation = daemon.granted(answer)?;
        let is_over = operation.state.is_final() || waits_for_owner(&operation);
        if is_over || Instant::now() >= until {
            return Ok(operation);
        }
    }
}

/// The owner may take a day.
fn waits_for_owner(operation: &Operation) -> bool {
    !operation.state.is_final() && operation.code.as_deref() == Some(OWNER_CONSENT)
}

/// What core is to sign.
pub(super) enum Order {
    Service(ServiceOrder),
    Node(NodeOrder),
}

/// Has core sign a command, or only asks whether it would.
pub(super) async fn order(session: &mut Session, order: Order) -> Result<Operation, Failure> {
    let daemon = session.core_control().await?;
    let answer = match order {
        Order::Service(order) => daemon.client.order_service(daemon.call(), order).await,
        Order::Node(order) => daemon.client.order_node(daemon.call(), order).await,
    };
    daemon.granted(answer)
}

/// One that is not waited for.
pub(super) fn sent(operation: &Operation, now: Timestamp) -> Report {
    let mut report = item(operation, now);
    report.exit = Exit::Done;
    let way = format!(
        "`hhctl operation wait {}` waits for what comes of it",
        operation.id
    );
    report.view.push(Part::Note(way));
    report
}

pub(super) fn item(operation: &Operation, now: Timestamp) -> Report {
    let mut report = Report::item(
        "Operation",
        json!(operation),
        vec![Part::Fields(fields(operation, now))],
    );
    report.exit = match operation.state {
        OperationState::Done => Exit::Done,
        OperationState::Failed
        | OperationState::Rejected
        | OperationState::Expired
        | OperationState::Cancelled => Exit::Failed,
        OperationState::Queued
        | OperationState::Sent
        | OperationState::Taken
        | OperationState::Indeterminate => Exit::Degraded,
    };
    report
}

fn fields(operation: &Operation, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let code = operation.code.as_deref().filter(|code| *code != "ok");
    let mut fields = vec![
        ("Operation", operation.id.as_str().into()),
        ("Node", operation.node.as_str().into()),
        ("Command", operation.command.as_str().into()),
        ("Asked for by", operation.by.as_str().into()),
        (
            "Asked for",
            text::ago(now, Some(operation.created_at)).into(),
        ),
        ("State", state(operation)),
    ];
    fields.extend(code.map(|code| ("Code", code.into())));
    let detail = operation.detail.as_deref();
    fields.extend(detail.map(|detail| ("Says", detail.trim_end().into())));
    fields
}

fn table(operations: &[Operation], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("OPERATION"),
        Column::left("WHEN"),
        Column::left("NODE"),
        Column::left("COMMAND"),
        Column::left("BY"),
        Column::left("STATE"),
        Column::left("CODE"),
    ];
    let mut table = Table::new(columns, "no node was given a command yet");
    for operation in operations {
        table.row(vec![
            operation.id.as_str().into(),
            text::ago(now, Some(operation.created_at)).into(),
            operation.node.as_str().into(),
            operation.command.as_str().into(),
            operation.by.as_str().into(),
            state(operation),
            operation.code.clone().unwrap_or_default().into(),
        ]);
    }
    table
}

fn state(operation: &Operation) -> Cell {
    let (mark, word) = match operation.state {
        _ if waits_for_owner(operation) => (State::Warn, "waits for the node's owner"),
        OperationState::Queued => (State::Unknown, "waits for the node"),
        OperationState::Sent => (State::Unknown, "sent"),
        OperationState::Taken => (State::Unknown, "under way"),
        OperationState::Done => (State::Ok, "done"),
        OperationState::Failed => (State::Fail, "failed"),
        OperationState::Rejected => (State::Fail, "refused by the node"),
        OperationState::Indeterminate => (State::Warn, "nobody knows whether it was done"),
        OperationState::Expired => (State::Fail, "expired, never sent"),
        OperationState::Cancelled => (State::Warn, "taken back, never sent"),
    };
    Cell::state(mark, word)
}
