use super::*;
use crate::{CheckpointKey, CommandKey};

const NOW: i64 = 1_800_000_000;

fn network() -> NetworkKey {
    "03".repeat(32).parse().unwrap()
}

fn domain() -> TrustDomain {
    "hyperhash.example".parse().unwrap()
}

fn set(version: u64) -> KeySet {
    let command: CommandKey = "04".repeat(32).parse().unwrap();
    let checkpoint: CheckpointKey = "05".repeat(32).parse().unwrap();
    KeySet {
        version,
        domain: domain(),
        commands: vec![TimedKey {
            key: command.public_key(),
            nbf: NOW,
            exp: NOW + 10,
        }],
        checkpoints: vec![TimedKey {
            key: checkpoint.public_key(),
            nbf: NOW,
            exp: NOW + 10,
        }],
    }
}

fn verify(text: &str, known: u64) -> Result<KeySet, KeySetError> {
    KeySet::verify(text, &network().public_key(), &domain(), known)
}

#[test]
fn a_list_is_taken_once_it_is_newer() {
    let text = set(7).sign(&network()).unwrap();
    assert_eq!(verify(&text, 6), Ok(set(7)));
    for known in [7, 8] {
        let version = 7;
        assert_eq!(
            verify(&text, known),
            Err(KeySetError::Older { version, known })
        );
    }
}

#[test]
fn another_network_or_key_is_refused() {
    let other = NetworkKey::generate().unwrap();
    assert_eq!(
        verify(&set(1).sign(&other).unwrap(), 0),
        Err(KeySetError::Key)
    );
    // Under our key's name it is none of ours.
    let mixed = jws::compact(TYPE, network().public_key(), &set(1), |bytes| {
        other.sign(bytes)
    });
    assert_eq!(verify(&mixed, 0), Err(KeySetError::Key));
    let named: TrustDomain = "another.example".parse().unwrap();
    let theirs = KeySet {
        domain: named.clone(),
        ..set(1)
    };
    let refused = verify(&theirs.sign(&network()).unwrap(), 0);
    assert_eq!(refused, Err(KeySetError::AnotherNetwork { named }));
}

#[test]
fn a_key_counts_in_its_time_only() {
    let set = set(1);
    let key = set.commands[0].key;
    let other = CommandKey::generate().unwrap().public_key();
    assert!(set.commands_by(&key, NOW) && set.commands_by(&key, NOW + 9));
    assert!(!set.commands_by(&key, NOW - 1) && !set.commands_by(&key, NOW + 10));
    assert!(!set.commands_by(&other, NOW));
    let key = set.checkpoints[0].key;
    assert!(set.checkpoints_by(&key, NOW) && !set.checkpoints_by(&key, NOW + 10));
}

#[test]
fn a_list_of_impossible_keys_is_neither_signed_nor_taken() {
    let mut backwards = set(1);
    backwards.commands[0].exp = NOW;
    let mut many = set(1);
    many.checkpoints = vec![many.checkpoints[0]; 17];
    for wrong in [backwards, many] {
        assert!(matches!(wrong.sign(&network()), Err(KeySetError::Claim(_))));
        let text = jws::compact(TYPE, network().public_key(), &wrong, |bytes| {
            network().sign(bytes)
        });
        assert!(matches!(verify(&text, 0), Err(KeySetError::Claim(_))));
    }
}
