//! Nodes for operators.

use super::revocation::revocation;
use super::{Control, MAX_LISTED, store_error, timestamp};
use crate::fleet::{Fleet, Live};
use crate::inventory;
use crate::lease;
use crate::node::{self, NodeRow};
use crate::report;
use crate::store::{StoreError, Transaction};
use crate::telemetry::{self, Latest};
use hh_ipc::agent::{Inventory, LaneReport, ServiceReport};
use hh_ipc::api::core::{
    FleetNode, FleetNodeDetail, FleetPage, NodeHealth, NodeInventory, NodeLane, NodeProgram,
    NodeService, NodeState,
};
use hh_ipc::{ApiError, ErrorKind};
use hh_trust::NodeId;

impl Control {
    pub(crate) async fn nodes(&self) -> Result<FleetPage, ApiError> {
        let (fleet, instance) = (self.fleet.clone(), self.store.instance());
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| {
                let (rows, total) = node::list(transaction, MAX_LISTED)?;
                Ok((with_reports(transaction, rows, &fleet, instance)?, total))
            })
            .await;
        let (rows, total) = read.map_err(|error| store_error(&error))?;
        let nodes = rows.iter().map(|(row, live, latest)| {
            let services = services(live.as_ref(), latest.as_ref());
            fleet_node(row, live.as_ref(), services)
        });
        Ok(FleetPage {
            nodes: nodes.collect(),
            total,
        })
    }

    /// At most so many nodes after that one, by name; of all, or `only` these.
    pub(crate) async fn node_page(
        &self,
        only: Option<Vec<String>>,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<FleetNode>, ApiError> {
        let (fleet, instance) = (self.fleet.clone(), self.store.instance());
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| {
                let rows = node::page(transaction, only.as_deref(), after.as_deref(), limit)?;
                with_reports(transaction, rows, &fleet, instance)
            })
            .await;
        let rows = read.map_err(|error| store_error(&error))?;
        let nodes = rows.iter().map(|(row, live, latest)| {
            let services = services(live.as_ref(), latest.as_ref());
            fleet_node(row, live.as_ref(), services)
        });
        Ok(nodes.collect())
    }

    pub(crate) async fn node(&self, id: &str) -> Result<FleetNodeDetail, ApiError> {
        let unknown = || no_such_node(id);
        let name: NodeId = id.parse().ok().ok_or_else(unknown)?;
        let instance = self.store.instance();
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| {
                let row = node::get(transaction, &name)?;
                let elsewhere = lease::elsewhere(transaction, instance)?.remove(&name);
                let latest = telemetry::latest(transaction, &name)?;
                let inventory = inventory::get(transaction, &name)?;
                Ok((row, elsewhere, latest, inventory))
            })
            .await;
        let (row, elsewhere, latest, inventory) = read.map_err(|error| store_error(&error))?;
        let row = row.ok_or_else(unknown)?;
        let live = self.fleet.get(&row.id).or(elsewhere);
        let reported = services(live.as_ref(), latest.as_ref());
        Ok(FleetNodeDetail {
            node: fleet_node(&row, live.as_ref(), reported),
            peer: live.as_ref().map(|live| live.peer.to_string()),
            connected_at: live.as_ref().map(|live| timestamp(live.connected_at_ms)),
            clock_ahead_ms: live.as_ref().and_then(|live| live.clock_ahead_ms),
            epoch: row.epoch,
            last_seq: row.last_seq,
            services: reported.iter().map(node_service).collect(),
            health: latest.as_ref().map(health),
            lanes: lanes(live.as_ref(), latest.as_ref())
                .iter()
                .map(node_lane)
                .collect(),
            inventory: inventory.map(|(told, at_ms)| node_inventory(told, at_ms)),
            revocation: row.revoked.as_ref().map(revocation),
        })
    }
}

type Reported = (NodeRow, Option<Live>, Option<Latest>);

