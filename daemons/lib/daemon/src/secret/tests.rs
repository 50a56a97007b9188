use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

fn secret_file(mode: u32, content: &[u8]) -> (tempfile::TempDir, SecretRef) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (dir, SecretRef::File(path))
}

#[test]
fn references_are_read_back_as_written() {
    for text in [
        "file:/etc/key",
        "cred:authority",
        "age:///etc/key.age",
        "sops:///etc/keys.yaml#pool.key",
    ] {
        assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
    }
}

#[test]
fn a_secret_written_in_place_of_a_reference_is_refused_and_not_repeated() {
    let error = "5f4dcc3b5aa765d61d83".parse::<SecretRef>().unwrap_err();
    assert!(!error.to_string().contains("5f4dcc"), "{error}");
    for text in ["file:relative", "cred:../x", "cred:", "sops:///x", "age:x"] {
        assert!(text.parse::<SecretRef>().is_err(), "{text}");
    }
}

#[test]
fn a_file_of_the_owner_alone_is_read_without_its_line_break() {
    let (_dir, reference) = secret_file(0o600, b"hunter2\n");
    assert_eq!(reference.read().unwrap().expose(), "hunter2");
}

#[test]
fn a_file_open_to_others_is_refused_with_the_command_that_closes_it() {
    let (_dir, reference) = secret_file(0o640, b"hunter2\n");
    let error = reference.read().unwrap_err().to_string();
    assert!(error.contains("run: chmod 600 /"), "{error}");
}

#[test]
fn what_is_no_text_or_no_file_is_refused() {
    let (dir, reference) = secret_file(0o600, b"\xff\xfe");
    assert!(matches!(reference.read(), Err(SecretError::Content(_))));
    let dir = SecretRef::File(dir.path().to_owned());
    assert!(matches!(dir.read(), Err(SecretError::Content(_))));
}

/// A directory with the secret of an age file, and the credential `age-identity` with `identity` in it.
fn encrypted(
    content: &[u8],
    armored: bool,
    identity: &[u8],
    recipient: &age::x25519::Recipient,
) -> (tempfile::TempDir, SecretRef) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seed.age");
    let encrypted = if armored {
        age::encrypt_and_armor(recipient, content)
            .unwrap()
            .into_bytes()
    } else {
        age::encrypt(recipient, content).unwrap()
    };
    fs::write(&path, encrypted).unwrap();
    fs::write(dir.path().join(AGE_IDENTITY), identity).unwrap();
    (dir, SecretRef::Age(path))
}

fn identity_file(identity: &age::x25519::Identity) -> Vec<u8> {
    let identity = identity.to_string();
    let secret = age::secrecy::ExposeSecret::expose_secret(&identity);
    format!("# created: today\n{secret}\n").into_bytes()
}

#[test]
fn a_file_that_is_encrypted_with_age_is_opened_with_the_credential() {
    let identity = age::x25519::Identity::generate();
    for armored in [false, true] {
        let file = identity_file(&identity);
        let (dir, reference) = encrypted(b"hunter2\n", armored, &file, &identity.to_public());
        let secret = reference.read_with(Some(dir.path())).unwrap();
        assert_eq!(secret.expose(), "hunter2");
    }
}

#[test]
fn a_file_that_can_not_be_decrypted_says_why_and_what_to_do() {
    let (identity, other) = (
        age::x25519::Identity::generate(),
        age::x25519::Identity::generate(),
    );
    let file = identity_file(&identity);
    let check = |reference: &SecretRef, dir: Option<&Path>, expected: &[&str]| {
        let error = reference.read_with(dir).unwrap_err().to_string();
        for words in expected {
            assert!(error.contains(words), "{words:?} is not in: {error}");
        }
        assert!(
            !error.contains("hunter2") && !error.contains("AGE-SECRET-KEY"),
            "{error}"
        );
    };
    let (dir, reference) = encrypted(b"hunter2", false, &file, &other.to_public());
    check(&reference, None, &["LoadCredential=age-identity:/PATH"]);
    let empty = tempfile::tempdir().unwrap();
    check(
        &reference,
        Some(empty.path()),
        &["no credential age-identity"],
    );
    check(
        &reference,
        Some(dir.path()),
        &["seed.age", "encrypt it to that identity"],
    );
    let (dir, reference) = encrypted(b"hunter2", false, b"x", &identity.to_public());
    check(&reference, Some(dir.path()), &["age-keygen"]);
    let (dir, reference) = encrypted(b"hunter2", true, &file, &identity.to_public());
    // Cut short, changed, and no age file at all.
    let path = dir.path().join("seed.age");
    let whole = age::encrypt(&identity.to_public(), b"hunter2").unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for damaged in [&whole[..whole.len() - 1], &changed, b"hunter2", b""] {
        fs::write(&path, damaged).unwrap();
        check(
            &reference,
            Some(dir.path()),
            &["can't open the secret age:///"],
        );
    }
    let (dir, reference) = encrypted(b"\xff\xfe", true, &file, &identity.to_public());
    check(&reference, Some(dir.path()), &["UTF-8"]);
}

#[test]
fn debug_shows_no_secret() {
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
}
