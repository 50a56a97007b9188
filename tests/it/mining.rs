//! Real miners on the real daemons on a real node: from a share to the ledger, and from a block to the best chain.

use bitcoincore_rpc::RpcApi;
use hh_ipc::api::pool::{Block, BlockState, RoundSelector};
use hh_ipc::client::within;
use hh_ledger::LedgerReader;
use hh_mining::Target;
use hh_mining::extranonce::{EXTRANONCE_SIZE, PREFIX_SIZE};
use hh_tests::bitcoin_core::{Chain, anyone_can_spend};
use hh_tests::miner::{ChannelKind, Counters, Miner, MinerConfig, MinerUrl};
use hh_tests::network::{CALL, Network};
use hh_tests::wait::wait_for;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// For shares, which take a moment.
const SHARES: Duration = Duration::from_secs(60);

/// For blocks, which are luck: 4.8 million hashes on average, and ten times that once in 20,000.
const BLOCKS: Duration = Duration::from_secs(300);

/// For vardiff to find a difficulty, and for two minutes' shares at it.
const VARDIFF: Duration = Duration::from_secs(360);

/// Half a core.
const HASHRATE: u64 = 500_000;

/// So little that no neighbour slows it down.
const STEADY: u64 = 120_000;

fn sv1(address: SocketAddr, user: &str) -> MinerConfig {
    let address = address.to_string();
    let config = MinerConfig::new(MinerUrl::StratumV1 { address }, user);
    MinerConfig {
        hashrate_hs: HASHRATE,
        ..config
    }
}

