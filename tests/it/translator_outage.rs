//! hh-translator without its pool, and miners without their hh-translator: nobody is told what is not so, and nothing counts twice.

use crate::crash::check_ledger;
use crate::sv1_load::{Crew, Sv1Load, Told, easy_network};
use hh_ipc::api::translator::TranslatorStatus;
use hh_ipc::client::within;
use hh_mining::BlockHash;
use hh_tests::daemon::Daemon;
use hh_tests::network::{CALL, Network};
use hh_tests::wait::wait_until;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::Duration;

/// Miners of 50 shares a second each: together 400, so that shares tell the time.
const CREW: Crew = Crew {
    miners: 8,
    pause: Duration::from_millis(20),
};

const SHARES_A_SECOND: u64 = 400;

/// Told of a share that was forwarded, and that no pool will ever settle.
const LOST: &str = "lost before it settled the share";

/// Told of a share that was not forwarded, for there is no pool.
const NOT_SENT: &str = "the share was not sent";

/// Told of a share for work of the block before, or of the pool before.
const OLD_WORK: &str = "21: ";

const DEADLINE: Duration = Duration::from_secs(60);

async fn status(translator: &Daemon) -> TranslatorStatus {
    let status = translator.translator().await.status(within(CALL)).await;
    status.expect("hh-translator answers")
}

/// Stops the pool where it stands, once every miner mines, and until shares are on their way.
async fn hold_pool(network: &Network, translator: &Daemon) {
    wait_until("every miner mines", DEADLINE, async || {
        let miners = status(translator).await.miners;
        let mining = miners.iter().filter(|miner| miner.shares.accepted > 0);
        mining.count() == CREW.miners
    })
    .await;
    network.pool.process().signal(Signal::STOP);
    wait_until("shares wait for the pool", DEADLINE, async || {
        status(translator).await.shares_in_flight >= CREW.miners as u64
    })
    .await;
}

/// How long the pool is gone, in shares that are refused meanwhile: 20 seconds, or five minutes.
fn outage_shares() -> u64 {
    let seconds = if hh_tests::all() { 300 } else { 20 };
    seconds * SHARES_A_SECOND
}

fn ids(status: &TranslatorStatus) -> BTreeSet<u64> {
    status.miners.iter().map(|miner| miner.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_gone_for_a_while_costs_no_miner_its_connection_and_no_accepted_share() {
    let mut network = easy_network().await;
    let (translator, address) = network.start_translator().await;
    let load = Sv1Load::start(address, CREW);
    load.wait_for_accepted(5 * SHARES_A_SECOND).await;
    let before = ids(&status(&translator).await);
    assert_eq!(before.len(), CREW.miners);

    hold_pool(&network, &translator).await;
    network.pool.kill();
    load.wait_for_refused(outage_shares()).await;
    let away = status(&translator).await;
    assert_eq!(ids(&away), before, "the same connections as before");
    assert_eq!(away.shares_in_flight, 0, "nothing hangs");

    network.pool.restart();
    network.pool.wait_until_ready().await;
    load.wait_for_accepted(5 * SHARES_A_SECOND).await;
    let after = status(&translator).await;
    assert_eq!(ids(&after), before, "the same connections as before");

    let told = load.end().await;
    assert_eq!(told.sessions, CREW.miners, "nobody had to connect again");
    assert_eq!(told.in_flight, [], "every share has an answer");
    check_counts(&status(&translator).await, &told);
    network.wait_until_shipped().await;
    let may_be_there = [told.refused_for(LOST), told.refused_for(OLD_WORK)].concat();
    check_ledger(&network.ledger(), &told.accepted, &may_be_there).await;
}

/// What hh-translator has counted is what its miners were told.
fn check_counts(status: &TranslatorStatus, told: &Told) {
    let lost = told.refused_for(LOST).len();
    let not_sent = told.refused_for(NOT_SENT).len();
    let old_work = told.refused_for(OLD_WORK).len();
    crate::say(&format!(
        "{} shares accepted, {lost} lost on their way, {not_sent} not sent, {old_work} on old work; slowest answer {:?}",
        told.accepted.len(),
        told.slowest
    ));
    assert!(
        lost >= CREW.miners,
        "the pool went with shares on their way"
    );
    assert_eq!(
        lost + not_sent + old_work,
        told.refused.len(),
        "for another reason: {:?}",
        told.refused
    );
    let count = |count: usize| u64::try_from(count).expect("a count");
    assert_eq!(status.shares.accepted, count(told.accepted.len()));
    assert_eq!(status.shares_unsettled, count(lost));
    let refused = status.shares.rejected.get("no-upstream").copied();
    assert_eq!(refused, Some(count(not_sent)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_of_the_translator_miners_come_back_and_no_share_is_credited_twice() {
    let rounds = if hh_tests::all() { 20 } else { 3 };
    let network = easy_network().await;
    let (mut translator, address) = network.start_translator().await;
    let load = Sv1Load::start(address, CREW);
    for _ in 0..rounds {
        load.wait_for_accepted(SHARES_A_SECOND).await;
        // The pool takes what is on its way to it after the translator has died, and the miners send it once more.
        hold_pool(&network, &translator).await;
        translator.kill();
        network.pool.process().signal(Signal::CONT);
        translator.restart();
        translator.wait_until_ready().await;
    }
    load.wait_for_accepted(SHARES_A_SECOND).await;
    let told = load.end().await;
    assert_eq!(told.sessions, CREW.miners * (rounds + 1));
    assert!(told.in_flight.len() >= CREW.miners * rounds);
    network.wait_until_shipped().await;
    let ledger = network.ledger();
    let may_be_there: Vec<BlockHash> = [&told.in_flight[..], &told.refused_for(OLD_WORK)].concat();
    check_ledger(&ledger, &told.accepted, &may_be_there).await;
    let mut credited = 0;
    for hash in &told.in_flight {
        let rows = ledger.shares_by_hash(*hash).await;
        credited += rows.expect("the ledger can be read").len();
    }
    crate::say(&format!(
        "{} shares accepted; of {} cut off at a kill the pool has {credited}",
        told.accepted.len(),
        told.in_flight.len()
    ));
    assert!(
        credited > 0,
        "the pool took none after the translator was dead"
    );
}
