//! The task of one unit of systemd: it takes orders, and looks at the unit. systemd itself keeps it running, with or without the agent.

use super::bus::{Bus, BusError};
use super::{Act, ActError, Order, ServiceState, ServiceView};
use hh_daemon::Chain;
use hh_trust::local_policy::UnitName;
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

/// How often a unit is looked at; a heartbeat tells what was seen last.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// So long a unit must live after its start is done: where systemd isn't told when a service is ready, one that fails at its
/// configuration ends a moment later.
const SETTLE: Duration = Duration::from_secs(1);

pub(super) struct UnitKeeper {
    unit: UnitName,
    orders: mpsc::Receiver<Order>,
    view: watch::Sender<ServiceView>,
    /// None until systemd was reached, and after a call that failed.
    bus: Option<Bus>,
    /// It answered when it was asked last; that it does not is told once.
    is_seen: bool,
}

impl UnitKeeper {
    pub(super) fn new(
        unit: UnitName,
        orders: mpsc::Receiver<Order>,
    ) -> (Self, watch::Receiver<ServiceView>) {
        let (view, seen) = watch::channel(ServiceView {
            since_unix_ms: Timestamp::now().as_millisecond(),
            ..ServiceView::default()
        });
        let keeper = Self {
            unit,
            orders,
            view,
            bus: None,
            is_seen: true,
        };
        (keeper, seen)
    }

    pub(super) async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                _ = look.tick() => {
                    self.look().await.ok();
                }
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        let Order { act, done } = order;
        tracing::info!(unit = self.unit.as_str(), ?act, "unit ordered");
        let acted = self.act(act).await;
        // Who ordered may have gone.
        done.send(acted).ok();
    }

    async fn act(&mut self, act: Act) -> Result<(), ActError> {
        let bus = self.bus().await.map_err(|error| failed(&error))?;
        let acted = bus.act(act).await;
        if let Err(error) = acted {
            self.look().await.ok();
            return Err(failed(&error));
        }
        if act != Act::Stop {
            tokio::time::sleep(SETTLE).await;
        }
        let view = self.look().await.map_err(|error| failed(&error))?;
        let is_as_ordered = match act {
            Act::Stop => matches!(view.state, ServiceState::Stopped | ServiceState::Failed),
            Act::Start | Act::Restart => view.state == ServiceState::Running,
        };
        if is_as_ordered {
            return Ok(());
        }
        let why = view.last_error.unwrap_or_default();
        let state = view.state.name();
        Err(ActError::Failed(format!("it is {state}; {why}")))
    }

    /// Asks systemd, and shows what it says. What was seen last stays where it does not answer.
    async fn look(&mut self) -> Result<ServiceView, BusError> {
        let looked = match self.bus().await {
            Ok(bus) => bus.view().await,
            Err(error) => Err(error),
        };
        match looked {
            Ok(view) => {
                self.is_seen = true;
                self.view.send_if_modified(|shown| {
                    let is_news = *shown != view;
                    shown.clone_from(&view);
                    is_news
                });
                Ok(view)
            }
            Err(error) => {
                if self.is_seen {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(unit = self.unit.as_str(), error, "unit not seen");
                }
                self.is_seen = false;
                self.bus = None;
                Err(error)
            }
        }
    }

    async fn bus(&mut self) -> Result<&mut Bus, BusError> {
        if self.bus.is_none() {
            self.bus = Some(Bus::connect(&self.unit).await?);
        }
        self.bus.as_mut().ok_or(BusError::Gone)
    }
}

fn failed(error: &BusError) -> ActError {
    ActError::Failed(Chain(error).to_string())
}

#[cfg(test)]
mod tests;
