//! `hhctl round`.

use super::block::{finder, word};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{
    BlockState, LaggingPool, Round, RoundAccount, RoundSelector, RoundSummary,
};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn list(session: &mut Session, limit: u32) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.rounds(daemon.call(), limit).await;
    let page = daemon.granted(answer)?;
    let now = session.now();
    let mut view = vec![Part::Table(table(&page.rounds, now))];
    if let Some(summary) = &page.summary {
        view.push(Part::Note(together(summary)));
    }
    view.extend(waiting(&page.lagging_pools, now));
    let mut report = Report::list("RoundList", &page.rounds, view);
    report.add("summary", json!(page.summary));
    report.add("lagging_pools", json!(page.lagging_pools));
    Ok(report)
}

pub(super) async fn show(
    session: &mut Session,
    selector: RoundSelector,
) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.round(daemon.call(), selector).await;
    let detail = daemon.granted(answer)?;
    let now = session.now();
    let mut view = vec![
        Part::Fields(fields(&detail.round, now)),
        Part::Table(accounts(&detail.accounts)),
    ];
    view.extend(waiting(&detail.lagging_pools, now));
    Ok(Report::item("Round", json!(detail), view))
}

fn table(rounds: &[Round], now: Timestamp) -> Table {
    let columns = vec![
        Column::right("BLOCK"),
        Column::left("ENDED"),
        Column::right("LASTED"),
        Column::right("SHARES"),
        Column::right("WORK (hashes)"),
        Column::right("EFFORT"),
        Column::right("LUCK"),
        Column::right("LONGER"),
        Column::left("FINDER"),
        Column::left("LOST BLOCKS"),
    ];
    let mut table = Table::new(columns, "no round: nobody has mined yet");
    for round in rounds {
        let ended = match round.ended_at {
            Some(at) => text::ago(now, Some(at)),
            None => "goes on".to_owned(),
        };
        let block = round.block.as_ref();
        table.row(vec![
            block
                .map_or_else(|| "open".to_owned(), |block| block.height.to_string())
                .into(),
            ended.into(),
            lasted(round, now).into(),
            or_dash(round.shares.map(text::count)).into(),
            or_dash(work(round.work.as_deref())).into(),
            or_dash(round.effort_ratio.map(text::ratio)).into(),
            or_dash(round.luck_ratio.map(text::ratio)).into(),
            or_dash(round.longer_ratio.map(text::ratio)).into(),
            block.map(finder).unwrap_or_default().into(),
            lost(round),
        ]);
    }
    table
}

fn lasted(round: &Round, now: Timestamp) -> String {
    let end = round.ended_at.unwrap_or(now);
    or_dash(round.started_at.map(|start| text::age(end, start)))
}

fn or_dash(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "-".to_owned())
}

/// Exact in JSON; three digits here.
fn work(hashes: Option<&str>) -> Option<String> {
    hashes?.parse().ok().map(text::si)
}

/// Blocks that ended no round, in words.
fn lost(round: &Round) -> Cell {
    let is_lost = |state| matches!(state, BlockState::Rejected | BlockState::Orphaned);
    let words: Vec<String> = round
        .other_blocks
        .iter()
        .map(|block| format!("{} {}", block.height, word(block.state)))
        .collect();
    let state = round.other_blocks.iter().map(|block| {
        if is_lost(block.state) {
            State::Fail
        } else {
            State::Warn
        }
    });
    match state.max() {
        Some(state) => Cell::state(state, words.join(", ")),
        None => "".into(),
    }
}

fn together(summary: &RoundSummary) -> String {
    let ended = match summary.rounds {
        1 => "1 round ended: effort".to_owned(),
        n => format!("{} rounds ended: average effort", text::count(n.into())),
    };
    format!(
        "{ended} {}, luck {}. By chance alone it lies between {} and {} in nine of ten cases.",
        text::ratio(summary.effort_ratio),
        or_dash(summary.luck_ratio.map(text::ratio)),
        text::ratio(summary.effort_low_ratio),
        text::ratio(summary.effort_high_ratio),
    )
}

/// What keeps rounds from being summed up.
fn waiting(pools: &[LaggingPool], now: Timestamp) -> Option<Part> {
    let line = |pool: &LaggingPool| {
        let LaggingPool { pool: name, .. } = pool;
        let since = match pool.shipped_through_at {
            Some(at) => format!("for {}", text::age(now, at)),
            None => "yet".to_owned(),
        };
        format!(
            "{name} has shipped no shares {since}, and rounds wait for them: start it again, or, if it will never come back, \
            hhctl pool retire {}",
            pool.server_id
        )
    };
    let lines: Vec<String> = pools.iter().map(line).collect();
    (!lines.is_empty()).then(|| Part::Note(lines.join("\n")))
}

fn fields(round: &Round, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let time = |at: Option<Timestamp>| {
        or_dash(at.map(|at| format!("{at:.0} ({})", text::ago(now, Some(at)))))
    };
    let effort = round.effort_ratio.zip(round.longer_ratio);
    let effort = effort.map(|(effort, longer)| {
        let (effort, longer) = (text::ratio(effort), text::ratio(longer));
        format!("{effort} of what a block takes on average; {longer} of rounds take longer")
    });
    let mut fields: Vec<(&'static str, Cell)> = Vec::new();
    match &round.block {
        Some(block) => {
            fields.push(("Block", format!("{} {}", block.height, block.hash).into()));
            fields.push(("Finder", finder(block).into()));
        }
        None => fields.push(("Block", "none yet: the round goes on".into())),
    }
    fields.extend([
        ("Started", time(round.started_at).into()),
        ("Ended", time(round.ended_at).into()),
        ("Lasted", lasted(round, now).into()),
        ("Shares", or_dash(round.shares.map(text::count)).into()),
        (
            "Work",
            or_dash(work(round.work.as_deref()).map(|work| format!("{work} hashes"))).into(),
        ),
        ("Effort", or_dash(effort).into()),
        ("Luck", or_dash(round.luck_ratio.map(text::ratio)).into()),
    ]);
    if !round.other_blocks.is_empty() {
        fields.push(("Lost blocks", lost(round)));
    }
    fields
}

fn accounts(accounts: &[RoundAccount]) -> Table {
    let columns = vec![
        Column::left("ACCOUNT"),
        Column::right("SHARES"),
        Column::right("WORK (hashes)"),
        Column::right("OF SCORE"),
    ];
    let mut table = Table::new(columns, "no shares are known of it");
    for account in accounts {
        table.row(vec![
            account.account.as_str().into(),
            text::count(account.shares).into(),
            or_dash(work(Some(&account.work))).into(),
            text::ratio(account.score_ratio).into(),
        ]);
    }
    table
}
