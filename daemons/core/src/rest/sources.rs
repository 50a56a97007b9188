//! hh-pool and hh-treasury, over their view sockets: what core shows of them it asks them for.

use super::problem::Problem;
use crate::config::RestConfig;
use hh_ipc::api::pool::PoolClient;
use hh_ipc::api::treasury::TreasuryClient;
use hh_ipc::client::{self, RpcError};
use hh_ipc::{ApiError, Context};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, SemaphorePermit};

/// For one call: they answer in milliseconds, or are not well.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Calls at once, of all who ask: a socket takes 64 connections, and operators need theirs.
const CALLS_AT_ONCE: usize = 8;

/// The ways to them.
#[derive(Debug)]
pub(super) struct Sources {
    pool: Option<PathBuf>,
    treasury: Option<PathBuf>,
    calls: Semaphore,
}

/// A connection, and its place among those at once.
pub(super) struct Dialled<'a, C> {
    pub(super) client: C,
    name: &'static str,
    _place: SemaphorePermit<'a>,
}

impl Sources {
    pub(super) fn new(config: &RestConfig) -> Self {
        Self {
            pool: config.pool_socket.clone(),
            treasury: config.treasury_socket.clone(),
            calls: Semaphore::new(CALLS_AT_ONCE),
        }
    }

    /// hh-pool, if it is there.
    pub(super) async fn pool(&self) -> Result<Dialled<'_, PoolClient>, Problem> {
        let (stream, place) = self.dial("hh-pool", self.pool.as_deref()).await?;
        Ok(Dialled {
            client: client::pool(stream),
            name: "hh-pool",
            _place: place,
        })
    }

    /// hh-treasury, if it is there.
    pub(super) async fn treasury(&self) -> Result<Dialled<'_, TreasuryClient>, Problem> {
        let (stream, place) = self.dial("hh-treasury", self.treasury.as_deref()).await?;
        Ok(Dialled {
            client: client::treasury(stream),
            name: "hh-treasury",
            _place: place,
        })
    }

    async fn dial(
        &self,
        name: &'static str,
        socket: Option<&Path>,
    ) -> Result<(UnixStream, SemaphorePermit<'_>), Problem> {
        let socket = socket.ok_or_else(|| {
            Problem::unavailable("HH5031", format!("this core is not told where {name} is"))
        })?;
        let place = tokio::time::timeout(CALL_LIMIT, self.calls.acquire()).await;
        let place = place.ok().and_then(Result::ok);
        let place = place.ok_or_else(|| away(name))?;
        let dialled = tokio::time::timeout(CALL_LIMIT, client::dial(socket)).await;
        match dialled {
            Ok(Ok(stream)) => Ok((stream, place)),
            Ok(Err(error)) => {
                tracing::warn!(daemon = name, %error, "socket not opened");
                Err(away(name))
            }
            Err(_elapsed) => Err(away(name)),
        }
    }
}

impl<C> Dialled<'_, C> {
    /// For a call on it.
    pub(super) fn call(&self) -> Context {
        client::within(CALL_LIMIT)
    }

    /// What it has answered, where a call has no error of its own.
    pub(super) fn answered<T>(&self, answer: Result<T, RpcError>) -> Result<T, Problem> {
        answer.map_err(|error| {
            tracing::warn!(daemon = self.name, %error, "call without an answer");
            away(self.name)
        })
    }

    /// What it has answered.
    pub(super) fn granted<T>(
        &self,
        answer: Result<Result<T, ApiError>, RpcError>,
    ) -> Result<T, Problem> {
        self.answered(answer)?.map_err(Problem::from)
    }
}

fn away(name: &str) -> Problem {
    Problem::unavailable("HH5030", format!("{name} does not answer now"))
}
