//! Many SV1 miners on few channels, from their hashes to the ledger: each worker is credited what it hashed.

use hh_ipc::client::within;
use hh_mining::Target;
use hh_tests::bitcoin_core::Chain;
use hh_tests::daemon::Daemon;
use hh_tests::miner::{Miner, MinerConfig, MinerUrl};
use hh_tests::network::{CALL, Network};
use hh_trust::{NodeCredential, NodeSecretKey, PoolAuthority};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DEADLINE: Duration = Duration::from_secs(120);

/// What the lane takes every miner for.
const LANE_HASHRATE_HS: f64 = 10_000.0;

/// What the difficulty of a hashrate is chosen for.
const SHARES_PER_MINUTE: f64 = 18.0;

/// The node `berlin`, whose lane `sv1` is aggregated.
struct Edge {
    // The translator goes first, so that nobody complains about another's end.
    _translator: Daemon,
    network: Network,
    address: SocketAddr,
}

impl Edge {
    async fn start() -> Self {
        let mut network = Network::start(Chain::Signet).await;
        let key = NodeSecretKey::generate().unwrap();
        let config = format!(
            "{}\n[[hyper_nodes]]\nid = \"berlin\"\npublic_key = \"{}\"\nlanes = [{{ name = \"sv1\" }}]\n",
            network.pool_config(),
            key.public_key()
        );
        network.pool.write_config(&config);
        network.pool.terminate();
        network.pool.restart();
        network.pool.wait_until_ready().await;

        let file = network.dir().join("node.credential");
        std::fs::write(&file, credential(&network, &key)).unwrap();
        let config = network.translator_config(&network.pool_key);
        let config = config.replace(
            "name = \"sv1\"\n",
            "name = \"sv1\"\nchannels = \"aggregated\"\n",
        );
        let config = format!("{config}\n[credential]\nfile = \"{}\"\n", file.display());
        let translator = Daemon::start("hh-translator", network.dir(), &config);
        translator.wait_until_ready().await;
        let status = translator.translator().await.status(within(CALL)).await;
        let address = status.unwrap().lanes[0].listen_address.parse().unwrap();
        Self {
            _translator: translator,
            network,
            address,
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

    /// Expected hashes of the accepted shares, by account and worker.
    async fn credited(&self) -> BTreeMap<(String, String), f64> {
        self.network.wait_until_shipped().await;
        let ledger = self.network.ledger();
        let sums = ledger.minute_sums(0, i64::MAX / 60_000).await;
        let mut credited = BTreeMap::new();
        for sum in sums.unwrap() {
            let [account, worker, node, lane] = sum.origin.names().map(str::to_owned);
            assert_eq!((node.as_str(), lane.as_str()), ("berlin", "sv1"));
            *credited.entry((account, worker)).or_default() += sum.work as f64;
        }
        credited
    }
}

fn credential(network: &Network, key: &NodeSecretKey) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let credential = NodeCredential {
        node: "berlin".parse().unwrap(),
        lanes: ["sv1".parse().unwrap()].into(),
        pool: PoolAuthority::from_bytes(network.pool_key.to_bytes()),
        not_before: now,
        not_after: now + 3_600,
    };
    credential.sign(key).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_worker_is_credited_what_it_hashed_while_miners_change_between_classes() {
    let edge = Edge::start().await;
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
            (account.to_owned(), worker.to_owned()),
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
        let off = credited[&who] - hashes;
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
