//! `Reward` and `Division`: what a block of ours brought, and who gets how much of it.
//!
//! The subsidy less the pool fee goes to the miners by score, the transaction fees to the finder, half of the pool fee to the
//! Hyper Nodes by the score that provably came in through each, the other half to the treasury. Every part is floored, and what
//! that leaves goes to the finder, so that the parts are the whole to the msat, and names split in two gain nothing.

use bitcoin::Network;

use crate::{Credits, Msat, Score};

/// The pool fee is one part in this of the subsidy; fees of transactions carry none, for the finder gets all of them.
const POOL_FEE_DIVISOR: u64 = 100;

/// The subsidy of the first block, in satoshi (Bitcoin Core, `GetBlockSubsidy`).
const INITIAL_SUBSIDY_SATS: u64 = 50 * 100_000_000;

/// Halvings after which there is no subsidy; a shift by so many bits would be undefined in Bitcoin Core.
const HALVINGS_MAX: u32 = 64;

/// Why a block can't be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewardError {
    /// No coinbase of the chain pays so much.
    #[error("a coinbase of {value_sats} sat is more than there is")]
    MoreThanThereIs {
        /// What it is said to pay.
        value_sats: u64,
    },
}

/// What the coinbase of a block of ours paid to our script, read from the accepted block itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reward {
    subsidy: Msat,
    fees: Msat,
    is_short: bool,
}

impl Reward {
    /// Of the block at `height` whose coinbase paid our script `value_sats` in total.
    ///
    /// # Errors
    /// If that is more than all the money there is.
    pub fn of(value_sats: u64, height: u32, network: Network) -> Result<Self, RewardError> {
        let value =
            Msat::from_sats(value_sats).ok_or(RewardError::MoreThanThereIs { value_sats })?;
        let whole_subsidy = Msat(subsidy_sats(height, network) * 1_000);
        let subsidy = whole_subsidy.min(value);
        Ok(Self {
            subsidy,
            fees: Msat(value.0 - subsidy.0),
            is_short: value < whole_subsidy,
        })
    }

    /// All of it.
    #[must_use]
    pub fn value(&self) -> Msat {
        // Both come from one amount that was not more than there is.
        Msat(self.subsidy.0 + self.fees.0)
    }

    /// What the block created, or all of it where that is less.
    #[must_use]
    pub fn subsidy(&self) -> Msat {
        self.subsidy
    }

    /// What its transactions paid.
    #[must_use]
    pub fn fees(&self) -> Msat {
        self.fees
    }

    /// Whether it paid less than the subsidy: money was given away, which is an alarm.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// One part in a hundred of the subsidy, floored.
    #[must_use]
    pub fn pool_fee(&self) -> Msat {
        Msat(self.subsidy.0 / POOL_FEE_DIVISOR)
    }

    /// Half of the pool fee, floored: the node network's.
    #[must_use]
    pub fn node_half(&self) -> Msat {
        Msat(self.pool_fee().0 / 2)
    }

    /// The rest of the pool fee: the treasury's.
    #[must_use]
    pub fn treasury_half(&self) -> Msat {
        Msat(self.pool_fee().0 - self.node_half().0)
    }

    /// The miners' part of the subsidy.
    #[must_use]
    pub fn miners_part(&self) -> Msat {
        Msat(self.subsidy.0 - self.pool_fee().0)
    }
}

/// What a block at `height` creates, in satoshi (Bitcoin Core, `GetBlockSubsidy`).
#[must_use]
pub fn subsidy_sats(height: u32, network: Network) -> u64 {
    // nSubsidyHalvingInterval of Bitcoin Core's chain parameters; signets, ours too, have mainnet's.
    let interval = match network {
        Network::Regtest => 150,
        _ => 210_000,
    };
    let halvings = height / interval;
    if halvings >= HALVINGS_MAX {
        return 0;
    }
    INITIAL_SUBSIDY_SATS >> halvings
}

/// One's part by score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// An account, or a node's id.
    pub name: String,
    /// What it brought in of the window.
    pub score: Score,
    /// What it gets for that.
    pub amount: Msat,
}

/// Who gets how much of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// What is divided.
    pub reward: Reward,
    /// All that the window has.
    pub score: Score,
    /// The miners' parts, by account, in the order of their names.
    pub miners: Vec<Part>,
    /// The nodes' parts of their half, by id, in the order of ids.
    pub nodes: Vec<Part>,
    /// The part of the nodes' half for work that came straight to the pool; payable to nodes only.
    pub node_reserve: Part,
    /// The treasury's half.
    pub treasury: Msat,
    /// Whose channel the block was found on.
    pub finder: String,
    /// What flooring left over, and all of the miners' part where the window is empty. It is the finder's, beside the fees
    /// and his part by score.
    pub residue: Msat,
}

/// The name of the reserve, as it stands in reports.
pub const NODE_RESERVE: &str = "node-network";

impl Division {
    /// Divides a reward by what everybody has of the window. Where that is empty (a lost log) the miners' part is all
    /// residue, which is an alarm, and the nodes' half goes to their reserve.
    #[must_use]
    pub fn of(reward: Reward, credits: &Credits, finder: impl Into<String>) -> Self {
        let score = credits.total();
        let part = |of: Msat, name: &str, part: Score| Part {
            name: name.to_owned(),
            score: part,
            // Nobody has more than all of it; where there is nothing, nobody is asked for.
            amount: of.part(part.0, score.0).unwrap_or_default(),
        };
        let (pot, half) = (reward.miners_part(), reward.node_half());
        let miners = credits
            .accounts()
            .map(|(name, score)| part(pot, name, score));
        let nodes = credits.nodes().map(|(name, score)| part(half, name, score));
        let mut node_reserve = part(half, NODE_RESERVE, credits.no_node());
        if score == Score(0) {
            node_reserve.amount = half;
        }
        let mut division = Self {
            reward,
            score,
            miners: miners.collect(),
            nodes: nodes.collect(),
            node_reserve,
            treasury: reward.treasury_half(),
            finder: finder.into(),
            residue: Msat::ZERO,
        };
        let given = division.sum().expect("floored parts of a whole fit in it");
        division.residue = reward
            .value()
            .checked_sub(given)
            .expect("floored parts are no more than the whole");
        division
    }

    /// What the finder gets beside his part by score: the fees and the residue.
    #[must_use]
    pub fn finders(&self) -> Msat {
        // A part of the reward's value.
        Msat(self.reward.fees().0 + self.residue.0)
    }

    /// Whether the window was empty: the finder was given the miners' part, and somebody has to look after the share log.
    #[must_use]
    pub fn is_without_window(&self) -> bool {
        self.score == Score(0)
    }

    /// All that is given out. It is the reward's value; who has a division from elsewhere compares them.
    #[must_use]
    pub fn sum(&self) -> Option<Msat> {
        let parts = self.miners.iter().chain(&self.nodes);
        parts
            .map(|part| part.amount)
            .chain([
                self.node_reserve.amount,
                self.treasury,
                self.reward.fees(),
                self.residue,
            ])
            .sum()
    }
}

#[cfg(test)]
mod tests;
