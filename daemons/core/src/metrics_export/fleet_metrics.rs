//! The metrics that have a label for each node. They are of the nodes that there are now, and what is told by a node is of those that
//! have a session at this replica: so replicas can be added up, and what is gone is gone.
//!
//! A node chooses none of the labels but the names of its services and lanes, and has at most so many of these ([`crate::report`]).

use super::machine_metrics::{MachineMetrics, thousandths};
use crate::fleet::Live;
use crate::node::NodeRow;
use hh_daemon::Family;

pub(super) struct FleetMetrics {
    info: Family,
    connected: Family,
    last_seen: Family,
    certificate_until: Family,
    audit_fault: Family,
    service_running: Family,
    service_restarts: Family,
    service_memory: Family,
    lane_hashrate: Family,
    lane_miners: Family,
    lane_shares: Family,
    machine: MachineMetrics,
}

impl Default for FleetMetrics {
    fn default() -> Self {
        Self {
            info: Family::gauge(
                "hyperhash_fleet_node_info",
                "A node that has enrolled and is not revoked, with its agent's version and whether it serves miners of others, always 1",
            ),
            connected: Family::gauge(
                "hyperhash_fleet_node_connected",
                "1 while the node has a session at this replica",
            ),
            last_seen: Family::gauge(
                "hyperhash_fleet_node_last_seen_timestamp_seconds",
                "When the node was last heard of, in Unix time",
            ),
            certificate_until: Family::gauge(
                "hyperhash_fleet_node_certificate_until_seconds",
                "When the node's certificate ends, in Unix time",
            ),
            audit_fault: Family::gauge(
                "hyperhash_fleet_node_audit_fault",
                "1 while the node says that the audit log is not the one that it has seen",
            ),
            service_running: Family::gauge(
                "hyperhash_fleet_node_service_running",
                "1 while a service of the node runs",
            ),
            service_restarts: Family::counter(
                "hyperhash_fleet_node_service_restarts_total",
                "How often a service of the node ended by itself and was started again, since the agent started",
            ),
            service_memory: Family::gauge(
                "hyperhash_fleet_node_service_memory_bytes",
                "Memory that a service of the node takes",
            ),
            lane_hashrate: Family::gauge(
                "hyperhash_fleet_lane_hashrate_hashes_per_second",
                "Of accepted shares over the last 10 minutes, of a lane of the node's translator",
            ),
            lane_miners: Family::gauge(
                "hyperhash_fleet_lane_miners",
                "Connections of miners to a lane of the node's translator",
            ),
            lane_shares: Family::counter(
                "hyperhash_fleet_lane_shares_total",
                "Shares of a lane since the node's translator started, by result",
            ),
            machine: MachineMetrics::default(),
        }
    }
}

impl FleetMetrics {
    /// A node, and what it says where it has a session here.
    pub(super) fn add(&mut self, row: &NodeRow, live: Option<&Live>) {
        let node = ("node", row.id.as_str());
        let version = ("version", row.agent_version.as_str());
        let public = ("public", if row.is_public { "true" } else { "false" });
        self.info.add(&[node, version, public], 1);
        self.connected.add(&[node], u8::from(live.is_some()));
        let until = row.certificate_until_ms.div_euclid(1_000);
        self.certificate_until.add(&[node], until);
        let seen_ms = live.map(|live| live.seen_at_ms).max(row.last_seen_at_ms);
        if let Some(seen_ms) = seen_ms {
            self.last_seen.add(&[node], thousandths(seen_ms));
        }
        if let Some(live) = live {
            self.machine.add(node, live);
            if let Some(seen) = &live.audit {
                let has_fault = u8::from(!seen.fault.is_empty());
                self.audit_fault.add(&[node], has_fault);
            }
            self.add_services(node, live);
            self.add_lanes(node, live);
        }
    }

    fn add_services(&mut self, node: (&str, &str), live: &Live) {
        for report in &live.services {
            let service = ("service", report.name.as_str());
            let is_running = u8::from(report.state == "running");
            self.service_running.add(&[node, service], is_running);
            self.service_restarts.add(&[node, service], report.restarts);
            self.service_memory
                .add(&[node, service], report.memory_bytes);
        }
    }

