use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rcgen::{DnType, KeyUsagePurpose};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

use super::*;

const NOW: i64 = 1_800_000_000;

fn domain() -> TrustDomain {
    "hyperhash.example".parse().unwrap()
}

fn node(name: &str) -> Identity {
    Identity::Node(name.parse().unwrap())
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A network with an issuer of each kind, made at a time.
struct Network {
    root: Root,
    node: Issuer,
    service: Issuer,
    server: Issuer,
}

impl Network {
    fn at(now: i64) -> Self {
        let root = Root::create(&domain(), now).unwrap();
        Self {
            node: root.make_issuer(IssuerKind::Node, now).unwrap(),
            service: root.make_issuer(IssuerKind::Service, now).unwrap(),
            server: root.make_issuer(IssuerKind::Server, now).unwrap(),
            root,
        }
    }

    fn root_der(&self) -> CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject;
        CertificateDer::from_pem_slice(self.root.certificate_pem().as_bytes()).unwrap()
    }

    fn trusted(&self, revoked: &[RevokedSerial], now: i64) -> Vec<TrustedIssuer> {
        [&self.node, &self.service]
            .map(|issuer| TrustedIssuer {
                kind: issuer.kind(),
                certificate: issuer.certificate().clone(),
                revoked: issuer.revocation_list(1, revoked, now).unwrap(),
            })
            .to_vec()
    }

    fn gate(&self, revoked: &[RevokedSerial], now: i64) -> ClientGate {
        let provider = Arc::new(ring::default_provider());
        ClientGate::new(&domain(), &self.trusted(revoked, now), provider).unwrap()
    }

    fn slot(&self, issuer: &Issuer, identity: &Identity) -> Arc<KeySlot> {
        let key = LeafKey::generate().unwrap();
        let issued = issuer.issue(identity, &key.as_request(), now()).unwrap();
        let mut chain = issued.chain;
        chain.push(self.root_der());
        Arc::new(KeySlot::new(chain, &key).unwrap())
    }

    fn server_slot(&self) -> Arc<KeySlot> {
        self.slot(&self.server, &Identity::Core("a".parse().unwrap()))
    }
}

/// A leaf of `issuer` for `identity`, made at NOW.
fn leaf(issuer: &Issuer, identity: &Identity) -> IssuedCertificate {
    let key = LeafKey::generate().unwrap();
    issuer.issue(identity, &key.as_request(), NOW).unwrap()
}

fn enters(gate: &ClientGate, chain: &[CertificateDer<'_>], at: i64) -> Result<(), Error> {
    let at = std::time::Duration::from_secs(at.cast_unsigned());
    let at = UnixTime::since_unix_epoch(at);
    gate.verify_client_cert(&chain[0], &chain[1..], at)
        .map(|_| ())
}

/// Shakes hands in memory; what the server then knows of its caller.
fn handshake(
    client: ClientConfig,
    server: ServerConfig,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = domain().core_server_name();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
        if !client.is_handshaking() && !server.is_handshaking() && !client.wants_write() {
            return Ok((client, server));
        }
    }
    panic!("the handshake does not end");
}

#[test]
fn a_leaf_says_who_it_is_and_holds_for_a_day() {
    let network = Network::at(NOW);
    let key = LeafKey::generate().unwrap();
    let request = CertificateRequest::from_der(&key.request().unwrap()).unwrap();
    let issued = network
        .node
        .issue(&node("berlin-1"), &request, NOW)
        .unwrap();
    let peer = PeerCertificate::from_der(&issued.chain[0], &domain()).unwrap();
    assert_eq!(
        peer,
        PeerCertificate {
            identity: node("berlin-1"),
            serial: issued.serial,
            validity: Validity {
                not_before: NOW - 60,
                not_after: NOW + 86_400,
            },
            key_hash: request.key_hash(),
        }
    );
    assert_eq!(
        issued.serial.to_string().parse::<Serial>().unwrap(),
        issued.serial
    );
    enters(&network.gate(&[], NOW), &issued.chain, NOW).unwrap();
}

