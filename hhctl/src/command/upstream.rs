//! `hhctl translator upstream`.

use crate::Exit;
use crate::change::Plan;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::translator::{
    SwitchUpstream, SwitchedUpstream, Upstream, UpstreamState, UpstreamTest,
};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn list(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.translator().await?;
    let answer = daemon.client.upstreams(daemon.call()).await;
    let upstreams = daemon.answer(answer)?;
    let view = vec![Part::Table(table(&upstreams, session.now()))];
    Ok(Report::list("UpstreamList", &upstreams, view))
}

fn table(upstreams: &[Upstream], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("LANE"),
        Column::right("PRIORITY"),
        Column::left("ADDRESS"),
        Column::left("STATE"),
        Column::right("ROOM"),
        Column::left("LAST ERROR"),
    ];
    let when_empty = "no upstream is configured; add [[upstreams]] to hh-translator.toml";
    let mut table = Table::new(columns, when_empty);
    for upstream in upstreams {
        let switched = if upstream.switched_to {
            " (switched)"
        } else {
            ""
        };
        let room = upstream.room.map(|room| format!("{room} bytes"));
        table.row(vec![
            upstream.lane.as_str().into(),
            format!("{}{switched}", upstream.priority).into(),
            upstream.address.as_str().into(),
            state(upstream, now),
            room.as_deref().unwrap_or("-").into(),
            upstream.last_error.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

fn state(upstream: &Upstream, now: Timestamp) -> Cell {
    let age = text::age(now, upstream.since_at);
    let (state, words) = match upstream.state {
        UpstreamState::Standby => (State::Ok, "standby"),
        UpstreamState::Connecting => (State::Warn, "connecting"),
        UpstreamState::Returning => (State::Warn, "returning"),
        UpstreamState::Up => (State::Ok, "in use"),
        UpstreamState::Down => (State::Fail, "down"),
    };
    Cell::state(state, format!("{words} {age}"))
}

/// What a switch would move. It is asked about: every miner of the translator gets other work.
pub(super) async fn plan(session: &mut Session, address: &str) -> Result<Plan, Failure> {
    let would = call_switch(session, address, true).await?;
    let miners = text::plural(would.connections.into(), "miner");
    let summary = format!("would connect to {address}, and move {miners} to it");
    Ok(Plan {
        report: report(&would, summary),
        question: Some(format!("Move {miners} to {address}")),
        typed: None,
    })
}

pub(super) async fn switch(session: &mut Session, address: &str) -> Result<Report, Failure> {
    let switched = call_switch(session, address, false).await?;
    let failed = switched.lanes.iter().filter(|lane| lane.error.is_some());
    let failed = failed.count();
    let summary = if failed == 0 {
        let miners = text::plural(switched.connections.into(), "miner");
        format!(
            "{address} is in use, {miners} are moved; it holds until the next switch or a restart"
        )
    } else {
        let lanes = text::plural(failed as u64, "lane");
        format!("{lanes} could not be switched and stay where they are")
    };
    let mut report = report(&switched, summary);
    if failed > 0 {
        report.exit = Exit::Degraded;
    }
    Ok(report)
}

async fn call_switch(
    session: &mut Session,
    address: &str,
    dry_run: bool,
) -> Result<SwitchedUpstream, Failure> {
    let daemon = session.translator_control().await?;
    let request = SwitchUpstream {
        address: address.to_owned(),
        dry_run,
    };
    let answer = daemon.client.switch_upstream(daemon.call(), request).await;
    daemon.granted(answer)
}

fn report(switched: &SwitchedUpstream, summary: String) -> Report {
    let columns = ["LANE", "FROM", "TO", "ERROR"].map(Column::left).to_vec();
    let mut table = Table::new(columns, "no lane is configured");
    for lane in &switched.lanes {
        table.row(vec![
            lane.lane.as_str().into(),
            lane.from.as_deref().unwrap_or("none").into(),
            switched.address.as_str().into(),
            lane.error.as_deref().unwrap_or("-").into(),
        ]);
    }
    let view = vec![Part::Table(table), Part::Note(summary)];
    Report::item("SwitchedUpstream", json!(switched), view)
}

/// One upstream, or all of them.
pub(super) async fn test(
    session: &mut Session,
    address: Option<String>,
) -> Result<Report, Failure> {
    let daemon = session.translator_control().await?;
    let answer = daemon.client.test_upstreams(daemon.call(), address).await;
    let tests = daemon.granted(answer)?;
    let view = vec![Part::Table(tests_table(&tests))];
    let mut report = Report::list("UpstreamTestList", &tests, view);
    if tests.iter().any(|test| test.error.is_some()) {
        report.exit = Exit::Degraded;
    }
    Ok(report)
}

fn tests_table(tests: &[UpstreamTest]) -> Table {
    let columns = vec![
        Column::left("ADDRESS"),
        Column::left("RESULT"),
        Column::right("TCP"),
        Column::right("HANDSHAKE"),
        Column::right("SETUP"),
        Column::left("ERROR"),
    ];
    let mut table = Table::new(columns, "no upstream is configured");
    for test in tests {
        let result = match &test.error {
            None => Cell::state(State::Ok, "good"),
            Some(_) => Cell::state(State::Fail, "failed"),
        };
        let step = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        table.row(vec![
            test.address.as_str().into(),
            result,
            step(test.connect_ms).into(),
            step(test.handshake_ms).into(),
            step(test.setup_ms).into(),
            test.error.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}
