//! What an operator could do about the wallet's channels, as a pure function of what there is and what has to be paid.
//!
//! Nothing of it is done by itself: the rules of `[channels]` open channels, everything else is a person's decision.

use bitcoin::Amount;
use hh_lightning::{Channel, ChannelId, ChannelState};
use hh_mining::Msat;

/// The wallet is to be able to send so much more than is due, in percent: dues grow while a channel is opened, and the last part of
/// a channel can't be sent.
const COVER_PERCENT: u128 = 150;

/// A channel with less than so many percent on our side is worth refilling.
const LOW_PERCENT: u128 = 20;

/// A channel with more than so many percent on our side can give some away.
const HIGH_PERCENT: u128 = 80;

/// What there is to judge by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub channels: &'a [Channel],
    /// Balances that may be paid and open payouts.
    pub due: Msat,
    /// On the chain, without what is kept back for closings.
    pub on_chain: Amount,
    /// Stays on the chain by the rules.
    pub reserve: Amount,
    pub can_rebalance: bool,
}

/// Something that could be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Too little can be sent, and there is money on the chain for another channel.
    Open { capacity_sat: u64 },
    /// Too little can be sent, and there is no money on the chain.
    Fund { missing: Msat },
    /// Most of one channel is the peer's, most of another is ours.
    Rebalance {
        from: ChannelId,
        to: ChannelId,
        amount: Msat,
    },
    /// The peer is away, and money of ours is in its channel.
    Reconnect { channel: ChannelId, local: Msat },
}

/// What the wallet can send now, over all channels.
pub(crate) fn can_send(channels: &[Channel]) -> Msat {
    sum(
        channels.iter().filter(|channel| channel.is_usable),
        |channel| channel.spendable,
    )
}

/// What it can receive now.
pub(crate) fn can_receive(channels: &[Channel]) -> Msat {
    sum(
        channels.iter().filter(|channel| channel.is_usable),
        |channel| channel.receivable,
    )
}

fn sum<'a>(channels: impl Iterator<Item = &'a Channel>, part: impl Fn(&Channel) -> Msat) -> Msat {
    Msat(
        channels
            .map(|channel| part(channel).0)
            .fold(0, u64::saturating_add),
    )
}

impl Facts<'_> {
    /// All of it, the most urgent first.
    pub(crate) fn advice(&self) -> Vec<Advice> {
        let mut advice: Vec<Advice> = self.cover().into_iter().collect();
        let is_away = |channel: &&Channel| {
            channel.state == ChannelState::Ready && !channel.is_usable && channel.local > Msat::ZERO
        };
        let away = self.channels.iter().filter(is_away);
        advice.extend(away.map(|channel| Advice::Reconnect {
            channel: channel.id,
            local: channel.local,
        }));
        advice.extend(self.rebalance());
        advice
    }

    /// Where too little can be sent: channels that open and peers that are away count as if they were there.
    fn cover(&self) -> Option<Advice> {
        let needed = u128::from(self.due.0) * COVER_PERCENT / 100;
        let later = self.channels.iter().filter(|channel| !channel.is_usable);
        let later = later.filter(|channel| channel.state != ChannelState::Closing);
        let there = u128::from(can_send(self.channels).0)
            + u128::from(sum(later, |channel| channel.local).0);
        let missing = needed.checked_sub(there).filter(|missing| *missing > 0)?;
        let missing_sat = u64::try_from(missing.div_ceil(1_000)).unwrap_or(u64::MAX);
        let free_sat = self.on_chain.to_sat().saturating_sub(self.reserve.to_sat());
        if free_sat >= missing_sat {
            return Some(Advice::Open {
                capacity_sat: missing_sat,
            });
        }
        Some(Advice::Fund {
            missing: Msat((missing_sat - free_sat).saturating_mul(1_000)),
        })
    }

    fn rebalance(&self) -> Option<Advice> {
        if !self.can_rebalance {
            return None;
        }
        let usable = || self.channels.iter().filter(|channel| channel.is_usable);
        let to = usable()
            .filter(|channel| percent(channel) < LOW_PERCENT)
            .min_by_key(|channel| percent(channel))?;
        let from = usable()
            .filter(|channel| percent(channel) > HIGH_PERCENT)
            .max_by_key(|channel| percent(channel))?;
        // Both are half full then, as far as both can be.
        let half = |channel: &Channel| channel.capacity.0 / 2;
        let gives = from
            .local
            .0
            .saturating_sub(half(from))
            .min(from.spendable.0);
        let takes = half(to).saturating_sub(to.local.0).min(to.receivable.0);
        let amount = Msat(gives.min(takes));
        (amount > Msat::ZERO).then_some(Advice::Rebalance {
            from: from.id,
            to: to.id,
            amount,
        })
    }
}

/// What of a channel is ours.
fn percent(channel: &Channel) -> u128 {
    match channel.capacity.0 {
        0 => 0,
        capacity => u128::from(channel.local.0) * 100 / u128::from(capacity),
    }
}

#[cfg(test)]
mod tests;
