//! The answers to `hyper_nodes` and `revoke_node`.

use super::{Control, MAX_LISTED, count, failed, timestamp};
use crate::config::hyper_node::HyperNodeConfig;
use crate::directory::unix_ms;
use crate::hyper_nodes::{Revocation, RevokeError};
use hh_daemon::{Caller, Chain};
use hh_ipc::api::pool::{HyperNode, HyperNodePage, NodeRevocation, RevokeNodeRequest, RevokedNode};
use hh_ipc::{ApiError, ErrorKind};
use serde_json::json;
use std::sync::Arc;

/// The reason where the operator gave none.
const NO_REASON: &str = "no reason given";

/// The reason where the configuration says it.
const IN_CONFIGURATION: &str = "by the configuration";

/// The reason where core passes it on.
const IN_DIRECTORY: &str = "by an operator at hyperhash-core";

impl Control {
    pub(super) fn hyper_nodes(&self) -> HyperNodePage {
        let nodes = self.shared.hyper_nodes.list();
        let total = count(nodes.len());
        let nodes = nodes.into_iter().take(MAX_LISTED);
        let wire = |(node, revocation): (_, Option<_>)| self.hyper_node(&node, revocation.as_ref());
        HyperNodePage {
            nodes: nodes.map(wire).collect(),
            total,
        }
    }

    pub(super) async fn revoke_node(
        &self,
        caller: &Caller,
        request: RevokeNodeRequest,
    ) -> Result<RevokedNode, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let reason = request.reason.unwrap_or_else(|| NO_REASON.to_owned());
        let nodes = &self.shared.hyper_nodes;
        let known = nodes.revocable(&request.node, &reason);
        let known = known.map_err(|error| refused(&error))?;
        let since_ms = unix_ms();
        let revocation = Revocation {
            public_key: known.public_key,
            reason,
            since_ms,
        };
        if request.dry_run {
            let node = self.hyper_node(&known, Some(&revocation));
            return Ok(RevokedNode { node });
        }
        let revoke = async {
            let (nodes, id) = (Arc::clone(nodes), request.node);
            let reason = revocation.reason.clone();
            let revoked =
                tokio::task::spawn_blocking(move || nodes.revoke(&id, reason, since_ms)).await;
            let revoked = revoked.map_err(|error| failed(error.to_string()))?;
            revoked.map_err(|error| refused(&error))?;
            // From here on it is not let in; who is in goes.
            let node = self.hyper_node(&known, Some(&revocation));
            for connection in self.admission.connections_through(&known.id) {
                connection.ending.cancel();
            }
            let (reason, connections) = (revocation.reason.as_str(), node.connections);
            tracing::info!(node = %known.id, reason, connections, "node revoked");
            Ok(RevokedNode { node })
        };
        let call = "node.revoke";
        self.journal
            .record(&caller.peer, call, arguments, revoke)
            .await
    }

    fn hyper_node(&self, node: &HyperNodeConfig, revocation: Option<&Revocation>) -> HyperNode {
        let connections = self.admission.connections_through(&node.id);
        let by_operator = revocation.map(|revocation| NodeRevocation {
            reason: revocation.reason.clone(),
            since_at: Some(timestamp(revocation.since_ms)),
        });
        let by_configuration = node.revoked.then(|| NodeRevocation {
            reason: IN_CONFIGURATION.to_owned(),
            since_at: None,
        });
        let is_in_directory = self.shared.hyper_nodes.is_revoked_in_directory(&node.id);
        let by_directory = is_in_directory.then(|| NodeRevocation {
            reason: IN_DIRECTORY.to_owned(),
            since_at: None,
        });
        HyperNode {
            id: node.id.to_string(),
            public_key: node.public_key.to_string(),
            lanes: node
                .lanes
                .iter()
                .map(|lane| lane.name.to_string())
                .collect(),
            connections: count(connections.len()),
            revoked: by_operator.or(by_configuration).or(by_directory),
        }
    }
}

fn refused(error: &RevokeError) -> ApiError {
    let (kind, code) = match error {
        RevokeError::File(_) => return failed(Chain(error).to_string()),
        RevokeError::Unknown(_) => (ErrorKind::NotFound, "HH2032"),
        RevokeError::Already(_) | RevokeError::LongReason(_) => (ErrorKind::Usage, "HH2033"),
    };
    ApiError::new(kind, code, error.to_string())
}
