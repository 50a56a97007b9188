//! `hhctl ln`.

mod channel;
mod liquidity;
mod peer;
mod rebalance;
mod track;

use crate::change::{Consent, Plan};
use crate::cli::{ChannelCommand, InvoiceArgs, LightningCommand, PaymentCommand, PeerCommand};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::{InvoiceRequest, LightningPayment, LightningStatus};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn report(
    session: &mut Session,
    command: &LightningCommand,
) -> Result<Report, Failure> {
    match command {
        LightningCommand::Status => status(session).await,
        LightningCommand::Channel(ChannelCommand::List) => channel::list(session).await,
        LightningCommand::Channel(ChannelCommand::Show { id }) => channel::show(session, id).await,
        LightningCommand::Payment(PaymentCommand::List { limit }) => {
            payments(session, *limit).await
        }
        LightningCommand::Payment(PaymentCommand::Track { payment_hash }) => {
            track::show(session, payment_hash).await
        }
        LightningCommand::Advice => liquidity::advice(session).await,
        LightningCommand::Yield { days } => liquidity::yields(session, *days).await,
        LightningCommand::Peer(PeerCommand::List) => peer::list(session).await,
        LightningCommand::Channel(_) | LightningCommand::Peer(_) | LightningCommand::Invoice(_) => {
            unreachable!("{}", super::NOTHING_CHANGES)
        }
    }
}

pub(super) fn consent(command: &LightningCommand) -> Consent {
    match command {
        LightningCommand::Channel(ChannelCommand::Open(args)) => args.confirmation.into(),
        LightningCommand::Channel(ChannelCommand::Rebalance(args)) => args.confirmation.into(),
        LightningCommand::Channel(ChannelCommand::Close { confirmation, .. }) => {
            confirmation.into()
        }
        LightningCommand::Channel(ChannelCommand::Fees { confirmation, .. }) => {
            (*confirmation).into()
        }
        LightningCommand::Peer(PeerCommand::Disconnect { confirmation, .. }) => {
            (*confirmation).into()
        }
        LightningCommand::Channel(ChannelCommand::List | ChannelCommand::Show { .. })
        | LightningCommand::Status
        | LightningCommand::Advice
        | LightningCommand::Yield { .. }
        | LightningCommand::Payment(_)
        | LightningCommand::Peer(_)
        | LightningCommand::Invoice(_) => Consent::not_needed(),
    }
}

/// The id of a request, before it is sent.
pub(super) fn note(command: &LightningCommand) -> Option<String> {
    match command {
        LightningCommand::Channel(ChannelCommand::Rebalance(args)) => rebalance::note(args),
        _ => None,
    }
}

