//! `hhctl treasury utxo`.

use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::{ImmatureCoinbase, OnChain, WalletOutput};
use serde_json::json;

pub(super) async fn report(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.on_chain(daemon.call()).await;
    let on_chain = daemon.granted(answer)?;
    let mut view = Vec::new();
    match &on_chain.no_list_because {
        None => view.push(Part::Table(outputs(&on_chain.outputs))),
        Some(why) => view.push(Part::Note(format!(
            "this wallet can't list its outputs: {why}. Below are their sums, and the coinbases that hh-treasury follows"
        ))),
    }
    if !on_chain.immature.is_empty() {
        view.push(Part::Table(immature(&on_chain.immature)));
    }
    view.push(Part::Fields(sums(&on_chain)));
    Ok(Report::item("OnChain", json!(on_chain), view))
}

fn outputs(outputs: &[WalletOutput]) -> Table {
    let columns = vec![
        Column::left("OUTPUT"),
        Column::right("AMOUNT (sat)"),
        Column::right("CONFIRMATIONS"),
        Column::left("STATE"),
        Column::left("ADDRESS"),
    ];
    let mut table = Table::new(columns, "the wallet has nothing on the chain");
    for output in outputs {
        table.row(vec![
            output.outpoint.as_str().into(),
            text::count(output.amount_sat).into(),
            text::count(output.confirmations.into()).into(),
            state(output),
            output.address.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

fn state(output: &WalletOutput) -> Cell {
    if output.is_immature {
        Cell::state(State::Unknown, "immature")
    } else if output.is_reserved {
        Cell::state(State::Warn, "reserved")
    } else if output.height.is_none() {
        Cell::state(State::Unknown, "unconfirmed")
    } else {
        Cell::state(State::Ok, "spendable")
    }
}

fn immature(coinbases: &[ImmatureCoinbase]) -> Table {
    let columns = vec![
        Column::left("IMMATURE COINBASE"),
        Column::right("HEIGHT"),
        Column::right("AMOUNT (sat)"),
        Column::right("SPENDABLE FROM"),
    ];
    let mut table = Table::new(columns, "");
    for coinbase in coinbases {
        table.row(vec![
            coinbase.block.as_str().into(),
            coinbase.height.to_string().into(),
            text::count(coinbase.amount_sat).into(),
            coinbase.mature_at_height.to_string().into(),
        ]);
    }
    table
}

fn sums(on_chain: &OnChain) -> Vec<(&'static str, Cell)> {
    let balances = &on_chain.balances;
    vec![
        (
            "Spendable",
            text::sat(balances.on_chain_spendable_msat).into(),
        ),
        (
            "Not yet",
            format!(
                "{}, in no block or not mature",
                text::sat(
                    balances
                        .on_chain_unconfirmed_msat
                        .saturating_add(balances.on_chain_immature_msat)
                )
            )
            .into(),
        ),
        (
            "Anchor reserve",
            text::sat(balances.anchor_reserve_msat).into(),
        ),
        (
            "May be withdrawn",
            format!(
                "{}, less the fee: `hhctl treasury withdraw`",
                super::withdrawal::sat(on_chain.free_sat)
            )
            .into(),
        ),
    ]
}
