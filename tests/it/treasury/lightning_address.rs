//! A miner whose account is a Lightning address is paid there by the rules, without anybody's doing.

use super::world::World;
use hh_ipc::api::treasury::{PayoutQuery, PayoutState};
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::lightning_address::{DOMAIN, LightningAddresses};
use hh_tests::network::{CALL, Network};
use hh_tests::treasury::{DEADLINE, NodeWallet};
use hh_tests::wait::wait_for;

/// The most that one payout has, by default.
const MAX_PAYOUT_MSAT: u64 = 1_000_000_000;

async fn server(_: &Network, wallet: &NodeWallet) -> String {
    let addresses = LightningAddresses::start(wallet.wallet.clone()).await;
    addresses.config()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_is_paid_to_his_lightning_address_by_the_rules() {
    let world = World::start_with(Chain::Regtest, server).await;
    let account = format!("carol@{DOMAIN}");
    let hash = world.find_block_as(&format!("{account}/rig")).await;
    let client = world.treasury.client().await;
    world.mature(hash).await;
    world.open_channel(&client).await;
    let query = PayoutQuery {
        payee: Some(format!("miner:{account}")),
        ..PayoutQuery::default()
    };
    let paid = wait_for("the miner is paid", DEADLINE, async || {
        let page = client
            .payouts(within(CALL), query.clone())
            .await
            .ok()?
            .ok()?;
        let mut payouts = page.payouts.into_iter();
        payouts.find(|payout| payout.state == PayoutState::Settled)
    })
    .await;
    assert_eq!(paid.amount_msat, MAX_PAYOUT_MSAT);
    assert_eq!(paid.destination, account);
    assert_eq!(world.received(MAX_PAYOUT_MSAT), 1);
}
