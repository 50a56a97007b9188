use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000;

fn key() -> EnrolKey {
    "02".repeat(32).parse().unwrap()
}

fn network() -> NetworkPublicKey {
    let key: crate::NetworkKey = "03".repeat(32).parse().unwrap();
    key.public_key()
}

fn node_key(seed: u8) -> NodeSecretKey {
    hex::encode([seed; 32]).parse().unwrap()
}

fn request() -> TokenRequest {
    TokenRequest {
        domain: "hyperhash.example".parse().unwrap(),
        node: "berlin-1".parse().unwrap(),
        visibility: Visibility::Public,
        url: "https://core.example:8444".to_owned(),
        ca: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
        network: network(),
        by: "alice".to_owned(),
        seconds: TOKEN_SECONDS_DEFAULT,
    }
}

fn token() -> (EnrolmentToken, String) {
    EnrolmentToken::create(request(), &key(), NOW).unwrap()
}

fn verify(text: &str) -> Result<EnrolmentToken, TokenError> {
    EnrolmentToken::verify(text, &[key().public_key()], NOW)
}

/// A token that says `claims`, of that kind and signed by the right key.
fn forged(typ: &str, claims: &serde_json::Value) -> String {
    let jws = jws::compact(typ, key().public_key(), claims, |bytes| key().sign(bytes));
    format!("{PREFIX}{jws}")
}

#[test]
fn a_token_tells_the_node_and_the_core_the_same() {
    let (token, text) = token();
    assert!(text.starts_with("hhn1.eyJ"), "{text}");
    assert_eq!(verify(&format!("{text}\n")), Ok(token.clone()));
    assert_eq!(EnrolmentToken::read_unverified(&text), Ok(token.clone()));
    assert_ne!(token.jti, self::token().0.jti);
    assert_ne!(TokenHash::of(&text), TokenHash::of(&self::token().1));
    assert_eq!(TokenHash::of(&text), TokenHash::of(&format!("{text}\n")));
}

#[test]
fn it_holds_from_its_begin_to_its_end() {
    let (_, text) = token();
    let at = |now| EnrolmentToken::verify(&text, &[key().public_key()], now);
    at(NOW - 60).unwrap();
    at(NOW + 3_599).unwrap();
    assert_eq!(at(NOW - 61), Err(TokenError::Early { seconds: 61 }));
    assert_eq!(at(NOW + 3_600), Err(TokenError::Expired { seconds: 0 }));
}

