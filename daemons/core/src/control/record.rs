//! What operators have signed about nodes and each other. Core looks at its form, so that a mistake is told to who makes it.

use super::revocation::reason;
use super::{Control, digest, operation_id, store_error, timestamp, usage};
use crate::asker::Asker;
use crate::audit::{self, Asked, Ended};
use crate::record::{self, RECORDS_BYTES_MAX, RECORDS_MAX, RecordRow, RevocationRow};
use crate::store::{Notice, StoreError, Transaction};
use hh_ipc::api::core::{
    KeptRecord, RecordKind, RecordPage, RecordQuery, RecordRevocation, RecordSet, RevokeRecord,
    Revoked, SignedRecord,
};
use hh_ipc::{ApiError, ErrorKind};
use hh_trust::audit::Detail;
use hh_trust::command::Digest;
use hh_trust::directory_feed::CLOCK_SECONDS_MAX;
use hh_trust::operator_key::OperatorKey;
use hh_trust::pki::{PeerName, TrustDomain};
use hh_trust::statement::{NodeRecord, OperatorRecord, Signed, Statement};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// Records of a page: each has at most 16 kB of text and 16 signatures, and a frame 1 MiB.
const PAGE_RECORDS: u32 = 32;

/// Most signatures of a record, as those who check them take it.
const SIGNATURES_MAX: usize = 16;

/// Why something was not kept.
enum RecordError {
    Store(StoreError),
    Refused(ApiError),
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl RecordError {
    fn refused(code: &str, message: String) -> Self {
        Self::Refused(ApiError::new(ErrorKind::Failed, code, message))
    }
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Store(error) => store_error(&error),
            RecordError::Refused(error) => error,
        }
    }
}

impl Control {
    pub(super) async fn records(&self, query: RecordQuery) -> Result<RecordPage, ApiError> {
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| page(transaction, &query))
            .await;
        read.map_err(|error| store_error(&error))
    }

    pub(super) async fn create_record(
        &self,
        asker: &Asker,
        signed: SignedRecord,
    ) -> Result<KeptRecord, ApiError> {
        let claimed = Claimed::of(&signed, &self.authority.domain)?;
        let target = format!("{}:{}", signed.kind, claimed.name);
        let asked = asker.asks(operation_id()?, "record.create", target, digest(&signed));
        let asked = Asked {
            detail: Detail::default()
                .with("number", claimed.number)
                .with("signed_by", claimed.keys.join(" ")),
            ..asked
        };
        let (core, now) = (self.authority.replica.clone(), Timestamp::now());
        let by = asker.name.clone();
        let put = move |transaction: &Transaction<'_>| {
            let row = claimed.row(signed, by, now);
            put(transaction, (&core, now), row, &asked)
        };
        let kept: Result<KeptRecord, RecordError> = self.store.call(put).await;
        Ok(kept?)
    }

    pub(super) async fn revoke_record(
        &self,
        asker: &Asker,
        request: RevokeRecord,
    ) -> Result<KeptRecord, ApiError> {
        let reason = reason(Some(request.reason.as_str()))?;
        let target = format!("{}:{}", request.kind, request.name);
        let asked = asker.asks(operation_id()?, "record.revoke", target, digest(&request));
        let asked = Asked {
            detail: Detail::default().with("reason", &reason),
            ..asked
        };
        let (core, now) = (self.authority.replica.clone(), Timestamp::now());
        let revocation = RevocationRow {
            kind: request.kind,
            name: request.name,
            reason,
            revoked_by: asker.name.clone(),
            revoked_at_ms: now.as_millisecond(),
        };
        let revoke = move |transaction: &Transaction<'_>| {
            revoke(transaction, (&core, now), revocation, &asked)
        };
        let kept: Result<KeptRecord, RecordError> = self.store.call(revoke).await;
        Ok(kept?)
    }

    /// All that there is, as soon as it is another version than `known`, or when the time is over.
    pub(crate) async fn directory(
        &self,
        known: Option<&str>,
        wait: Duration,
    ) -> Result<RecordSet, ApiError> {
        let until = Instant::now() + wait;
        loop {
            // From before the look: what comes after it is heard.
            let mut notices = self.store.notices();
            let read: Result<_, StoreError> = self.store.read(record_set).await;
            let set = read.map_err(|error| store_error(&error))?;
            if known != Some(set.version.as_str()) {
                return Ok(set);
            }
            let heard = async {
                loop {
                    match notices.recv().await {
                        Ok(Notice::Records | Notice::Any) | Err(RecvError::Lagged(_)) => {
                            return true;
                        }
                        Ok(Notice::Node(_) | Notice::Operation) => {}
                        Err(RecvError::Closed) => return false,
                    }
                }
            };
            let heard = tokio::time::timeout_at(until, heard).await;
            if heard != Ok(true) {
                return Ok(RecordSet {
                    version: set.version,
                    is_known: true,
                    records: Vec::new(),
                    revocations: Vec::new(),
                });
            }
        }
    }
}

