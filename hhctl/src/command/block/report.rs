//! `hhctl block report` and `hhctl block verify`.

use super::edge;
use super::recount::{Counted, recount};
use super::signed_report::{Checked, fetch};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::BlockSelector;
use hh_mining::{BlockReport, Msat, WindowSize};
use hh_trust::ReportPublicKey;
use serde_json::{Value, json};
use std::path::Path;

pub(super) async fn show(
    session: &mut Session,
    block: &BlockSelector,
    save: Option<&Path>,
) -> Result<Report, Failure> {
    let checked = fetch(session, block, None).await?;
    let report = &checked.report;
    let mut view = vec![
        Part::Fields(fields(report)),
        Part::Table(nodes(report)),
        Part::Note(signer(&checked)),
    ];
    if let Some(file) = save {
        let signature = file.with_added_extension("jws");
        write(file, &checked.signed.report)?;
        write(&signature, &checked.signed.signature)?;
        let mut written = format!(
            "written to {}, its signature to {}",
            file.display(),
            signature.display()
        );
        let edge = edge::fetch(&session.treasury().await?, report).await?;
        if let Some(lines) = edge.to_lines() {
            let shares = file.with_added_extension("edge.jsonl");
            write(&shares, &lines)?;
            written += &format!(", the shares of its edge to {}", shares.display());
        }
        view.push(Part::Note(written));
    }
    Ok(Report::item("BlockReport", item(&checked)?, view))
}

pub(super) async fn verify(
    session: &mut Session,
    block: &BlockSelector,
    key: Option<ReportPublicKey>,
    with_ledger: bool,
) -> Result<Report, Failure> {
    let checked = fetch(session, block, key).await?;
    let report = &checked.report;
    let edge = edge::fetch(&session.treasury().await?, report).await?;
    let counted = if with_ledger {
        Some(recount(&session.treasury().await?, report).await?)
    } else {
        None
    };
    let paid = "what it was split into is what it brought, by the rules";
    let mut fields = vec![
        ("Block", report.block.to_string().into()),
        ("Height", text::count(report.height.into()).into()),
        ("Signature", Cell::state(State::Ok, signer(&checked))),
        ("Figures", Cell::state(State::Ok, paid.to_owned())),
        ("Edge", edge.cell()),
    ];
    if let Some(counted) = &counted {
        fields.push(("Ledger", Cell::state(State::Ok, counted_words(counted))));
    }
    let view = vec![
        Part::Fields(fields),
        Part::Note("an account's part of it: hhctl account proof NAME BLOCK".to_owned()),
    ];
    let item = json!({
        "block": report.block,
        "height": report.height,
        "key": checked.key,
        "is_key_named": !checked.is_own_word,
        "edge_shares": edge.shares(),
        "ledger_entries": counted.map(|counted| counted.entries),
    });
    Ok(Report::item("BlockVerification", item, view))
}

fn counted_words(counted: &Counted) -> String {
    let entries = text::plural_of(counted.entries, "entry", "entries");
    let accounts = text::plural(counted.accounts, "account");
    format!("{entries} of {accounts}, counted again, make the same report")
}

fn item(checked: &Checked) -> Result<Value, Failure> {
    let report: Value = serde_json::from_str(&checked.signed.report)
        .map_err(|error| Failure::report(&checked.signed.hash, error.to_string()))?;
    Ok(json!({
        "hash": checked.signed.hash,
        "report": report,
        "signature": checked.signed.signature,
        "key": checked.key,
    }))
}

fn signer(checked: &Checked) -> String {
    let key = checked.key;
    if checked.is_own_word {
        format!("signed by {key}, which this treasury says is its own")
    } else {
        format!("signed by {key}")
    }
}

fn fields(report: &BlockReport) -> Vec<(&'static str, Cell)> {
    let sat = |amount: Msat| Cell::from(text::sat(amount.0));
    let window = match report.window {
        WindowSize::Pplns { .. } => "the last blocks' worth of work",
        WindowSize::Round { .. } => "all work since our block before",
    };
    let window = if report.is_full {
        window.to_owned()
    } else {
        format!("{window}, all there is")
    };
    let accounts = text::plural(report.tree.leaves.into(), "account");
    vec![
        ("Block", report.block.to_string().into()),
        ("Height", text::count(report.height.into()).into()),
        ("Chain", report.chain.as_str().into()),
        ("Value", sat(report.value_msat)),
        ("Subsidy", sat(report.subsidy_msat)),
        (
            "Fees",
            format!("{} to the finder", text::sat(report.fees_msat.0)).into(),
        ),
        ("Pool fee", sat(report.pool_fee_msat)),
        ("Treasury", sat(report.treasury_msat)),
        (
            "Miners",
            format!("{} by work", text::sat(report.miners_msat.0)).into(),
        ),
        (
            "Residue",
            format!("{} to the finder", text::sat(report.residue_msat.0)).into(),
        ),
        ("Window", window.into()),
        ("Split among", accounts.into()),
    ]
}

/// The nodes' half of the pool fee.
fn nodes(report: &BlockReport) -> Table {
    let columns = vec![Column::left("NODE"), Column::right("AMOUNT (sat)")];
    let mut table = Table::new(columns, "");
    for part in &report.nodes {
        let amount = text::sat_figure(part.amount_msat.0);
        table.row(vec![part.node.as_str().into(), amount.into()]);
    }
    let reserve = text::sat_figure(report.node_reserve.amount_msat.0);
    table.row(vec![
        "reserve (work through no node)".into(),
        reserve.into(),
    ]);
    table
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| {
        let what = format!("can't write {}", file.display());
        let fix = "name a file in a folder that you can write to".to_owned();
        Failure::key(what, error.to_string(), fix)
    })
}
