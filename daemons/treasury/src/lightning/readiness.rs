//! Whether the wallet can pay something now, as a pure function of its channels; and if not, why and what an operator can do.

use bitcoin::secp256k1::PublicKey;
use hh_lightning::Channel;
use hh_mining::Msat;

/// What the wallet needs before it can pay something, with the way out where there is one beside waiting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("the wallet to answer ({0}); `hhctl ln status`")]
    Silent(String),
    #[error("the wallet to be in step with the chain; `hhctl ln status`")]
    Behind,
    #[error("a usable channel; `hhctl ln channel open`")]
    NoChannel,
    #[error("a usable channel with {0}; `hhctl ln channel open {0}@HOST:PORT`")]
    NoChannelWith(PublicKey),
    /// There is the money, but no peer takes so much of a channel at once.
    #[error(
        "another or a larger channel (`hhctl ln channel open`), or to be paid in parts (a lower payouts.max_payout_sat, and `hhctl payout \
         cancel`): of {ours} sat that are ours in channels peers take {at_once} sat at once, less than its {amount} sat"
    )]
    TooMuchAtOnce {
        amount: Msat,
        at_once: Msat,
        ours: Msat,
    },
    #[error(
        "more money in channels, in which {ours} sat are ours, less than its {amount} sat; `hhctl ln advice`"
    )]
    TooLittle { amount: Msat, ours: Msat },
}

/// Whether these channels can carry `amount`, in parts if need be, with one of `peer` among them where there is no other way.
///
/// # Errors
/// Why not.
pub(super) fn check(
    channels: &[Channel],
    amount: Msat,
    peer: Option<PublicKey>,
) -> Result<(), NotReady> {
    let usable = || channels.iter().filter(|channel| channel.is_usable);
    if let Some(peer) = peer
        && !usable().any(|channel| channel.peer == peer)
    {
        return Err(NotReady::NoChannelWith(peer));
    }
    if usable().next().is_none() {
        return Err(NotReady::NoChannel);
    }
    let sum = |part: fn(&Channel) -> u64| Msat(usable().map(part).fold(0, u64::saturating_add));
    let at_once = sum(|channel| channel.spendable.0);
    if at_once >= amount {
        return Ok(());
    }
    let ours = sum(|channel| channel.local.0.saturating_sub(channel.reserve.0));
    if ours >= amount {
        return Err(NotReady::TooMuchAtOnce {
            amount,
            at_once,
            ours,
        });
    }
    Err(NotReady::TooLittle { amount, ours })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_lightning::{ChannelId, ChannelState};
    use std::slice::from_ref;

    const PEER: &str = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";

    /// Of a million sat, of which so many are ours, and a tenth goes at once.
    fn channel(ours_sat: u64) -> Channel {
        let ours = Msat(ours_sat * 1_000);
        Channel {
            id: ChannelId([1; 32]),
            peer: PEER.parse().unwrap(),
            funding: None,
            short_id: None,
            capacity: Msat(1_000_000_000),
            local: ours,
            remote: Msat(1_000_000_000 - ours.0),
            spendable: Msat(ours.0.min(100_000_000)),
            receivable: Msat(0),
            on_close: ours,
            reserve: Msat(10_000_000),
            close_delay: None,
            state: ChannelState::Ready,
            is_usable: true,
            is_public: false,
            is_ours: true,
            pending_htlcs: Vec::new(),
        }
    }

    #[track_caller]
    fn check_error(channels: &[Channel], amount_sat: u64, expected: &str) {
        let error = check(channels, Msat(amount_sat * 1_000), None).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn what_a_peer_does_not_take_at_once_is_told_from_what_is_not_there() {
        let full = channel(900_000);
        assert_eq!(check(from_ref(&full), Msat(100_000_000), None), Ok(()));
        let too_much =
            "of 890000.000 sat that are ours in channels peers take 100000.000 sat at once";
        check_error(from_ref(&full), 200_000, too_much);
        check_error(from_ref(&full), 200_000, "payouts.max_payout_sat");
        let two = [full.clone(), full];
        assert_eq!(check(&two, Msat(200_000_000), None), Ok(()), "in parts");
        check_error(
            &[channel(50_000)],
            200_000,
            "in which 40000.000 sat are ours",
        );
        check_error(&[channel(50_000)], 200_000, "hhctl ln advice");
    }

    #[test]
    fn a_peer_that_is_the_only_way_has_to_be_there() {
        let other = "03a0434d9e47f3c86235477c7b1ae6ae5d3442d49b1943c2b752a68e2a47e247c7";
        let other: PublicKey = other.parse().unwrap();
        let found = check(&[channel(900_000)], Msat(1), Some(other));
        assert_eq!(found, Err(NotReady::NoChannelWith(other)));
        let mut away = channel(900_000);
        away.is_usable = false;
        assert_eq!(check(&[away], Msat(1), None), Err(NotReady::NoChannel));
    }
}
