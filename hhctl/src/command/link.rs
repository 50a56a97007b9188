//! Connections that a daemon keeps, as rows and cells.

use crate::output::{Cell, Column, State, Table, text};
use hh_ipc::api::{LinkState, LinkStatus, ShareCounts};
use jiff::Timestamp;

/// Up or down, since when, and why.
pub(super) fn cell(link: &LinkStatus, now: Timestamp) -> Cell {
    Cell::state(state(link), words(link, now))
}

/// How a connection is.
pub(super) fn state(link: &LinkStatus) -> State {
    match link.state {
        LinkState::Up => State::Ok,
        LinkState::Connecting => State::Warn,
        LinkState::Down => State::Fail,
    }
}

/// Up or down, and since when.
pub(super) fn words(link: &LinkStatus, now: Timestamp) -> String {
    let age = text::age(now, link.since_at);
    match link.state {
        LinkState::Up => format!("up {age}"),
        LinkState::Connecting => format!("connecting {age}"),
        LinkState::Down => format!("down {age}"),
    }
}

/// One row per connection, each with what it is for.
pub(super) fn table(links: &[(&str, &LinkStatus)], now: Timestamp, when_empty: &str) -> Table {
    let columns = ["CONNECTION", "ADDRESS", "STATE", "LAST ERROR"];
    let mut table = Table::new(columns.map(Column::left).to_vec(), when_empty);
    for (purpose, link) in links {
        table.row(vec![
            (*purpose).into(),
            link.address.as_str().into(),
            cell(link, now),
            link.last_error.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

/// `1,234 accepted, 2 rejected (0.16%): 2 stale-share`.
pub(super) fn shares(shares: &ShareCounts) -> String {
    let rejected = shares.rejected_total();
    let accepted = text::count(shares.accepted);
    if rejected == 0 {
        return format!("{accepted} accepted, 0 rejected");
    }
    let reasons: Vec<String> = shares
        .rejected
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{} {reason}", text::count(*count)))
        .collect();
    format!(
        "{accepted} accepted, {} rejected ({}): {}",
        text::count(rejected),
        text::percent(rejected, shares.accepted + rejected),
        reasons.join(", ")
    )
}
