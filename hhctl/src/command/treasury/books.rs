//! What the books say, and whether the wallet says the same.

use super::amounts;
use crate::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::{Balances, Totals, Unmatched, VerifyReport};
use serde_json::json;

pub(super) async fn balance(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.status(daemon.call()).await;
    let status = daemon.answer(answer)?;
    let books = match &status.totals {
        Some(totals) => Part::Table(totals_table(totals)),
        None => Part::Note("the books can't be read now".to_owned()),
    };
    let wallet = match &status.balances {
        Some(balances) => Part::Table(balances_table(balances)),
        None => Part::Note("the wallet does not answer now".to_owned()),
    };
    let item = json!({ "books": status.totals, "wallet": status.balances });
    Ok(Report::item("Balance", item, vec![books, wallet]))
}

/// What can be paid from, in words.
pub(super) fn in_wallet(balances: &Balances) -> String {
    format!(
        "{} in channels, {} on the chain",
        text::sat(balances.channels_msat),
        text::sat(balances.on_chain_spendable_msat)
    )
}

/// What belongs to others.
pub(super) fn owed(totals: &Totals) -> [(&'static str, Cell); 3] {
    let in_payouts = text::signed_sat(totals.in_payouts_msat);
    [
        (
            "Payable",
            format!(
                "{}, and {in_payouts} in open payouts",
                text::signed_sat(totals.payable_msat)
            )
            .into(),
        ),
        ("Immature", text::signed_sat(totals.immature_msat).into()),
        ("Paid out", text::signed_sat(totals.paid_msat).into()),
    ]
}

fn totals_table(totals: &Totals) -> Table {
    let rows = owned(totals).into_iter().chain(gone_and_come(totals));
    let figure = |(book, msat, what)| (book, text::signed_sat_figure(msat), what);
    amounts("BOOK", &rows.map(figure).collect::<Vec<_>>())
}

/// A book, what is in it in msat, and what that is.
type Row = (&'static str, i64, &'static str);

/// What there is, and whose it is.
fn owned(totals: &Totals) -> [Row; 8] {
    [
        (
            "wallet",
            totals.wallet_msat,
            "matured money, on the chain and in channels",
        ),
        (
            "coinbase",
            totals.coinbase_msat,
            "of blocks that are not mature",
        ),
        (
            "immature",
            totals.immature_msat,
            "what miners, nodes and reserves have of these",
        ),
        (
            "payable",
            totals.payable_msat,
            "what miners and nodes may be paid",
        ),
        (
            "in payouts",
            totals.in_payouts_msat,
            "what open payouts hold",
        ),
        (
            "node reserve",
            totals.node_reserve_msat,
            "for nodes, by an approved distribution only",
        ),
        ("treasury", totals.treasury_msat, "its half of the pool fee"),
        ("suspense", totals.suspense_msat, "what arrived unexplained"),
    ]
}

/// What was brought, taken, lost, spent and earned.
fn gone_and_come(totals: &Totals) -> [Row; 6] {
    [
        ("capital", totals.capital_msat, "what the operator brought"),
        (
            "withdrawn",
            totals.withdrawn_msat,
            "what the operator has taken of his own",
        ),
        (
            "loss",
            totals.loss_msat,
            "what was paid twice or for nothing",
        ),
        ("fees", totals.fees_msat, "routing, the chain, channels"),
        (
            "income",
            totals.income_msat,
            "routing fees that were earned",
        ),
        ("paid out", totals.paid_msat, "since the start"),
    ]
}

fn balances_table(balances: &Balances) -> Table {
    let sat = text::sat_figure;
    amounts(
        "WALLET",
        &[
            (
                "channels",
                sat(balances.channels_msat),
                "our side, after commitment fees and reserves",
            ),
            (
                "on-chain",
                sat(balances.on_chain_spendable_msat),
                "spendable",
            ),
            (
                "unconfirmed",
                sat(balances.on_chain_unconfirmed_msat),
                "not in a block yet",
            ),
            (
                "immature",
                sat(balances.on_chain_immature_msat),
                "coinbase outputs that are not mature",
            ),
            (
                "closing",
                sat(balances.closing_msat),
                "of channels that are being closed",
            ),
            (
                "anchor reserve",
                sat(balances.anchor_reserve_msat),
                "kept for closing channels",
            ),
            (
                "outgoing",
                sat(balances.htlcs_outgoing_msat),
                "in payments on their way",
            ),
        ],
    )
}

pub(super) async fn verify(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let answer = daemon.client.verify(daemon.call()).await;
    let verified = daemon.granted(answer)?;
    let state = if verified.is_solvent {
        Cell::state(State::Ok, "the books and the wallet agree")
    } else {
        Cell::state(State::Fail, "they don't agree: payouts are frozen")
    };
    let mut fields = vec![
        ("State", state),
        ("Entries", text::count(verified.entries).into()),
        (
            "Matured",
            text::signed_sat(verified.totals.wallet_msat).into(),
        ),
        (
            "Payable",
            text::signed_sat(verified.totals.payable_msat).into(),
        ),
    ];
    if let Some(balances) = &verified.balances {
        fields.push(("In the wallet", in_wallet(balances).into()));
    }
    if let Some(msat) = verified.difference_msat {
        let what = match msat {
            0 => "none between books and wallet".to_owned(),
            _ => format!(
                "{}, to be booked when nothing is on its way",
                text::signed_sat(msat)
            ),
        };
        fields.push(("Difference", what.into()));
    }
    let view = vec![Part::Fields(fields), Part::Table(findings(&verified))];
    let mut report = Report::item("VerifyReport", json!(verified), view);
    if !verified.is_solvent || verified.findings.iter().any(|finding| finding.is_grave) {
        report.exit = Exit::Degraded;
    }
    Ok(report)
}

fn findings(verified: &VerifyReport) -> Table {
    let columns = ["FOUND", "WHAT", "WHAT TO DO"].map(Column::left).to_vec();
    let mut table = Table::new(columns, "nothing to mend");
    for finding in &verified.findings {
        let state = if finding.is_grave {
            Cell::state(State::Fail, "grave")
        } else {
            Cell::state(State::Warn, "minor")
        };
        table.row(vec![
            state,
            finding.what.as_str().into(),
            finding.fix.as_str().into(),
        ]);
    }
    table
}

pub(super) async fn reconcile(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let answer = daemon.client.reconcile(daemon.call()).await;
    let reconciled = daemon.granted(answer)?;
    let state = match (reconciled.unmatched.len(), reconciled.is_required) {
        (0, false) => Cell::state(State::Ok, "every payment of the wallet belongs to a payout"),
        (0, true) => Cell::state(
            State::Warn,
            "every payment is matched; `hhctl treasury unfreeze` lets payouts go on",
        ),
        (_, true) => Cell::state(
            State::Fail,
            "payouts stay frozen until every payment is matched",
        ),
        (_, false) => Cell::state(State::Fail, "payments that belong to no payout"),
    };
    let fields = vec![
        ("State", state),
        ("Matched", text::count(reconciled.matched).into()),
        (
            "Not matched",
            text::count(reconciled.unmatched.len() as u64).into(),
        ),
        (
            "Open attempts",
            text::count(reconciled.open_attempts).into(),
        ),
    ];
    let table = unmatched(&reconciled.unmatched, session.now());
    let view = vec![Part::Fields(fields), Part::Table(table)];
    let mut report = Report::item("ReconcileReport", json!(reconciled), view);
    if !reconciled.unmatched.is_empty() {
        report.exit = Exit::Degraded;
    }
    Ok(report)
}

pub(super) fn unmatched(payments: &[Unmatched], now: jiff::Timestamp) -> Table {
    let columns = vec![
        Column::left("PAYMENT HASH"),
        Column::right("AMOUNT (sat)"),
        Column::left("STATE"),
        Column::left("WHEN"),
        Column::left("IN THE BOOKS"),
    ];
    let mut table = Table::new(columns, "no payment without a payout");
    for payment in payments {
        let when = payment.at.map(|at| text::ago(now, Some(at)));
        table.row(vec![
            payment.payment_hash.as_str().into(),
            text::sat_figure(payment.amount_msat).into(),
            payment.state.as_str().into(),
            when.as_deref().unwrap_or("-").into(),
            payment.books.as_deref().unwrap_or("nothing").into(),
        ]);
    }
    table
}
