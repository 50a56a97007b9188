//! A run by hand: its plan, and the run itself, which pays nobody and nothing that the plan did not show.

use crate::change::Plan;
use crate::cli::{RunArgs, RunChoice};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::{Connected, Session};
use hh_ipc::api::treasury::{PayoutPlan, RunRequest, TreasuryClient};
use serde_json::json;

pub(super) async fn show_plan(
    session: &mut Session,
    choice: &RunChoice,
) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let plan = ask(&daemon, choice).await?;
    Ok(report(&plan, None))
}

/// What a run would pay now.
async fn ask(
    daemon: &Connected<TreasuryClient>,
    choice: &RunChoice,
) -> Result<PayoutPlan, Failure> {
    let request = RunRequest {
        payees: choice.payees.clone(),
        below_minimum: choice.below_minimum,
        ..RunRequest::default()
    };
    let answer = daemon.client.payout_plan(daemon.call(), request).await;
    daemon.granted(answer)
}

pub(super) async fn plan(session: &mut Session, args: &RunArgs) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let plan = ask(&daemon, &args.choice).await?;
    let report = report(&plan, args.request_id.as_deref());
    let question = (!plan.planned.is_empty()).then(|| {
        let payouts = text::plural(plan.planned.len() as u64, "payout");
        format!("Open {payouts} of {} in all", text::sat(plan.total_msat))
    });
    Ok(Plan {
        report,
        question,
        typed: Some(session.place().name().to_owned()),
    })
}

/// Runs what is planned now, by its payees and with its total: what comes due between the two waits for the next run. An id that
/// may have been sent before is sent again even if nothing is due: hh-treasury tells what it opened then.
pub(super) async fn run(session: &mut Session, args: &RunArgs) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let planned = ask(&daemon, &args.choice).await?;
    let request_id = args.request_id.clone().unwrap_or_default();
    if planned.planned.is_empty() && args.is_new {
        return Ok(report(&planned, Some(&request_id)));
    }
    let payees = planned.planned.iter();
    let request = RunRequest {
        request_id: request_id.clone(),
        payees: payees.map(|planned| planned.payee.clone()).collect(),
        below_minimum: args.choice.below_minimum,
        total_msat_max: Some(planned.total_msat),
    };
    let answer = daemon.client.payout_run(daemon.call(), request).await;
    let opened = daemon.granted(answer)?;
    Ok(report(&opened, Some(&request_id)))
}

fn report(plan: &PayoutPlan, request_id: Option<&str>) -> Report {
    let mut view = Vec::new();
    if let Some(id) = request_id {
        view.push(Part::Fields(vec![("Request id", id.into())]));
    }
    view.extend(plan_view(plan));
    let mut item = json!(plan);
    if let Some(id) = request_id {
        item["request_id"] = id.into();
    }
    Report::item("PayoutPlan", item, view)
}

/// Who is paid, what it costs, and what is left.
pub(in crate::command) fn plan_view(plan: &PayoutPlan) -> Vec<Part> {
    let mut view = vec![Part::Table(planned(plan))];
    let mut fields = vec![
        ("Total", Cell::from(text::sat(plan.total_msat))),
        ("Fees", fees(plan).into()),
        ("Left of the day's limit", day_limit(plan)),
    ];
    if plan.is_frozen {
        let words = "payouts are frozen: nothing is sent until `hhctl treasury unfreeze`";
        fields.push(("State", Cell::state(State::Warn, words)));
    }
    view.push(Part::Fields(fields));
    if !plan.left_out.is_empty() {
        let columns = ["LEFT OUT", "WHY"].map(Column::left).to_vec();
        let mut table = Table::new(columns, "");
        for (payee, why) in &plan.left_out {
            table.row(vec![payee.as_str().into(), why.as_str().into()]);
        }
        view.push(Part::Table(table));
    }
    view
}

fn planned(plan: &PayoutPlan) -> Table {
    let columns = vec![
        Column::right("ID"),
        Column::left("PAYEE"),
        Column::right("AMOUNT (sat)"),
        Column::right("FEE AT MOST"),
        Column::left("DESTINATION"),
        Column::left("APPROVAL"),
    ];
    let mut table = Table::new(columns, "nobody is to be paid now");
    for payout in &plan.planned {
        let id = payout.id.map(|id| id.to_string());
        let fee = payout.max_fee_msat.map(text::sat_figure);
        let approval = if payout.needs_approval {
            Cell::state(State::Warn, "two operators")
        } else {
            "not needed".into()
        };
        table.row(vec![
            id.as_deref().unwrap_or("-").into(),
            payout.payee.as_str().into(),
            text::sat_figure(payout.amount_msat).into(),
            fee.as_deref().unwrap_or("-").into(),
            payout.destination.as_str().into(),
            approval,
        ]);
    }
    table
}

fn fees(plan: &PayoutPlan) -> String {
    let mut fees = plan.planned.iter().map(|planned| planned.max_fee_msat);
    let most = fees.try_fold(0_u64, |sum, fee| sum.checked_add(fee?));
    match most {
        Some(most) => format!("{} at most", text::sat(most)),
        None => "at most what hh-treasury.toml allows".to_owned(),
    }
}

/// What may still be paid today when this is.
fn day_limit(plan: &PayoutPlan) -> Cell {
    let Some(before) = plan.day_limit_left_msat else {
        return "no limit".into();
    };
    match before.checked_sub(plan.total_msat) {
        Some(after) => format!("{}, of {} now", text::sat(after), text::sat(before)).into(),
        None => Cell::state(
            State::Warn,
            format!("none: {} may be paid today", text::sat(before)),
        ),
    }
}
