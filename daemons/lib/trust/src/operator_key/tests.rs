use super::*;
use crate::key_pair::SecretPair;
use proptest::prelude::*;

/// An operator in tests: a key that signs as ssh-keygen does.
pub(crate) struct Signer(SecretPair);

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SecretPair::from_hex(&hex::encode([seed; 32])).unwrap())
    }

    pub(crate) fn key(&self) -> OperatorKey {
        OperatorKey(self.0.public())
    }

    pub(crate) fn sign(&self, namespace: &str, message: &[u8]) -> String {
        let signed = SshSig::signed_data(namespace, HashAlg::Sha512, message).unwrap();
        let bytes = self.0.sign(&signed).to_vec();
        let signature = ssh_key::Signature::new(Algorithm::Ed25519, bytes).unwrap();
        let signature = SshSig::new(self.key().data(), namespace, HashAlg::Sha512, signature);
        signature.unwrap().to_pem(ssh_key::LineEnding::LF).unwrap()
    }
}

const NAMESPACE: &str = "hh-test";

#[test]
fn a_key_is_the_line_of_its_file() {
    let key = Signer::new(1).key();
    let text = key.to_string();
    assert!(
        text.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"),
        "{text}"
    );
    assert_eq!(text.parse(), Ok(key));
    assert_eq!(format!("{text} alice@example\n").parse(), Ok(key));
    assert!(key.fingerprint().starts_with("SHA256:"));
    let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";
    for text in [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        &text[1..],
        &text[..60],
        ecdsa,
    ] {
        assert!(text.parse::<OperatorKey>().is_err(), "{text}");
    }
}

#[test]
fn a_signature_is_of_one_key_one_text_and_one_purpose() {
    let (alice, bob) = (Signer::new(1), Signer::new(2));
    let signature = alice.sign(NAMESPACE, b"text");
    assert!(signature.starts_with("-----BEGIN SSH SIGNATURE-----"));
    assert_eq!(alice.key().verify(NAMESPACE, b"text", &signature), Ok(()));
    let wrong = Err(OperatorKeyError::Wrong(alice.key()));
    assert_eq!(alice.key().verify(NAMESPACE, b"texT", &signature), wrong);
    let wrong = Err(OperatorKeyError::Wrong(bob.key()));
    assert_eq!(bob.key().verify(NAMESPACE, b"text", &signature), wrong);
    let git = alice.sign("git", b"text");
    let error = alice.key().verify(NAMESPACE, b"text", &git).unwrap_err();
    assert!(
        matches!(error, OperatorKeyError::Namespace { .. }),
        "{error}"
    );
    for text in ["", "x", &signature[10..], &signature.repeat(10)] {
        let error = alice.key().verify(NAMESPACE, b"text", text).unwrap_err();
        assert!(matches!(error, OperatorKeyError::Signature(_)), "{error}");
    }
}

#[test]
fn ssh_keygen_signs_what_is_taken_here_and_takes_what_is_signed_here() {
    use std::process::Command;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "alice", "-f"]);
    if keygen.arg(path("key")).output().is_err() {
        eprintln!("skipped: there is no ssh-keygen here");
        return;
    }
    std::fs::write(path("text"), b"text\n").unwrap();
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"]);
    let signed = sign.arg(path("key")).arg(path("text")).output().unwrap();
    assert!(signed.status.success(), "{signed:?}");
    let key: OperatorKey = std::fs::read_to_string(path("key.pub"))
        .unwrap()
        .parse()
        .unwrap();
    let signature = std::fs::read_to_string(path("text.sig")).unwrap();
    assert_eq!(key.verify(NAMESPACE, b"text\n", &signature), Ok(()));
    let shown = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(path("key.pub"))
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(&key.fingerprint()), "{shown}");
    // The other way round.
    let ours = Signer::new(1);
    std::fs::write(path("allowed"), format!("alice {}\n", ours.key())).unwrap();
    std::fs::write(path("ours.sig"), ours.sign(NAMESPACE, b"text\n")).unwrap();
    let mut verify = Command::new("ssh-keygen");
    verify.args(["-Y", "verify", "-n", NAMESPACE, "-I", "alice", "-f"]);
    verify.arg(path("allowed")).arg("-s").arg(path("ours.sig"));
    let verified = verify
        .stdin(std::fs::File::open(path("text")).unwrap())
        .output();
    let verified = verified.unwrap();
    assert!(verified.status.success(), "{verified:?}");
}

fn list() -> OperatorList {
    let keys = [("alice", 1), ("bob", 2)];
    let keys = keys.map(|(name, seed)| (name.parse().unwrap(), Signer::new(seed).key()));
    OperatorList::new(keys.into()).unwrap()
}

#[test]
fn who_signs_twice_is_one_and_a_stranger_is_none() {
    let [alice, bob, eve] = [1, 2, 3].map(|seed| Signer::new(seed).sign(NAMESPACE, b"text"));
    let signers = |signatures: &[&String]| {
        let signatures: Vec<String> = signatures.iter().map(|text| (*text).clone()).collect();
        let signers = list().signers(NAMESPACE, b"text", &signatures);
        signers.map(|signers| signers.len())
    };
    assert_eq!(signers(&[]), Ok(0));
    assert_eq!(signers(&[&alice, &alice]), Ok(1));
    assert_eq!(signers(&[&alice, &eve]), Ok(1));
    assert_eq!(signers(&[&eve]), Ok(0));
    assert_eq!(signers(&[&alice, &bob]), Ok(2));
    let other = Signer::new(2).sign(NAMESPACE, b"other");
    let wrong = OperatorKeyError::Wrong(Signer::new(2).key());
    assert_eq!(signers(&[&alice, &other]), Err(wrong));
}

#[test]
fn one_person_is_not_two_operators() {
    let key = Signer::new(1).key();
    let keys = [("alice", key), ("alice2", key)];
    let keys = keys.map(|(name, key)| (name.parse().unwrap(), key));
    let refused = OperatorList::new(keys.into());
    assert!(matches!(refused, Err(OperatorKeyError::Twice(_, _))));
    let text = format!("alice = \"{key}\"\nbob = \"{key}\"");
    assert!(toml::from_str::<OperatorList>(&text).is_err());
    let text = format!("alice = \"{key} alice@laptop\"");
    let list: OperatorList = toml::from_str(&text).unwrap();
    assert_eq!(
        list.name_of(&key).map(ToString::to_string).as_deref(),
        Some("alice")
    );
    for name in ["", "Alice", "a b", "1a", &"a".repeat(33)] {
        assert!(name.parse::<OperatorName>().is_err(), "{name:?}");
    }
}

proptest! {
    #[test]
    fn a_changed_signature_is_refused(at: prop::sample::Index, flip in 1..=255_u8) {
        let alice = Signer::new(1);
        let signature = alice.sign(NAMESPACE, b"text");
        let mut bytes = signature.clone().into_bytes();
        let place = at.index(bytes.len() - 1);
        bytes[place] ^= flip;
        if let Ok(changed) = String::from_utf8(bytes) {
            // Armor may be broken into lines in another way; what is in it may not change.
            let inside = |text: &str| text.split_whitespace().collect::<String>();
            prop_assume!(inside(&changed) != inside(&signature));
            prop_assert!(alice.key().verify(NAMESPACE, b"text", &changed).is_err(), "{}", changed);
        }
    }
}
