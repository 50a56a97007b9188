//! The rules by which channels are funded.

use hh_daemon::Mistakes;
use serde::Deserialize;

/// BOLT 2 nodes refuse smaller ones, and such cost more to close than they carry.
const CHANNEL_SAT_LEAST: u64 = 20_000;

/// The `[channels]` table. Without `peers` no channel is opened by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelsConfig {
    /// `NODE_ID@HOST:PORT`: with each there is to be a channel, in the order of preference.
    pub peers: Vec<String>,
    /// What a channel has.
    pub capacity_sat: u64,
    /// Stays on the chain, for fees of closings.
    pub reserve_sat: u64,
    /// Another channel to a peer is opened when less than so many percent of its channels are ours.
    pub refill_below_percent: u8,
}

impl Default for ChannelsConfig {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            // A peer may take no more than a tenth of a channel at once: so a payout of max_payout_sat goes in one piece, with its
            // fee. Less than the 2^24 sat that not every peer opens.
            capacity_sat: 16_000_000,
            // Four closings of anchor channels.
            reserve_sat: 100_000,
            refill_below_percent: 20,
        }
    }
}

impl ChannelsConfig {
    pub(super) fn check(&self, mistakes: &mut Mistakes) {
        if self.capacity_sat < CHANNEL_SAT_LEAST {
            let what = format!("{} sat are too few for a channel", self.capacity_sat);
            let fix = format!("write at least {CHANNEL_SAT_LEAST}");
            mistakes.add("channels.capacity_sat", what, fix);
        }
        if self.refill_below_percent > 100 {
            let what = format!("{}% is no part", self.refill_below_percent);
            mistakes.add("channels.refill_below_percent", what, "write 0 to 100");
        }
        for (index, peer) in self.peers.iter().enumerate() {
            if let Err(what) = crate::lightning::parse_peer(peer) {
                let fix = "write NODE_ID@HOST:PORT, with the 66 hex digits of the peer's id";
                mistakes.add(format!("channels.peers.{index}"), what.to_string(), fix);
            }
        }
    }
}
