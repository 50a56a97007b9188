use super::*;
use crate::enrolment::tests::{Core, Machine, peer};
use crate::node::RevokedRow;
use crate::store::tests::{Base, on_both_engines};
use crate::store::values;
use hh_trust::NodeSecretKey;
use hh_trust::pki::{LeafKey, PeerCertificate, RECOVERIES_MAX, RECOVERY_DAYS_MAX};

on_both_engines!(
    who_has_both_keys_comes_back_after_the_end,
    who_has_one_of_the_keys_or_is_in_between_does_not,
    only_the_last_certificates_key_counts,
    an_answer_that_was_lost_is_given_again,
    who_is_refused_again_and_again_fills_no_audit_log,
    who_is_revoked_comes_too_late_or_too_often_is_for_an_operator,
);

const DAY: i64 = 86_400;

/// Of a connection with these keys.
fn claim(
    node_key: &NodeSecretKey,
    tls_keys: &[&LeafKey],
    next: &LeafKey,
    exported: [u8; 32],
) -> RecoverRequest {
    let node: NodeId = "berlin".parse().unwrap();
    let what = Possession::Recover(&node);
    let binding = ChannelBinding(exported);
    let csr_der = next.request().unwrap();
    let sign = |key: &&LeafKey| key.prove(what, &binding, &csr_der).unwrap();
    RecoverRequest {
        node_id: node.to_string(),
        proof: node_key.prove(what, &binding, &csr_der).to_vec(),
        tls_proofs: tls_keys.iter().map(sign).collect(),
        csr_der,
    }
}

/// A node that has joined, and the end of its certificates so many seconds ago.
async fn away(base: Base, seconds: i64) -> (Core, Machine) {
    let core = Core::start(base);
    let machine = Machine::new();
    let token = core.token("berlin", false).await;
    core.enrol(&machine, &token).await.unwrap();
    end(&core, seconds).await;
    (core, machine)
}

async fn end(core: &Core, seconds: i64) {
    let until_ms = (Timestamp::now().as_second() - seconds) * 1_000;
    let update = "UPDATE certificates SET until_ms = $1";
    let ended: Result<u64, StoreError> = core
        .base
        .store
        .call(move |transaction| transaction.execute(update, &values![until_ms]))
        .await;
    ended.unwrap();
}

async fn recover(core: &Core, request: RecoverRequest) -> Result<RecoverResponse, Status> {
    core.enrolment.recover(&peer(1), request).await
}

#[track_caller]
fn refused(answer: Result<RecoverResponse, Status>, code: &str) {
    let status = answer.unwrap_err();
    assert!(status.message().starts_with(code), "{status}");
}

const HERE: [u8; 32] = [7; 32];

async fn who_has_both_keys_comes_back_after_the_end(base: Base) {
    let (core, machine) = away(base, DAY).await;
    let next = LeafKey::generate().unwrap();
    let request = claim(&machine.key, &[&machine.tls], &next, HERE);
    let recovered = recover(&core, request).await.unwrap();
    let domain = &core.enrolment.authority.domain;
    let leaf = PeerCertificate::from_der(&recovered.certificates_der[0], domain).unwrap();
    assert_eq!(leaf.identity, Identity::Node("berlin".parse().unwrap()));
    assert_eq!(leaf.key_hash, next.as_request().key_hash());
    assert!(leaf.validity.holds_at(Timestamp::now().as_second()));
    assert_eq!(core.faults().await, 0);
    // While that one holds there is nothing to recover.
    let another = LeafKey::generate().unwrap();
    let early = claim(&machine.key, &[&next], &another, HERE);
    refused(recover(&core, early).await, "not-expired");
}

