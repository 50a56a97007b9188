//! The services of this node: each is a child process, or a unit of systemd, with a task that keeps it as it is wanted.
//!
//! It owns the children and what is known of all. It starts what the configuration names, and units that the policy lists, and nothing
//! else. What a task is ordered is the same for both; only the task differs, and where its log is. A child that ends by
//! itself is started again, later each time; one that outlived an agent that was killed is ended before its service is started anew, so
//! that no service ever runs twice.

mod bus;
mod child;
mod journald;
mod keeper;
mod log;
mod unit;

use crate::config::ServiceConfig;
use hh_daemon::{Failure, Tasks};
use hh_ipc::agent::ServiceReport;
use hh_trust::command::ServiceName;
use hh_trust::local_policy::{LocalPolicy, UnitName};
use keeper::Keeper;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use unit::UnitKeeper;

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
    /// It ended by itself, and is not started again.
    Failed,
}

impl ServiceState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
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
    /// What all of its processes use, where somebody keeps count of that.
    pub(crate) usage: Option<Usage>,
}

/// What a service uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_ms: u64,
}

/// Who is told what came of an order.
type Done = oneshot::Sender<Result<(), ActError>>;

struct Order {
    act: Act,
    done: Done,
}

/// Who runs it.
enum Backend {
    Child,
    Systemd(UnitName),
}

struct Service {
    backend: Backend,
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
    /// Starts a task for each service: for those of the configuration, whose logs and process ids are in `dir`, and for the units
    /// that the policy lists.
    ///
    /// # Errors
    /// The directory can't be made, or a service is both.
    pub(crate) fn start(
        services: &[ServiceConfig],
        policy: &LocalPolicy,
        dir: &Path,
        tasks: &Tasks,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)?;
        let mut started = BTreeMap::new();
        for (name, listed) in &policy.services {
            if let Some(unit) = &listed.unit {
                started.insert(name.clone(), start_unit(unit, tasks));
            }
        }
        for service in services {
            let other = started.insert(service.name.clone(), start_keeper(service, dir, tasks));
            if other.is_some() {
                let name = &service.name;
                let what = format!(
                    "the service {name} is a child process by hh-node-agent.toml and a unit by the policy: remove one"
                );
                return Err(Failure::config(what));
            }
        }
        Ok(Self {
            services: Arc::new(started),
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
    pub(crate) async fn log(
        &self,
        service: &ServiceName,
        lines: u16,
        after: Option<&str>,
    ) -> Result<String, ActError> {
        let tail = match &self.known(service)?.backend {
            Backend::Child => {
                let path = child::Files::of(service, &self.dir).log().to_owned();
                log::tail(&path, lines, after)
            }
            Backend::Systemd(unit) => journald::tail(unit, lines, after).await,
        };
        tail.map_err(|error| ActError::Failed(error.to_string()))
    }

    /// What all services are doing, with what they use.
    pub(crate) fn report(&self) -> Vec<ServiceReport> {
        let reports = self.services.iter().map(|(name, service)| {
            let view = service.view.borrow().clone();
            let usage = view.usage.or_else(|| view.pid.and_then(child::usage));
            let usage = usage.unwrap_or_default();
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

    /// What a service is doing once it is as the condition says.
    #[cfg(test)]
    pub(crate) async fn seen(
        &self,
        service: &ServiceName,
        condition: impl Fn(&ServiceView) -> bool,
    ) -> ServiceView {
        let mut view = self.services[service].view.clone();
        let seen = view.wait_for(condition).await;
        seen.expect("the task of the service runs").clone()
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
    Service {
        backend: Backend::Child,
        orders,
        view,
    }
}

fn start_unit(unit: &UnitName, tasks: &Tasks) -> Service {
    let (orders, receiver) = mpsc::channel(QUEUE);
    let (keeper, view) = UnitKeeper::new(unit.clone(), receiver);
    let token = tasks.token().clone();
    tasks.spawn("unit", async move {
        token.run_until_cancelled(keeper.run()).await;
        Ok::<_, Failure>(())
    });
    Service {
        backend: Backend::Systemd(unit.clone()),
        orders,
        view,
    }
}

#[cfg(test)]
mod tests;
