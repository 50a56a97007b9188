use super::*;
use crate::store::tests::{Base, on_both_engines};
use hh_trust::audit::Actor;
use hh_trust::command::CommandId;

on_both_engines!(
    more_bytes_than_a_daemon_reads_are_not_kept,
    a_revocation_is_of_after_the_record_whatever_its_clock,
);

fn row(name: &str, text: String) -> RecordRow {
    RecordRow {
        kind: RecordKind::Node,
        name: name.to_owned(),
        number: 1,
        text,
        signatures: Vec::new(),
        brought_by: "local:alice".to_owned(),
        brought_at_ms: 0,
    }
}

fn asked() -> Asked {
    Asked {
        op: CommandId::generate().unwrap(),
        actor: Actor::Unknown,
        via: "control",
        source: None,
        action: "record.create",
        target: "node:berlin".to_owned(),
        request: Digest::of(b""),
        detail: Detail::default(),
    }
}

fn code(done: Result<KeptRecord, RecordError>) -> Option<String> {
    done.err().map(|refused| ApiError::from(refused).code)
}

async fn more_bytes_than_a_daemon_reads_are_not_kept(base: Base) {
    let length = usize::try_from(RECORDS_BYTES_MAX).unwrap() - 1_000;
    let codes: Result<_, StoreError> = base
        .store
        .call(move |transaction: &Transaction<'_>| {
            record::put(transaction, &row("berlin", "x".repeat(length)))?;
            let core: PeerName = "core-1".parse().unwrap();
            let here = (&core, Timestamp::now());
            let small = put(transaction, here, row("paris", "{}".to_owned()), &asked());
            let large = put(transaction, here, row("rome", "x".repeat(2_000)), &asked());
            Ok((code(small), code(large)))
        })
        .await;
    assert_eq!(codes.unwrap(), (None, Some("HH5053".to_owned())));
}

async fn a_revocation_is_of_after_the_record_whatever_its_clock(base: Base) {
    let now = Timestamp::now();
    let ahead = now.as_second() + 300;
    let kept: Result<KeptRecord, RecordError> = base
        .store
        .call(move |transaction: &Transaction<'_>| {
            let core: PeerName = "core-1".parse().unwrap();
            record::put(transaction, &row("berlin", format!("{{\"at\":{ahead}}}")))?;
            let revocation = RevocationRow {
                kind: RecordKind::Node,
                name: "berlin".to_owned(),
                reason: "stolen".to_owned(),
                revoked_by: "local:alice".to_owned(),
                revoked_at_ms: now.as_millisecond(),
            };
            revoke(transaction, (&core, now), revocation, &asked())
        })
        .await;
    let kept = kept.ok().unwrap();
    assert_eq!(kept.revocation.unwrap().at.as_second(), ahead);
}
