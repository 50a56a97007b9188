//! What every request passes before its handler: how many there may be, who asks, and whether he may.

use super::Rest;
use super::problem::Problem;
use crate::api_token::{self, ApiTokenRow};
use crate::permission::{self, Interface, ROWS, Who};
use crate::store::StoreError;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hh_daemon::ConnectRate;
use hh_trust::api_token::ApiSecret;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For a request with all that it waits for; the longest that a caller may ask for is 20 s.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Requests of all addresses in a minute are at most so many times those of one.
const ADDRESSES_AT_ONCE: u32 = 100;

/// From which address a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Whoever asks with a token: his token's row.
#[derive(Clone, Debug)]
pub(super) struct Holder(pub(super) ApiTokenRow);

impl<S: Send + Sync> FromRequestParts<S> for Holder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // A handler that wants one has a row for who has a token.
        let holder = parts.extensions.get::<Self>();
        holder.cloned().ok_or_else(Problem::no_token)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Self>();
        Ok(*peer.expect("the listener tells it of every request"))
    }
}

/// How many requests there were of late: of everybody, and of who has shown a token.
#[derive(Debug)]
pub(super) struct Rates {
    started: Instant,
    everybody: Mutex<ConnectRate>,
    holders: Mutex<ConnectRate>,
}

impl Rates {
    pub(super) fn new(public_per_minute: u32, holders_per_minute: u32) -> Self {
        let rate = |per_minute: u32| {
            Mutex::new(ConnectRate::new(
                per_minute.saturating_mul(ADDRESSES_AT_ONCE),
                per_minute,
            ))
        };
        Self {
            started: Instant::now(),
            everybody: rate(public_per_minute),
            holders: rate(holders_per_minute),
        }
    }

    fn admit(&self, rate: &Mutex<ConnectRate>, from: SocketAddr) -> Result<(), Problem> {
        let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = rate.admit(from.ip(), self.started.elapsed());
        admitted.map_err(|_over| {
            Problem::too_many("too many requests came within a minute; wait for another one")
        })
    }
}

/// Lets a request to its handler, or answers it.
pub(super) async fn pass(State(rest): State<Rest>, mut request: Request, next: Next) -> Response {
    let admitted = admit(&rest, &mut request).await;
    let response = match admitted {
        Ok(()) => {
            let answered = tokio::time::timeout(REQUEST_LIMIT, next.run(request));
            answered.await.unwrap_or_else(|_elapsed| {
                Problem::unavailable("HH5025", "the answer took too long").into_response()
            })
        }
        Err(problem) => problem.into_response(),
    };
    let class = match response.status().as_u16() {
        200..=299 => "answered",
        401 | 403 => "not_permitted",
        429 => "too_many",
        500.. => "failed",
        _ => "refused",
    };
    metrics::counter!("hyperhash_rest_requests_total", "outcome" => class).increment(1);
    response
}

async fn admit(rest: &Rest, request: &mut Request) -> Result<(), Problem> {
    let Peer(address) = *request
        .extensions()
        .get::<Peer>()
        .expect("the listener tells it of every request");
    // Its own text: a body that is not read yet can't be looked at from several threads.
    let shown = shown(request.headers()).map(str::to_owned);
    let holder = match shown {
        None => {
            rest.rates.admit(&rest.rates.everybody, address)?;
            None
        }
        Some(shown) => Some(known(rest, &shown, address).await?),
    };
    let who = holder.as_ref().map_or(Who::Anyone, ApiTokenRow::who);
    let path = request.extensions().get::<MatchedPath>();
    // What matches no path goes to who says so, and does nothing else.
    if let Some(path) = path {
        may(request.method(), path.as_str(), who)?;
    }
    if let Some(holder) = holder {
        request.extensions_mut().insert(Holder(holder));
    }
    Ok(())
}

/// What is shown as a token, whatever it is.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?;
    Some(value.to_str().unwrap_or_default())
}

/// The row of a token that holds. One that does not is counted with everybody's requests: it costs a look into the database.
async fn known(rest: &Rest, shown: &str, address: SocketAddr) -> Result<ApiTokenRow, Problem> {
    let secret = shown.strip_prefix("Bearer ").map(str::trim);
    let secret = secret.and_then(|secret| secret.parse::<ApiSecret>().ok());
    let row = match secret {
        Some(secret) => {
            rest.rates.admit(&rest.rates.holders, address)?;
            let hash = secret.hash();
            let read: Result<_, StoreError> = rest
                .control
                .store
                .read(move |transaction| api_token::shown(transaction, hash))
                .await;
            read.map_err(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "token not looked up"
                );
                Problem::no_database()
            })?
        }
        None => None,
    };
    let now_ms = Timestamp::now().as_millisecond();
    match row.filter(|row| row.holds(now_ms)) {
        Some(row) => Ok(row),
        None => {
            rest.rates.admit(&rest.rates.everybody, address)?;
            tracing::warn!(%address, "request with a token that does not hold");
            Err(Problem::no_token())
        }
    }
}

/// Asks the table.
fn may(method: &Method, path: &str, who: Who) -> Result<(), Problem> {
    // A HEAD is a GET whose body nobody wants.
    let method = match *method {
        Method::HEAD => Method::GET,
        ref method => method.clone(),
    };
    let name = format!("{method} {path}");
    let Some(refusal) = permission::refusal(Interface::Rest, &name, who) else {
        return Ok(());
    };
    let methods: Vec<&str> = ROWS
        .iter()
        .filter(|row| row.interface == Interface::Rest)
        .filter_map(|row| row.method.split_once(' '))
        .filter(|(_, of)| *of == path)
        .map(|(method, _)| method)
        .collect();
    if !methods.is_empty() && !methods.contains(&method.as_str()) {
        return Err(Problem::method(&methods.join(", ")));
    }
    match who {
        Who::Anyone => Err(Problem::no_token()),
        _ => Err(refusal.into()),
    }
}
