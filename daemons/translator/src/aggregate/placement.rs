//! Who is on which channel: every miner on one of the class that its vardiff has found, and on its way there until it is.

use super::channel::ClassChannel;
use super::class::Class;
use super::lease::LEASE_SIZE;
use super::member::Stay;
use super::{Aggregate, Output};
use crate::upstream::{ChannelTerms, ChannelWish, Event};
use hh_mining::vardiff::DEFAULT_SHARES_PER_MINUTE;
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
        let wanted = member.class();
        if let Some(key) = member.waiting_for {
            let is_wanted = |channel: &ClassChannel| channel.class == wanted;
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
        if present.is_some_and(|channel| channel.class == wanted) {
            return;
        }
        let has_stay = member.stay.is_some();
        let account_name = Arc::clone(&member.account);
        let min_extranonce_size = member.min_extranonce_size;
        let refused_at = self
            .accounts
            .get(&account_name)
            .and_then(|account| account.refused_at_ms);
        if has_stay && refused_at.is_some_and(|at| self.now_ms < at + REFUSED_MS) {
            return;
        }
        let key = self.channel_for(&account_name, wanted, min_extranonce_size);
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
    fn channel_for(&mut self, account: &Arc<str>, class: Class, min_extranonce_size: u16) -> u64 {
        let known = self.accounts.entry(Arc::clone(account)).or_default();
        let of_class = known.channels.entry(class).or_default();
        let has_room = |key: &&u64| {
            let channel = self.channels.get(key);
            channel.is_some_and(|channel| channel.miners() < MINERS_A_CHANNEL)
        };
        if let Some(&key) = of_class.iter().find(has_room) {
            return key;
        }
        self.last_key += 1;
        let key = self.last_key;
        of_class.push(key);
        self.channels
            .insert(key, ClassChannel::new(Arc::clone(account), class));
        let target = class.target();
        #[expect(clippy::cast_possible_truncation, reason = "SV2 carries it as f32")]
        let nominal_hash_rate = target.hashrate(DEFAULT_SHARES_PER_MINUTE.into()) as f32;
        let wish = ChannelWish {
            user_identity: account.to_string(),
            min_extranonce_size: min_extranonce_size.saturating_add(LEASE_SIZE),
            terms: ChannelTerms {
                nominal_hash_rate: nominal_hash_rate.clamp(1.0, f32::MAX),
                max_target: target,
            },
        };
        self.out.push(Output::Open { key, wish });
        key
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
        self.tell(session, Event::Opened(Box::new(opened)));
        for job in future_jobs {
            self.tell(session, Event::Job(job, Instant::now()));
        }
        if let Some(work) = work {
            self.tell(session, Event::Current(Box::new(work)));
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
