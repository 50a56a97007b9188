//! Hyper Nodes and their credentials.

use crate::config::hyper_node::{HyperNodeConfig, HyperNodeLaneConfig};
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
