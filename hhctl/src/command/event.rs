//! `hhctl event`: the journals of what operators changed.

use crate::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::{Connected, Session};
use hh_ipc::api::pool::PoolClient;
use hh_ipc::api::{JournalPage, JournalQuery};
use hh_trust::{Chain, Entry, Event, Head};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Faults that are listed; after that many a journal is not mended line by line.
const MAX_FAULTS: usize = 20;

/// An intent with what came of it.
#[derive(Debug, Serialize)]
struct Change {
    seq: u64,
    at: Timestamp,
    daemon: String,
    uid: u32,
    user: Option<String>,
    pid: Option<i32>,
    call: String,
    arguments: Value,
    outcome: Outcome,
    /// Why it was refused.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Made,
    Refused,
    /// The daemon ended, or the operator hung up, before it was known.
    Unknown,
}

pub(super) async fn list(session: &mut Session, limit: u32) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let last_seq = page(&daemon, u64::MAX).await?.last_seq;
    // An outcome for each intent; those of changes that were made at once lie between others.
    let mut after_seq = last_seq.saturating_sub(2 * u64::from(limit) + 10);
    let mut lines = Vec::new();
    loop {
        let mut page = page(&daemon, after_seq).await?;
        if page.lines.is_empty() {
            break;
        }
        after_seq += page.lines.len() as u64;
        lines.append(&mut page.lines);
    }
    let mut changes = changes(&lines);
    changes.reverse();
    changes.truncate(limit as usize);
    let view = vec![Part::Table(table(&changes, session.now()))];
    Ok(Report::list("ChangeList", &changes, view))
}

async fn page(daemon: &Connected<PoolClient>, after_seq: u64) -> Result<JournalPage, Failure> {
    let query = JournalQuery {
        after_seq,
        limit: 0,
    };
    let answer = daemon.client.journal(daemon.call(), query).await;
    daemon.granted(answer)
}

/// The intents of these lines, oldest first. A line that is no entry is what `event verify` is for.
fn changes(lines: &[String]) -> Vec<Change> {
    let entries: Vec<Entry> = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let outcomes: BTreeMap<u64, Option<&String>> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Outcome { of, refused } => Some((*of, refused.as_ref())),
            Event::Intent { .. } => None,
        })
        .collect();
    let change = |entry: &Entry| {
        let Event::Intent {
            uid,
            user,
            pid,
            call,
            arguments,
        } = entry.event.clone()
        else {
            return None;
        };
        let (outcome, reason) = match outcomes.get(&entry.seq) {
            Some(None) => (Outcome::Made, None),
            Some(Some(reason)) => (Outcome::Refused, Some((*reason).clone())),
            None => (Outcome::Unknown, None),
        };
        Some(Change {
            seq: entry.seq,
            at: entry.at,
            daemon: entry.daemon.clone(),
            uid,
            user,
            pid,
            call,
            arguments,
            outcome,
            reason,
        })
    };
    entries.iter().filter_map(change).collect()
}

fn table(changes: &[Change], now: Timestamp) -> Table {
    let columns = vec![
        Column::right("LINE"),
        Column::left("WHEN"),
        Column::left("DAEMON"),
        Column::left("USER"),
        Column::left("CALL"),
        Column::left("ARGUMENTS"),
        Column::left("OUTCOME"),
    ];
    let when_empty = "no operator has changed anything yet";
    let mut table = Table::new(columns, when_empty);
    for change in changes {
        let user = change.user.clone();
        table.row(vec![
            change.seq.to_string().into(),
            text::ago(now, Some(change.at)).into(),
            change.daemon.as_str().into(),
            user.unwrap_or_else(|| format!("uid {}", change.uid)).into(),
            change.call.as_str().into(),
            change.arguments.to_string().into(),
            outcome(change),
        ]);
    }
    table
}

fn outcome(change: &Change) -> Cell {
    match (change.outcome, &change.reason) {
        (Outcome::Made, _) => Cell::state(State::Ok, "made"),
        (Outcome::Refused, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            Cell::state(State::Warn, format!("refused: {reason}"))
        }
        (Outcome::Unknown, _) => Cell::state(State::Unknown, "unknown"),
    }
}

pub(super) async fn verify(session: &mut Session, kept: Option<Head>) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let mut chain = Chain::new();
    let (mut faults, mut found) = (Vec::new(), None);
    let path = loop {
        let page = page(&daemon, chain.head().seq).await?;
        if page.lines.is_empty() {
            break page.path;
        }
        for line in &page.lines {
            if let Err(fault) = chain.follow(line) {
                faults.push(fault.to_string());
            }
            if kept.is_some_and(|kept| kept.seq == chain.head().seq) {
                found = Some(chain.head());
            }
        }
    };
    if let Some(kept) = kept.filter(|kept| found != Some(*kept)) {
        faults.push(match found {
            Some(_) => format!("line {} is not the one that was kept", kept.seq),
            None => format!("line {} was kept, and is gone", kept.seq),
        });
    }
    Ok(verdict(&path, chain.head(), faults))
}

fn verdict(path: &str, head: Head, mut faults: Vec<String>) -> Report {
    let state = match faults.len() {
        0 => Cell::state(State::Ok, "whole"),
        n => Cell::state(
            State::Fail,
            format!("tampered with: {}", text::plural(n as u64, "fault")),
        ),
    };
    let is_whole = faults.is_empty();
    faults.truncate(MAX_FAULTS);
    let fields = vec![
        ("Journal", path.into()),
        ("Lines", text::count(head.seq).into()),
        ("State", state),
        ("Last line", head.to_string().into()),
    ];
    let mut view = vec![Part::Fields(fields)];
    if !is_whole {
        view.push(Part::Note(faults.join("\n")));
    }
    let item = json!({
        "path": path,
        "lines": head.seq,
        "is_whole": is_whole,
        "head": head.to_string(),
        "faults": faults,
    });
    let mut report = Report::item("JournalCheck", item, view);
    if !is_whole {
        report.exit = Exit::Degraded;
    }
    report
}
