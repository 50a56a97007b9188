//! The audit log: who asked for what, and what came of it.
//!
//! A line is written in the transaction that makes the change that it tells of, so that there is none without the other. Each names the
//! hash of the line before it (`hh_trust::audit`); what is in the log is never changed. What this does not stop, somebody who writes
//! all of the database anew, shows only beside what was kept elsewhere: each order that a node is given names how far the log went.

use crate::store::{StoreError, Transaction, values};
use hh_trust::audit::{
    Actor, AuditChain, AuditEvent, AuditOutcome, Checkpoint, Detail, OperationId,
};
use hh_trust::command::{AuditHead, Digest};
use hh_trust::pki::PeerName;
use jiff::Timestamp;

/// Most lines of a page.
const PAGE_LINES_MAX: u32 = 200;

/// And most bytes of them, but for the first: a line of another daemon's journal is JSON in JSON, which is twice as long in an answer, and
/// an answer is a megabyte at most.
const PAGE_BYTES_MAX: usize = 256 << 10;

/// Something that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// A name of its own.
    pub(crate) op: OperationId,
    pub(crate) actor: Actor,
    /// `control`, `rest` or `grpc`.
    pub(crate) via: &'static str,
    /// From which address.
    pub(crate) source: Option<String>,
    /// As `noun.verb`.
    pub(crate) action: &'static str,
    /// As `kind:name`.
    pub(crate) target: String,
    /// Of the request.
    pub(crate) request: Digest,
    pub(crate) detail: Detail,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) outcome: AuditOutcome,
    /// One word, where it was not done.
    pub(crate) code: Option<&'a str>,
    /// Of what a node has signed.
    pub(crate) result: Option<Digest>,
    pub(crate) detail: Detail,
}

impl Ended<'_> {
    pub(crate) fn done() -> Self {
        Self {
            outcome: AuditOutcome::Done,
            code: None,
            result: None,
            detail: Detail::default(),
        }
    }
}

impl<'a> Ended<'a> {
    pub(crate) fn refused(code: &'a str) -> Self {
        Self {
            outcome: AuditOutcome::Refused,
            code: Some(code),
            result: None,
            detail: Detail::default(),
        }
    }
}

/// Writes that something was asked for.
pub(crate) fn intent(
    transaction: &Transaction<'_>,
    (core, at): (&PeerName, Timestamp),
    asked: &Asked,
) -> Result<(), StoreError> {
    let asked = asked.clone();
    let event = AuditEvent::Intent {
        op: asked.op,
        actor: asked.actor,
        via: asked.via.to_owned(),
        source: asked.source,
        action: asked.action.to_owned(),
        target: Some(asked.target),
        request: asked.request,
        detail: asked.detail,
    };
    append(transaction, (core, at), event)
}

/// Writes what came of it. Each intent has one outcome.
pub(crate) fn outcome(
    transaction: &Transaction<'_>,
    (core, at): (&PeerName, Timestamp),
    op: OperationId,
    ended: Ended<'_>,
) -> Result<(), StoreError> {
    let event = AuditEvent::Outcome {
        op,
        outcome: ended.outcome,
        code: ended.code.map(str::to_owned),
        result: ended.result,
        detail: ended.detail,
    };
    append(transaction, (core, at), event)
}

/// Writes a line.
pub(crate) fn append(
    transaction: &Transaction<'_>,
    (core, at): (&PeerName, Timestamp),
    event: AuditEvent,
) -> Result<(), StoreError> {
    let chain = chain(transaction)?;
    let appended = chain.append(at, core, event);
    let (line, next) = appended.map_err(|fault| StoreError::Damaged {
        what: fault.to_string(),
    })?;
    let insert = "INSERT INTO audit (seq, line) VALUES ($1, $2)";
    transaction.execute(insert, &values![next.size(), line.as_str()])?;
    let kept = serde_json::to_string(&next).expect("numbers and texts have a JSON");
    let keep = "INSERT INTO audit_chain (\"only\", chain) VALUES (1, $1) ON CONFLICT (\"only\") DO UPDATE SET chain = $1";
    transaction.execute(keep, &values![kept])?;
    // A copy out of reach of whoever may write the database.
    tracing::info!(seq = next.size(), hash = %next.last(), line, "audit");
    Ok(())
}

fn chain(transaction: &Transaction<'_>) -> Result<AuditChain, StoreError> {
    let query = "SELECT chain FROM audit_chain";
    let Some(kept) = transaction.find(query, &[])? else {
        return Ok(AuditChain::default());
    };
    serde_json::from_str(&kept.get::<String>(0)?).map_err(|_no| StoreError::Damaged {
        what: "an end of the audit log that is none".to_owned(),
    })
}

/// How far the log goes, and what is in it: what a node is told.
pub(crate) fn head(transaction: &Transaction<'_>) -> Result<AuditHead, StoreError> {
    let chain = chain(transaction)?;
    Ok(AuditHead {
        size: chain.size(),
        root: chain.frontier().root(),
    })
}

/// So many lines after one, each with its number, and how far the log goes by what is kept beside them.
pub(crate) fn lines_after(
    transaction: &Transaction<'_>,
    after: u64,
    limit: u32,
) -> Result<(Vec<(u64, String)>, Checkpoint), StoreError> {
    let query = "SELECT seq, line FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
    let rows = transaction.query(query, &values![after, limit])?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        lines.push((row.get(0)?, row.get(1)?));
    }
    Ok((lines, Checkpoint::of(chain(transaction)?.frontier())))
}

/// Lines as they were written, after one, and the number of the last line there is. Fewer than asked for are not all there are.
pub(crate) fn page(
    transaction: &Transaction<'_>,
    after_seq: u64,
    limit: u32,
) -> Result<(Vec<String>, u64), StoreError> {
    let limit = match limit {
        0 => PAGE_LINES_MAX,
        limit => limit.min(PAGE_LINES_MAX),
    };
    let query = "SELECT line FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
    let rows = transaction.query(query, &values![after_seq, limit])?;
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for row in &rows {
        let line: String = row.get(0)?;
        bytes += line.len();
        if bytes > PAGE_BYTES_MAX && !lines.is_empty() {
            break;
        }
        lines.push(line);
    }
    Ok((lines, chain(transaction)?.size()))
}
