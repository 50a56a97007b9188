//! `hhctl audit export`: the log in a file that anybody can check without core.

use super::{NO_KEY, checkpoint, page};
use crate::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Part, Report, State, text};
use crate::session::{Connected, Session};
use hh_ipc::api::core::CoreClient;
use hh_trust::audit::{AuditReport, AuditVerifier, Checkpoint};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The last line of the file: what the lines before are held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Export {
    pub(super) trust_domain: String,
    /// A signed note of C2SP.
    pub(super) checkpoint: String,
    /// That has signed it. Who checks the file knows it from elsewhere.
    pub(super) key: String,
}

/// A file that is there as a whole or not at all.
struct Unfinished<'a> {
    path: &'a Path,
    file: BufWriter<File>,
}

impl<'a> Unfinished<'a> {
    fn create(path: &'a Path) -> io::Result<Self> {
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let file = BufWriter::new(made);
        Ok(Self { path, file })
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.file, "{line}").map_err(|error| failed(self.path, &error))
    }

    fn finish(mut self) -> Result<(), Failure> {
        let flushed = self.file.flush();
        let synced = flushed.and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|error| failed(self.path, &error))
    }
}

pub(super) async fn export(session: &mut Session, path: &Path) -> Result<Report, Failure> {
    let daemon = session.core().await?;
    // First of all: the lines that are written go as far as it does.
    let end = match checkpoint(&daemon).await {
        Ok(end) => Some(end),
        Err(failure) if failure.code == NO_KEY => None,
        Err(failure) => return Err(failure),
    };
    let file = Unfinished::create(path).map_err(|error| failed(path, &error))?;
    match write(&daemon, file, end.as_ref()).await {
        Ok(found) => Ok(report(path, &found, end.as_ref())),
        Err(failure) => {
            fs::remove_file(path).ok();
            Err(failure)
        }
    }
}

async fn write(
    daemon: &Connected<CoreClient>,
    mut file: Unfinished<'_>,
    end: Option<&Export>,
) -> Result<AuditReport, Failure> {
    let signed = end.map(|end| super::signed(end, None)).transpose();
    let signed = signed.map_err(|why| Failure::audit(
            "core's checkpoint of the audit log proves nothing".to_owned(),
            why,
            "compare the trust domain and the key that `hhctl pki status` shows with those of the network",
        ))?;
    let signed: Option<Checkpoint> = signed.map(|(checkpoint, _)| checkpoint);
    let mut verifier = AuditVerifier::new(signed.as_ref());
    let last = signed.map_or(u64::MAX, |checkpoint| checkpoint.size);
    let mut written = 0;
    while written < last {
        let page = page(daemon, written, 0).await?;
        if page.lines.is_empty() {
            break;
        }
        let left = usize::try_from(last - written).unwrap_or(usize::MAX);
        for line in page.lines.iter().take(left) {
            file.line(line)?;
            verifier.line(line);
            written += 1;
        }
    }
    if let Some(end) = end {
        file.line(&json!(end).to_string())?;
    }
    file.finish()?;
    Ok(verifier.finish())
}

fn report(path: &Path, found: &AuditReport, end: Option<&Export>) -> Report {
    let key = end.map(|end| end.key.clone());
    let signed = match &key {
        Some(key) => Cell::state(State::Ok, format!("by {key}")),
        None => Cell::state(
            State::Warn,
            "no: core has no key for checkpoints; see `hhctl pki add-audit-key --help`",
        ),
    };
    let is_whole = found.faults.is_empty();
    let state = match is_whole {
        true => Cell::state(State::Ok, "whole"),
        false => Cell::state(
            State::Fail,
            "tampered with; `hhctl audit verify` says where",
        ),
    };
    let fields = vec![
        ("File", path.display().to_string().into()),
        ("Audit log", state),
        ("Lines", text::count(found.lines).into()),
        ("Signed", signed),
    ];
    let json = json!({
        "file": path,
        "lines": found.lines,
        "is_whole": is_whole,
        "key": key,
    });
    let mut report = Report::item("AuditExport", json, vec![Part::Fields(fields)]);
    if !is_whole {
        report.exit = Exit::Degraded;
    }
    report
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let what = format!("can't write the audit log to {}", path.display());
    let fix = "name a file that is not there yet, in a folder that you can write to";
    Failure::audit(what, error.to_string(), fix)
}
