//! Whether money can be moved between two channels, and what that may cost at most: a pure function of the channels.

use bitcoin::secp256k1::PublicKey;
use hh_ledger::books::{BooksError, Rebalance};
use hh_lightning::{Channel, ChannelId};
use hh_mining::Msat;

/// Of a rebalance's amount, in parts per million: the fee goes to others, and one operator decides alone.
pub(crate) const FEE_PPM_MAX: u32 = 100_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub from: ChannelId,
    pub into: ChannelId,
    /// That comes back.
    pub amount: Msat,
    pub max_fee_ppm: u32,
}

/// What it would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub max_fee: Msat,
    /// What the one channel can send in one payment.
    pub can_send: Msat,
    /// What the other one can take.
    pub can_receive: Msat,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPossible {
    #[error("both channels are the same one")]
    SameChannel,
    #[error("there is nothing to move")]
    Nothing,
    #[error(
        "a fee of up to {0} parts per million is more than the {FEE_PPM_MAX} that a rebalance may cost"
    )]
    TooDear(u32),
    #[error("there is no channel {0}; `hhctl ln channel list` shows them")]
    Unknown(ChannelId),
    #[error("channel {0} is not usable: its peer is away, or it is opening or closing")]
    Away(ChannelId),
    #[error(
        "both channels are with {0}, who chooses by which of them a payment comes back; move it over channels with two peers"
    )]
    SamePeer(PublicKey),
    #[error(
        "channel {channel} can send {has} sat at once, less than {amount} sat and the fee of {fee} sat at most"
    )]
    TooLittle {
        channel: ChannelId,
        has: Msat,
        amount: Msat,
        fee: Msat,
    },
    #[error("channel {channel} has room for {has} sat, less than {amount} sat")]
    NoRoom {
        channel: ChannelId,
        has: Msat,
        amount: Msat,
    },
}

