//! `hhctl node`: which nodes there are, what they are ordered, and letting one in no more.

mod credential;
mod fleet;
pub(super) mod key;
pub(super) mod order;
pub(super) mod record;
mod revocation;

pub(super) use fleet::{service_table, until};
pub(super) use revocation::{plan, revoke};

use super::answers;
use crate::cli::{CredentialCommand, NodeCommand, NodeKeyCommand, NodeWalletCommand};
use crate::failure::{Failure, NOT_RUNNING};
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::HyperNode;
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn report(
    session: &mut Session,
    command: &NodeCommand,
) -> Result<Report, Failure> {
    match command {
        NodeCommand::List => list(session).await,
        NodeCommand::Show { node } => show(session, node).await,
        NodeCommand::Health { node } => health(session, node).await,
        NodeCommand::Logs {
            node,
            service,
            lines,
            after,
        } => order::logs(session, (node, service), *lines, after.clone()).await,
        NodeCommand::Wallet(NodeWalletCommand::Show { node }) => order::wallet(session, node).await,
        _ => unreachable!("run() has the others planned, or asks no daemon for them"),
    }
}

/// What core knows of nodes, and what the pool does. A site may have none of both.
async fn list(session: &mut Session) -> Result<Report, Failure> {
    let pool = of_pool(session).await;
    let fleet = match fleet::page(session).await {
        Err(failure) if failure.code == NOT_RUNNING => return pool,
        fleet => fleet,
    };
    let (mut report, mut failures) = match pool {
        Ok(report) => (report, Vec::new()),
        Err(failure) => (
            Report::list::<HyperNode>("HyperNodeList", &[], Vec::new()),
            vec![failure],
        ),
    };
    match fleet {
        Ok(page) => {
            let now = session.now();
            report
                .view
                .insert(0, Part::Table(fleet::table(&page.nodes, now)));
            report.add("fleet", json!(page.nodes));
        }
        Err(failure) if failures.is_empty() => failures.push(failure),
        Err(failure) => return Err(failure),
    }
    // Where core is alone, nothing is missing.
    failures.retain(|failure| failure.code != NOT_RUNNING);
    answers::tell_missing(&mut report, failures);
    Ok(report)
}

async fn of_pool(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.hyper_nodes(daemon.call()).await;
    let page = daemon.answer(answer)?;
    let now = session.now();
    let mut view = vec![Part::Table(table(&page.nodes, now))];
    view.extend(Part::cut(page.nodes.len(), page.total, ""));
    Ok(Report::list("HyperNodeList", &page.nodes, view))
}

async fn show(session: &mut Session, node: &str) -> Result<Report, Failure> {
    let daemon = session.core().await?;
    let answer = daemon.client.node(daemon.call(), node.to_owned()).await;
    let detail = daemon.granted(answer)?;
    Ok(fleet::report(&detail, session.now()))
}

async fn health(session: &mut Session, node: &str) -> Result<Report, Failure> {
    let daemon = session.core().await?;
    let answer = daemon.client.node(daemon.call(), node.to_owned()).await;
    let detail = daemon.granted(answer)?;
    Ok(fleet::health(&detail, session.now()))
}

/// A command on files of the node; it asks no daemon.
///
/// # Errors
/// What is wrong with the files.
pub(super) fn on_files(command: &NodeCommand, now: Timestamp) -> Result<Report, Failure> {
    match command {
        NodeCommand::Key(NodeKeyCommand::Generate { file }) => key::generate(file),
        NodeCommand::Key(NodeKeyCommand::Show { file }) => key::show(file),
        NodeCommand::Credential(CredentialCommand::Issue(args)) => credential::issue(args, now),
        NodeCommand::Credential(CredentialCommand::Show { file }) => credential::show(file, now),
        _ => unreachable!("NodeCommand::is_about_files() names these"),
    }
}

fn table(nodes: &[HyperNode], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("NODE"),
        Column::left("STATE"),
        Column::right("CONNECTIONS"),
        Column::left("LANES"),
        Column::left("PUBLIC KEY"),
        Column::left("REASON"),
    ];
    let when_empty = "the pool knows no node; [[hyper_nodes]] of hh-pool.toml is where they are";
    let mut table = Table::new(columns, when_empty);
    for node in nodes {
        table.row(vec![
            node.id.as_str().into(),
            state(node, now),
            text::count(node.connections.into()).into(),
            node.lanes.join(", ").into(),
            node.public_key.as_str().into(),
            reason(node).into(),
        ]);
    }
    table
}

fn state(node: &HyperNode, now: Timestamp) -> Cell {
    match &node.revoked {
        None => Cell::state(State::Ok, "let in"),
        Some(revocation) => match revocation.since_at {
            None => Cell::state(State::Fail, "revoked"),
            Some(at) => {
                let ago = text::ago(now, Some(at));
                Cell::state(State::Fail, format!("revoked {ago}"))
            }
        },
    }
}

fn reason(node: &HyperNode) -> &str {
    let revocation = node.revoked.as_ref();
    revocation.map_or("", |revocation| revocation.reason.as_str())
}
