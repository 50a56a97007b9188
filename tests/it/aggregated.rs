//! Many SV1 miners on few channels, from their hashes to the ledger: each worker is credited what it hashed.

use hh_ipc::api::pool::MinerQuery;
use hh_ipc::client::within;
use hh_mining::Target;
use hh_tests::bitcoin_core::Chain;
use hh_tests::daemon::Daemon;
use hh_tests::hyper_node::HyperNode;
use hh_tests::miner::{Miner, MinerConfig, MinerUrl};
use hh_tests::network::{CALL, Network, translator_address};
use hh_tests::sv1::Session;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(120);

/// What the lane takes every miner for.
const LANE_HASHRATE_HS: f64 = 10_000.0;

/// What the difficulty of a hashrate is chosen for.
const SHARES_PER_MINUTE: f64 = 18.0;

/// The node `berlin`, whose lane `sv1` is aggregated.
struct Edge {
    // The translator goes first, so that nobody complains about another's end.
    translator: Daemon,
    network: Network,
    node: HyperNode,
    address: SocketAddr,
}

impl Edge {
    /// With a credential that ends in `seconds`.
    async fn start(seconds: i64) -> Self {
        let mut network = Network::start(Chain::Signet).await;
        let node = HyperNode::join(&mut network, "sv1").await;
        node.issue(seconds);
        let config = network.translator_config(&network.pool_key) + &node.config();
        let config = config.replace(
            "name = \"sv1\"\n",
            "name = \"sv1\"\nchannels = \"aggregated\"\n",
        );
        let translator = Daemon::start("hh-translator", network.dir(), &config);
        translator.wait_until_ready().await;
        Self {
            address: translator_address(&translator).await,
            translator,
            network,
            node,
        }
    }

    fn miner(&self, user: &str, hashrate_hs: u64) -> Miner {
        let address = self.address.to_string();
        let config = MinerConfig::new(MinerUrl::StratumV1 { address }, user);
        Miner::start(MinerConfig {
            hashrate_hs,
            ..config
        })
    }

    /// Workers of `alice` by the channels that the pool has for her now, with the number of each.
    async fn channels(&self) -> Vec<(u32, String)> {
        let pool = self.network.pool.pool().await;
        let page = pool.miners(within(CALL), MinerQuery::default()).await;
        let miners = page.unwrap().miners.into_iter();
        miners.map(|miner| (miner.id, miner.worker)).collect()
    }

