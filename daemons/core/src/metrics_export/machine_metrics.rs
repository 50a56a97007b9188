//! What nodes measure of their machines, as they pushed it last in their session here.

use crate::fleet::{Live, Measured};
use hh_daemon::Family;

pub(super) struct MachineMetrics {
    clock_ahead: Family,
    load: Family,
    memory_total: Family,
    memory_available: Family,
    disk_total: Family,
    disk_available: Family,
    dropped: Family,
}

impl Default for MachineMetrics {
    fn default() -> Self {
        Self {
            clock_ahead: Family::gauge(
                "hyperhash_fleet_node_clock_ahead_seconds",
                "The node's clock less core's",
            ),
            load: Family::gauge(
                "hyperhash_fleet_node_load_1m",
                "Load average of the node's machine over a minute",
            ),
            memory_total: Family::gauge(
                "hyperhash_fleet_node_memory_total_bytes",
                "Memory of the node's machine",
            ),
            memory_available: Family::gauge(
                "hyperhash_fleet_node_memory_available_bytes",
                "Memory of the node's machine that programs can have",
            ),
            disk_total: Family::gauge(
                "hyperhash_fleet_node_disk_total_bytes",
                "The disk that the node's agent has its data on",
            ),
            disk_available: Family::gauge(
                "hyperhash_fleet_node_disk_available_bytes",
                "Room on the disk that the node's agent has its data on",
            ),
            dropped: Family::counter(
                "hyperhash_fleet_node_samples_dropped_total",
                "Samples of telemetry that the node's spool had no room for",
            ),
        }
    }
}

impl MachineMetrics {
    pub(super) fn add(&mut self, node: (&str, &str), live: &Live) {
        if let Some(ahead_ms) = live.clock_ahead_ms {
            self.clock_ahead.add(&[node], thousandths(ahead_ms));
        }
        if let Some(measured) = &live.measured {
            self.measured(node, measured);
        }
    }

    fn measured(&mut self, node: (&str, &str), measured: &Measured) {
        self.load
            .add(&[node], thousandths(measured.load_1m_milli.into()));
        self.memory_total.add(&[node], measured.memory_total_bytes);
        self.memory_available
            .add(&[node], measured.memory_available_bytes);
        self.disk_total.add(&[node], measured.disk_total_bytes);
        self.disk_available
            .add(&[node], measured.disk_available_bytes);
        self.dropped.add(&[node], measured.dropped_total);
    }

    /// As they are served.
    pub(super) fn families(self) -> [Family; 7] {
        [
            self.clock_ahead,
            self.load,
            self.memory_total,
            self.memory_available,
            self.disk_total,
            self.disk_available,
            self.dropped,
        ]
    }
}

/// 1500 is 1.500, -20 is -0.020.
pub(super) fn thousandths(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let size = number.unsigned_abs();
    format!("{sign}{}.{:03}", size / 1_000, size % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_are_written_with_their_sign() {
        assert_eq!(thousandths(1_500), "1.500");
        assert_eq!(thousandths(-20), "-0.020");
        assert_eq!(thousandths(i64::MIN), "-9223372036854775.808");
    }
}
