//! Aggregated lanes: thousands of miners on a few upstream channels, one for each account and difficulty class.
//!
//! It stands between the sessions and the upstream and speaks to both in the same words as they do to each other, so that
//! neither knows of it. A miner's target is exactly its channel's. Vardiff is ours here: a miner whose rate of shares is off
//! gets its next jobs from the channel of another class, and goes on submitting older ones to the channel that they are of.
//!
//! That is so while the pool leaves the difficulty to us. When it does not, as after the end of the node's credential, its vardiff
//! measures channels: it would have a thousand miners find as many shares as one. So each miner has a channel of its own then.
//!
//! [`Aggregate`] is the rule alone, without a task, a socket or a clock: what comes in as commands, events and ticks goes out as
//! [`Output`]s. [`task::Aggregator`] runs it.

mod channel;
mod class;
mod class_view;
mod lease;
mod member;
mod pending;
mod placement;
mod shares;
pub(crate) mod task;

pub(crate) use class::ClassRange;
pub(crate) use class_view::ClassView;
pub(crate) use lease::LEASE_SIZE;

use crate::bridge::{Rejection, Share};
use crate::downstream::{account, worker};
use crate::upstream::{
    ChannelTerms, ChannelWish, Command, Event, LinkNumber, OpenedChannel, Route,
};
use channel::{LaneChannel, Purpose};
use class::Class;
use hh_mining::Target;
use member::Member;
use pending::{PendingByRoute, PendingShares};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Output {
    /// Open an upstream channel of that key.
    Open { key: u64, wish: ChannelWish },
    /// The channel of that key has other terms.
    Update { key: u64, terms: ChannelTerms },
    /// Forward a share.
    Submit(Command),
    /// Close the channel of that key.
    Close { key: u64 },
    /// Tell a session.
    Tell { session: u64, event: Event },
}

/// A share that a session forwards.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub route: Route,
    /// In the session.
    pub sequence_number: u32,
    pub share: Box<Share>,
    /// Another worker than the session's first.
    pub worker: Option<String>,
}

/// What an account has here, and what is known of the difficulties that the pool gives it.
#[derive(Debug, Default)]
struct Account {
    miners: usize,
    /// The channels by class; several where there are many miners.
    channels: HashMap<Class, Vec<u64>>,
    /// The pool takes nothing easier.
    floor: Option<Target>,
    /// The pool gives nothing harder: more than the network asks for, mostly.
    ceiling: Option<Target>,
    refused_at_ms: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Aggregate {
    range: ClassRange,
    now_ms: u64,
    /// The pool leaves the difficulty to us.
    is_ours: bool,
    // In order: what happens to all of them comes out the same each time.
    members: BTreeMap<u64, Member>,
    accounts: HashMap<Arc<str>, Account>,
    channels: BTreeMap<u64, LaneChannel>,
    last_key: u64,
    pending: PendingByRoute,
    out: Vec<Output>,
}

impl Aggregate {
    /// For a lane whose miners are to be within `range`.
    pub(crate) fn new(range: ClassRange, now_ms: u64) -> Self {
        Self {
            range,
            now_ms,
            is_ours: true,
            members: BTreeMap::new(),
            accounts: HashMap::new(),
            channels: BTreeMap::new(),
            last_key: 0,
            pending: HashMap::new(),
            out: Vec::new(),
        }
    }

    /// What is to be done since this was asked last, in order.
    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// A miner wants a channel.
    pub(crate) fn on_open(&mut self, session: u64, wish: &ChannelWish) {
        let account: Arc<str> = account(&wish.user_identity).into();
        let worker = worker(&wish.user_identity);
        self.accounts
            .entry(Arc::clone(&account))
            .or_default()
            .miners += 1;
        let member = Member::new(account, worker, wish, self.now_ms);
        self.members.insert(session, member);
        self.apply_terms(session);
        self.converge(session);
    }

    /// A miner's terms have changed.
    pub(crate) fn on_update(&mut self, session: u64, terms: ChannelTerms) {
        let Some(member) = self.members.get_mut(&session) else {
            return;
        };
        member.update(terms, self.now_ms);
        self.apply_terms(session);
        self.converge(session);
        self.update_own(session);
    }

    /// A miner has left.
    pub(crate) fn on_close(&mut self, session: u64) {
        let Some(member) = self.remove_member(session) else {
            return;
        };
        if let Some(stay) = member.stay {
            self.end_stay(session, stay);
            self.close_own(stay.key);
        }
    }

