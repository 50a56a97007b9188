//! Money that moves between channels.

use super::*;

/// Two with one peer, and one with another.
const BESIDE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff:2";
const OTHER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff:3";

fn id(funding: &str) -> ChannelId {
    ChannelId::of_funding(funding.parse().unwrap()).unwrap()
}

fn lay_down_channels(fake: &FakeLnd) {
    let channels = [(FUNDING, 7, 77), (BESIDE, 7, 78), (OTHER, 6, 79)];
    let channels = channels.map(|(funding, peer, chan_id)| message::Channel {
        remote_pubkey: node(peer).to_string(),
        channel_point: funding.to_owned(),
        chan_id,
        pending_htlcs: Vec::new(),
        ..channel()
    });
    let answer = message::ListChannelsResponse {
        channels: channels.into(),
    };
    fake.always(path::LIST_CHANNELS, Reply::one(&answer));
}

#[tokio::test]
async fn money_is_moved_between_two_channels_of_ours_with_two_peers_only() {
    let (fake, wallet) = start().await;
    lay_down_channels(&fake);
    let taken = Reply::open(&[payment(PaymentStatus::InFlight)]);
    fake.always(path::SEND_PAYMENT, taken);
    let mut move_it = Rebalance {
        payment: request(invoice(9, Some(5_000))),
        from: id(FUNDING),
        into: id(OTHER),
    };
    wallet.rebalance(&move_it).await.unwrap();
    let sent: message::SendPaymentRequest = fake.last(path::SEND_PAYMENT);
    assert!(sent.allow_self_payment);
    assert_eq!(sent.outgoing_chan_ids, [77]);
    assert_eq!(sent.last_hop_pubkey, node(6).serialize());
    for of_same_peer in [FUNDING, BESIDE] {
        move_it.into = id(of_same_peer);
        let error = wallet.rebalance(&move_it).await.unwrap_err();
        assert!(
            matches!(error, PayError::Refused(Refusal::SamePeer(peer)) if peer == node(7)),
            "{error}"
        );
    }
    move_it.into = ChannelId([1; 32]);
    let error = wallet.rebalance(&move_it).await.unwrap_err();
    assert!(
        matches!(error, PayError::Refused(Refusal::UnknownChannel(_))),
        "{error}"
    );
    move_it.payment = request(invoice(7, Some(5_000)));
    let error = wallet.rebalance(&move_it).await.unwrap_err();
    assert!(
        matches!(error, PayError::Refused(Refusal::NotOurOwn)),
        "{error}"
    );
    let asked = fake.calls();
    let asked = asked.iter().filter(|call| call.path == path::SEND_PAYMENT);
    assert_eq!(asked.count(), 1, "what was refused was not handed over");
}
