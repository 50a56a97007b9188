//! Metrics that are copied from the directory once a second, so that no share pays for them. Counters end in `_total`
//! and only grow; labels are bounded by the configuration and the specification's error codes.

use crate::admission::Admission;
use crate::directory::unix_ms;
use crate::hyper_nodes::REFUSAL_CODES;
use crate::rate::TEN_MINUTES;
use crate::session::Shared;
use crate::shipper::Shipping;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often they are copied.
const INTERVAL: Duration = Duration::from_secs(1);

/// Copies until `stop` is cancelled.
pub(crate) async fn keep(
    shared: Arc<Shared>,
    admission: Arc<Admission>,
    shipping: watch::Receiver<Shipping>,
    stop: CancellationToken,
) {
    describe();
    describe_door();
    describe_backlog();
    describe_nodes();
    loop {
        copy(&shared);
        copy_door(&shared, &admission);
        copy_backlog(&shared, &shipping.borrow());
        if stop
            .run_until_cancelled(tokio::time::sleep(INTERVAL))
            .await
            .is_none()
        {
            return;
        }
    }
}

fn describe() {
    describe_counter!("hyperhash_shares_total", "Shares by lane and result");
    describe_counter!(
        "hyperhash_lane_hashes_total",
        "Expected hashes of the accepted shares, by lane"
    );
    describe_gauge!(
        "hyperhash_lane_hashrate_hashes_per_second",
        "Hashrate of accepted shares, by lane and window"
    );
    describe_gauge!(
        "hyperhash_miner_connections",
        "Open connections of miners, by lane"
    );
    describe_gauge!("hyperhash_miner_channels", "Open mining channels, by lane");
    describe_counter!("hyperhash_blocks_total", "Blocks of ours, by result");
    describe_gauge!(
        "hyperhash_blocks_kept",
        "Blocks of ours that are in the journal because they could still be lost"
    );
    describe_gauge!(
        "hyperhash_block_journal_reserves",
        "Blocks that the journal has room for on a disk that is full"
    );
    describe_counter!(
        "hyperhash_block_resubmissions_total",
        "Blocks of ours that a node got again because it did not have them any more"
    );
    describe_gauge!(
        "hyperhash_share_log_durable_records",
        "Number of the last record that is on disk"
    );
    describe_gauge!(
        "hyperhash_share_log_writable",
        "1 while the share log can be written, else 0"
    );
    describe_gauge!(
        "hyperhash_share_log_stuck_seconds",
        "How long the disk has not answered the sync under way; 0 below a second"
    );
    describe_gauge!(
        "hyperhash_share_log_waiting_records",
        "Records that are not durable yet"
    );
    describe_gauge!(
        "hyperhash_share_log_bytes",
        "What the segments of the share log take of the disk"
    );
    describe_counter!(
        "hyperhash_share_log_failures_total",
        "Writes and syncs of the share log that failed, and segments that could not be prepared"
    );
    describe_histogram!(
        "hyperhash_share_log_commit_seconds",
        "A commit of the share log: its write and its sync"
    );
    describe_histogram!(
        "hyperhash_ledger_ship_seconds",
        "A transaction that brings records of the share log to the ledger"
    );
    counter!("hyperhash_share_log_failures_total").absolute(0);
    counter!("hyperhash_block_resubmissions_total").absolute(0);
    gauge!("hyperhash_blocks_kept").increment(0.0);
    for result in ["found", "accepted", "rejected", "orphaned"] {
        counter!("hyperhash_blocks_total", "result" => result).absolute(0);
    }
}

fn describe_nodes() {
    describe_counter!(
        "hyperhash_node_credentials_total",
        "Credentials of nodes that were presented, by result"
    );
    describe_counter!(
        "hyperhash_node_credentials_ended_total",
        "Connections whose credential ended and was not renewed"
    );
    for result in REFUSAL_CODES.into_iter().chain(["accepted"]) {
        counter!("hyperhash_node_credentials_total", "result" => result).absolute(0);
    }
    counter!("hyperhash_node_credentials_ended_total").absolute(0);
}

fn describe_door() {
    describe_gauge!(
        "hyperhash_miner_connections_half_open",
        "Connections of miners that are not set up yet"
    );
    describe_counter!(
        "hyperhash_miner_disconnects_total",
        "Connections of miners that ended or were not let in, by lane and reason"
    );
    describe_gauge!("hyperhash_miner_bans", "Bans that hold");
    describe_gauge!(
        "hyperhash_template_provider_active",
        "1 for the template provider whose work miners are given, else 0"
    );
    describe_counter!(
        "hyperhash_template_provider_switches_total",
        "How often miners were given the work of another template provider, by the new one"
    );
    describe_counter!(
        "hyperhash_miner_automatic_bans_total",
        "Bans that the pool made for misbehaviour"
    );
    counter!("hyperhash_miner_automatic_bans_total").absolute(0);
}

fn copy(shared: &Shared) {
    let now_ms = shared.directory.clock().now_ms();
    for lane in shared.directory.lanes() {
        let name = lane.name.clone();
        let counters = lane.counters();
        counter!("hyperhash_shares_total", "lane" => name.clone(), "result" => "accepted")
            .absolute(counters.accepted);
        for (code, count) in &counters.rejected {
            counter!("hyperhash_shares_total", "lane" => name.clone(), "result" => *code)
                .absolute(*count);
        }
        for (reason, count) in lane.disconnects() {
            counter!("hyperhash_miner_disconnects_total", "lane" => name.clone(), "reason" => reason)
                .absolute(count);
        }
        counter!("hyperhash_lane_hashes_total", "lane" => name.clone()).absolute(counters.hashes);
        gauge!("hyperhash_lane_hashrate_hashes_per_second", "lane" => name.clone(), "window" => "10m")
            .set(counters.rate.rate(now_ms, TEN_MINUTES));
        gauge!("hyperhash_miner_connections", "lane" => name.clone())
            .set(f64::from(lane.connections.load(Ordering::Relaxed)));
        gauge!("hyperhash_miner_channels", "lane" => name)
            .set(f64::from(lane.channels.load(Ordering::Relaxed)));
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    let durable = *shared.log.durable().borrow() as f64;
    gauge!("hyperhash_share_log_durable_records").set(durable);
    let stuck = shared.log.stuck_for().unwrap_or_default();
    gauge!("hyperhash_share_log_stuck_seconds").set(stuck.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    let waiting = shared.log.waiting_records() as f64;
    gauge!("hyperhash_share_log_waiting_records").set(waiting);
}

fn copy_door(shared: &Shared, admission: &Admission) {
    let float = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!("hyperhash_miner_connections_half_open").set(float(admission.half_open()));
    gauge!("hyperhash_miner_bans").set(float(shared.bans.count(unix_ms())));
}

fn describe_backlog() {
    describe_gauge!(
        "hyperhash_ledger_backlog_records",
        "Durable records of the share log that are not in the ledger yet"
    );
    describe_gauge!(
        "hyperhash_ledger_backlog_age_seconds",
        "Age of the oldest of them; 0 while it is younger than a second or two"
    );
}

fn copy_backlog(shared: &Shared, shipping: &Shipping) {
    let durable_seq = *shared.log.durable().borrow();
    let age = shipping
        .oldest_waiting_ms
        .map_or(0, |at_ms| unix_ms() - at_ms);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    let (records, age) = (
        durable_seq.saturating_sub(shipping.shipped_seq) as f64,
        age.max(0) as f64 / 1000.0,
    );
    gauge!("hyperhash_ledger_backlog_records").set(records);
    gauge!("hyperhash_ledger_backlog_age_seconds").set(age);
}