/// What a record says of itself.
struct Claimed {
    name: String,
    number: u64,
    /// Fingerprints of the keys that have signed it, whosever they are.
    keys: Vec<String>,
}

impl Claimed {
    fn of(signed: &SignedRecord, domain: &TrustDomain) -> Result<Self, ApiError> {
        let statement = Signed {
            text: signed.text.clone(),
            signatures: signed.signatures.clone(),
        };
        match signed.kind {
            RecordKind::Node => {
                let record: NodeRecord = read(&statement, domain)?;
                check_time(record.at)?;
                let (name, number) = (record.node.to_string(), record.number);
                Self::by::<NodeRecord>(&statement, name, number)
            }
            RecordKind::Operator => {
                let record: OperatorRecord = read(&statement, domain)?;
                check_time(record.at)?;
                let (name, number) = (record.operator.to_string(), record.number);
                Self::by::<OperatorRecord>(&statement, name, number)
            }
        }
    }

    fn by<S: Statement>(statement: &Signed, name: String, number: u64) -> Result<Self, ApiError> {
        let keys = statement.keys::<S>();
        let keys = keys.map_err(|error| usage(hh_daemon::Chain(&error).to_string()))?;
        if keys.is_empty() {
            return Err(usage("the record is signed by nobody"));
        }
        let keys = keys.iter().map(OperatorKey::fingerprint);
        Ok(Self {
            name,
            number,
            keys: keys.collect(),
        })
    }

    fn row(self, signed: SignedRecord, by: String, now: Timestamp) -> RecordRow {
        RecordRow {
            kind: signed.kind,
            name: self.name,
            number: self.number,
            text: signed.text,
            signatures: signed.signatures,
            brought_by: by,
            brought_at_ms: now.as_millisecond(),
        }
    }
}

fn read<S: Statement>(statement: &Signed, domain: &TrustDomain) -> Result<S, ApiError> {
    let read = statement.unverified::<S>();
    let read = read.map_err(|error| usage(error.to_string()))?;
    let found = &read.place().domain;
    if found != domain {
        let message = format!("the record is about the network {found}, and this is {domain}");
        return Err(usage(message));
    }
    Ok(read)
}

/// Refuses what hh-pool and hh-treasury would not take either, so that it is told to who signs it.
fn check_time(at: i64) -> Result<(), ApiError> {
    let ahead = at.saturating_sub(Timestamp::now().as_second());
    if ahead > CLOCK_SECONDS_MAX {
        let message = format!("the record was signed {ahead} s from now: set the clock right");
        return Err(usage(message));
    }
    Ok(())
}

/// Keeps a record with the next number, or more signatures of the last one.
fn put(
    transaction: &Transaction<'_>,
    here: (&PeerName, Timestamp),
    mut row: RecordRow,
    asked: &Asked,
) -> Result<KeptRecord, RecordError> {
    let last = record::last(transaction, row.kind, &row.name)?;
    let next = last.as_ref().map_or(0, |last| last.number) + 1;
    match last {
        Some(last) if last.number == row.number && last.text == row.text => {
            let all: BTreeSet<String> = last.signatures.into_iter().chain(row.signatures).collect();
            if all.len() > SIGNATURES_MAX {
                let message = format!("a record has at most {SIGNATURES_MAX} signatures");
                return Err(RecordError::refused("HH5053", message));
            }
            row.signatures = all.into_iter().collect();
        }
        _ if row.number != next => {
            let message = format!(
                "the record of {} has the number {}, and the next is {next}: another one was signed meanwhile",
                row.name, row.number
            );
            return Err(RecordError::refused("HH5051", message));
        }
        _ if record::count(transaction)? >= RECORDS_MAX => {
            let message = format!("there are {RECORDS_MAX} records, and no more are kept");
            return Err(RecordError::refused("HH5053", message));
        }
        _ => {}
    }
    if record::bytes(transaction)?.saturating_add(row.bytes()) > RECORDS_BYTES_MAX {
        let message = format!("records have {RECORDS_BYTES_MAX} bytes, and no more are kept");
        return Err(RecordError::refused("HH5053", message));
    }
    audit::intent(transaction, here, asked)?;
    record::put(transaction, &row)?;
    audit::outcome(transaction, here, asked.op, Ended::done())?;
    kept(transaction, row.kind, &row.name)
}

