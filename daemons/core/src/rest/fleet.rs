//! What operators see: nodes, certificates, the audit log.

use super::asked::{InPath, InQuery, Page, PageQuery, plain};
use super::entrance::Holder;
use super::problem::{Problem, TokenProblems};
use super::{Rest, asked};
use crate::control::api_token_answer;
use axum::Json;
use axum::extract::State;
use hh_ipc::api::core::{ApiToken, AuditQuery, CoreStatus, FleetNode, FleetNodeDetail, PkiStatus};
use jiff::Timestamp;

/// Whose token this is, and what for.
#[utoipa::path(get, path = "/v1/whoami", tag = "operators", security(("token" = [])),
    responses((status = 200, description = "The token", body = ApiToken), TokenProblems))]
pub(super) async fn whoami(Holder(holder): Holder) -> Json<ApiToken> {
    Json(api_token_answer(&holder, Timestamp::now()))
}

/// Everything at a glance.
#[utoipa::path(get, path = "/v1/status", tag = "operators", security(("token" = [])),
    responses((status = 200, description = "The state of core", body = CoreStatus), TokenProblems))]
pub(super) async fn status(State(rest): State<Rest>) -> Result<Json<CoreStatus>, Problem> {
    Ok(Json(rest.control.status().await?))
}

/// The nodes, by name; a node operator sees his own.
#[utoipa::path(get, path = "/v1/nodes", tag = "operators", security(("token" = [])), params(PageQuery),
    responses((status = 200, description = "A page of nodes", body = Page<FleetNode>), TokenProblems))]
pub(super) async fn nodes(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<Page<FleetNode>>, Problem> {
    let (limit, after) = (query.limit()?, query.after()?);
    let only = holder.only_nodes().map(<[String]>::to_vec);
    let nodes = rest.control.node_page(only, after, limit + 1).await?;
    Ok(Json(Page::of(nodes, limit, |node| node.id.clone())))
}

/// One node, and all that it reports.
#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "operators", security(("token" = [])),
    params(("node" = String, Path, description = "Its name", max_length = 256)),
    responses((status = 200, description = "The node", body = FleetNodeDetail), TokenProblems))]
pub(super) async fn node(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    InPath(node): InPath<String>,
) -> Result<Json<FleetNodeDetail>, Problem> {
    let node = plain(node)?;
    if !holder.speaks_of_node(&node) {
        return Err(Problem::not_found("no node of this token has that name"));
    }
    Ok(Json(rest.control.node(&node).await?))
}

/// The certificates that core issues with, the keys that it signs with, and when they end.
#[utoipa::path(get, path = "/v1/pki", tag = "operators", security(("token" = [])),
    responses((status = 200, description = "Certificates and keys", body = PkiStatus), TokenProblems))]
pub(super) async fn pki(State(rest): State<Rest>) -> Json<PkiStatus> {
    Json(rest.control.pki())
}

/// Lines of the audit log, oldest first, as they were written: each has the SHA-256 of the one before, to the byte.
#[utoipa::path(get, path = "/v1/audit", tag = "operators", security(("token" = [])), params(PageQuery),
    responses((status = 200, description = "A page of lines", body = Page<String>), TokenProblems))]
pub(super) async fn audit(
    State(rest): State<Rest>,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<Page<String>>, Problem> {
    let (limit, after) = (query.limit()?, query.after()?);
    let after_seq = match after {
        None => 0,
        Some(after) => after.parse().map_err(|_no| asked::unknown_cursor())?,
    };
    let asked = AuditQuery { after_seq, limit };
    let page = rest.control.audit(asked).await?;
    let read = u64::try_from(page.lines.len()).unwrap_or(u64::MAX);
    let through = after_seq.saturating_add(read);
    let next = (read > 0 && through < page.last_seq).then(|| through.to_string());
    let items = page.lines;
    Ok(Json(Page { items, next }))
}
