//! Opens channels by the configuration's rules: one with each peer that is named, another when most of it has been paid out, and
//! never from the reserve on the chain.

use crate::config::ChannelsConfig;
use crate::lightning::{PeerError, WalletLink, parse_peer};
use bitcoin::Amount;
use bitcoin::secp256k1::PublicKey;
use hh_ledger::books::{Books, BooksError};
use hh_lightning::{Channel, ChannelState, OpenChannel, SocketAddress, WalletError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the rules are gone through: a channel takes an hour to be usable.
const INTERVAL: Duration = Duration::from_secs(30);

/// What the funding transaction may cost, in satoshi: it has to be there beside the capacity and the reserve.
const FUNDING_FEE_SAT: u64 = 20_000;

/// A peer that channels are opened with.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    id: PublicKey,
    address: SocketAddress,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Funding {
    books: Books,
    wallet: WalletLink,
    peers: Vec<Peer>,
    rules: Rules,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rules {
    capacity_sat: u64,
    reserve_sat: u64,
    refill_below_percent: u8,
}

/// Why no channel was opened.
#[derive(Debug, thiserror::Error)]
enum FundingError {
    #[error("the books don't answer")]
    Books(#[from] BooksError),
    #[error("the wallet does not open a channel")]
    Wallet(#[from] WalletError),
}

impl Funding {
    /// By the rules of the configuration.
    ///
    /// # Errors
    /// A peer that is none.
    pub(crate) fn new(
        config: &ChannelsConfig,
        books: Books,
        wallet: WalletLink,
    ) -> Result<Self, PeerError> {
        let peer = |text: &String| {
            let (id, address) = parse_peer(text)?;
            Ok(Peer { id, address })
        };
        Ok(Self {
            books,
            wallet,
            peers: config.peers.iter().map(peer).collect::<Result<_, _>>()?,
            rules: Rules {
                capacity_sat: config.capacity_sat,
                reserve_sat: config.reserve_sat,
                refill_below_percent: config.refill_below_percent,
            },
        })
    }

    /// Opens until `stop` is cancelled; ends at once where no peer is named.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while !self.peers.is_empty() {
            if let Err(error) = self.open_next().await {
                let error = hh_daemon::Chain(&error).to_string();
                tracing::warn!(error, "channel not opened; it is tried again");
            }
            let pause = tokio::time::sleep(INTERVAL);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// One at a time: the next one is decided on when the wallet shows this one.
    async fn open_next(&self) -> Result<(), FundingError> {
        if self.books.frozen().await?.is_some() {
            return Ok(());
        }
        let wallet = self.wallet.wallet();
        if !wallet.info().await?.is_synced {
            return Ok(());
        }
        let spendable = wallet.balances().await?.onchain_spendable;
        let channels = wallet.channels().await?;
        let ids = self.peers.iter().map(|peer| peer.id);
        let Some(index) = self.rules.next(ids, &channels, spendable) else {
            return Ok(());
        };
        let peer = &self.peers[index];
        let capacity_sat = self.rules.capacity_sat;
        tracing::info!(peer = %peer.id, capacity_sat, "channel is opened by the rules");
        let channel = OpenChannel {
            peer: peer.id,
            address: peer.address.clone(),
            capacity_sats: capacity_sat,
            is_public: false,
            fee_rate: None,
        };
        wallet.open_channel(&channel).await?;
        Ok(())
    }
}

impl Rules {
    /// With which of the peers a channel is to be opened now.
    fn next(
        self,
        peers: impl Iterator<Item = PublicKey>,
        channels: &[Channel],
        spendable: Amount,
    ) -> Option<usize> {
        let needed = self
            .capacity_sat
            .saturating_add(self.reserve_sat)
            .saturating_add(FUNDING_FEE_SAT);
        if spendable.to_sat() < needed {
            return None;
        }
        peers.enumerate().find_map(|(index, peer)| {
            let with_peer = channels.iter().filter(|channel| channel.peer == peer);
            self.wants_another(with_peer).then_some(index)
        })
    }

    /// Whether what there is with one peer is not enough.
    fn wants_another<'a>(self, channels: impl Iterator<Item = &'a Channel>) -> bool {
        let (mut local, mut capacity) = (0_u128, 0_u128);
        for channel in channels {
            match channel.state {
                ChannelState::Opening => return false,
                ChannelState::Ready => {
                    local += u128::from(channel.local.0);
                    capacity += u128::from(channel.capacity.0);
                }
                ChannelState::Closing => {}
            }
        }
        local * 100 < capacity * u128::from(self.refill_below_percent) || capacity == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_lightning::ChannelId;
    use hh_mining::Msat;

    const RULES: Rules = Rules {
        capacity_sat: 1_000_000,
        reserve_sat: 100_000,
        refill_below_percent: 20,
    };

    fn peer(last: u8) -> PublicKey {
        let secp = bitcoin::secp256k1::Secp256k1::new();
        let key = bitcoin::secp256k1::SecretKey::from_slice(&[last; 32]).unwrap();
        PublicKey::from_secret_key(&secp, &key)
    }

    fn channel(with: u8, local_sat: u64, state: ChannelState) -> Channel {
        Channel {
            id: ChannelId([1; 32]),
            peer: peer(with),
            funding: None,
            short_id: None,
            capacity: Msat(1_000_000_000),
            local: Msat(local_sat * 1_000),
            remote: Msat(0),
            spendable: Msat(0),
            receivable: Msat(0),
            on_close: Msat(0),
            reserve: Msat(0),
            close_delay: None,
            state,
            is_usable: true,
            is_public: false,
            is_ours: true,
            pending_htlcs: Vec::new(),
        }
    }

    #[track_caller]
    fn check(channels: &[Channel], spendable_sat: u64, expected: Option<usize>) {
        let peers = [peer(1), peer(2)].into_iter();
        let next = RULES.next(peers, channels, Amount::from_sat(spendable_sat));
        assert_eq!(next, expected);
    }

    #[test]
    fn each_peer_gets_a_channel_and_another_when_it_is_paid_out() {
        use ChannelState::{Closing, Opening, Ready};
        check(&[], 2_000_000, Some(0));
        check(&[channel(1, 0, Opening)], 2_000_000, Some(1));
        let both = [channel(1, 900_000, Ready), channel(2, 900_000, Ready)];
        check(&both, 2_000_000, None);
        let paid_out = [channel(1, 199_999, Ready), channel(2, 900_000, Ready)];
        check(&paid_out, 2_000_000, Some(0));
        check(&[channel(1, 900_000, Closing)], 2_000_000, Some(0));
    }

    #[test]
    fn the_reserve_is_never_in_a_channel() {
        check(&[], 1_119_999, None);
        check(&[], 1_120_000, Some(0));
    }
}
