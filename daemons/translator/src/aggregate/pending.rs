//! Shares on their way to the pool: whose each is, by the sequence number that its channel gave it.

use crate::upstream::Route;
use std::collections::VecDeque;

/// A share that was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// In the channel.
    pub sequence_number: u32,
    pub session: u64,
    /// In the session.
    pub session_sequence_number: u32,
}

/// Shares of one upstream channel, the oldest first.
#[derive(Debug)]
pub(super) struct PendingShares {
    /// The channel, which may have been closed meanwhile.
    pub key: u64,
    last_sequence_number: u32,
    shares: VecDeque<Pending>,
}

/// What a session is told when shares of its are settled: the last of them, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub session: u64,
    pub last_sequence_number: u32,
    pub count: u32,
}

impl PendingShares {
    pub(super) fn new(key: u64) -> Self {
        Self {
            key,
            last_sequence_number: 0,
            shares: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Takes a share and gives its number in the channel.
    pub(super) fn push(&mut self, session: u64, session_sequence_number: u32) -> u32 {
        self.last_sequence_number = self.last_sequence_number.wrapping_add(1);
        self.shares.push_back(Pending {
            sequence_number: self.last_sequence_number,
            session,
            session_sequence_number,
        });
        self.last_sequence_number
    }

    /// All up to `last` are accepted. A session's shares are in the order of its own numbers, so the last of them says all.
    pub(super) fn accept(&mut self, last: u32) -> Vec<Settled> {
        let mut settled: Vec<Settled> = Vec::new();
        while let Some(share) = self
            .shares
            .pop_front_if(|share| !is_after(share.sequence_number, last))
        {
            let of_session = |settled: &&mut Settled| settled.session == share.session;
            match settled.iter_mut().find(of_session) {
                Some(known) => {
                    known.last_sequence_number = share.session_sequence_number;
                    known.count += 1;
                }
                None => settled.push(Settled {
                    session: share.session,
                    last_sequence_number: share.session_sequence_number,
                    count: 1,
                }),
            }
        }
        settled
    }

    /// That one is rejected.
    pub(super) fn reject(&mut self, sequence_number: u32) -> Option<Pending> {
        let is_it = |share: &Pending| share.sequence_number == sequence_number;
        let position = self.shares.iter().position(is_it)?;
        self.shares.remove(position)
    }

    /// All that are not settled, with the route that they went.
    pub(super) fn into_shares(self, route: Route) -> impl Iterator<Item = (Route, Pending)> {
        self.shares.into_iter().map(move |share| (route, share))
    }

    /// Who has shares here that are not settled.
    pub(super) fn sessions(&self) -> impl Iterator<Item = u64> {
        self.shares.iter().map(|share| share.session)
    }
}

/// All channels' shares, also of those that are closed or on a connection that is being left.
pub(super) type PendingByRoute = std::collections::HashMap<Route, PendingShares>;

/// Whether `number` comes after `other`, in numbers that wrap.
fn is_after(number: u32, other: u32) -> bool {
    let distance = number.wrapping_sub(other);
    distance != 0 && distance < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_is_told_of_its_own_shares_alone() {
        let mut shares = PendingShares::new(1);
        for (session, number) in [(7, 1), (8, 1), (7, 2), (8, 2), (7, 3)] {
            shares.push(session, number);
        }
        assert_eq!(shares.reject(3).unwrap().session_sequence_number, 2);
        assert_eq!(shares.reject(3), None);
        let settled = shares.accept(4);
        let of = |session, last_sequence_number, count| Settled {
            session,
            last_sequence_number,
            count,
        };
        assert_eq!(settled, [of(7, 1, 1), of(8, 2, 2)]);
        assert_eq!(shares.sessions().collect::<Vec<_>>(), [7]);
        assert_eq!(shares.accept(5), [of(7, 3, 1)]);
        assert!(shares.is_empty());
    }
}
