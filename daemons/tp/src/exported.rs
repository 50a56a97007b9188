//! What Prometheus is told.
//!
//! Owns: the help text of every metric of hh-tp, and the label values that exist before anything has happened: a counter that
//! appears with its first event loses that event to `rate()`. Never: measures anything itself.

use hh_bitcoin::{SourceError, Trigger};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::nodes::Condition;

/// Value of the label `trigger` for a template that was there before its node became the active one.
pub(crate) const FAILOVER: &str = "failover";
/// Value of the label `reason` where nothing was wrong with the node that was left: one further up the list was back.
pub(crate) const PREFERRED: &str = "preferred";

/// From the trigger to what the node was asked for; from there to encoded messages; all of it.
pub(crate) const STAGES: [&str; 3] = ["fetch", "build", "total"];

/// Makes every metric known. `nodes` are the names of the nodes.
pub(crate) fn describe<'a>(nodes: impl Iterator<Item = &'a str>) {
    describe_templates();
    describe_nodes();
    let triggers = [
        Trigger::Start,
        Trigger::NewBlock,
        Trigger::CoinbaseOnly,
        Trigger::Transactions,
        Trigger::Mempool,
    ];
    for trigger in triggers.map(Trigger::as_str).into_iter().chain([FAILOVER]) {
        drop(histogram!("hyperhash_template_delivery_seconds", "trigger" => trigger));
        for stage in STAGES {
            drop(
                histogram!("hyperhash_template_generation_seconds", "trigger" => trigger, "stage" => stage),
            );
        }
    }
    for name in nodes {
        gauge!("hyperhash_template_node_active", "upstream" => name.to_owned()).set(0);
    }
    let left_for = [
        Condition::Lagging,
        Condition::InitialDownload,
        Condition::Silent,
        Condition::Down,
    ];
    for reason in left_for
        .map(Condition::as_str)
        .into_iter()
        .chain([PREFERRED])
    {
        counter!("hyperhash_template_node_switches_total", "reason" => reason).absolute(0);
    }
    for reason in SourceError::REASONS {
        counter!("hyperhash_template_failures_total", "reason" => reason).absolute(0);
    }
    for path in ["ipc", "rpc"] {
        drop(histogram!("hyperhash_block_submit_seconds", "path" => path));
    }
    gauge!("hyperhash_template_clients").set(0);
}

fn describe_templates() {
    describe_histogram!(
        "hyperhash_template_generation_seconds",
        "From a template's trigger to its being ready for clients, by trigger and stage"
    );
    describe_histogram!(
        "hyperhash_template_delivery_seconds",
        "From a template's trigger to its being written to a client that waited for it, by trigger"
    );
    describe_gauge!(
        "hyperhash_template_last_success_timestamp_seconds",
        "When the newest template was given out"
    );
    describe_counter!(
        "hyperhash_template_failures_total",
        "Templates that did not come, or could not be served, by reason"
    );
    describe_gauge!(
        "hyperhash_template_fees_satoshis",
        "Fees in the newest template"
    );
    describe_gauge!(
        "hyperhash_template_transactions",
        "Transactions in the newest template, without its coinbase"
    );
    describe_gauge!(
        "hyperhash_template_weight_units",
        "Weight of the transactions in the newest template"
    );
    describe_gauge!(
        "hyperhash_template_clients",
        "Clients of Template Distribution"
    );
    describe_histogram!(
        "hyperhash_block_submit_seconds",
        "From a solution to a node's answer, by path"
    );
}

fn describe_nodes() {
    describe_gauge!(
        "hyperhash_template_node_active",
        "1 for the node that templates come from, 0 for the others"
    );
    describe_counter!(
        "hyperhash_template_node_switches_total",
        "Times a node was left, by what was wrong with it; preferred: one further up the list was back"
    );
    describe_gauge!(
        "hyperhash_chain_height",
        "Height of the block that the newest template builds on"
    );
    describe_gauge!(
        "hyperhash_chain_headers_height",
        "Height of the best header chain of the node that templates come from"
    );
    describe_gauge!(
        "hyperhash_chain_tip_timestamp_seconds",
        "Time in the header of the tip of the node that templates come from"
    );
    describe_gauge!(
        "hyperhash_chain_peers",
        "Peers of the node that templates come from"
    );
}