pub(super) async fn plan(
    session: &mut Session,
    command: &LightningCommand,
) -> Result<Plan, Failure> {
    match command {
        LightningCommand::Channel(ChannelCommand::Open(args)) => {
            channel::plan_open(session, args).await
        }
        LightningCommand::Channel(ChannelCommand::Close { id, force, .. }) => {
            channel::plan_close(session, id, *force).await
        }
        LightningCommand::Channel(ChannelCommand::Fees { id, base, ppm, .. }) => {
            channel::plan_fees(session, id, *base, *ppm).await
        }
        LightningCommand::Channel(ChannelCommand::Rebalance(args)) => {
            rebalance::plan(session, args).await
        }
        LightningCommand::Peer(PeerCommand::Disconnect { node_id, .. }) => {
            peer::plan_disconnect(session, node_id).await
        }
        _ => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

pub(super) async fn apply(
    session: &mut Session,
    command: &LightningCommand,
) -> Result<Report, Failure> {
    match command {
        LightningCommand::Channel(ChannelCommand::Open(args)) => channel::open(session, args).await,
        LightningCommand::Channel(ChannelCommand::Close { id, force, .. }) => {
            channel::close(session, id, *force).await
        }
        LightningCommand::Channel(ChannelCommand::Fees { id, base, ppm, .. }) => {
            channel::set_fees(session, id, *base, *ppm).await
        }
        LightningCommand::Channel(ChannelCommand::Rebalance(args)) => {
            rebalance::apply(session, args).await
        }
        LightningCommand::Peer(PeerCommand::Connect { peer }) => peer::connect(session, peer).await,
        LightningCommand::Peer(PeerCommand::Disconnect { node_id, .. }) => {
            peer::disconnect(session, node_id).await
        }
        LightningCommand::Invoice(args) => invoice(session, args).await,
        LightningCommand::Channel(ChannelCommand::List | ChannelCommand::Show { .. })
        | LightningCommand::Status
        | LightningCommand::Advice
        | LightningCommand::Yield { .. }
        | LightningCommand::Peer(PeerCommand::List)
        | LightningCommand::Payment(_) => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

async fn status(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.lightning(daemon.call()).await;
    let status = daemon.granted(answer)?;
    let view = vec![Part::Fields(fields(&status))];
    Ok(Report::item("LightningStatus", json!(status), view))
}

fn fields(status: &LightningStatus) -> Vec<(&'static str, Cell)> {
    let chain = format!("height {}", status.block_height);
    let chain = if status.is_synced {
        Cell::state(State::Ok, format!("{chain}, in sync"))
    } else {
        Cell::state(State::Warn, format!("{chain}, still catching up"))
    };
    let or_none = |list: &[String]| match list {
        [] => "none".to_owned(),
        list => list.join(", "),
    };
    let balances = &status.balances;
    let channels = format!(
        "{} usable of {}",
        text::count(status.channels_usable.into()),
        text::count(status.channels.into())
    );
    vec![
        (
            "Backend",
            format!("{} {}", status.backend, status.version).into(),
        ),
        ("Node id", status.node_id.as_str().into()),
        ("Alias", status.alias.as_deref().unwrap_or("none").into()),
        ("Chain", chain),
        ("Listens on", or_none(&status.listen_addresses).into()),
        ("Can also", or_none(&status.capabilities).into()),
        ("Channels", channels.into()),
        ("In channels", text::sat(balances.channels_msat).into()),
        (
            "On the chain",
            text::sat(balances.on_chain_spendable_msat).into(),
        ),
        (
            "Anchor reserve",
            text::sat(balances.anchor_reserve_msat).into(),
        ),
        ("Fees earned", text::sat(status.fees_earned_msat).into()),
    ]
}

async fn payments(session: &mut Session, limit: u32) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.lightning_payments(daemon.call(), limit);
    let payments = daemon.granted(answer.await)?;
    let view = vec![Part::Table(payments_table(&payments, session.now()))];
    Ok(Report::list("LightningPaymentList", &payments, view))
}

fn payments_table(payments: &[LightningPayment], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("WHEN"),
        Column::left("WAY"),
        Column::right("AMOUNT (sat)"),
        Column::right("FEE (sat)"),
        Column::left("STATE"),
        Column::left("PAYMENT HASH"),
    ];
    let mut table = Table::new(
        columns,
        "the wallet has neither paid nor received anything yet",
    );
    let figure = |msat: Option<u64>| msat.map_or_else(|| "-".to_owned(), text::sat_figure);
    for payment in payments {
        let when = payment.at.map(|at| text::ago(now, Some(at)));
        let way = if payment.is_outgoing { "out" } else { "in" };
        table.row(vec![
            when.as_deref().unwrap_or("-").into(),
            way.into(),
            figure(payment.amount_msat).into(),
            figure(payment.fee_msat).into(),
            payment.state.as_str().into(),
            payment.payment_hash.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

async fn invoice(session: &mut Session, args: &InvoiceArgs) -> Result<Report, Failure> {
    let request = InvoiceRequest {
        amount_msat: args.amount,
        description: args.description.clone().unwrap_or_default(),
        expiry_seconds: args.expiry_minutes.saturating_mul(60),
    };
    let daemon = session.treasury_control().await?;
    let mut item = json!(request);
    let answer = daemon.client.invoice(daemon.call(), request).await;
    let invoice = daemon.granted(answer)?;
    item["invoice"] = invoice.as_str().into();
    Ok(Report::item("Invoice", item, vec![Part::Note(invoice)]))
}
