//! `hhctl ln channel rebalance`.

use crate::Exit;
use crate::change::Plan;
use crate::cli::RebalanceArgs;
use crate::failure::Failure;
use crate::output::{Cell, Part, Report, State, text};
use crate::session::Session;
use hh_ipc::api::treasury::{Rebalance, RebalanceRequest, RebalanceState};
use serde_json::json;

/// The id of a request, before it is sent.
pub(super) fn note(args: &RebalanceArgs) -> Option<String> {
    let id = args.request_id.as_deref()?;
    Some(format!(
        "request id {id}: with --request-id {id} it can be sent again, and moves nothing twice"
    ))
}

pub(super) async fn plan(session: &mut Session, args: &RebalanceArgs) -> Result<Plan, Failure> {
    let planned = call(session, args, true).await?;
    let (amount, fee) = (
        text::sat(planned.amount_msat),
        text::sat(planned.max_fee_msat),
    );
    let what = format!(
        "{amount} from channel {} to {} for at most {fee}",
        args.from, args.to
    );
    let note = format!("would move {what}");
    Ok(Plan {
        report: report(&planned, note),
        question: Some(format!("Move {what}")),
        typed: None,
    })
}

pub(super) async fn apply(session: &mut Session, args: &RebalanceArgs) -> Result<Report, Failure> {
    let moved = call(session, args, false).await?;
    let note = match moved.state {
        RebalanceState::Planned => "nothing was moved".to_owned(),
        RebalanceState::Settled => {
            let fee = text::sat(moved.fee_msat.unwrap_or_default());
            format!("moved, for {fee}")
        }
        RebalanceState::InFlight => {
            let id = args.request_id.as_deref().unwrap_or_default();
            format!("it goes on by itself; ask again with --request-id {id} what came of it")
        }
        RebalanceState::Failed => "nothing was moved, and nothing will be".to_owned(),
    };
    let mut report = report(&moved, note);
    if moved.state == RebalanceState::Failed {
        report.exit = Exit::Failed;
    }
    Ok(report)
}

fn report(rebalance: &Rebalance, note: String) -> Report {
    let view = vec![Part::Fields(fields(rebalance)), Part::Note(note)];
    Report::item("Rebalance", json!(rebalance), view)
}

fn fields(rebalance: &Rebalance) -> Vec<(&'static str, Cell)> {
    let with = |channel: &str, what: &str, msat: Option<u64>| match msat {
        Some(msat) => format!("{channel}, which {what} {}", text::sat(msat)),
        None => channel.to_owned(),
    };
    let from = with(&rebalance.from, "can send", rebalance.can_send_msat);
    let to = with(&rebalance.to, "can take", rebalance.can_receive_msat);
    let mut fields = vec![
        ("From", from.into()),
        ("To", to.into()),
        ("Amount", text::sat(rebalance.amount_msat).into()),
        ("Fee at most", text::sat(rebalance.max_fee_msat).into()),
    ];
    if let Some(fee) = rebalance.fee_msat {
        fields.push(("Fee", text::sat(fee).into()));
    }
    let state = match (rebalance.state, &rebalance.reason) {
        (RebalanceState::Planned, _) => return fields,
        (RebalanceState::InFlight, _) => Cell::state(State::Unknown, "on its way"),
        (RebalanceState::Settled, _) => Cell::state(State::Ok, "settled"),
        (RebalanceState::Failed, None) => Cell::state(State::Fail, "failed"),
        (RebalanceState::Failed, Some(why)) => Cell::state(State::Fail, format!("failed: {why}")),
    };
    fields.push(("State", state));
    if let Some(hash) = &rebalance.payment_hash {
        fields.push(("Payment hash", hash.as_str().into()));
    }
    fields
}

async fn call(
    session: &mut Session,
    args: &RebalanceArgs,
    dry_run: bool,
) -> Result<Rebalance, Failure> {
    let daemon = session.treasury_control().await?;
    let request = RebalanceRequest {
        request_id: args.request_id.clone().unwrap_or_default(),
        from: args.from.clone(),
        to: args.to.clone(),
        amount_msat: args.amount,
        max_fee_ppm: args.max_fee_ppm,
        dry_run,
    };
    let answer = daemon.client.rebalance(daemon.call(), request).await;
    daemon.granted(answer)
}
