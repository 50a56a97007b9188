//! One suite for every backend, on real nodes: the embedded one always, lnd and Core Lightning where `LND_BIN` and
//! `LIGHTNINGD_BIN` name their programs. What is not run is printed.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bitcoin::Network;
use hh_daemon::{Secret, Tasks};
use hh_lightning::cln::{ClnConfig, ClnWallet};
use hh_lightning::lnd::{LndConfig, LndWallet};
use hh_lightning::{
    Balances, Channel, ChannelId, Dispatch, Lookup, OpenChannel, OutgoingState, PayError,
    PayRequest, Payable, PaymentHash, Rebalance, Refusal, SocketAddress, Wallet,
};
use hh_mining::Msat;
use tokio::task::JoinSet;

use crate::crash::collect;
use crate::node::{Node, address, invoice_request, pay_request};
use crate::regtest::{LONG, Port, Regtest, wait_for};

/// Payments whose time is taken.
const TIMED: u32 = 20;
/// Deaths of the wallet's process in the middle of a payment.
const DEATHS: u64 = 3;
/// With `scripts/test --all`.
const ALL_DEATHS: u64 = 20;

/// More than the fee of a funding transaction in these tests, in satoshi.
const CHAIN_FEE_MAX: u64 = 100_000;

/// A wallet in a process of its own, or in ours.
struct Backend {
    wallet: Wallet,
    /// Where its peers connect.
    address: SocketAddress,
    process: Option<Process>,
    tasks: Tasks,
}

/// lnd or lightningd; it is killed when this is dropped.
struct Process {
    child: Child,
    spawn: Box<dyn Fn() -> Child + Send + Sync>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    fn start(spawn: impl Fn() -> Child + Send + Sync + 'static) -> Self {
        Self {
            child: spawn(),
            spawn: Box::new(spawn),
        }
    }

    fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// `kill -9`, and a new process on the same directory.
    fn restart(&mut self) {
        self.kill();
        self.child = (self.spawn)();
    }
}

