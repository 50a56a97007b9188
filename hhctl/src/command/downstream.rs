//! `hhctl translator downstream`.

use super::link;
use crate::change::Plan;
use crate::cli::DownstreamChoice;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::translator::{
    DownstreamDetail, DownstreamMiner, DownstreamQuery, DownstreamSelector, KickDownstreams,
    KickedDownstreams,
};
use jiff::Timestamp;
use serde_json::json;

/// For a table of all miners.
pub(super) const NOBODY: &str =
    "no miner is connected; point one at a lane: stratum+tcp://HOST:PORT";

pub(super) async fn list(
    session: &mut Session,
    user: Option<String>,
    lane: Option<String>,
    limit: u32,
) -> Result<Report, Failure> {
    let daemon = session.translator().await?;
    let when_empty = match (&user, &lane) {
        (None, None) => NOBODY.to_owned(),
        (Some(user), None) => format!("no miner of {user} is connected"),
        (None, Some(lane)) => {
            format!("nobody is connected on lane {lane}; `hhctl lane list` shows the lanes")
        }
        (Some(user), Some(lane)) => format!("no miner of {user} is connected on lane {lane}"),
    };
    let query = DownstreamQuery {
        lane,
        user,
        offset: 0,
        limit,
    };
    let answer = daemon.client.downstreams(daemon.call(), query).await;
    let page = daemon.answer(answer)?;
    let table = table(&page.miners, session.now(), when_empty);
    let mut view = vec![Part::Table(table)];
    view.extend(Part::cut(
        page.miners.len(),
        page.total,
        "; --limit shows more, --user and --lane fewer",
    ));
    Ok(Report::list("DownstreamList", &page.miners, view))
}

pub(super) fn table(
    miners: &[DownstreamMiner],
    now: Timestamp,
    when_empty: impl Into<String>,
) -> Table {
    let columns = vec![
        Column::right("ID"),
        Column::left("USER"),
        Column::left("LANE"),
        Column::left("PROTOCOL"),
        Column::left("PEER"),
        Column::left("DEVICE"),
        Column::right("HASHRATE 10m"),
        Column::right("DIFFICULTY"),
        Column::right("ACCEPTED"),
        Column::right("REJECTED"),
        Column::left("LAST SHARE"),
        Column::left("UP"),
    ];
    let mut table = Table::new(columns, when_empty);
    let hashrates = miners.iter().map(|miner| miner.hashrate_10m_hs);
    let largest = hashrates.fold(0.0, f64::max);
    for miner in miners {
        table.row(vec![
            miner.id.to_string().into(),
            user(miner).into(),
            miner.lane.as_str().into(),
            miner.protocol.as_str().into(),
            miner.peer.as_str().into(),
            miner.user_agent.as_str().into(),
            text::hashrate_like(miner.hashrate_10m_hs, largest).into(),
            text::si(miner.difficulty).into(),
            text::count(miner.shares.accepted).into(),
            text::count(miner.shares.rejected_total()).into(),
            text::ago(now, miner.last_share_at).into(),
            text::age(now, miner.connected_at).into(),
        ]);
    }
    table
}

fn user(miner: &DownstreamMiner) -> &str {
    if miner.user_name.is_empty() {
        "not authorized"
    } else {
        &miner.user_name
    }
}

pub(super) async fn show(session: &mut Session, id: u64) -> Result<Report, Failure> {
    let daemon = session.translator().await?;
    let answer = daemon.client.downstream(daemon.call(), id).await;
    let detail = daemon.granted(answer)?;
    let view = vec![Part::Fields(fields(&detail, session.now()))];
    Ok(Report::item("Downstream", json!(detail), view))
}

fn fields(detail: &DownstreamDetail, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let miner = &detail.miner;
    let users = match detail.users.as_slice() {
        [] => "not authorized".to_owned(),
        users => users.join(", "),
    };
    let device = match miner.user_agent.as_str() {
        "" => "not told",
        device => device,
    };
    let channel = match detail.channel_id {
        Some(id) => format!("{id} at the pool"),
        None => "none".to_owned(),
    };
    let rolling = if miner.version_rolling { "yes" } else { "no" };
    vec![
        ("Id", miner.id.to_string().into()),
        ("Users", users.into()),
        ("Lane", miner.lane.as_str().into()),
        ("Protocol", miner.protocol.as_str().into()),
        ("Peer", miner.peer.as_str().into()),
        ("Device", device.into()),
        ("Channel", channel.into()),
        ("Connected", text::ago(now, Some(miner.connected_at)).into()),
        ("Hashrate 10m", text::hashrate(miner.hashrate_10m_hs).into()),
        ("Difficulty", text::si(miner.difficulty).into()),
        ("Version rolling", rolling.into()),
        ("Shares", link::shares(&miner.shares).into()),
        ("Unsettled", text::count(detail.shares_unsettled).into()),
        ("Last share", text::ago(now, miner.last_share_at).into()),
    ]
}

pub(super) async fn plan_kick(
    session: &mut Session,
    miners: &DownstreamChoice,
) -> Result<Plan, Failure> {
    let kicked = call_kick(session, miners, true).await?;
    let report = |summary| kick_report(&kicked, summary, session.now());
    let closes = connections(&kicked);
    Ok(Plan::kick(&closes, miners.id.is_some(), report))
}

pub(super) async fn kick(
    session: &mut Session,
    miners: &DownstreamChoice,
) -> Result<Report, Failure> {
    let kicked = call_kick(session, miners, false).await?;
    let summary = format!("closed {}", connections(&kicked));
    Ok(kick_report(&kicked, summary, session.now()))
}

async fn call_kick(
    session: &mut Session,
    miners: &DownstreamChoice,
    dry_run: bool,
) -> Result<KickedDownstreams, Failure> {
    let daemon = session.translator_control().await?;
    let miners = selector(miners);
    let request = KickDownstreams { miners, dry_run };
    let answer = daemon.client.kick_downstreams(daemon.call(), request).await;
    daemon.granted(answer)
}

fn selector(choice: &DownstreamChoice) -> DownstreamSelector {
    match (choice.id, &choice.user, &choice.address) {
        (Some(id), ..) => DownstreamSelector::Id(id),
        (_, Some(user), _) => DownstreamSelector::User(user.clone()),
        (.., Some(address)) => DownstreamSelector::Address(address.clone()),
        (.., None) => DownstreamSelector::Lane(choice.lane.clone().unwrap_or_default()),
    }
}

pub(super) fn connections(kicked: &KickedDownstreams) -> String {
    text::plural(kicked.connections.into(), "connection")
}

fn kick_report(kicked: &KickedDownstreams, summary: String, now: Timestamp) -> Report {
    let table = table(&kicked.miners, now, "nobody is connected");
    let mut view = vec![Part::Table(table)];
    view.extend(Part::cut(kicked.miners.len(), kicked.connections, ""));
    view.push(Part::Note(summary));
    Report::item("KickedDownstreams", json!(kicked), view)
}
