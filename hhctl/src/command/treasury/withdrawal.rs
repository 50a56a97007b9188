//! `hhctl treasury withdraw` and `hhctl treasury withdrawal`.

use crate::Exit;
use crate::change::Plan;
use crate::cli::{WithdrawArgs, WithdrawalCommand};
use crate::command::TWO_OPERATORS;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::{
    CloseWithdrawalRequest, WithdrawRequest, Withdrawal, WithdrawalLimits, WithdrawalState,
};
use serde_json::json;

/// Whole satoshi with their unit.
pub(super) fn sat(sat: u64) -> String {
    text::sat(sat.saturating_mul(1_000))
}

/// The id of a request, before it is sent.
pub(super) fn note(args: &WithdrawArgs) -> Option<String> {
    let id = args.request_id.as_deref()?;
    Some(format!(
        "request id {id}: with --request-id {id} it can be sent again, and leaves once"
    ))
}

pub(super) async fn plan(session: &mut Session, args: &WithdrawArgs) -> Result<Plan, Failure> {
    let planned = call(session, args, true).await?;
    if planned.state != WithdrawalState::Planned {
        // A request that is known: it is asked what came of it.
        return Ok(Plan {
            report: report(&planned),
            question: None,
            typed: None,
        });
    }
    let (amount, fee) = (sat(planned.amount_sat), sat(planned.max_fee_sat));
    let what = format!(
        "{amount} to {} for a fee of at most about {fee}",
        planned.address
    );
    let mut view = vec![
        Part::Fields(fields(&planned)),
        Part::Note(format!("would send {what}")),
    ];
    if planned.needs_approval {
        view.push(Part::Note(TWO_OPERATORS.to_owned()));
    }
    Ok(Plan {
        report: Report::item("Withdrawal", json!(planned), view),
        question: Some(format!("Send {what}, out of the treasury")),
        typed: Some(session.place().name().to_owned()),
    })
}

pub(super) async fn withdraw(
    session: &mut Session,
    args: &WithdrawArgs,
) -> Result<Report, Failure> {
    let sent = call(session, args, false).await?;
    Ok(report(&sent))
}

async fn call(
    session: &mut Session,
    args: &WithdrawArgs,
    dry_run: bool,
) -> Result<Withdrawal, Failure> {
    let daemon = session.treasury_control().await?;
    let request = WithdrawRequest {
        request_id: args.request_id.clone().unwrap_or_default(),
        address: args.address.clone(),
        amount_sat: args.amount_sat,
        fee_rate_sat_per_vb: args.fee_rate,
        dry_run,
    };
    let answer = daemon.client.withdraw(daemon.call(), request).await;
    daemon.granted(answer)
}

/// What came of it.
fn report(withdrawal: &Withdrawal) -> Report {
    let note = match withdrawal.state {
        WithdrawalState::Planned => "nothing was sent",
        WithdrawalState::Open => {
            "whether it was sent is not known; it is looked for, and never sent again by itself: `hhctl treasury withdrawal list`"
        }
        WithdrawalState::Sent => "it waits for a block: `hhctl treasury withdrawal list`",
        WithdrawalState::Settled => "a block has it, and it is booked",
        WithdrawalState::Failed => "nothing was sent, and nothing will be",
    };
    let view = vec![
        Part::Fields(fields(withdrawal)),
        Part::Note(note.to_owned()),
    ];
    let mut report = Report::item("Withdrawal", json!(withdrawal), view);
    if withdrawal.state == WithdrawalState::Failed {
        report.exit = Exit::Failed;
    }
    report
}

fn fields(withdrawal: &Withdrawal) -> Vec<(&'static str, Cell)> {
    let mut fields: Vec<(&'static str, Cell)> = vec![
        ("To", withdrawal.address.as_str().into()),
        ("Amount", sat(withdrawal.amount_sat).into()),
        (
            "Fee at most",
            format!("about {}", sat(withdrawal.max_fee_sat)).into(),
        ),
    ];
    if let Some(rate) = withdrawal.fee_rate_sat_per_kvb {
        fields.push(("Fee rate", fee_rate(rate, withdrawal.is_rate_known)));
    }
    if let Some(limits) = &withdrawal.limits {
        fields.extend(of_limits(limits));
    }
    if let Some(fee) = withdrawal.fee_sat {
        fields.push(("Fee", sat(fee).into()));
    }
    if withdrawal.state == WithdrawalState::Planned {
        return fields;
    }
    fields.push(("State", state(withdrawal)));
    let known = [
        ("Transaction", withdrawal.txid.clone()),
        (
            "Block",
            withdrawal.block_height.map(|height| height.to_string()),
        ),
        ("Asked for by", withdrawal.actor.clone()),
        ("Why", withdrawal.reason.clone()),
    ];
    let known = known.into_iter();
    fields.extend(known.filter_map(|(name, value)| Some((name, value?.into()))));
    fields
}

