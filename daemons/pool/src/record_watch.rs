//! Ends the connections of nodes that the directory has no more as they were: revoked ones, and those with another key.
//!
//! Who is let in is asked of `hyper_nodes` when a credential is presented; here it is about who is in already.

use crate::admission::Admission;
use crate::session::Shared;
use hh_trust::NodeId;
use hh_trust::node_directory::Directory;
use hh_trust::statement::NodeRecord;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Goes on until `stop` is cancelled, or the directory changes no more.
pub(crate) async fn watch(shared: Arc<Shared>, admission: Arc<Admission>, stop: CancellationToken) {
    let mut directory = shared.hyper_nodes.directory();
    let mut before = Arc::clone(&directory.borrow_and_update());
    while let Some(Ok(())) = stop.run_until_cancelled(directory.changed()).await {
        let now = Arc::clone(&directory.borrow_and_update());
        for node in ended(&before, &now) {
            end(&node, &admission);
        }
        // Those of the configuration are revoked here as well.
        for (node, _) in shared.hyper_nodes.list() {
            if shared.hyper_nodes.is_revoked_in_directory(&node.id) {
                end(&node.id, &admission);
            }
        }
        before = now;
    }
}

fn end(node: &NodeId, admission: &Admission) {
    let connections = admission.connections_through(node);
    if connections.is_empty() {
        return;
    }
    let count = connections.len();
    tracing::info!(%node, connections = count, "connections ended: the directory has changed");
    for connection in connections {
        connection.ending.cancel();
    }
}

/// Nodes of which there is no record any more, or one with another key or without a lane. What they had proved is not so now.
fn ended(before: &Directory, now: &Directory) -> Vec<NodeId> {
    let is_same = |new: &NodeRecord, old: &NodeRecord| {
        new.key == old.key && new.lanes.is_superset(&old.lanes)
    };
    let ended = before
        .nodes()
        .filter(|old| !now.node(&old.node).is_some_and(|new| is_same(new, old)));
    ended.map(|old| old.node.clone()).collect()
}
