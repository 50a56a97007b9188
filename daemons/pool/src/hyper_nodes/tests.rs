use super::*;
use crate::config::hyper_node::HyperNodeLaneConfig;
use crate::sample::node::{self, HOUR, NOW};
use tempfile::TempDir;

fn pool() -> PoolAuthority {
    PoolAuthority::from_bytes([1; 32])
}

fn nodes(dir: &TempDir, configured: &[HyperNodeConfig]) -> HyperNodes {
    let file = StateFile::new(dir.path().join("nodes.json"));
    HyperNodes::open(pool(), configured, file).unwrap()
}

fn code(admitted: Result<Passage, Refusal>) -> &'static str {
    admitted.unwrap_err().code()
}

#[test]
fn a_credential_of_a_known_node_lets_shares_through_its_lane() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = nodes(&dir, &[node::config("berlin", 1)]);
    let credential = node::credential("berlin", 1, pool(), HOUR);
    let passage = nodes.admit(&credential, "asics", NOW).unwrap();
    assert_eq!(
        (passage.node.as_str(), passage.lane.as_str()),
        ("berlin", "asics")
    );
    assert_eq!(passage.difficulty.min, Some(0.5));
    assert_eq!(passage.not_after_unix, NOW + HOUR);
}

#[test]
fn every_refusal_has_a_code_that_is_a_label() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = nodes(&dir, &[node::config("berlin", 1)]);
    let admit = |credential: &[u8], lane: &str| code(nodes.admit(credential, lane, NOW));
    let mine = node::credential("berlin", 1, pool(), HOUR);
    let other_pool = PoolAuthority::from_bytes([2; 32]);
    let refused = [
        (admit(b"", "asics"), "malformed"),
        (
            admit(&node::credential("rome", 1, pool(), HOUR), "asics"),
            "unknown-node",
        ),
        (
            admit(&node::credential("berlin", 2, pool(), HOUR), "asics"),
            "wrong-key",
        ),
        (
            admit(&node::credential("berlin", 1, other_pool, HOUR), "asics"),
            "another-pool",
        ),
        (
            admit(&node::credential("berlin", 1, pool(), -1), "asics"),
            "expired",
        ),
        (
            code(nodes.admit(&mine, "asics", NOW - 2 * 86_400)),
            "not-yet-valid",
        ),
        (admit(&mine, "solar"), "unknown-lane"),
        // In the credential, and not in the configuration.
        (admit(&mine, "gpus"), "unknown-lane"),
    ];
    for (code, expected) in refused {
        assert_eq!(code, expected);
        assert!(REFUSAL_CODES.contains(&code));
    }
}

#[test]
fn a_revoked_key_is_refused_over_restarts_and_another_key_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let configured = [node::config("berlin", 1), node::config("rome", 3)];
    let mine = node::credential("berlin", 1, pool(), HOUR);
    let first = nodes(&dir, &configured);
    first.revoke("berlin", "stolen".to_owned(), 7).unwrap();
    assert_eq!(code(first.admit(&mine, "asics", NOW)), "revoked");
    // Who does not have the key does not learn of it.
    let forged = node::credential("berlin", 2, pool(), HOUR);
    assert_eq!(code(first.admit(&forged, "asics", NOW)), "wrong-key");
    let rome = node::credential("rome", 3, pool(), HOUR);
    assert!(first.admit(&rome, "asics", NOW).is_ok());

    let again = nodes(&dir, &configured);
    assert_eq!(code(again.admit(&mine, "asics", NOW)), "revoked");
    let reasons: Vec<Option<String>> = again
        .list()
        .into_iter()
        .map(|(_, revocation)| revocation.map(|revocation| revocation.reason))
        .collect();
    assert_eq!(reasons, [Some("stolen".to_owned()), None]);

    let renewed = nodes(&dir, &[node::config("berlin", 4)]);
    let mine = node::credential("berlin", 4, pool(), HOUR);
    assert!(renewed.admit(&mine, "asics", NOW).is_ok());
}

#[test]
fn a_node_that_is_revoked_in_the_configuration_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let revoked = HyperNodeConfig {
        revoked: true,
        ..node::config("berlin", 1)
    };
    let nodes = nodes(&dir, &[revoked]);
    let mine = node::credential("berlin", 1, pool(), HOUR);
    assert_eq!(code(nodes.admit(&mine, "asics", NOW)), "revoked");
}

#[test]
fn what_can_t_be_revoked_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = nodes(&dir, &[node::config("berlin", 1)]);
    let revoke = |node: &str, reason: &str| nodes.revoke(node, reason.to_owned(), 0);
    assert!(matches!(revoke("rome", ""), Err(RevokeError::Unknown(_))));
    assert!(matches!(
        revoke("Not a name", ""),
        Err(RevokeError::Unknown(_))
    ));
    assert!(matches!(
        revoke("berlin", &"x".repeat(201)),
        Err(RevokeError::LongReason(201))
    ));
    revoke("berlin", "").unwrap();
    assert!(matches!(revoke("berlin", ""), Err(RevokeError::Already(_))));
}

#[test]
fn a_lane_without_bounds_has_those_of_the_lane_that_it_connects_to() {
    let lane = HyperNodeLaneConfig {
        name: "asics".parse().unwrap(),
        min_difficulty: None,
        max_difficulty: None,
    };
    assert_eq!(lane.difficulty(), DifficultyRange::default());
}
