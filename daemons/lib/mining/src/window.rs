//! `Window`: which shares a block is split over, and what each account and each node has of them.
//!
//! A window is filled from its end: first the winning share, then older ones, as whole minutes where a minute fits and share
//! by share where it does not. It ends when it is full; the oldest share in it is counted in part. Whoever fills it sees to
//! the order (accepted_at_ms, pool, epoch, seq), newest first; sums of a minute have none, and need none.

use std::collections::BTreeMap;

use crate::Score;

/// Whose a share is, and what it is worth: of one share, or the sum of an origin's shares in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit<'a> {
    /// The account that is credited, as its `Display` spells it.
    pub account: &'a str,
    /// The Hyper Node through which it provably came in; none if it came straight to the pool.
    pub node: Option<&'a str>,
    /// What it is worth.
    pub score: Score,
}

/// What everybody has of a window. The sums of accounts, and of nodes with what came in through none, are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credits {
    accounts: BTreeMap<String, u128>,
    nodes: BTreeMap<String, u128>,
    no_node: u128,
    total: u128,
}

impl Credits {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Score {
        Score(self.total)
    }

    /// By account, in the order of their names. None of them has nothing.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, Score)> {
        self.accounts
            .iter()
            .map(|(account, score)| (&**account, Score(*score)))
    }

    /// By node, in the order of their ids. None of them has nothing.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, Score)> {
        self.nodes
            .iter()
            .map(|(node, score)| (&**node, Score(*score)))
    }

    /// What came straight to the pool.
    #[must_use]
    pub fn no_node(&self) -> Score {
        Score(self.no_node)
    }

    fn add(&mut self, credit: Credit<'_>) {
        let score = credit.score.0;
        if score == 0 {
            return;
        }
        add_to(&mut self.accounts, credit.account, score);
        match credit.node {
            Some(node) => add_to(&mut self.nodes, node, score),
            None => self.no_node += score,
        }
        self.total += score;
    }
}

/// Adds without a new key where there is one. No part is larger than the total, which the window keeps within its size.
fn add_to(scores: &mut BTreeMap<String, u128>, name: &str, score: u128) {
    match scores.get_mut(name) {
        Some(sum) => *sum += score,
        None => drop(scores.insert(name.to_owned(), score)),
    }
}

/// A window that is being filled. See the module.
#[derive(Clone, Debug)]
pub struct Window {
    credits: Credits,
    size: u128,
}

impl Window {
    /// An empty window of this size: [`Score::WINDOW`] where rewards are split by `pplns`.
    #[must_use]
    pub fn of(size: Score) -> Self {
        Self {
            credits: Credits::default(),
            size: size.0,
        }
    }

    /// An empty window that takes all there is: a round.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::of(Score(u128::MAX))
    }

    /// How much still goes in.
    #[must_use]
    pub fn room(&self) -> Score {
        Score(self.size - self.credits.total)
    }

    /// Whether nothing older counts.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.room() == Score(0)
    }

    /// Takes in a whole minute if all of it goes in, and says whether it did. Where it did not, nothing has changed, and the
    /// minute's shares are to be taken in one by one.
    pub fn take_minute<'a>(
        &mut self,
        minute: impl IntoIterator<Item = Credit<'a>> + Clone,
    ) -> bool {
        let mut room = self.room().0;
        for credit in minute.clone() {
            match room.checked_sub(credit.score.0) {
                Some(rest) => room = rest,
                None => return false,
            }
        }
        minute
            .into_iter()
            .for_each(|credit| self.credits.add(credit));
        true
    }

    /// Takes in the next older share, as much of it as goes in.
    pub fn take_share(&mut self, share: Credit<'_>) {
        let score = share.score.min(self.room());
        self.credits.add(Credit { score, ..share });
    }

    /// What everybody has.
    #[must_use]
    pub fn into_credits(self) -> Credits {
        self.credits
    }
}

#[cfg(test)]
mod tests;
