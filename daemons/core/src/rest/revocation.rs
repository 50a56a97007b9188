//! What operators let in no more.

use super::Rest;
use super::asked::{InBody, InPath, plain};
use super::entrance::{Holder, Peer};
use super::problem::{Problem, TokenProblems};
use crate::asker::Asker;
use axum::Json;
use axum::extract::State;
use hh_ipc::api::core::{RevokeFleetNode, RevokedFleetNode};
use serde::Deserialize;
use utoipa::ToSchema;

/// Why a node is revoked.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct RevocationRequest {
    /// For those who read the list, and for the audit log; the node is not told.
    #[schema(max_length = 200)]
    reason: Option<String>,
    /// Only say what would end.
    #[serde(default)]
    dry_run: bool,
}

/// Lets a node in no more: its session ends within seconds, and it gets nothing until it has enrolled anew.
#[utoipa::path(post, path = "/v1/nodes/{node}/revoke", tag = "operators", security(("token" = [])), request_body = RevocationRequest,
    params(("node" = String, Path, description = "Its name", max_length = 256)),
    responses((status = 200, description = "The node, and what ends by this", body = RevokedFleetNode), TokenProblems))]
pub(super) async fn revoke_node(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    peer: Peer,
    InPath(node): InPath<String>,
    InBody(request): InBody<RevocationRequest>,
) -> Result<Json<RevokedFleetNode>, Problem> {
    let request = RevokeFleetNode {
        node: plain(node)?,
        reason: request.reason,
        dry_run: request.dry_run,
    };
    let asker = Asker::holder(&holder, peer.0);
    Ok(Json(rest.control.revoke_node(&asker, request).await?))
}
