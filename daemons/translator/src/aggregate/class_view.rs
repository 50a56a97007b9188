//! What operators see of an aggregated lane: how many miners, accounts and channels there are in each class.

use super::Aggregate;
use super::channel::Purpose;
use super::class::Class;
use std::collections::{BTreeMap, BTreeSet};

/// One class that somebody is in, or was until a moment ago; or all who have a channel of their own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassView {
    /// A power of two (1 = 2^32 hashes); none of channels of one's own, whose difficulty is the pool's.
    pub difficulty: Option<f64>,
    pub accounts: usize,
    /// Open or being opened.
    pub channels: usize,
    /// Those whose jobs come from these channels.
    pub miners: usize,
    /// Those on their way to them.
    pub arriving: usize,
}

impl Aggregate {
    /// All classes that have channels, the easiest first, and before them the channels of one miner each.
    pub(crate) fn classes(&self) -> Vec<ClassView> {
        let mut classes: BTreeMap<Option<Class>, (ClassView, BTreeSet<&str>)> = BTreeMap::new();
        for channel in self.channels.values() {
            let class = match channel.purpose {
                Purpose::Class(class) => Some(class),
                Purpose::Own => None,
                // Who is still on it is on the way to another one.
                Purpose::Left => continue,
            };
            let (view, accounts) = classes.entry(class).or_insert_with(|| {
                let view = ClassView {
                    difficulty: class.map(Class::difficulty),
                    accounts: 0,
                    channels: 0,
                    miners: 0,
                    arriving: 0,
                };
                (view, BTreeSet::new())
            });
            accounts.insert(&channel.account);
            view.accounts = accounts.len();
            view.channels += 1;
            view.miners += channel.members.len();
            view.arriving += channel.waiting.len();
        }
        classes.into_values().map(|(view, _)| view).collect()
    }
}
