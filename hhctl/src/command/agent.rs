//! `hhctl agent`: on a node, what its owner sees.

use super::consent;
use crate::cli::AgentCommand;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::node_agent::{DuesInvoice, DuesInvoiceState, NodeWalletStatus, WalletPayment};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn report(
    session: &mut Session,
    command: &AgentCommand,
) -> Result<Report, Failure> {
    match command {
        AgentCommand::Status => consent::agent(session).await,
        AgentCommand::Wallet => wallet(session).await,
    }
}

async fn wallet(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.node_agent().await?;
    let answer = daemon.client.wallet(daemon.call()).await;
    let wallet = daemon.granted(answer)?;
    let mut view = vec![
        Part::Fields(fields(&wallet)),
        Part::Table(table(&wallet.invoices, session.now())),
    ];
    if !wallet.payments.is_empty() {
        view.push(Part::Table(payments(&wallet.payments, session.now())));
    }
    Ok(Report::item("NodeWallet", json!(wallet), view))
}

fn fields(wallet: &NodeWalletStatus) -> Vec<(&'static str, Cell)> {
    let state = match (&wallet.fault, wallet.is_synced) {
        (Some(fault), _) => Cell::state(State::Fail, fault.as_str()),
        (None, false) => Cell::state(State::Warn, "behind the chain"),
        (None, true) => Cell::state(State::Ok, "in step with the chain"),
    };
    let channels = match wallet.treasury_channels {
        0 => Cell::state(
            State::Fail,
            "none that can be used: nothing can be paid here",
        ),
        count => Cell::state(
            State::Ok,
            format!(
                "{}, {} at once",
                text::plural(count.into(), "channel"),
                text::sat(wallet.receivable_msat)
            ),
        ),
    };
    let dues = match wallet.dues_msat {
        Some(msat) => text::sat(msat),
        None => "core has not said".to_owned(),
    };
    let mut fields = vec![
        ("Wallet", wallet.backend.as_str().into()),
        ("State", state),
        ("Node", wallet.node_id.clone().unwrap_or_default().into()),
        (
            "On the chain",
            text::sat(wallet.onchain_sat.saturating_mul(1_000)).into(),
        ),
        ("In channels", text::sat(wallet.in_channels_msat).into()),
        ("Treasury", wallet.treasury_node_id.as_str().into()),
        ("Can pay here by", channels),
        ("Owed", dues.into()),
    ];
    let waits_for = wallet.invoice_waits_for.as_deref();
    fields.extend(waits_for.map(|why| ("Next invoice", why.into())));
    fields
}

fn table(invoices: &[DuesInvoice], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("PAYMENT HASH"),
        Column::right("SAT"),
        Column::left("MADE"),
        Column::left("STATE"),
        Column::right("RECEIVED"),
        Column::left("WHY"),
    ];
    let mut table = Table::new(columns, "no invoice was made for the node's dues yet");
    for invoice in invoices {
        table.row(vec![
            invoice.payment_hash.as_str().into(),
            text::sat_figure(invoice.amount_msat).into(),
            text::ago(now, Some(invoice.made_at)).into(),
            state(invoice.state),
            invoice
                .received_msat
                .map(text::sat_figure)
                .unwrap_or_default()
                .into(),
            invoice.reason.clone().unwrap_or_default().into(),
        ]);
    }
    table
}

/// What the owner has consented to, with the receipts.
fn payments(payments: &[WalletPayment], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("PAID"),
        Column::right("SAT"),
        Column::right("FEE"),
        Column::left("WHEN"),
        Column::left("PREIMAGE"),
    ];
    let mut table = Table::new(columns, "nothing was paid");
    for payment in payments {
        table.row(vec![
            payment.payment_hash.as_str().into(),
            text::sat_figure(payment.amount_msat).into(),
            payment
                .fee_msat
                .map(text::sat_figure)
                .unwrap_or_default()
                .into(),
            text::ago(now, Some(payment.paid_at)).into(),
            payment.preimage.as_str().into(),
        ]);
    }
    table
}

fn state(state: DuesInvoiceState) -> Cell {
    match state {
        DuesInvoiceState::Sent => Cell::new("sent"),
        DuesInvoiceState::Waiting => Cell::new("waiting"),
        DuesInvoiceState::Settled => Cell::state(State::Ok, "settled"),
        DuesInvoiceState::Cancelled => Cell::state(State::Warn, "cancelled"),
        DuesInvoiceState::Refused => Cell::state(State::Fail, "refused"),
        DuesInvoiceState::Expired => Cell::state(State::Warn, "expired"),
    }
}
