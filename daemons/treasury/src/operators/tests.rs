use super::*;
use hh_ledger::books::{DestinationKind, PayTo, Payee, PayoutId, PayoutState};
use hh_mining::Msat;
use hh_trust::operator_key::OperatorKey;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A person with an SSH key of OpenSSH's own making.
struct Person {
    dir: TempDir,
}

impl Person {
    /// None where there is no ssh-keygen.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]);
        keygen.arg(dir.path().join("key")).output().ok()?;
        Some(Self { dir })
    }

    fn key(&self) -> OperatorKey {
        let line = std::fs::read_to_string(self.dir.path().join("key.pub")).unwrap();
        line.parse().unwrap()
    }

    fn sign(&self, draft: &Signed) -> Signed {
        let (key, text) = (self.dir.path().join("key"), self.dir.path().join("text"));
        std::fs::write(&text, &draft.text).unwrap();
        std::fs::remove_file(signature(&text)).ok();
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", "hh-approval", "-f"]);
        let signed = sign.arg(key).arg(&text).output().unwrap();
        assert!(signed.status.success(), "{signed:?}");
        Signed {
            text: draft.text.clone(),
            signatures: vec![std::fs::read_to_string(signature(&text)).unwrap()],
        }
    }
}

fn signature(text: &Path) -> std::path::PathBuf {
    text.with_extension("sig")
}

fn payout(amount: u64) -> Payout {
    Payout {
        id: PayoutId(7),
        key: String::new(),
        payee: Payee::Miner("alice".to_owned()),
        amount: Msat(amount),
        to: PayTo {
            kind: DestinationKind::LnAddress,
            text: "alice@wallet.example".to_owned(),
        },
        rule: String::new(),
        approvals_needed: 2,
        state: PayoutState::Queued,
        next_try_at_ms: None,
        tries: 0,
        created_at_ms: 0,
        ended_at_ms: None,
        reason: None,
    }
}

fn operators(listed: &[(&str, &Person)]) -> Operators {
    let keys = listed.iter();
    let keys = keys.map(|(name, person)| (name.parse().unwrap(), person.key()));
    let listed = OperatorList::new(keys.collect()).unwrap();
    let domain = "hyperhash.test".parse().unwrap();
    let trust = TrustConfig {
        domain: Some(&domain),
        operators: &listed,
        directory: None,
    };
    Operators::new(&trust, "regtest", watch::channel(Arc::default()).1)
}

#[test]
fn a_listed_operator_approves_exactly_what_he_has_signed() {
    let (Some(alice), Some(bob)) = (Person::new(), Person::new()) else {
        return;
    };
    let ours = operators(&[("alice", &alice), ("bob", &bob)]);
    let holding: BTreeSet<String> = ["key:alice".to_owned(), "key:bob".to_owned()].into();
    assert_eq!(ours.holding(), Some(holding));
    let draft = ours.draft(&payout(5_000)).unwrap();
    let signed = alice.sign(&draft);
    let approved = ours.approved(&payout(5_000), &signed).unwrap();
    assert_eq!(approved.by, ["alice".parse().unwrap()].into());
    let more = ours.approved(&payout(5_001), &signed).unwrap_err();
    assert!(more.to_string().contains("something else"), "{more}");
    let mut elsewhere = payout(5_000);
    elsewhere.to.text = "eve@wallet.example".to_owned();
    ours.approved(&elsewhere, &signed).unwrap_err();
    let mut next = payout(5_000);
    next.id = PayoutId(8);
    ours.approved(&next, &signed).unwrap_err();
}

/// Who has stolen core has the certificates, the tokens and the database of a network, and can make keys; not those of its operators.
#[test]
fn a_core_that_was_stolen_approves_no_payout() {
    let (Some(alice), Some(bob), Some(thief)) = (Person::new(), Person::new(), Person::new())
    else {
        return;
    };
    let ours = operators(&[("alice", &alice), ("bob", &bob)]);
    let draft = ours.draft(&payout(5_000)).unwrap();
    let by_thief = thief.sign(&draft);
    let refused = ours.approved(&payout(5_000), &by_thief).unwrap_err();
    assert!(matches!(refused, ApprovalError::NoOperator), "{refused}");
    // In a list of his own he is an operator: the list is what counts.
    let his = operators(&[("alice", &thief)]);
    his.approved(&payout(5_000), &by_thief).unwrap();
    // An approval that passed by, for another payout.
    let seen = alice.sign(&ours.draft(&payout(1)).unwrap());
    ours.approved(&payout(5_000), &seen).unwrap_err();
    let edited = Signed {
        text: draft.text,
        ..seen
    };
    ours.approved(&payout(5_000), &edited).unwrap_err();
}

#[test]
fn where_no_operator_is_listed_nothing_is_to_sign() {
    let none = operators(&[]);
    assert!(!none.have_keys());
    assert!(none.draft(&payout(1)).is_none());
    assert_eq!(none.holding(), None);
    let nothing = Signed {
        text: "{}".to_owned(),
        signatures: Vec::new(),
    };
    none.approved(&payout(1), &nothing).unwrap_err();
}
