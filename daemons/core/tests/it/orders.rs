//! Operators who give nodes orders all the time, and remember what was promised them.

use crate::site::{PATIENCE, Site, wait_for};
use hh_ipc::api::core::{
    CoreClient, Operation, OperationState, ServiceAction, ServiceOrder, WaitForOperation,
};
use hh_ipc::client;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How long one call waits; a command of these tests takes milliseconds.
const WAIT_MS: u32 = 20_000;

/// What came of the orders of an operator.
#[derive(Default)]
pub(crate) struct Orders {
    /// Those that core has taken.
    pub(crate) taken: Vec<String>,
    /// From the order until its result was known, of those that nothing came in between.
    pub(crate) latencies: Vec<Duration>,
}

pub(crate) fn restart(node: &str, service: &str) -> ServiceOrder {
    ServiceOrder {
        node: node.to_owned(),
        service: service.to_owned(),
        action: ServiceAction::Restart,
        dry_run: false,
    }
}

/// None if core is not there, or can't take it now.
pub(crate) async fn order(client: &CoreClient, order: ServiceOrder) -> Option<Operation> {
    let ordered = client.order_service(client::within(PATIENCE), order).await;
    ordered.ok()?.ok()
}

impl Orders {
    /// Gives one order after the other, one each `pause`, each to the next of these nodes, and waits for what comes of it. A core that is
    /// gone is asked again when it is back. Goes on until it is dropped, or told to end.
    pub(crate) async fn give(
        site: &Site,
        nodes: &[String],
        pause: Duration,
        end: &tokio_util::sync::CancellationToken,
    ) -> Self {
        let mut orders = Self::default();
        let mut interval = tokio::time::interval(pause);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut client = site.client().await;
        for node in nodes.iter().cycle() {
            interval.tick().await;
            if end.is_cancelled() {
                break;
            }
            let begun = Instant::now();
            let Some(operation) = order(&client, restart(node, "hh-tp")).await else {
                client = site.client().await;
                continue;
            };
            orders.taken.push(operation.id.clone());
            let wait = WaitForOperation {
                id: operation.id,
                wait_ms: WAIT_MS,
            };
            let waited = client
                .wait_for_operation(client::within(PATIENCE), wait)
                .await;
            match waited {
                Ok(Ok(ended)) if ended.state == OperationState::Done => {
                    orders.latencies.push(begun.elapsed());
                }
                Ok(Ok(other)) => panic!("{other:?}"),
                _ => client = site.client().await,
            }
        }
        orders
    }
}

/// Waits until all of these were done.
pub(crate) async fn all_done(site: &Site, ids: &[String]) {
    for id in ids {
        let ended = wait_for(&format!("{id} has ended"), async || {
            let client = site.client().await;
            let operation = client.operation(client::within(PATIENCE), id.clone()).await;
            let operation = operation.ok()?.ok()?;
            operation.state.is_final().then_some(operation)
        })
        .await;
        assert_eq!(ended.state, OperationState::Done, "{ended:?}");
    }
}

/// Waits until it is known of every command what came of it, also of those that core could not say it had taken.
pub(crate) async fn none_open(site: &Site) {
    wait_for("no command is open", async || {
        let client = site.client().await;
        let status = client.status(client::within(PATIENCE)).await.ok()?.ok()?;
        (status.operations_open == 0).then_some(())
    })
    .await;
}
