//! Money that moves inside the books: the operator's capital, and the reserve.

use crate::change::Plan;
use crate::command::TWO_OPERATORS;
use crate::failure::Failure;
use crate::output::{Column, Part, Report, Table, text};
use crate::session::{Connected, Session};
use hh_ipc::api::treasury::{DepositRequest, DistributionRequest, Totals, TreasuryClient};
use serde_json::json;

async fn totals(daemon: &Connected<TreasuryClient>) -> Result<Option<Totals>, Failure> {
    let answer = daemon.client.status(daemon.call()).await;
    Ok(daemon.answer(answer)?.totals)
}

/// What is there, or that it is not known.
fn sat(totals: Option<&Totals>, book: impl Fn(&Totals) -> i64) -> String {
    totals.map_or_else(
        || "not known".to_owned(),
        |totals| text::signed_sat(book(totals)),
    )
}

pub(super) async fn plan_deposit(
    session: &mut Session,
    amount_msat: u64,
    note: &str,
) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let totals = totals(&daemon).await?;
    let amount = text::sat(amount_msat);
    let view = vec![
        Part::Fields(vec![
            ("Amount", amount.as_str().into()),
            (
                "In suspense",
                sat(totals.as_ref(), |totals| totals.suspense_msat).into(),
            ),
            (
                "Capital",
                sat(totals.as_ref(), |totals| totals.capital_msat).into(),
            ),
            ("Note", note.into()),
        ]),
        Part::Note(format!(
            "would book {amount} of suspense as the operator's capital"
        )),
    ];
    let item = json!({ "amount_msat": amount_msat, "note": note, "totals": totals });
    Ok(Plan {
        report: Report::item("DepositPlan", item, view),
        question: Some(format!(
            "Book {amount} of suspense as the operator's capital"
        )),
        typed: None,
    })
}

pub(super) async fn deposit(
    session: &mut Session,
    amount_msat: u64,
    note: &str,
    request_id: &str,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = DepositRequest {
        request_id: request_id.to_owned(),
        amount_msat,
        note: note.to_owned(),
    };
    let answer = daemon.client.deposit(daemon.call(), request).await;
    let totals = daemon.granted(answer)?;
    let view = vec![
        Part::Fields(vec![
            ("Capital", text::signed_sat(totals.capital_msat).into()),
            ("In suspense", text::signed_sat(totals.suspense_msat).into()),
        ]),
        Part::Note(format!("booked {} as capital", text::sat(amount_msat))),
    ];
    Ok(Report::item("Totals", json!(totals), view))
}

fn parts_table(parts: &[(String, u64)]) -> Table {
    let columns = vec![Column::left("NODE"), Column::right("AMOUNT (sat)")];
    let mut table = Table::new(columns, "");
    for (node, amount) in parts {
        table.row(vec![node.as_str().into(), text::sat_figure(*amount).into()]);
    }
    table
}

/// All parts together; none where that is more than any amount.
fn sum(parts: &[(String, u64)]) -> Option<u64> {
    let mut amounts = parts.iter().map(|(_, amount)| *amount);
    amounts.try_fold(0_u64, u64::checked_add)
}

pub(super) async fn plan_distribution(
    session: &mut Session,
    parts: &[(String, u64)],
    reason: &str,
) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let totals = totals(&daemon).await?;
    let total = sum(parts).map_or_else(|| "more than there is".to_owned(), text::sat);
    let reserve = sat(totals.as_ref(), |totals| totals.node_reserve_msat);
    let view = vec![
        Part::Table(parts_table(parts)),
        Part::Fields(vec![
            ("Total", total.as_str().into()),
            ("In the reserve", reserve.into()),
            ("Reason", reason.into()),
        ]),
        Part::Note(TWO_OPERATORS.to_owned()),
    ];
    let item = json!({
        "parts": parts_json(parts),
        "total_msat": sum(parts),
        "reason": reason,
        "node_reserve_msat": totals.map(|totals| totals.node_reserve_msat),
    });
    let nodes = text::plural(parts.len() as u64, "node");
    Ok(Plan {
        report: Report::item("DistributionPlan", item, view),
        question: Some(format!("Give {total} of the reserve to {nodes}")),
        typed: Some(session.place().name().to_owned()),
    })
}

fn parts_json(parts: &[(String, u64)]) -> Vec<serde_json::Value> {
    let parts = parts.iter();
    parts
        .map(|(node, amount)| json!({ "node": node, "amount_msat": amount }))
        .collect()
}

pub(super) async fn distribute(
    session: &mut Session,
    parts: &[(String, u64)],
    reason: &str,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = DistributionRequest {
        parts: parts.to_vec(),
        reason: reason.to_owned(),
    };
    let answer = daemon.client.distribute_reserve(daemon.call(), request);
    let totals = daemon.granted(answer.await)?;
    let reserve = text::signed_sat(totals.node_reserve_msat);
    let view = vec![
        Part::Table(parts_table(parts)),
        Part::Fields(vec![("In the reserve", reserve.into())]),
    ];
    Ok(Report::item("Totals", json!(totals), view))
}
