//! Who mines, as a tree: accounts, their workers, and the sessions of each; made anew from what the daemons said.
//!
//! A session is a channel of hh-pool, or, where that is hh-translator's, the miner behind it.

use hh_ipc::api::pool::Miner;
use hh_ipc::api::translator::DownstreamMiner;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// In what hh-pool calls the device of a channel that stands for miners behind it.
const TRANSLATOR: &str = "hh-translator";

/// What a row is, whatever its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Account(String),
    Worker(String, String),
    Channel(u32),
    Downstream(u64),
}

/// A line of the tree.
#[derive(Debug)]
pub(crate) enum Row<'data> {
    Account(&'data str, Sum, bool),
    Worker(&'data str, &'data str, Sum, bool),
    Channel(&'data Miner),
    Downstream(&'data DownstreamMiner),
}

/// What all sessions below a row do together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) sessions: usize,
    /// None where only hh-translator knows of them, which keeps no minute.
    pub(crate) hashrate_1m_hs: Option<f64>,
    pub(crate) hashrate_10m_hs: f64,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) last_share_at: Option<Timestamp>,
}

impl Row<'_> {
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Account(account, ..) => Key::Account((*account).to_owned()),
            Self::Worker(account, worker, ..) => {
                Key::Worker((*account).to_owned(), (*worker).to_owned())
            }
            Self::Channel(miner) => Key::Channel(miner.id),
            Self::Downstream(miner) => Key::Downstream(miner.id),
        }
    }
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        if let Some(more) = other.hashrate_1m_hs {
            *self.hashrate_1m_hs.get_or_insert(0.0) += more;
        }
        self.hashrate_10m_hs += other.hashrate_10m_hs;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.last_share_at = self.last_share_at.max(other.last_share_at);
    }
}

/// The sessions of one worker.
#[derive(Debug, Default)]
struct Worker<'data> {
    channels: Vec<&'data Miner>,
    translated: Vec<&'data DownstreamMiner>,
}

impl<'data> Worker<'data> {
    /// The channels that stand for no miner of hh-translator's list.
    fn direct(&self) -> impl Iterator<Item = &'data Miner> {
        let has_others = !self.translated.is_empty();
        let channels = self.channels.iter().copied();
        channels.filter(move |miner| !(has_others && miner.device.contains(TRANSLATOR)))
    }

    /// What counts is what the pool says; hh-translator is asked where the pool has no channel of this worker.
    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for miner in &self.channels {
            sum.add(&Sum {
                sessions: 0,
                hashrate_1m_hs: Some(miner.hashrate_1m_hs),
                hashrate_10m_hs: miner.hashrate_10m_hs,
                accepted: miner.shares.accepted,
                rejected: miner.shares.rejected_total(),
                last_share_at: miner.last_share_at,
            });
        }
        for miner in self.translated.iter().filter(|_| self.channels.is_empty()) {
            sum.add(&Sum {
                sessions: 0,
                hashrate_1m_hs: None,
                hashrate_10m_hs: miner.hashrate_10m_hs,
                accepted: miner.shares.accepted,
                rejected: miner.shares.rejected_total(),
                last_share_at: miner.last_share_at,
            });
        }
        sum.sessions = self.direct().count() + self.translated.len();
        sum
    }
}

/// The lines of the tree: most hashrate first, workers and sessions below what is open. Of the rows in `turned` it is the other
/// way round than at the start, where accounts are open and workers are not.
pub(crate) fn rows<'data>(
    channels: &'data [Miner],
    downstream: &'data [DownstreamMiner],
    turned: &BTreeSet<Key>,
) -> Vec<Row<'data>> {
    let mut rows = Vec::new();
    let by_hashrate = |a: &Sum, b: &Sum| b.hashrate_10m_hs.total_cmp(&a.hashrate_10m_hs);
    let mut accounts: Vec<_> = accounts(channels, downstream)
        .into_iter()
        .map(|(account, workers)| {
            let mut workers: Vec<_> = workers
                .into_iter()
                .map(|(name, worker)| (name, worker.sum(), worker))
                .collect();
            workers.sort_by(|a, b| by_hashrate(&a.1, &b.1).then(a.0.cmp(b.0)));
            let mut sum = Sum::default();
            for (_, of_worker, _) in &workers {
                sum.add(of_worker);
            }
            (account, sum, workers)
        })
        .collect();
    accounts.sort_by(|a, b| by_hashrate(&a.1, &b.1).then(a.0.cmp(b.0)));
    for (account, sum, workers) in accounts {
        let is_open = !turned.contains(&Key::Account(account.to_owned()));
        rows.push(Row::Account(account, sum, is_open));
        for (name, sum, worker) in workers.into_iter().filter(|_| is_open) {
            let is_open = turned.contains(&Key::Worker(account.to_owned(), name.to_owned()));
            rows.push(Row::Worker(account, name, sum, is_open));
            if is_open {
                rows.extend(worker.direct().map(Row::Channel));
                rows.extend(worker.translated.into_iter().map(Row::Downstream));
            }
        }
    }
    rows
}

