//! Ends the connections and channels that an operator names.
//!
//! A connection of which all channels are meant is closed whole; on one that carries others as well, such as a proxy's, only
//! the channels that are meant are closed. Either way what was accepted is answered first. Nobody is kept from coming back.

use crate::admission::{Admission, ConnectionView};
use crate::directory::{ChannelView, Directory};
use hh_daemon::AddressRange;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// The channel with this id.
    Channel(u32),
    /// All channels of an account.
    Account(String),
    /// All connections from these addresses, with or without channels.
    Address(AddressRange),
}

/// What ends by a kick.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// Closed whole.
    pub connections: Vec<Arc<ConnectionView>>,
    /// Open channels of those connections.
    pub with_connection: Vec<Arc<ChannelView>>,
    /// Channels whose connection stays.
    pub alone: Vec<Arc<ChannelView>>,
}

impl Chosen {
    /// What `selector` means at this moment.
    pub(crate) fn find(selector: &Selector, directory: &Directory, admission: &Admission) -> Self {
        let is_meant = |channel: &ChannelView| match selector {
            Selector::Channel(id) => channel.id == *id,
            Selector::Account(account) => channel.origin().account() == account,
            Selector::Address(range) => range.contains(channel.connection.peer.ip()),
        };
        let mut by_connection: BTreeMap<u64, Vec<Arc<ChannelView>>> = BTreeMap::new();
        for channel in directory.channels() {
            let id = channel.connection.id;
            by_connection.entry(id).or_default().push(channel);
        }
        let mut chosen = Self::default();
        for channels in by_connection.into_values() {
            let (meant, others): (Vec<_>, Vec<_>) =
                channels.into_iter().partition(|channel| is_meant(channel));
            match meant.first() {
                None => {}
                Some(_) if !others.is_empty() => chosen.alone.extend(meant),
                Some(first) => {
                    chosen.connections.push(Arc::clone(&first.connection));
                    chosen.with_connection.extend(meant);
                }
            }
        }
        if let Selector::Address(range) = selector {
            // Also those that have no channel, or no session yet.
            chosen.connections = admission.connections_from(|address| range.contains(address));
        }
        chosen
    }

    /// Nobody is meant.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.alone.is_empty()
    }

    /// Ends all of it. Each connection answers what it has accepted, and closes.
    pub(crate) fn end(&self) {
        for connection in &self.connections {
            connection.ending.cancel();
        }
        for channel in &self.alone {
            channel.close_soon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Clock, NewChannel};
    use crate::share_log::Origin;
    use hh_mining::Target;
    use tokio_util::sync::CancellationToken;

    struct Pool {
        directory: Directory,
        admission: Arc<Admission>,
        places: Vec<crate::admission::Place>,
    }

    /// Connections from addresses with the channels of accounts: a miner of Alice, a proxy for Alice and Bob, and a
    /// connection without a channel.
    fn pool() -> Pool {
        let directory = Directory::new(Clock::start(), Vec::new());
        let limits = crate::config::LimitsConfig::default();
        let stop = CancellationToken::new();
        let bans = Arc::new(crate::sample::no_bans());
        let admission = Arc::new(Admission::new(&limits, bans, Clock::start(), stop));
        let mut places = Vec::new();
        for (peer, accounts) in [
            ("192.0.2.1:1", &["alice"][..]),
            ("192.0.2.2:1", &["alice", "bob"]),
            ("192.0.2.2:2", &[]),
        ] {
            let place = admission.admit(peer.parse().unwrap()).unwrap();
            for account in accounts {
                directory.open(NewChannel {
                    origin: Arc::new(Origin::new(*account, "", "core", "sv2").unwrap()),
                    connection: Arc::clone(&place.connection),
                    kind: "extended",
                    device: "test".into(),
                    nominal_hashrate_hs: 1e6,
                    target: Target::MAX,
                });
            }
            places.push(place);
        }
        Pool {
            directory,
            admission,
            places,
        }
    }

    /// Kicks, and gives which connections (by their order) and which channels (by their account) ended.
    fn kick(selector: &Selector) -> (Vec<usize>, Vec<String>) {
        let pool = pool();
        let chosen = Chosen::find(selector, &pool.directory, &pool.admission);
        chosen.end();
        let places = pool.places.iter().enumerate();
        let ended = places.filter(|(_, place)| place.connection.ending.is_cancelled());
        let channels = pool.directory.channels();
        let closing = channels.iter().filter(|channel| channel.is_closing());
        (
            ended.map(|(index, _)| index).collect(),
            closing
                .map(|channel| channel.origin().account().to_owned())
                .collect(),
        )
    }

    #[test]
    fn an_account_leaves_its_own_connection_whole_and_a_shared_one_alone() {
        let (connections, channels) = kick(&Selector::Account("alice".to_owned()));
        assert_eq!((connections, channels), (vec![0], vec!["alice".to_owned()]));
        assert_eq!(
            kick(&Selector::Account("carol".to_owned())),
            (vec![], vec![])
        );
    }

    #[test]
    fn a_channel_is_found_by_its_id() {
        let first = crate::group::GROUP_CHANNEL_ID + 1;
        assert_eq!(kick(&Selector::Channel(first)), (vec![0], vec![]));
        let shared = kick(&Selector::Channel(first + 2));
        assert_eq!(shared, (vec![], vec!["bob".to_owned()]));
        assert_eq!(kick(&Selector::Channel(99)), (vec![], vec![]));
    }

    #[test]
    fn an_address_means_its_connections_with_and_without_channels() {
        let there = Selector::Address("192.0.2.2".parse().unwrap());
        assert_eq!(kick(&there), (vec![1, 2], vec![]));
        let everywhere = Selector::Address("192.0.2.0/24".parse().unwrap());
        assert_eq!(kick(&everywhere), (vec![0, 1, 2], vec![]));
    }
}