#[test]
fn what_can_not_be_is_not_made() {
    for (change, expected) in [
        (
            TokenRequest {
                seconds: 0,
                ..request()
            },
            "life",
        ),
        (
            TokenRequest {
                seconds: -5,
                ..request()
            },
            "life",
        ),
        (
            TokenRequest {
                seconds: 86_401,
                ..request()
            },
            "life",
        ),
        (
            TokenRequest {
                seconds: i64::MAX,
                ..request()
            },
            "life",
        ),
        (
            TokenRequest {
                url: "http://core".to_owned(),
                ..request()
            },
            "URL",
        ),
        (
            TokenRequest {
                url: "https://a b".to_owned(),
                ..request()
            },
            "URL",
        ),
        (
            TokenRequest {
                by: String::new(),
                ..request()
            },
            "operator",
        ),
        (
            TokenRequest {
                by: "a\u{202e}b".to_owned(),
                ..request()
            },
            "operator",
        ),
    ] {
        let error = EnrolmentToken::create(change, &key(), NOW).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn claims_that_are_missing_or_of_another_type_are_refused() {
    let right = serde_json::to_value(token().0).unwrap();
    assert_eq!(
        verify(&forged(TYPE, &right)),
        Ok(serde_json::from_value(right.clone()).unwrap())
    );
    let claims: Vec<String> = right.as_object().unwrap().keys().cloned().collect();
    for claim in &claims {
        let mut without = right.clone();
        without.as_object_mut().unwrap().remove(claim);
        assert!(verify(&forged(TYPE, &without)).is_err(), "without {claim}");
        for wrong in [
            serde_json::json!(null),
            serde_json::json!("x"),
            serde_json::json!(1e300),
            serde_json::json!(-1),
            serde_json::json!(1.5),
            serde_json::json!([]),
            serde_json::json!({}),
        ] {
            // A word may be a name.
            if ["by", "domain", "node"].contains(&claim.as_str()) && wrong == "x" {
                continue;
            }
            let mut changed = right.clone();
            changed[claim] = wrong.clone();
            assert!(verify(&forged(TYPE, &changed)).is_err(), "{claim}: {wrong}");
        }
    }
    let mut more = right.clone();
    more["role"] = serde_json::json!("admin");
    assert!(verify(&forged(TYPE, &more)).is_err());
    let mut array = right.clone();
    array["aud"] = serde_json::json!(["hyperhash-enrol"]);
    assert!(verify(&forged(TYPE, &array)).is_err());
    assert!(verify(&forged("hh-command+jwt", &right)).is_err());
}

#[test]
fn only_this_networks_key_makes_tokens() {
    let other = EnrolKey::generate().unwrap();
    let (_, text) = EnrolmentToken::create(request(), &other, NOW).unwrap();
    assert_eq!(verify(&text), Err(TokenError::Key));
    // Under our key's name it is none of ours.
    let claims = serde_json::to_value(token().0).unwrap();
    let jws = jws::compact(TYPE, key().public_key(), &claims, |bytes| other.sign(bytes));
    assert_eq!(verify(&format!("{PREFIX}{jws}")), Err(TokenError::Key));
    // An old and a new key beside each other.
    let both = [other.public_key(), key().public_key()];
    EnrolmentToken::verify(&text, &both, NOW).unwrap();
    assert_eq!(
        EnrolmentToken::verify(&text, &[], NOW),
        Err(TokenError::Key)
    );
    assert_eq!(verify(&text[5..]), Err(TokenError::Prefix));
    assert_eq!(verify(""), Err(TokenError::Prefix));
}

fn unused() -> TokenRecord {
    TokenRecord {
        exp: NOW + 3_600,
        is_revoked: false,
        used: None,
    }
}

#[test]
fn a_token_is_used_once_and_its_answer_may_be_lost() {
    let first_key = node_key(1).public_key();
    let used = match unused().redeem([1; 32], first_key, NOW) {
        Ok(Redemption::First(used)) => used,
        other => panic!("{other:?}"),
    };
    let record = TokenRecord {
        used: Some(used),
        ..unused()
    };
    let again = |key, node: NodePublicKey, at| record.redeem(key, node, at);
    assert_eq!(again([1; 32], first_key, NOW + 600), Ok(Redemption::Again));
    assert_eq!(
        again([1; 32], first_key, NOW + 601),
        Err(TokenError::Reused)
    );
    assert_eq!(again([2; 32], first_key, NOW), Err(TokenError::Reused));
    let second_key = node_key(2).public_key();
    assert_eq!(again([1; 32], second_key, NOW), Err(TokenError::Reused));
    let revoked = TokenRecord {
        is_revoked: true,
        ..record
    };
    let refused = revoked.redeem([1; 32], first_key, NOW);
    assert_eq!(refused, Err(TokenError::Revoked));
    let late = unused().redeem([1; 32], first_key, NOW + 3_600);
    assert_eq!(late, Err(TokenError::Expired { seconds: 0 }));
}

#[test]
fn a_proof_is_of_one_key_one_channel_one_request_and_one_purpose() {
    let key = node_key(1);
    let jti = token().0.jti;
    let node: NodeId = "berlin-1".parse().unwrap();
    let (here, there) = (ChannelBinding([1; 32]), ChannelBinding([2; 32]));
    let proof = key.prove(Possession::Enrol(jti), &here, b"request");
    let public = key.public_key();
    let proves = |what, channel, request: &[u8]| public.has_proved(what, channel, request, &proof);
    assert!(proves(Possession::Enrol(jti), &here, b"request"));
    assert!(!proves(Possession::Enrol(jti), &there, b"request"));
    assert!(!proves(Possession::Enrol(jti), &here, b"another"));
    assert!(!proves(Possession::Enrol(token().0.jti), &here, b"request"));
    assert!(!proves(Possession::Recover(&node), &here, b"request"));
    let other = node_key(2).public_key();
    assert!(!other.has_proved(Possession::Enrol(jti), &here, b"request", &proof));
    assert!(!format!("{here:?}").contains('1'));
}

#[test]
fn a_proof_of_a_certificates_key_is_of_that_key_one_channel_and_one_request() {
    use crate::pki::{Identity, IssuerKind, Root};
    let node: NodeId = "berlin-1".parse().unwrap();
    let root = Root::create(&"hyperhash.example".parse().unwrap(), NOW).unwrap();
    let issuer = root.make_issuer(IssuerKind::Node, NOW).unwrap();
    let (key, other) = (LeafKey::generate().unwrap(), LeafKey::generate().unwrap());
    let identity = Identity::Node(node.clone());
    let certificate = |key: &LeafKey| {
        let issued = issuer.issue(&identity, &key.as_request(), NOW).unwrap();
        issued.chain[0].to_vec()
    };
    let (of_key, of_other) = (certificate(&key), certificate(&other));
    let (here, there) = (ChannelBinding([1; 32]), ChannelBinding([2; 32]));
    let what = Possession::Recover(&node);
    let proof = key.prove(what, &here, b"request").unwrap();
    let proves = |certificate: &[u8], channel, request: &[u8]| {
        certificate_has_proved(certificate, what, channel, request, &proof)
    };
    assert!(proves(&of_key, &here, b"request"));
    assert!(!proves(&of_other, &here, b"request"));
    assert!(!proves(&of_key, &there, b"request"));
    assert!(!proves(&of_key, &here, b"another"));
    assert!(!proves(b"no certificate", &here, b"request"));
    let paris: NodeId = "paris".parse().unwrap();
    let of_paris = Possession::Recover(&paris);
    assert!(!certificate_has_proved(
        &of_key, of_paris, &here, b"request", &proof
    ));
}

proptest! {
    #[test]
    fn a_changed_byte_is_refused(at: prop::sample::Index, flip in 1..=255_u8) {
        let mut bytes = token().1.into_bytes();
        let place = at.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(verify(&changed).is_err(), "{}", changed);
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,100}") {
        prop_assert!(verify(&text).is_err());
        let prefixed = PREFIX.to_owned() + &text;
        prop_assert!(verify(&prefixed).is_err());
    }
}
