//! `hhctl node credential`.

use super::key;
use crate::cli::IssueArgs;
use crate::failure::Failure;
use crate::key_file;
use crate::output::{Cell, Part, Report, State, text};
use hh_trust::node_credential::CREDENTIAL_BYTES_MAX;
use hh_trust::{CredentialError, LaneName, NodeCredential, PresentedCredential};
use jiff::Timestamp;
use serde_json::json;
use std::io::{self, Read};
use std::path::Path;

pub(super) fn issue(args: &IssueArgs, now: Timestamp) -> Result<Report, Failure> {
    let secret = key::read(&args.key)?;
    let not_before = now.as_second();
    let credential = NodeCredential {
        node: args.node.clone(),
        lanes: args.lanes.iter().cloned().collect(),
        pool: args.pool_authority,
        not_before,
        not_after: not_before + i64::from(args.hours) * 3_600,
    };
    let text = credential.sign(&secret).map_err(|error| {
        let fix = "name fewer lanes, or fewer hours".to_owned();
        Failure::key(
            "can't sign the credential".to_owned(),
            error.to_string(),
            fix,
        )
    })?;
    key_file::replace(&args.out, &text)?;
    Ok(report(&args.out, &credential, now))
}

pub(super) fn show(file: &Path, now: Timestamp) -> Result<Report, Failure> {
    let failure = |why: String| {
        let what = format!("can't show the credential {}", file.display());
        let fix = "make one: hhctl node credential issue --help".to_owned();
        Failure::key(what, why, fix)
    };
    let text = read(file).map_err(|error| failure(error.to_string()))?;
    let presented = PresentedCredential::parse(text.trim_end().as_bytes());
    let credential = presented.and_then(|presented| presented.unverified());
    let credential = credential.map_err(|error: CredentialError| failure(error.to_string()))?;
    Ok(report(file, &credential, now))
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    // With its line break, and one byte to see that there is more.
    let most = CREDENTIAL_BYTES_MAX as u64 + 2;
    let file = std::fs::File::open(file)?;
    file.take(most).read_to_string(&mut text)?;
    Ok(text)
}

fn report(file: &Path, credential: &NodeCredential, now: Timestamp) -> Report {
    let at = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
    let (begin, end) = (at(credential.not_before), at(credential.not_after));
    let item = json!({
        "file": file,
        "node": credential.node,
        "lanes": credential.lanes,
        "pool_authority": credential.pool,
        "not_before_at": begin,
        "not_after_at": end,
    });
    let lanes: Vec<&str> = credential.lanes.iter().map(LaneName::as_str).collect();
    let fields = vec![
        ("Node", credential.node.as_str().into()),
        ("Lanes", lanes.join(", ").into()),
        ("Pool", credential.pool.to_string().into()),
        ("Holds", holds(begin, end, now)),
        ("File", file.display().to_string().into()),
    ];
    Report::item("NodeCredential", item, vec![Part::Fields(fields)])
}

fn holds(begin: Timestamp, end: Timestamp, now: Timestamp) -> Cell {
    if now >= end {
        return Cell::state(State::Fail, format!("ended {}", text::ago(now, Some(end))));
    }
    if now < begin {
        let text = format!("begins in {}", text::age(begin, now));
        return Cell::state(State::Warn, text);
    }
    Cell::state(State::Ok, format!("for {}", text::age(end, now)))
}
