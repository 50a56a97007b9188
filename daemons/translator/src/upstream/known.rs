//! What is known of a lane's upstreams, for operators and for sessions that have no channel yet.

use super::standing::Standing;
use crate::config::UpstreamConfig;
use metrics::{counter, gauge};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// State of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// Not needed: one that is preferred to it is in use.
    Standby,
    Connecting,
    /// Connected beside the one in use, and miners are moved to it if it stays so.
    Returning,
    /// In use.
    Up,
    Down,
}

/// One upstream as operators see it.
#[derive(Clone, Debug)]
pub(crate) struct LinkView {
    pub address: String,
    pub state: LinkState,
    pub since: SystemTime,
    /// Bytes of the extranonce that its last channel left to the miner.
    pub room: Option<usize>,
    pub last_error: Option<String>,
}

/// What is known of the upstreams of one lane. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    links: Vec<LinkView>,
    /// The one that an operator has put before all others.
    switched_to: Option<usize>,
    /// What a channel lets be rolled, from the last that was opened.
    room: Option<usize>,
    version_rolling_allowed: bool,
    standing: Standing,
    names_workers: bool,
}

impl Upstreams {
    pub(crate) fn new(configs: &[UpstreamConfig]) -> Self {
        let links = configs.iter().map(|config| {
            let upstream = config.address.clone();
            gauge!("hyperhash_translator_upstream_connected", "upstream" => upstream.clone())
                .set(0.0);
            counter!("hyperhash_translator_upstream_switches_total", "upstream" => upstream)
                .absolute(0);
            LinkView {
                address: config.address.clone(),
                state: LinkState::Standby,
                since: SystemTime::now(),
                room: None,
                last_error: None,
            }
        });
        Self(Arc::new(Mutex::new(Known {
            links: links.collect(),
            switched_to: None,
            room: None,
            version_rolling_allowed: true,
            standing: Standing::Away,
            names_workers: false,
        })))
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn links(&self) -> Vec<LinkView> {
        self.lock().links.clone()
    }

    /// The one that an operator has put before all others.
    pub(crate) fn switched_to(&self) -> Option<usize> {
        self.lock().switched_to
    }

    /// Bytes of the extranonce that a channel's miner may roll; none before the first channel.
    pub(crate) fn room(&self) -> Option<usize> {
        self.lock().room
    }

    /// Whether the last job allowed version rolling; true before the first one.
    pub(crate) fn version_rolling_allowed(&self) -> bool {
        self.lock().version_rolling_allowed
    }

    /// To whom the pool credits what comes over this lane.
    pub(crate) fn standing(&self) -> Standing {
        self.lock().standing.clone()
    }

    /// Whether the pool leaves the difficulty of channels to us; none while it is away.
    pub(crate) fn leaves_difficulty(&self) -> Option<bool> {
        match self.lock().standing {
            Standing::Away => None,
            Standing::Core(_) => Some(false),
            Standing::Node { .. } => Some(true),
        }
    }

    /// Whether a share may name its worker (extension 0x0002).
    pub(crate) fn names_workers(&self) -> bool {
        self.lock().names_workers
    }

    pub(super) fn learn_standing(&self, standing: Standing, names_workers: bool) {
        let mut known = self.lock();
        known.names_workers = names_workers;
        if known.standing != standing {
            log(&standing);
            known.standing = standing;
        }
    }

    pub(super) fn set(&self, index: usize, state: LinkState, error: Option<String>) {
        let mut known = self.lock();
        let link = &mut known.links[index];
        if link.state != state {
            link.since = SystemTime::now();
            link.state = state;
        }
        if error.is_some() {
            link.last_error = error;
        }
        let up = if state == LinkState::Up { 1.0 } else { 0.0 };
        let upstream = link.address.clone();
        gauge!("hyperhash_translator_upstream_connected", "upstream" => upstream).set(up);
    }

    /// What a second connection to it is like. The one in use stays that.
    pub(super) fn set_beside(&self, index: usize, state: LinkState, error: Option<String>) {
        let in_use = self.lock().links[index].state == LinkState::Up;
        let state = if in_use { LinkState::Up } else { state };
        self.set(index, state, error);
    }

    /// Nobody looks any more whether it answers, because another one is preferred.
    pub(super) fn rest(&self, index: usize) {
        self.set_beside(index, LinkState::Standby, None);
    }

    pub(super) fn learn_switch(&self, index: usize) {
        self.lock().switched_to = Some(index);
    }

    /// What a channel of the upstream lets be rolled; none if what was known turned out wrong.
    pub(super) fn learn_room(&self, index: usize, room: Option<usize>) {
        let mut known = self.lock();
        known.room = room;
        known.links[index].room = room;
    }

    pub(super) fn learn_version_rolling(&self, allowed: bool) {
        self.lock().version_rolling_allowed = allowed;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every statement leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(standing: &Standing) {
    match standing {
        Standing::Away | Standing::Core(None) => {}
        Standing::Core(Some(reason)) => tracing::warn!(reason, "work is credited to core"),
        Standing::Node {
            node,
            not_after_unix,
        } => tracing::info!(node, not_after_unix, "work is credited to the node"),
    }
}
