//! What a close by force costs, as a pure function of the channel and of what the chain asks for.
//!
//! Sizes are those of BOLT 3 for channels with anchors, which all three wallets open; others cost no more. Fees are rounded up, and
//! what depends on the peer or on later blocks is counted as if it came: it is a warning, no bill.

use bitcoin::{Amount, FeeRate, Weight};
use hh_lightning::Channel;
use hh_mining::Msat;

/// Where no node has an estimate: the least that nodes relay.
const LEAST: FeeRate = FeeRate::BROADCAST_MIN;

/// The commitment transaction without payments, and what each adds to it (BOLT 3, "Expected Weights": with anchors).
const COMMITMENT: Weight = Weight::from_wu(1_124);
const COMMITMENT_HTLC: Weight = Weight::from_wu(172);

/// A child that brings the commitment transaction into a block: its frame (42), an anchor (280), an input of the wallet (272), change
/// (124).
const CHILD: Weight = Weight::from_wu(718);

/// What fetches our side after the delay: frame, the input with its script, an output.
const SWEEP: Weight = Weight::from_wu(532);

/// A payment on its way: the larger of the transactions of BOLT 3 (success, 706), with an input of the wallet that pays for it and change
/// (396), and the input by which its output is fetched (318).
const HTLC: Weight = Weight::from_wu(1_420);

/// What it costs, and what comes back when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForceClose {
    pub fee_rate: FeeRate,
    /// Whether a node has told that rate.
    pub is_estimated: bool,
    /// Of the commitment transaction, where it is ours to pay.
    pub commitment: Msat,
    /// To have it confirmed at that rate, from the reserve on the chain.
    pub bump: Msat,
    /// To fetch our side.
    pub sweep: Msat,
    /// To settle payments on their way.
    pub htlcs: Msat,
    pub htlc_count: u32,
    /// What is left of our side.
    pub returned: Msat,
    /// Blocks until it can be fetched.
    pub delay: Option<u32>,
}

impl ForceClose {
    /// Of this channel, at the rate that a node tells.
    pub(crate) fn of(channel: &Channel, estimated: Option<FeeRate>) -> Self {
        let fee_rate = estimated.unwrap_or(LEAST).max(LEAST);
        let fee = |weight: Weight| {
            let fee = fee_rate.fee_wu(weight).unwrap_or(Amount::MAX_MONEY);
            Msat::from_sats(fee.to_sat()).unwrap_or(Msat::MAX_MONEY)
        };
        let count = channel.pending_htlcs.len() as u64;
        let commitment = Msat(channel.local.0.saturating_sub(channel.on_close.0));
        let package = COMMITMENT + COMMITMENT_HTLC * count + CHILD;
        // Nothing of ours is in it, and nobody waits for it.
        let is_empty = channel.on_close == Msat::ZERO && count == 0;
        let (bump, sweep) = match (is_empty, channel.on_close) {
            (true, _) => (Msat::ZERO, Msat::ZERO),
            (false, Msat::ZERO) => (fee(package), Msat::ZERO),
            (false, _) => (fee(package), fee(SWEEP)),
        };
        let bump = Msat(bump.0.saturating_sub(commitment.0));
        let htlcs = fee(HTLC * count);
        let spent = bump.0.saturating_add(sweep.0).saturating_add(htlcs.0);
        Self {
            fee_rate,
            is_estimated: estimated.is_some(),
            commitment,
            bump,
            sweep,
            htlcs,
            htlc_count: u32::try_from(count).unwrap_or(u32::MAX),
            returned: Msat(channel.on_close.0.saturating_sub(spent)),
            delay: channel.close_delay,
        }
    }

    /// All of it.
    pub(crate) fn cost(&self) -> Msat {
        let parts = [self.commitment, self.bump, self.sweep, self.htlcs];
        let sum = parts.iter().map(|part| part.0);
        Msat(sum.fold(0, u64::saturating_add))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_lightning::{ChannelId, ChannelState, Htlc, PaymentHash};

    fn channel(htlcs: u8) -> Channel {
        let key = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
        let htlc = |byte| Htlc {
            hash: PaymentHash([byte; 32]),
            amount: Msat(1_000_000),
            expiry_height: 200,
            is_outgoing: true,
        };
        Channel {
            id: ChannelId([1; 32]),
            peer: key.parse().unwrap(),
            funding: None,
            short_id: None,
            capacity: Msat(1_000_000_000),
            local: Msat(600_000_000),
            remote: Msat(400_000_000),
            spendable: Msat(0),
            receivable: Msat(0),
            on_close: Msat(599_000_000),
            reserve: Msat(10_000_000),
            close_delay: Some(144),
            state: ChannelState::Ready,
            is_usable: true,
            is_public: false,
            is_ours: true,
            pending_htlcs: (0..htlcs).map(htlc).collect(),
        }
    }

    #[test]
    fn each_part_of_the_cost_is_there() {
        let rate = FeeRate::from_sat_per_vb(10).unwrap();
        let close = ForceClose::of(&channel(0), Some(rate));
        assert_eq!(close.commitment, Msat(1_000_000));
        // (1124 + 718) / 4 x 10 = 4605 sat, of which the commitment transaction pays 1000.
        assert_eq!(close.bump, Msat(3_605_000));
        assert_eq!(close.sweep, Msat(1_330_000));
        assert_eq!((close.htlcs, close.htlc_count), (Msat::ZERO, 0));
        assert_eq!(close.cost(), Msat(5_935_000));
        assert_eq!(close.returned, Msat(599_000_000 - 4_935_000));
        assert_eq!(close.delay, Some(144));
        let with_payments = ForceClose::of(&channel(2), Some(rate));
        assert_eq!(with_payments.htlcs, Msat(7_100_000));
        assert_eq!(with_payments.bump, Msat(3_605_000 + 860_000));
    }

    #[test]
    fn a_rate_that_nobody_tells_is_the_least() {
        let close = ForceClose::of(&channel(0), None);
        assert_eq!(close.fee_rate, LEAST);
        assert!(!close.is_estimated);
        assert_eq!(close.bump, Msat::ZERO, "the commitment pays enough");
    }

    #[test]
    fn nothing_is_fetched_where_nothing_is_ours() {
        let mut empty = channel(0);
        (empty.local, empty.on_close) = (Msat::ZERO, Msat::ZERO);
        let rate = FeeRate::from_sat_per_vb(10);
        assert_eq!(ForceClose::of(&empty, rate).cost(), Msat::ZERO);
    }
}
