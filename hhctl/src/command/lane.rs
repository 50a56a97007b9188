//! `hhctl lane`.

use super::link;
use crate::change::Plan;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::translator::{LaneDetail, PauseLane};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn list(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.translator().await?;
    let answer = daemon.client.lanes(daemon.call()).await;
    let lanes = daemon.answer(answer)?;
    let view = vec![Part::Table(table(&lanes))];
    Ok(Report::list("LaneList", &lanes, view))
}

/// Whether a lane lets new miners in.
pub(super) fn state(paused: bool) -> Cell {
    if paused {
        Cell::state(State::Warn, "paused")
    } else {
        Cell::state(State::Ok, "open")
    }
}

fn table(lanes: &[LaneDetail]) -> Table {
    let columns = vec![
        Column::left("LANE"),
        Column::left("PROTOCOL"),
        Column::left("LISTENS ON"),
        Column::left("STATE"),
        Column::right("CONNECTIONS"),
        Column::right("HASHRATE 10m"),
        Column::left("DIFFICULTY"),
        Column::right("ACCEPTED"),
        Column::right("REJECTED"),
    ];
    let mut table = Table::new(
        columns,
        "no lane is configured; add [[lanes]] to hh-translator.toml",
    );
    let largest = lanes
        .iter()
        .map(|lane| lane.hashrate_10m_hs)
        .fold(0.0, f64::max);
    for lane in lanes {
        table.row(vec![
            lane.name.as_str().into(),
            lane.protocol.as_str().into(),
            lane.listen_address.as_str().into(),
            state(lane.paused_at.is_some()),
            text::count(lane.connections.into()).into(),
            text::hashrate_like(lane.hashrate_10m_hs, largest).into(),
            bounds(lane).into(),
            text::count(lane.shares.accepted).into(),
            text::count(lane.shares.rejected_total()).into(),
        ]);
    }
    table
}

fn bounds(lane: &LaneDetail) -> String {
    match (lane.min_difficulty, lane.max_difficulty) {
        (None, None) => "any".to_owned(),
        (Some(min), None) => format!("from {}", text::si(min)),
        (None, Some(max)) => format!("to {}", text::si(max)),
        (Some(min), Some(max)) => format!("{} to {}", text::si(min), text::si(max)),
    }
}

pub(super) async fn show(session: &mut Session, name: &str) -> Result<Report, Failure> {
    let daemon = session.translator().await?;
    let answer = daemon.client.lane(daemon.call(), name.to_owned()).await;
    let lane = daemon.granted(answer)?;
    Ok(report(&lane, session.now(), None))
}

fn report(lane: &LaneDetail, now: Timestamp, note: Option<String>) -> Report {
    let mut view = vec![Part::Fields(fields(lane, now))];
    view.extend(note.map(Part::Note));
    Report::item("Lane", json!(lane), view)
}

fn fields(lane: &LaneDetail, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let shown = match lane.paused_at {
        None => Cell::state(State::Ok, "open"),
        Some(at) => {
            let since = format!(
                "paused {}; `hhctl lane resume` lets miners in",
                text::ago(now, Some(at))
            );
            Cell::state(State::Warn, since)
        }
    };
    let ended = lane.ended.iter();
    let ended: Vec<String> = ended
        .map(|(reason, count)| format!("{reason} {}", text::count(*count)))
        .collect();
    let ended = if ended.is_empty() {
        "none".to_owned()
    } else {
        ended.join(", ")
    };
    vec![
        ("Lane", lane.name.as_str().into()),
        ("Protocol", lane.protocol.as_str().into()),
        ("Listens on", lane.listen_address.as_str().into()),
        ("State", shown),
        ("Difficulty", bounds(lane).into()),
        ("Starts at", text::hashrate(lane.nominal_hashrate_hs).into()),
        ("Connections", text::count(lane.connections.into()).into()),
        ("Hashrate 10m", text::hashrate(lane.hashrate_10m_hs).into()),
        ("Shares since start", link::shares(&lane.shares).into()),
        ("In flight", text::count(lane.shares_in_flight).into()),
        ("Unsettled", text::count(lane.shares_unsettled).into()),
        ("Ended", ended.into()),
    ]
}

/// What pausing or resuming a lane would change. Letting miners in again is done without a question.
pub(super) async fn plan(session: &mut Session, name: &str, paused: bool) -> Result<Plan, Failure> {
    let lane = call(session, name, paused, true).await?;
    let would = if paused {
        "would let no new miner in"
    } else {
        "would let miners in"
    };
    let note = format!("{would}; {}", who_stays(&lane));
    let question = paused.then(|| format!("Let no new miner in on lane {name}"));
    Ok(Plan {
        report: report(&lane, session.now(), Some(note)),
        question,
        typed: None,
    })
}

pub(super) async fn set(
    session: &mut Session,
    name: &str,
    paused: bool,
) -> Result<Report, Failure> {
    let lane = call(session, name, paused, false).await?;
    let note = if paused {
        let way_out = format!("`hhctl translator downstream kick --lane {name}` closes");
        format!(
            "no new miner is let in; {}, {way_out} them",
            who_stays(&lane)
        )
    } else {
        "miners are let in".to_owned()
    };
    Ok(report(&lane, session.now(), Some(note)))
}

fn who_stays(lane: &LaneDetail) -> String {
    match lane.connections {
        0 => "nobody is connected".to_owned(),
        1 => "1 connection stays".to_owned(),
        more => format!("{} connections stay", text::count(more.into())),
    }
}

async fn call(
    session: &mut Session,
    name: &str,
    paused: bool,
    dry_run: bool,
) -> Result<LaneDetail, Failure> {
    let daemon = session.translator_control().await?;
    let request = PauseLane {
        lane: name.to_owned(),
        paused,
        dry_run,
    };
    let answer = daemon.client.pause_lane(daemon.call(), request).await;
    daemon.granted(answer)
}
