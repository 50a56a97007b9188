//! Which node templates come from.
//!
//! Owns: the rules, and what they have to remember. Pure: the facts and the time come in, an index goes out. Never: talks to
//! a node. The nodes are in the order of preference, the first is the best.

use std::time::{Duration, Instant};

use bitcoin::{BlockHash, Work};

/// A block reaches well-connected nodes in a second or two. Mining on an old tip is mining for nothing, while a switch to a node
/// that was merely quicker costs miners one job: so not much longer than that.
pub(super) const LAG_GRACE: Duration = Duration::from_secs(5);
/// A node that flushes its caches may not answer for a few seconds, but then it gives no templates either.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(8);
/// At the start, a node further down the list is not taken before those above it have answered or failed, or this time has passed.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(5);

/// Whether a node's source gives templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    /// It has neither given one nor failed yet.
    NotYet,
    No,
    Yes,
}

/// What is known of a node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) serving: Serving,
    /// When its RPC answered last.
    pub(super) answered_at: Option<Instant>,
    /// On a chain where that means something.
    pub(super) initial_download: bool,
    /// Work and hash of its tip.
    pub(super) chain: Option<(Work, BlockHash)>,
    /// A tip with more work that it does not follow because a block of that chain is invalid to it.
    pub(super) refuses: Option<BlockHash>,
    /// False where its newest template is older than its own word that there is another tip.
    pub(super) on_own_tip: bool,
}

/// What a node is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Connecting,
    Healthy,
    Lagging,
    InitialDownload,
    Silent,
    Down,
}

impl Condition {
    /// The value of the metric label `reason`, and of the field in logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Healthy => "healthy",
            Self::Lagging => "lagging",
            Self::InitialDownload => "initial_download",
            Self::Silent => "silent",
            Self::Down => "down",
        }
    }
}

/// What is remembered of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) condition: Condition,
    pub(super) since: Instant,
    /// The work that it has to come up to, and since when another node has it.
    behind: Option<(Instant, Work)>,
    off_tip_since: Option<Instant>,
}

/// Chooses, again and again.
#[derive(Debug)]
pub(super) struct Choice {
    started_at: Instant,
    return_after: Duration,
    pub(super) standings: Vec<Standing>,
    pub(super) active: Option<usize>,
}

impl Choice {
    /// `return_after`: how long a preferred node has to be healthy before it is gone back to.
    pub(super) fn new(nodes: usize, return_after: Duration, now: Instant) -> Self {
        let standing = Standing {
            condition: Condition::Connecting,
            since: now,
            behind: None,
            off_tip_since: None,
        };
        Self {
            started_at: now,
            return_after,
            standings: vec![standing; nodes],
            active: None,
        }
    }

    /// Judges the nodes by their facts, in the same order, and chooses among them. Time must not go back.
    pub(super) fn decide(&mut self, facts: &[Facts], now: Instant) {
        let best = (facts.iter())
            .filter(|facts| distrust(facts, now).is_none())
            .filter_map(|facts| facts.chain)
            .max_by_key(|(work, _)| *work);
        for (standing, facts) in self.standings.iter_mut().zip(facts) {
            let condition = standing.judge(facts, best, now);
            if condition != standing.condition {
                standing.condition = condition;
                standing.since = now;
            }
        }
        let serving: Vec<bool> = (facts.iter())
            .map(|facts| facts.serving == Serving::Yes)
            .collect();
        self.active = self.choose(&serving, now);
    }

    /// Whether another node has more work, and for how long.
    pub(super) fn is_behind(&self, index: usize) -> bool {
        self.standings[index].behind.is_some()
    }

    fn choose(&self, serving: &[bool], now: Instant) -> Option<usize> {
        let nodes = || self.standings.iter().enumerate();
        let healthy = |standing: &Standing| standing.condition == Condition::Healthy;
        if let Some(active) = self.active
            && healthy(&self.standings[active])
        {
            let proven = |standing: &Standing| {
                healthy(standing)
                    && standing.behind.is_none()
                    && standing.off_tip_since.is_none()
                    && now.saturating_duration_since(standing.since) >= self.return_after
            };
            let preferred = nodes().take(active).find(|(_, node)| proven(node));
            return Some(preferred.map_or(active, |(index, _)| index));
        }
        let patient = now < self.started_at + START_PATIENCE;
        let first = nodes().find(|(_, node)| {
            healthy(node)
                || (patient && self.active.is_none() && node.condition == Condition::Connecting)
        });
        if let Some((index, node)) = first {
            return healthy(node).then_some(index);
        }
        // Nobody is healthy: templates that may be of an old tip are better than none, and a change would gain nothing.
        let active = self.active.filter(|active| serving[*active]);
        active.or_else(|| serving.iter().position(|serving| *serving))
    }
}

impl Standing {
    fn judge(&mut self, facts: &Facts, best: Option<(Work, BlockHash)>, now: Instant) -> Condition {
        self.note_lag(facts, best, now);
        if let Some(condition) = distrust(facts, now) {
            return condition;
        }
        let since = [self.behind.map(|(since, _)| since), self.off_tip_since];
        let lagging = |since: Instant| now.saturating_duration_since(since) >= LAG_GRACE;
        if since.into_iter().flatten().any(lagging) {
            return Condition::Lagging;
        }
        Condition::Healthy
    }

    fn note_lag(&mut self, facts: &Facts, best: Option<(Work, BlockHash)>, now: Instant) {
        // A mark stays until the node has come up to it: where blocks come fast, two nodes that are asked one after the
        // other always differ, and yet none is behind for long.
        let reached = |work: Work| facts.chain.is_some_and(|(has, _)| has >= work);
        // Who refuses a chain is not behind it. Which of the two nodes is right is not for us to say: the order of preference
        // decides, as always.
        let ahead = best.filter(|(work, hash)| !reached(*work) && facts.refuses != Some(*hash));
        let mark = self.behind.filter(|(_, mark)| !reached(*mark));
        self.behind = ahead.map(|(work, _)| mark.unwrap_or((now, work)));
        let off_tip = facts.serving == Serving::Yes && !facts.on_own_tip;
        self.off_tip_since = off_tip.then_some(self.off_tip_since.unwrap_or(now));
    }
}

/// Why a node's word about the chain does not count, if so.
fn distrust(facts: &Facts, now: Instant) -> Option<Condition> {
    let silent = facts
        .answered_at
        .is_none_or(|at| now.saturating_duration_since(at) >= SILENT_AFTER);
    if facts.initial_download && !silent {
        return Some(Condition::InitialDownload);
    }
    match facts.serving {
        Serving::NotYet => Some(Condition::Connecting),
        Serving::No => Some(Condition::Down),
        Serving::Yes => silent.then_some(Condition::Silent),
    }
}

#[cfg(test)]
mod tests;
