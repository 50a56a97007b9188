//! Through whom a share came, from an SV1 miner through hh-translator and hh-pool to the ledger.

use hh_ipc::api::pool::RevokeNodeRequest;
use hh_ipc::api::translator::LaneCredential;
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::daemon::Daemon;
use hh_tests::hyper_node::HyperNode;
use hh_tests::miner::{Miner, MinerConfig, MinerUrl};
use hh_tests::network::{CALL, Network, translator_address};
use hh_tests::wait::wait_for;
use hh_trust::PoolAuthority;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// A network whose pool knows the node `berlin` with the lane `sv1`, and a translator on that node.
struct Edge {
    // The translator goes first, so that nobody complains about another's end.
    translator: Daemon,
    network: Network,
    node: HyperNode,
    address: SocketAddr,
}

impl Edge {
    async fn start() -> Self {
        let mut network = Network::start(Chain::Signet).await;
        let node = HyperNode::join(&mut network, "sv1").await;
        let config = network.translator_config(&network.pool_key) + &node.config();
        let translator = Daemon::start("hh-translator", network.dir(), &config);
        translator.wait_until_ready().await;
        Self {
            address: translator_address(&translator).await,
            translator,
            network,
            node,
        }
    }

    fn miner(&self, user: &str) -> Miner {
        let address = self.address.to_string();
        Miner::start(MinerConfig::new(MinerUrl::StratumV1 { address }, user))
    }

    async fn nodes(&self) -> Vec<hh_ipc::api::pool::HyperNode> {
        let pool = self.network.pool.pool().await;
        pool.hyper_nodes(within(CALL)).await.unwrap().nodes
    }

    /// Shares in the ledger by account, node and lane.
    async fn credited(&self) -> BTreeMap<(String, String, String), u64> {
        self.network.wait_until_shipped().await;
        let sums = self
            .network
            .ledger()
            .minute_sums(0, i64::MAX / 60_000)
            .await;
        let mut credited = BTreeMap::new();
        for sum in sums.unwrap() {
            let [account, _, node, lane] = sum.origin.names().map(str::to_owned);
            *credited.entry((account, node, lane)).or_default() += sum.shares;
        }
        credited
    }
}

async fn shares(miner: &Miner, count: u64) {
    let before = miner.counters().accepted;
    miner
        .wait_for("accepted shares", DEADLINE, |counters| {
            counters.accepted >= before + count
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_credited_to_the_node_while_its_credential_holds_and_else_to_core() {
    let edge = Edge::start().await;
    let waiting = |lane: &LaneCredential| {
        let reason = lane.reason.as_deref().unwrap_or_default();
        lane.node == "core" && reason.contains("node.credential")
    };
    let (node, translator) = (&edge.node, &edge.translator);
    node.wait_for_standing(translator, "no credential", waiting)
        .await;
    let miner = edge.miner("alice.rig1");
    shares(&miner, 3).await;

    // One that was made for another pool is of no use here.
    node.issue_for(PoolAuthority::from_bytes([7; 32]), 3_600);
    let elsewhere = |lane: &LaneCredential| {
        lane.reason
            .as_ref()
            .is_some_and(|reason| reason.contains("for the pool"))
    };
    node.wait_for_standing(translator, "another pool's", elsewhere)
        .await;
    shares(&miner, 3).await;

    // On the connection that there is, with the miner's channel open.
    node.issue(3_600);
    node.wait_until_credited(translator).await;
    let late = edge.miner("bob");
    shares(&late, 3).await;
    shares(&miner, 3).await;
    assert_eq!(edge.nodes().await[0].connections, 1);
    let rejected: u64 = miner.counters().rejected.values().sum();
    assert_eq!(
        rejected,
        0,
        "no share is lost by it: {:?}",
        miner.counters()
    );

    let credited = edge.credited().await;
    let keys: BTreeSet<[&str; 3]> = credited
        .keys()
        .map(|(account, node, lane)| [account.as_str(), node.as_str(), lane.as_str()])
        .collect();
    let expected = [
        ["alice", "berlin", "sv1"],
        ["alice", "core", "main"],
        ["bob", "berlin", "sv1"],
    ];
    assert_eq!(keys, BTreeSet::from(expected));
    assert!(credited.values().all(|&shares| shares >= 3), "{credited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_ends_is_renewed_on_the_connection_and_a_revoked_node_is_left_outside() {
    let edge = Edge::start().await;
    let (node, translator) = (&edge.node, &edge.translator);
    node.issue(8);
    node.wait_until_credited(translator).await;
    let miner = edge.miner("alice");
    shares(&miner, 3).await;
    node.wait_until_ended(translator).await;
    shares(&miner, 3).await;
    node.issue(3_600);
    node.wait_until_credited(translator).await;
    shares(&miner, 3).await;
    let session = miner.counters();
    assert_eq!(session.rejected.values().sum::<u64>(), 0, "{session:?}");
    let connected = edge.nodes().await[0].connections;
    assert_eq!(connected, 1);

    let request = RevokeNodeRequest {
        node: "berlin".to_owned(),
        reason: Some("stolen".to_owned()),
        dry_run: false,
    };
    let pool = edge.network.pool.pool().await;
    let revoked = pool
        .revoke_node(within(CALL), request)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(revoked.node.connections, 1);
    let client = translator.translator().await;
    wait_for("the pool's refusal", DEADLINE, async || {
        let status = client.status(within(CALL)).await.ok()?;
        let error = status.upstreams[0].last_error.clone()?;
        error.contains("revoked").then_some(())
    })
    .await;
    let credited = edge.credited().await;
    for key in [("berlin", "sv1"), ("core", "main")] {
        let key = ("alice".to_owned(), key.0.to_owned(), key.1.to_owned());
        assert!(credited[&key] >= 3, "{credited:?}");
    }
}
