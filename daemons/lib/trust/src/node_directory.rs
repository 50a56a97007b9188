//! Which nodes and operators a daemon believes in: statements of the operators that its own configuration lists, and nothing that a
//! core says.
//!
//! One operator admits a node. Two are needed for another operator's key, and for another Lightning node id of a node that is known:
//! that is where its money goes. A revocation is believed from anybody who can give one, as it only takes away. It is kept until
//! a record is signed after it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::operator_key::{OperatorKey, OperatorList, OperatorName};
use crate::statement::{NodeRecord, OperatorRecord, Place, Signed, Statement, StatementError};
use crate::{NodeId, NodePublicKey};

/// Operators who must agree where money may go somewhere else.
const THRESHOLD: usize = 2;

/// Most nodes and most operators: who can make a daemon hold more has other ways.
const ENTRIES_MAX: usize = 100_000;

/// Most revocations of names that no record has. Who can make them up, a core that was stolen, fills no disk with them, and keeps out
/// none of a name that has a record.
const STRANGERS_MAX: usize = 10_000;

/// Why a record is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// It is not believed.
    #[error("the record is not believed")]
    Statement(#[from] StatementError),
    /// An old one.
    #[error("the record of {name} has the number {number}, and {known} is known")]
    Older {
        /// Whose.
        name: String,
        /// Of the record.
        number: u64,
        /// The last one that was taken.
        known: u64,
    },
    /// It was signed before the revocation.
    #[error(
        "{name} was revoked at {revoked} (Unix seconds), after the record was signed: sign a new one"
    )]
    Revoked {
        /// Who.
        name: String,
        /// When.
        revoked: i64,
    },
    /// Another node or operator has the key.
    #[error("the key of {name} is that of {other}")]
    KeyTwice {
        /// Whose record it is.
        name: String,
        /// Who has it.
        other: String,
    },
    /// It is from the future.
    #[error(
        "the record was signed {ahead_seconds} s from now: set the clock of who signed it right"
    )]
    Ahead {
        /// How far.
        ahead_seconds: i64,
    },
    /// There is no room.
    #[error("there are {ENTRIES_MAX} records, and no more are taken")]
    Full,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is new.
    New,
    /// It is in the place of an older one.
    Changed,
    /// It was known.
    Known,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept<R> {
    record: R,
    signed: Signed,
}

/// What a daemon keeps in its data directory: it mines and pays on while there is no core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    nodes: BTreeMap<NodeId, Kept<NodeRecord>>,
    operators: BTreeMap<OperatorName, Kept<OperatorRecord>>,
    /// Since when, in Unix seconds.
    revoked_nodes: BTreeMap<NodeId, i64>,
    revoked_operators: BTreeMap<OperatorName, i64>,
    /// The last records that went because no operator of the configuration stands for them now: those before them stay superseded.
    #[serde(default)]
    former_nodes: BTreeMap<NodeId, NodeRecord>,
    #[serde(default)]
    former_operators: BTreeMap<OperatorName, OperatorRecord>,
}

impl<R: Statement + PartialEq> Kept<R> {
    /// Keeps the signatures that more of those listed have made: who leaves the configuration takes along no record that others
    /// have signed too.
    fn keep_more(&mut self, signed: &Signed, signers: usize, listed: &OperatorList, place: &Place) {
        if self.signed == *signed {
            return;
        }
        let known = self.signed.verify::<R>(listed, place);
        let known = known.map_or(0, |(_, signers)| signers.len());
        if signers > known {
            self.signed = signed.clone();
        }
    }
}

impl Directory {
    /// Takes the record of a node.
    ///
    /// # Errors
    /// It stays as it was.
    pub fn take_node(
        &mut self,
        signed: &Signed,
        listed: &OperatorList,
        place: &Place,
    ) -> Result<Taken, DirectoryError> {
        let (record, signers) = signed.verify::<NodeRecord>(listed, place)?;
        let same = self.nodes.get_mut(&record.node);
        if let Some(kept) = same.filter(|kept| kept.record == record) {
            kept.keep_more(signed, signers.len(), listed, place);
            return Ok(Taken::Known);
        }
        let known = self.nodes.get(&record.node).map(|kept| &kept.record);
        let last = known.or_else(|| self.former_nodes.get(&record.node));
        let is_same_payee = match last {
            Some(last) => last.lightning == record.lightning,
            // What was before is not known here: only a first record can be a node's first payee.
            None => record.number == 1,
        };
        let needed = if is_same_payee { 1 } else { THRESHOLD };
        check_threshold::<NodeRecord>(&signers, needed)?;
        let name = || record.node.to_string();
        // The one that went comes back when somebody else signs it.
        if last != Some(&record) {
            check_number(name, record.number, last.map(|last| last.number))?;
        }
        check_revoked(name, record.at, self.revoked_nodes.get(&record.node))?;
        let mut others = self.nodes.values().map(|kept| &kept.record);
        let other = others.find(|other| other.key == record.key && other.node != record.node);
        if let Some(other) = other {
            let (name, other) = (name(), other.node.to_string());
            return Err(DirectoryError::KeyTwice { name, other });
        }
        let taken = if known.is_some() {
            Taken::Changed
        } else {
            Taken::New
        };
        if taken == Taken::New && self.nodes.len() >= ENTRIES_MAX {
            return Err(DirectoryError::Full);
        }
        self.revoked_nodes.remove(&record.node);
        self.former_nodes.remove(&record.node);
        let signed = signed.clone();
        self.nodes
            .insert(record.node.clone(), Kept { record, signed });
        Ok(taken)
    }

