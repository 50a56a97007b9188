//! hh-treasury finds its books as they were some payments ago: it pays nothing, finds out what it can from its wallet, and names the
//! rest.

use super::world::World;
use hh_ipc::api::treasury::{PayoutState, TreasuryClient};
use hh_ipc::client::within;
use hh_tests::network::CALL;
use hh_tests::treasury::DEADLINE;
use hh_tests::wait::{wait_for, wait_until};
use std::fs;
use std::path::{Path, PathBuf};

/// Payouts in msat, each of another amount so that no payment passes for another's.
const PREPARED_MSAT: u64 = 20_000_000;
const FORGOTTEN_MSAT: u64 = 21_000_000;
const LATER_MSAT: u64 = 22_000_000;

/// The books' files, of which the last two need not be there.
const FILES: [&str; 3] = ["treasury.db", "treasury.db-wal", "treasury.db-shm"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in FILES {
        match fs::read(from.join(name)) {
            Ok(bytes) => fs::write(to.join(name), bytes).unwrap(),
            Err(_) => drop(fs::remove_file(to.join(name))),
        }
    }
}

async fn state_of(client: &TreasuryClient, payout: u64) -> Option<PayoutState> {
    let detail = client.payout(within(CALL), payout).await.ok()?.ok()?;
    Some(detail.payout.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_from_before_a_payout_pay_nothing_twice() {
    let mut world = World::with_dues().await;
    let books: PathBuf = world.network.dir().join("treasury");
    let backup = world.network.dir().join("backup");

    // The copy has a payout that is prepared, and knows nothing of what was sent.
    world.treasury.daemon.terminate();
    let variable = ("HH_TREASURY_CRASH_AT", "attempt.prepared");
    world.treasury.daemon.restart_with(&[variable]);
    world.treasury.daemon.wait_until_ready().await;
    let client = world.treasury.client().await;
    world.wait_for_channel(&client).await;
    let invoice = world.wallet.invoice(PREPARED_MSAT).await;
    world.submit_or_die(&client, invoice).await;
    world.treasury.daemon.wait_for_exit();
    copy(&books, &backup);

    // It is sent, and another one after it.
    world.treasury.daemon.restart();
    world.treasury.daemon.wait_until_ready().await;
    let client = world.treasury.client().await;
    let prepared = world.newest_payout(&client).await;
    world.treasury.wait_until_settled(prepared).await;
    let forgotten = world.submit(&client, FORGOTTEN_MSAT).await;
    let forgotten = world.treasury.wait_until_settled(forgotten).await;

    // The copy takes the place of the books.
    world.treasury.daemon.terminate();
    copy(&backup, &books);
    world.treasury.daemon.restart();
    world.treasury.daemon.wait_until_ready().await;
    let client = world.treasury.client().await;
    let status = client.status(within(CALL)).await.unwrap();
    let freeze = status.freeze.expect("payouts are frozen");
    assert!(freeze.reason.starts_with("restored"), "{freeze:?}");

    // What it had prepared its wallet has paid; of the other one it knows the wallet's word only.
    wait_until("the wallet's word is in the books", DEADLINE, async || {
        state_of(&client, prepared).await == Some(PayoutState::Settled)
    })
    .await;
    let unmatched = wait_for("the other payment is named", DEADLINE, async || {
        let report = client.reconcile(within(CALL)).await.ok()?.ok()?;
        assert!(report.is_required);
        (report.open_attempts == 0).then_some(report.unmatched)
    })
    .await;
    let hashes: Vec<_> = unmatched
        .iter()
        .map(|payment| &payment.payment_hash)
        .collect();
    assert_eq!(hashes, [&forgotten.payment_hash.expect("it was paid")]);

    // Nothing is sent while that is so.
    let refused = world
        .hand_in(&client, LATER_MSAT)
        .await
        .expect_err("payouts are frozen");
    assert!(refused.message.contains("frozen"), "{refused:?}");
    let received = [PREPARED_MSAT, FORGOTTEN_MSAT, LATER_MSAT].map(|msat| world.received(msat));
    assert_eq!(received, [1, 1, 0]);
}
