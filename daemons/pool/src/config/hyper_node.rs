//! The Hyper Nodes that shares may come through.

use super::PoolConfig;
use crate::difficulty::{DIFFICULTIES, DifficultyRange};
use hh_daemon::Mistakes;
use hh_mining::Account;
use hh_trust::{LaneName, NodeId, NodePublicKey};
use serde::Deserialize;
use std::collections::BTreeSet;

/// A node whose credential is taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HyperNodeConfig {
    /// Goes with every share that comes through it.
    pub id: NodeId,
    /// The half of its key that the node gives out: `hhnode1...`.
    pub public_key: NodePublicKey,
    /// Through which of its lanes shares may come; its credential names them too.
    pub lanes: Vec<HyperNodeLaneConfig>,
    /// It is not let in any more.
    #[serde(default)]
    pub revoked: bool,
}

/// A lane of a node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HyperNodeLaneConfig {
    pub name: LaneName,
    /// No job of this lane is easier than this difficulty; as that of the pool's lane that it connects to where it is not given.
    pub min_difficulty: Option<f64>,
    /// No job of this lane is harder than this difficulty; likewise.
    pub max_difficulty: Option<f64>,
}

impl HyperNodeLaneConfig {
    pub(crate) fn difficulty(&self) -> DifficultyRange {
        DifficultyRange {
            min: self.min_difficulty,
            max: self.max_difficulty,
        }
    }
}

impl PoolConfig {
    pub(super) fn check_hyper_nodes(&self, mistakes: &mut Mistakes) {
        let mut ids = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for (index, node) in self.hyper_nodes.iter().enumerate() {
            let table = format!("hyper_nodes.{index}");
            if !ids.insert(&node.id) {
                let what = format!("there is another node {}", node.id);
                mistakes.add(
                    format!("{table}.id"),
                    what,
                    "give each node a name of its own",
                );
            }
            if !keys.insert(node.public_key) {
                let fix = "make one on each node: hhctl node key generate FILE";
                mistakes.add(
                    format!("{table}.public_key"),
                    "another node has this key",
                    fix,
                );
            }
            if node.lanes.is_empty() {
                let fix = "add `lanes = [{ name = \"...\" }]` with the names that the node gives its lanes";
                mistakes.add(
                    format!("{table}.lanes"),
                    "no share can come through no lane",
                    fix,
                );
            }
            self.check_node_lanes(&table, node, mistakes);
        }
    }

    pub(super) fn check_private_nodes(&self, mistakes: &mut Mistakes) {
        for (node, accounts) in &self.private_nodes {
            let key = format!("private_nodes.{node}");
            if accounts.is_empty() {
                let fix = "name the accounts that it serves, or take it out if it serves everybody";
                mistakes.add(key.clone(), "a node that serves nobody", fix);
            }
            for account in accounts {
                let spelt = Account::parse(account, self.chain).map(|account| account.to_string());
                if spelt.as_ref() != Ok(account) {
                    let what = format!("{account:?} is no account, or not as it is spelt");
                    let fix = "write it as `hhctl worker list` shows it, without the worker";
                    mistakes.add(key.clone(), what, fix);
                }
            }
        }
    }

    fn check_node_lanes(&self, table: &str, node: &HyperNodeConfig, mistakes: &mut Mistakes) {
        let mut names = BTreeSet::new();
        for (index, lane) in node.lanes.iter().enumerate() {
            let table = format!("{table}.lanes.{index}");
            if !names.insert(&lane.name) {
                let what = format!("the node {} has another lane {}", node.id, lane.name);
                mistakes.add(format!("{table}.name"), what, "name each lane once");
            }
            let range = lane.difficulty().or(self.vardiff.range());
            if let Err(error) = range.check() {
                let (min, max) = (DIFFICULTIES.start(), DIFFICULTIES.end());
                let fix = format!("write numbers from {min:e} to {max:e}, the smallest first");
                mistakes.add(format!("{table}.min_difficulty"), error.to_string(), fix);
            }
        }
    }
}
