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

#[test]
fn encrypted_references_are_not_supported_yet_and_say_so() {
    let error = "age:///x".parse::<SecretRef>().unwrap().read().unwrap_err();
    assert!(error.to_string().contains("not supported by this daemon"));
}

#[test]
fn debug_shows_no_secret() {
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
}
