//! `hhctl pool vardiff`.

use crate::change::Plan;
use crate::cli::VardiffArgs;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{DifficultyBounds, VardiffChange, VardiffChanged, VardiffSettings};
use serde_json::json;

pub(super) async fn show(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.vardiff(daemon.call()).await;
    let settings = daemon.answer(answer)?;
    Ok(Report::item(
        "VardiffSettings",
        json!(settings),
        view(&settings),
    ))
}

/// What would hold. An account's bounds are set without a question; it is one miner, and it can be taken back.
pub(super) async fn plan(
    session: &mut Session,
    account: Option<&str>,
    settings: &VardiffArgs,
) -> Result<Plan, Failure> {
    let changed = call_set(session, account, settings, true).await?;
    let channels = text::plural(changed.channels.into(), "open channel");
    let question = account
        .is_none()
        .then(|| format!("Change the difficulty of all miners ({channels})"));
    let report = report(&changed, format!("would hold for {channels}"));
    Ok(Plan {
        report,
        question,
        typed: None,
    })
}

pub(super) async fn set(
    session: &mut Session,
    account: Option<&str>,
    settings: &VardiffArgs,
) -> Result<Report, Failure> {
    let changed = call_set(session, account, settings, false).await?;
    let channels = text::plural(changed.channels.into(), "open channel");
    let summary = format!("set; {channels} heed it with their next jobs, and all that come");
    Ok(report(&changed, summary))
}

async fn call_set(
    session: &mut Session,
    account: Option<&str>,
    settings: &VardiffArgs,
    dry_run: bool,
) -> Result<VardiffChanged, Failure> {
    let daemon = session.pool_control().await?;
    let change = VardiffChange {
        account: account.map(str::to_owned),
        shares_per_minute: settings.shares_per_minute,
        min_difficulty: settings.min,
        max_difficulty: settings.max,
        reset: settings.reset,
        dry_run,
    };
    let answer = daemon.client.set_vardiff(daemon.call(), change).await;
    daemon.granted(answer)
}

fn report(changed: &VardiffChanged, summary: String) -> Report {
    let mut view = view(&changed.settings);
    view.push(Part::Note(summary));
    Report::item("VardiffChanged", json!(changed), view)
}

fn view(settings: &VardiffSettings) -> Vec<Part> {
    let from = |name: &str, value: String| -> Cell {
        let is_set = settings.set.iter().any(|set| set == name);
        let source = if is_set { "set" } else { "hh-pool.toml" };
        format!("{value} ({source})").into()
    };
    let fields = vec![
        (
            "Shares per minute",
            from("shares_per_minute", text::si(settings.shares_per_minute)),
        ),
        (
            "Min difficulty",
            from("min_difficulty", bound(settings.min_difficulty)),
        ),
        (
            "Max difficulty",
            from("max_difficulty", bound(settings.max_difficulty)),
        ),
    ];
    let no_account =
        "no account has bounds of its own; `hhctl pool vardiff set --account` gives some";
    let mut view = vec![
        Part::Fields(fields),
        Part::Table(table("LANE", &settings.lanes, "no lane is configured")),
        Part::Table(table("ACCOUNT", &settings.accounts, no_account)),
    ];
    let shown = settings.accounts.len() as u64;
    if u64::from(settings.accounts_total) > shown {
        view.push(Part::Note(format!(
            "{} of {} accounts shown",
            text::count(shown),
            text::count(settings.accounts_total.into())
        )));
    }
    view
}

fn table(heading: &str, bounds: &[DifficultyBounds], when_empty: &str) -> Table {
    let columns = vec![
        Column::left(heading),
        Column::right("MIN DIFFICULTY"),
        Column::right("MAX DIFFICULTY"),
    ];
    let mut table = Table::new(columns, when_empty);
    for row in bounds {
        table.row(vec![
            row.name.as_str().into(),
            bound(row.min_difficulty).into(),
            bound(row.max_difficulty).into(),
        ]);
    }
    table
}

fn bound(difficulty: Option<f64>) -> String {
    difficulty.map_or_else(|| "none".to_owned(), text::si)
}
