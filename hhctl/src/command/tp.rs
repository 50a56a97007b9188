//! `hhctl tp`.

use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::template_provider::{
    NodeCondition, NodeStatus, Solution, TemplateClient, TemplateProviderStatus,
};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn status(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.tp().await?;
    let answer = daemon.client.status(daemon.call()).await;
    let status = daemon.answer(answer)?;
    let now = session.now();
    let view = vec![
        Part::Fields(fields(&status, now)),
        Part::Table(nodes(&status.nodes, now)),
        Part::Table(clients(&status.clients, now)),
        Part::Table(solutions(&status.solutions, now)),
    ];
    Ok(Report::item("TemplateProviderStatus", json!(status), view))
}

fn fields(status: &TemplateProviderStatus, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let active = match status.active_node() {
        Some(node) => format!("{}, {}", node.name, version(node)).into(),
        None => Cell::state(State::Fail, "none: templates are not renewed"),
    };
    let tip = status
        .active_node()
        .and_then(|node| Some(format!("{} {}", node.height?, node.tip_hash.as_ref()?)));
    let template = match &status.last_template {
        Some(template) => format!(
            "{} of {} for block {}, {}, {} sat of fees, {} ago ({})",
            template.template_id,
            template.node,
            template.height,
            text::plural(template.transactions.into(), "transaction"),
            text::count(template.fees_sat),
            text::age(now, template.created_at),
            template.trigger,
        ),
        None => "none yet".to_owned(),
    };
    vec![
        ("Chain", status.chain.as_str().into()),
        ("Active node", active),
        (
            "Tip",
            tip.unwrap_or_else(|| "not known yet".to_owned()).into(),
        ),
        ("Templates", text::count(status.templates_total).into()),
        ("Last template", template.into()),
        ("Listens on", status.listen_address.as_str().into()),
        ("Authority key", status.authority_public_key.as_str().into()),
    ]
}

fn version(node: &NodeStatus) -> String {
    let version = node.version.map(core_version);
    version.unwrap_or_else(|| "not known yet".to_owned())
}

/// `active`, `standby`, or what is wrong; and since when.
fn state(node: &NodeStatus, now: Timestamp) -> Cell {
    let (state, word) = match node.condition {
        NodeCondition::Healthy if node.active => (State::Ok, "active"),
        NodeCondition::Healthy => (State::Ok, "standby"),
        NodeCondition::Connecting => (State::Unknown, "connecting"),
        NodeCondition::Lagging => (State::Warn, "lagging"),
        NodeCondition::InitialDownload => (State::Warn, "initial download"),
        NodeCondition::Silent => (State::Warn, "silent"),
        NodeCondition::Down => (State::Fail, "down"),
    };
    let word = match node.condition {
        NodeCondition::Healthy => word.to_owned(),
        _ if node.active => format!("active, {word}"),
        _ => word.to_owned(),
    };
    Cell::state(state, format!("{word} {}", text::age(now, node.since_at)))
}

fn nodes(nodes: &[NodeStatus], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("NODE"),
        Column::left("STATE"),
        Column::right("HEIGHT"),
        Column::left("VERSION"),
        Column::right("LATENCY"),
        Column::left("TEMPLATES FROM"),
        Column::left("WHY"),
    ];
    let mut table = Table::new(columns, "");
    for node in nodes {
        let height = node.height.map(|height| height.to_string());
        let latency = node.latency_seconds;
        let latency = latency.map(|seconds| format!("{:.1} ms", seconds * 1000.0));
        table.row(vec![
            node.name.as_str().into(),
            state(node, now),
            height.unwrap_or_else(|| "-".to_owned()).into(),
            version(node).into(),
            latency.unwrap_or_else(|| "-".to_owned()).into(),
            node.templates.address.as_str().into(),
            node.reason.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

/// 310000 is 31.0, 310001 is 31.0.1.
fn core_version(version: u32) -> String {
    let (major, minor, build) = (version / 10_000, version / 100 % 100, version % 100);
    if build == 0 {
        format!("{major}.{minor}")
    } else {
        format!("{major}.{minor}.{build}")
    }
}

fn clients(clients: &[TemplateClient], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("CLIENT"),
        Column::left("CONNECTED"),
        Column::right("COINBASE OUTPUTS (bytes)"),
        Column::right("SIGOPS"),
    ];
    let when_empty = "no client is connected; hh-pool connects by [[template_providers]]";
    let mut table = Table::new(columns, when_empty);
    let told = |value: Option<String>| value.unwrap_or_else(|| "not told".to_owned());
    for client in clients {
        let bytes = client.coinbase_output_max_additional_size_bytes;
        let sigops = client.coinbase_output_max_additional_sigops;
        table.row(vec![
            client.peer.as_str().into(),
            text::ago(now, Some(client.connected_at)).into(),
            told(bytes.map(|bytes| bytes.to_string())).into(),
            told(sigops.map(|sigops| sigops.to_string())).into(),
        ]);
    }
    table
}

fn solutions(solutions: &[Solution], now: Timestamp) -> Table {
    let columns = vec![
        Column::right("HEIGHT"),
        Column::left("SUBMITTED"),
        Column::left("OUTCOMES"),
        Column::left("HASH"),
    ];
    let mut table = Table::new(columns, "no solution yet: no client has found a block");
    for solution in solutions {
        let outcomes: Vec<String> = solution
            .outcomes
            .iter()
            .map(|(path, outcome)| format!("{path}: {outcome}"))
            .collect();
        table.row(vec![
            solution.height.to_string().into(),
            text::ago(now, Some(solution.received_at)).into(),
            outcomes.join(", ").into(),
            solution.hash.as_str().into(),
        ]);
    }
    table
}
