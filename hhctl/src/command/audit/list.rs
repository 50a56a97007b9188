//! `hhctl audit list`: who asked for what, and what came of it.

use super::page;
use crate::cli::AuditListArgs;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::{Connected, Session};
use hh_ipc::api::core::CoreClient;
use hh_trust::audit::{
    Actor, AuditEntry, AuditEvent, AuditOutcome, Detail, JournalSource, OperationId,
};
use hh_trust::{Entry, Event};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// Lines that are looked through, from the newest on: a filter that fits nothing ends somewhere. Narrower ones are for a file of
/// `hhctl audit export`.
const LINES_MAX: u64 = 100_000;

/// Lines of a page, as core gives them.
const PAGE_LINES: u64 = 200;

/// Something that was asked for.
#[derive(Debug, Serialize)]
struct Act {
    seq: u64,
    at: Timestamp,
    /// Where it was asked for: hyperhash-core, or the daemon whose journal was taken in.
    daemon: String,
    actor: String,
    via: Option<String>,
    source: Option<String>,
    action: String,
    target: Option<String>,
    operation: Option<OperationId>,
    outcome: Outcome,
    /// One word for a machine where it was not done; a sentence of another daemon.
    code: Option<String>,
    detail: Detail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Done,
    Refused,
    Failed,
    /// It is under way, or whoever did it ended before it was known.
    Unknown,
    /// Nobody asked: a journal of a daemon is not what it was.
    Fault,
}

/// What came of things whose beginning is further back, by what they are called.
#[derive(Debug, Default)]
struct Outcomes {
    operations: BTreeMap<OperationId, (Outcome, Option<String>)>,
    /// Of lines of journals.
    changes: BTreeMap<(JournalSource, u64), (Outcome, Option<String>)>,
}

pub(super) async fn list(session: &mut Session, args: &AuditListArgs) -> Result<Report, Failure> {
    let daemon = session.core().await?;
    let now = session.now();
    let since = args.since.map(|since| since.at(now));
    let newest = page(&daemon, u64::MAX, 1).await?.last_seq;
    let oldest = newest.saturating_sub(LINES_MAX);
    let (mut acts, mut outcomes) = (Vec::new(), Outcomes::default());
    let mut end = newest;
    let mut is_done = false;
    while end > oldest && !is_done {
        let begin = end.saturating_sub(PAGE_LINES).max(oldest);
        for line in between(&daemon, begin, end).await?.iter().rev() {
            // A line that is no entry is what `audit verify` is for.
            let Ok(entry) = serde_json::from_str::<AuditEntry>(line) else {
                continue;
            };
            if since.is_some_and(|since| entry.at < since) {
                is_done = true;
                break;
            }
            acts.extend(outcomes.act(entry).filter(|act| is_asked_for(act, args)));
            if acts.len() >= args.limit as usize {
                is_done = true;
                break;
            }
        }
        end = begin;
    }
    let mut view = vec![Part::Table(table(&acts, now))];
    if !is_done && oldest > 0 {
        let looked = text::count(newest - oldest);
        view.push(Part::Note(format!(
            "only the last {looked} lines were looked through; `hhctl audit export` writes all of them"
        )));
    }
    Ok(Report::list("AuditList", &acts, view))
}

/// The lines after one up to another; core may give them in several pages.
async fn between(
    daemon: &Connected<CoreClient>,
    begin: u64,
    end: u64,
) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    let mut after = begin;
    while after < end {
        let limit = u32::try_from(end - after).unwrap_or(u32::MAX);
        let page = page(daemon, after, limit).await?;
        if page.lines.is_empty() {
            break;
        }
        after += page.lines.len() as u64;
        lines.extend(page.lines);
    }
    Ok(lines)
}

fn is_asked_for(act: &Act, args: &AuditListArgs) -> bool {
    let has = |text: &str, wanted: Option<&str>| wanted.is_none_or(|wanted| text.contains(wanted));
    let (target, wanted) = (
        act.target.as_deref().unwrap_or_default(),
        args.target.as_deref(),
    );
    has(&act.actor, args.actor.as_deref()) && (has(target, wanted) || has(&act.daemon, wanted))
}

