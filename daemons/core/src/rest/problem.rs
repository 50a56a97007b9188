//! What REST answers when it can't do what it was asked (RFC 9457).

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hh_ipc::{ApiError, ErrorKind};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{ContentBuilder, Ref, RefOr};
use utoipa::{IntoResponses, ToSchema};

/// Of all problems, so that no client takes one for an answer.
pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// Seconds after which who came too often may come again.
const RETRY_AFTER_SECONDS: &str = "60";

/// Why a request was not answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the code says more.
    #[serde(rename = "type")]
    kind: &'static str,
    /// That of the status.
    title: &'static str,
    status: u16,
    /// What failed and why, for people.
    detail: String,
    /// `HHnnnn`, for programs.
    code: String,
    /// A header more; in a box, since most have none.
    #[serde(skip)]
    #[schema(ignore)]
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Unknown"),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            header: None,
        }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// The request makes no sense.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "HH5020", detail)
    }

    /// Nothing is known of that name.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "HH5021", detail)
    }

    /// Whoever asks has to show a token, or another one.
    pub(super) fn no_token() -> Self {
        let detail = "send `Authorization: Bearer TOKEN` with a token of `hhctl api-token create` that holds";
        let bearer = HeaderValue::from_static("Bearer");
        Self::new(StatusCode::UNAUTHORIZED, "HH5022", detail).with(header::WWW_AUTHENTICATE, bearer)
    }

    /// Too many requests of late.
    pub(super) fn too_many(detail: impl Into<String>) -> Self {
        let seconds = HeaderValue::from_static(RETRY_AFTER_SECONDS);
        Self::new(StatusCode::TOO_MANY_REQUESTS, "HH5023", detail)
            .with(header::RETRY_AFTER, seconds)
    }

    /// The path has other methods.
    pub(super) fn method(allowed: &str) -> Self {
        let detail = format!("this path takes {allowed} alone");
        let allow = HeaderValue::from_str(allowed);
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "HH5024", detail);
        match allow {
            Ok(allow) => problem.with(header::ALLOW, allow),
            Err(_no_header) => problem,
        }
    }

    /// The database does not answer. Why is for the log.
    pub(super) fn no_database() -> Self {
        Self::unavailable("HH5010", "the database can't be read now")
    }

    /// Something that core needs is away.
    pub(super) fn unavailable(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let status = match error.kind {
            ErrorKind::Usage => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Permission => StatusCode::FORBIDDEN,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Failed => StatusCode::CONFLICT,
        };
        Self::new(status, &error.code, error.message)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let extra = self.header.take();
        let body = serde_json::to_vec(&self).expect("texts and a number have a JSON");
        let mut response = (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        if let Some(extra) = extra {
            let (name, value) = *extra;
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// The problems that every call may answer with, for the document.
pub(super) struct Problems;

/// Those of calls that need a token, for the document.
pub(super) struct TokenProblems;

const EVERYWHERE: [(StatusCode, &str); 5] = [
    (StatusCode::BAD_REQUEST, "The request makes no sense"),
    (StatusCode::NOT_FOUND, "Nothing is known of that name"),
    (StatusCode::METHOD_NOT_ALLOWED, "The path has other methods"),
    (StatusCode::TOO_MANY_REQUESTS, "Too many requests of late"),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "Something that is needed does not answer now",
    ),
];

const WITH_TOKEN: [(StatusCode, &str); 5] = [
    (StatusCode::UNAUTHORIZED, "No token, or none that holds"),
    (StatusCode::FORBIDDEN, "The token is not for this"),
    (StatusCode::CONFLICT, "What is there does not allow it"),
    (StatusCode::PAYLOAD_TOO_LARGE, "The body is too long"),
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "The body is no application/json",
    ),
];

type Documented = BTreeMap<String, RefOr<utoipa::openapi::response::Response>>;

fn documented(problems: &[(StatusCode, &str)]) -> Documented {
    let shown = problems.iter().map(|(status, what)| {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let response = ResponseBuilder::new()
            .description(*what)
            .content(CONTENT_TYPE, content)
            .build();
        (status.as_u16().to_string(), RefOr::T(response))
    });
    shown.collect()
}

impl IntoResponses for Problems {
    fn responses() -> Documented {
        documented(&EVERYWHERE)
    }
}

impl IntoResponses for TokenProblems {
    fn responses() -> Documented {
        let mut responses = documented(&EVERYWHERE);
        responses.extend(documented(&WITH_TOKEN));
        responses
    }
}
