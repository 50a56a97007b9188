//! A miner whose account is a Lightning address is paid there by the rules, without anybody's doing.

use super::world::World;
use hh_ipc::api::treasury::{PayoutQuery, PayoutState};
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::lightning_address::{DOMAIN, certificate, serve};
use hh_tests::network::CALL;
use hh_tests::treasury::{DEADLINE, NodeWallet};
use hh_tests::wait::wait_for;

/// The most that one payout has, by default.
const MAX_PAYOUT_MSAT: u64 = 1_000_000_000;

async fn server(wallet: &NodeWallet) -> String {
    let address = serve(wallet.wallet.clone()).await;
    let certificate = certificate().display().to_string();
    format!(
        "[[lightning_address_servers]]\ndomain = \"{DOMAIN}\"\naddress = \"{address}\"\nroot_certificates = \"{certificate}\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_is_paid_to_his_lightning_address_by_the_rules() {
    let world = World::start_with(Chain::Regtest, server).await;
    let account = format!("carol@{DOMAIN}");
    let hash = world.find_block_as(&format!("{account}/rig")).await;
    let (treasury, client) = (&world.treasury, world.treasury.client().await);
    let is_split = |block: &hh_ipc::api::treasury::RewardBlock| block.split_at.is_some();
    treasury
        .wait_for_block("the block is split", hash, is_split)
        .await;
    world.network.node.generate(100);
    treasury.wait_until_payable(hash).await;
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