impl Outcomes {
    /// What a line begins; none if it ends something, which is kept. Lines come newest first.
    fn act(&mut self, entry: AuditEntry) -> Option<Act> {
        let (seq, at) = (entry.seq, entry.at);
        match entry.event {
            AuditEvent::Intent {
                op,
                actor,
                via,
                source,
                action,
                target,
                request: _,
                detail,
            } => {
                let (outcome, code) = self.operations.remove(&op).unwrap_or(OPEN);
                Some(Act {
                    seq,
                    at,
                    daemon: "hyperhash-core".to_owned(),
                    actor: name(&actor),
                    via: Some(via),
                    source,
                    action,
                    target,
                    operation: Some(op),
                    outcome,
                    code,
                    detail,
                })
            }
            AuditEvent::Outcome {
                op, outcome, code, ..
            } => {
                let outcome = match outcome {
                    AuditOutcome::Done => Outcome::Done,
                    AuditOutcome::Refused => Outcome::Refused,
                    AuditOutcome::Failed => Outcome::Failed,
                    AuditOutcome::Unknown => Outcome::Unknown,
                };
                self.operations.insert(op, (outcome, code));
                None
            }
            AuditEvent::Journal { source, line } => self.change(seq, source, &line),
            AuditEvent::JournalFault { source, fault } => Some(Act {
                outcome: Outcome::Fault,
                code: Some(fault),
                ..taken_in(seq, at, &source, "journal.fault".to_owned())
            }),
        }
    }

    /// The same of a line of another daemon's journal. One that is no entry is a fault of the line after it.
    fn change(&mut self, seq: u64, source: JournalSource, line: &str) -> Option<Act> {
        let entry: Entry = serde_json::from_str(line).ok()?;
        match entry.event {
            Event::Intent {
                uid,
                user,
                pid: _,
                call,
                arguments,
            } => {
                let known = (source, entry.seq);
                let (outcome, code) = self.changes.remove(&known).unwrap_or(OPEN);
                let actor =
                    user.map_or_else(|| format!("local:{uid}"), |user| format!("local:{user}"));
                Some(Act {
                    actor,
                    via: Some("control".to_owned()),
                    target: Some(arguments.to_string()),
                    outcome,
                    code,
                    ..taken_in(seq, entry.at, &known.0, call)
                })
            }
            Event::Outcome { of, refused } => {
                let outcome = match refused {
                    None => Outcome::Done,
                    Some(_) => Outcome::Refused,
                };
                self.changes.insert((source, of), (outcome, refused));
                None
            }
        }
    }
}

/// Nothing is known.
const OPEN: (Outcome, Option<String>) = (Outcome::Unknown, None);

fn taken_in(seq: u64, at: Timestamp, source: &JournalSource, action: String) -> Act {
    let daemon = match &source.node {
        Some(node) => format!("{} of {node}", source.daemon),
        None => source.daemon.clone(),
    };
    Act {
        seq,
        at,
        daemon,
        actor: String::new(),
        via: None,
        source: None,
        action,
        target: None,
        operation: None,
        outcome: Outcome::Unknown,
        code: None,
        detail: Detail::default(),
    }
}

/// Somebody, as he is named elsewhere.
fn name(actor: &Actor) -> String {
    match actor {
        Actor::Operator { name, .. } => name.clone(),
        Actor::Node { node, .. } => format!("node:{node}"),
        Actor::Service { name, .. } => format!("service:{name}"),
        Actor::Local { uid, user } => match user {
            Some(user) => format!("local:{user}"),
            None => format!("local:{uid}"),
        },
        Actor::Core => "core".to_owned(),
        Actor::Unknown => "unknown".to_owned(),
    }
}

fn table(acts: &[Act], now: Timestamp) -> Table {
    let columns = vec![
        Column::right("LINE"),
        Column::left("WHEN"),
        Column::left("DAEMON"),
        Column::left("WHO"),
        Column::left("ACTION"),
        Column::left("TARGET"),
        Column::left("OUTCOME"),
    ];
    let mut table = Table::new(columns, "nothing like that is in the audit log");
    for act in acts {
        table.row(vec![
            act.seq.to_string().into(),
            text::ago(now, Some(act.at)).into(),
            act.daemon.as_str().into(),
            act.actor.as_str().into(),
            act.action.as_str().into(),
            act.target.clone().unwrap_or_default().into(),
            outcome(act),
        ]);
    }
    table
}

fn outcome(act: &Act) -> Cell {
    let (state, word) = match act.outcome {
        Outcome::Done => (State::Ok, "done"),
        Outcome::Refused => (State::Warn, "refused"),
        Outcome::Failed => (State::Fail, "failed"),
        Outcome::Unknown => (State::Unknown, "unknown"),
        Outcome::Fault => (State::Fail, "tampered with"),
    };
    match &act.code {
        Some(code) => Cell::state(state, format!("{word}: {code}")),
        None => Cell::state(state, word),
    }
}
