//! `hhctl audit`: the audit log of core.

use crate::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Part, Report, State, text};
use crate::session::Session;
use hh_ipc::api::core::AuditQuery;
use hh_trust::audit::{AuditReport, AuditVerifier};
use serde_json::json;

/// Faults that are listed; after that many a log is not mended line by line.
const MAX_FAULTS: usize = 20;

pub(super) async fn verify(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.core().await?;
    let mut verifier = AuditVerifier::new([]);
    let mut after_seq = 0;
    loop {
        let query = AuditQuery {
            after_seq,
            limit: 0,
        };
        let answer = daemon.client.audit(daemon.call(), query).await;
        let page = daemon.granted(answer)?;
        if page.lines.is_empty() {
            break;
        }
        for line in &page.lines {
            verifier.line(line);
            after_seq += 1;
        }
    }
    Ok(report(&verifier.finish()))
}

fn report(found: &AuditReport) -> Report {
    let faults = found.faults.iter().take(MAX_FAULTS);
    let faults: Vec<String> = faults.map(ToString::to_string).collect();
    let state = match found.faults.len() as u64 {
        0 => Cell::state(State::Ok, "whole"),
        count => {
            let count = text::plural(count, "fault");
            Cell::state(State::Fail, format!("tampered with: {count}"))
        }
    };
    let fields = vec![
        ("Audit log", state),
        ("Lines", text::count(found.lines).into()),
        ("Under way", text::count(found.open.len() as u64).into()),
    ];
    let mut view = vec![Part::Fields(fields)];
    if !faults.is_empty() {
        view.push(Part::Note(faults.join("\n")));
    }
    let is_whole = faults.is_empty();
    let json = json!({
        "is_whole": is_whole,
        "lines": found.lines,
        "under_way": found.open,
        "faults": faults,
    });
    let mut report = Report::item("AuditCheck", json, view);
    if !is_whole {
        report.exit = Exit::Degraded;
    }
    report
}