/// A request that asks for all that a certificate can be.
fn greedy_request() -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["core.hyperhash.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    params
        .distinguished_name
        .push(DnType::OrganizationName, "os:admin");
    let key = KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

#[test]
fn of_a_request_nothing_gets_into_the_certificate_but_its_key() {
    let network = Network::at(NOW);
    let request = CertificateRequest::from_der(&greedy_request()).unwrap();
    let issued = network
        .node
        .issue(&node("berlin-1"), &request, NOW)
        .unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&issued.chain[0]).unwrap();
    assert!(!leaf.is_ca());
    assert_eq!(
        leaf.subject().to_string(),
        "CN=spiffe://hyperhash.example/node/berlin-1"
    );
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.any && !usage.server_auth && usage.other.is_empty());
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
    assert_eq!(leaf.validity().not_after.timestamp(), NOW + 86_400);
}

#[test]
fn openssl_reads_the_same_in_it_and_follows_its_chain() {
    let network = Network::at(now());
    let request = CertificateRequest::from_der(&greedy_request()).unwrap();
    let issued = network
        .node
        .issue(&node("berlin-1"), &request, now())
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("root.pem"), network.root.certificate_pem()).unwrap();
    std::fs::write(
        dir.path().join("issuer.pem"),
        network.node.certificate_pem(),
    )
    .unwrap();
    std::fs::write(dir.path().join("leaf.der"), &issued.chain[0]).unwrap();
    let openssl = |arguments: &[&str]| {
        let run = Command::new("openssl")
            .args(arguments)
            .current_dir(&dir)
            .output();
        run.map(|output| {
            let mut text = String::from_utf8(output.stdout).unwrap();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            (output.status.success(), text)
        })
    };
    let Ok((_, text)) = openssl(&[
        "x509", "-inform", "DER", "-in", "leaf.der", "-text", "-noout",
    ]) else {
        eprintln!("skipped: there is no openssl here");
        return;
    };
    for line in [
        "CA:FALSE",
        "URI:spiffe://hyperhash.example/node/berlin-1",
        "TLS Web Client Authentication",
        "Digital Signature",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    for line in [
        "CA:TRUE",
        "DNS:",
        "Server Authentication",
        "Any Extended",
        "os:admin",
    ] {
        assert!(!text.contains(line), "{line}: {text}");
    }
    let (made, text) = openssl(&[
        "x509", "-inform", "DER", "-in", "leaf.der", "-out", "leaf.pem",
    ])
    .unwrap();
    assert!(made, "{text}");
    let chain = [
        "verify",
        "-x509_strict",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "issuer.pem",
    ];
    let (right, text) =
        openssl(&[&chain[..], &["-purpose", "sslclient", "leaf.pem"]].concat()).unwrap();
    assert!(right, "{text}");
    let (right, text) =
        openssl(&[&chain[..], &["-purpose", "sslserver", "leaf.pem"]].concat()).unwrap();
    assert!(!right, "{text}");
}

#[test]
fn a_request_that_its_key_has_not_signed_is_refused() {
    let key = LeafKey::generate().unwrap();
    let request = key.request().unwrap();
    let mut changed = request.clone();
    *changed.last_mut().unwrap() ^= 1;
    for der in [
        &changed[..],
        &request[1..],
        &[],
        &[&request[..], &[0]].concat(),
        &[0; 9_000],
    ] {
        assert!(CertificateRequest::from_der(der).is_err());
    }
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let other = CertificateParams::default()
        .serialize_request(&p384)
        .unwrap();
    let error = CertificateRequest::from_der(other.der()).unwrap_err();
    assert!(matches!(error, RequestError::KeyKind), "{error}");
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let other = CertificateParams::default()
        .serialize_request(&ed25519)
        .unwrap();
    CertificateRequest::from_der(other.der()).unwrap();
}

