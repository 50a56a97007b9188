//! Who is on which channel: every miner on one of the class that its vardiff has found, or, where the difficulty is the pool's, on one
//! of its own; and on its way there until it is.

use super::channel::{LaneChannel, Purpose};
use super::class::Class;
use super::member::Stay;
use super::{Aggregate, Output};
use crate::upstream::{ChannelWish, Event};
use std::sync::Arc;
use tokio::time::Instant;

/// Miners on one channel. hh-pool remembers 2^20 hashes of a channel and tip to know duplicates: at 18 shares a minute this many
/// miners take it an hour, far longer than most tips last. It also bounds the workers that one channel names.
const MINERS_A_CHANNEL: usize = 1_000;

/// A channel that nobody is on is closed after so long: a miner between two classes comes back within it.
const IDLE_MS: u64 = 60_000;

/// A class that the pool refused to open is not asked for again for so long; its miners stay where they are.
const REFUSED_MS: u64 = 60_000;

impl Aggregate {
    /// Sets a miner's bounds: the lane's, its own, and what is known of the pool's.
    pub(super) fn apply_terms(&mut self, session: u64) {
        let Some(member) = self.members.get_mut(&session) else {
            return;
        };
        let mut range = self.range;
        if let Some(account) = self.accounts.get(&member.account) {
            range = account
                .ceiling
                .map_or(range, |ceiling| range.with_min_target(ceiling));
            range = account
                .floor
                .map_or(range, |floor| range.with_max_target(floor));
        }
        member.set_range(range);
    }

