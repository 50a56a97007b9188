//! Blocks of ours that a reorganisation takes away and brings back, before their money is payable and after: what was credited goes,
//! comes again, and never twice. On regtest, where a share is a block and the subsidy halves every 150 blocks.

use crate::cluster::{Cluster, Database};
use hh_ipc::api::treasury::{
    AccountQuery, RewardBlock, RewardBlockState, TreasuryClient, VerifyReport,
};
use hh_ipc::client::within;
use hh_mining::BlockReport;
use hh_tests::bitcoin_core::Chain;
use hh_tests::channel::Channel;
use hh_tests::network::{CALL, Network};
use hh_tests::treasury::{DEADLINE, Payee, Treasury};
use hh_tests::wait::{wait_for, wait_until};
use hh_trust::NodeSecretKey;
use std::collections::BTreeMap;

/// Of a Lightning node that nobody runs: nobody is paid here.
const NOBODY: &str = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";

/// The first block with half the subsidy.
const HALVING: u64 = 150;

/// What everybody has, payable and not, by name.
type Balances = BTreeMap<String, (i64, i64)>;

pub(super) struct World {
    pub(super) treasury: Treasury,
    pub(super) client: TreasuryClient,
    pub(super) network: Network,
}

impl World {
    /// With the pool's ledger and the books in files, or both in a database. `more` goes to the end of the treasury's configuration.
    pub(super) async fn start(database: Option<&Database>, more: &str) -> Self {
        let mut network = Network::start(Chain::Regtest).await;
        let key = NodeSecretKey::generate().unwrap();
        let payee = Payee {
            id: "berlin",
            key: key.public_key(),
            wallet: NOBODY,
        };
        let treasury = match database {
            None => Treasury::start(&mut network, &payee, more).await,
            Some(database) => {
                let on = |table: &str| {
                    let options = database.options("postgres");
                    format!(
                        "\n[{table}]\nhost = \"{}\"\nport = {}\ndatabase = \"{}\"\nuser = \"postgres\"\n",
                        options.host, options.port, options.database
                    )
                };
                let config = network.pool_config() + &on("ledger.postgres");
                network.pool.write_config(&config);
                network.pool.restart();
                network.pool.wait_until_ready().await;
                let stores = on("pool_ledger.postgres") + &on("books.postgres");
                Treasury::start_on(&mut network, &payee, &stores, more).await
            }
        };
        Self {
            client: treasury.client().await,
            treasury,
            network,
        }
    }

    /// `identity` finds the next block, whose split is waited for.
    pub(super) async fn find(&self, identity: &str) -> RewardBlock {
        let (network, tip) = (&self.network, self.network.node.tip().to_string());
        wait_until("the pool works on the tip", DEADLINE, async || {
            let status = network.pool.pool().await.status(within(CALL)).await;
            let work = status.ok().and_then(|status| status.work);
            work.is_some_and(|work| work.prev_hash == tip)
        })
        .await;
        let opened = Channel::open(network.pool_address, &network.pool_key, identity).await;
        let mut channel = opened.expect("the pool takes miners");
        let hash = channel.submit_block().await.expect("the pool reads");
        self.wait("it is split", &hash.to_string(), |block| {
            block.split_at.is_some()
        })
        .await
    }

    async fn wait(
        &self,
        what: &str,
        hash: &str,
        is_there: impl Fn(&RewardBlock) -> bool,
    ) -> RewardBlock {
        wait_for(what, DEADLINE, async || {
            let page = self.client.blocks(within(CALL), 100).await.ok()?.ok()?;
            let mut blocks = page.blocks.into_iter();
            blocks.find(|block| block.hash == hash && is_there(block))
        })
        .await
    }

    /// The chain goes on from below this block, with `count` blocks of somebody else, which are given.
    fn reorganise(&self, from: &RewardBlock, count: u32) -> Vec<bitcoin::BlockHash> {
        self.network.node.invalidate(core_hash(from));
        self.network.node.generate(count)
    }

    /// Back to the chain with this block, away from those that begin with `others`: the node takes all back that is above it. It gets
    /// longer than they are, or the wallet would stay with what has more work.
    fn bring_back(&self, block: &RewardBlock, others: &[bitcoin::BlockHash]) {
        let node = &self.network.node;
        let longest = node.height();
        node.reconsider(core_hash(block));
        for other in others {
            node.invalidate(*other);
        }
        let short = longest + 1 - node.height().min(longest);
        node.generate(u32::try_from(short).unwrap());
    }