#[test]
fn an_issuer_makes_only_what_is_its_own() {
    let network = Network::at(NOW);
    let request = LeafKey::generate().unwrap().as_request();
    let service = Identity::Service("treasury".parse().unwrap());
    let core = Identity::Core("a".parse().unwrap());
    for (issuer, identity) in [
        (&network.node, &service),
        (&network.node, &core),
        (&network.service, &node("a")),
        (&network.server, &node("a")),
    ] {
        let error = issuer.issue(identity, &request, NOW).unwrap_err();
        assert!(
            matches!(error, AuthorityError::NotItsKind { .. }),
            "{error}"
        );
    }
    let later = NOW + 366 * 86_400;
    let error = network.node.issue(&node("a"), &request, later).unwrap_err();
    assert!(matches!(error, AuthorityError::IssuerExpired { .. }));
    // The last leaf ends with its issuer.
    let last = NOW + 365 * 86_400 - 10;
    let issued = network.node.issue(&node("a"), &request, last).unwrap();
    assert_eq!(issued.validity.not_after, NOW + 365 * 86_400);
}

#[test]
fn what_another_issuer_makes_does_not_get_in_as_a_node() {
    let network = Network::at(NOW);
    let stranger = Network::at(NOW);
    let gate = network.gate(&[], NOW);
    let alien = leaf(&stranger.node, &node("a"));
    assert!(enters(&gate, &alien.chain, NOW).is_err());
    // An issuer of services that was stolen, made to say that it is one of nodes.
    let key = network.service.to_secret_pem();
    let own = network.service.certificate_pem();
    let error = Issuer::from_pem(IssuerKind::Node, &domain(), &own, &key).unwrap_err();
    assert!(matches!(error, AuthorityError::Unfit { .. }), "{error}");
    let forged = forged_leaf(&network.service, "spiffe://hyperhash.example/node/a", &[]);
    assert!(enters(&gate, &[forged, network.service.certificate().clone()], NOW).is_err());
    // A replica of the core does not call.
    let core = leaf(&network.server, &Identity::Core("a".parse().unwrap()));
    assert!(enters(&gate, &core.chain, NOW).is_err());
    // Services get in by their own issuer, and not where none is trusted.
    let service = leaf(
        &network.service,
        &Identity::Service("treasury".parse().unwrap()),
    );
    enters(&gate, &service.chain, NOW).unwrap();
    gate.replace(&network.trusted(&[], NOW)[..1]).unwrap();
    assert!(enters(&gate, &service.chain, NOW).is_err());
}

/// A leaf that the key of an issuer makes by hand, for a client.
fn forged_leaf(issuer: &Issuer, uri: &str, more: &[&str]) -> CertificateDer<'static> {
    let key = KeyPair::from_pem(&issuer.to_secret_pem()).unwrap();
    let signer = rcgen::Issuer::from_ca_cert_der(issuer.certificate(), key).unwrap();
    let mut params = CertificateParams::default();
    params.serial_number = Some(7_u64.into());
    for uri in [uri].iter().chain(more) {
        let uri = (*uri).try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
    }
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &signer);
    leaf.unwrap().into()
}

#[test]
fn two_uris_or_none_are_refused() {
    let network = Network::at(NOW);
    let gate = network.gate(&[], NOW);
    let (a, b) = (
        "spiffe://hyperhash.example/node/a",
        "spiffe://hyperhash.example/node/b",
    );
    let issuer = network.node.certificate().clone();
    let one = forged_leaf(&network.node, a, &[]);
    enters(&gate, &[one, issuer.clone()], NOW).unwrap();
    let two = forged_leaf(&network.node, a, &[b]);
    assert!(enters(&gate, &[two.clone(), issuer.clone()], NOW).is_err());
    let error = PeerCertificate::from_der(&two, &domain()).unwrap_err();
    assert!(matches!(error, CertificateError::Uris(2)), "{error}");
    let other = forged_leaf(&network.node, "spiffe://another.example/node/a", &[]);
    assert!(enters(&gate, &[other, issuer], NOW).is_err());
    assert!(PeerCertificate::from_der(network.node.certificate(), &domain()).is_err());
}

