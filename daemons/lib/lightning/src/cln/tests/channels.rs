//! What Core Lightning has in channels, and how they close.

use super::*;

#[tokio::test]
async fn a_channel_and_the_money_are_counted_once() {
    let (fake, wallet) = start().await;
    let mut closing = channel();
    closing["state"] = json!("AWAITING_UNILATERAL");
    closing["channel_id"] = json!("02".repeat(32));
    fake.channels(&[with_htlc(channel()), closing]);
    let output = |sats: u64, status: &str, reserved: bool| {
        json!({
            "txid": CHANNEL, "output": sats, "amount_msat": sats * 1_000, "scriptpubkey": "0014",
            "status": status, "reserved": reserved,
        })
    };
    // Of what is reserved, one is spent already; the other one an operator has put aside.
    let spent = vec![(CHANNEL.to_owned(), 60_000)];
    let transaction = transaction(&"03".repeat(32), 0, &spent, &[8_000]);
    fake.transactions(&[transaction]);
    let funds = json!({ "channels": [], "outputs": [
        output(500_000, "confirmed", false), output(70_000, "confirmed", true), output(60_000, "confirmed", true),
        output(8_000, "unconfirmed", false), output(900, "immature", false),
        output(11, "spent", false),
    ] });
    fake.always("listfunds", Reply::Result(funds));
    let channels = wallet.channels().await.unwrap();
    assert_eq!(channels.len(), 2);
    assert_eq!(channels[0].local, Msat(600_000_000 - 5_007));
    assert_eq!(channels[0].on_close, Msat(598_000_000 - 5_007));
    assert_eq!(channels[0].remote, Msat(400_000_000));
    // A tenth of it at once, of which a part is on its way.
    assert_eq!(channels[0].spendable, Msat(100_000_000 - 5_007));
    assert_eq!(channels[0].pending_htlcs.len(), 1);
    assert_eq!(channels[1].state, ChannelState::Closing);
    let balances = wallet.balances().await.unwrap();
    assert_eq!(balances.onchain_total, Amount::from_sat(578_900));
    assert_eq!(balances.onchain_spendable, Amount::from_sat(475_000));
    assert_eq!(balances.onchain_change, Amount::from_sat(8_000));
    assert_eq!(balances.onchain_immature, Amount::from_sat(900));
    assert_eq!(balances.anchor_reserve, Amount::from_sat(25_000));
    assert_eq!(balances.in_channels, Msat(600_000_000 - 5_007));
    assert_eq!(balances.closing.len(), 1);
    assert_eq!(balances.closing[0].amount, Amount::from_sat(598_000));
}

#[tokio::test]
async fn what_a_close_by_force_locks_is_counted_until_it_is_fetched() {
    let (fake, wallet) = start().await;
    let close = "04".repeat(32);
    let mut closing = channel();
    closing["state"] = json!("ONCHAIN");
    closing["scratch_txid"] = json!(close);
    closing["our_to_self_delay"] = json!(144);
    fake.channels(&[closing]);
    let funds = json!({ "channels": [], "outputs": [] });
    fake.always("listfunds", Reply::Result(funds));
    // Two anchors, the peer's side, and ours after the fee and the anchors.
    let funding = vec![(CHANNEL.to_owned(), 1)];
    let closed = transaction(&close, 500, &funding, &[330, 330, 400_000, 597_340]);
    let anchor = transaction(&"05".repeat(32), 500, &[(close.clone(), 0)], &[9]);
    fake.transactions(&[closed.clone(), anchor]);
    let balances = wallet.balances().await.unwrap();
    let [locked] = balances.closing[..] else {
        panic!("{balances:?}");
    };
    assert_eq!(locked.amount, Amount::from_sat(597_340));
    assert_eq!(locked.from_height, Some(644));
    let fetched = transaction(&"06".repeat(32), 0, &[(close, 3)], &[597_000]);
    fake.transactions(&[closed, fetched]);
    let balances = wallet.balances().await.unwrap();
    assert!(balances.closing.is_empty(), "{balances:?}");
    // A close of the peer's: lightningd has listed what is ours of it.
    let others = transaction(
        &"07".repeat(32),
        500,
        &funding,
        &[330, 330, 400_000, 597_340],
    );
    fake.transactions(&[others]);
    let balances = wallet.balances().await.unwrap();
    assert!(balances.closing.is_empty(), "{balances:?}");
}

#[tokio::test]
async fn what_both_have_signed_to_close_is_counted_once() {
    let (fake, wallet) = start().await;
    let close = "04".repeat(32);
    let mut closing = channel();
    closing["state"] = json!("CLOSINGD_COMPLETE");
    closing["scratch_txid"] = json!(close);
    fake.channels(std::slice::from_ref(&closing));
    let funds = json!({ "channels": [], "outputs": [{
        "txid": close, "output": 0, "amount_msat": 599_000_000, "scriptpubkey": "5120",
        "status": "unconfirmed", "reserved": false,
    }] });
    fake.always("listfunds", Reply::Result(funds));
    let balances = wallet.balances().await.unwrap();
    assert_eq!(balances.onchain_total, Amount::from_sat(599_000));
    assert!(balances.closing.is_empty(), "{balances:?}");
    // Before that, it is on its way.
    closing["state"] = json!("CHANNELD_SHUTTING_DOWN");
    fake.channels(&[closing]);
    let nothing = json!({ "channels": [], "outputs": [] });
    fake.always("listfunds", Reply::Result(nothing));
    let balances = wallet.balances().await.unwrap();
    assert_eq!(balances.closing[0].amount, Amount::from_sat(598_000));
}

#[tokio::test]
async fn a_close_that_waits_for_the_peer_is_begun() {
    let (fake, wallet) = start().await;
    fake.always("close", Reply::Never);
    let request = CloseChannel {
        id: CHANNEL.parse().unwrap(),
        force: false,
    };
    let error = wallet.close_channel(&request).await.unwrap_err();
    assert!(matches!(error, WalletError::Call { .. }), "{error}");
    let mut closing = channel();
    closing["state"] = json!("CHANNELD_SHUTTING_DOWN");
    fake.channels(&[closing]);
    wallet.close_channel(&request).await.unwrap();
}

#[tokio::test]
async fn only_a_channel_that_there_is_is_closed() {
    let (fake, wallet) = start().await;
    fake.always("close", Reply::Result(json!({ "type": "mutual" })));
    let mut request = CloseChannel {
        id: ChannelId([7; 32]),
        force: false,
    };
    let error = wallet.close_channel(&request).await.unwrap_err();
    assert!(
        matches!(error, WalletError::UnknownChannel { .. }),
        "{error}"
    );
    assert!(!fake.was_called("close"));
    request.id = CHANNEL.parse().unwrap();
    wallet.close_channel(&request).await.unwrap();
    let sent = fake.last("close");
    assert_eq!(
        (&sent["id"], &sent["unilateraltimeout"]),
        (&json!(CHANNEL), &json!(0))
    );
}
