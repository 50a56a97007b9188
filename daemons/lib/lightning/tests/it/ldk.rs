//! Two embedded nodes and a channel between them.

use std::time::Duration;

use bitcoin::Amount;
use hh_daemon::Tasks;
use hh_lightning::ldk::{LdkWallet, StartError};
use hh_lightning::{
    Absence, Backend, ChannelId, CloseChannel, Dispatch, Doubt, Event, Lookup, OutgoingState,
    PayError, PaymentHash, Refusal, SendOnChain, WalletError,
};
use hh_mining::Msat;
use tokio::task::JoinSet;

use crate::node::{Node, pay_request, wait_for_event};
use crate::regtest::{Regtest, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_settles_is_looked_up_and_counted() {
    let chain = Regtest::start().await;
    let alice = Node::start("alice", &chain).await;
    let bob = Node::start("bob", &chain).await;
    let mut news = alice.wallet.events().unwrap();
    let second = alice.wallet.events().unwrap_err();
    assert!(matches!(second, WalletError::EventsTaken(Backend::Ldk)));
    alice.fund(&chain).await;
    let funded = alice.wallet.balances().await.unwrap();
    assert_eq!(funded.onchain_total, Amount::from_sat(50 * 100_000_000));
    // With money for the reserve on both sides the channel has anchors.
    bob.fund(&chain).await;
    alice.wait_until_synced(&chain).await;
    let id = alice.open(&bob, 1_000_000, &chain).await;

    let before = alice.channel(id).await.unwrap();
    assert_eq!(before.capacity, Msat(1_000_000_000));
    assert!(before.is_ours && before.is_public && before.pending_htlcs.is_empty());
    let invoice = bob.invoice(Msat(87_654_321)).await;
    let request = pay_request(invoice);
    let dispatch = alice.dispatch(&request).await;
    let found = alice.wallet.lookup(&dispatch).await.unwrap();
    assert!(matches!(found, Lookup::Absent(Absence::Unclear(_))));
    alice.wallet.pay(&request).await.unwrap();
    let told = wait_for_event(&mut news, "the payment is settled", |event| match event {
        Event::PaymentSettled {
            hash,
            preimage,
            fee,
        } => Some((*hash, *preimage, *fee)),
        _ => None,
    })
    .await;
    assert_eq!((told.0, told.2), (dispatch.hash, Some(Msat::ZERO)));
    let settled = Lookup::Settled {
        preimage: told.1,
        fee: Some(Msat::ZERO),
    };
    assert_eq!(alice.outcome(&dispatch).await, settled);

    let paid = Msat(87_654_321);
    wait_for("the channel has the new balance", async || {
        let now = alice.channel(id).await.unwrap();
        (before.local.checked_sub(now.local) == Some(paid)).then_some(())
    })
    .await;
    let history = alice.wallet.outgoing_payments(None).await.unwrap();
    assert_eq!((history.payments.len(), history.next), (1, None));
    assert_eq!(history.payments[0].hash, dispatch.hash);
    assert_eq!(history.payments[0].amount, Some(paid));
    assert_eq!(history.payments[0].state, OutgoingState::Settled(told.1));
    let balances = alice.wallet.balances().await.unwrap();
    let channel = alice.channel(id).await.unwrap();
    assert_eq!(balances.in_channels, channel.local);
    assert!(balances.in_channels_free < balances.in_channels);
    assert_eq!(balances.anchor_reserve, Amount::from_sat(25_000));

    let again = alice.wallet.pay(&request).await.unwrap_err();
    assert!(matches!(again, PayError::Unknown { .. }), "{again}");
    let own = alice.invoice(Msat(1_000)).await;
    let refused = alice.wallet.pay(&pay_request(own)).await.unwrap_err();
    assert!(matches!(refused, PayError::Refused(Refusal::OurOwn)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_has_no_way_fails_for_good() {
    let chain = Regtest::start().await;
    let alice = Node::start("alice", &chain).await;
    let bob = Node::start("bob", &chain).await;
    let request = pay_request(bob.invoice(Msat(1_000_000)).await);
    let dispatch = alice.dispatch(&request).await;
    let error = alice.wallet.pay(&request).await.unwrap_err();
    assert!(matches!(error, PayError::Unknown { .. }), "{error}");
    let found = alice.outcome(&dispatch).await;
    assert!(matches!(found, Lookup::Failed { .. }), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_wallets_payment_is_not_looked_for_here() {
    let chain = Regtest::start().await;
    let alice = Node::start("alice", &chain).await;
    let bob = Node::start("bob", &chain).await;
    let mut dispatch = alice
        .dispatch(&pay_request(bob.invoice(Msat(1_000)).await))
        .await;
    dispatch.wallet = bob.wallet.info().await.unwrap().node_id;
    let error = alice.wallet.lookup(&dispatch).await.unwrap_err();
    assert!(matches!(error, WalletError::OtherWallet { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_channel_is_not_closed_and_a_known_one_is() {
    let chain = Regtest::start().await;
    let alice = Node::start("alice", &chain).await;
    let bob = Node::start("bob", &chain).await;
    let mut news = alice.wallet.events().unwrap();
    alice.fund(&chain).await;
    let id = alice.open(&bob, 200_000, &chain).await;
    let unknown = CloseChannel {
        id: ChannelId([7; 32]),
        force: false,
    };
    let error = alice.wallet.close_channel(&unknown).await.unwrap_err();
    assert!(
        matches!(error, WalletError::UnknownChannel { .. }),
        "{error}"
    );
    let before = alice.wallet.balances().await.unwrap();
    let known = CloseChannel { id, force: false };
    alice.wallet.close_channel(&known).await.unwrap();
    wait_for_event(&mut news, "the channel is closed", |event| match event {
        Event::ChannelClosed { id: closed, .. } => (*closed == id).then_some(()),
        _ => None,
    })
    .await;
    wait_for("all of it is back on the chain, once", async || {
        chain.generate(1);
        let now = alice.wallet.balances().await.unwrap();
        let back = now
            .onchain_spendable
            .checked_sub(before.onchain_spendable)?;
        (back > Amount::from_sat(190_000) && now.closing.is_empty()).then_some(())
    })
    .await;
    assert!(alice.wallet.channels().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn money_on_the_chain_is_sent_but_for_the_reserve() {
    let chain = Regtest::start().await;
    let alice = Node::start("alice", &chain).await;
    let bob = Node::start("bob", &chain).await;
    alice.fund(&chain).await;
    let mut request = SendOnChain {
        address: bob.wallet.new_address().await.unwrap(),
        amount: Amount::from_sat(50 * 100_000_000),
        fee_rate: None,
    };
    let error = alice.wallet.send_on_chain(&request).await.unwrap_err();
    assert!(matches!(error, PayError::Refused(_)), "{error}");
    request.amount = Amount::from_sat(1_000_000);
    let txid = alice.wallet.send_on_chain(&request).await.unwrap();
    wait_for("the transaction is in the mempool", async || {
        chain.is_in_mempool(txid).then_some(())
    })
    .await;
    chain.generate(1);
    wait_for("it has arrived", async || {
        let balances = bob.wallet.balances().await.unwrap();
        (balances.onchain_spendable == Amount::from_sat(1_000_000)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_has_one_wallet_at_a_time() {
    let chain = Regtest::start().await;
    let mut alice = Node::start("alice", &chain).await;
    let node_id = alice.wallet.info().await.unwrap().node_id;
    let second = LdkWallet::start(alice.config.clone(), &Tasks::default()).await;
    let error = second.unwrap_err();
    assert!(
        matches!(error, WalletError::Start(StartError::InUse { .. })),
        "{error}"
    );
    alice.stop().await;
    let stopped = alice.wallet.info().await.unwrap_err();
    assert!(matches!(stopped, WalletError::Stopped(Backend::Ldk)));
    alice.start_again().await;
    assert_eq!(alice.wallet.info().await.unwrap().node_id, node_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn bitcoin_core_may_start_again_with_another_cookie() {
    let mut chain = Regtest::start().await;
    let alice = Node::start("alice", &chain).await;
    let mut news = alice.wallet.events().unwrap();
    // Who waits for events holds nothing up, and goes on with the node that is there then.
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { news.next().await.map(|_| ()) });
    chain.restart().await;
    chain.generate(1);
    wait_for("the wallet follows the chain again", async || {
        let info = alice.wallet.info().await.ok()?;
        (info.is_synced && info.block_height == chain.height()).then_some(())
    })
    .await;
    alice.wallet.stop().await.unwrap();
    let end = waiting.join_next().await.unwrap().unwrap();
    assert!(matches!(end, Err(WalletError::Stopped(Backend::Ldk))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_without_its_bitcoin_core_does_not_start() {
    let mut chain = Regtest::start().await;
    let mut alice = Node::start("alice", &chain).await;
    alice.stop().await;
    chain.kill();
    let error = LdkWallet::start(alice.config.clone(), &Tasks::default())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            WalletError::Start(StartError::Bitcoind { .. } | StartError::Cookie { .. })
        ),
        "{error}"
    );
    assert!(!error.is_config());
    let mut elsewhere = alice.config.clone();
    elsewhere.network = bitcoin::Network::Signet;
    chain.restart_after_kill().await;
    let error = LdkWallet::start(elsewhere, &Tasks::default())
        .await
        .unwrap_err();
    assert!(error.is_config(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn absence_is_unclear_while_the_wallet_is_young() {
    let chain = Regtest::start().await;
    let alice = Node::start("alice", &chain).await;
    let dispatch = Dispatch {
        wallet: alice.wallet.info().await.unwrap().node_id,
        hash: PaymentHash([1; 32]),
        amount: Msat(1),
        at: std::time::SystemTime::now() - Duration::from_secs(3_600),
        timeout: Duration::from_secs(10),
        channels: Vec::new(),
    };
    let found = alice.wallet.lookup(&dispatch).await.unwrap();
    assert!(
        matches!(
            found,
            Lookup::Absent(Absence::Unclear(Doubt::JustStarted { .. }))
        ),
        "{found:?}"
    );
}
