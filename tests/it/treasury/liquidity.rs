//! What a treasury says of its channels: what a payout waits for that they can't carry, what can't be moved between them, what closing
//! one costs.

use super::world::World;
use hh_ipc::api::treasury::{
    Channel, ChannelCloseRequest, PayoutState, RebalanceRequest, TreasuryClient,
};
use hh_ipc::client::within;
use hh_tests::network::CALL;
use hh_tests::treasury::DEADLINE;
use hh_tests::wait::wait_for;

/// More than the peer takes of the channel at once, which is a tenth, and less than is ours in it.
const TOO_MUCH_MSAT: u64 = 1_500_000_000;

const CONFIG: &str = "[payouts]\nmax_payout_sat = 3000000\napproval_above_sat = 3000000\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_that_no_channel_carries_says_what_it_waits_for_and_goes_on_with_another_channel()
{
    let world = World::with_dues_and(async |_, _| CONFIG.to_owned()).await;
    let client = world.treasury.client().await;
    let payout = world.submit(&client, TOO_MUCH_MSAT).await;
    let waiting = wait_for("the payout says what it waits for", DEADLINE, async || {
        let payout = client.payout(within(CALL), payout).await.ok()?.ok()?.payout;
        assert_eq!(payout.state, PayoutState::Queued, "{payout:?}");
        payout.waiting_for
    })
    .await;
    assert!(waiting.contains("hhctl ln channel open"), "{waiting}");
    assert!(waiting.contains("less than its 1500000"), "{waiting}");
    limits_count_it(&client).await;

    let channels = client.channels(within(CALL)).await.unwrap().unwrap();
    rebalance_is_refused_with_a_way_out(&client, &channels[0]).await;
    a_close_by_force_names_its_cost(&client, &channels[0]).await;

    world.open_channel(&client).await;
    let paid = world.treasury.wait_until_settled(payout).await;
    assert_eq!((paid.amount_msat, paid.waiting_for), (TOO_MUCH_MSAT, None));
}

async fn limits_count_it(client: &TreasuryClient) {
    let limits = client.limits(within(CALL)).await.unwrap().unwrap();
    let max_fee_msat = limits.max_fee_base_msat + TOO_MUCH_MSAT / 1_000_000 * 5_000;
    assert_eq!(limits.used_day_msat, TOO_MUCH_MSAT + max_fee_msat);
    let left = limits.max_day_msat - limits.used_day_msat;
    assert_eq!(limits.left_day_msat, left);
    assert!(limits.day_frees_at.is_some(), "{limits:?}");
}

/// The embedded node can't pay itself.
async fn rebalance_is_refused_with_a_way_out(client: &TreasuryClient, channel: &Channel) {
    for dry_run in [true, false] {
        let request = RebalanceRequest {
            request_id: "r-1".to_owned(),
            from: channel.id.clone(),
            to: channel.id.clone(),
            amount_msat: 1_000_000,
            max_fee_ppm: 100,
            dry_run,
        };
        let refused = client.rebalance(within(CALL), request).await.unwrap();
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, "HH4022", "{refused:?}");
        let message = &refused.message;
        assert!(message.contains("it can't pay itself"), "{message}");
        assert!(message.contains("`hhctl ln channel open`"), "{message}");
    }
}

async fn a_close_by_force_names_its_cost(client: &TreasuryClient, channel: &Channel) {
    let request = ChannelCloseRequest {
        id: channel.id.clone(),
        is_forced: true,
        dry_run: true,
    };
    let planned = client.close_channel(within(CALL), request).await.unwrap();
    let planned = planned.unwrap();
    let close = planned.force_close.expect("it was asked about");
    assert!(
        close.delay_blocks.is_some_and(|blocks| blocks > 0),
        "{close:?}"
    );
    assert!(
        close.commitment_fee_msat > 0 && close.sweep_fee_msat > 0,
        "{close:?}"
    );
    let fees = close.bump_fee_msat + close.sweep_fee_msat + close.htlc_fee_msat;
    let cost = Some(close.commitment_fee_msat + fees);
    assert_eq!(planned.cost_msat, cost);
    let ours = channel.local_msat - close.commitment_fee_msat;
    assert!(close.returned_msat <= ours, "{close:?}");
    let channels = client.channels(within(CALL)).await.unwrap().unwrap();
    assert_eq!(channels.len(), 1, "nothing was closed");
}