/// To the terminal: what is printed otherwise is seen only where a test fails.
fn say(what: fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "{what}").unwrap();
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name);
    if path.is_none() {
        say(format_args!(
            "skipped: {name} does not name a program; the suite is not run on it"
        ));
    }
    path.map(PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_on_lnd() {
    let Some(lnd) = program("LND_BIN") else {
        return;
    };
    let chain = Regtest::start().await;
    let dir = tempfile::Builder::new().prefix("hh-lnd").tempdir().unwrap();
    let (rpc, peers) = (Port::take(), Port::take());
    let (user, password) = chain.login();
    let args = [
        "--bitcoin.active".to_owned(),
        "--bitcoin.regtest".to_owned(),
        "--bitcoin.node=bitcoind".to_owned(),
        "--bitcoind.rpcpolling".to_owned(),
        "--bitcoind.blockpollinginterval=1s".to_owned(),
        "--bitcoind.txpollinginterval=1s".to_owned(),
        format!("--bitcoind.rpchost={}", chain.url().replace("http://", "")),
        format!("--bitcoind.rpcuser={user}"),
        format!("--bitcoind.rpcpass={password}"),
        "--noseedbackup".to_owned(),
        "--norest".to_owned(),
        // It would connect anew to the peers that it has, of all nodes that there are, and be without them for some seconds.
        "--nobootstrap".to_owned(),
        "--debuglevel=warn".to_owned(),
        format!("--lnddir={}", dir.path().display()),
        format!("--rpclisten=127.0.0.1:{}", rpc.number),
        format!("--listen=127.0.0.1:{}", peers.number),
    ];
    let log = dir.path().join("stdout");
    let process = Process::start(move || spawn(&lnd, &args, &log));
    let config = |macaroon: Vec<u8>| LndConfig {
        address: format!("127.0.0.1:{}", rpc.number),
        certificate: dir.path().join("tls.cert"),
        macaroon: Secret::new(hex::encode(macaroon)),
        network: Network::Regtest,
    };
    let macaroon = dir.path().join("data/chain/bitcoin/regtest/admin.macaroon");
    let tasks = Tasks::default();
    let wallet = wait_for("lnd answers", async || {
        let config = config(std::fs::read(&macaroon).ok()?);
        LndWallet::start(config, &tasks).await.ok()
    })
    .await;
    let backend = Backend {
        wallet: Wallet::Lnd(wallet),
        address: address(peers.number),
        process: Some(process),
        tasks,
    };
    suite("lnd", backend, &chain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_on_core_lightning() {
    let Some(lightningd) = program("LIGHTNINGD_BIN") else {
        return;
    };
    let chain = Regtest::start().await;
    let dir = tempfile::Builder::new().prefix("hh-cln").tempdir().unwrap();
    let peers = Port::take();
    let (user, password) = chain.login();
    let (host, port) = chain.host_and_port();
    let args = [
        "--network=regtest".to_owned(),
        format!("--lightning-dir={}", dir.path().display()),
        format!("--bitcoin-rpcconnect={host}"),
        format!("--bitcoin-rpcport={port}"),
        format!("--bitcoin-rpcuser={user}"),
        format!("--bitcoin-rpcpassword={password}"),
        format!("--addr=127.0.0.1:{}", peers.number),
        "--log-level=info".to_owned(),
        // It looks for a block every half a minute otherwise.
        "--developer".to_owned(),
        "--dev-bitcoind-poll=1".to_owned(),
    ];
    let log = dir.path().join("stdout");
    let process = Process::start(move || spawn(&lightningd, &args, &log));
    let config = ClnConfig {
        socket: dir.path().join("regtest/lightning-rpc"),
        network: Network::Regtest,
    };
    let tasks = Tasks::default();
    let wallet = wait_for("lightningd answers", async || {
        ClnWallet::start(config.clone(), &tasks).await.ok()
    })
    .await;
    let backend = Backend {
        wallet: Wallet::Cln(wallet),
        address: address(peers.number),
        process: Some(process),
        tasks,
    };
    suite("Core Lightning", backend, &chain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_on_the_embedded_node() {
    let chain = Regtest::start().await;
    let alice = Node::start("alice", &chain).await;
    let backend = Backend {
        wallet: alice.wallet.clone(),
        address: alice.address(),
        // How it dies is in crash.rs.
        process: None,
        tasks: Tasks::default(),
    };
    suite("the embedded node", backend, &chain).await;
}

fn spawn(program: &Path, args: &[String], log: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    Command::new(program)
        .args(args)
        .stdout(log.try_clone().unwrap())
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap()
}

/// What every wallet has to do, with an embedded node as its peer.
async fn suite(name: &str, mut backend: Backend, chain: &Regtest) {
    let bob = Node::start("bob", chain).await;
    let arrived = Arc::new(Mutex::new(BTreeSet::new()));
    let mut collecting = JoinSet::new();
    collecting.spawn(collect(bob.wallet.events().unwrap(), Arc::clone(&arrived)));
    let wallet = backend.wallet.clone();
    let channel = open(&wallet, &bob, chain).await;
    let mut paid = BTreeSet::new();
    let mut times = Vec::new();
    for n in 0..TIMED {
        let request = pay_request(bob.invoice(Msat(1_000_000 + u64::from(n))).await);
        let dispatch = dispatch(&wallet, &request).await;
        let begun = Instant::now();
        wallet.pay(&request).await.unwrap();
        let found = outcome(&wallet, &dispatch).await;
        assert!(matches!(found, Lookup::Settled { .. }), "{found:?}");
        times.push(begun.elapsed());
        paid.insert(dispatch.hash);
    }
    let mean = times.iter().sum::<Duration>() / TIMED;
    say(format_args!(
        "{name}: {TIMED} payments settled, mean {mean:?}, max {:?}",
        times.iter().max()
    ));
    check_history(&wallet, &paid).await;
    too_large(&wallet, &bob).await;
    // Of a payment that it does not know, the wallet says that it was never sent only while all its peers are there.
    let _carol = rebalance(name, &backend, &bob, channel, chain).await;
    if backend.process.is_some() {
        let all = std::env::var_os("HH_TEST_ALL").is_some();
        for n in 0..if all { ALL_DEATHS } else { DEATHS } {
            die(name, n, &mut backend, &bob, channel, &mut paid).await;
        }
    }
    wait_for("what was paid has arrived", async || {
        paid.is_subset(&arrived.lock().unwrap()).then_some(())
    })
    .await;
    // What was told to have failed, or to have never been sent, has not arrived.
    assert_eq!(*arrived.lock().unwrap(), paid);
    backend.wallet.stop().await.unwrap();
}

/// Money for the wallet, and a channel of it to bob. All of it is counted all the time.
async fn open(wallet: &Wallet, bob: &Node, chain: &Regtest) -> ChannelId {
    let address = wallet.new_address().await.unwrap();
    chain.generate_to(1, &address);
    let immature = balances(wallet, chain, |now| now.onchain_total.to_sat() > 0).await;
    assert_eq!(immature.onchain_spendable.to_sat(), 0, "{immature:?}");
    if !matches!(wallet, Wallet::Ldk(_)) {
        assert_eq!(immature.onchain_immature, immature.onchain_total);
    }
    chain.generate(98);
    let still = balances(wallet, chain, |_| true).await;
    assert_eq!(still, immature, "it has 99 confirmations");
    chain.generate(1);
    bob.fund(chain).await;
    let mature = balances(wallet, chain, |now| now.onchain_spendable.to_sat() > 0).await;
    assert_eq!(mature.onchain_total, immature.onchain_total);
    assert_eq!(mature.onchain_immature.to_sat(), 0);
    let request = OpenChannel {
        peer: bob.wallet.info().await.unwrap().node_id,
        address: bob.address(),
        capacity_sats: 5_000_000,
        is_public: false,
        fee_rate: None,
    };
    let opened = wallet.open_channel(&request).await.unwrap();
    assert_eq!(ChannelId::of_funding(opened.funding), Some(opened.id));
    wait_for("the funding is in the mempool", async || {
        chain.is_in_mempool(opened.funding.txid).then_some(())
    })
    .await;
    // Neither the channel nor the change is confirmed; but for fees and the reserve, both are there once the wallet has seen its own
    // transaction, and can be spent soon.
    let least = sats(&mature) - CHAIN_FEE_MAX;
    let range = least..sats(&mature);
    let opening = balances(wallet, chain, |now| range.contains(&sats(now))).await;
    let reserves = opening.anchor_reserve.to_sat() + request.capacity_sats / 50;
    assert!(soon(&opening) >= least - reserves, "{opening:?}");
    chain.generate(6);
    usable(wallet, opened.id).await;
    bob.wait_until_usable(opened.id).await;
    opened.id
}

/// What a wallet in step with the chain has, as soon as that is as wanted.
async fn balances(
    wallet: &Wallet,
    chain: &Regtest,
    is_wanted: impl Fn(&Balances) -> bool,
) -> Balances {
    wait_for("the wallet counts what it has", async || {
        let info = wallet.info().await.ok()?;
        let balances = wallet.balances().await.ok()?;
        let is_there = info.is_synced && info.block_height == chain.height();
        (is_there && is_wanted(&balances)).then_some(balances)
    })
    .await
}

/// All of it, in satoshi.
fn sats(balances: &Balances) -> u64 {
    balances.onchain_total.to_sat() + balances.in_channels.0 / 1_000
}

/// What can be spent now or in some blocks, in satoshi.
fn soon(balances: &Balances) -> u64 {
    let onchain = balances.onchain_spendable + balances.onchain_change;
    onchain.to_sat() + balances.in_channels_free.0 / 1_000
}

async fn usable(wallet: &Wallet, id: ChannelId) {
    wait_for("the channel can be used", async || {
        let channels = wallet.channels().await.ok()?;
        let channel = channels.into_iter().find(|channel| channel.id == id)?;
        channel.is_usable.then_some(())
    })
    .await;
}

async fn dispatch(wallet: &Wallet, request: &PayRequest) -> Dispatch {
    let info = wallet.info().await.unwrap();
    let payable = request
        .check(&info.node_id, info.network, SystemTime::now())
        .unwrap();
    written_down(wallet, payable, request.timeout).await
}

async fn written_down(wallet: &Wallet, payable: Payable, timeout: Duration) -> Dispatch {
    let channels = wallet.channels().await.unwrap();
    Dispatch {
        wallet: wallet.info().await.unwrap().node_id,
        hash: payable.hash,
        amount: payable.amount,
        at: SystemTime::now(),
        timeout,
        channels: channels.iter().map(|channel| channel.id).collect(),
    }
}

/// Looks a payment up until it has an end. An error is no answer: the wallet may be starting.
async fn outcome(wallet: &Wallet, dispatch: &Dispatch) -> Lookup {
    wait_for("the payment has an end", async || {
        match wallet.lookup(dispatch).await {
            Ok(Lookup::Absent(hh_lightning::Absence::Unclear(_)) | Lookup::InFlight { .. })
            | Err(_) => None,
            Ok(end) => Some(end),
        }
    })
    .await
}

async fn check_history(wallet: &Wallet, paid: &BTreeSet<PaymentHash>) {
    let mut found = BTreeSet::new();
    let mut after = None;
    loop {
        let page = wallet.outgoing_payments(after.as_ref()).await.unwrap();
        for payment in page.payments {
            if matches!(payment.state, OutgoingState::Settled(_)) {
                assert!(found.insert(payment.hash), "{payment:?} comes twice");
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, *paid);
}

async fn too_large(wallet: &Wallet, bob: &Node) {
    let request = pay_request(bob.invoice(Msat(50_000_000_000)).await);
    let dispatch = dispatch(wallet, &request).await;
    // Handed over or refused: it has to fail, or to never have been sent.
    drop(wallet.pay(&request).await);
    let found = outcome(wallet, &dispatch).await;
    let is_never = matches!(found, Lookup::Absent(hh_lightning::Absence::NeverSent));
    let is_failed = matches!(found, Lookup::Failed { .. });
    assert!(is_failed || is_never, "{found:?}");
}

/// Out by the channel to bob and back by one of carol's, to whom bob has one, where the wallet can; else it says that it can't, and
/// sends nothing.
async fn rebalance(
    name: &str,
    backend: &Backend,
    bob: &Node,
    from: ChannelId,
    chain: &Regtest,
) -> Option<Node> {
    const AMOUNT: Msat = Msat(50_000_000);
    let wallet = &backend.wallet;
    if wallet.capabilities().rebalances.is_err() {
        let request = move_request(wallet, AMOUNT, from, from).await;
        let refused = wallet.rebalance(&request).await.unwrap_err();
        let is_unsupported = matches!(refused, PayError::Refused(Refusal::Unsupported { .. }));
        assert!(is_unsupported, "{refused}");
        return None;
    }
    let carol = Node::start("carol", chain).await;
    carol.fund(chain).await;
    bob.open(&carol, 1_000_000, chain).await;
    let into = open_from(&carol, backend, chain).await;
    let before = (channel(wallet, from).await, channel(wallet, into).await);
    let fee = wait_for("money is moved", async || {
        // Until its router has heard of bob's channel to carol, there is no route.
        let request = move_request(wallet, AMOUNT, from, into).await;
        let info = wallet.info().await.unwrap();
        let payable = request.check(&info.node_id, info.network, SystemTime::now());
        let timeout = request.payment.timeout;
        let dispatch = written_down(wallet, payable.unwrap(), timeout).await;
        wallet.rebalance(&request).await.unwrap();
        match outcome(wallet, &dispatch).await {
            Lookup::Settled { fee, .. } => fee,
            _ => None,
        }
    })
    .await;
    say(format_args!("{name}: {AMOUNT} sat moved for {fee} sat"));
    assert!(fee > Msat::ZERO && fee <= Msat(10_000), "{fee}");
    wait_for("both channels show it", async || {
        let now = (channel(wallet, from).await, channel(wallet, into).await);
        let gone = before.0.local.0.checked_sub(now.0.local.0)?;
        let come = now.1.local.0.checked_sub(before.1.local.0)?;
        // lnd counts whole satoshi.
        let is_moved = gone.abs_diff(AMOUNT.0 + fee.0) < 1_000 && come.abs_diff(AMOUNT.0) < 1_000;
        is_moved.then_some(())
    })
    .await;
    Some(carol)
}

async fn move_request(
    wallet: &Wallet,
    amount: Msat,
    from: ChannelId,
    into: ChannelId,
) -> Rebalance {
    let invoice = wallet.invoice(&invoice_request(amount)).await.unwrap();
    let payment = pay_request(invoice);
    Rebalance {
        payment,
        from,
        into,
    }
}

/// All of it is carol's at first. A public one: she forwards through no other. It is the wallet that connects, and so does it again
/// after its death.
async fn open_from(carol: &Node, backend: &Backend, chain: &Regtest) -> ChannelId {
    let wallet = &backend.wallet;
    let node_id = carol.wallet.info().await.unwrap().node_id;
    wallet.connect(node_id, carol.address()).await.unwrap();
    let request = OpenChannel {
        peer: wallet.info().await.unwrap().node_id,
        address: backend.address.clone(),
        capacity_sats: 1_000_000,
        is_public: true,
        fee_rate: None,
    };
    let opened = carol.wallet.open_channel(&request).await.unwrap();
    wait_for("carol's funding is in the mempool", async || {
        chain.is_in_mempool(opened.funding.txid).then_some(())
    })
    .await;
    chain.generate(6);
    usable(wallet, opened.id).await;
    carol.wait_until_usable(opened.id).await;
    opened.id
}

async fn channel(wallet: &Wallet, id: ChannelId) -> Channel {
    let channels = wallet.channels().await.unwrap();
    let found = channels.into_iter().find(|channel| channel.id == id);
    found.unwrap()
}

/// The wallet's process dies some milliseconds after it was called.
async fn die(
    name: &str,
    n: u64,
    backend: &mut Backend,
    bob: &Node,
    channel: ChannelId,
    paid: &mut BTreeSet<PaymentHash>,
) {
    let wallet = backend.wallet.clone();
    usable(&wallet, channel).await;
    let request = pay_request(bob.invoice(Msat(2_000_000 + n)).await);
    let dispatch = dispatch(&wallet, &request).await;
    let (tasks, after) = (
        backend.tasks.clone(),
        Duration::from_millis(n * n * 50 % 700),
    );
    let paying = async { drop(wallet.pay(&request).await) };
    drop(tokio::time::timeout(after, paying).await);
    drop(tasks);
    if let Some(process) = &mut backend.process {
        process.restart();
    }
    let found = outcome(&wallet, &dispatch).await;
    say(format_args!("{name}: killed after {after:?}: {found:?}"));
    if matches!(found, Lookup::Settled { .. }) {
        paid.insert(dispatch.hash);
    }
    // A wallet that is back knows as much as before.
    let waited = tokio::time::timeout(LONG, usable(&wallet, channel)).await;
    waited.unwrap();
}
