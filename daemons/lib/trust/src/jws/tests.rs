use super::*;
use crate::key_pair::{SecretPair, has_signed};
use proptest::prelude::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    number: u64,
}

fn pair() -> SecretPair {
    SecretPair::from_hex(&"01".repeat(32)).unwrap()
}

fn token() -> String {
    compact("test", "key-1", &Said { number: 7 }, |bytes| {
        pair().sign(bytes)
    })
}

fn read(token: &str) -> Result<Said, JwsError> {
    let presented = Presented::<String>::parse(token, "test", 1_000)?;
    let Presented {
        signed, signature, ..
    } = &presented;
    assert_eq!(presented.kid, "key-1");
    if !has_signed(&pair().public(), signed.as_bytes(), signature) {
        return Err(JwsError::Claims);
    }
    presented.claims()
}

/// The token with another header, signed by the key all the same.
fn headed(header: &str) -> String {
    let signed = format!(
        "{}.{}",
        text(header.as_bytes()),
        encode(&Said { number: 7 })
    );
    let signature = text(&pair().sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[test]
fn what_is_signed_is_read() {
    assert_eq!(read(&token()), Ok(Said { number: 7 }));
    let same = headed(r#"{"alg":"EdDSA","kid":"key-1","typ":"test"}"#);
    assert_eq!(same, token());
}

#[test]
fn a_header_asks_for_nothing() {
    for (header, expected) in [
        (
            r#"{"alg":"none","kid":"key-1","typ":"test"}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"HS256","kid":"key-1","typ":"test"}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"ES256","kid":"key-1","typ":"test"}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"eddsa","kid":"key-1","typ":"test"}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"EdDSA","kid":"key-1","typ":"other"}"#,
            JwsError::Kind,
        ),
        (
            r#"{"alg":"EdDSA","kid":"key-1","typ":"TEST"}"#,
            JwsError::Kind,
        ),
        (r#"{"alg":"EdDSA","kid":1,"typ":"test"}"#, JwsError::Header),
        (r#"{"alg":"EdDSA","typ":"test"}"#, JwsError::Header),
        (
            r#"{"alg":"EdDSA","kid":"key-1","typ":"test","crit":["exp"]}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"EdDSA","kid":"key-1","typ":"test","b64":false}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"EdDSA","kid":"key-1","typ":"test","jwk":{}}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"EdDSA","kid":"key-1","typ":"test","jku":"https://x"}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"EdDSA","kid":"key-1","typ":"test","x5u":"https://x"}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"EdDSA","alg":"EdDSA","kid":"key-1","typ":"test"}"#,
            JwsError::Header,
        ),
        (
            r#"{"alg":"EdDSA","kid":"key-0","kid":"key-1","typ":"test"}"#,
            JwsError::Header,
        ),
        ("", JwsError::Header),
    ] {
        assert_eq!(read(&headed(header)), Err(expected), "{header}");
    }
}

#[test]
fn another_writing_of_the_same_token_is_none() {
    let token = token();
    for other in [
        format!("{token}."),
        format!(".{token}"),
        format!("{token}="),
        format!("{token} "),
        format!("{token}\n"),
        format!(" {token}"),
        token.replacen('.', "..", 1),
        token.replacen('.', "", 1),
        token.replacen('.', "=.", 1),
        token.replace('.', ""),
        String::new(),
        "..".to_owned(),
    ] {
        assert!(read(&other).is_err(), "{other:?}");
    }
    let long = format!("{token}{}", "A".repeat(1_000));
    assert_eq!(read(&long), Err(JwsError::TooLong));
}

proptest! {
    #[test]
    fn a_changed_byte_is_refused(at: prop::sample::Index, flip in 1..=255_u8) {
        let mut bytes = token().into_bytes();
        let place = at.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(changed) = String::from_utf8(bytes) {
            // The key's name is signed as well, and what it names is compared by who reads it.
            let parsed = Presented::<String>::parse(&changed, "test", 1_000);
            let taken = parsed.is_ok_and(|presented| {
                has_signed(&pair().public(), presented.signed.as_bytes(), &presented.signature)
            });
            prop_assert!(!taken, "{}", changed);
        }
    }

    #[test]
    fn no_text_panics(token in ".{0,200}") {
        prop_assert!(Presented::<String>::parse(&token, "test", 1_000).is_err());
    }
}
