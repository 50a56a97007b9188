//! `hhctl treasury`.

mod adoption;
mod books;
mod ledger;
mod limits;
mod money;
mod utxo;
mod withdrawal;

use super::{TWO_OPERATORS, link, payout};
use crate::Exit;
use crate::change::{Consent, Plan};
use crate::cli::{TreasuryCommand, WithdrawalCommand};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::{
    Freeze, FreezeRequest, LedgerQuery, RunRequest, TreasuryStatus, UnfreezeRequest,
};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn report(
    session: &mut Session,
    command: &TreasuryCommand,
) -> Result<Report, Failure> {
    match command {
        TreasuryCommand::Status => status(session).await,
        TreasuryCommand::Balance => books::balance(session).await,
        TreasuryCommand::Ledger { before, limit } => {
            let query = LedgerQuery {
                before: *before,
                limit: *limit,
            };
            ledger::list(session, query).await
        }
        TreasuryCommand::Limits => limits::report(session).await,
        TreasuryCommand::Utxo => utxo::report(session).await,
        TreasuryCommand::Withdrawal(WithdrawalCommand::List { limit }) => {
            withdrawal::list(session, *limit).await
        }
        _ => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

pub(super) fn consent(command: &TreasuryCommand) -> Consent {
    match command {
        TreasuryCommand::Unfreeze { confirmation, .. }
        | TreasuryCommand::Adopt { confirmation, .. }
        | TreasuryCommand::AdoptForeign { confirmation, .. }
        | TreasuryCommand::Distribute { confirmation, .. } => confirmation.into(),
        TreasuryCommand::Deposit { confirmation, .. } => (*confirmation).into(),
        TreasuryCommand::Withdraw(args) => (&args.confirmation).into(),
        TreasuryCommand::Withdrawal(WithdrawalCommand::CloseFailed { confirmation, .. }) => {
            confirmation.into()
        }
        TreasuryCommand::Status
        | TreasuryCommand::Balance
        | TreasuryCommand::Ledger { .. }
        | TreasuryCommand::Limits
        | TreasuryCommand::Utxo
        | TreasuryCommand::Withdrawal(WithdrawalCommand::List { .. })
        | TreasuryCommand::Address
        | TreasuryCommand::Freeze { .. }
        | TreasuryCommand::Verify
        | TreasuryCommand::Reconcile => Consent::not_needed(),
    }
}

/// The id of a request, before it is sent.
pub(super) fn note(command: &TreasuryCommand) -> Option<String> {
    let request_id = match command {
        TreasuryCommand::Withdraw(args) => return withdrawal::note(args),
        TreasuryCommand::Deposit { request_id, .. } => request_id,
        _ => return None,
    };
    let id = request_id.as_deref()?;
    Some(format!(
        "request id {id}: with --request-id {id} it can be sent again, and books nothing twice"
    ))
}

pub(super) async fn plan(
    session: &mut Session,
    command: &TreasuryCommand,
) -> Result<Plan, Failure> {
    match command {
        TreasuryCommand::Unfreeze { reason, .. } => plan_unfreeze(session, reason).await,
        TreasuryCommand::Adopt {
            payment_hash,
            payee,
            evidence,
            ..
        } => adoption::plan_adopt(session, payment_hash, payee, evidence).await,
        TreasuryCommand::AdoptForeign {
            payment_hashes,
            evidence,
            ..
        } => adoption::plan_adopt_foreign(session, payment_hashes, evidence).await,
        TreasuryCommand::Deposit {
            amount_msat, note, ..
        } => money::plan_deposit(session, *amount_msat, note).await,
        TreasuryCommand::Distribute { parts, reason, .. } => {
            money::plan_distribution(session, parts, reason).await
        }
        TreasuryCommand::Withdraw(args) => withdrawal::plan(session, args).await,
        TreasuryCommand::Withdrawal(command) => withdrawal::plan_close(session, command).await,
        _ => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

pub(super) async fn apply(
    session: &mut Session,
    command: &TreasuryCommand,
) -> Result<Report, Failure> {
    match command {
        TreasuryCommand::Address => address(session).await,
        TreasuryCommand::Freeze { reason } => freeze(session, reason).await,
        TreasuryCommand::Unfreeze { reason, .. } => unfreeze(session, reason).await,
        TreasuryCommand::Verify => books::verify(session).await,
        TreasuryCommand::Reconcile => books::reconcile(session).await,
        TreasuryCommand::Adopt {
            payment_hash,
            payee,
            evidence,
            ..
        } => adoption::adopt(session, payment_hash, payee, evidence).await,
        TreasuryCommand::AdoptForeign {
            payment_hashes,
            evidence,
            ..
        } => adoption::adopt_foreign(session, payment_hashes, evidence).await,
        TreasuryCommand::Deposit {
            amount_msat,
            note,
            request_id,
            ..
        } => {
            let id = request_id.as_deref().unwrap_or_default();
            money::deposit(session, *amount_msat, note, id).await
        }
        TreasuryCommand::Distribute { parts, reason, .. } => {
            money::distribute(session, parts, reason).await
        }
        TreasuryCommand::Withdraw(args) => withdrawal::withdraw(session, args).await,
        TreasuryCommand::Withdrawal(command) => withdrawal::close(session, command).await,
        TreasuryCommand::Status
        | TreasuryCommand::Balance
        | TreasuryCommand::Ledger { .. }
        | TreasuryCommand::Utxo
        | TreasuryCommand::Limits => {
            unreachable!("{}", super::NOTHING_CHANGES)
        }
    }
}

async fn status(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.status(daemon.call()).await;
    let status = daemon.answer(answer)?;
    let now = session.now();
    let links = links(&status);
    let view = vec![
        Part::Fields(fields(&status, now)),
        Part::Table(link::table(&links, now, "")),
    ];
    Ok(Report::item("TreasuryStatus", json!(status), view))
}

fn links(status: &TreasuryStatus) -> Vec<(&'static str, &hh_ipc::api::LinkStatus)> {
    let nodes = status
        .bitcoin_nodes
        .iter()
        .map(|link| ("bitcoin core", link));
    let others = [
        ("pool ledger", &status.pool_ledger),
        ("books", &status.books),
        ("lightning", &status.lightning),
    ];
    nodes.chain(others).collect()
}

fn fields(status: &TreasuryStatus, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let height = match status.height {
        Some(height) => format!("{}, height {height}", status.chain),
        None => format!("{}, height not known", status.chain),
    };
    let mut fields = vec![
        ("Chain", height.into()),
        ("Payouts", payouts(status, now)),
        ("Open payouts", open_payouts(status)),
    ];
    if let Some(balances) = &status.balances {
        fields.push(("In the wallet", books::in_wallet(balances).into()));
    }
    if let Some(totals) = &status.totals {
        fields.extend(books::owed(totals));
    }
    let block = match &status.last_block {
        Some(block) => format!(
            "{} {}: {}",
            block.height,
            super::block::reward_words(block),
            text::sat(block.value_msat)
        ),
        None => "none yet".to_owned(),
    };
    fields.extend([
        ("Last block", block.into()),
        ("Verified", text::ago(now, status.last_verified_at).into()),
        ("Backend", status.backend.as_str().into()),
        ("Report key", status.report_public_key.as_str().into()),
        ("Blocks pay", status.reward_address.as_str().into()),
    ]);
    fields
}

/// Whether payouts go, and if not, why.
fn payouts(status: &TreasuryStatus, now: Timestamp) -> Cell {
    match &status.freeze {
        None => Cell::state(State::Ok, "go"),
        Some(freeze) => Cell::state(State::Fail, frozen(freeze, now)),
    }
}

/// `frozen 3m12s ago by alice: the wallet looks wrong`.
pub(super) fn frozen(freeze: &Freeze, now: Timestamp) -> String {
    format!(
        "frozen {} by {}: {}",
        text::ago(now, Some(freeze.since_at)),
        freeze.actor,
        freeze.reason
    )
}

fn open_payouts(status: &TreasuryStatus) -> Cell {
    let open = text::count(status.payouts_open);
    match status.payouts_waiting_for_operator {
        0 => open.into(),
        waiting => Cell::state(
            State::Warn,
            format!(
                "{open}, of which {} for a person: `hhctl payout list --state needs-operator`",
                match waiting {
                    1 => "1 waits".to_owned(),
                    more => format!("{} wait", text::count(more)),
                }
            ),
        ),
    }
}

async fn address(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let answer = daemon.client.address(daemon.call()).await;
    let address = daemon.granted(answer)?;
    let view = vec![Part::Note(address.clone())];
    Ok(Report::item("Address", json!({ "address": address }), view))
}

/// At once, without a look at anything: whoever stops payouts is in a hurry.
async fn freeze(session: &mut Session, reason: &str) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = FreezeRequest {
        reason: reason.to_owned(),
    };
    let answer = daemon.client.freeze(daemon.call(), request).await;
    let freeze = daemon.granted(answer)?;
    let note = "no new payment is sent; those on their way end as they end. `hhctl treasury unfreeze` lets payouts go on";
    let view = vec![
        Part::Fields(vec![(
            "Payouts",
            Cell::state(State::Fail, frozen(&freeze, session.now())),
        )]),
        Part::Note(note.to_owned()),
    ];
    Ok(Report::item("Freeze", json!(freeze), view))
}

/// What lies still, and what would be paid as soon as it does not any more.
async fn plan_unfreeze(session: &mut Session, reason: &str) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let answer = daemon.client.status(daemon.call()).await;
    let status = daemon.answer(answer)?;
    let answer = daemon
        .client
        .payout_plan(daemon.call(), RunRequest::default());
    let plan = daemon.granted(answer.await)?;
    let now = session.now();
    let mut view = vec![Part::Fields(vec![
        ("Payouts", payouts(&status, now)),
        ("Open payouts", open_payouts(&status)),
        ("Unfreeze for", reason.into()),
    ])];
    view.extend(payout::plan_view(&plan));
    view.push(Part::Note(TWO_OPERATORS.to_owned()));
    let question = match &status.freeze {
        Some(_) => Some("Let payouts go on".to_owned()),
        None => {
            view.push(Part::Note("payouts are not frozen".to_owned()));
            None
        }
    };
    let item = json!({ "freeze": status.freeze, "plan": plan });
    let mut report = Report::item("UnfreezePlan", item, view);
    report.exit = Exit::Done;
    Ok(Plan {
        report,
        question,
        typed: Some(session.place().name().to_owned()),
    })
}

async fn unfreeze(session: &mut Session, reason: &str) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = UnfreezeRequest {
        reason: reason.to_owned(),
    };
    let answer = daemon.client.unfreeze(daemon.call(), request).await;
    daemon.granted(answer)?;
    let view = vec![Part::Fields(vec![(
        "Payouts",
        Cell::state(State::Ok, "go"),
    )])];
    Ok(Report::item("Unfrozen", json!({ "reason": reason }), view))
}

/// A table of amounts with what they are.
fn amounts(heading: &str, rows: &[(&str, String, &str)]) -> Table {
    let columns = vec![
        Column::left(heading),
        Column::right("AMOUNT (sat)"),
        Column::left("WHAT IT IS"),
    ];
    let mut table = Table::new(columns, "");
    for (name, amount, what) in rows {
        table.row(vec![(*name).into(), amount.as_str().into(), (*what).into()]);
    }
    table
}