    fn add_lanes(&mut self, node: (&str, &str), live: &Live) {
        for report in &live.lanes {
            let lane = ("lane", report.name.as_str());
            self.lane_hashrate
                .add(&[node, lane], report.hashrate_10m_hs);
            self.lane_miners.add(&[node, lane], report.miners);
            for (result, count) in [
                ("accepted", report.shares_accepted),
                ("rejected", report.shares_rejected),
            ] {
                let result = ("result", result);
                self.lane_shares.add(&[node, lane, result], count);
            }
        }
    }

    /// As they are served.
    pub(super) fn families(self) -> Vec<Family> {
        let own = [
            self.info,
            self.connected,
            self.last_seen,
            self.certificate_until,
            self.audit_fault,
            self.service_running,
            self.service_restarts,
            self.service_memory,
            self.lane_hashrate,
            self.lane_miners,
            self.lane_shares,
        ];
        own.into_iter().chain(self.machine.families()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Measured;
    use hh_daemon::PassingMetrics;
    use hh_ipc::agent::{LaneReport, ServiceReport};
    use hh_trust::NodeSecretKey;

    fn row(id: &str) -> NodeRow {
        NodeRow {
            id: id.parse().unwrap(),
            epoch: 1,
            last_seq: 0,
            public_key: NodeSecretKey::generate().unwrap().public_key(),
            is_public: true,
            agent_version: "0.1.0".to_owned(),
            enrolled_at_ms: 0,
            last_seen_at_ms: Some(1_500),
            revoked: None,
            recoveries: 0,
            certificate_until_ms: 90_000,
        }
    }

    fn live() -> Live {
        Live {
            peer: "192.0.2.1:1000".parse().unwrap(),
            connected_at_ms: 1,
            seen_at_ms: 2_042,
            clock_ahead_ms: Some(-20),
            measured: Some(Measured {
                load_1m_milli: 420,
                disk_available_bytes: 5,
                ..Measured::default()
            }),
            services: vec![ServiceReport {
                name: "hh-tp".to_owned(),
                state: "waiting".to_owned(),
                restarts: 3,
                ..ServiceReport::default()
            }],
            audit: None,
            lanes: vec![LaneReport {
                name: "asics".to_owned(),
                hashrate_10m_hs: 1e15,
                miners: 7,
                shares_accepted: 9,
                shares_rejected: 1,
            }],
        }
    }

    fn text(nodes: &[(&str, Option<Live>)]) -> String {
        let mut fleet = FleetMetrics::default();
        for (id, live) in nodes {
            fleet.add(&row(id), live.as_ref());
        }
        let passing = PassingMetrics::default();
        passing.replace(&fleet.families());
        passing.text()
    }

    #[test]
    fn a_node_is_told_of_with_its_lanes_while_it_is_here() {
        let here = text(&[("berlin", Some(live()))]);
        for line in [
            "hyperhash_fleet_node_info{node=\"berlin\",version=\"0.1.0\",public=\"true\"} 1",
            "hyperhash_fleet_node_connected{node=\"berlin\"} 1",
            "hyperhash_fleet_node_last_seen_timestamp_seconds{node=\"berlin\"} 2.042",
            "hyperhash_fleet_node_certificate_until_seconds{node=\"berlin\"} 90",
            "hyperhash_fleet_node_service_running{node=\"berlin\",service=\"hh-tp\"} 0",
            "hyperhash_fleet_lane_hashrate_hashes_per_second{node=\"berlin\",lane=\"asics\"} 1000000000000000",
            "hyperhash_fleet_node_service_restarts_total{node=\"berlin\",service=\"hh-tp\"} 3",
            "hyperhash_fleet_node_clock_ahead_seconds{node=\"berlin\"} -0.020",
            "hyperhash_fleet_node_load_1m{node=\"berlin\"} 0.420",
            "hyperhash_fleet_node_disk_available_bytes{node=\"berlin\"} 5",
            "hyperhash_fleet_lane_miners{node=\"berlin\",lane=\"asics\"} 7",
            "hyperhash_fleet_lane_shares_total{node=\"berlin\",lane=\"asics\",result=\"rejected\"} 1",
        ] {
            assert!(
                here.lines().any(|one| one == line),
                "{line} is not in\n{here}"
            );
        }
        let away = text(&[("berlin", None)]);
        assert!(away.contains("hyperhash_fleet_node_connected{node=\"berlin\"} 0"));
        assert!(away.contains("seconds{node=\"berlin\"} 1.500"), "{away}");
        assert!(
            !away.contains("lane") && !away.contains("service=") && !away.contains("load"),
            "{away}"
        );
    }
}