    /// Takes the record of an operator.
    ///
    /// # Errors
    /// It stays as it was.
    pub fn take_operator(
        &mut self,
        signed: &Signed,
        listed: &OperatorList,
        place: &Place,
    ) -> Result<Taken, DirectoryError> {
        let (record, signers) = signed.verify::<OperatorRecord>(listed, place)?;
        let same = self.operators.get_mut(&record.operator);
        if let Some(kept) = same.filter(|kept| kept.record == record) {
            kept.keep_more(signed, signers.len(), listed, place);
            return Ok(Taken::Known);
        }
        let known = self.operators.get(&record.operator);
        let known = known.map(|kept| &kept.record);
        let last = known.or_else(|| self.former_operators.get(&record.operator));
        check_threshold::<OperatorRecord>(&signers, THRESHOLD)?;
        let name = || record.operator.to_string();
        if last != Some(&record) {
            check_number(name, record.number, last.map(|last| last.number))?;
        }
        check_revoked(
            name,
            record.at,
            self.revoked_operators.get(&record.operator),
        )?;
        let mut others = self.operators.values().map(|kept| &kept.record);
        let other =
            others.find(|other| other.key == record.key && other.operator != record.operator);
        let other = other.map(|other| &other.operator);
        if let Some(other) = other.or_else(|| listed.name_of(&record.key)) {
            let (name, other) = (name(), other.to_string());
            return Err(DirectoryError::KeyTwice { name, other });
        }
        let taken = if known.is_some() {
            Taken::Changed
        } else {
            Taken::New
        };
        if taken == Taken::New && self.operators.len() >= ENTRIES_MAX {
            return Err(DirectoryError::Full);
        }
        self.revoked_operators.remove(&record.operator);
        self.former_operators.remove(&record.operator);
        let signed = signed.clone();
        self.operators
            .insert(record.operator.clone(), Kept { record, signed });
        Ok(taken)
    }

    /// A node is none any more, revoked at `at`: nobody must sign that. A record that was signed later stays.
    pub fn revoke_node(&mut self, node: &NodeId, at: i64) {
        let known = self.nodes.get(node).map(|kept| kept.record.at);
        revoke(&mut self.revoked_nodes, node, known, at);
    }

    /// An operator is none any more, revoked at `at`. A record that was signed later stays, and so does one whom the configuration
    /// lists: he is taken out of it there.
    pub fn revoke_operator(&mut self, operator: &OperatorName, at: i64) {
        let known = self.operators.get(operator).map(|kept| kept.record.at);
        revoke(&mut self.revoked_operators, operator, known, at);
    }

    /// Undoes what was taken of a node since `before`.
    pub(crate) fn restore_node(&mut self, node: &NodeId, before: &Self) {
        restore(&mut self.nodes, node, &before.nodes);
        restore(&mut self.revoked_nodes, node, &before.revoked_nodes);
        restore(&mut self.former_nodes, node, &before.former_nodes);
    }

    /// Undoes what was taken of an operator since `before`.
    pub(crate) fn restore_operator(&mut self, operator: &OperatorName, before: &Self) {
        restore(&mut self.operators, operator, &before.operators);
        let revoked = &before.revoked_operators;
        restore(&mut self.revoked_operators, operator, revoked);
        let former = &before.former_operators;
        restore(&mut self.former_operators, operator, former);
    }

    /// Whether a node was revoked, and no record was signed since.
    #[must_use]
    pub fn is_node_revoked(&self, node: &NodeId) -> bool {
        self.revoked_nodes.contains_key(node)
    }

    /// The last record of a node, revoked or not.
    #[must_use]
    pub fn last_record(&self, node: &NodeId) -> Option<&NodeRecord> {
        self.nodes.get(node).map(|kept| &kept.record)
    }

