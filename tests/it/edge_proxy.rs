//! SV2 miners through hh-translator: ours, those of the reference implementation, and what a restart of the pool costs them.

use crate::interop::mine_as_reference;
use hh_ipc::api::pool::MinerQuery;
use hh_ipc::client::within;
use hh_mining::BlockHash;
use hh_sv2::AuthorityPublicKey;
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::Channel;
use hh_tests::daemon::Daemon;
use hh_tests::hyper_node::HyperNode;
use hh_tests::miner::{ChannelKind, Counters, Miner, MinerConfig, MinerUrl};
use hh_tests::network::{CALL, Network, authority_key};
use hh_tests::peers::Peer;
use hh_tests::wait::{wait_for, wait_until};
use std::net::SocketAddr;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(120);

const HASHRATE: u64 = 200_000;

/// hh-translator with a lane for SV2 miners; killed when it is dropped.
struct Edge {
    address: SocketAddr,
    key: AuthorityPublicKey,
    daemon: Daemon,
}

impl Edge {
    async fn start(network: &Network) -> Self {
        Self::start_as(network, "").await
    }

    /// With more at the end of its configuration.
    async fn start_as(network: &Network, more: &str) -> Self {
        let dir = network.dir();
        let key = authority_key(dir, "hh-translator");
        let lane =
            "\n[[lanes]]\nname = \"edge\"\nlisten_address = \"127.0.0.1:0\"\nprotocol = \"sv2\"\n";
        let config = format!(
            "authority_secret_key = \"file:{}/hh-translator.key\"\n{}{lane}{more}",
            dir.display(),
            network.translator_config(&network.pool_key)
        );
        let daemon = Daemon::start("hh-translator", dir, &config);
        daemon.wait_until_ready().await;
        let status = daemon.translator().await.status(within(CALL)).await;
        let status = status.expect("hh-translator answers");
        assert_eq!(status.authority_public_key, Some(key.to_string()));
        let lane = status.lanes.iter().find(|lane| lane.protocol == "sv2");
        let address = lane.expect("it is configured").listen_address.parse();
        Self {
            address: address.expect("it is an address"),
            key,
            daemon,
        }
    }

    fn miner(&self, user: &str, channel: ChannelKind) -> Miner {
        let url = MinerUrl::StratumV2 {
            address: self.address.to_string(),
            authority: Some(self.key),
        };
        Miner::start(MinerConfig {
            hashrate_hs: HASHRATE,
            channel,
            ..MinerConfig::new(url, user)
        })
    }

    async fn channel(&self, user: &str) -> Channel {
        let channel = Channel::open(self.address, &self.key, user).await;
        channel.expect("the edge takes miners")
    }
}

