use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;

const NOW: i64 = 1_800_000_000;

fn key(seed: u8) -> NodeSecretKey {
    hex::encode([seed; 32]).parse().unwrap()
}

fn pool(byte: u8) -> PoolAuthority {
    PoolAuthority::from_bytes([byte; 32])
}

fn credential() -> NodeCredential {
    NodeCredential {
        node: "berlin-1".parse().unwrap(),
        lanes: ["asics", "gpus"].map(|lane| lane.parse().unwrap()).into(),
        pool: pool(1),
        not_before: NOW - 60,
        not_after: NOW + 3_600,
    }
}

/// Of `text` at the pool 1, which knows the node by the key 1, on the lane `asics` and now.
fn verify(text: &str) -> Result<NodeCredential, CredentialError> {
    verify_at(text, "asics", NOW)
}

fn verify_at(text: &str, lane: &str, now_unix: i64) -> Result<NodeCredential, CredentialError> {
    let presented = PresentedCredential::parse(text.as_bytes())?;
    presented.verify(&key(1).public_key(), pool(1), lane, now_unix)
}

/// A credential with this header and these claims, signed by the node.
fn forged(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(key(1).sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"berlin-1","typ":"hh-node-credential"}"#;

fn claims() -> String {
    let Claims {
        lanes,
        pool,
        nbf,
        exp,
    } = Claims {
        lanes: credential().lanes,
        pool: pool(1),
        nbf: NOW,
        exp: NOW + 60,
    };
    serde_json::to_string(&Claims {
        lanes,
        pool,
        nbf,
        exp,
    })
    .unwrap()
}

#[track_caller]
fn check_malformed(text: &str) {
    let refused = verify(text);
    assert!(
        matches!(refused, Err(CredentialError::Malformed(_))),
        "{text}: {refused:?}"
    );
}

#[test]
fn what_was_signed_is_what_is_verified() {
    let text = credential().sign(&key(1)).unwrap();
    assert_eq!(verify(&text), Ok(credential()));
    assert_eq!(verify_at(&text, "gpus", NOW), Ok(credential()));
    assert_eq!(
        verify(&forged(HEADER, &claims())).unwrap().not_after,
        NOW + 60
    );
}

#[test]
fn a_text_is_stable_and_names_its_parts() {
    let text = credential().sign(&key(1)).unwrap();
    let parts: Vec<&str> = text.split('.').collect();
    let read = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(read(parts[0]), HEADER);
    assert_eq!(
        read(parts[1]),
        format!(
            r#"{{"lanes":["asics","gpus"],"pool":"{}","nbf":1799999940,"exp":1800003600}}"#,
            pool(1)
        )
    );
}

#[test]
fn another_key_has_not_signed_it() {
    let text = credential().sign(&key(2)).unwrap();
    let node = "berlin-1".parse().unwrap();
    assert_eq!(verify(&text), Err(CredentialError::WrongKey { node }));
}

#[test]
fn it_is_of_no_use_at_another_pool() {
    let theirs = NodeCredential {
        pool: pool(2),
        ..credential()
    };
    let text = theirs.sign(&key(1)).unwrap();
    let named = pool(2);
    assert_eq!(verify(&text), Err(CredentialError::AnotherPool { named }));
}

#[test]
fn it_holds_from_its_begin_to_its_end_and_no_second_longer() {
    let text = credential().sign(&key(1)).unwrap();
    let at = |now_unix| verify_at(&text, "asics", now_unix).map(|_| ());
    let begin = NOW - 60;
    assert_eq!(at(begin - CLOCK_AHEAD_SECONDS), Ok(()));
    let seconds = CLOCK_AHEAD_SECONDS + 1;
    assert_eq!(
        at(begin - seconds),
        Err(CredentialError::NotYetValid { seconds })
    );
    assert_eq!(at(NOW + 3_599), Ok(()));
    assert_eq!(
        at(NOW + 3_600),
        Err(CredentialError::Expired { seconds: 0 })
    );
    assert!(at(i64::MAX).is_err() && at(i64::MIN).is_err());
}

#[test]
fn nobody_signs_or_takes_one_for_longer_than_a_day() {
    for (not_after, fits) in [
        (24 * 3_600, true),
        (24 * 3_600 + 1, false),
        (0, false),
        (-1, false),
    ] {
        let not_after = NOW + not_after;
        let long = NodeCredential {
            not_before: NOW,
            not_after,
            ..credential()
        };
        assert_eq!(long.sign(&key(1)).is_ok(), fits, "{not_after}");
        let claims = claims().replace(&(NOW + 60).to_string(), &not_after.to_string());
        assert_eq!(
            verify(&forged(HEADER, &claims)).is_ok(),
            fits,
            "{not_after}"
        );
    }
    let widest = claims().replace(&(NOW + 60).to_string(), &i64::MAX.to_string());
    let widest = widest.replace(&NOW.to_string(), &i64::MIN.to_string());
    let refused = verify(&forged(HEADER, &widest)).unwrap_err();
    assert_eq!(refused.code(), "too-long");
}

#[test]
fn it_is_for_its_own_lanes_and_for_some() {
    let text = credential().sign(&key(1)).unwrap();
    for lane in ["", "asic", "ASICS", "asics ", &"x".repeat(300)] {
        let refused = verify_at(&text, lane, NOW).unwrap_err();
        assert_eq!(refused.code(), "unknown-lane", "{lane}");
    }
    let none = NodeCredential {
        lanes: BTreeSet::new(),
        ..credential()
    };
    assert_eq!(none.sign(&key(1)).unwrap_err().code(), "malformed");
    check_malformed(&forged(HEADER, &claims().replace(r#""asics","gpus""#, "")));
}

/// What other JWS would take, signed by the node itself.
#[test]
fn the_header_is_closed() {
    for header in [
        HEADER.replace("EdDSA", "none"),
        HEADER.replace("EdDSA", "HS256"),
        HEADER.replace("EdDSA", "eddsa"),
        HEADER.replace("hh-node-credential", "hh-cmd+jwt"),
        HEADER.replace("hh-node-credential", "JWT"),
        HEADER.replace(r#","typ""#, r#","crit":["exp"],"typ""#),
        HEADER.replace(r#","typ""#, r#","jwk":{},"typ""#),
        HEADER.replace(r#","typ""#, r#","kid":"rome","typ""#),
        HEADER.replace(r#""kid":"berlin-1","#, ""),
        HEADER.replace("berlin-1", "core"),
        HEADER.replace("berlin-1", ""),
        HEADER.replace("berlin-1", "Berlin"),
        HEADER.replace(r#""berlin-1""#, "null"),
    ] {
        check_malformed(&forged(&header, &claims()));
    }
}

#[test]
fn a_claim_that_is_malformed_is_not_taken_for_absent() {
    let (nbf, exp) = (NOW.to_string(), (NOW + 60).to_string());
    for claims in [
        claims().replace(&nbf, "null"),
        claims().replace(&nbf, "1.0"),
        claims().replace(&nbf, "1e300"),
        claims().replace(&nbf, &format!("\"{nbf}\"")),
        claims().replace(&exp, "[]"),
        claims().replace(&format!(r#","exp":{exp}"#), ""),
        claims().replace(r#""lanes""#, r#""lane""#),
        claims().replace(r#""asics""#, r#""a b""#),
        claims().replace(r#"{"lanes""#, r#"{"more":1,"lanes""#),
        claims().replace(r#"["asics","gpus"]"#, r#""asics""#),
        claims().replace(&pool(1).to_string(), "9auq"),
        "{}".to_owned(),
        String::new(),
    ] {
        check_malformed(&forged(HEADER, &claims));
    }
}

#[test]
fn the_text_has_one_form() {
    let text = credential().sign(&key(1)).unwrap();
    let line_break = format!("{text}\n");
    let padded = format!("{text}==");
    assert!(verify(&text.replacen('.', ". ", 1)).is_err());
    let more = format!("{text}.");
    let long = format!("{text}{}", "A".repeat(CREDENTIAL_BYTES_MAX));
    for text in [
        "",
        ".",
        "..",
        &line_break,
        &padded,
        &more,
        &long,
        &text[..text.len() - 2],
    ] {
        check_malformed(text);
    }
}

#[test]
fn the_longest_credential_is_taken() {
    let name = |n: usize| format!("{n:0>64}").parse().unwrap();
    let longest = NodeCredential {
        node: "n".repeat(64).parse().unwrap(),
        lanes: (0..LANES_MAX).map(name).collect(),
        ..credential()
    };
    let text = longest.sign(&key(1)).unwrap();
    assert!(text.len() <= CREDENTIAL_BYTES_MAX, "{}", text.len());
    assert!(verify_at(&text, &format!("{:0>64}", 7), NOW).is_ok());
}

prop_compose! {
    fn any_credential()(
        node in "[a-z0-9][a-z0-9._-]{0,63}".prop_filter("stands for none", |node| node != "core"),
        lanes in btree_set("[A-Za-z0-9._-]{1,64}", 1..8), pool in any::<[u8; 32]>(),
        not_before in NOW - 80_000..NOW, seconds in 80_001_i64..=86_400,
    ) -> NodeCredential {
        NodeCredential {
            node: node.parse().unwrap(),
            lanes: lanes.iter().map(|lane| lane.parse().unwrap()).collect(),
            pool: PoolAuthority::from_bytes(pool),
            not_before,
            not_after: not_before + seconds,
        }
    }
}

proptest! {
    #[test]
    fn what_a_node_signs_is_verified_on_each_of_its_lanes(
        credential in any_credential(), seed in any::<[u8; 32]>(), which in any::<Index>(),
    ) {
        let key: NodeSecretKey = hex::encode(seed).parse().unwrap();
        let text = credential.sign(&key).unwrap();
        let presented = PresentedCredential::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(presented.node(), &credential.node);
        let lanes: Vec<&LaneName> = credential.lanes.iter().collect();
        let lane = which.get(&lanes).as_str();
        let verified = presented.verify(&key.public_key(), credential.pool, lane, NOW);
        prop_assert_eq!(verified, Ok(credential.clone()));
    }

    #[test]
    fn one_bit_more_or_less_and_it_is_refused(
        credential in any_credential(), at in any::<Index>(), bit in 0..8,
    ) {
        let mut text = credential.sign(&key(1)).unwrap().into_bytes();
        let at = at.index(text.len());
        text[at] ^= 1_u8 << bit;
        let lane = credential.lanes.first().unwrap().as_str();
        let verified = PresentedCredential::parse(&text)
            .and_then(|presented| presented.verify(&key(1).public_key(), credential.pool, lane, NOW));
        prop_assert!(verified.is_err(), "{at} {bit}: {verified:?}");
    }

    #[test]
    fn arbitrary_bytes_are_refused_and_never_a_panic(
        bytes in vec(any::<u8>(), 0..400), text in "[A-Za-z0-9_.-]{0,400}",
    ) {
        prop_assert!(PresentedCredential::parse(&bytes).is_err());
        if let Ok(presented) = PresentedCredential::parse(text.as_bytes()) {
            let refused = presented.verify(&key(1).public_key(), pool(1), "asics", NOW);
            prop_assert!(refused.is_err());
        }
    }
}
