//! Money end to end: from a found block with fees to payments over a real channel, and every msat of it accounted for.

mod address_account;
mod approvals;
mod crash;
mod drawing;
mod hostile;
mod kept_edge;
mod latency;
mod lightning_address;
mod liquidity;
mod node_dues;
mod operators;
mod reorg;
mod restore;
mod solvency;
mod withdrawal;
mod world;

use crate::operator::hhctl;
use hh_ipc::api::treasury::PayoutState;
use hh_ipc::client::within;
use hh_mining::BlockReport;
use hh_tests::network::CALL;
use world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_with_fees_is_split_matures_and_is_paid_over_a_channel_to_the_msat() {
    let world = World::start("[payouts]\ninterval_seconds = 3600\n").await;
    world.mine_through_node(5).await;
    let hash = world.find_block().await;
    let (treasury, client) = (&world.treasury, world.treasury.client().await);

    // Split: the subsidy by work, the fees to the finder.
    let split =
        treasury.wait_for_block("the block is split", hash, |block| block.split_at.is_some());
    let split = split.await;
    assert_eq!(split.fees_msat, 7_000_000, "{split:?}");
    assert_eq!(split.finder.as_deref(), Some("alice"));
    let report = client.report(within(CALL), split.hash.clone()).await;
    let report = report.unwrap().unwrap();
    let parsed = BlockReport::parse(report.report.as_bytes()).unwrap();
    assert_eq!(parsed.value_msat.0, split.value_msat);
    let node = &parsed.nodes[0];
    assert_eq!(node.node, "berlin");
    let verified = hhctl(
        &world.network,
        &format!("block verify {} --ledger", split.hash),
    );
    assert_eq!(verified["item"]["block"], split.hash, "{verified}");
    let entries = verified["item"]["ledger_entries"].as_u64();
    assert!(entries.unwrap() > 1, "{verified}");
    let proof = hhctl(
        &world.network,
        &format!("account proof alice {}", split.hash),
    );
    assert!(
        proof["item"]["amount_msat"].as_u64().unwrap() > split.fees_msat,
        "{proof}"
    );

    // Mature.
    world.network.node.generate(100);
    treasury.wait_until_payable(hash).await;
    let owed = client.account(within(CALL), "node:berlin".to_owned()).await;
    let owed = owed.unwrap().unwrap().payable_msat;
    assert_eq!(owed, i64::try_from(node.amount_msat.0).unwrap());

    // Paid.
    world.open_channel(&client).await;
    let dues = 900_000_123;
    let payout = world.submit(&client, dues).await;
    let paid = treasury.wait_until_settled(payout).await;
    assert_eq!(paid.amount_msat, dues);
    let preimage = hex::decode(paid.preimage.unwrap()).unwrap();
    let hash = bitcoin::hashes::Hash::hash(&preimage);
    let hash: bitcoin::hashes::sha256::Hash = hash;
    assert_eq!(hash.to_string(), paid.payment_hash.expect("it was paid"));
    let states = client.payout(within(CALL), payout).await.unwrap().unwrap();
    assert_eq!(states.attempts.len(), 1);
    assert_eq!(states.payout.state, PayoutState::Settled);

    // Every msat.
    let totals = world.wait_until_books_balance().await;
    assert_eq!(totals.paid_msat, i64::try_from(dues).unwrap());
    assert!(
        totals.fees_msat > 0,
        "opening a channel cost something: {totals:?}"
    );
    assert_eq!(
        (totals.suspense_msat, totals.loss_msat),
        (0, 0),
        "{totals:?}"
    );
}