/// Nodes with their sessions, here or at another replica, and of those that have none the last sample.
fn with_reports(
    transaction: &Transaction<'_>,
    rows: Vec<NodeRow>,
    fleet: &Fleet,
    instance: i64,
) -> Result<Vec<Reported>, StoreError> {
    let mut elsewhere = lease::elsewhere(transaction, instance)?;
    let with_reports = rows.into_iter().map(|row| {
        let live = fleet.get(&row.id).or_else(|| elsewhere.remove(&row.id));
        let latest = match live {
            Some(_) => None,
            None => telemetry::latest(transaction, &row.id)?,
        };
        Ok((row, live, latest))
    });
    with_reports.collect()
}

pub(super) fn no_such_node(id: &str) -> ApiError {
    let message = format!("no node {id} has enrolled; `hhctl node list` shows those that have");
    ApiError::new(ErrorKind::NotFound, "HH5001", message)
}

/// What the node says now, or else has said last.
fn services<'a>(live: Option<&'a Live>, latest: Option<&'a Latest>) -> &'a [ServiceReport] {
    let said = live.map(|live| live.services.as_slice());
    said.or_else(|| latest.map(|latest| latest.sample.services.as_slice()))
        .unwrap_or_default()
}

/// Likewise.
fn lanes<'a>(live: Option<&'a Live>, latest: Option<&'a Latest>) -> &'a [LaneReport] {
    let said = live.map(|live| live.lanes.as_slice());
    said.or_else(|| latest.map(|latest| latest.sample.lanes.as_slice()))
        .unwrap_or_default()
}

pub(super) fn fleet_node(
    row: &NodeRow,
    live: Option<&Live>,
    services: &[ServiceReport],
) -> FleetNode {
    let running = services.iter().filter(|service| service.state == "running");
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let total = live.map(|live| report::total(&live.lanes));
    FleetNode {
        id: row.id.to_string(),
        state: match live {
            _ if row.revoked.is_some() => NodeState::Revoked,
            Some(_) => NodeState::Connected,
            None => NodeState::Away,
        },
        public: row.is_public,
        enrolled_at: timestamp(row.enrolled_at_ms),
        last_seen_at: live
            .map(|live| live.seen_at_ms)
            .max(row.last_seen_at_ms)
            .map(timestamp),
        agent_version: row.agent_version.clone(),
        public_key: row.public_key.to_string(),
        certificate_until_at: timestamp(row.certificate_until_ms),
        services: count(services.len()),
        services_running: count(running.count()),
        hashrate_10m_hs: total.map(|(hashrate, _)| hashrate),
        miners: total.map(|(_, miners)| u32::try_from(miners).unwrap_or(u32::MAX)),
    }
}

fn node_service(report: &ServiceReport) -> NodeService {
    let error = &report.last_error;
    NodeService {
        name: report.name.clone(),
        state: report.state.clone(),
        since_at: timestamp(report.since_unix_ms),
        restarts: report.restarts,
        pid: (report.pid != 0).then_some(report.pid),
        last_error: (!error.is_empty()).then(|| error.clone()),
        memory_bytes: report.memory_bytes,
    }
}

fn node_lane(report: &LaneReport) -> NodeLane {
    NodeLane {
        name: report.name.clone(),
        hashrate_10m_hs: report.hashrate_10m_hs,
        miners: report.miners,
        shares_accepted: report.shares_accepted,
        shares_rejected: report.shares_rejected,
    }
}

fn node_inventory(told: Inventory, at_ms: i64) -> NodeInventory {
    let programs = told.programs.into_iter().map(|program| NodeProgram {
        name: program.name,
        version: program.version,
    });
    NodeInventory {
        told_at: timestamp(at_ms),
        os: told.os,
        kernel: told.kernel,
        architecture: told.architecture,
        cpus: told.cpus,
        programs: programs.collect(),
    }
}

fn health(latest: &Latest) -> NodeHealth {
    let sample = &latest.sample;
    NodeHealth {
        at: timestamp(sample.at_unix_ms),
        uptime_seconds: sample.uptime_seconds,
        load_1m_milli: sample.load_1m_milli,
        memory_total_bytes: sample.memory_total_bytes,
        memory_available_bytes: sample.memory_available_bytes,
        disk_total_bytes: sample.disk_total_bytes,
        disk_available_bytes: sample.disk_available_bytes,
        dropped_total: latest.dropped_total,
    }
}
