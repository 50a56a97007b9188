//! Gauges for Prometheus: what nodes report, which can't be scraped where they are, and what is to be renewed in time.

mod fleet_metrics;
mod machine_metrics;

use crate::authority::Authority;
use crate::fleet::Fleet;
use crate::node;
use crate::operation;
use crate::store::{Store, StoreError};
use fleet_metrics::FleetMetrics;
use hh_daemon::PassingMetrics;
use metrics::{Unit, describe_counter, describe_gauge, gauge};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// As often as nodes report.
const EXPORT_EVERY: Duration = Duration::from_secs(5);

/// Nodes that are exported, each with a label; more is for a query of the database.
const NODES_MAX: u32 = 1_000;

/// Says what each metric is.
pub(crate) fn describe() {
    describe_gauge!(
        "hyperhash_fleet_nodes_connected",
        "Nodes that have a session at this replica"
    );
    describe_gauge!("hyperhash_fleet_nodes", "Nodes that have enrolled");
    describe_gauge!(
        "hyperhash_fleet_operations_open",
        "Commands of which it is not known what came of them"
    );
    describe_gauge!(
        "hyperhash_pki_certificate_until_seconds",
        Unit::Seconds,
        "When a certificate of core's ends, in Unix time"
    );
    describe_gauge!(
        "hyperhash_audit_log_changed",
        "1 while lines of the audit log are not those that were written"
    );
    describe_gauge!(
        "hyperhash_audit_journal_reached",
        "1 while the journal of a daemon is taken into the audit log"
    );
    describe_counter!(
        "hyperhash_audit_journal_faults_total",
        "Faults of daemons' journals: lines that were changed, removed or cut off"
    );
    describe_counter!(
        "hyperhash_fleet_samples_total",
        "Samples of telemetry that were taken"
    );
    describe_counter!(
        "hyperhash_fleet_enrolments_total",
        "Enrolments, by what came of them"
    );
    describe_counter!(
        "hyperhash_fleet_recoveries_total",
        "Requests of nodes whose certificates had ended, by what came of them"
    );
    describe_counter!(
        "hyperhash_rest_requests_total",
        "Requests of the REST interface, by what came of them"
    );
}

pub(crate) struct Exporter {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) authority: Arc<Authority>,
    pub(crate) passing: PassingMetrics,
}

impl Exporter {
    /// Exports until the daemon stops.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.export().await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "metrics not exported"
                );
            }
            let waited = stop
                .run_until_cancelled(tokio::time::sleep(EXPORT_EVERY))
                .await;
            if waited.is_none() {
                return;
            }
        }
    }

    async fn export(&self) -> Result<(), StoreError> {
        let read: Result<_, StoreError> = self
            .store
            .read(|transaction| {
                let (rows, total) = node::list(transaction, NODES_MAX)?;
                Ok((rows, total, operation::count_open(transaction)?))
            })
            .await;
        let (rows, total, open) = read?;
        gauge!("hyperhash_fleet_nodes").set(f64::from(total));
        gauge!("hyperhash_fleet_operations_open").set(f64::from(open));
        let mut fleet = FleetMetrics::default();
        for row in rows.iter().filter(|row| row.revoked.is_none()) {
            fleet.add(row, self.fleet.get(&row.id).as_ref());
        }
        self.passing.replace(&fleet.families());
        let authority = &self.authority;
        let service = authority.service_issuer.as_ref();
        let service = service.map(|issuer| ("service-issuer", issuer.validity()));
        let others = [
            ("node-issuer", authority.node_issuer.validity()),
            ("server-issuer", authority.server_issuer.validity()),
            ("server", authority.own_validity()),
        ];
        for (name, validity) in others.into_iter().chain(service) {
            gauge!("hyperhash_pki_certificate_until_seconds", "certificate" => name)
                .set(seconds(validity.not_after));
        }
        Ok(())
    }
}

/// Unix seconds as a gauge has them.
fn seconds(unix: i64) -> f64 {
    u32::try_from(unix).map_or(0.0, f64::from)
}
