//! `hhctl translator`.

use super::downstream::{self, NOBODY};
use super::link;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::translator::{DifficultyClass, LaneCredential, TranslatorLane};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn status(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.translator().await?;
    let answer = daemon.client.status(daemon.call()).await;
    let status = daemon.answer(answer)?;
    let now = session.now();
    let mut fields = vec![
        ("Miners", text::count(status.connections.into()).into()),
        ("Shares since start", link::shares(&status.shares).into()),
        ("In flight", text::count(status.shares_in_flight).into()),
        ("Unsettled", text::count(status.shares_unsettled).into()),
    ];
    if let Some(key) = &status.authority_public_key {
        fields.push(("Authority key", key.as_str().into()));
    }
    let links: Vec<_> = status
        .upstreams
        .iter()
        .map(|link| ("upstream", link))
        .collect();
    let mut view = vec![
        Part::Fields(fields),
        Part::Table(link::table(&links, now, "no upstream is configured")),
        Part::Table(lanes(&status.lanes)),
    ];
    if status.lanes.iter().any(|lane| lane.aggregated) {
        view.push(Part::Table(classes(&status.classes)));
    }
    view.extend([
        Part::Table(credentials(&status.credentials, now)),
        Part::Table(downstream::table(&status.miners, now, NOBODY)),
    ]);
    let shown = status.miners.len() as u64;
    if shown > 0 && u64::from(status.connections) > shown {
        let total = text::count(status.connections.into());
        view.push(Part::Note(format!("the {shown} oldest of {total} shown")));
    }
    Ok(Report::item("TranslatorStatus", json!(status), view))
}

fn lanes(lanes: &[TranslatorLane]) -> Table {
    let columns = vec![
        Column::left("LANE"),
        Column::left("PROTOCOL"),
        Column::left("LISTENS ON"),
        Column::left("CHANNELS"),
        Column::left("STATE"),
        Column::right("CONNECTIONS"),
    ];
    let mut table = Table::new(columns, "no lane is configured");
    for lane in lanes {
        table.row(vec![
            lane.name.as_str().into(),
            lane.protocol.as_str().into(),
            lane.listen_address.as_str().into(),
            if lane.aggregated {
                "shared"
            } else {
                "one each"
            }
            .into(),
            super::lane::state(lane.paused),
            text::count(lane.connections.into()).into(),
        ]);
    }
    table
}

/// How the miners of aggregated lanes are spread over the pool's channels.
fn classes(classes: &[DifficultyClass]) -> Table {
    let columns = vec![
        Column::left("LANE"),
        Column::right("CLASS (difficulty)"),
        Column::right("MINERS"),
        Column::right("ARRIVING"),
        Column::right("ACCOUNTS"),
        Column::right("CHANNELS"),
    ];
    let mut table = Table::new(columns, "no miner is in a class of difficulty yet");
    for class in classes {
        table.row(vec![
            class.lane.as_str().into(),
            class.difficulty.map_or("own".to_owned(), text::si).into(),
            text::count(class.miners.into()).into(),
            text::count(class.arriving.into()).into(),
            text::count(class.accounts.into()).into(),
            text::count(class.channels.into()).into(),
        ]);
    }
    table
}

fn credentials(credentials: &[LaneCredential], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("LANE"),
        Column::left("CREDITED TO"),
        Column::left("ENDS"),
        Column::left("WHY"),
    ];
    let mut table = Table::new(columns, "the translator does not say which node it is");
    for credential in credentials {
        let ends = credential.until_at;
        let ends = ends.map_or_else(String::new, |at| format!("in {}", text::age(at, now)));
        let node = credential.node.as_str();
        let (node, why) = match (credential.until_at, &credential.reason) {
            (Some(_), _) => (Cell::state(State::Ok, node), "credential taken by the pool"),
            (None, Some(reason)) => (Cell::state(State::Warn, node), reason.as_str()),
            (None, None) => (node.into(), "no [credential] in hh-translator.toml"),
        };
        let lane = credential.lane.as_str().into();
        table.row(vec![lane, node, ends.into(), why.into()]);
    }
    table
}