    /// Expected hashes of all shares in the ledger, by account, worker and node.
    async fn credited(&self) -> BTreeMap<[String; 3], u128> {
        self.network.wait_until_shipped().await;
        let ledger = self.network.ledger();
        let sums = ledger.minute_sums(0, i64::MAX / 60_000).await;
        let mut credited = BTreeMap::new();
        for sum in sums.unwrap() {
            let [account, worker, node, lane] = sum.origin.names().map(str::to_owned);
            assert_eq!(lane, if node == "core" { "main" } else { "sv1" });
            *credited.entry([account, worker, node]).or_default() += sum.work;
        }
        credited
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_worker_is_credited_what_it_hashed_while_miners_change_between_classes() {
    let edge = Edge::start(3_600).await;
    let fleet = [
        ("alice", "slow", 1_500),
        ("alice", "quick", 60_000),
        ("bob", "steady", 12_000),
        ("bob", "quick", 40_000),
    ];
    let mut miners = Vec::new();
    for (account, worker, hashrate) in fleet {
        let miner = edge.miner(&format!("{account}.{worker}"), hashrate);
        miners.push((account, worker, miner));
    }
    for (_, worker, miner) in &miners {
        let wanted = if *worker == "slow" { 4 } else { 25 };
        miner
            .wait_for("accepted shares", DEADLINE, |counters| {
                counters.accepted >= wanted
            })
            .await;
    }
    let start = Target::from_hashrate(LANE_HASHRATE_HS, SHARES_PER_MINUTE).difficulty();
    let (_, _, quickest) = &miners[1];
    quickest
        .wait_for("a harder class", DEADLINE, |counters| {
            counters.difficulty > 1.5 * start
        })
        .await;
    let mut expected = BTreeMap::new();
    for (account, worker, miner) in miners {
        let hashes = miner.hashes();
        let counters = miner.stop().await;
        let target = Target::from_difficulty(counters.difficulty);
        // What a new block made stale is lost, and nothing else is.
        let other = counters
            .rejected
            .keys()
            .find(|reason| !reason.contains("21"));
        assert_eq!(other, None, "{worker}: {counters:?}");
        let lost = counters.rejected_total() + counters.unanswered;
        let share = target.work().0 as f64;
        expected.insert(
            [account, worker, "berlin"].map(str::to_owned),
            (hashes as f64, share, lost as f64),
        );
    }
    let credited = edge.credited().await;
    assert_eq!(
        credited.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "by worker, and by nobody else"
    );
    for (who, (hashes, share, lost)) in expected {
        let off = credited[&who] as f64 - hashes;
        // Shares come by Poisson: so many expected, each of that much work.
        let sigma = (hashes * share).sqrt();
        let allowed = 5.0 * sigma + (lost + 3.0) * share;
        assert!(
            off.abs() <= allowed,
            "{who:?}: {} credited of {hashes} hashed, {allowed} may be off",
            credited[&who]
        );
    }
}

/// Each of them finds a share and has it settled.
async fn mine(sessions: &mut [Session]) {
    for session in sessions {
        session.submit(1).await.unwrap();
        session.settle(0).await.unwrap();
    }
}

/// Whatever the difficulty is at: each share that a miner is told to send is credited with what it was told that it is worth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_ends_costs_no_share_of_those_who_share_a_channel() {
    const WORKERS: [&str; 3] = ["one", "two", "three"];
    let edge = Edge::start(12).await;
    let mut sessions = Vec::new();
    for worker in WORKERS {
        let session = Session::open(edge.address, &format!("alice.{worker}")).await;
        sessions.push(session.unwrap());
    }
    let start = Instant::now();
    type Channels = [(u32, String)];
    let mut mine_until = async |what: &str, reached: &dyn Fn(&Channels) -> bool| loop {
        assert!(start.elapsed() < DEADLINE, "in vain for: {what}");
        mine(&mut sessions).await;
        if reached(&edge.channels().await) {
            return;
        }
    };
    let have_their_own = |channels: &[(u32, String)]| {
        let has_own = |worker: &str| channels.iter().any(|(_, of)| of == worker);
        WORKERS.iter().all(|worker| has_own(worker))
    };
    mine_until("a channel for each", &have_their_own).await;
    let newest = edge.channels().await.into_iter().map(|(id, _)| id).max();
    edge.node.issue(3_600);
    let share_another = |channels: &[(u32, String)]| {
        let mut shared = channels.iter().filter(|(_, worker)| worker.is_empty());
        shared.any(|(id, _)| Some(*id) > newest)
    };
    mine_until("a channel for all", &share_another).await;
    edge.node.wait_until_credited(&edge.translator).await;
    mine(&mut sessions).await;

    let credited = edge.credited().await;
    for (worker, session) in WORKERS.iter().zip(&sessions) {
        // What a new block made stale is lost, and nothing else is.
        let other = session
            .refused
            .iter()
            .find(|(_, why)| !why.starts_with("21"));
        assert_eq!(other, None, "{worker}");
        let by = |node: &str| credited[&["alice", worker, node].map(str::to_owned)];
        // A difficulty of SV1 is harder than the pool's target by what it takes to be a decimal number.
        let (credited, told) = (by("berlin") + by("core"), session.accepted_work);
        let rounded = told / 1_000;
        assert!(
            (told - rounded..=told).contains(&credited),
            "{worker} is credited {credited} of {told}"
        );
    }
    let workers = WORKERS.len();
    assert_eq!(credited.len(), 2 * workers, "by nobody else: {credited:?}");
}
