//! One unit as systemd has it, over D-Bus. It calls what starts, stops and restarts exactly that unit, and reads its properties.

use super::{Act, ServiceState, ServiceView, Usage};
use futures::StreamExt;
use hh_trust::local_policy::UnitName;
use std::collections::HashMap;
use std::time::Duration;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Proxy};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// For an answer of systemd; it is late when the machine is.
const CALL_LIMIT: Duration = Duration::from_secs(25);

/// For a job: systemd's own time-outs, 90 s for a stop and as much for a start, end before.
const JOB_LIMIT: Duration = Duration::from_secs(200);

/// Why systemd did not do it, or said nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum BusError {
    #[error("systemd can't be asked over D-Bus")]
    Bus(#[from] zbus::Error),
    #[error("systemd did not answer in time")]
    Silent,
    #[error("systemd has gone")]
    Gone,
    #[error("systemd knows no unit {0}")]
    Unknown(String),
    #[error("systemd says {0:?} of it")]
    Job(String),
}

type Properties = HashMap<String, OwnedVariant>;

pub(super) struct Bus {
    connection: Connection,
    manager: Proxy<'static>,
    unit: String,
}

impl Bus {
    /// Reaches systemd, and has it tell of jobs.
    pub(super) async fn connect(unit: &UnitName) -> Result<Self, BusError> {
        let connection = within(Connection::system()).await?;
        let path = "/org/freedesktop/systemd1";
        let manager = within(Proxy::new(&connection, SYSTEMD, path, MANAGER)).await?;
        within(manager.call::<_, _, ()>("Subscribe", &())).await?;
        Ok(Self {
            connection,
            manager,
            unit: unit.as_str().to_owned(),
        })
    }

    /// Has it done, and waits until systemd says that it is.
    pub(super) async fn act(&self, act: Act) -> Result<(), BusError> {
        let method = match act {
            Act::Start => "StartUnit",
            Act::Stop => "StopUnit",
            Act::Restart => "RestartUnit",
        };
        // Before the call, or a quick job would be over unseen.
        let mut removed = within(self.manager.receive_signal("JobRemoved")).await?;
        let asked = (self.unit.as_str(), "replace");
        let job: OwnedObjectPath = within(self.manager.call(method, &asked)).await?;
        let result = async {
            while let Some(message) = removed.next().await {
                let body = message.body();
                let (_, ended, _, result): (u32, OwnedObjectPath, String, String) =
                    body.deserialize()?;
                if ended == job {
                    return Ok(result);
                }
            }
            Err(BusError::Gone)
        };
        let result = tokio::time::timeout(JOB_LIMIT, result).await;
        let result = result.map_err(|_elapsed| BusError::Silent)??;
        match result.as_str() {
            "done" => Ok(()),
            _ => Err(BusError::Job(result)),
        }
    }

    /// What it is doing.
    pub(super) async fn view(&self) -> Result<ServiceView, BusError> {
        let asked = (self.unit.as_str(),);
        let path: OwnedObjectPath = within(self.manager.call("LoadUnit", &asked)).await?;
        let unit = self
            .properties(&path, "org.freedesktop.systemd1.Unit")
            .await?;
        if text(&unit, "LoadState") == "not-found" {
            return Err(BusError::Unknown(self.unit.clone()));
        }
        let service = self
            .properties(&path, "org.freedesktop.systemd1.Service")
            .await?;
        Ok(view(&unit, &service))
    }

    async fn properties(
        &self,
        path: &OwnedObjectPath,
        interface: &str,
    ) -> Result<Properties, BusError> {
        let asked = (interface,);
        let call = self.connection.call_method(
            Some(SYSTEMD),
            path.as_str(),
            Some(PROPERTIES),
            "GetAll",
            &asked,
        );
        let answer = within(call).await?;
        Ok(answer.body().deserialize()?)
    }
}

fn view(unit: &Properties, service: &Properties) -> ServiceView {
    let (active, sub) = (text(unit, "ActiveState"), text(unit, "SubState"));
    let state = match (active.as_str(), sub.as_str()) {
        ("activating", "auto-restart") => ServiceState::Waiting,
        ("activating", _) => ServiceState::Starting,
        ("active" | "reloading" | "deactivating", _) => ServiceState::Running,
        ("failed", _) => ServiceState::Failed,
        _ => ServiceState::Stopped,
    };
    let result = text(service, "Result");
    let code = number(service, "ExecMainStatus").unwrap_or_default();
    let since_us = number(unit, "StateChangeTimestamp").unwrap_or_default();
    let pid = number(service, "MainPID").and_then(|pid| u32::try_from(pid).ok());
    ServiceView {
        state,
        since_unix_ms: i64::try_from(since_us / 1_000).unwrap_or_default(),
        restarts: number(service, "NRestarts").unwrap_or_default(),
        pid: pid.filter(|pid| *pid != 0),
        last_error: (result != "success")
            .then(|| format!("it ended by itself ({result}, status {code})")),
        usage: Some(Usage {
            memory_bytes: number(service, "MemoryCurrent").unwrap_or_default(),
            cpu_ms: number(service, "CPUUsageNSec").unwrap_or_default() / 1_000_000,
        }),
    }
}

fn text(properties: &Properties, name: &str) -> String {
    let value = properties.get(name);
    let text = value.and_then(|value| <&str>::try_from(value).ok());
    text.unwrap_or_default().to_owned()
}

/// None too where systemd does not count it, which it writes as the largest number.
fn number(properties: &Properties, name: &str) -> Option<u64> {
    let value = properties.get(name)?;
    let wide = u64::try_from(value)
        .ok()
        .filter(|number| *number != u64::MAX);
    let narrow = || u32::try_from(value).ok().map(u64::from);
    let signed = || i32::try_from(value).ok()?.try_into().ok();
    wide.or_else(narrow).or_else(signed)
}

async fn within<T>(call: impl Future<Output = zbus::Result<T>>) -> Result<T, BusError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(BusError::Silent),
    }
}