#[test]
fn who_is_expired_early_or_revoked_stays_out_and_so_does_everybody_without_a_fresh_list() {
    let network = Network::at(NOW);
    let gate = network.gate(&[], NOW);
    let issued = leaf(&network.node, &node("a"));
    enters(&gate, &issued.chain, NOW + 86_399).unwrap();
    assert!(enters(&gate, &issued.chain, NOW + 86_401).is_err());
    assert!(enters(&gate, &issued.chain, NOW - 61).is_err());
    let other = leaf(&network.node, &node("b"));
    let serial = issued.serial;
    let revoked = [RevokedSerial { serial, at: NOW }];
    gate.replace(&network.trusted(&revoked, NOW)).unwrap();
    let error = enters(&gate, &issued.chain, NOW).unwrap_err();
    assert!(format!("{error:?}").contains("Revoked"), "{error:?}");
    enters(&gate, &other.chain, NOW).unwrap();
    // A list that was made a day ago, and one that another issuer has signed.
    gate.replace(&network.trusted(&[], NOW - 86_400)).unwrap();
    let error = enters(&gate, &other.chain, NOW + 1).unwrap_err();
    assert!(
        format!("{error:?}").contains("ExpiredRevocationList"),
        "{error:?}"
    );
    let mut crossed = network.trusted(&[], NOW);
    crossed[0].revoked = network.service.revocation_list(1, &[], NOW).unwrap();
    gate.replace(&crossed).unwrap();
    assert!(enters(&gate, &other.chain, NOW).is_err());
    assert!(matches!(gate.replace(&[]), Err(GateError::NoIssuer)));
}

#[test]
fn old_and_new_issuer_hold_beside_each_other() {
    let network = Network::at(NOW);
    let next = network.root.make_issuer(IssuerKind::Node, NOW).unwrap();
    let (old_leaf, new_leaf) = (leaf(&network.node, &node("a")), leaf(&next, &node("a")));
    let gate = network.gate(&[], NOW);
    assert!(enters(&gate, &new_leaf.chain, NOW).is_err());
    let mut both = network.trusted(&[], NOW);
    both.push(TrustedIssuer {
        kind: IssuerKind::Node,
        certificate: next.certificate().clone(),
        revoked: next.revocation_list(1, &[], NOW).unwrap(),
    });
    gate.replace(&both).unwrap();
    enters(&gate, &old_leaf.chain, NOW).unwrap();
    enters(&gate, &new_leaf.chain, NOW).unwrap();
}

