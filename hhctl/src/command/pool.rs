//! `hhctl pool`.

use super::link;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{DoorStatus, Lane, LostRecords, PoolStatus};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn status(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.status(daemon.call()).await;
    let status = daemon.answer(answer)?;
    let now = session.now();
    let mut links: Vec<_> = Vec::new();
    let active = status.active_template_provider.as_ref();
    links.extend(status.template_providers.iter().map(|link| {
        let is_active = active == Some(&link.address);
        let purpose = if is_active {
            "templates, in use"
        } else {
            "templates"
        };
        (purpose, link)
    }));
    links.extend(status.nodes.iter().map(|link| ("blocks (RPC)", link)));
    let none = "no template provider and no node is configured";
    let view = vec![
        Part::Fields(fields(&status, now)),
        Part::Table(lanes(&status.lanes)),
        Part::Table(link::table(&links, now, none)),
    ];
    Ok(Report::item("PoolStatus", json!(status), view))
}

fn fields(status: &PoolStatus, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let work = match &status.work {
        Some(work) => format!(
            "block {} of {} sat, job {}, template {}, {} ago",
            work.height,
            text::count(work.value_sat),
            work.job_id,
            work.template_id,
            text::age(now, work.received_at),
        ),
        None => "none: no template has come yet (hhctl tp status)".to_owned(),
    };
    let difficulty = status
        .work
        .as_ref()
        .map(|work| text::si(work.network_difficulty));
    let block = match &status.last_block {
        Some(block) => format!("{} {}", block.height, block.hash),
        None => "none".to_owned(),
    };
    vec![
        ("Chain", status.chain.as_str().into()),
        ("Work", work.into()),
        (
            "Network difficulty",
            difficulty.unwrap_or_else(|| "-".to_owned()).into(),
        ),
        (
            "Hashrate 10m",
            text::hashrate(status.hashrate_10m_hs).into(),
        ),
        ("Miners", miners(status).into()),
        ("Door", door(&status.door)),
        ("Shares since start", link::shares(&status.shares).into()),
        ("Share log", share_log(status)),
        ("Ledger", ledger(status, now)),
        ("Blocks found", text::count(status.blocks_found).into()),
        ("Last block", block.into()),
        ("Server id", status.server_id.to_string().into()),
        ("Authority key", status.authority_public_key.as_str().into()),
    ]
}

fn miners(status: &PoolStatus) -> String {
    let channels = text::plural(status.channels.into(), "channel");
    format!(
        "{channels} on {}",
        text::plural(status.connections.into(), "connection")
    )
}

/// Who is at the door, and who was turned away from it since the start.
fn door(door: &DoorStatus) -> Cell {
    let half_open = text::plural(door.half_open.into(), "connection");
    let mut words = format!("{half_open} not set up");
    for (verb, counts) in [
        ("turned away", &door.turned_away),
        ("dropped", &door.dropped),
    ] {
        if counts.is_empty() {
            continue;
        }
        let each = counts.iter();
        let each = each.map(|(reason, count)| format!("{reason} {}", text::count(*count)));
        let total = text::count(counts.values().sum());
        let each = each.collect::<Vec<_>>().join(", ");
        words += &format!("; {total} {verb} ({each})");
    }
    match door.bans {
        0 => words.into(),
        bans => format!(
            "{words}; {} (hhctl ban list)",
            text::plural(bans.into(), "ban")
        )
        .into(),
    }
}

fn share_log(status: &PoolStatus) -> Cell {
    let log = &status.share_log;
    if let Some(error) = &log.last_error {
        let waiting = text::plural(log.waiting_records, "record");
        return Cell::state(State::Fail, format!("{waiting} not durable: {error}"));
    }
    let durable = text::count(log.durable_seq);
    if let Some(warning) = &log.warning {
        return Cell::state(State::Warn, format!("{durable} durable; {warning}"));
    }
    let size = text::si_bytes(log.disk_bytes);
    if let Some(lost) = &log.lost {
        return Cell::state(
            State::Fail,
            format!("{durable} durable, {size}; {}: {RESTORE}", gone(lost)),
        );
    }
    Cell::state(
        State::Ok,
        format!("{durable} durable, {size}, epoch {}", log.epoch),
    )
}

/// What an old copy of a ledger has lost, in words.
pub(super) fn gone(lost: &LostRecords) -> String {
    let (first, last) = (text::count(lost.first_seq), text::count(lost.last_seq));
    let time =
        |at: Option<Timestamp>| at.map_or_else(|| "the first".to_owned(), |at| format!("{at:.0}"));
    let (after, until) = (time(lost.after), time(lost.until));
    format!(
        "records {first} to {last}, from {after} until {until}, are neither in the share log nor in the ledger"
    )
}

/// What to do about it.
pub(super) const RESTORE: &str = "restore a newer backup of the ledger that has them";

fn ledger(status: &PoolStatus, now: Timestamp) -> Cell {
    let behind = backlog(status, now);
    match &status.ledger.last_error {
        Some(error) => Cell::state(State::Warn, format!("{behind}: {error}")),
        None => {
            let shipped = text::ago(now, status.ledger.last_shipped_at);
            Cell::state(State::Ok, format!("{behind}, shipped {shipped}"))
        }
    }
}

/// What is durable and not in the ledger, and how old that is: `1,234 records behind, the oldest 3m12s old`.
pub(super) fn backlog(status: &PoolStatus, now: Timestamp) -> String {
    let records = status.share_log.not_shipped();
    let behind = format!("{} behind", text::plural(records, "record"));
    match status.ledger.oldest_waiting_at {
        Some(at) => format!("{behind}, the oldest {} old", text::age(now, at)),
        None => behind,
    }
}

fn lanes(lanes: &[Lane]) -> Table {
    let columns = vec![
        Column::left("LANE"),
        Column::left("LISTENS ON"),
        Column::right("CONNECTIONS"),
        Column::right("CHANNELS"),
        Column::right("HASHRATE 10m"),
    ];
    let mut table = Table::new(columns, "no lane is configured");
    let largest = lanes
        .iter()
        .map(|lane| lane.hashrate_10m_hs)
        .fold(0.0, f64::max);
    for lane in lanes {
        table.row(vec![
            lane.name.as_str().into(),
            lane.listen_address.as_str().into(),
            text::count(lane.connections.into()).into(),
            text::count(lane.channels.into()).into(),
            text::hashrate_like(lane.hashrate_10m_hs, largest).into(),
        ]);
    }
    table
}
