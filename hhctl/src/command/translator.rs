//! `hhctl translator`.

use super::link;
use crate::failure::Failure;
use crate::output::{Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::translator::{DownstreamMiner, TranslatorLane};
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
        Part::Table(miners(&status.miners, now)),
    ];
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
        Column::right("CONNECTIONS"),
    ];
    let mut table = Table::new(columns, "no lane is configured");
    for lane in lanes {
        table.row(vec![
            lane.name.as_str().into(),
            lane.protocol.as_str().into(),
            lane.listen_address.as_str().into(),
            text::count(lane.connections.into()).into(),
        ]);
    }
    table
}

fn miners(miners: &[DownstreamMiner], now: Timestamp) -> Table {
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
    let when_empty = "no miner is connected; point one at a lane: stratum+tcp://HOST:PORT";
    let mut table = Table::new(columns, when_empty);
    let largest = miners
        .iter()
        .map(|miner| miner.hashrate_10m_hs)
        .fold(0.0, f64::max);
    for miner in miners {
        let user = if miner.user_name.is_empty() {
            "not authorized"
        } else {
            &miner.user_name
        };
        table.row(vec![
            miner.id.to_string().into(),
            user.into(),
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
