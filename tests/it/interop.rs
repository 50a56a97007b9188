//! The reference implementation beside ours: its pool on our template provider and under our translator, its translator and its
//! JD client on our pool.

use bitcoincore_rpc::RpcApi;
use hh_ipc::api::pool::MinerQuery;
use hh_ipc::client::within;
use hh_mining::BlockHash;
use hh_sv2::AuthorityPublicKey;
use hh_sv2::message::{
    Protocol, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION,
};
use hh_tests::bitcoin_core::{BitcoinCore, Chain};
use hh_tests::channel::Channel;
use hh_tests::daemon::Daemon;
use hh_tests::miner::{Miner, MinerConfig, MinerUrl};
use hh_tests::network::{
    ANY_PORT, CALL, Network, authority_key, start_tp, tp_address, translator_address,
    translator_config,
};
use hh_tests::peers::Peer;
use hh_tests::reference_client::{ReferenceClient, Setup};
use hh_tests::wait::wait_for;
use std::net::SocketAddr;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// For a block, which is luck: 4.8 million hashes on average, and ten times that once in 20,000.
const BLOCK: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_sv2_mines_on_our_template_provider() {
    // On regtest every second share of an easy target is a block.
    let node = BitcoinCore::start(Chain::Regtest);
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let key = authority_key(dir.path(), "hh-tp");
    let tp = start_tp(dir.path(), &node, ([127, 0, 0, 1], 0).into());
    tp.wait_until_ready().await;
    let address = tp_address(&tp).await;

    let peer = Peer::pool(Chain::Regtest, &address.to_string(), key);
    peer.wait_until_it_listens().await;
    let pool_key = Peer::authority_public_key();
    let mut channel = Channel::open(peer.address(), &pool_key, "interop")
        .await
        .expect("pool_sv2 takes miners");

    // Three blocks: the first could be luck with a template that was never renewed.
    let height = node.height();
    while node.height() < height + 3 {
        let tip = node.tip();
        channel.submit(1).await.unwrap();
        channel.settle(0).await.unwrap();
        if node.tip() != tip {
            channel.wait_for_new_block(tip).await.unwrap();
        }
    }
    // Each tip is one that hh-tp gave to the node. Of the others it was given at the same height the node kept none.
    let mut ours = Vec::new();
    for height in height + 1..=node.height() {
        ours.push(node.rpc().get_block_hash(height).unwrap().to_string());
    }
    wait_for(
        "hh-tp knows that the node has taken its blocks",
        DEADLINE,
        async || {
            let client = tp.template_provider().await;
            let status = client.status(within(CALL)).await.ok()?;
            // The path that comes second is told that the block is a duplicate.
            let good = |outcome: &str| ["accepted", "duplicate"].contains(&outcome);
            let taken = |hash: &String| {
                let mut solutions = status.solutions.iter().filter(|s| s.hash == *hash);
                solutions.any(|s| s.outcomes.iter().any(|(_, outcome)| good(outcome)))
            };
            ours.iter().all(taken).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_translator_with_an_sv1_miner_mines_on_pool_sv2() {
    let node = BitcoinCore::start(Chain::Signet);
    let dir = hh_tests::directory("interop");
    let key = authority_key(dir.path(), "hh-tp");
    let tp = start_tp(dir.path(), &node, ANY_PORT);
    tp.wait_until_ready().await;
    let peer = Peer::pool(Chain::Signet, &tp_address(&tp).await.to_string(), key);
    peer.wait_until_it_listens().await;
    let config = translator_config(ANY_PORT, (peer.address(), &Peer::authority_public_key()));
    let translator = Daemon::start("hh-translator", dir.path(), &config);
    translator.wait_until_ready().await;
    let url = MinerUrl::StratumV1 {
        address: translator_address(&translator).await.to_string(),
    };
    let height = node.height();
    let miner = Miner::start(MinerConfig {
        hashrate_hs: 500_000,
        ..MinerConfig::new(url, "interop.sv1")
    });
    // What it is told comes from pool_sv2, and what it finds goes all the way to the node.
    let counters = miner
        .wait_for("shares and a block", BLOCK, |counters| {
            counters.accepted >= 10 && counters.blocks_accepted > 0
        })
        .await;
    let late = |reason: &String| reason.starts_with("21: ");
    assert!(counters.rejected.keys().all(late), "{counters:?}");
    wait_for("the node has the block", DEADLINE, async || {
        (node.height() > height).then_some(())
    })
    .await;
    let is_new = |hash: BlockHash| {
        let hash = hash.to_string().parse().expect("a hash is one");
        let block = node.rpc().get_block_header_info(&hash);
        block.is_ok_and(|block| block.height as u64 > height)
    };
    miner
        .wait_for("work on the new block", DEADLINE, |counters| {
            counters.prev_hash.is_some_and(is_new)
        })
        .await;
    let status = translator.translator().await.status(within(CALL)).await;
    let status = status.expect("hh-translator answers");
    assert!(status.shares.accepted >= counters.accepted, "{status:?}");
    assert_eq!(status.shares_unsettled, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn translator_sv2_with_an_sv1_miner_mines_on_our_pool() {
    let network = Network::start(Chain::Signet).await;
    let hashrate: u32 = 200_000;
    let peer = Peer::translator(network.pool_address, network.pool_key, f64::from(hashrate));
    peer.wait_until_it_listens().await;
    let url = MinerUrl::StratumV1 {
        address: peer.address().to_string(),
    };
    let miner = Miner::start(MinerConfig {
        hashrate_hs: hashrate.into(),
        ..MinerConfig::new(url, "interop")
    });
    // The peer answers its miner by itself: what counts is what our pool has accepted.
    let pool = network.pool.pool().await;
    let accepted = wait_for("our pool has accepted shares", DEADLINE * 2, async || {
        let page = pool
            .miners(within(CALL), MinerQuery::default())
            .await
            .ok()?;
        let accepted: u64 = page.miners.iter().map(|miner| miner.shares.accepted).sum();
        (accepted >= 10).then_some(page)
    })
    .await;
    let told: u64 = accepted.miners.iter().map(|m| m.shares.accepted).sum();
    for miner in &accepted.miners {
        assert_eq!(miner.account, "peer", "{miner:?}");
        // Late ones are nobody's fault: a block of this test's own may come between.
        let faults = miner
            .shares
            .rejected
            .keys()
            .filter(|code| *code != "stale-share");
        assert_eq!(faults.count(), 0, "{miner:?}");
    }
    // What was accepted is settled: it is in the ledger, for the account of the peer's configuration.
    network.wait_until_shipped().await;
    let sums = network.ledger().account_sums(100).await;
    let sums = sums.expect("the ledger can be read");
    let credited: Vec<&str> = sums.iter().map(|sum| &*sum.account).collect();
    assert_eq!(credited, ["peer"]);
    assert!(sums[0].shares >= told, "{sums:?}");
    // New work gets through to the miner.
    network.node.generate(1);
    let tip = network.node.tip().to_string();
    miner
        .wait_for("work on the new block", DEADLINE, |counters| {
            counters
                .prev_hash
                .is_some_and(|hash| hash.to_string() == tip)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_built_on_stratum_core_mines_on_our_pool() {
    let network = Network::start(Chain::Signet).await;
    mine_as_reference(&network, network.pool_address, &network.pool_key).await;
}

/// Mines with the reference implementation's messages at `server`; each share is in the ledger once.
#[expect(clippy::unwrap_used, reason = "in tests a panic is the message")]
pub(crate) async fn mine_as_reference(
    network: &Network,
    server: SocketAddr,
    key: &AuthorityPublicKey,
) {
    let mut client = ReferenceClient::connect(server, key).await.unwrap();
    let flags = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;
    let setup = client.setup(Protocol::MiningProtocol, flags).await.unwrap();
    assert_eq!(setup, Setup::Success);
    let mut channel = client.open_standard("stratum-core").await.unwrap();
    let mut mined = Vec::new();
    for _ in 0..5 {
        mined.push(client.mine(&mut channel).await.unwrap());
    }
    network.wait_until_shipped().await;
    let ledger = network.ledger();
    for hash in mined {
        let rows = ledger.shares_by_hash(hash).await.unwrap();
        assert_eq!(rows.len(), 1, "{hash} is credited once");
        assert_eq!(rows[0].origin.account(), "stratum-core");
    }
}

/// What SRI's JD client asks a pool for: its jobs are its own, and templates are declared to a JD server. hh-pool does neither
/// yet, and says so in the specification's words, so that the client goes on to its next upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jd_client_is_refused_politely() {
    let network = Network::start(Chain::Regtest).await;
    let asked = [
        (
            Protocol::JobDeclarationProtocol,
            1,
            "unsupported-protocol",
            0,
        ),
        (
            Protocol::TemplateDistributionProtocol,
            0,
            "unsupported-protocol",
            0,
        ),
        (
            Protocol::MiningProtocol,
            REQUIRES_WORK_SELECTION | REQUIRES_VERSION_ROLLING,
            "unsupported-feature-flags",
            REQUIRES_WORK_SELECTION,
        ),
    ];
    for (protocol, flags, code, unsupported) in asked {
        let mut client = ReferenceClient::connect(network.pool_address, &network.pool_key)
            .await
            .unwrap();
        let answer = client.setup(protocol, flags).await.unwrap();
        let Setup::Refused { code: said, flags } = answer else {
            panic!("{protocol:?} was granted");
        };
        assert_eq!((said.as_str(), flags), (code, unsupported), "{protocol:?}");
    }
}

/// SRI's JD client itself. It knows nothing but this pool, is refused, and goes on alone: on the templates of our hh-tp.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jd_client_sv2_is_refused_politely_and_mines_alone_on_our_templates() {
    let network = Network::start(Chain::Regtest).await;
    let mut bystander = Channel::open(network.pool_address, &network.pool_key, "bystander")
        .await
        .expect("our pool takes miners");
    let peer = Peer::jd_client(
        Chain::Regtest,
        (network.pool_address, network.pool_key),
        (network.tp_address, network.tp_key),
    );
    wait_for("the JD client has read why", DEADLINE, async || {
        assert!(peer.process.is_running(), "the JD client has ended");
        let log = peer.process.log();
        let was_told = log.contains("unsupported-feature-flags");
        (was_told && log.contains("Starting in solo mining mode")).then_some(())
    })
    .await;
    // Nobody else has noticed.
    bystander.submit(1).await.unwrap();
    bystander.settle(0).await.unwrap();
    assert_eq!(bystander.refused, []);

    peer.wait_until_it_listens().await;
    let key = Peer::authority_public_key();
    let mut alone = Channel::open(peer.address(), &key, "interop").await;
    let alone = alone.as_mut().expect("the JD client takes miners");
    let height = network.node.height();
    while network.node.height() < height + 2 {
        let tip = network.node.tip();
        alone.submit(1).await.unwrap();
        alone.settle(0).await.unwrap();
        if network.node.tip() != tip {
            alone.wait_for_new_block(tip).await.unwrap();
        }
    }
}
