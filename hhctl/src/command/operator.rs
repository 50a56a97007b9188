//! `hhctl operator`: whose SSH keys are operators'.

use super::record::{self, Draft};
use super::signature;
use crate::change::Plan;
use crate::cli::{OperatorCommand, SigningArgs};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::core::{KeptRecord, RecordKind};
use hh_trust::operator_key::OperatorName;
use hh_trust::statement::OperatorRecord;
use jiff::Timestamp;
use serde_json::json;
use std::path::Path;

/// Operators who have to sign that somebody is one.
const SIGNATURES: usize = 2;

pub(super) async fn list(session: &mut Session) -> Result<Report, Failure> {
    let records = record::all(session, RecordKind::Operator).await?;
    let view = vec![Part::Table(table(&records, session.now()))];
    Ok(Report::list("OperatorList", &records, view))
}

pub(super) async fn plan(
    session: &mut Session,
    command: &OperatorCommand,
) -> Result<Plan, Failure> {
    match command {
        OperatorCommand::Enroll {
            name,
            public_key,
            signing,
            ..
        } => {
            let draft = draft(session, name, public_key, signing).await?;
            session.show(draft.text.clone());
            let question = format!("Sign that this key is the operator {name}'s");
            let mut view = vec![Part::Fields(fields(&draft.record))];
            if let Some(before) = &draft.before {
                let note = format!("in the place of {}", before.key.fingerprint());
                view.push(Part::Note(note));
            }
            Ok(Plan {
                report: Report::item("OperatorRecord", json!(draft.record), view),
                question: Some(question),
                typed: None,
            })
        }
        OperatorCommand::Revoke { name, reason, .. } => {
            let note = format!("would have {name} be no operator any more: {reason}");
            let item = json!({ "operator": name, "reason": reason });
            Ok(Plan {
                report: Report::item("OperatorRecord", item, vec![Part::Note(note)]),
                question: Some(format!("Revoke the operator {name}")),
                typed: None,
            })
        }
        OperatorCommand::List => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

pub(super) async fn apply(
    session: &mut Session,
    command: &OperatorCommand,
) -> Result<Report, Failure> {
    match command {
        OperatorCommand::Enroll {
            name,
            public_key,
            signing,
            ..
        } => {
            // What was shown is what is signed.
            let text = match session.shown() {
                Some(text) => text,
                None => draft(session, name, public_key, signing).await?.text,
            };
            let kind = RecordKind::Operator;
            let kept = record::keep::<OperatorRecord>(session, kind, text, signing).await?;
            let said = record::said::<OperatorRecord>(&kept);
            let fields = said.as_ref().map(fields).unwrap_or_default();
            Ok(record::report(&kept, fields, SIGNATURES))
        }
        OperatorCommand::Revoke { name, reason, .. } => {
            let name = name.to_string();
            record::revoke(session, (RecordKind::Operator, name.as_str()), reason).await
        }
        OperatorCommand::List => unreachable!("{}", super::NOTHING_CHANGES),
    }
}

async fn draft(
    session: &mut Session,
    name: &OperatorName,
    public_key: &Path,
    signing: &SigningArgs,
) -> Result<Draft<OperatorRecord>, Failure> {
    let key = signature::read_key(public_key)?;
    let text = name.to_string();
    let of = (RecordKind::Operator, text.as_str());
    let known = record::known::<OperatorRecord>(session, of, signing).await?;
    let record = OperatorRecord {
        place: known.place.clone(),
        operator: name.clone(),
        number: known.number,
        key,
        at: known.at,
    };
    let place = known.place.clone();
    Ok(known.draft(record, |last| last.key == key && last.place == place))
}

fn fields(record: &OperatorRecord) -> Vec<(&'static str, Cell)> {
    vec![
        ("Operator", record.operator.to_string().into()),
        ("Key", record.key.fingerprint().into()),
        ("Network", record.place.to_string().into()),
        ("Record", record.number.to_string().into()),
        ("Signed at", signed_at(record.at).into()),
    ]
}

/// A time of a record, as it is signed.
pub(super) fn signed_at(at: i64) -> String {
    let at = Timestamp::from_second(at).unwrap_or_default();
    at.to_string()
}

fn table(records: &[KeptRecord], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("OPERATOR"),
        Column::left("STATE"),
        Column::right("RECORD"),
        Column::left("KEY"),
        Column::left("FIRST SIGNED"),
    ];
    let when_empty = "nobody was signed to be an operator; those of a configuration need not be";
    let mut table = Table::new(columns, when_empty);
    for kept in records {
        let said = record::said::<OperatorRecord>(kept);
        let key = said.map_or_else(|| "-".to_owned(), |said| said.key.fingerprint());
        table.row(vec![
            kept.name.as_str().into(),
            record::state(kept, now),
            kept.number.to_string().into(),
            key.into(),
            text::ago(now, Some(kept.at)).into(),
        ]);
    }
    table
}