fn sv2(network: &Network, user: &str, channel: ChannelKind) -> MinerConfig {
    let url = MinerUrl::StratumV2 {
        address: network.pool_address.to_string(),
        authority: Some(network.pool_key),
    };
    MinerConfig {
        hashrate_hs: HASHRATE,
        channel,
        ..MinerConfig::new(url, user)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_protocols_mine_blocks_that_the_node_keeps_and_the_ledger_knows() {
    let network = Network::start(Chain::Signet).await;
    let (_translator, sv1_address) = network.start_translator().await;
    let old = Miner::start(sv1(sv1_address, "alice.sv1"));
    let new = Miner::start(sv2(&network, "bob.sv2", ChannelKind::Extended));
    for miner in [&old, &new] {
        miner
            .wait_for("a block of its own", BLOCKS, |counters| {
                counters.blocks_accepted > 0
            })
            .await;
    }
    let (old, new) = (old.stop().await, new.stop().await);

    let blocks = settled_blocks(&network, old.blocks_accepted + new.blocks_accepted).await;
    let finders: Vec<&str> = blocks.iter().map(|block| &*block.account).collect();
    assert!(
        finders.contains(&"alice") && finders.contains(&"bob"),
        "{finders:?}"
    );
    network.wait_until_shipped().await;
    let mut on_best_chain = 0;
    for block in &blocks {
        on_best_chain += u32::from(check_block(&network, block, ["core", "main"]).await);
    }
    // Two at the same height are possible, and one of them loses; all of them can't.
    assert!(on_best_chain > 0);

    let ledger = network.ledger();
    check_account(&ledger, "alice", &old).await;
    check_account(&ledger, "bob", &new).await;
    check_rounds(&network, &blocks).await;
}

/// A round for each accepted block and one that goes on, which have every share once.
async fn check_rounds(network: &Network, blocks: &[Block]) {
    let pool = network.pool.pool().await;
    let page = wait_for("the sum of every round", SHARES, async || {
        let page = pool.rounds(within(CALL), 100).await.ok()?.ok()?;
        page.rounds
            .iter()
            .all(|round| round.shares.is_some())
            .then_some(page)
    })
    .await;
    let ended: Vec<&str> = page.rounds[1..]
        .iter()
        .map(|round| &*round.block.as_ref().expect("it has ended").hash)
        .collect();
    // Of two at one height the one that lost may have been accepted a moment ago.
    assert!(!ended.is_empty() && ended.len() <= blocks.len(), "{page:?}");
    assert!(blocks.iter().any(|block| block.hash == ended[0]));
    let accounts = network.ledger().account_sums(100).await;
    let accounts = accounts.expect("the ledger can be read");
    let all: u64 = accounts.iter().map(|account| account.shares).sum();
    let in_rounds: u64 = page.rounds.iter().filter_map(|round| round.shares).sum();
    assert_eq!(in_rounds, all);
    assert!(
        page.summary
            .is_some_and(|summary| summary.effort_ratio > 0.0)
    );
    assert_eq!(page.lagging_pools, []);
    let last = RoundSelector::Hash(ended[0].to_owned());
    let detail = pool.round(within(CALL), last).await;
    let detail = detail.expect("hh-pool answers").expect("it is a round");
    let by_account: u64 = detail.accounts.iter().map(|account| account.shares).sum();
    assert_eq!(Some(by_account), detail.round.shares);
}

/// Waits until pool and template provider know what became of each block, which both have given to the node.
pub(crate) async fn settled_blocks(network: &Network, at_least: u64) -> Vec<Block> {
    let pool = network.pool.pool().await;
    let tp = network.tp.template_provider().await;
    let at_least = usize::try_from(at_least).expect("a handful");
    // The path that comes second is told that the block is a duplicate.
    let good = |outcome: &str| ["accepted", "duplicate"].contains(&outcome);
    wait_for("the outcome of every block", SHARES, async || {
        let blocks = pool.blocks(within(CALL), 100).await.ok()?.ok()?;
        let solutions = tp.status(within(CALL)).await.ok()?.solutions;
        let by_rpc = |block: &Block| {
            let mut nodes = block.paths.iter().filter(|p| p.path.starts_with("node"));
            nodes.any(|path| good(&path.outcome))
        };
        let by_tp = |block: &Block| {
            let mut ours = solutions.iter().filter(|s| s.hash == block.hash);
            ours.any(|s| s.outcomes.iter().any(|(_, outcome)| good(outcome)))
        };
        let settled = |b: &Block| b.state == BlockState::Accepted && by_rpc(b) && by_tp(b);
        // Of two at one height the second is open until a block follows, and nobody mines any more.
        let second = |b: &Block| {
            let mut others = blocks.iter().filter(|other| other.hash != b.hash);
            others.any(|other| other.height == b.height && settled(other))
        };
        let known = blocks.iter().all(|b| settled(b) || second(b));
        (blocks.len() >= at_least && known).then_some(blocks)
    })
    .await
}

/// Checks a block of ours, which came through a node and its lane, against bitcoin-node; whether it is on the best chain.
pub(crate) async fn check_block(network: &Network, block: &Block, through: [&str; 2]) -> bool {
    let hash = block.hash.parse().expect("a block hash");
    let Some(mined) = network.node.block_on_best_chain(&hash) else {
        return false;
    };
    let coinbase = &mined.txdata[0];
    let header = network.node.rpc().get_block_header_info(&hash);
    let height = header.expect("the node has it").height;
    assert_eq!(u32::try_from(height), Ok(block.height));

    // The configured script takes the whole value, and what else there is carries none.
    let ours = anyone_can_spend(network.node.chain).script_pubkey();
    let (paid, rest): (Vec<_>, Vec<_>) = coinbase
        .output
        .iter()
        .partition(|output| output.script_pubkey == ours);
    assert_eq!(paid.len(), 1, "{coinbase:?}");
    assert_eq!(paid[0].value.to_sat(), block.value_sat);
    assert_eq!(block.value_sat, 50 * 100_000_000, "no fees, no halving yet");
    for output in rest {
        assert_eq!(output.value.to_sat(), 0, "{output:?}");
        assert!(output.script_pubkey.is_op_return(), "{output:?}");
    }

    // The finder can be read from the block itself, and its share is in the ledger.
    let script_sig = coinbase.input[0].script_sig.as_bytes();
    let extranonce = &script_sig[script_sig.len() - EXTRANONCE_SIZE..];
    let prefix = extranonce[..PREFIX_SIZE]
        .try_into()
        .expect("it is long enough");
    let ledger = network.ledger();
    let logs = ledger.logs().await.expect("the ledger can be read");
    let finder = ledger
        .binding(logs[0].epoch, prefix)
        .await
        .expect("the ledger can be read")
        .expect("each prefix is bound before its first job");
    assert_eq!(finder.account(), block.account);
    assert_eq!(finder.worker(), block.worker);
    assert_eq!([finder.node(), finder.lane()], through);
    let shares = ledger
        .shares_by_hash(block.hash.parse().expect("a block hash"))
        .await
        .expect("the ledger can be read");
    assert_eq!(shares.len(), 1);
    assert!(shares[0].is_block);
    true
}

/// The ledger has what the miner was told, no more and no less.
async fn check_account(ledger: &LedgerReader, account: &str, told: &Counters) {
    let sums = ledger.account_sums(100).await;
    let sums = sums.expect("the ledger can be read");
    let sum = sums
        .iter()
        .find(|sum| sum.account == account)
        .expect("an account is made by its first use");
    let shares = sum.shares;
    // What was in flight when the miner stopped may have been accepted.
    assert!(
        (told.accepted..=told.accepted + told.unanswered).contains(&shares),
        "the ledger has {shares} shares of {account}: {told:?}"
    );
    assert!(sum.work > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_channel_has_its_shares_accepted() {
    let network = Network::start(Chain::Signet).await;
    for (user, kind) in [
        ("kinds.standard", ChannelKind::Standard),
        ("kinds.group", ChannelKind::Group),
        ("kinds.extended", ChannelKind::Extended),
    ] {
        let miner = Miner::start(sv2(&network, user, kind));
        let counters = miner
            .wait_for("accepted shares", SHARES, |counters| counters.accepted >= 5)
            .await;
        // Late ones are nobody's fault: a block of this test's own may come between.
        let faults = counters
            .rejected
            .keys()
            .filter(|code| *code != "stale-share");
        assert_eq!(faults.count(), 0, "{counters:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sv1_miners_go_on_by_themselves_after_pool_and_translator_were_away() {
    let mut network = Network::start(Chain::Signet).await;
    let (mut translator, address) = network.start_translator().await;
    let miner = Miner::start(sv1(address, "away.sv1"));
    let more = async |what: &str| {
        let before = miner.counters().accepted;
        miner
            .wait_for(what, SHARES, |counters| counters.accepted > before + 2)
            .await;
    };
    more("shares").await;
    network.pool.kill();
    network.pool.restart();
    more("shares after the pool was away").await;
    translator.kill();
    translator.restart();
    more("shares after the translator was away").await;
}

/// How many shares a minute a miner of [`STEADY`] has accepted, once its difficulty is about what its hashrate wants.
async fn shares_a_minute(miner: &Miner) -> f64 {
    const SHARES: u64 = 36;
    let wanted = Target::from_hashrate(STEADY as f64, 18.0).difficulty();
    let found = |counters: &Counters| (0.6..1.7).contains(&(counters.difficulty / wanted));
    let before = miner.wait_for("its difficulty", VARDIFF, found).await;
    let start = Instant::now();
    let wanted = before.accepted + SHARES;
    let enough = |counters: &Counters| counters.accepted >= wanted;
    miner.wait_for("two minutes' shares", VARDIFF, enough).await;
    SHARES as f64 * 60.0 / start.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vardiff_brings_a_miner_to_eighteen_shares_a_minute() {
    // Some minutes of two clocks.
    if !hh_tests::all() {
        return;
    }
    let network = Network::start(Chain::Signet).await;
    let (_translator, address) = network.start_translator().await;
    let old = Miner::start(MinerConfig {
        hashrate_hs: STEADY,
        ..sv1(address, "vardiff.sv1")
    });
    let new = Miner::start(MinerConfig {
        hashrate_hs: STEADY,
        ..sv2(&network, "vardiff.sv2", ChannelKind::Standard)
    });
    let (old, new) = tokio::join!(shares_a_minute(&old), shares_a_minute(&new));
    for rate in [old, new] {
        assert!(
            (9.0..=36.0).contains(&rate),
            "{rate} a minute, not 18 within a factor of 2"
        );
    }
}
