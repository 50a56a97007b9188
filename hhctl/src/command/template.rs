//! `hhctl template`.

use crate::failure::Failure;
use crate::output::{Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::template_provider::TemplateSummary;
use jiff::Timestamp;

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
            text::count(template.transactions.into()).into(),
            text::count(template.fees_sat).into(),
            text::count(template.value_sat).into(),
            text::count(template.weight_wu).into(),
            format!("{:.1} ms", template.generation_seconds * 1000.0).into(),
            text::age(now, template.created_at).into(),
        ]);
    }
    table
}
