//! What `hhctl operator` and `hhctl node record` have in common: a record is drafted, shown, signed and kept at core.

use super::signature;
use crate::cli::SigningArgs;
use crate::failure::Failure;
use crate::output::{Cell, Part, Report, State, text};
use crate::session::Session;
use hh_ipc::api::core::{KeptRecord, RecordKind, RecordQuery, RevokeRecord, SignedRecord};
use hh_trust::pki::TrustDomain;
use hh_trust::statement::{Place, Signed, Statement};
use jiff::Timestamp;
use serde_json::json;

/// Nobody signs so many records of one name. A core that was broken into would have a number signed after which none can come.
const NUMBER_MAX: u64 = 1_000_000;

/// A record that is to be signed.
pub(super) struct Draft<S> {
    pub(super) record: S,
    /// To the byte: that of the last record, where that says the same.
    pub(super) text: String,
    /// The one before, where there is one.
    pub(super) before: Option<S>,
}

/// What is known of a record before it is drafted.
pub(super) struct Known<S> {
    /// The last one, and whether it still holds.
    pub(super) last: Option<(S, KeptRecord)>,
    pub(super) place: Place,
    pub(super) number: u64,
    /// In Unix seconds: later than a revocation, so that it takes that back.
    pub(super) at: i64,
}

/// The last record of that name, if there is one.
async fn last(
    session: &mut Session,
    kind: RecordKind,
    name: &str,
) -> Result<Option<KeptRecord>, Failure> {
    let daemon = session.core().await?;
    let query = RecordQuery {
        kind,
        name: Some(name.to_owned()),
        after: None,
    };
    let answer = daemon.client.records(daemon.call(), query).await;
    Ok(daemon.granted(answer)?.records.pop())
}

/// The last record of every name, by name.
pub(super) async fn all(
    session: &mut Session,
    kind: RecordKind,
) -> Result<Vec<KeptRecord>, Failure> {
    let daemon = session.core().await?;
    let mut records = Vec::new();
    let mut after = None;
    loop {
        let query = RecordQuery {
            kind,
            name: None,
            after,
        };
        let answer = daemon.client.records(daemon.call(), query).await;
        let page = daemon.granted(answer)?;
        records.extend(page.records);
        after = page.next_after;
        if after.is_none() {
            return Ok(records);
        }
    }
}

/// What a record says, whoever has signed it.
pub(super) fn said<S: Statement>(kept: &KeptRecord) -> Option<S> {
    signed(kept).unverified().ok()
}

/// As those who check it have it.
pub(super) fn signed(kept: &KeptRecord) -> Signed {
    Signed {
        text: kept.record.text.clone(),
        signatures: kept.record.signatures.clone(),
    }
}

/// What has to be known to draft a record.
pub(super) async fn known<S: Statement>(
    session: &mut Session,
    (kind, name): (RecordKind, &str),
    signing: &SigningArgs,
) -> Result<Known<S>, Failure> {
    let last = last(session, kind, name).await?;
    let number = last.as_ref().map_or(0, |last| last.number);
    if number >= NUMBER_MAX {
        let why = format!("core says that {number} records of {name} were signed");
        return Err(Failure::record(why));
    }
    let revoked = last.as_ref().and_then(|last| last.revocation.as_ref());
    let revoked_at = revoked.map_or(0, |revocation| revocation.at.as_second());
    let last = last.and_then(|last| Some((said::<S>(&last)?, last)));
    let chain = last.as_ref().map(|(said, _)| said.place().chain.clone());
    let chain = match signing.chain.clone().or(chain) {
        Some(chain) => chain,
        None => {
            let pool = session.pool().await?;
            let status = pool.client.status(pool.call()).await;
            pool.answer(status)?.chain
        }
    };
    let core = session.core().await?;
    let status = core.client.status(core.call()).await;
    let domain = core.granted(status)?.trust_domain;
    let domain = domain.parse::<TrustDomain>();
    let domain = domain.map_err(|error| Failure::record(error.to_string()))?;
    Ok(Known {
        last,
        place: Place { domain, chain },
        number: number + 1,
        at: session.now().as_second().max(revoked_at + 1),
    })
}

impl<S: Statement> Known<S> {
    /// The draft of `record`; that of the last one again, where `is_same` as that and it was not revoked.
    pub(super) fn draft(self, record: S, is_same: impl FnOnce(&S) -> bool) -> Draft<S> {
        let fresh = |record: S, before| Draft {
            text: Signed::draft(&record).text,
            record,
            before,
        };
        let Some((last, kept)) = self.last else {
            return fresh(record, None);
        };
        if is_revoked(&kept) || !is_same(&last) {
            return fresh(record, Some(last));
        }
        Draft {
            record: last,
            text: kept.record.text,
            before: None,
        }
    }
}

/// Whether it was revoked after it was signed.
pub(super) fn is_revoked(kept: &KeptRecord) -> bool {
    #[derive(serde::Deserialize)]
    struct SignedAt {
        at: i64,
    }
    let at = serde_json::from_str(&kept.record.text).map_or(0, |said: SignedAt| said.at);
    let revocation = kept.revocation.as_ref();
    revocation.is_some_and(|revocation| revocation.at.as_second() >= at)
}

/// Signs a text and has core keep it.
pub(super) async fn keep<S: Statement>(
    session: &mut Session,
    kind: RecordKind,
    text: String,
    signing: &SigningArgs,
) -> Result<KeptRecord, Failure> {
    // Before the agent asks anybody: whoever may not do it need not be asked.
    let daemon = session.core_control().await?;
    let signature = signature::sign::<S>(&text, signing.sign_with.as_deref(), None)?;
    let record = SignedRecord {
        kind,
        text,
        signatures: vec![signature],
    };
    let answer = daemon.client.create_record(daemon.call(), record).await;
    daemon.granted(answer)
}

/// What came of a signature, when so many are needed.
pub(super) fn report(
    kept: &KeptRecord,
    fields: Vec<(&'static str, Cell)>,
    needed: usize,
) -> Report {
    let count = kept.record.signatures.len();
    let note = if count >= needed {
        "kept at core; hh-pool and hh-treasury take it if operators of their own configuration have signed it"
    } else {
        "kept at core; it counts when another operator has run the same command"
    };
    let view = vec![Part::Fields(fields), Part::Note(note.to_owned())];
    Report::item("SignedRecord", json!(kept), view)
}

pub(super) async fn revoke(
    session: &mut Session,
    (kind, name): (RecordKind, &str),
    reason: &str,
) -> Result<Report, Failure> {
    let daemon = session.core_control().await?;
    let request = RevokeRecord {
        kind,
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let answer = daemon.client.revoke_record(daemon.call(), request).await;
    let kept = daemon.granted(answer)?;
    let note = format!("revoked the {kind} {name}; hh-pool and hh-treasury are told at once");
    Ok(Report::item(
        "SignedRecord",
        json!(kept),
        vec![Part::Note(note)],
    ))
}

/// Whether it holds, as far as core knows.
pub(super) fn state(kept: &KeptRecord, now: Timestamp) -> Cell {
    let count = u64::try_from(kept.record.signatures.len()).unwrap_or(u64::MAX);
    match &kept.revocation {
        Some(revocation) if is_revoked(kept) => {
            let ago = text::ago(now, Some(revocation.at));
            Cell::state(State::Fail, format!("revoked {ago}: {}", revocation.reason))
        }
        _ => Cell::state(State::Ok, text::plural(count, "signature")),
    }
}
