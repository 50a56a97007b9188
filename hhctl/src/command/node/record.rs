//! `hhctl node record`: which nodes there are, signed by operators.

use crate::change::Plan;
use crate::cli::{NodeRecordCommand, RecordArgs};
use crate::command::operator::signed_at;
use crate::command::record::{self, Draft, Known};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, Table};
use crate::session::Session;
use hh_ipc::api::core::{FleetNodeDetail, KeptRecord, RecordKind};
use hh_trust::NodePublicKey;
use hh_trust::enrolment::Visibility;
use hh_trust::statement::NodeRecord;
use jiff::Timestamp;
use serde_json::json;

/// Code of core where it knows no node of that name.
const NO_SUCH_NODE: &str = "HH5001";

pub(in crate::command) async fn list(session: &mut Session) -> Result<Report, Failure> {
    let records = record::all(session, RecordKind::Node).await?;
    let view = vec![Part::Table(table(&records, session.now()))];
    Ok(Report::list("NodeRecordList", &records, view))
}

pub(in crate::command) async fn plan(
    session: &mut Session,
    command: &NodeRecordCommand,
) -> Result<Plan, Failure> {
    match command {
        NodeRecordCommand::Sign(args) => {
            let draft = draft(session, args).await?;
            session.show(draft.text.clone());
            let mut view = vec![Part::Fields(fields(&draft.record))];
            view.extend(draft.before.as_ref().map(|before| {
                let changes = changes(before, &draft.record);
                Part::Note(format!(
                    "in the place of record {}: {changes}",
                    before.number
                ))
            }));
            let item = json!(draft.record);
            Ok(Plan {
                report: Report::item("NodeRecord", item, view),
                question: Some(format!("Sign this record of the node {}", args.node)),
                typed: None,
            })
        }
        NodeRecordCommand::Revoke { node, reason, .. } => {
            let note = format!("would have hh-pool and hh-treasury know {node} no more: {reason}");
            let item = json!({ "node": node, "reason": reason });
            Ok(Plan {
                report: Report::item("NodeRecord", item, vec![Part::Note(note)]),
                question: Some(format!("Revoke the record of the node {node}")),
                typed: None,
            })
        }
        NodeRecordCommand::List => unreachable!("it changes nothing"),
    }
}

pub(in crate::command) async fn apply(
    session: &mut Session,
    command: &NodeRecordCommand,
) -> Result<Report, Failure> {
    match command {
        NodeRecordCommand::Sign(args) => {
            let shown = session.shown();
            let draft = draft(session, args).await;
            // What was shown is what is signed, whatever core says by now.
            let (text, needed) = match (shown, draft) {
                (Some(text), Ok(draft)) => (text, needed(&draft)),
                (Some(text), Err(_)) => (text, 1),
                (None, draft) => {
                    let draft = draft?;
                    let needed = needed(&draft);
                    (draft.text, needed)
                }
            };
            let (kind, signing) = (RecordKind::Node, &args.signing);
            let kept = record::keep::<NodeRecord>(session, kind, text, signing).await?;
            let said = record::said::<NodeRecord>(&kept);
            let fields = said.as_ref().map(fields).unwrap_or_default();
            Ok(record::report(&kept, fields, needed))
        }
        NodeRecordCommand::Revoke { node, reason, .. } => {
            record::revoke(session, (RecordKind::Node, node.as_str()), reason).await
        }
        NodeRecordCommand::List => unreachable!("it changes nothing"),
    }
}

async fn draft(session: &mut Session, args: &RecordArgs) -> Result<Draft<NodeRecord>, Failure> {
    let of = (RecordKind::Node, args.node.as_str());
    let known = record::known::<NodeRecord>(session, of, &args.signing).await?;
    let enrolled = enrolled(session, args).await?;
    let record = drafted(args, enrolled.as_ref(), &known)?;
    let wanted = record.clone();
    Ok(known.draft(record, |last| {
        let numbered = NodeRecord {
            number: last.number,
            at: last.at,
            ..wanted
        };
        *last == numbered
    }))
}

