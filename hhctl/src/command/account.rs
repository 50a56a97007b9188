//! `hhctl account`.

mod draw;
mod owner;
mod proof;

use crate::change::{Consent, Plan};
use crate::cli::{AccountCommand, PayoutAddressCommand};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::{Connected, Session};
use hh_ipc::api::treasury::{
    Account, AccountQuery, Destination, DestinationKind, Statement, StatementQuery, TreasuryClient,
};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn report(
    session: &mut Session,
    command: &AccountCommand,
) -> Result<Report, Failure> {
    match command {
        AccountCommand::List {
            prefix,
            after,
            limit,
        } => {
            let query = AccountQuery {
                prefix: prefix.clone(),
                after: after.clone(),
                limit: *limit,
            };
            list(session, query).await
        }
        AccountCommand::Show { name } => show(session, name).await,
        AccountCommand::Proof { name, block, key } => proof::show(session, name, block, *key).await,
        AccountCommand::Statement {
            name,
            before,
            limit,
        } => {
            let query = StatementQuery {
                name: name.clone(),
                before: *before,
                limit: *limit,
            };
            statement(session, query).await
        }
        AccountCommand::PayoutAddress(PayoutAddressCommand::Show { name }) => {
            destination(session, name).await
        }
        _ => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

pub(super) fn consent(command: &AccountCommand) -> Consent {
    match command {
        AccountCommand::Create { confirmation, .. }
        | AccountCommand::Claim { confirmation, .. } => (*confirmation).into(),
        AccountCommand::PayoutAddress(PayoutAddressCommand::Set(args)) => args.confirmation.into(),
        AccountCommand::Draw(args) => args.confirmation.into(),
        AccountCommand::ReplaceOwner { confirmation, .. }
        | AccountCommand::PayoutAddress(PayoutAddressCommand::Cancel { confirmation, .. }) => {
            confirmation.into()
        }
        AccountCommand::List { .. }
        | AccountCommand::Show { .. }
        | AccountCommand::Proof { .. }
        | AccountCommand::Statement { .. }
        | AccountCommand::PayoutAddress(PayoutAddressCommand::Show { .. }) => Consent::not_needed(),
    }
}

pub(super) async fn plan(session: &mut Session, command: &AccountCommand) -> Result<Plan, Failure> {
    match command {
        AccountCommand::Create {
            name, owner_key, ..
        } => owner::plan_create(session, name, owner_key.as_deref()).await,
        AccountCommand::Claim {
            name, owner_key, ..
        } => owner::plan_claim(session, name, owner_key).await,
        AccountCommand::Draw(args) => draw::plan(session, args).await,
        AccountCommand::PayoutAddress(PayoutAddressCommand::Set(args)) => {
            owner::plan_destination(session, args).await
        }
        AccountCommand::ReplaceOwner {
            name,
            owner_key,
            reason,
            ..
        } => owner::plan_replace(session, name, owner_key, reason).await,
        AccountCommand::PayoutAddress(PayoutAddressCommand::Cancel {
            name, seq, reason, ..
        }) => owner::plan_cancel(session, name, *seq, reason).await,
        _ => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

pub(super) async fn apply(
    session: &mut Session,
    command: &AccountCommand,
) -> Result<Report, Failure> {
    match command {
        AccountCommand::Create {
            name, owner_key, ..
        } => owner::create(session, name, owner_key.as_deref()).await,
        AccountCommand::Claim {
            name,
            token_file,
            owner_key,
            ..
        } => owner::claim(session, name, token_file, owner_key).await,
        AccountCommand::Draw(args) => draw::draw(session, args).await,
        AccountCommand::PayoutAddress(PayoutAddressCommand::Set(args)) => {
            owner::set_destination(session, args).await
        }
        AccountCommand::ReplaceOwner {
            name,
            owner_key,
            reason,
            ..
        } => owner::replace(session, name, owner_key, reason).await,
        AccountCommand::PayoutAddress(PayoutAddressCommand::Cancel {
            name, seq, reason, ..
        }) => owner::cancel_destination(session, name, *seq, reason).await,
        _ => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

async fn one(daemon: &Connected<TreasuryClient>, name: &str) -> Result<Account, Failure> {
    let answer = daemon.client.account(daemon.call(), name.to_owned()).await;
    daemon.granted(answer)
}

async fn list(session: &mut Session, query: AccountQuery) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.accounts(daemon.call(), query).await;
    let page = daemon.granted(answer)?;
    let mut view = vec![Part::Table(table(&page.accounts))];
    if let Some(next) = &page.next {
        view.push(Part::Note(format!("there are more: --after {next}")));
    }
    let mut report = Report::list("AccountList", &page.accounts, view);
    report.add("next", json!(page.next));
    Ok(report)
}

fn table(accounts: &[Account]) -> Table {
    let columns = vec![
        Column::left("ACCOUNT"),
        Column::right("PAYABLE (sat)"),
        Column::right("IMMATURE"),
        Column::right("IN PAYOUTS"),
        Column::right("PAID"),
        Column::right("EXPECTED"),
        Column::right("LUCK"),
        Column::left("PAID TO"),
    ];
    let when_empty = "no account yet; one appears with the first block whose reward is split";
    let mut table = Table::new(columns, when_empty);
    let sat = text::signed_sat_figure;
    for account in accounts {
        table.row(vec![
            account.name.as_str().into(),
            sat(account.payable_msat).into(),
            sat(account.immature_msat).into(),
            sat(account.in_payouts_msat).into(),
            sat(account.paid_msat).into(),
            account
                .expected_msat
                .map_or_else(|| "-".to_owned(), sat)
                .into(),
            account
                .luck_ratio
                .map_or_else(|| "-".to_owned(), text::ratio)
                .into(),
            paid_to(account),
        ]);
    }
    table
}

/// Where it is paid, or why it is not.
fn paid_to(account: &Account) -> Cell {
    match (&account.held_reason, &account.destination) {
        (Some(why), _) => Cell::state(State::Warn, format!("held: {why}")),
        (None, Some(destination)) => destination.text.as_str().into(),
        (None, None) => "-".into(),
    }
}

async fn show(session: &mut Session, name: &str) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let account = one(&daemon, name).await?;
    let view = vec![Part::Fields(fields(&account, session.now()))];
    Ok(Report::item("Account", json!(account), view))
}

fn fields(account: &Account, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let sat = text::signed_sat;
    let expected = match (
        account.expected_msat,
        account.realised_msat,
        account.luck_ratio,
    ) {
        (Some(expected), Some(realised), luck) => {
            let luck = luck.map_or_else(String::new, |luck| format!(" ({})", text::ratio(luck)));
            format!("{} of {} expected{luck}", sat(realised), sat(expected))
        }
        _ => "not known".to_owned(),
    };
    let owner = if account.is_claimed {
        "proven"
    } else {
        "nobody has proved that it is his"
    };
    let mut fields = vec![
        ("Account", account.name.as_str().into()),
        ("Kind", account.kind.replace('_', " ").into()),
        ("Owner", owner.into()),
        ("Payable", sat(account.payable_msat).into()),
        ("Immature", sat(account.immature_msat).into()),
        ("In payouts", sat(account.in_payouts_msat).into()),
        ("Paid", sat(account.paid_msat).into()),
        ("Credited", expected.into()),
        (
            "Paid to",
            destination_words(account.destination.as_ref(), now).into(),
        ),
    ];
    if account.pending_destination.is_some() {
        let pending = destination_words(account.pending_destination.as_ref(), now);
        fields.push(("From then on", Cell::state(State::Warn, pending)));
    }
    if let Some(why) = &account.held_reason {
        fields.push(("Held", Cell::state(State::Warn, why)));
    }
    fields
}

/// `alice@wallet.example (Lightning address, change 3), since 2h05m` or when it counts.
fn destination_words(destination: Option<&Destination>, now: Timestamp) -> String {
    let Some(destination) = destination else {
        return "nowhere yet".to_owned();
    };
    let kind = match destination.kind {
        DestinationKind::LightningAddress => "Lightning address",
        DestinationKind::NodeInvoices => "invoices of the node",
        DestinationKind::Bolt12Offer => "BOLT12 offer",
        DestinationKind::DrawingKey => "drawing key",
    };
    let when = if destination.active_from > now {
        format!("in force in {}", text::age(destination.active_from, now))
    } else {
        format!("in force for {}", text::age(now, destination.active_from))
    };
    format!(
        "{} ({kind}, change {}), {when}",
        destination.text, destination.seq
    )
}

async fn destination(session: &mut Session, name: &str) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let account = one(&daemon, name).await?;
    let now = session.now();
    let last = [&account.destination, &account.pending_destination];
    let last = last
        .into_iter()
        .flatten()
        .map(|destination| destination.seq)
        .max();
    let mut fields = vec![
        ("Account", account.name.as_str().into()),
        (
            "Paid to",
            destination_words(account.destination.as_ref(), now).into(),
        ),
    ];
    if account.pending_destination.is_some() {
        let pending = destination_words(account.pending_destination.as_ref(), now);
        fields.push(("From then on", pending.into()));
    }
    let next = last.map_or(1, |last| last.saturating_add(1));
    fields.push(("Next change", format!("{next} or higher").into()));
    let item = json!({
        "name": account.name,
        "destination": account.destination,
        "pending_destination": account.pending_destination,
        "next_seq": next,
    });
    Ok(Report::item(
        "PayoutAddress",
        item,
        vec![Part::Fields(fields)],
    ))
}

async fn statement(session: &mut Session, query: StatementQuery) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.statement(daemon.call(), query).await;
    let statement = daemon.granted(answer)?;
    let mut view = vec![Part::Table(statement_table(&statement))];
    if let Some(next) = statement.next_before {
        view.push(Part::Note(format!("there is more: --before {next}")));
    }
    Ok(Report::item("Statement", json!(statement), view))
}

fn statement_table(statement: &Statement) -> Table {
    let columns = vec![
        Column::right("ENTRY"),
        Column::left("TIME (UTC)"),
        Column::left("WHAT"),
        Column::left("BOOK"),
        Column::right("AMOUNT (sat)"),
        Column::right("BALANCE (sat)"),
        Column::left("FOR"),
    ];
    let mut table = Table::new(
        columns,
        format!("nothing was booked on {} yet", statement.name),
    );
    for line in &statement.lines {
        let reason = match (&line.block, line.payout, &line.note) {
            (_, Some(payout), _) => format!("payout {payout}"),
            (Some(block), None, _) => format!("block {block}"),
            (None, None, Some(note)) => note.clone(),
            (None, None, None) => "-".to_owned(),
        };
        let sign = if line.amount_msat > 0 { "+" } else { "" };
        table.row(vec![
            line.entry.to_string().into(),
            line.at.strftime("%Y-%m-%d %H:%M:%S").to_string().into(),
            line.kind.replace('_', " ").into(),
            line.book.as_str().into(),
            format!("{sign}{}", text::signed_sat_figure(line.amount_msat)).into(),
            text::signed_sat_figure(line.balance_msat).into(),
            reason.into(),
        ]);
    }
    table
}