impl Wanted {
    /// Whether these channels can do it.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn plan(&self, channels: &[Channel]) -> Result<Planned, NotPossible> {
        if self.from == self.into {
            return Err(NotPossible::SameChannel);
        }
        if self.amount == Msat::ZERO {
            return Err(NotPossible::Nothing);
        }
        if self.max_fee_ppm > FEE_PPM_MAX {
            return Err(NotPossible::TooDear(self.max_fee_ppm));
        }
        let find = |id: ChannelId| {
            let known = channels.iter().find(|known| known.id == id);
            let known = known.ok_or(NotPossible::Unknown(id))?;
            known
                .is_usable
                .then_some(known)
                .ok_or(NotPossible::Away(id))
        };
        let (from, into) = (find(self.from)?, find(self.into)?);
        if from.peer == into.peer {
            return Err(NotPossible::SamePeer(from.peer));
        }
        let (amount, max_fee) = (self.amount, self.max_fee());
        if from.spendable.0 < amount.0.saturating_add(max_fee.0) {
            return Err(NotPossible::TooLittle {
                channel: from.id,
                has: from.spendable,
                amount,
                fee: max_fee,
            });
        }
        if into.receivable < amount {
            return Err(NotPossible::NoRoom {
                channel: into.id,
                has: into.receivable,
                amount,
            });
        }
        Ok(Planned {
            max_fee,
            can_send: from.spendable,
            can_receive: into.receivable,
        })
    }

    /// The most that it may cost, rounded down.
    pub(crate) fn max_fee(&self) -> Msat {
        let fee = u128::from(self.amount.0) * u128::from(self.max_fee_ppm) / 1_000_000;
        Msat(u64::try_from(fee).unwrap_or(u64::MAX))
    }

    /// The rebalance of an earlier request with the same key, if that was for the same.
    ///
    /// # Errors
    /// [`BooksError::KeyTaken`].
    pub(super) fn same(&self, known: Rebalance) -> Result<Rebalance, BooksError> {
        let asked = (self.from.to_string(), self.into.to_string());
        let is_same = asked == (known.from.clone(), known.into.clone())
            && (self.amount, self.max_fee()) == (known.amount, known.max_fee);
        if is_same {
            return Ok(known);
        }
        let key = known.key;
        Err(BooksError::KeyTaken { key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use hh_lightning::ChannelState;

    /// Of a peer of its own, a million sat, of which so many are ours.
    fn channel(id: u8, local_sat: u64) -> Channel {
        let key = SecretKey::from_slice(&[id; 32]).unwrap();
        Channel {
            id: ChannelId([id; 32]),
            peer: PublicKey::from_secret_key(&Secp256k1::new(), &key),
            funding: None,
            short_id: None,
            capacity: Msat(1_000_000_000),
            local: Msat(local_sat * 1_000),
            remote: Msat(1_000_000_000 - local_sat * 1_000),
            spendable: Msat(local_sat * 1_000),
            receivable: Msat(1_000_000_000 - local_sat * 1_000),
            on_close: Msat(0),
            reserve: Msat(0),
            close_delay: None,
            state: ChannelState::Ready,
            is_usable: true,
            is_public: false,
            is_ours: true,
            pending_htlcs: Vec::new(),
        }
    }

    const WANTED: Wanted = Wanted {
        from: ChannelId([1; 32]),
        into: ChannelId([2; 32]),
        amount: Msat(500_000_000),
        max_fee_ppm: 200,
    };

    #[test]
    fn it_is_planned_where_both_sides_have_enough() {
        let channels = [channel(1, 600_000), channel(2, 400_000)];
        let planned = WANTED.plan(&channels).unwrap();
        assert_eq!(planned.max_fee, Msat(100_000));
        assert_eq!(planned.can_send, Msat(600_000_000));
        assert_eq!(planned.can_receive, Msat(600_000_000));
    }

    #[test]
    fn one_operator_gives_no_more_than_a_tenth_away() {
        let channels = [channel(1, 600_000), channel(2, 400_000)];
        let mut wanted = WANTED;
        wanted.max_fee_ppm = FEE_PPM_MAX;
        assert!(wanted.plan(&channels).is_ok());
        wanted.max_fee_ppm = FEE_PPM_MAX + 1;
        let refused = wanted.plan(&channels);
        assert_eq!(refused, Err(NotPossible::TooDear(FEE_PPM_MAX + 1)));
    }

    #[test]
    fn the_fee_has_to_be_there_too_and_the_room() {
        let exact = [channel(1, 500_100), channel(2, 500_000)];
        assert!(WANTED.plan(&exact).is_ok());
        let poor = [channel(1, 500_099), channel(2, 500_000)];
        let refused = WANTED.plan(&poor).unwrap_err();
        assert!(
            matches!(refused, NotPossible::TooLittle { .. }),
            "{refused}"
        );
        let full = [channel(1, 600_000), channel(2, 500_001)];
        let refused = WANTED.plan(&full).unwrap_err();
        assert!(matches!(refused, NotPossible::NoRoom { .. }), "{refused}");
    }

    #[test]
    fn two_channels_of_two_peers_are_needed() {
        let mut channels = [channel(1, 600_000), channel(2, 0)];
        let mut wanted = WANTED;
        wanted.into = wanted.from;
        assert_eq!(wanted.plan(&channels), Err(NotPossible::SameChannel));
        wanted.into = ChannelId([3; 32]);
        let unknown = Err(NotPossible::Unknown(wanted.into));
        assert_eq!(wanted.plan(&channels), unknown);
        channels[1].is_usable = false;
        let away = Err(NotPossible::Away(channels[1].id));
        assert_eq!(WANTED.plan(&channels), away);
        channels[1].is_usable = true;
        channels[1].peer = channels[0].peer;
        let refused = WANTED.plan(&channels);
        assert_eq!(refused, Err(NotPossible::SamePeer(channels[0].peer)));
    }
}