/// Waits until `miner` has had `more` shares accepted.
async fn mines_on(miner: &Miner, more: u64) -> Counters {
    let wanted = miner.counters().accepted + more;
    let what = format!("{wanted} accepted shares");
    miner
        .wait_for(&what, DEADLINE, |counters| counters.accepted >= wanted)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_channel_mines_through_the_edge_and_over_a_restart_of_the_pool() {
    let mut network = Network::start(Chain::Signet).await;
    let edge = Edge::start(&network).await;
    let kinds = [
        ("standard", ChannelKind::Standard),
        ("group", ChannelKind::Group),
        ("extended", ChannelKind::Extended),
    ];
    let miners = kinds.map(|(name, kind)| edge.miner(&format!("{name}.rig1"), kind));
    for miner in &miners {
        mines_on(miner, 3).await;
    }
    network.pool.restart();
    network.pool.wait_until_ready().await;
    for miner in &miners {
        mines_on(miner, 3).await;
    }
    let mut told = Vec::new();
    for miner in miners {
        told.push(miner.stop().await);
    }
    network.wait_until_shipped().await;
    let sums = network.ledger().account_sums(100).await;
    let sums = sums.expect("the ledger can be read");
    for ((account, _), told) in kinds.iter().zip(&told) {
        assert_eq!(
            told.sessions, 1,
            "its connection outlives the pool's: {told:?}"
        );
        let sum = sums.iter().find(|sum| sum.account == *account);
        let credited = sum.expect("an account is made by its first use").shares;
        // What nobody settled before the restart, or before the miner stopped, may have been accepted.
        let lost = told.rejected.get("upstream-lost").copied().unwrap_or(0);
        let most = told.accepted + told.unanswered + lost;
        assert!(
            (told.accepted..=most).contains(&credited),
            "the ledger has {credited} shares of {account}: {told:?}"
        );
        let known = ["upstream-lost", "no-upstream", "stale-share"];
        assert!(
            told.rejected.keys().all(|code| known.contains(&&**code)),
            "{told:?}"
        );
    }
    assert!(edge.daemon.process().is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_of_sv2_miners_are_credited_to_the_node_that_has_proven_itself_and_to_its_lane() {
    let mut network = Network::start(Chain::Signet).await;
    let node = HyperNode::join(&mut network, "edge").await;
    node.issue(3_600);
    let edge = Edge::start_as(&network, &node.config()).await;
    node.wait_until_credited(&edge.daemon).await;
    let mut channel = edge.channel("alice.rig7").await;
    channel.submit(10).await.unwrap();
    channel.settle(0).await.unwrap();
    let standard = edge.miner("bob.rig1", ChannelKind::Standard);
    mines_on(&standard, 3).await;
    let told = standard.stop().await;

    network.wait_until_shipped().await;
    let ledger = network.ledger();
    assert_eq!(channel.acknowledged.len() + channel.refused.len(), 10);
    assert!(channel.acknowledged.len() > 5, "{:?}", channel.refused);
    for hash in &channel.acknowledged {
        let rows = ledger.shares_by_hash(*hash).await.unwrap();
        assert_eq!(rows.len(), 1, "{hash} is credited once");
        let names = rows[0].origin.names();
        assert_eq!(names, ["alice", "rig7", "berlin", "edge"]);
    }
    let sums = ledger.minute_sums(0, i64::MAX / 60_000).await.unwrap();
    let mut of_bob = 0;
    for sum in sums {
        let [account, worker, node, lane] = sum.origin.names();
        assert_eq!((node, lane), ("berlin", "edge"), "{account}.{worker}");
        of_bob += u64::from(account == "bob") * sum.shares;
    }
    assert!((told.accepted..=told.accepted + told.unanswered).contains(&of_bob));
}

/// Finds a share and submits it until the pool takes one.
async fn wait_until_accepted(channel: &mut Channel) {
    let before = channel.acknowledged.len();
    wait_until("the pool takes shares again", DEADLINE, async || {
        channel.submit(1).await.expect("the edge keeps its miner");
        channel.settle(0).await.expect("the edge keeps its miner");
        channel.acknowledged.len() > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_share_acknowledged_at_the_edge_is_in_the_ledger_once_though_the_pool_is_killed() {
    const ROUNDS: usize = 3;
    let mut network = Network::start(Chain::Signet).await;
    let edge = Edge::start(&network).await;
    let mut channel = edge.channel("edge.rig7").await;
    for _ in 0..ROUNDS {
        channel.submit(20).await.unwrap();
        channel.settle(10).await.unwrap();
        network.pool.kill();
        channel.submit(20).await.unwrap();
        channel.settle(0).await.unwrap();
        network.pool.restart();
        network.pool.wait_until_ready().await;
        wait_until_accepted(&mut channel).await;
    }
    network.wait_until_shipped().await;
    let ledger = network.ledger();
    let rows = async |hash: &BlockHash| {
        let rows = ledger.shares_by_hash(*hash).await;
        rows.expect("the ledger can be read")
    };
    assert!(channel.acknowledged.len() > ROUNDS * 10);
    for hash in &channel.acknowledged {
        let rows = rows(hash).await;
        assert_eq!(rows.len(), 1, "{hash} is credited once");
        let origin = &rows[0].origin;
        assert_eq!(
            (origin.account(), origin.worker(), origin.lane()),
            ("edge", "rig7", "main")
        );
    }
    for (hash, code) in &channel.refused {
        let most = usize::from(code == "upstream-lost");
        assert!(rows(hash).await.len() <= most, "{hash} was refused: {code}");
    }
    let status = edge.daemon.translator().await.status(within(CALL)).await;
    let status = status.expect("hh-translator answers");
    assert_eq!(status.shares.accepted, channel.acknowledged.len() as u64);
    let lost = channel
        .refused
        .iter()
        .filter(|(_, code)| code == "upstream-lost");
    assert_eq!(status.shares_unsettled, lost.count() as u64);
    assert_eq!(status.shares_in_flight, 0);
    let row = &status.miners[0];
    assert_eq!(
        (&*row.user_name, &*row.protocol, &*row.lane),
        ("edge.rig7", "sv2", "edge")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_built_on_stratum_core_mines_through_the_edge() {
    let network = Network::start(Chain::Signet).await;
    let edge = Edge::start(&network).await;
    mine_as_reference(&network, edge.address, &edge.key).await;
}

/// SRI's translator takes a new prefix at the next job, and goes on; were its channel closed, it would drop its miner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn translator_sv2_behind_the_edge_keeps_its_miner_over_a_restart_of_the_pool() {
    let mut network = Network::start(Chain::Signet).await;
    let edge = Edge::start(&network).await;
    let hashrate: u32 = 200_000;
    let peer = Peer::translator(edge.address, edge.key, f64::from(hashrate));
    peer.wait_until_it_listens().await;
    let url = MinerUrl::StratumV1 {
        address: peer.address().to_string(),
    };
    let miner = Miner::start(MinerConfig {
        hashrate_hs: hashrate.into(),
        ..MinerConfig::new(url, "interop")
    });
    // The peer answers its miner by itself: what counts is what our pool has accepted.
    pool_accepts(&network, 5).await;
    network.pool.restart();
    network.pool.wait_until_ready().await;
    pool_accepts(&network, 5).await;
    let counters = miner.counters();
    assert_eq!(counters.sessions, 1, "{counters:?}");
    assert!(peer.process.is_running(), "{}", peer.process.log());
}

/// Waits until the pool, since its last start, has accepted so many shares.
async fn pool_accepts(network: &Network, shares: u64) {
    let pool = network.pool.pool().await;
    wait_for("our pool has accepted shares", DEADLINE, async || {
        let page = pool
            .miners(within(CALL), MinerQuery::default())
            .await
            .ok()?;
        let accepted: u64 = page.miners.iter().map(|miner| miner.shares.accepted).sum();
        (accepted >= shares).then_some(())
    })
    .await;
}