    async fn balances(&self) -> Balances {
        let page = self
            .client
            .accounts(within(CALL), AccountQuery::default())
            .await;
        let accounts = page.unwrap().unwrap().accounts.into_iter();
        accounts
            .map(|account| (account.name, (account.payable_msat, account.immature_msat)))
            .filter(|(_, money)| *money != (0, 0))
            .collect()
    }

    /// Checks that books and wallet agree, once the wallet has seen the chain: what is not mature is its coinbases to the msat, and
    /// what is owed is covered.
    pub(super) async fn verify(&self) -> VerifyReport {
        let verified = wait_for("the books are right", DEADLINE, async || {
            let verified = self.client.verify(within(DEADLINE)).await.unwrap().unwrap();
            let is_right = verified.is_solvent && verified.findings.is_empty();
            is_right.then_some(verified)
        });
        let verified = verified.await;
        let totals = verified.totals;
        assert_eq!(totals.coinbase_msat, totals.immature_msat, "{totals:?}");
        let owed = totals.payable_msat + totals.node_reserve_msat + totals.treasury_msat;
        assert_eq!(totals.wallet_msat, owed, "{totals:?}");
        assert_eq!((totals.paid_msat, totals.loss_msat), (0, 0), "{totals:?}");
        verified
    }
}

fn core_hash(block: &RewardBlock) -> bitcoin::BlockHash {
    block.hash.parse().unwrap()
}

/// The node's height before and after halving, both ways of a reorganisation, and what is whose after each.
async fn reorganise(world: World) {
    let node = &world.network.node;
    let whole = world.find("alice.rig").await;
    assert_eq!(
        whole.subsidy_msat,
        node.subsidy_sats(whole.height.into()) * 1_000
    );
    let to_halving = u32::try_from(HALVING - 1 - node.height()).unwrap();
    node.generate(to_halving);
    world.treasury.wait_until_payable(parsed(&whole)).await;
    let alone = world.balances().await;
    world.verify().await;

    // One is half as much, as Bitcoin Core says.
    let half = world.find("bob.rig").await;
    assert_eq!(u64::from(half.height), HALVING);
    assert_eq!(half.subsidy_msat * 2, whole.subsidy_msat);
    assert_eq!(half.subsidy_msat, node.subsidy_sats(HALVING) * 1_000);
    let both = world.balances().await;
    assert_ne!(both, alone);
    let split = report(&world, &half).await;
    world.verify().await;

    // Away before it is mature, and back.
    let short = world.reorganise(&half, 2)[0];
    let is_orphaned = |block: &RewardBlock| block.state == RewardBlockState::Orphaned;
    world.wait("it is orphaned", &half.hash, is_orphaned).await;
    assert_eq!(world.balances().await, alone);
    world.verify().await;
    world.bring_back(&half, &[short]);
    let is_split = |block: &RewardBlock| block.split_at.is_some();
    world.wait("it is split again", &half.hash, is_split).await;
    assert_eq!(world.balances().await, both);
    assert_eq!(report(&world, &half).await, split);
    world.verify().await;

    // Away after it was payable, with all above it, and back.
    let longer = u32::try_from(node.height()).unwrap() + 2;
    let long = world.reorganise(&whole, longer)[0];
    for block in [&whole, &half] {
        world.wait("it is orphaned", &block.hash, is_orphaned).await;
    }
    assert_eq!(world.balances().await, Balances::new());
    world.verify().await;
    world.bring_back(&whole, &[long, short]);
    world.treasury.wait_until_payable(parsed(&whole)).await;
    world.wait("it is split again", &half.hash, is_split).await;
    assert_eq!(world.balances().await, both);
    world.verify().await;
}

pub(super) fn parsed(block: &RewardBlock) -> hh_mining::BlockHash {
    let hash: [u8; 32] = *AsRef::<[u8; 32]>::as_ref(&core_hash(block));
    hh_mining::BlockHash::from_byte_array(hash)
}

/// What the split of a block comes to, whichever report came before it.
async fn report(world: &World, block: &RewardBlock) -> BlockReport {
    let report = world.client.report(within(CALL), block.hash.clone()).await;
    let report = report.unwrap().unwrap().report;
    let mut report = BlockReport::parse(report.as_bytes()).unwrap();
    report.previous_report = None;
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_takes_away_what_a_block_brought_and_brings_it_back_once() {
    reorganise(World::start(None, "").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_is_the_same_to_books_on_postgresql() {
    let Some(cluster) = Cluster::start("") else {
        return;
    };
    reorganise(World::start(Some(&cluster.database()), "").await).await;
}
