//! Whether a daemon does its work, judged by what it says of itself.

use super::pool::gone;
use crate::output::State;
use hh_ipc::api::pool::PoolStatus;
use hh_ipc::api::template_provider::{NodeCondition, NodeStatus, TemplateProviderStatus};
use hh_ipc::api::translator::TranslatorStatus;
use hh_ipc::api::treasury::TreasuryStatus;
use hh_ipc::api::{LinkState, LinkStatus};

/// A state, with the reason where it is not ok.
pub(super) type Health = (State, Option<String>);

/// The worst of `findings`; ok if there are none.
fn worst(findings: Vec<(State, String)>) -> Health {
    findings
        .into_iter()
        .reduce(|worst, next| if next.0 > worst.0 { next } else { worst })
        .map_or((State::Ok, None), |(state, reason)| (state, Some(reason)))
}

fn down(link: &LinkStatus) -> bool {
    link.state != LinkState::Up
}

fn why(link: &LinkStatus) -> String {
    let reason = link.last_error.as_deref().unwrap_or("still connecting");
    format!("{}: {reason}", link.address)
}

/// Without a node there are no new templates; each node that is not healthy is one less to take over, and one less for blocks.
pub(super) fn of_tp(status: &TemplateProviderStatus) -> Health {
    let mut findings = Vec::new();
    let reasons = |nodes: &mut dyn Iterator<Item = &NodeStatus>| {
        nodes.map(why_not).collect::<Vec<_>>().join("; ")
    };
    if status.active_node().is_none() {
        let reason = reasons(&mut status.nodes.iter());
        findings.push((State::Fail, format!("no node gives templates: {reason}")));
    } else if status.last_template.is_none() {
        findings.push((State::Fail, "no template yet".to_owned()));
    }
    for node in &status.nodes {
        if node.reason.is_some() {
            findings.push((State::Warn, why_not(node)));
        }
    }
    worst(findings)
}

/// `near is lagging: it is at height 4, far has more work at height 9`.
pub(super) fn why_not(node: &NodeStatus) -> String {
    let condition = match node.condition {
        NodeCondition::Connecting => "connecting",
        NodeCondition::Healthy => "healthy, but",
        NodeCondition::Lagging => "lagging",
        NodeCondition::InitialDownload => "in initial block download",
        NodeCondition::Silent => "silent",
        NodeCondition::Down => "down",
    };
    let reason = node.reason.as_deref().unwrap_or("no reason told");
    format!("{} is {condition}: {reason}", node.name)
}

/// Without work or a share log there is no mining; without ledger or nodes there is, for a while.
pub(super) fn of_pool(status: &PoolStatus) -> Health {
    let mut findings = Vec::new();
    if let Some(error) = &status.share_log.last_error {
        findings.push((State::Fail, format!("shares can't be logged: {error}")));
    }
    if let Some(warning) = &status.share_log.warning {
        let reason = format!("soon shares can't be logged: {warning}");
        findings.push((State::Warn, reason));
    }
    if let Some(lost) = &status.share_log.lost {
        findings.push((State::Fail, gone(lost)));
    }
    if status.work.is_none() {
        findings.push((State::Fail, "no work: no template has come".to_owned()));
    }
    if status.template_providers.iter().all(down) {
        let reasons: Vec<String> = status.template_providers.iter().map(why).collect();
        let reason = format!("no template provider: {}", reasons.join("; "));
        findings.push((State::Fail, reason));
    }
    if let Some(error) = &status.ledger.last_error {
        findings.push((State::Warn, format!("the ledger takes no shares: {error}")));
    }
    for link in status.nodes.iter().filter(|link| down(link)) {
        findings.push((State::Warn, format!("no RPC to {}", why(link))));
    }
    worst(findings)
}

/// Without an upstream its miners have no work.
pub(super) fn of_translator(status: &TranslatorStatus) -> Health {
    let mut findings = Vec::new();
    if status.upstreams.iter().all(down) {
        let reasons: Vec<String> = status.upstreams.iter().map(why).collect();
        findings.push((State::Fail, format!("no upstream: {}", reasons.join("; "))));
    } else {
        for link in status.upstreams.iter().filter(|link| down(link)) {
            findings.push((State::Warn, format!("upstream down: {}", why(link))));
        }
    }
    worst(findings)
}

/// Frozen payouts and books that can't be written are for a person at once; the rest can wait while balances stay.
pub(super) fn of_treasury(status: &TreasuryStatus) -> Health {
    let mut findings = Vec::new();
    if let Some(freeze) = &status.freeze {
        let reason = format!("payouts are frozen by {}: {}", freeze.actor, freeze.reason);
        findings.push((State::Fail, reason));
    }
    if down(&status.books) {
        findings.push((State::Fail, format!("no books: {}", why(&status.books))));
    }
    if status.bitcoin_nodes.iter().all(down) {
        let reasons: Vec<String> = status.bitcoin_nodes.iter().map(why).collect();
        findings.push((
            State::Fail,
            format!("no Bitcoin Core: {}", reasons.join("; ")),
        ));
    }
    if down(&status.lightning) {
        let reason = format!("no Lightning: {}", why(&status.lightning));
        findings.push((State::Warn, reason));
    }
    if down(&status.pool_ledger) {
        let reason = format!("no ledger of the pool: {}", why(&status.pool_ledger));
        findings.push((State::Warn, reason));
    }
    if status.payouts_waiting_for_operator > 0 {
        let waiting = match status.payouts_waiting_for_operator {
            1 => "1 payout waits".to_owned(),
            more => format!("{more} payouts wait"),
        };
        findings.push((State::Warn, format!("{waiting} for a person")));
    }
    worst(findings)
}
