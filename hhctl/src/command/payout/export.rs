//! Payouts as CSV (RFC 4180), for accounting.

use super::query;
use crate::cli::PayoutFilter;
use crate::failure::Failure;
use crate::output::{Part, Report};
use crate::session::Session;
use hh_ipc::api::treasury::Payout;

/// Payouts of an answer; hh-treasury gives no more.
const PAGE: u32 = 500;

/// Payouts of an export: ten years of a thousand miners who are paid each month, ten times over.
const PAYOUTS_MAX: usize = 1_000_000;

const HEADER: &str = "id,payee,amount_msat,fee_msat,state,destination,created_at,settled_at,latency_seconds,payment_hash,preimage,reason";

pub(super) async fn export(
    session: &mut Session,
    filter: &PayoutFilter,
) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let mut payouts: Vec<Payout> = Vec::new();
    let mut before = None;
    loop {
        let answer = daemon
            .client
            .payouts(daemon.call(), query(filter, before, PAGE));
        let page = daemon.granted(answer.await)?;
        payouts.extend(page.payouts);
        if payouts.len() > PAYOUTS_MAX {
            return Err(Failure::too_much(PAYOUTS_MAX));
        }
        // Older and older ones: one that names no older one is the end.
        before = match page.next_before {
            Some(next) if before.is_none_or(|before| next < before) => Some(next),
            _ => break,
        };
    }
    payouts.reverse();
    let rows = payouts.iter().map(row);
    let csv: Vec<String> = std::iter::once(HEADER.to_owned()).chain(rows).collect();
    let view = vec![Part::Note(csv.join("\n"))];
    Ok(Report::list("PayoutList", &payouts, view))
}

fn row(payout: &Payout) -> String {
    let number = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    // As in JSON.
    let state = serde_json::to_value(payout.state);
    let state = state
        .ok()
        .and_then(|state| Some(state.as_str()?.to_owned()));
    let settled = payout.settled_at.map(|at| at.to_string());
    let latency = payout
        .latency_seconds
        .map(|seconds| format!("{seconds:.3}"));
    let cells = [
        payout.id.to_string(),
        payout.payee.clone(),
        payout.amount_msat.to_string(),
        number(payout.fee_msat),
        state.unwrap_or_default(),
        payout.destination.clone(),
        payout.created_at.to_string(),
        settled.unwrap_or_default(),
        latency.unwrap_or_default(),
        text(&payout.payment_hash),
        text(&payout.preimage),
        text(&payout.reason),
    ];
    cells.map(|cell| csv_cell(&cell)).join(",")
}

/// Quoted where that is needed. What a spreadsheet would take for a formula is made a text: strangers named some of it.
fn csv_cell(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@']) {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    // A line break would end the row for who reads line by line.
    let text = text.replace(['\r', '\n'], " ");
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_keep_their_row_and_are_no_formula() {
        for (text, expected) in [
            ("miner:alice", "miner:alice"),
            ("no route, retried", "\"no route, retried\""),
            ("he said \"no\"", "\"he said \"\"no\"\"\""),
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("two\nlines", "two lines"),
            ("", ""),
        ] {
            assert_eq!(csv_cell(text), expected);
        }
    }
}
