use super::*;
use crate::store::tests::{Base, on_both_engines};
use hh_trust::NodeSecretKey;
use hh_trust::audit::AuditVerifier;
use hh_trust::enrolment::TokenRequest;
use hh_trust::pki::{LeafKey, PeerCertificate};

on_both_engines!(
    of_many_who_have_a_token_one_is_the_node,
    an_answer_that_was_lost_is_given_again_to_the_same_keys_alone,
    a_certificate_says_what_core_knows,
    a_request_of_another_connection_or_another_key_is_refused,
    names_and_keys_are_taken_once_unless_the_token_says_otherwise,
    who_hammers_is_held_to_a_rate_and_keeps_nobody_else_out,
);

/// Core without its ports.
pub(super) struct Core {
    pub(super) base: Base,
    pub(super) enrolment: Enrolment,
}

/// A machine that wants to be a node.
pub(super) struct Machine {
    pub(super) key: NodeSecretKey,
    pub(super) tls: LeafKey,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            key: NodeSecretKey::generate().unwrap(),
            tls: LeafKey::generate().unwrap(),
        }
    }

    /// What it sends on a connection with these keys.
    fn request(&self, token: &str, exported: [u8; 32]) -> EnrolRequest {
        let csr_der = self.tls.request().unwrap();
        let jti = EnrolmentToken::read_unverified(token).unwrap().jti;
        let possession = Possession::Enrol(jti);
        let binding = ChannelBinding(exported);
        EnrolRequest {
            token: token.to_owned(),
            node_key: self.key.public_key().to_string(),
            proof: self.key.prove(possession, &binding, &csr_der).to_vec(),
            csr_der,
            agent_version: "0.1.0".to_owned(),
        }
    }
}

pub(super) fn peer(host: u8) -> Peer {
    Peer {
        address: ([192, 0, 2, host], 1_000).into(),
        certificate: None,
        exported: [7; 32],
    }
}

impl Core {
    pub(super) fn start(base: Base) -> Self {
        // The keys are read once.
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::of_test(dir.path());
        let enrolment = Enrolment::new(authority, base.store.clone(), "a:1".to_owned());
        Self { base, enrolment }
    }

    pub(super) async fn token(&self, node: &str, may_replace: bool) -> String {
        let authority = &self.enrolment.authority;
        let request = TokenRequest {
            domain: authority.domain.clone(),
            node: node.parse().unwrap(),
            visibility: Visibility::Private,
            url: "https://a:1".to_owned(),
            ca: authority.pin,
            network: authority.network,
            by: "alice".to_owned(),
            seconds: 600,
        };
        let now = Timestamp::now().as_second();
        let key = &authority.enrolment_key;
        let (made, text) = EnrolmentToken::create(request, key, now).unwrap();
        let hash = TokenHash::of(&text);
        let put: Result<(), StoreError> = self
            .enrolment
            .store
            .call(move |transaction| token::put(transaction, &made, hash, may_replace))
            .await;
        put.unwrap();
        text
    }

    pub(super) async fn enrol(
        &self,
        machine: &Machine,
        token: &str,
    ) -> Result<EnrolResponse, Status> {
        let peer = peer(1);
        let request = machine.request(token, peer.exported);
        self.enrolment.enrol(&peer, request).await
    }

    pub(super) async fn faults(&self) -> usize {
        let lines: Result<_, StoreError> = self
            .base
            .store
            .call(|transaction| audit::page(transaction, 0, 0))
            .await;
        let mut verifier = AuditVerifier::new([]);
        lines.unwrap().0.iter().for_each(|line| verifier.line(line));
        verifier.finish().faults.len()
    }
}

#[track_caller]
fn refused(answer: Result<EnrolResponse, Status>, code: &str) {
    let status = answer.unwrap_err();
    assert!(status.message().starts_with(code), "{status}");
}