type Workers<'data> = BTreeMap<&'data str, Worker<'data>>;

fn accounts<'data>(
    channels: &'data [Miner],
    downstream: &'data [DownstreamMiner],
) -> BTreeMap<&'data str, Workers<'data>> {
    let mut accounts: BTreeMap<&str, Workers<'_>> = BTreeMap::new();
    for miner in channels {
        let workers = accounts.entry(&miner.account).or_default();
        let worker = workers.entry(&miner.worker).or_default();
        worker.channels.push(miner);
    }
    // Those that have not said yet who they are mine for nobody.
    for miner in downstream
        .iter()
        .filter(|miner| !miner.user_name.is_empty())
    {
        let (account, worker) = split(&miner.user_name);
        let workers = accounts.entry(account).or_default();
        workers.entry(worker).or_default().translated.push(miner);
    }
    accounts
}

/// A user name's account and worker: a Lightning address has its worker behind a slash, all else behind a point.
fn split(user_name: &str) -> (&str, &str) {
    let between = if user_name.contains('@') { '/' } else { '.' };
    user_name.split_once(between).unwrap_or((user_name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn keys(turned: &[Key]) -> Vec<Key> {
        let channels = sample::pool().miners.unwrap().miners;
        let downstream = sample::translator().miners;
        let turned = turned.iter().cloned().collect();
        rows(&channels, &downstream, &turned)
            .iter()
            .map(Row::key)
            .collect()
    }

    fn account(name: &str) -> Key {
        Key::Account(name.into())
    }

    fn worker(account: &str, worker: &str) -> Key {
        Key::Worker(account.into(), worker.into())
    }

    #[test]
    fn accounts_are_open_and_workers_are_not_until_they_are_turned() {
        let alice = worker("alice", "rig1");
        let all = keys(&[]);
        let at = all.iter().position(|key| *key == account("alice")).unwrap();
        assert_eq!(all[at + 1], alice);
        assert!(!all.contains(&Key::Channel(1)));
        let opened = keys(std::slice::from_ref(&alice));
        assert_eq!(
            opened[at + 2..at + 4],
            [Key::Channel(1), Key::Downstream(5)]
        );
        let closed = keys(&[account("alice"), alice.clone()]);
        assert!(!closed.contains(&alice));
    }

    #[test]
    fn a_channel_of_the_translator_gives_way_to_the_miners_behind_it() {
        let mut channels = sample::pool().miners.unwrap().miners;
        let downstream = sample::translator().miners;
        let alice = channels.iter_mut().find(|miner| miner.id == 1).unwrap();
        alice.device = "Hyper Hash Network hh-translator 0.1.0".into();
        let (hashrate, accepted) = (alice.hashrate_10m_hs, alice.shares.accepted);
        let turned = BTreeSet::from([worker("alice", "rig1")]);
        let rows = rows(&channels, &downstream, &turned);
        let keys: Vec<Key> = rows.iter().map(Row::key).collect();
        assert!(keys.contains(&Key::Downstream(5)) && !keys.contains(&Key::Channel(1)));
        // The sums are the pool's all the same: nothing is counted twice.
        let sum = rows.iter().find_map(|row| match row {
            Row::Worker("alice", "rig1", sum, _) => Some(sum),
            _ => None,
        });
        let sum = sum.unwrap();
        assert_eq!((sum.sessions, sum.accepted), (1, accepted));
        assert!((sum.hashrate_10m_hs - hashrate).abs() < 1.0);
    }

    #[test]
    fn a_user_name_is_an_account_and_its_worker() {
        assert_eq!(split("alice.rig1.left"), ("alice", "rig1.left"));
        assert_eq!(split("alice"), ("alice", ""));
        assert_eq!(split("carol@example.org/rig"), ("carol@example.org", "rig"));
        assert_eq!(split("carol@example.org"), ("carol@example.org", ""));
    }
}
