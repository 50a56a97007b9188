//! `hhctl ln advice` and `hhctl ln yield`.

use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::{DayYield, Liquidity};
use serde_json::json;

pub(super) async fn advice(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.liquidity(daemon.call()).await;
    let liquidity = daemon.granted(answer)?;
    let view = vec![
        Part::Fields(fields(&liquidity)),
        Part::Table(advice_table(&liquidity)),
    ];
    Ok(Report::item("Liquidity", json!(liquidity), view))
}

fn fields(liquidity: &Liquidity) -> Vec<(&'static str, Cell)> {
    let state = if liquidity.can_send_msat >= liquidity.due_msat {
        Cell::state(State::Ok, "what is due can be sent")
    } else {
        Cell::state(State::Warn, "less can be sent than is due")
    };
    vec![
        ("State", state),
        ("Can send", text::sat(liquidity.can_send_msat).into()),
        ("Can receive", text::sat(liquidity.can_receive_msat).into()),
        ("Due", text::sat(liquidity.due_msat).into()),
        ("On the chain", text::sat(liquidity.on_chain_msat).into()),
    ]
}

fn advice_table(liquidity: &Liquidity) -> Table {
    let columns = vec![
        Column::left("COULD BE DONE"),
        Column::right("AMOUNT (sat)"),
        Column::left("WHY"),
        Column::left("HOW"),
    ];
    let mut table = Table::new(columns, "nothing to do");
    for advice in &liquidity.advice {
        table.row(vec![
            advice.action.as_str().into(),
            text::sat_figure(advice.amount_msat).into(),
            advice.why.as_str().into(),
            advice.command.as_str().into(),
        ]);
    }
    table
}

pub(super) async fn yields(session: &mut Session, days: u32) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.day_yields(daemon.call(), days).await;
    let days = daemon.granted(answer)?;
    let view = vec![Part::Table(days_table(&days))];
    Ok(Report::list("DayYieldList", &days, view))
}

fn days_table(days: &[DayYield]) -> Table {
    let columns = vec![
        Column::left("DAY (UTC)"),
        Column::right("EARNED (sat)"),
        Column::right("ROUTING FEES"),
        Column::right("ON-CHAIN FEES"),
        Column::right("NET"),
        Column::right("PAID OUT"),
    ];
    let mut table = Table::new(columns, "nothing was earned, paid or spent in these days");
    for day in days {
        table.row(vec![
            day.date.as_str().into(),
            text::sat_figure(day.routing_income_msat).into(),
            text::sat_figure(day.routing_fees_msat).into(),
            text::sat_figure(day.onchain_fees_msat).into(),
            text::signed_sat_figure(day.net_msat).into(),
            text::sat_figure(day.paid_msat).into(),
        ]);
    }
    table
}
