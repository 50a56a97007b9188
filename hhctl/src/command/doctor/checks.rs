//! Checks of what the daemons say. Pure: the answers and the time come in, a check goes out.

use super::Check;
use crate::command::health;
use crate::command::pool::{RESTORE, gone};
use crate::command::version::VERSION;
use crate::output::text;
use hh_ipc::api::pool::PoolStatus;
use hh_ipc::api::template_provider::{NodeCondition, NodeStatus, TemplateProviderStatus};
use hh_ipc::api::translator::TranslatorStatus;
use hh_ipc::api::{Hello, LinkState, LinkStatus};
use jiff::{SignedDuration, Timestamp};

/// Without a new template for this long, transactions of no miner of ours get into blocks.
const OLD_TEMPLATE: SignedDuration = SignedDuration::from_secs(90);

/// A template of this age is most likely one of an old tip.
const DEAD_TEMPLATE: SignedDuration = SignedDuration::from_mins(10);

/// A healthy pool ships every second: this many shares are some seconds of a large one.
const MAX_LEDGER_LAG: u64 = 10_000;

/// The same in time, for a small one: a record that waits for so long is no matter of one slow transaction.
const MAX_LEDGER_LAG_AGE: SignedDuration = SignedDuration::from_secs(60);

/// Apart by more, clocks make shares look older or younger than they are.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(2);

pub(super) fn version(program: &str, hello: &Hello) -> Check {
    let found = format!("{} answers, process {}", hello.version, hello.pid);
    if hello.version == VERSION {
        return Check::ok(program, found);
    }
    let found = format!("{found}; this hhctl is {VERSION}");
    Check::warn(program, found, "upgrade the older of the two")
}

pub(super) fn bitcoin_core(tp: &TemplateProviderStatus) -> Check {
    let name = "bitcoin core";
    let healthy = |node: &&NodeStatus| node.condition == NodeCondition::Healthy;
    let unwell: Vec<String> = tp
        .nodes
        .iter()
        .filter(|node| !healthy(node))
        .map(health::why_not)
        .collect();
    let Some(active) = tp.active_node() else {
        let fix = "start bitcoin-node (>= 30, -server, -ipcbind=unix), and compare its paths with [[nodes]] in hh-tp.toml";
        return Check::fail(name, unwell.join("; "), fix);
    };
    let height = active
        .height
        .map_or_else(|| "unknown height".to_owned(), |h| format!("height {h}"));
    let found = format!("{}, {height}, from {}", tp.chain, active.name);
    if unwell.is_empty() {
        return Check::ok(name, found);
    }
    let fix = "start that node again, or see its log and its network: until then nothing takes over for another";
    Check::warn(name, format!("{found}; {}", unwell.join("; ")), fix)
}

pub(super) fn template_age(tp: &TemplateProviderStatus, now: Timestamp) -> Check {
    let name = "template";
    let Some(template) = &tp.last_template else {
        return Check::fail(
            name,
            "none yet",
            "see `bitcoin core` above, then the log of hh-tp",
        );
    };
    let age = now.duration_since(template.created_at);
    let found = format!(
        "{} old, for block {}",
        text::age(now, template.created_at),
        template.height
    );
    if age > DEAD_TEMPLATE {
        Check::fail(name, found, "restart hh-tp, and keep its log for a report")
    } else if age > OLD_TEMPLATE {
        Check::warn(name, found, "if it goes on, see the log of hh-tp")
    } else {
        Check::ok(name, found)
    }
}

/// The pool mines on the tip that the node has. One block apart is a new block on its way.
pub(super) fn height(tp: &TemplateProviderStatus, pool: &PoolStatus) -> Check {
    let name = "height";
    if tp.chain != pool.chain {
        let found = format!("hh-tp is on {}, hh-pool on {}", tp.chain, pool.chain);
        return Check::fail(
            name,
            found,
            "correct `chain` in one of the two configurations",
        );
    }
    let best = tp.nodes.iter().filter_map(|node| node.height).max();
    let (Some(node), Some(work)) = (best, &pool.work) else {
        return Check::fail(name, "hh-pool has no work", "see `template` above");
    };
    let found = format!("hh-pool mines block {}, the node has {node}", work.height);
    match work.height.abs_diff(node.saturating_add(1)) {
        0 => Check::ok(name, found),
        1 => Check::warn(name, found, "run it again: a block may just have come"),
        _ => Check::fail(
            name,
            found,
            "see the connection to hh-tp in `hhctl pool status`",
        ),
    }
}

/// The nodes that a block of ours is submitted to beside the template provider.
pub(super) fn block_paths(pool: &PoolStatus) -> Check {
    let fix = "start those nodes, or correct [[nodes]] in hh-pool.toml: a block of ours has one path less";
    links("block paths", &pool.nodes, fix)
}

