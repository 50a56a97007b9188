//! `hhctl audit verify`: all of the log, line by line, and against what was kept of it elsewhere.

use super::export::Export;
use super::{checkpoint, page, signed};
use crate::Exit;
use crate::cli::AuditVerifyArgs;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::{Connected, Session};
use hh_ipc::api::core::{AuditWitness, CoreClient};
use hh_trust::audit::{AuditFault, AuditReport, AuditVerifier, Checkpoint};
use hh_trust::control_key::CheckpointPublicKey;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// Faults that are listed; after that many a log is not mended line by line.
const FAULTS_MAX: usize = 20;

/// What was found, and beside what.
#[derive(Debug, Default)]
struct Check {
    report: AuditReport,
    /// By whom the checkpoint is signed.
    key: Option<CheckpointPublicKey>,
    /// What is wrong beside the lines.
    more: Vec<String>,
    /// Asked for, perhaps none.
    witnesses: Option<Vec<AuditWitness>>,
}

pub(super) async fn verify(
    session: &mut Session,
    args: &AuditVerifyArgs,
) -> Result<Report, Failure> {
    let daemon = session.core().await?;
    let mut check = Check::default();
    let mut kept = Vec::new();
    if let Some(named) = &args.key {
        let shown = checkpoint(&daemon).await?;
        check.take(&shown, Some(named), &mut kept);
    }
    if args.witness {
        let answer = daemon.client.audit_witnesses(daemon.call()).await;
        let witnesses = daemon.granted(answer)?.witnesses;
        kept.extend(witnesses.iter().filter_map(head));
        check.witnesses = Some(witnesses);
    }
    check.report = read(&daemon, &kept).await?;
    Ok(check.report(session.now()))
}

/// All of it, from core, against checkpoints that were there before.
async fn read(daemon: &Connected<CoreClient>, kept: &[Checkpoint]) -> Result<AuditReport, Failure> {
    let mut verifier = AuditVerifier::new(kept);
    let mut after_seq = 0;
    loop {
        let page = page(daemon, after_seq, 0).await?;
        if page.lines.is_empty() {
            return Ok(verifier.finish());
        }
        for line in &page.lines {
            verifier.line(line);
            after_seq += 1;
        }
    }
}

/// A file of `hhctl audit export`.
pub(super) fn file(path: &Path, key: Option<&CheckpointPublicKey>) -> Result<Report, Failure> {
    let failed = |error: io::Error| {
        let what = format!("can't read the audit log in {}", path.display());
        let fix = "name a file of `hhctl audit export`";
        Failure::audit(what, error.to_string(), fix)
    };
    let (count, end) = end_of(path).map_err(failed)?;
    let mut check = Check::default();
    let mut kept = Vec::new();
    match &end {
        Some(end) => check.take(end, key, &mut kept),
        None => check
            .more
            .extend(key.map(|_| "there is no checkpoint at the end of the file".to_owned())),
    }
    let mut verifier = AuditVerifier::new(&kept);
    // The checkpoint is known by its place: anywhere else it is a line like any other.
    let count = count - usize::from(end.is_some());
    let lines = BufReader::new(File::open(path).map_err(failed)?).lines();
    for line in lines.take(count) {
        verifier.line(&line.map_err(failed)?);
    }
    check.report = verifier.finish();
    let lines = check.report.lines;
    let beyond = kept.iter().find(|signed| signed.size < lines);
    check.more.extend(beyond.map(|signed| {
        format!(
            "the checkpoint is over {} lines, and there are {lines}: the last ones are not signed",
            signed.size
        )
    }));
    Ok(check.report_of_file())
}

/// How many lines a file has, and the last one, if that is a checkpoint.
fn end_of(path: &Path) -> io::Result<(usize, Option<Export>)> {
    let (mut count, mut last) = (0, None);
    for line in BufReader::new(File::open(path)?).lines() {
        (count, last) = (count + 1, Some(line?));
    }
    let end = last.and_then(|line| serde_json::from_str(&line).ok());
    Ok((count, end))
}

/// What a node has seen, as a checkpoint; none if it has seen nothing, or says nothing that is one.
fn head(witness: &AuditWitness) -> Option<Checkpoint> {
    let root = witness.root.as_ref()?.parse().ok()?;
    let size = witness.lines;
    (size > 0).then_some(Checkpoint { size, root })
}

