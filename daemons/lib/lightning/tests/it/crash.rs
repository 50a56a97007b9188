//! The process with an embedded node dies in the middle of a payment: whatever is left, the payment is told truly.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hh_daemon::Tasks;
use hh_lightning::ldk::LdkWallet;
use hh_lightning::{Absence, ChannelId, Dispatch, Event, Events, Lookup, PaymentHash, Wallet};
use hh_mining::Msat;
use tokio::task::JoinSet;

use crate::node::{self, Node, pay_request};
use crate::regtest::{Regtest, wait_for};

/// Microseconds after the call at which the process dies: from before the node has taken the payment to after it is settled.
const DEATHS_US: [u64; 2] = [1_000, 150_000];
/// With `scripts/test --all`.
const MORE_DEATHS_US: [u64; 14] = [
    10_000, 25_000, 30_000, 35_000, 40_000, 45_000, 50_000, 55_000, 65_000, 75_000, 100_000,
    150_000, 200_000, 400_000,
];

/// The slowest end is that of a channel that is closed by force, on the chain.
const END: Duration = Duration::from_secs(300);

/// The child ends itself.
const SIGABRT: i32 = 6;

const ENV: &str = "HH_LIGHTNING_CHILD";

/// Ends with the process, or at once where it was not started by the test below.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_pays_and_dies() {
    let Ok(orders) = std::env::var(ENV) else {
        return;
    };
    let orders: Vec<&str> = orders.split(' ').collect();
    let [dir, url, cookie, port, invoice, after_us] = orders[..] else {
        panic!("not our orders: {orders:?}");
    };
    let config = node::config(
        "alice",
        url,
        &PathBuf::from(cookie),
        &PathBuf::from(dir),
        port.parse().unwrap(),
    );
    let wallet = LdkWallet::start(config, &Tasks::default()).await.unwrap();
    let wallet = Wallet::Ldk(wallet);
    wait_for("a channel can be used", async || {
        let channels = wallet.channels().await.unwrap();
        channels.iter().any(|c| c.is_usable).then_some(())
    })
    .await;
    let after = Duration::from_micros(after_us.parse().unwrap());
    let begun = Instant::now();
    std::thread::spawn(move || {
        while begun.elapsed() < after {
            std::hint::spin_loop();
        }
        std::process::abort();
    });
    let request = pay_request(invoice.parse().unwrap());
    drop(wallet.pay(&request).await);
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_told_truly_after_the_process_died_in_it() {
    let chain = Regtest::start().await;
    let mut alice = Node::start("alice", &chain).await;
    let bob = Node::start("bob", &chain).await;
    alice.fund(&chain).await;
    let arrived = Arc::new(Mutex::new(BTreeSet::new()));
    let mut collecting = JoinSet::new();
    collecting.spawn(collect(bob.wallet.events().unwrap(), Arc::clone(&arrived)));
    let mut paid = BTreeSet::new();
    let more = std::env::var_os("HH_TEST_ALL").map_or(&[][..], |_| &MORE_DEATHS_US[..]);
    for after_us in DEATHS_US.iter().chain(more) {
        let channel = match alice.wallet.channels().await.unwrap().as_slice() {
            [channel] => alice.wait_until_usable(channel.id).await.id,
            _ => alice.open(&bob, 1_000_000, &chain).await,
        };
        let amount = Msat(10_000_000 + after_us);
        let request = pay_request(bob.invoice(amount).await);
        let dispatch = alice.dispatch(&request).await;
        alice.stop().await;
        let status = pay_and_die(&alice, &chain, &request.invoice.to_string(), *after_us);
        assert_eq!(status.signal(), Some(SIGABRT), "{status}");
        alice.start_again().await;
        let found = conclude(&alice, &bob, &dispatch, &chain).await;
        println!("died after {after_us} us: {found:?}");
        if matches!(found, Lookup::Settled { .. }) {
            paid.insert(dispatch.hash);
        }
        wait_for_arrivals(&arrived, &paid).await;
        settle_the_chain(&alice, channel, &chain).await;
    }
    // What was told to have failed, or to have never been sent, has not arrived.
    assert_eq!(*arrived.lock().unwrap(), paid);
}

/// Starts a process that pays from alice's directory, and waits for its end.
fn pay_and_die(
    alice: &Node,
    chain: &Regtest,
    invoice: &str,
    after_us: u64,
) -> std::process::ExitStatus {
    let orders = [
        alice.dir().display().to_string(),
        chain.url(),
        chain.cookie_file().display().to_string(),
        alice.port().to_string(),
        invoice.to_owned(),
        after_us.to_string(),
    ];
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_that_pays_and_dies", "--nocapture"])
        .env(ENV, orders.join(" "))
        .stdout(Stdio::null())
        .status()
        .unwrap()
}

/// Until the wallet tells an end: by a lookup, or by an event, which is the only one to tell of a payment that has no record.
/// Where the crash has closed the channel, that is decided on the chain.
async fn conclude(alice: &Node, bob: &Node, dispatch: &Dispatch, chain: &Regtest) -> Lookup {
    let mut events = alice.wallet.events().unwrap();
    let mut told = None;
    let mut last = None;
    let mut mined = 0;
    let begun = Instant::now();
    while begun.elapsed() < END {
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(50), events.next()).await {
            match event.unwrap() {
                Event::PaymentSettled {
                    hash,
                    preimage,
                    fee,
                } if hash == dispatch.hash => {
                    told = Some(Lookup::Settled { preimage, fee });
                }
                Event::PaymentFailed { hash, code } if hash == dispatch.hash => {
                    // A success is final.
                    told.get_or_insert(Lookup::Failed { code });
                }
                _ => {}
            }
            events.handled().await.unwrap();
        }
        if let Some(told) = told {
            return told;
        }
        let found = alice.wallet.lookup(dispatch).await.unwrap();
        match found {
            Lookup::Absent(Absence::Unclear(_)) | Lookup::InFlight { .. } => last = Some(found),
            end => return end,
        }
        if alice.channel(dispatch.channels[0]).await.is_none() {
            // One by one, so that each can do what it has to; then what waits for a height far away gets there.
            mined += 1;
            chain.generate(if mined <= 12 { 1 } else { 10 });
            alice.wait_until_synced(chain).await;
            bob.wait_until_synced(chain).await;
        }
    }
    panic!("no end within {END:?}: {last:?}");
}

async fn collect(mut events: Events, arrived: Arc<Mutex<BTreeSet<PaymentHash>>>) {
    while let Ok(event) = events.next().await {
        if let Event::Received { hash, .. } = event {
            arrived.lock().unwrap().insert(hash);
        }
        events.handled().await.unwrap();
    }
}

/// The payments that have arrived, as far as `wanted` of them or more.
async fn wait_for_arrivals(arrived: &Mutex<BTreeSet<PaymentHash>>, wanted: &BTreeSet<PaymentHash>) {
    wait_for("what was paid has arrived", async || {
        let arrived = arrived.lock().unwrap();
        wanted.is_subset(&arrived).then_some(())
    })
    .await;
}

/// A channel that was closed by force is through before the next round.
async fn settle_the_chain(alice: &Node, channel: ChannelId, chain: &Regtest) {
    if alice.channel(channel).await.is_some() {
        return;
    }
    wait_for("the channel's money is back", async || {
        chain.generate(20);
        alice.wait_until_synced(chain).await;
        let balances = alice.wallet.balances().await.unwrap();
        balances.closing.is_empty().then_some(())
    })
    .await;
}
