//! Channels, as all three wallets can tell of them.

use std::fmt;
use std::str::FromStr;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{FeeRate, OutPoint};
use hh_mining::Msat;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning_types::payment::PaymentHash;

/// The `channel_id` of BOLT 2: the same for both peers and in every wallet, from the funding transaction on. A splice
/// keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub [u8; 32]);

/// Text that is no channel's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no channel; its id is 64 hexadecimal digits")]
pub struct ChannelIdError(String);

impl ChannelId {
    /// Of a channel that this output funds: its transaction id XOR its index (BOLT 2, `funding_created`).
    ///
    /// None for an index that BOLT 2 has no room for.
    #[must_use]
    pub fn of_funding(output: OutPoint) -> Option<Self> {
        let [high, low] = u16::try_from(output.vout).ok()?.to_be_bytes();
        let mut id = output.txid.to_byte_array();
        id[30] ^= high;
        id[31] ^= low;
        Some(Self(id))
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({self})")
    }
}

impl FromStr for ChannelId {
    type Err = ChannelIdError;

    fn from_str(text: &str) -> Result<Self, ChannelIdError> {
        let mut id = [0; 32];
        match hex::decode_to_slice(text, &mut id) {
            Ok(()) => Ok(Self(id)),
            Err(_) => Err(ChannelIdError(text.to_owned())),
        }
    }
}

/// How far a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// Its funding is not deep enough yet.
    Opening,
    /// Usable, if the peer is connected.
    Ready,
    /// On its way to the chain.
    Closing,
}

/// A payment on its way through a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Htlc {
    pub hash: PaymentHash,
    /// The embedded node tells whole satoshi, rounded down, and leaves out what is too small for an output.
    pub amount: Msat,
    /// At this height it goes back, or to the chain.
    pub expiry_height: u32,
    /// From us to the peer.
    pub is_outgoing: bool,
}

/// A channel that is not closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub id: ChannelId,
    pub peer: PublicKey,
    /// None while it is negotiated.
    pub funding: Option<OutPoint>,
    /// As the gossip network names it; none before it is deep enough.
    pub short_id: Option<u64>,
    /// Of the funding output.
    pub capacity: Msat,
    /// Ours, with what can't be spent; without what is on its way out.
    pub local: Msat,
    /// The peer's.
    pub remote: Msat,
    /// Of ours, what the peer can be sent in one payment now.
    pub spendable: Msat,
    /// What can come in.
    pub receivable: Msat,
    /// Ours if it were closed now: after the fee of the commitment transaction, without pending payments.
    pub on_close: Msat,
    /// Of ours, what has to stay in the channel.
    pub reserve: Msat,
    /// Blocks for which our side is locked after a close by force; none where the wallet does not tell.
    pub close_delay: Option<u32>,
    pub state: ChannelState,
    /// Ready, and the peer connected.
    pub is_usable: bool,
    pub is_public: bool,
    /// We have paid for its funding, and pay for its commitment transaction.
    pub is_ours: bool,
    pub pending_htlcs: Vec<Htlc>,
}

/// A channel to open.
#[derive(Clone, Debug)]
pub struct OpenChannel {
    pub peer: PublicKey,
    pub address: SocketAddress,
    /// All of it is ours at first.
    pub capacity_sats: u64,
    /// Announced to the network.
    pub is_public: bool,
    /// Of the funding transaction. None: the wallet's own estimate, which is all that the embedded node takes.
    pub fee_rate: Option<FeeRate>,
}

/// A channel whose funding transaction is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedChannel {
    pub id: ChannelId,
    pub funding: OutPoint,
}

/// What routing a payment of others out by a channel costs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelFees {
    pub id: ChannelId,
    /// For each payment,
    pub base_msat: u32,
    /// and in millionths of its amount.
    pub ppm: u32,
}

/// A channel to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseChannel {
    pub id: ChannelId,
    /// Without the peer's help: our part is locked for days, and fees are higher. Else both sign, and a peer that is away
    /// holds it up.
    pub force: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channels_id_is_that_of_bolt_2() {
        let txid = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let output = |vout| OutPoint::new(txid.parse().unwrap(), vout);
        let id = ChannelId::of_funding(output(0)).unwrap();
        // A transaction id is shown with its bytes the other way round.
        assert_eq!(
            id.to_string(),
            "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
        );
        // The last bytes are 11 and 00.
        let id = ChannelId::of_funding(output(0x0102)).unwrap();
        assert!(id.to_string().ends_with("33221002"), "{id}");
        assert_eq!(ChannelId::of_funding(output(0x1_0000)), None);
    }

    #[test]
    fn a_channels_id_is_read_as_it_is_shown() {
        let id = ChannelId([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        let error = "ab".parse::<ChannelId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"ab\" is no channel; its id is 64 hexadecimal digits"
        );
    }
}
