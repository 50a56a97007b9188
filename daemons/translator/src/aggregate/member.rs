//! One miner of an aggregated lane: who it is, how fast, and which channel its jobs come from.

use super::class::{Class, ClassRange};
use super::lease::{LEASE_SIZE, Lease};
use crate::upstream::{ChannelTerms, ChannelWish};
use hh_mining::vardiff::DEFAULT_SHARES_PER_MINUTE;
use hh_mining::{Target, Vardiff};
use std::sync::Arc;

/// A miner's place on a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    pub key: u64,
    pub lease: Lease,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Member {
    pub account: Arc<str>,
    /// What its shares name, within the limit of extension 0x0002; none if it gave no name.
    pub worker: Option<Box<str>>,
    /// As it gave it.
    user_identity: Box<str>,
    /// Bytes of the extranonce that it was promised.
    min_extranonce_size: u16,
    /// Its target is always that of a class.
    pub vardiff: Vardiff,
    /// Where its jobs come from.
    pub stay: Option<Stay>,
    /// The channel that it goes to.
    pub waiting_for: Option<u64>,
    terms: ChannelTerms,
}

impl Member {
    pub(super) fn new(account: Arc<str>, worker: &str, wish: &ChannelWish, now_ms: u64) -> Self {
        Self {
            account,
            worker: (!worker.is_empty()).then(|| worker.into()),
            user_identity: wish.user_identity.as_str().into(),
            min_extranonce_size: wish.min_extranonce_size,
            vardiff: starting_at(target_of(wish.terms), now_ms),
            stay: None,
            waiting_for: None,
            terms: wish.terms,
        }
    }

    /// Another hashrate starts the search for its class anew.
    #[expect(clippy::float_cmp, reason = "is it the very number as before")]
    pub(super) fn update(&mut self, terms: ChannelTerms, now_ms: u64) {
        if self.terms.nominal_hash_rate != terms.nominal_hash_rate {
            self.start_at(target_of(terms), now_ms);
        }
        self.terms = terms;
    }

    /// What was known of its hashrate before is out of date: it has the wanted rate of shares at `target`.
    pub(super) fn start_at(&mut self, target: Target, now_ms: u64) {
        self.vardiff = starting_at(target, now_ms);
    }

    /// Takes the classes that its lane and the pool allow; its own bound narrows them.
    pub(super) fn set_range(&mut self, range: ClassRange) {
        let range = range.with_max_target(self.terms.max_target);
        self.vardiff.set_bounds(range.bounds());
    }

    /// The class that it is to be in.
    pub(super) fn class(&self) -> Class {
        Class::nearest(self.vardiff.target())
    }

    /// The channel of a class that it belongs to.
    pub(super) fn class_wish(&self, class: Class) -> ChannelWish {
        ChannelWish {
            is_exact: true,
            ..self.wish(&self.account, class.target(), class.target())
        }
    }

    /// A channel of its own, in whose difficulty the pool has a free hand, or the upstream where it is ours again.
    pub(super) fn own_wish(&self) -> ChannelWish {
        self.wish(
            &self.user_identity,
            self.vardiff.target(),
            self.terms.max_target,
        )
    }

    fn wish(&self, user_identity: &str, start: Target, max_target: Target) -> ChannelWish {
        #[expect(clippy::cast_possible_truncation, reason = "SV2 carries it as f32")]
        let nominal_hash_rate = start.hashrate(DEFAULT_SHARES_PER_MINUTE.into()) as f32;
        ChannelWish {
            user_identity: user_identity.to_owned(),
            min_extranonce_size: self.min_extranonce_size.saturating_add(LEASE_SIZE),
            terms: ChannelTerms {
                nominal_hash_rate: nominal_hash_rate.clamp(1.0, f32::MAX),
                max_target,
            },
            is_exact: false,
        }
    }
}

fn target_of(terms: ChannelTerms) -> Target {
    Target::from_hashrate(
        terms.nominal_hash_rate.into(),
        DEFAULT_SHARES_PER_MINUTE.into(),
    )
}

fn starting_at(target: Target, now_ms: u64) -> Vardiff {
    let range = ClassRange::new(None, None);
    let start = range.clamp(Class::nearest(target)).target();
    Vardiff::in_powers_of_two(range.bounds(), DEFAULT_SHARES_PER_MINUTE, start, now_ms)
}