impl Check {
    /// Takes a checkpoint that comes with the log.
    fn take(
        &mut self,
        shown: &Export,
        named: Option<&CheckpointPublicKey>,
        kept: &mut Vec<Checkpoint>,
    ) {
        match signed(shown, named) {
            Ok((checkpoint, key)) => {
                kept.push(checkpoint);
                self.key = Some(key);
            }
            Err(why) => self
                .more
                .push(format!("the checkpoint proves nothing: {why}")),
        }
    }

    fn report(&self, now: Timestamp) -> Report {
        let mut report = self.made(self.key.map(|key| ("Signed by", key.to_string().into())));
        if let Some(witnesses) = &self.witnesses {
            let states: Vec<_> = witnesses.iter().map(|one| self.state(one)).collect();
            let table = table(witnesses, &states, now);
            report.view.insert(1, Part::Table(table));
            let agree = states.iter().map(|(state, _)| *state == State::Ok);
            let json = witnesses.iter().zip(agree).map(|(witness, agrees)| {
                json!({
                    "node": witness.node,
                    "lines": witness.lines,
                    "root": witness.root,
                    "said_at": witness.said_at,
                    "fault": witness.fault,
                    "agrees": agrees,
                })
            });
            report.add("witnesses", json.collect::<Value>());
        }
        report
    }

    fn report_of_file(&self) -> Report {
        let signed = match self.key {
            Some(key) => format!("{key}; compare it with `hhctl pki status`").into(),
            None => Cell::state(State::Warn, "nobody"),
        };
        self.made(Some(("Signed by", signed)))
    }

    fn faults(&self) -> Vec<String> {
        let lines = self.report.faults.iter().map(ToString::to_string);
        let told = self.witnesses.iter().flatten().filter_map(|witness| {
            let fault = witness.fault.as_ref()?;
            Some(format!("{} says: {fault}", witness.node))
        });
        lines.chain(self.more.iter().cloned()).chain(told).collect()
    }

    fn made(&self, signed: Option<(&'static str, Cell)>) -> Report {
        let found = &self.report;
        let mut faults = self.faults();
        let state = match faults.len() as u64 {
            0 => Cell::state(State::Ok, "whole"),
            count => {
                let count = text::plural(count, "fault");
                Cell::state(State::Fail, format!("tampered with: {count}"))
            }
        };
        let mut fields = vec![
            ("Audit log", state),
            ("Lines", text::count(found.lines).into()),
            ("Under way", text::count(found.open.len() as u64).into()),
        ];
        fields.extend(signed);
        let is_whole = faults.is_empty();
        faults.truncate(FAULTS_MAX);
        let mut view = vec![Part::Fields(fields)];
        if !is_whole {
            view.push(Part::Note(faults.join("\n")));
        }
        let json = json!({
            "is_whole": is_whole,
            "lines": found.lines,
            "under_way": found.open,
            "checkpoints": found.checkpoints,
            "signed_by": self.key,
            "faults": faults,
        });
        let mut report = Report::item("AuditCheck", json, view);
        if !is_whole {
            report.exit = Exit::Degraded;
        }
        report
    }

    /// Whether the log is the one that a node has seen.
    fn state(&self, witness: &AuditWitness) -> (State, &'static str) {
        let differing = self.report.faults.iter().filter_map(|fault| match fault {
            AuditFault::Checkpoint { size } | AuditFault::Truncated { size, .. } => Some(*size),
            AuditFault::Malformed { .. }
            | AuditFault::Number { .. }
            | AuditFault::Broken { .. }
            | AuditFault::Outcome { .. } => None,
        });
        let differing: BTreeSet<u64> = differing.collect();
        match (head(witness), &witness.fault) {
            (_, Some(_)) => (State::Fail, "has refused another one"),
            (None, None) => (State::Unknown, "has seen nothing yet"),
            (Some(seen), None) if differing.contains(&seen.size) => {
                (State::Fail, "has seen another one")
            }
            (Some(_), None) => (State::Ok, "has seen the same"),
        }
    }
}

fn table(witnesses: &[AuditWitness], states: &[(State, &'static str)], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("NODE"),
        Column::right("LINES"),
        Column::left("SAID"),
        Column::left("AUDIT LOG"),
    ];
    let when_empty = "no node has seen a checkpoint of the log; `hhctl pki status` shows whether core has a key for them";
    let mut table = Table::new(columns, when_empty);
    for (witness, (state, word)) in witnesses.iter().zip(states) {
        table.row(vec![
            witness.node.as_str().into(),
            text::count(witness.lines).into(),
            text::ago(now, Some(witness.said_at)).into(),
            Cell::state(*state, *word),
        ]);
    }
    table
}
