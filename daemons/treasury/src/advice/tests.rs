use super::*;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};

/// Capacity 1,000,000 sat, of which so much is ours.
fn channel(id: u8, local_sat: u64) -> Channel {
    let secp = Secp256k1::new();
    let key = SecretKey::from_slice(&[id; 32]).unwrap();
    Channel {
        id: ChannelId([id; 32]),
        peer: PublicKey::from_secret_key(&secp, &key),
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

fn facts(channels: &[Channel], due_sat: u64, on_chain_sat: u64) -> Facts<'_> {
    Facts {
        channels,
        due: Msat(due_sat * 1_000),
        on_chain: Amount::from_sat(on_chain_sat),
        reserve: Amount::from_sat(100_000),
        can_rebalance: true,
    }
}

#[test]
fn what_is_due_needs_half_as_much_again_in_channels() {
    let channels = [channel(1, 600_000)];
    assert_eq!(facts(&channels, 400_000, 0).advice(), []);
    let open = Advice::Open {
        capacity_sat: 300_000,
    };
    assert_eq!(facts(&channels, 600_000, 400_000).advice(), [open]);
    let fund = Advice::Fund {
        missing: Msat(1_000),
    };
    assert_eq!(facts(&channels, 600_000, 399_999).advice(), [fund]);
}

#[test]
fn a_channel_that_opens_is_not_opened_again() {
    let opening = Channel {
        state: ChannelState::Opening,
        is_usable: false,
        ..channel(1, 900_000)
    };
    assert_eq!(facts(&[opening], 600_000, 900_000).advice(), []);
    let closing = Channel {
        state: ChannelState::Closing,
        is_usable: false,
        ..channel(1, 900_000)
    };
    let open = Advice::Open {
        capacity_sat: 900_000,
    };
    assert_eq!(facts(&[closing], 600_000, 1_000_000).advice(), [open]);
}

#[test]
fn money_behind_a_peer_that_is_away_is_named() {
    let away = Channel {
        is_usable: false,
        ..channel(1, 500_000)
    };
    let advice = Advice::Reconnect {
        channel: away.id,
        local: away.local,
    };
    assert_eq!(facts(&[away], 0, 0).advice(), [advice]);
}

#[test]
fn a_full_channel_fills_an_empty_one_to_the_half() {
    let channels = [
        channel(1, 950_000),
        channel(2, 500_000),
        channel(3, 100_000),
    ];
    let advice = Advice::Rebalance {
        from: ChannelId([1; 32]),
        to: ChannelId([3; 32]),
        amount: Msat(400_000_000),
    };
    assert_eq!(facts(&channels, 0, 0).advice(), [advice]);
    let can_not = Facts {
        can_rebalance: false,
        ..facts(&channels, 0, 0)
    };
    assert_eq!(can_not.advice(), []);
}
