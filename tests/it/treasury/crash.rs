//! hh-treasury dies at every step of a payout, as in a power cut, and nothing is paid twice or lost.

use super::world::World;
use hh_ipc::api::treasury::{ChannelState, Payout, PayoutState, TreasuryClient};
use hh_ipc::client::within;
use hh_tests::network::CALL;
use hh_tests::wait::wait_for;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// Where it dies: before and after each commit and each call of a payout that goes well.
const POINTS: [&str; 10] = [
    "payout.resolving",
    "attempt.prepare.before",
    "attempt.prepared",
    "attempt.dispatch.before",
    "attempt.dispatched",
    "attempt.pay.after",
    "attempt.in_flight",
    "attempt.looked_up",
    "attempt.settle.before",
    "attempt.settled",
];

/// Rounds in `scripts/test` and in `--all`.
const ROUNDS: usize = 20;
const ROUNDS_OF_ALL: usize = 200;

/// Of a payout in satoshi; each round has another amount, so that no payment passes for another's.
const AMOUNT_SAT: u64 = 20_000;

/// Until a wallet may say that it has never sent a payment it has to run for a minute; a channel that it closes by force takes
/// hundreds of blocks, of which each takes a second or two.
const RESOLVED: Duration = Duration::from_secs(600);

/// In this round a reorganisation takes away the blocks of its payment.
const ROUND_OF_REORG: usize = 3;

/// Blocks that it takes away: fewer than a channel's funding lies deep.
const REORG_DEPTH: u32 = 3;

fn is_there(state: ChannelState) -> bool {
    use ChannelState::{Offline, Opening, Usable};
    matches!(state, Usable | Offline | Opening)
}

/// A payout that is over, one way or the other. While no channel can be used one is being closed by force, and ends with the blocks
/// that its timelocks count.
async fn wait_until_over(world: &World, client: &TreasuryClient, payout: u64) -> Payout {
    wait_for("the payout is over", RESOLVED, async || {
        let detail = client.payout(within(CALL), payout).await.ok()?.ok()?;
        let state = detail.payout.state;
        if matches!(state, PayoutState::Settled | PayoutState::Cancelled) {
            return Some(detail.payout);
        }
        let channels = client.channels(within(CALL)).await.ok()?.ok()?;
        // One that was closed by force is a channel no more.
        if !channels.iter().any(|channel| is_there(channel.state)) {
            world.advance(client).await;
        }
        None
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_that_is_killed_at_any_step_is_paid_once_or_given_back() {
    let mut world = World::with_dues().await;
    let rounds = if hh_tests::all() {
        ROUNDS_OF_ALL
    } else {
        ROUNDS
    };
    let mut paid_msat = 0;
    for round in 0..rounds {
        let point = POINTS[round % POINTS.len()];
        let variable = ("HH_TREASURY_CRASH_AT", point);
        world.treasury.daemon.terminate();
        world.treasury.daemon.restart_with(&[variable]);
        world.treasury.daemon.wait_until_ready().await;
        let client = world.treasury.client().await;
        world.wait_for_channel(&client).await;
        let msat = (AMOUNT_SAT + round as u64) * 1_000;
        // Where it dies before it answers, the payout is in the books all the same.
        let submitted = world.submit_or_die(&client, msat).await;
        let status = world.treasury.daemon.wait_for_exit();
        assert_eq!(status.signal(), Some(6), "{point}: {status}");

        world.treasury.daemon.restart();
        world.treasury.daemon.wait_until_ready().await;
        let client = world.treasury.client().await;
        let payout = match submitted {
            Some(payout) => payout,
            None => world.newest_payout(&client).await,
        };
        if round == ROUND_OF_REORG {
            world.reorganise(REORG_DEPTH);
        }
        let over = wait_until_over(&world, &client, payout).await;
        assert_eq!(over.amount_msat, msat, "{point}");
        let received = world.received(msat);
        if over.state == PayoutState::Settled {
            paid_msat += msat;
            assert_eq!(received, 1, "{point}: {over:?}");
        } else {
            assert_eq!(received, 0, "{point}: {over:?}");
        }
        let verified = client.verify(within(CALL)).await.unwrap().unwrap();
        assert!(verified.is_solvent, "{point}: {verified:?}");
        let booked = u64::try_from(verified.totals.paid_msat).unwrap();
        assert_eq!(booked, paid_msat, "{point}");
    }
    assert!(paid_msat > 0);
    world.wait_until_books_balance().await;
}