async fn of_many_who_have_a_token_one_is_the_node(base: Base) {
    let core = Core::start(base);
    let token = core.token("berlin", false).await;
    let machines: Vec<Machine> = (0..25).map(|_| Machine::new()).collect();
    let all = machines.iter().map(|machine| core.enrol(machine, &token));
    let answers = futures::future::join_all(all).await;
    let joined = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(joined, 1);
    for answer in answers.into_iter().filter(Result::is_err) {
        refused(answer, "token-reused");
    }
    assert_eq!(core.faults().await, 0);
}

async fn an_answer_that_was_lost_is_given_again_to_the_same_keys_alone(base: Base) {
    let core = Core::start(base);
    let token = core.token("berlin", false).await;
    let machine = Machine::new();
    let first = core.enrol(&machine, &token).await.unwrap();
    let again = core.enrol(&machine, &token).await.unwrap();
    assert_eq!(first.certificates_der, again.certificates_der);
    assert_eq!(first.epoch, again.epoch);
    let other_tls_key = Machine {
        key: machine.key.to_secret_hex().parse().unwrap(),
        tls: LeafKey::generate().unwrap(),
    };
    refused(core.enrol(&other_tls_key, &token).await, "token-reused");
}

async fn a_certificate_says_what_core_knows(base: Base) {
    let core = Core::start(base);
    let token = core.token("berlin", false).await;
    let machine = Machine::new();
    let joined = core.enrol(&machine, &token).await.unwrap();
    let domain = &core.enrolment.authority.domain;
    let leaf = PeerCertificate::from_der(&joined.certificates_der[0], domain).unwrap();
    assert_eq!(leaf.identity, Identity::Node("berlin".parse().unwrap()));
    assert_eq!(leaf.key_hash, machine.tls.as_request().key_hash());
    let life = leaf.validity.not_after - leaf.validity.not_before;
    assert!(life <= 86_400 + 120, "{life}");
}

async fn a_request_of_another_connection_or_another_key_is_refused(base: Base) {
    let core = Core::start(base);
    let token = core.token("berlin", false).await;
    let machine = Machine::new();
    // Somebody in between passes on what he was sent.
    let relayed = machine.request(&token, [8; 32]);
    refused(core.enrolment.enrol(&peer(1), relayed).await, "proof");
    let stranger = Machine::new();
    let stolen = EnrolRequest {
        node_key: stranger.key.public_key().to_string(),
        ..machine.request(&token, [7; 32])
    };
    refused(core.enrolment.enrol(&peer(1), stolen).await, "proof");
    let swapped = EnrolRequest {
        csr_der: stranger.tls.request().unwrap(),
        ..machine.request(&token, [7; 32])
    };
    refused(core.enrolment.enrol(&peer(1), swapped).await, "proof");
    // The token is as good as before.
    core.enrol(&machine, &token).await.unwrap();
}

async fn names_and_keys_are_taken_once_unless_the_token_says_otherwise(base: Base) {
    let core = Core::start(base);
    let machine = Machine::new();
    let first = core
        .enrol(&machine, &core.token("berlin", false).await)
        .await
        .unwrap();
    let same_name = core.token("berlin", false).await;
    refused(core.enrol(&Machine::new(), &same_name).await, "name-taken");
    let other_name = core.token("paris", false).await;
    refused(core.enrol(&machine, &other_name).await, "key-taken");
    let replacing = core.token("berlin", true).await;
    let anew = core.enrol(&Machine::new(), &replacing).await.unwrap();
    assert!(anew.epoch > first.epoch);
}

async fn who_hammers_is_held_to_a_rate_and_keeps_nobody_else_out(base: Base) {
    let core = Core::start(base);
    let token = core.token("berlin", false).await;
    let stranger = Machine::new();
    let mut answers = Vec::new();
    for _ in 0..40 {
        let request = stranger.request(&token, [8; 32]);
        answers.push(core.enrolment.enrol(&peer(9), request).await);
    }
    refused(answers.remove(0), "proof");
    refused(answers.pop().unwrap(), "too-many");
    core.enrol(&Machine::new(), &token).await.unwrap();
}