/// What core says of the node; nothing where it has not enrolled.
async fn enrolled(
    session: &mut Session,
    args: &RecordArgs,
) -> Result<Option<FleetNodeDetail>, Failure> {
    let daemon = session.core().await?;
    let answer = daemon.client.node(daemon.call(), args.node.to_string());
    match daemon.granted(answer.await) {
        Ok(detail) => Ok(Some(detail)),
        Err(failure) if failure.code == NO_SUCH_NODE => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn drafted(
    args: &RecordArgs,
    enrolled: Option<&FleetNodeDetail>,
    known: &Known<NodeRecord>,
) -> Result<NodeRecord, Failure> {
    let missing = |what: &str| Failure::record(format!("it is not known: say {what}"));
    let last = known.last.as_ref().map(|(last, _)| last);
    let said = enrolled.and_then(|detail| detail.node.public_key.parse::<NodePublicKey>().ok());
    let key = args.key.or(said).or(last.map(|last| last.key));
    let lightning = args.lightning_node.clone();
    let lightning = lightning.or_else(|| last.map(|last| last.lightning.clone()));
    let lanes = match args.lanes.as_slice() {
        [] => last.map(|last| last.lanes.clone()).unwrap_or_default(),
        lanes => lanes.iter().cloned().collect(),
    };
    if lanes.is_empty() {
        return Err(missing("--lane, once for each of its lanes"));
    }
    let is_public = enrolled.map(|detail| detail.node.public);
    let visibility = match (args.public, args.private, is_public, last) {
        (true, _, _, _) | (false, false, Some(true), _) => Visibility::Public,
        (false, false, None, Some(last)) => last.visibility,
        _ => Visibility::Private,
    };
    Ok(NodeRecord {
        place: known.place.clone(),
        node: args.node.clone(),
        number: known.number,
        key: key.ok_or_else(|| missing("--key, as `hhctl node key show` shows it on the node"))?,
        lightning: lightning.ok_or_else(|| missing("--lightning-node, the id of its wallet"))?,
        lanes,
        visibility,
        at: known.at,
    })
}

/// How many operators have to sign it, by what was before.
fn needed(draft: &Draft<NodeRecord>) -> usize {
    let before = draft.before.as_ref();
    let is_moved = before.is_some_and(|before| before.lightning != draft.record.lightning);
    if is_moved { 2 } else { 1 }
}

fn lanes(record: &NodeRecord) -> String {
    let lanes = record.lanes.iter().map(ToString::to_string);
    lanes.collect::<Vec<_>>().join(", ")
}

fn visibility(record: &NodeRecord) -> &'static str {
    match record.visibility {
        Visibility::Public => "public",
        Visibility::Private => "private",
    }
}

fn fields(record: &NodeRecord) -> Vec<(&'static str, Cell)> {
    vec![
        ("Node", record.node.to_string().into()),
        ("Key", record.key.to_string().into()),
        ("Lightning node", record.lightning.to_string().into()),
        ("Lanes", lanes(record).into()),
        ("Serves", visibility(record).into()),
        ("Network", record.place.to_string().into()),
        ("Record", record.number.to_string().into()),
        ("Signed at", signed_at(record.at).into()),
    ]
}

/// What becomes another one.
fn changes(before: &NodeRecord, now: &NodeRecord) -> String {
    let mut changes = Vec::new();
    if before.key != now.key {
        changes.push(format!("its key was {}", before.key));
    }
    if before.lightning != now.lightning {
        let was = &before.lightning;
        changes.push(format!(
            "its Lightning node was {was}, so another operator has to sign the same"
        ));
    }
    if before.lanes != now.lanes {
        changes.push(format!("its lanes were {}", lanes(before)));
    }
    if before.visibility != now.visibility {
        changes.push(format!("it was {}", visibility(before)));
    }
    match changes.is_empty() {
        true => "it says the same".to_owned(),
        false => changes.join("; "),
    }
}

fn table(records: &[KeptRecord], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("NODE"),
        Column::left("STATE"),
        Column::right("RECORD"),
        Column::left("LANES"),
        Column::left("LIGHTNING NODE"),
        Column::left("PUBLIC KEY"),
    ];
    let when_empty = "no record of a node was signed; `hhctl node record sign` signs one";
    let mut table = Table::new(columns, when_empty);
    for kept in records {
        let said = record::said::<NodeRecord>(kept);
        let said =
            |show: fn(&NodeRecord) -> String| said.as_ref().map_or_else(|| "-".to_owned(), show);
        table.row(vec![
            kept.name.as_str().into(),
            record::state(kept, now),
            kept.number.to_string().into(),
            said(lanes).into(),
            said(|record| record.lightning.to_string()).into(),
            said(|record| record.key.to_string()).into(),
        ]);
    }
    table
}