/// The pools that SV1 miners mine on.
pub(super) fn upstreams(translator: &TranslatorStatus) -> Check {
    let fix = "start that pool, or correct its address and key in hh-translator.toml";
    links("upstreams", &translator.upstreams, fix)
}

/// Fails if none is up, warns if one is not.
pub(super) fn links(name: &str, links: &[LinkStatus], fix: &str) -> Check {
    let down: Vec<String> = links
        .iter()
        .filter(|link| link.state != LinkState::Up)
        .map(|link| {
            let reason = link.last_error.as_deref().unwrap_or("still connecting");
            format!("{}: {reason}", link.address)
        })
        .collect();
    let up = links.len() - down.len();
    match (up, down.is_empty()) {
        (0, true) => Check::warn(name, "none is configured", fix),
        (_, true) => Check::ok(name, format!("{up} up")),
        (0, false) => Check::fail(name, down.join("; "), fix),
        (_, false) => Check::warn(name, format!("{up} up; {}", down.join("; ")), fix),
    }
}

pub(super) fn shares(pool: &PoolStatus) -> Check {
    let name = "shares";
    let hashrate = text::hashrate(pool.hashrate_10m_hs);
    let found = format!(
        "{} from {} in 10m ({})",
        hashrate,
        text::plural(pool.channels.into(), "miner"),
        super::super::link::shares(&pool.shares)
    );
    if pool.channels == 0 {
        let fix = "point a miner at a lane of `hhctl pool status`, or at a translator";
        return Check::warn(name, "no miner is connected", fix);
    }
    if pool.hashrate_10m_hs > 0.0 {
        Check::ok(name, found)
    } else {
        let fix = "see who is rejected and why: hhctl miner list, hhctl miner show ID";
        Check::fail(name, format!("no share was accepted lately; {found}"), fix)
    }
}

pub(super) fn share_log(pool: &PoolStatus) -> Check {
    let name = "share log";
    let log = &pool.share_log;
    let durable = format!("{} records durable", text::count(log.durable_seq));
    if let Some(error) = &log.last_error {
        let waiting = text::plural(log.waiting_records, "record");
        let fix = "make room on its disk, or replace the disk: until then no share is acknowledged";
        return Check::fail(name, format!("{error}; {waiting} not durable"), fix);
    }
    if let Some(lost) = &log.lost {
        return Check::fail(name, gone(lost), RESTORE);
    }
    if let Some(warning) = &log.warning {
        let fix =
            "make room on its disk: when the present segment is full no share is acknowledged";
        return Check::warn(name, format!("{durable}; {warning}"), fix);
    }
    Check::ok(name, durable)
}

pub(super) fn ledger(pool: &PoolStatus, now: Timestamp) -> Check {
    let name = "ledger";
    let records = pool.share_log.not_shipped();
    let oldest = pool.ledger.oldest_waiting_at;
    let is_old = oldest.is_some_and(|at| now.duration_since(at) > MAX_LEDGER_LAG_AGE);
    let behind = super::super::pool::backlog(pool, now);
    match &pool.ledger.last_error {
        Some(error) => {
            let fix = "correct that; nothing is lost, the share log keeps them";
            Check::fail(name, format!("{behind}: {error}"), fix)
        }
        None if is_old || records > MAX_LEDGER_LAG => {
            let fix = "give its disk a look (iostat -x 1): it writes less than the pool accepts, unless it catches up \
                       just now; nothing is lost";
            Check::warn(name, behind, fix)
        }
        None => Check::ok(name, behind),
    }
}

/// Nothing that the daemons saw can lie in the future of this clock.
pub(super) fn clock(
    tp: Option<&TemplateProviderStatus>,
    pool: Option<&PoolStatus>,
    now: Timestamp,
) -> Check {
    let name = "clock";
    let seen = [
        tp.and_then(|tp| tp.last_template.as_ref())
            .map(|template| template.created_at),
        pool.and_then(|pool| pool.work.as_ref())
            .map(|work| work.received_at),
        pool.and_then(|pool| pool.ledger.last_shipped_at),
    ];
    let Some(latest) = seen.into_iter().flatten().max() else {
        return Check::unknown(name, "no daemon told a time to compare with");
    };
    let ahead = latest.duration_since(now);
    if ahead > MAX_CLOCK_SKEW {
        let found = format!("the daemons are {}s ahead of this machine", ahead.as_secs());
        return Check::fail(name, found, "run an NTP client on both machines");
    }
    Check::ok(name, "not behind the daemons")
}

#[cfg(test)]
mod tests;