    /// Whether the pool leaves the difficulty to us from now on. Where that changes no channel is what it was opened for, and
    /// what was learned of the pool's bounds may have been its vardiff.
    pub(crate) fn set_ours(&mut self, is_ours: bool) {
        if self.is_ours == is_ours {
            return;
        }
        self.is_ours = is_ours;
        for channel in self.channels.values_mut() {
            channel.purpose = Purpose::Left;
        }
        self.accounts.retain(|_, account| {
            *account = Account {
                miners: account.miners,
                ..Account::default()
            };
            account.miners > 0
        });
        for session in self.members.keys().copied().collect::<Vec<_>>() {
            self.apply_terms(session);
            self.converge(session);
        }
    }

    /// Time goes on; to be called about once a second.
    pub(crate) fn on_tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let mut moving = Vec::new();
        for (&session, member) in &mut self.members {
            // Without a channel silence says nothing.
            if member.stay.is_some() {
                if self.is_ours {
                    member.vardiff.tick(now_ms);
                }
                moving.push(session);
            }
        }
        for session in moving {
            self.converge(session);
        }
        self.close_idle();
    }

    /// What the upstream says of a channel.
    pub(crate) fn on_event(&mut self, key: u64, event: Event) {
        match event {
            Event::Opened(opened) => self.on_opened(key, *opened),
            Event::Refused(code) => self.on_refused(key, &code),
            Event::Job(job, received_at) => {
                if let Some(channel) = self.channels.get_mut(&key) {
                    channel.on_job(&job);
                }
                self.tell_members(key, || Event::Job(Arc::clone(&job), received_at));
                self.admit_waiting(key);
            }
            Event::Tip(tip, received_at) => {
                if let Some(channel) = self.channels.get_mut(&key) {
                    channel.on_tip(&tip);
                }
                self.tell_members(key, || Event::Tip(Arc::clone(&tip), received_at));
                self.admit_waiting(key);
            }
            Event::Target(target) => self.on_target(key, *target),
            Event::ExtranoncePrefix(prefix) => {
                if let Some(open) = self.open_channel(key) {
                    open.extranonce_prefix.clone_from(&prefix);
                }
                self.tell_members(key, || Event::ExtranoncePrefix(prefix.clone()));
            }
            Event::Accepted {
                route,
                last_sequence_number,
                ..
            } => self.on_accepted(route, last_sequence_number),
            Event::Rejected {
                route,
                sequence_number,
                reason,
                code,
            } => self.on_rejected(route, sequence_number, reason, code),
            // None is asked for.
            Event::UpdateRefused(_) => {}
            Event::Closed(reason) => self.on_closed(key, &reason),
            Event::Lost(link) => self.on_lost(key, link),
            Event::Current(_) => {}
        }
    }