async fn who_has_one_of_the_keys_or_is_in_between_does_not(base: Base) {
    let (core, machine) = away(base, DAY).await;
    let (next, thief) = (LeafKey::generate().unwrap(), Machine::new());
    let without_node_key = claim(&thief.key, &[&machine.tls], &next, HERE);
    refused(recover(&core, without_node_key).await, "proof");
    let without_tls_key = claim(&machine.key, &[&thief.tls, &next], &next, HERE);
    refused(
        recover(&core, without_tls_key).await,
        "not-its-last-certificate",
    );
    let with_none = claim(&machine.key, &[], &next, HERE);
    refused(recover(&core, with_none).await, "not-its-last-certificate");
    let relayed = claim(&machine.key, &[&machine.tls], &next, [8; 32]);
    refused(recover(&core, relayed).await, "proof");
    let swapped = RecoverRequest {
        csr_der: thief.tls.request().unwrap(),
        ..claim(&machine.key, &[&machine.tls], &next, HERE)
    };
    refused(recover(&core, swapped).await, "proof");
    let nobody = RecoverRequest {
        node_id: "paris".to_owned(),
        ..claim(&machine.key, &[&machine.tls], &next, HERE)
    };
    refused(recover(&core, nobody).await, "proof");
    // More proofs than a node can have are not looked at.
    let many = [&thief.tls, &thief.tls, &machine.tls];
    let many = claim(&machine.key, &many, &next, HERE);
    refused(recover(&core, many).await, "not-its-last-certificate");
}

async fn only_the_last_certificates_key_counts(base: Base) {
    let (core, machine) = away(base, DAY).await;
    let (second, third) = (LeafKey::generate().unwrap(), LeafKey::generate().unwrap());
    let request = claim(&machine.key, &[&machine.tls], &second, HERE);
    recover(&core, request).await.unwrap();
    end(&core, 1).await;
    let with_first = claim(&machine.key, &[&machine.tls], &third, HERE);
    refused(recover(&core, with_first).await, "not-its-last-certificate");
    // Who does not know whether the second one was made shows both.
    let with_both = claim(&machine.key, &[&machine.tls, &second], &third, HERE);
    recover(&core, with_both).await.unwrap();
    // What another machine that took its place was given is not its own.
    let token = core.token("berlin", true).await;
    core.enrol(&Machine::new(), &token).await.unwrap();
    end(&core, 1).await;
    let replaced = claim(&machine.key, &[&third], &third, HERE);
    refused(recover(&core, replaced).await, "proof");
}

async fn an_answer_that_was_lost_is_given_again(base: Base) {
    let (core, machine) = away(base, DAY).await;
    let next = LeafKey::generate().unwrap();
    let request = || claim(&machine.key, &[&machine.tls, &next], &next, HERE);
    let first = recover(&core, request()).await.unwrap();
    let again = recover(&core, request()).await.unwrap();
    assert_eq!(first, again);
}

async fn who_is_refused_again_and_again_fills_no_audit_log(base: Base) {
    let (core, machine) = away(base, DAY).await;
    let lines = async || {
        let page = |transaction: &Transaction<'_>| audit::page(transaction, 0, 0);
        let (lines, _) = core.base.store.read::<_, StoreError>(page).await.unwrap();
        lines.len()
    };
    let before = lines().await;
    let next = LeafKey::generate().unwrap();
    for _ in 0..5 {
        let with_none = claim(&machine.key, &[], &next, HERE);
        refused(recover(&core, with_none).await, "not-its-last-certificate");
    }
    assert_eq!(lines().await, before + 2, "an intent and its outcome");
    // For another reason it is told.
    end(&core, -DAY).await;
    let early = claim(&machine.key, &[&machine.tls], &next, HERE);
    refused(recover(&core, early).await, "not-expired");
    assert_eq!(lines().await, before + 4);
}

async fn who_is_revoked_comes_too_late_or_too_often_is_for_an_operator(base: Base) {
    let (core, machine) = away(base, RECOVERY_DAYS_MAX * DAY + 1).await;
    let again = || claim(&machine.key, &[&machine.tls], &machine.tls, HERE);
    refused(recover(&core, again()).await, "too-late");
    for _ in 0..RECOVERIES_MAX {
        end(&core, 1).await;
        recover(&core, again()).await.unwrap();
    }
    end(&core, 1).await;
    refused(recover(&core, again()).await, "too-often");
    let revoked: Result<(), StoreError> = core
        .base
        .store
        .call(|transaction| {
            let row = RevokedRow {
                at_ms: 1,
                reason: "stolen".to_owned(),
            };
            node::set_recoveries(transaction, &"berlin".parse().unwrap(), 0)?;
            node::revoke(transaction, &"berlin".parse().unwrap(), &row)
        })
        .await;
    revoked.unwrap();
    refused(recover(&core, again()).await, "node-revoked");
    assert_eq!(core.faults().await, 0);
}
