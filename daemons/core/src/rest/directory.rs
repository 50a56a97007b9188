//! What operators have signed about nodes and each other, for hh-pool and hh-treasury, which check it themselves.

use super::Rest;
use super::asked::InQuery;
use super::problem::{Problem, TokenProblems};
use axum::Json;
use axum::extract::State;
use hh_ipc::api::core::RecordSet;
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

/// Longest wait that may be asked for, in seconds: a proxy in between gives up after 30.
const WAIT_SECONDS_MAX: u32 = 20;

/// A version is a SHA-256 in hexadecimal.
const VERSION_CHARS: usize = 64;

/// What is known already.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Known {
    /// The `version` of the last answer: it is answered when there is another one.
    #[param(max_length = 64)]
    known: Option<String>,
    /// Or when so many seconds are over.
    #[param(minimum = 0, maximum = 20)]
    wait_seconds: Option<u32>,
}

/// The records of nodes and operators with their signatures, and who was revoked. Believe none that is not signed by keys of operators
/// that you know from elsewhere.
#[utoipa::path(get, path = "/v1/directory", tag = "operators", security(("token" = [])), params(Known),
    responses((status = 200, description = "All records", body = RecordSet), TokenProblems))]
pub(super) async fn directory(
    State(rest): State<Rest>,
    InQuery(asked): InQuery<Known>,
) -> Result<Json<RecordSet>, Problem> {
    let seconds = asked.wait_seconds.unwrap_or(0);
    if seconds > WAIT_SECONDS_MAX {
        let detail = format!("wait_seconds: at most {WAIT_SECONDS_MAX}");
        return Err(Problem::malformed(detail));
    }
    let known = asked.known.as_deref();
    if known.is_some_and(|known| known.chars().count() > VERSION_CHARS) {
        return Err(Problem::malformed("known: no version is so long"));
    }
    let wait = Duration::from_secs(seconds.into());
    let set = rest.control.directory(known, wait);
    Ok(Json(set.await?))
}
