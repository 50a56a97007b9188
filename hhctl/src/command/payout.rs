//! `hhctl payout`.

mod act;
mod export;
mod run;

pub(super) use run::plan_view;

use crate::change::{Consent, Plan};
use crate::cli::{PayoutCommand, PayoutFilter};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::{Connected, Session};
use hh_ipc::api::treasury::{
    Attempt, AttemptState, Payout, PayoutDetail, PayoutEvent, PayoutQuery, PayoutState,
    TreasuryClient,
};
use jiff::Timestamp;
use serde_json::json;

/// States in which a payout is neither settled nor ended.
const OPEN: [PayoutState; 7] = [
    PayoutState::WaitingForApproval,
    PayoutState::Queued,
    PayoutState::Resolving,
    PayoutState::Ready,
    PayoutState::Paying,
    PayoutState::RetryWait,
    PayoutState::NeedsOperator,
];

pub(super) async fn report(
    session: &mut Session,
    command: &PayoutCommand,
) -> Result<Report, Failure> {
    match command {
        PayoutCommand::List { filter, limit } => list(session, filter, *limit).await,
        PayoutCommand::Show { id } => show(session, *id).await,
        PayoutCommand::Plan(choice) => run::show_plan(session, choice).await,
        PayoutCommand::Export(args) => export::export(session, &args.filter).await,
        _ => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

pub(super) fn consent(command: &PayoutCommand) -> Consent {
    match command {
        PayoutCommand::Run(args) => (&args.confirmation).into(),
        PayoutCommand::Approve { confirmation, .. }
        | PayoutCommand::CloseFailed { confirmation, .. } => confirmation.into(),
        PayoutCommand::Release { confirmation, .. }
        | PayoutCommand::Cancel { confirmation, .. } => (*confirmation).into(),
        PayoutCommand::List { .. }
        | PayoutCommand::Show { .. }
        | PayoutCommand::Plan(_)
        | PayoutCommand::Export(_)
        | PayoutCommand::Retry { .. }
        | PayoutCommand::SubmitInvoice(_)
        | PayoutCommand::Hold { .. } => Consent::not_needed(),
    }
}

/// The id of a run, before it is sent.
pub(super) fn note(command: &PayoutCommand) -> Option<String> {
    let PayoutCommand::Run(args) = command else {
        return None;
    };
    let id = args.request_id.as_deref()?;
    Some(format!(
        "request id {id}: with --request-id {id} it can be sent again, and opens nothing twice"
    ))
}

pub(super) async fn plan(session: &mut Session, command: &PayoutCommand) -> Result<Plan, Failure> {
    match command {
        PayoutCommand::Run(args) => run::plan(session, args).await,
        PayoutCommand::Release { target, reason, .. } => {
            act::plan_release(session, target, reason).await
        }
        PayoutCommand::Cancel { id, reason, .. } => act::plan_cancel(session, *id, reason).await,
        PayoutCommand::Approve { id, .. } => act::plan_approval(session, *id).await,
        PayoutCommand::CloseFailed { id, reason, .. } => {
            act::plan_close_failed(session, *id, reason).await
        }
        _ => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

pub(super) async fn apply(
    session: &mut Session,
    command: &PayoutCommand,
) -> Result<Report, Failure> {
    match command {
        PayoutCommand::Run(args) => run::run(session, args).await,
        PayoutCommand::Retry { id } => act::retry(session, *id).await,
        PayoutCommand::Hold { target, reason } => act::hold(session, target, true, reason).await,
        PayoutCommand::Release { target, reason, .. } => {
            act::hold(session, target, false, reason).await
        }
        PayoutCommand::Cancel { id, reason, .. } => act::cancel(session, *id, reason).await,
        PayoutCommand::Approve { id, sign_with, .. } => {
            act::approve(session, *id, sign_with.as_deref()).await
        }
        PayoutCommand::CloseFailed { id, reason, .. } => {
            act::close_failed(session, *id, reason).await
        }
        PayoutCommand::SubmitInvoice(args) => act::submit_invoice(session, args).await,
        PayoutCommand::List { .. }
        | PayoutCommand::Show { .. }
        | PayoutCommand::Plan(_)
        | PayoutCommand::Export(_) => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

/// The question that a filter asks.
fn query(filter: &PayoutFilter, before: Option<u64>, limit: u32) -> PayoutQuery {
    let states = if filter.open {
        Some(OPEN.to_vec())
    } else if filter.states.is_empty() {
        None
    } else {
        Some(filter.states.iter().map(|state| (*state).into()).collect())
    };
    PayoutQuery {
        payee: filter.payee.clone(),
        states,
        before,
        limit,
    }
}

async fn list(session: &mut Session, filter: &PayoutFilter, limit: u32) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon
        .client
        .payouts(daemon.call(), query(filter, None, limit));
    let page = daemon.granted(answer.await)?;
    let when_empty = match (&filter.payee, filter.open) {
        (Some(payee), _) => format!("no such payout of {payee}"),
        (None, true) => "no payout is open".to_owned(),
        (None, false) if filter.states.is_empty() => {
            "no payout yet; `hhctl payout plan` shows who would be paid, and who not and why"
                .to_owned()
        }
        (None, false) => "no payout in this state".to_owned(),
    };
    let mut view = vec![Part::Table(table(&page.payouts, session.now(), when_empty))];
    if page.next_before.is_some() {
        let note = "there are more; --limit shows them, --payee, --state and --open fewer";
        view.push(Part::Note(note.to_owned()));
    }
    let mut report = Report::list("PayoutList", &page.payouts, view);
    report.add("next_before", json!(page.next_before));
    Ok(report)
}

fn table(payouts: &[Payout], now: Timestamp, when_empty: impl Into<String>) -> Table {
    let columns = vec![
        Column::right("ID"),
        Column::left("PAYEE"),
        Column::right("AMOUNT (sat)"),
        Column::right("FEE (sat)"),
        Column::left("STATE"),
        Column::left("DESTINATION"),
        Column::left("MADE"),
        Column::left("SETTLED"),
        Column::left("WAITS FOR"),
    ];
    let mut table = Table::new(columns, when_empty);
    for payout in payouts {
        let fee = payout.fee_msat.map(text::sat_figure);
        table.row(vec![
            payout.id.to_string().into(),
            payout.payee.as_str().into(),
            text::sat_figure(payout.amount_msat).into(),
            fee.as_deref().unwrap_or("-").into(),
            state(payout, now),
            payout.destination.as_str().into(),
            text::ago(now, Some(payout.created_at)).into(),
            latency(payout).into(),
            payout.waiting_for.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

/// How long a payment took; a dash before its end.
fn latency(payout: &Payout) -> String {
    match payout.latency_seconds {
        Some(seconds) if seconds < 10.0 => format!("in {seconds:.2}s"),
        Some(seconds) => format!("in {}", text::long_time(seconds)),
        None => "-".to_owned(),
    }
}

pub(super) fn word(state: PayoutState) -> &'static str {
    match state {
        PayoutState::WaitingForApproval => "waiting for approval",
        PayoutState::Queued => "queued",
        PayoutState::Resolving => "resolving",
        PayoutState::Ready => "ready",
        PayoutState::Paying => "paying",
        PayoutState::RetryWait => "waiting to retry",
        PayoutState::NeedsOperator => "needs a person",
        PayoutState::Settled => "settled",
        PayoutState::Cancelled => "cancelled",
        PayoutState::Failed => "failed",
    }
}

fn state(payout: &Payout, now: Timestamp) -> Cell {
    let mark = match payout.state {
        PayoutState::Settled => State::Ok,
        PayoutState::NeedsOperator | PayoutState::Failed => State::Fail,
        PayoutState::WaitingForApproval | PayoutState::RetryWait => State::Warn,
        PayoutState::Queued
        | PayoutState::Resolving
        | PayoutState::Ready
        | PayoutState::Paying
        | PayoutState::Cancelled => State::Unknown,
    };
    let mut words = word(payout.state).to_owned();
    if payout.is_held {
        words += ", held";
    }
    if let Some(next) = payout
        .next_try_at
        .filter(|_| payout.state == PayoutState::RetryWait)
    {
        words += &format!(", next in {}", text::age(next, now));
    }
    if let Some(reason) = &payout.reason {
        words += &format!(": {reason}");
    }
    Cell::state(mark, words)
}

async fn show(session: &mut Session, id: u64) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let detail = detail(&daemon, id).await?;
    let now = session.now();
    let view = vec![
        Part::Fields(fields(&detail.payout, now)),
        Part::Table(attempts(&detail.attempts, now)),
        Part::Table(history(&detail.history)),
    ];
    Ok(Report::item("Payout", json!(detail), view))
}

async fn detail(daemon: &Connected<TreasuryClient>, id: u64) -> Result<PayoutDetail, Failure> {
    let answer = daemon.client.payout(daemon.call(), id).await;
    daemon.granted(answer)
}

pub(super) fn fields(payout: &Payout, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let fee = payout.fee_msat.map(text::sat);
    let approvals = match payout.approvals.as_slice() {
        [] => "none".to_owned(),
        given => given.join(", "),
    };
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        ("Payout", payout.id.to_string().into()),
        ("Payee", payout.payee.as_str().into()),
        ("Amount", text::sat(payout.amount_msat).into()),
        ("Fee", fee.as_deref().unwrap_or("-").into()),
        ("State", state(payout, now)),
        ("Waits for", or_dash(&payout.waiting_for).into()),
        ("Destination", payout.destination.as_str().into()),
        ("Made", text::ago(now, Some(payout.created_at)).into()),
        ("Settled", latency(payout).into()),
        ("Approvals", approvals.into()),
        ("Payment hash", or_dash(&payout.payment_hash).into()),
        ("Preimage", or_dash(&payout.preimage).into()),
    ]
}

pub(super) fn attempts(attempts: &[Attempt], now: Timestamp) -> Table {
    let columns = vec![
        Column::right("ATTEMPT"),
        Column::left("STATE"),
        Column::right("AMOUNT (sat)"),
        Column::right("FEE AT MOST"),
        Column::right("FEE (sat)"),
        Column::left("SENT"),
        Column::left("PAYMENT HASH"),
    ];
    let mut table = Table::new(columns, "no payment was tried yet");
    for attempt in attempts {
        let fee = attempt.fee_msat.map(text::sat_figure);
        table.row(vec![
            attempt.id.to_string().into(),
            attempt_state(attempt),
            text::sat_figure(attempt.amount_msat).into(),
            text::sat_figure(attempt.max_fee_msat).into(),
            fee.as_deref().unwrap_or("-").into(),
            text::ago(now, attempt.dispatched_at).into(),
            attempt.payment_hash.as_str().into(),
        ]);
    }
    table
}

fn attempt_state(attempt: &Attempt) -> Cell {
    let (mark, word) = match attempt.state {
        AttemptState::Prepared => (State::Unknown, "prepared"),
        AttemptState::Dispatched => (State::Unknown, "dispatched"),
        AttemptState::InFlight => (State::Unknown, "in flight"),
        AttemptState::Unknown => (State::Warn, "unknown: it is looked up"),
        AttemptState::Settled => (State::Ok, "settled"),
        AttemptState::FailedFinal => (State::Fail, "failed"),
        AttemptState::Abandoned => (State::Unknown, "never sent"),
    };
    match &attempt.failure {
        Some(failure) => Cell::state(mark, format!("{word}: {failure}")),
        None => Cell::state(mark, word),
    }
}

pub(super) fn history(events: &[PayoutEvent]) -> Table {
    let columns = ["TIME (UTC)", "WHAT", "BY"].map(Column::left).to_vec();
    let mut table = Table::new(columns, "nothing has happened to it yet");
    for event in events {
        table.row(vec![
            event.at.strftime("%Y-%m-%d %H:%M:%S").to_string().into(),
            event.what.as_str().into(),
            event.actor.as_deref().unwrap_or("hh-treasury").into(),
        ]);
    }
    table
}
