//! `hhctl ln peer`.

use crate::change::Plan;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::Peer;
use serde_json::json;

pub(super) async fn list(session: &mut Session) -> Result<Report, Failure> {
    let peers = call_list(session).await?;
    let view = vec![Part::Table(table(&peers))];
    Ok(Report::list("PeerList", &peers, view))
}

async fn call_list(session: &mut Session) -> Result<Vec<Peer>, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.peers(daemon.call()).await;
    daemon.granted(answer)
}

fn table(peers: &[Peer]) -> Table {
    let columns = vec![
        Column::left("NODE ID"),
        Column::left("STATE"),
        Column::left("ADDRESS"),
        Column::right("CHANNELS"),
        Column::right("OURS IN THEM (sat)"),
    ];
    let when_empty = "no peer; `hhctl ln peer connect` connects to one";
    let mut table = Table::new(columns, when_empty);
    for peer in peers {
        table.row(vec![
            peer.node_id.as_str().into(),
            state(peer),
            peer.address.as_deref().unwrap_or("-").into(),
            text::count(peer.channels.into()).into(),
            text::sat_figure(peer.local_msat).into(),
        ]);
    }
    table
}

fn state(peer: &Peer) -> Cell {
    match (peer.is_connected, peer.channels) {
        (true, _) => Cell::state(State::Ok, "connected"),
        (false, 0) => Cell::state(State::Unknown, "away"),
        (false, _) => Cell::state(State::Warn, "away"),
    }
}

pub(super) async fn connect(session: &mut Session, peer: &str) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let answer = daemon
        .client
        .connect_peer(daemon.call(), peer.to_owned())
        .await;
    let peer = daemon.granted(answer)?;
    let view = vec![Part::Table(table(std::slice::from_ref(&peer)))];
    Ok(Report::item("Peer", json!(peer), view))
}

/// Its channels stand still from then on.
pub(super) async fn plan_disconnect(session: &mut Session, node_id: &str) -> Result<Plan, Failure> {
    let peers = call_list(session).await?;
    let known = peers.iter().find(|peer| peer.node_id == node_id);
    let channels = known.map_or(0, |peer| peer.channels);
    let question = match channels {
        0 => format!("Disconnect from {node_id}"),
        channels => format!(
            "Disconnect from {node_id}: {} with it can't be used until it is back",
            text::plural(channels.into(), "channel")
        ),
    };
    let view = match known {
        Some(peer) => vec![Part::Table(table(std::slice::from_ref(peer)))],
        None => vec![Part::Note(
            "the wallet does not tell of this node".to_owned(),
        )],
    };
    Ok(Plan {
        report: Report::item("DisconnectPlan", json!(known), view),
        question: Some(question),
        typed: None,
    })
}

pub(super) async fn disconnect(session: &mut Session, node_id: &str) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let answer = daemon
        .client
        .disconnect_peer(daemon.call(), node_id.to_owned())
        .await;
    daemon.granted(answer)?;
    let view = vec![Part::Note(format!("{node_id} is disconnected"))];
    Ok(Report::item(
        "Disconnected",
        json!({ "node_id": node_id }),
        view,
    ))
}
