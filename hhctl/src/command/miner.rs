//! `hhctl miner`.

use super::link;
use crate::change::Plan;
use crate::cli::MinerChoice;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{KickRequest, Kicked, Miner, MinerQuery, MinerSelector};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn list(
    session: &mut Session,
    account: Option<String>,
    limit: u32,
) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let when_empty = match &account {
        Some(account) => format!("no miner of {account} is connected"),
        None => {
            "no miner is connected; point one at a lane of `hhctl pool status`, or at a translator"
                .to_owned()
        }
    };
    let query = MinerQuery {
        account,
        offset: 0,
        limit,
    };
    let answer = daemon.client.miners(daemon.call(), query).await;
    let page = daemon.answer(answer)?;
    let now = session.now();
    let mut view = vec![Part::Table(table(&page.miners, now, when_empty))];
    view.extend(Part::cut(
        page.miners.len(),
        page.total,
        "; --limit shows more, --account fewer",
    ));
    Ok(Report::list("MinerList", &page.miners, view))
}

fn table(miners: &[Miner], now: Timestamp, when_empty: String) -> Table {
    let columns = vec![
        Column::right("ID"),
        Column::left("ACCOUNT"),
        Column::left("WORKER"),
        Column::left("NODE"),
        Column::left("LANE"),
        Column::right("HASHRATE 10m"),
        Column::right("DIFFICULTY"),
        Column::right("ACCEPTED"),
        Column::right("REJECTED"),
        Column::left("LAST SHARE"),
        Column::left("UP"),
    ];
    let mut table = Table::new(columns, when_empty);
    let largest = miners
        .iter()
        .map(|miner| miner.hashrate_10m_hs)
        .fold(0.0, f64::max);
    for miner in miners {
        table.row(vec![
            miner.id.to_string().into(),
            miner.account.as_str().into(),
            miner.worker.as_str().into(),
            miner.node.as_str().into(),
            miner.lane.as_str().into(),
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

pub(super) async fn show(session: &mut Session, id: u32) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.miner(daemon.call(), id).await;
    let miner = daemon.granted(answer)?;
    let view = vec![Part::Fields(fields(&miner, session.now()))];
    Ok(Report::item("Miner", json!(miner), view))
}

fn fields(miner: &Miner, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let device = if miner.device.is_empty() {
        "not told"
    } else {
        &miner.device
    };
    vec![
        (
            "Channel",
            format!("{} ({})", miner.id, miner.channel).into(),
        ),
        ("Account", miner.account.as_str().into()),
        ("Worker", miner.worker.as_str().into()),
        ("Node", miner.node.as_str().into()),
        ("Lane", miner.lane.as_str().into()),
        ("Peer", miner.peer.as_str().into()),
        ("Device", device.into()),
        ("Connected", text::ago(now, Some(miner.connected_at)).into()),
        ("Hashrate 1m", text::hashrate(miner.hashrate_1m_hs).into()),
        ("Hashrate 10m", text::hashrate(miner.hashrate_10m_hs).into()),
        (
            "Nominal hashrate",
            text::hashrate(miner.nominal_hashrate_hs).into(),
        ),
        ("Difficulty", text::si(miner.difficulty).into()),
        ("Best difficulty", text::si(miner.best_difficulty).into()),
        ("Shares", link::shares(&miner.shares).into()),
        ("Last share", text::ago(now, miner.last_share_at).into()),
    ]
}

pub(super) async fn plan_kick(
    session: &mut Session,
    miners: &MinerChoice,
) -> Result<Plan, Failure> {
    let kicked = call_kick(session, miners, true).await?;
    let report = |summary| kick_report(&kicked, summary);
    Ok(Plan::kick(&ended(&kicked), miners.id.is_some(), report))
}

pub(super) async fn kick(session: &mut Session, miners: &MinerChoice) -> Result<Report, Failure> {
    let kicked = call_kick(session, miners, false).await?;
    let summary = format!("closed {}", ended(&kicked));
    Ok(kick_report(&kicked, summary))
}

async fn call_kick(
    session: &mut Session,
    miners: &MinerChoice,
    dry_run: bool,
) -> Result<Kicked, Failure> {
    let daemon = session.pool_control().await?;
    let miners = selector(miners);
    let request = KickRequest { miners, dry_run };
    let answer = daemon.client.kick(daemon.call(), request).await;
    daemon.granted(answer)
}

fn selector(miners: &MinerChoice) -> MinerSelector {
    match (miners.id, &miners.account, &miners.address) {
        (Some(id), ..) => MinerSelector::Channel(id),
        (_, Some(account), _) => MinerSelector::Account(account.clone()),
        (.., address) => MinerSelector::Address(address.clone().unwrap_or_default()),
    }
}

pub(super) fn ended(kicked: &Kicked) -> String {
    let connections = text::plural(kicked.connections.into(), "connection");
    let channels = text::plural(kicked.channels.into(), "channel");
    match (kicked.connections, kicked.channels) {
        (0, _) => channels,
        (_, 0) => connections,
        _ => format!("{connections} and {channels}"),
    }
}

fn kick_report(kicked: &Kicked, summary: String) -> Report {
    let view = vec![Part::Table(kicked_table(kicked)), Part::Note(summary)];
    Report::item("Kicked", json!(kicked), view)
}

/// The channels that have ended.
pub(super) fn kicked_table(kicked: &Kicked) -> Table {
    let columns = vec![
        Column::right("ID"),
        Column::left("ACCOUNT"),
        Column::left("WORKER"),
        Column::left("PEER"),
        Column::left("CONNECTION"),
    ];
    let mut table = Table::new(columns, "no channel is open on them");
    for miner in &kicked.miners {
        let connection = if miner.connection_stays {
            "stays"
        } else {
            "closed"
        };
        table.row(vec![
            miner.id.to_string().into(),
            miner.account.as_str().into(),
            miner.worker.as_str().into(),
            miner.peer.as_str().into(),
            connection.into(),
        ]);
    }
    table
}