    /// The channel is open, for the first time or on another connection, where everybody on it gets a new lease.
    fn on_opened(&mut self, key: u64, opened: OpenedChannel) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        let (route, target) = (opened.route, opened.target);
        self.pending.insert(route, PendingShares::new(key));
        channel.on_opened(opened);
        let members = std::mem::take(&mut channel.members);
        for session in members {
            channel.waiting.insert(session);
            if let Some(member) = self.members.get_mut(&session) {
                member.stay = None;
                member.waiting_for = Some(key);
            }
        }
        self.learn_target(key, target);
        self.admit_waiting(key);
    }

    /// The pool opens no such channel: those who have none are told, the others stay where they are.
    fn on_refused(&mut self, key: u64, code: &str) {
        let Some(channel) = self.remove_channel(key) else {
            return;
        };
        if let Some(account) = self.accounts.get_mut(&channel.account) {
            account.refused_at_ms = Some(self.now_ms);
        }
        for session in channel.members.into_iter().chain(channel.waiting) {
            self.end_wait(session, key, || Event::Refused(code.into()));
        }
    }

    /// The pool closed the channel: those whose only one it was are told.
    fn on_closed(&mut self, key: u64, reason: &str) {
        let route = self.channels.get(&key).and_then(LaneChannel::route);
        let left = route.and_then(|route| Some((route, self.pending.remove(&route)?)));
        let Some(channel) = self.remove_channel(key) else {
            return;
        };
        for &session in &channel.members {
            self.remove_member(session);
            self.tell(session, Event::Closed(reason.into()));
        }
        // Those who have moved on are told that nobody settles what they left there.
        for (route, share) in left
            .into_iter()
            .flat_map(|(route, left)| left.into_shares(route))
        {
            self.tell(
                share.session,
                Event::Rejected {
                    route,
                    sequence_number: share.session_sequence_number,
                    reason: Rejection::Other,
                    code: Rejection::Other.sv2_code().into(),
                },
            );
        }
        for session in channel.waiting {
            self.end_wait(session, key, || Event::Closed(reason.into()));
        }
    }

    /// A miner waits for a channel in vain. If it has no other, that is its end.
    fn end_wait(&mut self, session: u64, key: u64, event: impl FnOnce() -> Event) {
        let Some(member) = self.members.get_mut(&session) else {
            return;
        };
        member
            .waiting_for
            .take_if(|waiting_for| *waiting_for == key);
        if member.stay.is_none() {
            self.remove_member(session);
            self.tell(session, event());
        }
    }

    /// A connection is gone. Whoever has work or shares on it is told, once for each channel at most.
    fn on_lost(&mut self, key: u64, link: LinkNumber) {
        let mut losing = std::collections::BTreeSet::new();
        self.pending.retain(|route, shares| {
            let is_lost = route.link == link;
            if is_lost {
                losing.extend(shares.sessions());
            }
            !is_lost
        });
        let channel = self.channels.get_mut(&key);
        if let Some(channel) = channel.filter(|channel| channel.link() == Some(link)) {
            channel.on_lost();
            for session in std::mem::take(&mut channel.members) {
                losing.insert(session);
                let Some(member) = self.members.get_mut(&session) else {
                    continue;
                };
                member.stay = None;
                if member.waiting_for.is_none() {
                    member.waiting_for = Some(key);
                    channel.waiting.insert(session);
                }
            }
        }
        for account in self.accounts.values_mut() {
            // The next one may be another pool.
            account.floor = None;
            account.ceiling = None;
        }
        for session in losing {
            self.tell(session, Event::Lost(link));
        }
    }

    fn on_target(&mut self, key: u64, target: Target) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        if let Some(open) = &mut channel.open {
            open.target = target;
        }
        if channel.purpose == Purpose::Own {
            // What the pool has found of its miner holds for the class that it comes to later.
            for session in &channel.members {
                if let Some(member) = self.members.get_mut(session) {
                    member.start_at(target, self.now_ms);
                }
            }
        }
        self.tell_members(key, || Event::Target(Box::new(target)));
    }

    /// The pool's own bounds show in a channel that is opened at another target than was asked for. The account's miners keep to
    /// them. What a target is set to later may be vardiff: a pool sees the end of a credential by its own clock.
    fn learn_target(&mut self, key: u64, target: Target) {
        let Some(channel) = self.channels.get(&key) else {
            return;
        };
        let Purpose::Class(class) = channel.purpose else {
            return;
        };
        let asked = class.target();
        if target == asked {
            return;
        }
        let account_name = Arc::clone(&channel.account);
        let account = self.accounts.entry(Arc::clone(&account_name)).or_default();
        if target < asked {
            account.floor = Some(account.floor.map_or(target, |floor| floor.min(target)));
        } else {
            account.ceiling = Some(account.ceiling.map_or(target, |known| known.max(target)));
        }
        let of_account = self
            .members
            .iter()
            .filter(|(_, member)| member.account == account_name);
        for session in of_account.map(|(&session, _)| session).collect::<Vec<_>>() {
            self.apply_terms(session);
        }
    }

    fn remove_channel(&mut self, key: u64) -> Option<LaneChannel> {
        let channel = self.channels.remove(&key)?;
        if let Some(route) = channel.route() {
            self.pending.remove(&route);
        }
        if let Some(account) = self.accounts.get_mut(&channel.account) {
            account.channels.retain(|_, of_class| {
                of_class.retain(|other| *other != key);
                !of_class.is_empty()
            });
        }
        self.forget_account(&channel.account);
        Some(channel)
    }

    fn remove_member(&mut self, session: u64) -> Option<Member> {
        let member = self.members.remove(&session)?;
        if let Some(key) = member.waiting_for
            && let Some(channel) = self.channels.get_mut(&key)
        {
            channel.waiting.remove(&session);
            self.close_own(key);
        }
        if let Some(account) = self.accounts.get_mut(&member.account) {
            account.miners = account.miners.saturating_sub(1);
        }
        self.forget_account(&member.account);
        Some(member)
    }

    /// An account without miners and channels is nobody's.
    fn forget_account(&mut self, name: &Arc<str>) {
        let account = self.accounts.get(name);
        if account.is_some_and(|account| account.miners == 0 && account.channels.is_empty()) {
            self.accounts.remove(name);
        }
    }

    fn open_channel(&mut self, key: u64) -> Option<&mut OpenedChannel> {
        self.channels.get_mut(&key)?.open.as_mut()
    }

    fn tell(&mut self, session: u64, event: Event) {
        self.out.push(Output::Tell { session, event });
    }

    fn tell_members(&mut self, key: u64, event: impl Fn() -> Event) {
        let Some(channel) = self.channels.get(&key) else {
            return;
        };
        let told = channel.members.iter();
        let told = told.map(|&session| Output::Tell {
            session,
            event: event(),
        });
        self.out.extend(told);
    }
}

#[cfg(test)]
mod tests;