#[test]
fn what_is_written_is_read_again_and_the_keys_belong_to_their_certificates() {
    let network = Network::at(NOW);
    let root = Root::from_pem(
        &domain(),
        &network.root.certificate_pem(),
        &network.root.to_secret_pem(),
    )
    .unwrap();
    assert_eq!(root.pin(), network.root.pin());
    assert!(root.pin().matches(&network.root_der()));
    assert!(!root.pin().matches(network.node.certificate()));
    assert_eq!(root.pin().to_string().parse::<CaPin>().unwrap(), root.pin());
    let issuer = root.make_issuer(IssuerKind::Node, NOW).unwrap();
    let (certificate, key) = (issuer.certificate_pem(), issuer.to_secret_pem());
    let read = |certificate: &str, key: &str| {
        Issuer::from_pem(IssuerKind::Node, &domain(), certificate, key)
    };
    let again = read(&certificate, &key).unwrap();
    leaf(&again, &node("a"));
    assert!(read(&certificate, &network.node.to_secret_pem()).is_err());
    assert!(
        read(
            &network.root.certificate_pem(),
            &network.root.to_secret_pem()
        )
        .is_err()
    );
    assert!(read("", &key).is_err());
    let shown = format!("{root:?} {again:?} {:?}", LeafKey::generate().unwrap());
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn a_node_and_the_core_meet_over_tls_1_3_and_nothing_is_resumed() {
    let network = Network::at(now());
    let own = network.slot(&network.node, &node("a"));
    let gate = Arc::new(network.gate(&[], now()));
    let client = || session_client(&network.root_der(), &own).unwrap();
    let server = || session_server(&network.server_slot(), &gate).unwrap();
    let (caller, called) = handshake(client(), server()).unwrap();
    assert_eq!(
        caller.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    assert_eq!(called.alpn_protocol(), Some(&b"h2"[..]));
    let shown = &called.peer_certificates().unwrap()[0];
    let peer = PeerCertificate::from_der(shown, &domain()).unwrap();
    assert_eq!(peer.identity, node("a"));
    // The same configurations again, and a client that keeps every session that it is offered.
    let (mut client, server) = (client(), server());
    client.resumption = rustls::client::Resumption::in_memory_sessions(4);
    assert_eq!(
        (server.send_tls13_tickets, server.max_early_data_size),
        (0, 0)
    );
    assert!(!server.session_storage.can_cache());
    for _ in 0..2 {
        let (caller, called) = handshake(client.clone(), server.clone()).unwrap();
        assert_eq!(caller.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(caller.tls13_tickets_received(), 0);
        assert_eq!(called.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn a_client_that_speaks_tls_1_2_or_shows_nothing_is_refused() {
    let network = Network::at(now());
    let gate = Arc::new(network.gate(&[], now()));
    let server = || session_server(&network.server_slot(), &gate).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(network.root_der()).unwrap();
    let old = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    assert!(handshake(old, server()).is_err());
    let nameless = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert!(handshake(nameless, server()).is_err());
}

#[test]
fn an_impostor_of_the_core_is_found_out_by_both_kinds_of_caller() {
    let network = Network::at(now());
    let stranger = Network::at(now());
    let own = network.slot(&network.node, &node("a"));
    let key = LeafKey::generate().unwrap();
    let forge = |issuer: &Issuer| {
        let signer = KeyPair::from_pem(&issuer.to_secret_pem()).unwrap();
        let signer = rcgen::Issuer::from_ca_cert_der(issuer.certificate(), signer).unwrap();
        let mut params = CertificateParams::new(vec!["core.hyperhash.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let pair = KeyPair::from_pem(&key.to_secret_pem()).unwrap();
        let leaf = params.signed_by(&pair, &signer).unwrap();
        let chain = vec![
            leaf.into(),
            issuer.certificate().clone(),
            network.root_der(),
        ];
        Arc::new(KeySlot::new(chain, &key).unwrap())
    };
    let pin = network.root.pin();
    let callers = || {
        [
            enrolment_client(pin).unwrap(),
            session_client(&network.root_der(), &own).unwrap(),
        ]
    };
    for caller in callers() {
        let server = enrolment_server(&network.server_slot()).unwrap();
        handshake(caller, server).unwrap();
    }
    // Another network; the stolen key of the issuer of nodes; a node's own certificate shown as a server's.
    for shown in [
        stranger.server_slot(),
        forge(&network.node),
        network.slot(&network.node, &node("core-a")),
    ] {
        for caller in callers() {
            let server = enrolment_server(&shown).unwrap();
            assert!(handshake(caller, server).is_err());
        }
    }
}

#[test]
fn a_new_certificate_is_shown_by_the_next_connection() {
    let network = Network::at(now());
    let gate = Arc::new(network.gate(&[], now()));
    let own = network.slot(&network.node, &node("a"));
    let client = session_client(&network.root_der(), &own).unwrap();
    let server = session_server(&network.server_slot(), &gate).unwrap();
    let serial = |called: &ServerConnection| {
        let shown = &called.peer_certificates().unwrap()[0];
        PeerCertificate::from_der(shown, &domain()).unwrap().serial
    };
    let (_, before) = handshake(client.clone(), server.clone()).unwrap();
    let key = LeafKey::generate().unwrap();
    let issued = network.node.issue(&node("a"), &key.as_request(), now());
    let issued = issued.unwrap();
    assert!(
        own.replace(issued.chain.clone(), &LeafKey::generate().unwrap())
            .is_err()
    );
    own.replace(issued.chain, &key).unwrap();
    let (_, after) = handshake(client, server).unwrap();
    assert_ne!(serial(&before), serial(&after));
    assert_eq!(serial(&after), issued.serial);
}