    /// Has a miner come to the channel that it belongs to, if it is not there or on its way.
    pub(super) fn converge(&mut self, session: u64) {
        let Some(member) = self.members.get(&session) else {
            return;
        };
        let wanted = if self.is_ours {
            Purpose::Class(member.class())
        } else {
            Purpose::Own
        };
        if let Some(key) = member.waiting_for {
            let is_wanted = |channel: &LaneChannel| channel.purpose == wanted;
            if self.channels.get(&key).is_some_and(is_wanted) {
                self.admit(session, key);
                return;
            }
            self.stop_waiting(session, key);
        }
        let Some(member) = self.members.get(&session) else {
            return;
        };
        let present = member.stay.and_then(|stay| self.channels.get(&stay.key));
        if present.is_some_and(|channel| channel.purpose == wanted) {
            return;
        }
        let account = self.accounts.get(&member.account);
        let refused_at = account.and_then(|account| account.refused_at_ms);
        if member.stay.is_some() && refused_at.is_some_and(|at| self.now_ms < at + REFUSED_MS) {
            return;
        }
        let account = Arc::clone(&member.account);
        let key = match wanted {
            Purpose::Class(class) => {
                let wish = member.class_wish(class);
                self.channel_for(&account, class, wish)
            }
            Purpose::Own | Purpose::Left => {
                let wish = member.own_wish();
                self.new_channel(account, Purpose::Own, wish)
            }
        };
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.waiting.insert(session);
            channel.idle_since_ms = None;
        }
        if let Some(member) = self.members.get_mut(&session) {
            member.waiting_for = Some(key);
        }
        self.admit(session, key);
    }

    fn stop_waiting(&mut self, session: u64, key: u64) {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.waiting.remove(&session);
        }
        if let Some(member) = self.members.get_mut(&session) {
            member.waiting_for = None;
        }
    }

    /// The channel of the class that has room, or a new one.
    fn channel_for(&mut self, account: &Arc<str>, class: Class, wish: ChannelWish) -> u64 {
        let known = self.accounts.get(account);
        let of_class = known.and_then(|known| known.channels.get(&class));
        let has_room = |key: &&u64| {
            let channel = self.channels.get(key);
            channel.is_some_and(|channel| channel.miners() < MINERS_A_CHANNEL)
        };
        if let Some(&key) = of_class.into_iter().flatten().find(has_room) {
            return key;
        }
        let key = self.new_channel(Arc::clone(account), Purpose::Class(class), wish);
        let known = self.accounts.entry(Arc::clone(account)).or_default();
        known.channels.entry(class).or_default().push(key);
        key
    }

    fn new_channel(&mut self, account: Arc<str>, purpose: Purpose, wish: ChannelWish) -> u64 {
        self.last_key += 1;
        let key = self.last_key;
        self.channels
            .insert(key, LaneChannel::new(account, purpose));
        self.out.push(Output::Open { key, wish });
        key
    }

    /// The terms of a miner that has a channel of its own, or is about to, are that channel's.
    pub(super) fn update_own(&mut self, session: u64) {
        let Some(member) = self.members.get(&session) else {
            return;
        };
        let stay = member.stay.map(|stay| stay.key);
        for key in stay.into_iter().chain(member.waiting_for) {
            if self.is_own(key) {
                let terms = member.own_wish().terms;
                self.out.push(Output::Update { key, terms });
            }
        }
    }

    /// Closes a channel that nobody but the miner that has left could come to.
    pub(super) fn close_own(&mut self, key: u64) {
        if self.is_own(key) {
            self.remove_channel(key);
            self.out.push(Output::Close { key });
        }
    }

    pub(super) fn is_own(&self, key: u64) -> bool {
        let channel = self.channels.get(&key);
        channel.is_some_and(|channel| channel.purpose == Purpose::Own)
    }

    pub(super) fn admit_waiting(&mut self, key: u64) {
        let Some(channel) = self.channels.get(&key) else {
            return;
        };
        for session in channel.waiting.clone() {
            self.admit(session, key);
        }
    }

    /// Lets a miner come to a channel, if it can: to its first one at once, to another one while both build on the same block.
    pub(super) fn admit(&mut self, session: u64, key: u64) {
        let (Some(member), Some(channel)) = (self.members.get(&session), self.channels.get(&key))
        else {
            return;
        };
        let before = member.stay;
        let Some(mut opened) = channel.open.clone() else {
            return;
        };
        if let Some(stay) = before
            && let Some(old) = self.channels.get(&stay.key)
            && !channel.is_beside(old)
        {
            return;
        }
        let work = channel.current_work();
        let future_jobs = channel.future_jobs.clone();
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        let Some(lease) = channel.leases.take() else {
            // A tip frees those that rest.
            return;
        };
        channel.waiting.remove(&session);
        channel.members.insert(session);
        if let Some(member) = self.members.get_mut(&session) {
            member.waiting_for = None;
            member.stay = Some(Stay { key, lease });
        }
        if let Some(stay) = before {
            self.end_stay(session, stay);
        }
        opened.lease = lease.to_bytes().into();
        // What was set since the job was sent is for the jobs to come.
        let target = opened.target;
        opened.target = work.as_ref().map_or(target, |(_, target)| *target);
        let is_set_since = opened.target != target;
        self.tell(session, Event::Opened(Box::new(opened)));
        for job in future_jobs {
            self.tell(session, Event::Job(job, Instant::now()));
        }
        if let Some((work, _)) = work {
            self.tell(session, Event::Current(Box::new(work)));
        }
        if is_set_since {
            self.tell(session, Event::Target(Box::new(target)));
        }
    }

    /// A miner's jobs on a channel live on until the next tip, and its lease with them.
    pub(super) fn end_stay(&mut self, session: u64, stay: Stay) {
        if let Some(channel) = self.channels.get_mut(&stay.key) {
            channel.members.remove(&session);
            channel.leases.give_back(stay.lease);
        }
    }

    /// Closes channels that nobody has been on for a while, and on which no job is alive.
    pub(super) fn close_idle(&mut self) {
        let now_ms = self.now_ms;
        let mut idle = Vec::new();
        for (&key, channel) in &mut self.channels {
            let has_pending = || {
                let shares = channel.route().and_then(|route| self.pending.get(&route));
                shares.is_some_and(|shares| !shares.is_empty())
            };
            if channel.miners() > 0 || channel.leases.has_resting() || has_pending() {
                channel.idle_since_ms = None;
            } else if now_ms.saturating_sub(*channel.idle_since_ms.get_or_insert(now_ms)) >= IDLE_MS
            {
                idle.push(key);
            }
        }
        for key in idle {
            self.remove_channel(key);
            self.out.push(Output::Close { key });
        }
    }
}
