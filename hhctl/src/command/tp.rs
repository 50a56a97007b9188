//! `hhctl tp`.

use super::link;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::template_provider::{Solution, TemplateClient, TemplateProviderStatus};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn status(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.tp().await?;
    let answer = daemon.client.status(daemon.call()).await;
    let status = daemon.answer(answer)?;
    let now = session.now();
    let links = [("mining IPC", &status.node.ipc), ("RPC", &status.node.rpc)];
    let view = vec![
        Part::Fields(fields(&status, now)),
        Part::Table(link::table(&links, now, "")),
        Part::Table(clients(&status.clients, now)),
        Part::Table(solutions(&status.solutions, now)),
    ];
    Ok(Report::item("TemplateProviderStatus", json!(status), view))
}

fn fields(status: &TemplateProviderStatus, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let node = &status.node;
    let version = node
        .version
        .map_or_else(|| "not known yet".to_owned(), core_version);
    let tip = match (node.height, &node.tip_hash) {
        (Some(height), Some(hash)) => format!("{height} {hash}"),
        _ => "not known yet".to_owned(),
    };
    let download = match node.initial_block_download {
        Some(true) => Cell::state(State::Warn, "yes: templates may be of an old tip"),
        Some(false) => "no".into(),
        None => "not known yet".into(),
    };
    let template = match &status.last_template {
        Some(template) => format!(
            "{} for block {}, {}, {} sat of fees, {} ago ({})",
            template.template_id,
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
        ("Bitcoin Core", version.into()),
        ("Tip", tip.into()),
        ("Initial download", download),
        ("Templates", text::count(status.templates_total).into()),
        ("Last template", template.into()),
        ("Listens on", status.listen_address.as_str().into()),
        ("Authority key", status.authority_public_key.as_str().into()),
    ]
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
