//! The services of this node: each is a child process with a task that keeps it as it is wanted.
//!
//! It owns the children and what is known of them. It starts what the configuration names and nothing else. A child that ends by
//! itself is started again, later each time; one that outlived an agent that was killed is ended before its service is started anew, so
//! that no service ever runs twice.

mod child;
mod keeper;
mod log;

use crate::config::ServiceConfig;
use hh_daemon::{Failure, Tasks};
use hh_ipc::agent::ServiceReport;
use hh_trust::command::ServiceName;
use keeper::Keeper;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Orders of one service that wait: core's come one after the other.
const QUEUE: usize = 8;

/// What to do with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Start,
    Stop,
    Restart,
}

/// Why a service is not as it was ordered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ActError {
    #[error("this node has no service {0}")]
    Unknown(ServiceName),
    #[error("{0}")]
    Failed(String),
    #[error("the agent stops")]
    Stopped,
}

/// What a service is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ServiceState {
    #[default]
    Stopped,
    /// Started, and not yet healthy.
    Starting,
    Running,
    /// It ended by itself, and is started again later.
    Waiting,
}

impl ServiceState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
        }
    }
}

/// What is known of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceView {
    pub(crate) state: ServiceState,
    pub(crate) since_unix_ms: i64,
    /// After it ended by itself.
    pub(crate) restarts: u64,
    pub(crate) pid: Option<u32>,
    pub(crate) last_error: Option<String>,
}

/// Who is told what came of an order.
type Done = oneshot::Sender<Result<(), ActError>>;

struct Order {
    act: Act,
    done: Done,
}

struct Service {
    orders: mpsc::Sender<Order>,
    view: watch::Receiver<ServiceView>,
}

/// The services. Clones share them.
#[derive(Clone)]
pub(crate) struct Supervisor {
    services: Arc<BTreeMap<ServiceName, Service>>,
    dir: Arc<PathBuf>,
}

impl Supervisor {
    /// Starts a task for each service, with their logs and process ids in `dir`.
    ///
    /// # Errors
    /// The directory can't be made.
    pub(crate) fn start(
        services: &[ServiceConfig],
        dir: &Path,
        tasks: &Tasks,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)?;
        let started = services.iter().map(|service| {
            let started = start_keeper(service, dir, tasks);
            (service.name.clone(), started)
        });
        Ok(Self {
            services: Arc::new(started.collect()),
            dir: Arc::new(dir.to_owned()),
        })
    }

    /// Does it, and waits until it is done.
    ///
    /// # Errors
    /// There is no such service, or it did not come to be as it was ordered.
    pub(crate) async fn act(&self, service: &ServiceName, act: Act) -> Result<(), ActError> {
        let known = self.known(service)?;
        let (done, was_done) = oneshot::channel();
        let sent = known.orders.send(Order { act, done }).await;
        sent.map_err(|_gone| ActError::Stopped)?;
        was_done.await.unwrap_or(Err(ActError::Stopped))
    }

    /// What a service is doing.
    ///
    /// # Errors
    /// There is no such service.
    pub(crate) fn view(&self, service: &ServiceName) -> Result<ServiceView, ActError> {
        Ok(self.known(service)?.view.borrow().clone())
    }

    /// Lines of a service's log, after a cursor or the last ones; the first line is the next cursor.
    ///
    /// # Errors
    /// There is no such service or cursor, or the log can't be read.
    pub(crate) fn log(
        &self,
        service: &ServiceName,
        lines: u16,
        after: Option<&str>,
    ) -> Result<String, ActError> {
        self.known(service)?;
        let path = child::Files::of(service, &self.dir).log().to_owned();
        log::tail(&path, lines, after).map_err(|error| ActError::Failed(error.to_string()))
    }

    /// What all services are doing, with what they use.
    pub(crate) fn report(&self) -> Vec<ServiceReport> {
        let reports = self.services.iter().map(|(name, service)| {
            let view = service.view.borrow().clone();
            let usage = view.pid.and_then(child::usage).unwrap_or_default();
            ServiceReport {
                name: name.to_string(),
                state: view.state.name().to_owned(),
                since_unix_ms: view.since_unix_ms,
                restarts: view.restarts,
                pid: view.pid.unwrap_or_default(),
                last_error: view.last_error.unwrap_or_default(),
                memory_bytes: usage.memory_bytes,
                cpu_ms: usage.cpu_ms,
            }
        });
        reports.collect()
    }

    fn known(&self, service: &ServiceName) -> Result<&Service, ActError> {
        let known = self.services.get(service);
        known.ok_or_else(|| ActError::Unknown(service.clone()))
    }
}

fn start_keeper(service: &ServiceConfig, dir: &Path, tasks: &Tasks) -> Service {
    let (orders, receiver) = mpsc::channel(QUEUE);
    let (keeper, view) = Keeper::new(service.clone(), dir, receiver);
    let token = tasks.token().clone();
    tasks.spawn("service", async move {
        keeper.run(token).await;
        Ok::<_, Failure>(())
    });
    Service { orders, view }
}

#[cfg(test)]
mod tests;
