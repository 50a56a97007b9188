//! Hyper Nodes and their credentials.

use crate::config::hyper_node::{HyperNodeConfig, HyperNodeLaneConfig};
use hh_trust::node_directory::Directory;
use hh_trust::{NodeCredential, NodeSecretKey, PoolAuthority};

/// What the clock of a test that brings its own says, in Unix seconds.
pub(crate) const NOW: i64 = 1_800_000_000;

/// In seconds.
pub(crate) const HOUR: i64 = 3_600;

/// The key pair `seed`.
fn key(seed: u8) -> NodeSecretKey {
    hex::encode([seed; 32]).parse().unwrap()
}

/// A node with the key `seed` and the lane `asics`, on which no job is easier than 0.5.
pub(crate) fn config(id: &str, seed: u8) -> HyperNodeConfig {
    HyperNodeConfig {
        id: id.parse().unwrap(),
        public_key: key(seed).public_key(),
        lanes: vec![HyperNodeLaneConfig {
            name: "asics".parse().unwrap(),
            min_difficulty: Some(0.5),
            max_difficulty: None,
        }],
        revoked: false,
    }
}

/// A credential for `pool` and the lanes `asics` and `gpus`, signed by the key `seed`, that ends `seconds` after [`NOW`].
pub(crate) fn credential(id: &str, seed: u8, pool: PoolAuthority, seconds: i64) -> Vec<u8> {
    credential_at(id, seed, pool, NOW + seconds)
}

/// The same, that ends at `not_after` in Unix seconds.
pub(crate) fn credential_at(id: &str, seed: u8, pool: PoolAuthority, not_after: i64) -> Vec<u8> {
    let credential = NodeCredential {
        node: id.parse().unwrap(),
        lanes: ["asics", "gpus"].map(|lane| lane.parse().unwrap()).into(),
        pool,
        not_before: not_after - 20 * HOUR,
        not_after,
    };
    credential.sign(&key(seed)).unwrap().into_bytes()
}

/// What operators have signed: a node with the key `seed` and the lane `asics`. Revoked, if so since when.
pub(crate) fn directory(id: &str, seed: u8, revoked_at: Option<i64>) -> Directory {
    let record = serde_json::json!({
        "place": { "domain": "hyperhash.test", "chain": "regtest" },
        "node": id,
        "number": 1,
        "key": key(seed).public_key(),
        "lightning": "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "lanes": ["asics"],
        "visibility": "public",
        "at": NOW,
    });
    let signed = serde_json::json!({ "text": "", "signatures": [] });
    let mut kept = serde_json::json!({
        "nodes": {},
        "operators": {},
        "revoked_nodes": {},
        "revoked_operators": {},
    });
    kept["nodes"][id] = serde_json::json!({ "record": record, "signed": signed });
    if let Some(at) = revoked_at {
        kept["revoked_nodes"][id] = at.into();
    }
    serde_json::from_value(kept).unwrap()
}