fn revoke(
    transaction: &Transaction<'_>,
    here: (&PeerName, Timestamp),
    mut revocation: RevocationRow,
    asked: &Asked,
) -> Result<KeptRecord, RecordError> {
    let (kind, name) = (revocation.kind, revocation.name.clone());
    kept(transaction, kind, &name)?;
    let of = (kind, name.as_str());
    revocation.revoked_at_ms = record::revoked_at_ms(transaction, of, revocation.revoked_at_ms)?;
    audit::intent(transaction, here, asked)?;
    record::revoke(transaction, &revocation)?;
    audit::outcome(transaction, here, asked.op, Ended::done())?;
    kept(transaction, kind, &name)
}

fn kept(
    transaction: &Transaction<'_>,
    kind: RecordKind,
    name: &str,
) -> Result<KeptRecord, RecordError> {
    let row = record::last(transaction, kind, name)?;
    let row = row.ok_or_else(|| {
        let message = format!("no record of the {kind} {name} was signed");
        RecordError::Refused(ApiError::new(ErrorKind::NotFound, "HH5050", message))
    })?;
    Ok(answer(transaction, row)?)
}

fn page(transaction: &Transaction<'_>, query: &RecordQuery) -> Result<RecordPage, StoreError> {
    let (rows, next_after) = match &query.name {
        Some(name) => {
            let row = record::last(transaction, query.kind, name)?;
            (row.into_iter().collect(), None)
        }
        None => {
            let after = query.after.as_deref();
            let rows = record::page(transaction, query.kind, after, PAGE_RECORDS)?;
            let is_full = rows.len() >= PAGE_RECORDS as usize;
            let last = rows.last().map(|row| row.name.clone());
            (rows, last.filter(|_| is_full))
        }
    };
    let records = rows.into_iter().map(|row| answer(transaction, row));
    Ok(RecordPage {
        records: records.collect::<Result<_, _>>()?,
        next_after,
    })
}

fn answer(transaction: &Transaction<'_>, row: RecordRow) -> Result<KeptRecord, StoreError> {
    let revocation = record::revocation(transaction, row.kind, &row.name)?;
    Ok(KeptRecord {
        revocation: revocation.map(|revocation| RecordRevocation {
            reason: revocation.reason,
            by: revocation.revoked_by,
            at: timestamp(revocation.revoked_at_ms),
        }),
        name: row.name,
        number: row.number,
        by: row.brought_by,
        at: timestamp(row.brought_at_ms),
        record: SignedRecord {
            kind: row.kind,
            text: row.text,
            signatures: row.signatures,
        },
    })
}

fn record_set(transaction: &Transaction<'_>) -> Result<RecordSet, StoreError> {
    let records = record::all(transaction)?.into_iter();
    let records = records.map(|row| SignedRecord {
        kind: row.kind,
        text: row.text,
        signatures: row.signatures,
    });
    let records: Vec<SignedRecord> = records.collect();
    let revocations = record::revocations(transaction)?.into_iter();
    let revocations = revocations.map(|(kind, name, at_ms)| Revoked {
        kind,
        name,
        at: at_ms.div_euclid(1_000),
    });
    let revocations: Vec<Revoked> = revocations.collect();
    let version: Digest = digest(&(&records, &revocations));
    Ok(RecordSet {
        version: version.to_string(),
        is_known: false,
        records,
        revocations,
    })
}

#[cfg(test)]
mod tests;