fn fee_rate(sat_per_kvb: u64, is_known: Option<bool>) -> Cell {
    let rate = format!("{}.{:03} sat/vB", sat_per_kvb / 1_000, sat_per_kvb % 1_000);
    if is_known == Some(false) {
        let what =
            "the least that is relayed: Bitcoin Core has no estimate; --fee-rate names another";
        return Cell::state(State::Warn, format!("{rate}, {what}"));
    }
    rate.into()
}

/// The figures that it has to be within.
fn of_limits(limits: &WithdrawalLimits) -> Vec<(&'static str, Cell)> {
    vec![
        (
            "Your own",
            format!("{}, by the books", sat(limits.own_sat)).into(),
        ),
        (
            "Spare",
            format!("{} more than is owed", sat(limits.spare_sat)).into(),
        ),
        (
            "On the chain",
            format!(
                "{} beside the {} that stay for channels that close",
                sat(limits.on_chain_sat),
                sat(limits.stays_sat)
            )
            .into(),
        ),
        (
            "Two operators",
            format!("above {}", sat(limits.approval_above_sat)).into(),
        ),
    ]
}

fn state(withdrawal: &Withdrawal) -> Cell {
    match withdrawal.state {
        WithdrawalState::Planned => "planned".into(),
        WithdrawalState::Open => Cell::state(State::Warn, "not known"),
        WithdrawalState::Sent => Cell::state(State::Unknown, "waits for a block"),
        WithdrawalState::Settled => Cell::state(State::Ok, "settled"),
        WithdrawalState::Failed => Cell::state(State::Fail, "failed"),
    }
}

pub(super) async fn list(session: &mut Session, limit: u32) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.withdrawals(daemon.call(), limit).await;
    let withdrawals = daemon.granted(answer)?;
    let mut view = vec![Part::Table(table(&withdrawals))];
    let reasons = withdrawals.iter().filter_map(|withdrawal| {
        let (id, reason) = (withdrawal.id?, withdrawal.reason.as_deref()?);
        Some(Part::Note(format!("{id}: {reason}")))
    });
    view.extend(reasons);
    Ok(Report::list("WithdrawalList", &withdrawals, view))
}

fn table(withdrawals: &[Withdrawal]) -> Table {
    let columns = vec![
        Column::right("ID"),
        Column::left("ASKED FOR AT"),
        Column::right("AMOUNT (sat)"),
        Column::right("FEE"),
        Column::left("STATE"),
        Column::right("BLOCK"),
        Column::left("TO"),
        Column::left("TRANSACTION"),
    ];
    let mut table = Table::new(columns, "nothing was withdrawn yet");
    let dash = || "-".to_owned();
    for withdrawal in withdrawals {
        let id = withdrawal.id.map_or_else(dash, |id| id.to_string());
        let at = withdrawal.opened_at.map_or_else(dash, |at| at.to_string());
        let height = withdrawal.block_height;
        table.row(vec![
            id.into(),
            at.into(),
            text::count(withdrawal.amount_sat).into(),
            withdrawal.fee_sat.map_or_else(dash, text::count).into(),
            state(withdrawal),
            height.map_or_else(dash, |height| height.to_string()).into(),
            withdrawal.address.as_str().into(),
            withdrawal.txid.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

pub(super) async fn plan_close(
    session: &mut Session,
    command: &WithdrawalCommand,
) -> Result<Plan, Failure> {
    let WithdrawalCommand::CloseFailed { id, reason, .. } = command else {
        unreachable!("{}", crate::command::NOTHING_CHANGES);
    };
    let known = call_close(session, *id, reason, true).await?;
    let amount = sat(known.amount_sat);
    let view = vec![
        Part::Fields(fields(&known)),
        Part::Note(format!(
            "would close it as failed for: {reason}\nShould a block have it after all, the books say that {amount} and its fee have left \
             unexplained."
        )),
        Part::Note(TWO_OPERATORS.to_owned()),
    ];
    Ok(Plan {
        report: Report::item("Withdrawal", json!(known), view),
        question: Some(format!(
            "Close withdrawal {id} as failed, {amount} to {}",
            known.address
        )),
        typed: Some(session.place().name().to_owned()),
    })
}

pub(super) async fn close(
    session: &mut Session,
    command: &WithdrawalCommand,
) -> Result<Report, Failure> {
    let WithdrawalCommand::CloseFailed { id, reason, .. } = command else {
        unreachable!("{}", crate::command::NOTHING_CHANGES);
    };
    let closed = call_close(session, *id, reason, false).await?;
    let view = vec![
        Part::Fields(fields(&closed)),
        Part::Note("closed; it is not waited for any more".to_owned()),
    ];
    Ok(Report::item("Withdrawal", json!(closed), view))
}

async fn call_close(
    session: &mut Session,
    id: u64,
    reason: &str,
    dry_run: bool,
) -> Result<Withdrawal, Failure> {
    let daemon = session.treasury_control().await?;
    let request = CloseWithdrawalRequest {
        id,
        reason: reason.to_owned(),
        dry_run,
    };
    let answer = daemon.client.close_withdrawal(daemon.call(), request).await;
    daemon.granted(answer)
}
