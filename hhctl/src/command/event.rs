//! `hhctl event`: the journals of what operators changed.

use super::answers::{Answers, tell_missing};
use crate::Exit;
use crate::cli::{JournalKeeper, VerifyArgs};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::{Connected, Session};
use hh_ipc::api::node_agent::NodeAgentClient;
use hh_ipc::api::pool::PoolClient;
use hh_ipc::api::translator::TranslatorClient;
use hh_ipc::api::treasury::TreasuryClient;
use hh_ipc::api::{JournalPage, JournalQuery};
use hh_trust::{Chain, Entry, Event, Head};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
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

/// A connection to a daemon that keeps a journal.
enum Keeper {
    Pool(Connected<PoolClient>),
    Translator(Connected<TranslatorClient>),
    Treasury(Connected<TreasuryClient>),
    NodeAgent(Connected<NodeAgentClient>),
}

impl Keeper {
    async fn connect(session: &mut Session, keeper: JournalKeeper) -> Result<Self, Failure> {
        Ok(match keeper {
            JournalKeeper::Pool => Self::Pool(session.pool().await?),
            JournalKeeper::Translator => Self::Translator(session.translator().await?),
            JournalKeeper::Treasury => Self::Treasury(session.treasury().await?),
            JournalKeeper::NodeAgent => Self::NodeAgent(session.node_agent().await?),
        })
    }

    async fn page(&self, after_seq: u64) -> Result<JournalPage, Failure> {
        let query = JournalQuery {
            after_seq,
            limit: 0,
        };
        match self {
            Self::Pool(daemon) => {
                let answer = daemon.client.journal(daemon.call(), query).await;
                daemon.granted(answer)
            }
            Self::Translator(daemon) => {
                let answer = daemon.client.journal(daemon.call(), query).await;
                daemon.granted(answer)
            }
            Self::Treasury(daemon) => {
                let answer = daemon.client.journal(daemon.call(), query).await;
                daemon.granted(answer)
            }
            Self::NodeAgent(daemon) => {
                let answer = daemon.client.journal(daemon.call(), query).await;
                daemon.granted(answer)
            }
        }
    }

    /// The last lines, in which there are so many changes, if there ever were.
    async fn last_lines(&self, changes: u32) -> Result<Vec<String>, Failure> {
        let last_seq = self.page(u64::MAX).await?.last_seq;
        // An outcome for each intent; those of changes that were made at once lie between others.
        let mut after_seq = last_seq.saturating_sub(2 * u64::from(changes) + 10);
        let mut lines = Vec::new();
        loop {
            let mut page = self.page(after_seq).await?;
            if page.lines.is_empty() {
                return Ok(lines);
            }
            after_seq += page.lines.len() as u64;
            lines.append(&mut page.lines);
        }
    }
}

/// Those that are meant: one, or all.
fn keepers(only: Option<JournalKeeper>) -> Vec<JournalKeeper> {
    only.map_or_else(|| JournalKeeper::ALL.to_vec(), |one| vec![one])
}

pub(super) async fn list(
    session: &mut Session,
    limit: u32,
    only: Option<JournalKeeper>,
) -> Result<Report, Failure> {
    let mut answers = Answers::none();
    for keeper in keepers(only) {
        let lines = match Keeper::connect(session, keeper).await {
            Ok(journal) => journal.last_lines(limit).await,
            Err(failure) => Err(failure),
        };
        answers.add(keeper.daemon(), lines);
    }
    let answers = answers.or_failure()?;
    let lines = answers.given.iter();
    let mut changes: Vec<Change> = lines.flat_map(|(_, lines)| changes(lines)).collect();
    changes.sort_by_key(|change| std::cmp::Reverse((change.at, change.seq)));
    changes.truncate(limit as usize);
    let view = vec![Part::Table(table(&changes, session.now()))];
    let mut report = Report::list("ChangeList", &changes, view);
    tell_missing(&mut report, answers.failures);
    Ok(report)
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

/// What a look at all of a journal found.
#[derive(Debug, Serialize)]
struct JournalCheck {
    daemon: &'static str,
    path: String,
    lines: u64,
    is_whole: bool,
    head: String,
    /// At most [`MAX_FAULTS`] of them.
    faults: Vec<String>,
    #[serde(skip)]
    faults_total: usize,
}

pub(super) async fn verify(session: &mut Session, args: &VerifyArgs) -> Result<Report, Failure> {
    let mut answers = Answers::none();
    for keeper in keepers(args.daemon) {
        let check = match Keeper::connect(session, keeper).await {
            Ok(journal) => checked(keeper.daemon().program(), &journal, args.kept).await,
            Err(failure) => Err(failure),
        };
        answers.add(keeper.daemon(), check);
    }
    let answers = answers.or_failure()?;
    let checks: Vec<JournalCheck> = answers.given.into_iter().map(|(_, check)| check).collect();
    let mut report = Report::list("JournalCheckList", &checks, verdict(&checks));
    if checks.iter().any(|check| !check.is_whole) {
        report.exit = Exit::Degraded;
    }
    tell_missing(&mut report, answers.failures);
    Ok(report)
}

async fn checked(
    daemon: &'static str,
    journal: &Keeper,
    kept: Option<Head>,
) -> Result<JournalCheck, Failure> {
    let mut chain = Chain::new();
    let (mut faults, mut found) = (Vec::new(), None);
    let path = loop {
        let page = journal.page(chain.head().seq).await?;
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
    let faults_total = faults.len();
    faults.truncate(MAX_FAULTS);
    let head = chain.head();
    Ok(JournalCheck {
        daemon,
        path,
        lines: head.seq,
        is_whole: faults_total == 0,
        head: head.to_string(),
        faults,
        faults_total,
    })
}

fn verdict(checks: &[JournalCheck]) -> Vec<Part> {
    let columns = vec![
        Column::left("DAEMON"),
        Column::left("STATE"),
        Column::right("LINES"),
        Column::left("JOURNAL"),
        Column::left("LAST LINE"),
    ];
    let mut table = Table::new(columns, "");
    let mut faults = Vec::new();
    for check in checks {
        let state = match check.faults_total {
            0 => Cell::state(State::Ok, "whole"),
            n => Cell::state(
                State::Fail,
                format!("tampered with: {}", text::plural(n as u64, "fault")),
            ),
        };
        table.row(vec![
            check.daemon.into(),
            state,
            text::count(check.lines).into(),
            check.path.as_str().into(),
            check.head.as_str().into(),
        ]);
        let named = check.faults.iter();
        faults.extend(named.map(|fault| format!("{}: {fault}", check.daemon)));
    }
    let mut view = vec![Part::Table(table)];
    if !faults.is_empty() {
        view.push(Part::Note(faults.join("\n")));
    }
    view
}
