//! `hhctl template`.

use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::template_provider::{
    CoinbaseOutput, TemplateDetail, TemplateSummary, TemplateValidity,
};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn list(session: &mut Session, limit: u32) -> Result<Report, Failure> {
    let daemon = session.tp().await?;
    let answer = daemon.client.templates(daemon.call(), limit).await;
    let templates = daemon.answer(answer)?;
    let view = vec![Part::Table(table(&templates, session.now()))];
    Ok(Report::list("TemplateList", &templates, view))
}

fn table(templates: &[TemplateSummary], now: Timestamp) -> Table {
    let columns = vec![
        Column::right("TEMPLATE"),
        Column::right("HEIGHT"),
        Column::left("TRIGGER"),
        Column::left("NODE"),
        Column::right("TRANSACTIONS"),
        Column::right("FEES (sat)"),
        Column::right("VALUE (sat)"),
        Column::right("WEIGHT"),
        Column::right("MADE IN"),
        Column::left("AGE"),
    ];
    let when_empty = "no templates yet; they come once Bitcoin Core answers: see `hhctl tp status`";
    let mut table = Table::new(columns, when_empty);
    for template in templates {
        table.row(vec![
            template.template_id.to_string().into(),
            template.height.to_string().into(),
            template.trigger.as_str().into(),
            template.node.as_str().into(),
            text::count(template.transactions.into()).into(),
            text::count(template.fees_sat).into(),
            text::count(template.value_sat).into(),
            text::count(template.weight_wu).into(),
            made_in(template).into(),
            text::age(now, template.created_at).into(),
        ]);
    }
    table
}

fn made_in(template: &TemplateSummary) -> String {
    format!("{:.1} ms", template.generation_seconds * 1000.0)
}

pub(super) async fn show(session: &mut Session, template_id: u64) -> Result<Report, Failure> {
    let daemon = session.tp().await?;
    let answer = daemon.client.template(daemon.call(), template_id).await;
    let detail = daemon.granted(answer)?;
    let view = vec![
        Part::Fields(fields(&detail, session.now())),
        Part::Table(outputs(&detail.coinbase_outputs)),
    ];
    Ok(Report::item("Template", json!(detail), view))
}

fn fields(detail: &TemplateDetail, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let template = &detail.summary;
    let validity = match detail.validity {
        TemplateValidity::Current => Cell::state(State::Ok, "current"),
        TemplateValidity::Valid => Cell::state(State::Ok, "valid, a newer one is on the same tip"),
        TemplateValidity::Stale => Cell::state(State::Warn, "stale, its tip is an earlier one"),
        TemplateValidity::Gone => Cell::state(State::Unknown, "gone, no solution is taken for it"),
    };
    let reserved = format!(
        "{} weight units, {} sigops",
        text::count(detail.reserved_weight_wu),
        text::count(detail.reserved_sigops)
    );
    let made = format!("{} ({})", made_in(template), template.trigger);
    vec![
        ("Template", template.template_id.to_string().into()),
        ("State", validity),
        ("Node", template.node.as_str().into()),
        ("Age", text::age(now, template.created_at).into()),
        ("Made in", made.into()),
        ("Height", template.height.to_string().into()),
        ("Previous block", template.prev_hash.as_str().into()),
        ("Version", format!("{:08x}", detail.version).into()),
        ("Bits", detail.nbits.as_str().into()),
        ("Earliest time", detail.header_timestamp.to_string().into()),
        (
            "Transactions",
            text::count(template.transactions.into()).into(),
        ),
        (
            "Fees",
            format!("{} sat", text::count(template.fees_sat)).into(),
        ),
        (
            "Value",
            format!("{} sat", text::count(template.value_sat)).into(),
        ),
        ("Weight", text::count(template.weight_wu).into()),
        ("Kept for coinbase", reserved.into()),
        ("Merkle path", hashes(detail.merkle_path_length).into()),
        (
            "Coinbase prefix",
            detail.coinbase_prefix_hex.as_str().into(),
        ),
    ]
}

fn hashes(count: u32) -> String {
    match count {
        1 => "1 hash".to_owned(),
        _ => format!("{count} hashes"),
    }
}

fn outputs(outputs: &[CoinbaseOutput]) -> Table {
    let columns = vec![Column::right("VALUE (sat)"), Column::left("OUTPUT SCRIPT")];
    let mut table = Table::new(columns, "no outputs of its own");
    for output in outputs {
        table.row(vec![
            text::count(output.value_sat).into(),
            output.script_hex.as_str().into(),
        ]);
    }
    table
}
