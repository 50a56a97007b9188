//! The Hyper Nodes that are paid.

use super::TreasuryConfig;
use bitcoin::secp256k1::PublicKey;
use hh_daemon::Mistakes;
use hh_trust::{NodeId, NodePublicKey};
use serde::Deserialize;
use std::collections::BTreeSet;

/// A node that sends invoices for its dues.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HyperNodeConfig {
    /// As shares that came in through it name it.
    pub id: NodeId,
    /// With which it signs what it submits: `hhnode1...`.
    pub public_key: NodePublicKey,
    /// Its Lightning node; invoices of any other are not paid. 66 hex digits.
    pub lightning_node_id: PublicKey,
}

impl TreasuryConfig {
    pub(super) fn check_hyper_nodes(&self, mistakes: &mut Mistakes) {
        let mut ids = BTreeSet::new();
        let mut keys = BTreeSet::new();
        let mut wallets = BTreeSet::new();
        for (index, node) in self.hyper_nodes.iter().enumerate() {
            let table = format!("hyper_nodes.{index}");
            if !ids.insert(&node.id) {
                let what = format!("there is another node {}", node.id);
                let fix = "give each node a name of its own";
                mistakes.add(format!("{table}.id"), what, fix);
            }
            if !keys.insert(node.public_key) {
                let fix = "make one on each node: hhctl node key generate FILE";
                let what = "another node has this key";
                mistakes.add(format!("{table}.public_key"), what, fix);
            }
            if !wallets.insert(node.lightning_node_id) {
                let what = "another node is paid there";
                let fix = "write the id of the Lightning node that this node runs";
                mistakes.add(format!("{table}.lightning_node_id"), what, fix);
            }
        }
    }
}