    /// The last record of an operator, revoked or not.
    pub(crate) fn last_operator_record(&self, operator: &OperatorName) -> Option<&OperatorRecord> {
        self.operators.get(operator).map(|kept| &kept.record)
    }

    /// The last record of every node, revoked or not.
    pub fn last_records(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values().map(|kept| &kept.record)
    }

    /// The node of that name, if it is one and was not revoked.
    #[must_use]
    pub fn node(&self, node: &NodeId) -> Option<&NodeRecord> {
        let kept = self.nodes.get(node)?;
        (!self.revoked_nodes.contains_key(node)).then_some(&kept.record)
    }

    /// All nodes that were not revoked.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        let records = self.nodes.values().map(|kept| &kept.record);
        records.filter(|record| !self.revoked_nodes.contains_key(&record.node))
    }

    /// Whose key it is.
    #[must_use]
    pub fn node_of(&self, key: &NodePublicKey) -> Option<&NodeRecord> {
        self.nodes().find(|record| record.key == *key)
    }

    /// Everybody whose word counts as an operator's: those that are listed, and those whom two of them have admitted. The listed
    /// key of a name goes before an admitted one.
    #[must_use]
    pub fn operators(&self, listed: &OperatorList) -> OperatorList {
        let mut keys: BTreeMap<OperatorName, OperatorKey> = listed
            .iter()
            .map(|(name, key)| (name.clone(), *key))
            .collect();
        for kept in self.operators.values() {
            let OperatorRecord { operator, key, .. } = &kept.record;
            let is_taken = keys.contains_key(operator) || keys.values().any(|known| known == key);
            if !is_taken && !self.revoked_operators.contains_key(operator) {
                keys.insert(operator.clone(), *key);
            }
        }
        OperatorList::new(keys).unwrap_or_else(|_key_twice| listed.clone())
    }

    /// What is kept after a start, when the configuration may list other operators: a record whose signers are all gone from it
    /// goes. What it was stays known, so that none of before it comes back. It gives who went.
    pub fn recheck(&mut self, listed: &OperatorList, place: &Place) -> Vec<String> {
        let mut gone = Vec::new();
        self.nodes.retain(|node, kept| {
            let stays = is_signed::<NodeRecord>(&kept.signed, &kept.record, listed, place, 1);
            if !stays {
                gone.push(node.to_string());
                // Another network or chain counts anew.
                if kept.record.place == *place {
                    self.former_nodes.insert(node.clone(), kept.record.clone());
                }
            }
            stays
        });
        self.operators.retain(|operator, kept| {
            let stays = is_signed(&kept.signed, &kept.record, listed, place, THRESHOLD);
            if !stays {
                gone.push(operator.to_string());
                if kept.record.place == *place {
                    let record = kept.record.clone();
                    self.former_operators.insert(operator.clone(), record);
                }
            }
            stays
        });
        gone
    }
}

/// Notes a revocation of a name whose record was signed at `known`, if it has one.
fn revoke<N: Clone + Ord>(revoked: &mut BTreeMap<N, i64>, name: &N, known: Option<i64>, at: i64) {
    let is_new = !revoked.contains_key(name);
    let counts = match known {
        Some(signed_at) => signed_at <= at,
        None => !is_new || revoked.len() < STRANGERS_MAX,
    };
    if counts {
        let since = revoked.entry(name.clone()).or_insert(at);
        *since = at.max(*since);
    }
}

fn restore<K: Clone + Ord, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, before: &BTreeMap<K, V>) {
    match before.get(key) {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}

fn is_signed<S: Statement + PartialEq>(
    signed: &Signed,
    record: &S,
    listed: &OperatorList,
    place: &Place,
    needed: usize,
) -> bool {
    let verified = signed.verify::<S>(listed, place);
    verified.is_ok_and(|(said, signers)| said == *record && signers.len() >= needed)
}

fn check_threshold<S: Statement>(
    signers: &BTreeSet<OperatorName>,
    needed: usize,
) -> Result<(), StatementError> {
    let (kind, found) = (S::KIND, signers.len());
    match found >= needed {
        true => Ok(()),
        false => Err(StatementError::Threshold {
            kind,
            found,
            needed,
        }),
    }
}

fn check_number(
    name: impl Fn() -> String,
    number: u64,
    known: Option<u64>,
) -> Result<(), DirectoryError> {
    let known = known.unwrap_or(0);
    if number > known {
        return Ok(());
    }
    let name = name();
    Err(DirectoryError::Older {
        name,
        number,
        known,
    })
}

fn check_revoked(
    name: impl Fn() -> String,
    at: i64,
    revoked: Option<&i64>,
) -> Result<(), DirectoryError> {
    match revoked {
        Some(&revoked) if at <= revoked => {
            let name = name();
            Err(DirectoryError::Revoked { name, revoked })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
