//! The books, entry by entry.

use crate::failure::Failure;
use crate::output::{Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::{BookChange, LedgerEntry, LedgerQuery};
use serde_json::json;

pub(super) async fn list(session: &mut Session, query: LedgerQuery) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.ledger(daemon.call(), query).await;
    let page = daemon.granted(answer)?;
    let mut view = vec![Part::Table(table(&page.entries))];
    if let Some(next) = page.next_before {
        view.push(Part::Note(format!("there is more: --before {next}")));
    }
    Ok(Report::item("LedgerPage", json!(page), view))
}

/// A line for each book that an entry changed; what is about the entry stands in its first one.
fn table(entries: &[LedgerEntry]) -> Table {
    let columns = vec![
        Column::right("ENTRY"),
        Column::left("TIME (UTC)"),
        Column::left("WHAT"),
        Column::left("BOOK"),
        Column::right("AMOUNT (sat)"),
        Column::left("OF"),
        Column::left("FOR"),
    ];
    let mut table = Table::new(columns, "nothing has been booked yet".to_owned());
    for entry in entries {
        let sign = |amount: i64| if amount > 0 { "+" } else { "" };
        for (number, change) in entry.changes.iter().enumerate() {
            let once = |text: String| if number == 0 { text } else { String::new() };
            table.row(vec![
                once(entry.entry.to_string()).into(),
                once(entry.at.strftime("%Y-%m-%d %H:%M:%S").to_string()).into(),
                once(entry.kind.replace('_', " ")).into(),
                change.book.as_str().into(),
                format!(
                    "{}{}",
                    sign(change.amount_msat),
                    text::signed_sat_figure(change.amount_msat)
                )
                .into(),
                whose(change).into(),
                once(reason(entry)).into(),
            ]);
        }
    }
    table
}

fn whose(change: &BookChange) -> String {
    match &change.name {
        Some(name) => name.clone(),
        None if change.accounts > 1 => format!("{} accounts", change.accounts),
        None => "-".to_owned(),
    }
}

fn reason(entry: &LedgerEntry) -> String {
    match (entry.reverses, entry.payout, &entry.block, &entry.note) {
        (Some(reversed), ..) => format!("takes back {reversed}"),
        (None, Some(payout), ..) => format!("payout {payout}"),
        (None, None, Some(block), _) => format!("block {block}"),
        (None, None, None, Some(note)) => note.clone(),
        (None, None, None, None) => "-".to_owned(),
    }
}
