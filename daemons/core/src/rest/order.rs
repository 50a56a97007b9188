//! What operators change: commands for nodes, and tokens with which nodes enrol.

use super::Rest;
use super::asked::{InBody, InPath, InQuery, Page, PageQuery, plain, unknown_cursor};
use super::entrance::{Holder, Peer};
use super::problem::{Problem, TokenProblems};
use crate::asker::Asker;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hh_ipc::api::core::{
    CreateToken, EnrolmentToken, IssuedToken, Operation, ServiceOrder, WaitForOperation,
};
use serde::Deserialize;
use utoipa::IntoParams;

/// Longest wait that may be asked for, in seconds: a proxy in between gives up after 30.
const WAIT_SECONDS_MAX: u32 = 20;

/// Which operations.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OperationFilter {
    /// Those of one node.
    #[param(max_length = 256)]
    node: Option<String>,
}

/// How long to wait.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Until it is known what came of it, or for so long.
    #[param(minimum = 0, maximum = 20)]
    wait_seconds: Option<u32>,
}

/// Commands that nodes were given, newest first; a node operator sees those of his nodes.
#[utoipa::path(get, path = "/v1/operations", tag = "operators", security(("token" = [])), params(PageQuery, OperationFilter),
    responses((status = 200, description = "A page of operations", body = Page<Operation>), TokenProblems))]
pub(super) async fn operations(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    InQuery(query): InQuery<PageQuery>,
    InQuery(filter): InQuery<OperationFilter>,
) -> Result<Json<Page<Operation>>, Problem> {
    let (limit, after) = (query.limit()?, query.after()?);
    let only = match filter.node.map(plain).transpose()? {
        Some(node) if holder.speaks_of_node(&node) => Some(vec![node]),
        Some(_) => Some(Vec::new()),
        None => holder.only_nodes().map(<[String]>::to_vec),
    };
    let operations = rest.control.operation_page(only, after, limit + 1).await?;
    let operations = operations.ok_or_else(unknown_cursor)?;
    Ok(Json(Page::of(operations, limit, |one| one.id.clone())))
}

/// One command, and what came of it.
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "operators", security(("token" = [])),
    params(("id" = String, Path, description = "Its id", max_length = 256), Wait),
    responses((status = 200, description = "The operation", body = Operation), TokenProblems))]
pub(super) async fn operation(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    InPath(id): InPath<String>,
    InQuery(wait): InQuery<Wait>,
) -> Result<Json<Operation>, Problem> {
    let id = plain(id)?;
    let seconds = wait.wait_seconds.unwrap_or(0);
    if seconds > WAIT_SECONDS_MAX {
        let detail = format!("wait_seconds: at most {WAIT_SECONDS_MAX}");
        return Err(Problem::malformed(detail));
    }
    let now = rest.control.operation(id.clone()).await?;
    if !holder.speaks_of_node(&now.node) {
        return Err(Problem::not_found(
            "no node of this token has such an operation",
        ));
    }
    let wait_ms = seconds * 1_000;
    let wait = WaitForOperation { id, wait_ms };
    Ok(Json(rest.control.wait_for_operation(wait).await?))
}

/// Takes a command back that was never sent. One that was sent can't be: its node may be carrying it out.
#[utoipa::path(delete, path = "/v1/operations/{id}", tag = "operators", security(("token" = [])),
    params(("id" = String, Path, description = "Its id", max_length = 256)),
    responses((status = 200, description = "The operation, cancelled", body = Operation), TokenProblems))]
pub(super) async fn cancel(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    peer: Peer,
    InPath(id): InPath<String>,
) -> Result<Json<Operation>, Problem> {
    let id = plain(id)?;
    let now = rest.control.operation(id.clone()).await?;
    if !holder.speaks_of_node(&now.node) {
        return Err(Problem::not_found(
            "no node of this token has such an operation",
        ));
    }
    let asker = Asker::holder(&holder, peer.0);
    Ok(Json(rest.control.cancel_operation(&asker, id).await?))
}

/// Signs a command for a service of a node, which is carried out when the node is connected and its policy allows it.
#[utoipa::path(post, path = "/v1/operations", tag = "operators", security(("token" = [])), request_body = ServiceOrder,
    responses((status = 202, description = "The operation; of a dry run one without an id", body = Operation), TokenProblems))]
pub(super) async fn order(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    peer: Peer,
    InBody(order): InBody<ServiceOrder>,
) -> Result<(StatusCode, Json<Operation>), Problem> {
    let node = plain(order.node.clone())?;
    if !holder.speaks_of_node(&node) {
        return Err(Problem::not_found("no node of this token has that name"));
    }
    let asker = Asker::holder(&holder, peer.0);
    let operation = rest.control.order_service(&asker, order).await?;
    Ok((StatusCode::ACCEPTED, Json(operation)))
}

/// Tokens with which nodes enrol, newest first; none of them can be used by who sees them here.
#[utoipa::path(get, path = "/v1/enrolment-tokens", tag = "operators", security(("token" = [])), params(PageQuery),
    responses((status = 200, description = "A page of tokens", body = Page<EnrolmentToken>), TokenProblems))]
pub(super) async fn tokens(
    State(rest): State<Rest>,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<Page<EnrolmentToken>>, Problem> {
    let (limit, after) = (query.limit()?, query.after()?);
    let tokens = rest.control.token_page(after, limit + 1).await?;
    let tokens = tokens.ok_or_else(unknown_cursor)?;
    Ok(Json(Page::of(tokens, limit, |token| token.id.clone())))
}

/// Makes a token with which one node may enrol, once. Its secret is shown here and never again.
#[utoipa::path(post, path = "/v1/enrolment-tokens", tag = "operators", security(("token" = [])), request_body = CreateToken,
    responses((status = 201, description = "The token and its secret", body = IssuedToken), TokenProblems))]
pub(super) async fn create_token(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    peer: Peer,
    InBody(request): InBody<CreateToken>,
) -> Result<(StatusCode, Json<IssuedToken>), Problem> {
    let asker = Asker::holder(&holder, peer.0);
    let issued = rest.control.create_token(&asker, request).await?;
    Ok((StatusCode::CREATED, Json(issued)))
}

/// Lets a token be of no use any more.
#[utoipa::path(delete, path = "/v1/enrolment-tokens/{id}", tag = "operators", security(("token" = [])),
    params(("id" = String, Path, description = "Its id", max_length = 256)),
    responses((status = 200, description = "The token", body = EnrolmentToken), TokenProblems))]
pub(super) async fn revoke_token(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    peer: Peer,
    InPath(id): InPath<String>,
) -> Result<Json<EnrolmentToken>, Problem> {
    let id = plain(id)?;
    let asker = Asker::holder(&holder, peer.0);
    Ok(Json(rest.control.revoke_token(&asker, &id).await?))
}
