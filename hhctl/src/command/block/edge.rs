//! The shares of the edge of a block's window, as hh-treasury keeps them, held against the hash in the signed report.

use crate::failure::Failure;
use crate::output::{Cell, State, text};
use crate::session::Connected;
use hh_ipc::api::treasury::{EdgePageQuery, TreasuryClient};
use hh_mining::{BlockReport, EdgeRow};

/// What is known of an edge.
pub(super) enum Edge {
    /// All of its shares, newest first; none where no minute was counted share by share.
    Proven(Vec<EdgeRow>),
    /// The treasury has only the hash of them.
    NotKept,
}

/// The shares of a report's edge, which are those that it was made from.
///
/// # Errors
/// They are others, or can't be had.
pub(super) async fn fetch(
    daemon: &Connected<TreasuryClient>,
    report: &BlockReport,
) -> Result<Edge, Failure> {
    let hash = report.block.to_string();
    let failure = |why: String| Failure::report(&hash, why);
    let expected = report.edge.rows as usize;
    let (mut rows, mut cursor) = (Vec::new(), None);
    while rows.len() < expected {
        let query = EdgePageQuery {
            hash: hash.clone(),
            cursor,
        };
        let answer = daemon.client.edge_page(daemon.call(), query).await;
        let page = daemon.granted(answer)?;
        if !page.is_kept {
            return Ok(Edge::NotKept);
        }
        for line in &page.lines {
            let row = EdgeRow::parse(line.as_bytes());
            rows.push(row.map_err(|error| failure(error.to_string()))?);
        }
        cursor = page.next;
        if cursor.is_none() || page.lines.is_empty() {
            break;
        }
    }
    let checked = report.check_edge(&rows);
    checked.map_err(|error| failure(error.to_string()))?;
    Ok(Edge::Proven(rows))
}

impl Edge {
    /// How many were held against the report; none where that could not be done.
    pub(super) fn shares(&self) -> Option<usize> {
        match self {
            Self::Proven(rows) => Some(rows.len()),
            Self::NotKept => None,
        }
    }

    /// What there is to say of it.
    pub(super) fn cell(&self) -> Cell {
        match self {
            Self::Proven(rows) if rows.is_empty() => {
                Cell::state(State::Ok, "none: no minute was counted share by share")
            }
            Self::Proven(rows) => {
                let shares = text::plural(rows.len() as u64, "share");
                Cell::state(State::Ok, format!("{shares}, those that it was made from"))
            }
            Self::NotKept => Cell::state(
                State::Unknown,
                "the treasury has only the hash of its shares",
            ),
        }
    }

    /// A line for each share, as the reference defines them; none where there is none.
    pub(super) fn to_lines(&self) -> Option<String> {
        let Self::Proven(rows) = self else {
            return None;
        };
        let lines = rows.iter().map(|row| {
            let line = row.to_json();
            format!("{}\n", String::from_utf8_lossy(&line))
        });
        (!rows.is_empty()).then(|| lines.collect())
    }
}
