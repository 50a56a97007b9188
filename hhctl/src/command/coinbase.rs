//! `hhctl pool coinbase`.

use crate::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{CoinbaseDetail, CoinbaseOutput, ScriptSigPart};
use serde_json::json;

pub(super) async fn show(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.coinbase(daemon.call()).await;
    let coinbase = daemon.granted(answer)?;
    let view = vec![
        Part::Fields(fields(&coinbase)),
        Part::Table(script_sig(&coinbase)),
        Part::Table(outputs(&coinbase.outputs)),
    ];
    let mut report = Report::item("Coinbase", json!(coinbase), view);
    if !is_whole(&coinbase) {
        report.exit = Exit::Degraded;
    }
    Ok(report)
}

/// The outputs pay all that the template allows, and no more.
fn is_whole(coinbase: &CoinbaseDetail) -> bool {
    coinbase.value_sat == coinbase.template_value_sat
}

fn fields(coinbase: &CoinbaseDetail) -> Vec<(&'static str, Cell)> {
    let value = text::bitcoin(coinbase.value_sat);
    let value = if is_whole(coinbase) {
        Cell::state(State::Ok, format!("{value}, all that the template allows"))
    } else {
        let allowed = text::bitcoin(coinbase.template_value_sat);
        Cell::state(
            State::Fail,
            format!("{value}; the template allows {allowed}"),
        )
    };
    vec![
        ("Job", coinbase.job_id.to_string().into()),
        ("Template", coinbase.template_id.to_string().into()),
        ("Height", coinbase.height.to_string().into()),
        ("Value", value),
        (
            "Weight",
            format!("{} weight units", text::count(coinbase.weight_wu)).into(),
        ),
        ("Extranonce", extranonce(coinbase).into()),
        ("Prefix", coinbase.prefix_hex.as_str().into()),
        ("Suffix", coinbase.suffix_hex.as_str().into()),
        ("Version", coinbase.version.to_string().into()),
        ("Sequence", format!("{:08x}", coinbase.sequence).into()),
        ("Locktime", coinbase.locktime.to_string().into()),
    ]
}

fn extranonce(coinbase: &CoinbaseDetail) -> String {
    let layout = &coinbase.extranonce;
    format!(
        "{} bytes at {}: server id {:04x} ({} bytes), channel ({}), miner ({})",
        layout.size_bytes,
        layout.offset_bytes,
        layout.server_id,
        layout.server_id_bytes,
        layout.channel_bytes,
        layout.miner_bytes
    )
}

fn script_sig(coinbase: &CoinbaseDetail) -> Table {
    let columns = vec![
        Column::left("SCRIPTSIG"),
        Column::left("TEXT"),
        Column::left("HEX"),
    ];
    let mut table = Table::new(columns, "the scriptSig is empty");
    for part in &coinbase.script_sig {
        let ScriptSigPart { part, hex, text } = part;
        table.row(vec![
            part.as_str().into(),
            text.as_deref().unwrap_or("-").into(),
            or_dash(hex).into(),
        ]);
    }
    let total = format!("{} of 100 bytes", coinbase.script_sig_bytes);
    table.row(vec!["all".into(), total.into(), "-".into()]);
    table
}

fn outputs(outputs: &[CoinbaseOutput]) -> Table {
    let columns = vec![
        Column::right("VALUE (sat)"),
        Column::left("OF"),
        Column::left("TYPE"),
        Column::left("ADDRESS"),
        Column::left("OUTPUT SCRIPT"),
    ];
    let mut table = Table::new(columns, "no outputs");
    for output in outputs {
        let of = if output.of_pool { "pool" } else { "template" };
        table.row(vec![
            text::count(output.value_sat).into(),
            of.into(),
            output.kind.as_str().into(),
            output.address.as_deref().unwrap_or("-").into(),
            output.script_hex.as_str().into(),
        ]);
    }
    table
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
