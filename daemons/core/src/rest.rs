//! The REST interface: the network for operators and their programs, with tokens, and a part of it for everybody.
//!
//! It owns HTTP: who may ask (`entrance`, by the permission table), what is answered (`problem`), the document of it all. What it
//! answers it asks of `control`, as the control sockets do, and of hh-pool and hh-treasury over their view sockets; it keeps nothing
//! but what it has just read. Nothing behind the public part is changed by it.

mod account;
mod asked;
mod cached;
mod directory;
mod entrance;
mod fleet;
mod order;
mod problem;
mod public;
mod revocation;
mod server;
mod sources;

use crate::config::RestConfig;
use crate::control::Control;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::response::IntoResponse;
use entrance::Rates;
use problem::{Problem, Problems};
use public::Shelf;
use sources::Sources;
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use server::Server;

/// Longest body in bytes: an order has some hundred.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What the handlers answer from. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    control: Arc<Control>,
    rates: Arc<Rates>,
    sources: Arc<Sources>,
    shelf: Arc<Shelf>,
    document: Arc<str>,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "hyperhash-core",
        description = "A mining network for its operators, their programs, and everybody.\n\nWhat is under `/v1/public` needs no token. \
                       All else takes one of `hhctl api-token create` as a bearer. Amounts are in millisatoshi, times in RFC 3339, UTC. \
                       Lists come in pages: `next` of one is the `cursor` of the next.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(Problem)),
    modifiers(&BearerToken),
    servers((url = "/"))
)]
struct Document;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of `hhctl api-token create`"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document of this interface.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    tag = "public",
    responses((status = 200, description = "An OpenAPI document", body = serde_json::Value), Problems)
)]
async fn openapi(rest: axum::extract::State<Rest>) -> impl IntoResponse {
    let body = rest.document.to_string();
    ([(header::CONTENT_TYPE, "application/json")], body)
}

/// All routes with their documents: there is no other way to add one.
fn routes() -> (Router<Rest>, OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(openapi))
        .routes(routes!(public::pool))
        .routes(routes!(public::treasury))
        .routes(routes!(public::nodes))
        .routes(routes!(public::blocks))
        .routes(routes!(public::block))
        .routes(routes!(public::report))
        .routes(routes!(public::fees))
        .routes(routes!(public::payments))
        .routes(routes!(fleet::whoami))
        .routes(routes!(fleet::status))
        .routes(routes!(fleet::nodes))
        .routes(routes!(fleet::node))
        .routes(routes!(directory::directory))
        .routes(routes!(fleet::pki))
        .routes(routes!(fleet::audit))
        .routes(routes!(order::operations, order::order))
        .routes(routes!(order::operation, order::cancel))
        .routes(routes!(revocation::revoke_node))
        .routes(routes!(order::tokens, order::create_token))
        .routes(routes!(order::revoke_token))
        .routes(routes!(account::account))
        .routes(routes!(account::proof))
        .split_for_parts()
}

/// The document as it is served, and stored in docs/reference.
fn document(openapi: &OpenApi) -> String {
    let mut text = openapi.to_pretty_json().expect("a document has a JSON");
    text.push('\n');
    text
}

/// All of it, as a service.
pub(crate) fn router(control: Arc<Control>, config: &RestConfig) -> Router {
    let (router, openapi) = routes();
    let rest = Rest {
        control,
        rates: Arc::new(Rates::new(
            config.public_requests_per_minute,
            config.requests_per_minute,
        )),
        sources: Arc::new(Sources::new(config)),
        shelf: Arc::default(),
        document: document(&openapi).into(),
    };
    router
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(
            rest.clone(),
            entrance::pass,
        ))
        .with_state(rest)
}

async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing at this path; see /v1/openapi.json")
}

#[cfg(test)]
mod tests;
