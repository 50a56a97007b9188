//! Everything that can be killed is killed at random, under load and around found blocks: what a miner was told stays true, and
//! no block is forgotten.
//!
//! `HH_CRASH_SEED` repeats the choices of a run; its load and its timing are the machine's.

use crate::cluster::{Cluster, Database};
use crate::crash::check_ledger;
use crate::load::Load;
use crate::postgres::network_on;
use hh_ipc::client::within;
use hh_ledger::{BlockRow, BlockState, LedgerReader, Location};
use hh_mining::BlockHash;
use hh_tests::channel::{Channel, FoundBlock};
use hh_tests::network::{CALL, Network};
use hh_tests::wait::{wait_for, wait_until};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::block_in_place;

/// Connections that load the pool all the time.
const CONNECTIONS: usize = 3;

/// For anything to be as it was after a kill, on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A block this far below the tip and not on the best chain is told as orphaned.
const LEFT_BEHIND: u32 = 7;

/// Of two blocks of one height that are found within so short a time, either may be the first at the node.
const RACE_MS: i64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Pool,
    TemplateProvider,
    Node,
    Postgres,
}

/// From when to when a node lacked blocks of ours, milliseconds since 1970: it was killed, and then given them again.
type Lack = RangeInclusive<i64>;

/// Who is killed. bitcoin-node forgets all of its chain then but the first block: hh-pool gives it ours again.
const VICTIMS: [Victim; 4] = [
    Victim::Pool,
    Victim::TemplateProvider,
    Victim::Node,
    Victim::Postgres,
];

/// When a block gets to the pool.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Its share is acknowledged when the victims are killed.
    Settled,
    /// It is on its way.
    Sent,
    /// After the victims are dead.
    After,
}

/// The network, its miners and the dice.
struct Site {
    cluster: Cluster,
    database: Database,
    network: Network,
    load: Load,
    dice: StdRng,
    /// Who is killed, one after the other.
    victims: Vec<Victim>,
    lacks: Vec<Lack>,
}

fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("the clock is past 1970").as_millis();
    i64::try_from(now).expect("it is a time of this age")
}

impl Site {
    /// None where there is no PostgreSQL.
    async fn start(seed: u64) -> Option<Self> {
        let cluster = Cluster::start("")?;
        let database = cluster.database();
        let network = network_on(&database).await;
        let load = Load::start(&network, CONNECTIONS);
        let mut dice = StdRng::seed_from_u64(seed);
        let mut victims = VICTIMS.to_vec();
        victims.shuffle(&mut dice);
        Some(Self {
            cluster,
            database,
            network,
            load,
            dice,
            victims,
            lacks: Vec::new(),
        })
    }

    /// One of each kind in turn, and another one sometimes.
    fn victims(&mut self, round: usize) -> Vec<Victim> {
        let all = self.victims.len();
        let mut victims = vec![self.victims[round % all]];
        let other = self.victims[self.dice.random_range(0..all)];
        if self.dice.random() && !victims.contains(&other) {
            victims.push(other);
        }
        victims.shuffle(&mut self.dice);
        victims
    }

    async fn round(&mut self, round: usize) {
        let victims = self.victims(round);
        let moments = [Moment::Settled, Moment::Sent, Moment::After];
        let moment = moments[self.dice.random_range(0..moments.len())];
        crate::say(&format!("round {round}: {victims:?}, the block {moment:?}"));
        let mut finder = self.load.miner().open("random.finder").await;
        let block = block_in_place(|| finder.find_block());
        let shares = self.dice.random_range(1..400);
        self.load.wait_for_shares(shares).await;
        let killed_ms = unix_ms();
        let height = self.network.node.height();
        self.kill(&victims, &mut finder, block, moment).await;
        let pool_lives = !victims.contains(&Victim::Pool);
        if pool_lives {
            // The others may be away: shares are taken all the same.
            let shares = self.dice.random_range(1..400);
            self.load.wait_for_shares(shares).await;
        }
        let node_lives = !victims.contains(&Victim::Node);
        self.restart(victims).await;
        if !node_lives {
            let what = "the node has as many blocks as before";
            wait_until(what, DEADLINE, async || {
                self.network.node.height() >= height
            })
            .await;
            self.lacks.push(killed_ms..=unix_ms());
        }
        // A pool that was killed has closed the connection.
        let settled = finder.settle(0).await;
        assert!(settled.is_ok() || !pool_lives, "{settled:?}");
        self.load.miner().take(finder);
        self.load.wait_for_shares(100).await;
    }

    async fn kill(
        &mut self,
        victims: &[Victim],
        finder: &mut Channel,
        block: FoundBlock,
        moment: Moment,
    ) {
        let mut block = Some(block);
        if !matches!(moment, Moment::After)
            && let Some(block) = block.take()
        {
            finder.send_block(block).await.expect("the pool is there");
        }
        if matches!(moment, Moment::Settled) {
            finder.settle(0).await.expect("the pool is there");
        }
        for victim in victims {
            match victim {
                Victim::Pool => self.network.pool.kill(),
                Victim::TemplateProvider => self.network.tp.kill(),
                Victim::Node => self.network.node.kill(),
                Victim::Postgres => self.cluster.kill(),
            }
        }
        if let Some(block) = block {
            // Where there is no pool any more nobody has heard of it.
            finder.send_block(block).await.ok();
        }
    }

    async fn restart(&mut self, mut victims: Vec<Victim>) {
        victims.shuffle(&mut self.dice);
        for victim in victims {
            match victim {
                Victim::Pool => self.network.pool.restart(),
                Victim::TemplateProvider => self.network.tp.restart(),
                Victim::Node => block_in_place(|| self.network.node.restart()),
                Victim::Postgres => block_in_place(|| self.cluster.resume()),
            }
        }
        self.network.tp.wait_until_ready().await;
        self.network.pool.wait_until_ready().await;
    }

    fn ledger(&self) -> LedgerReader {
        LedgerReader::new(&Location::Postgres(self.database.server()))
    }

    /// Why a block is not settled, or how it is not as the ledger says.
    fn fault(&self, block: &BlockRow) -> Option<String> {
        let hash = block.hash.to_string().parse().expect("a hash is one");
        let on_chain = self.network.node.block_on_best_chain(&hash).is_some();
        let is_right = match block.state {
            BlockState::Accepted => on_chain,
            BlockState::Rejected => !on_chain && block.reason.is_some(),
            // Another one is in its place: the tip is far above.
            BlockState::Orphaned => !on_chain,
            BlockState::Found | BlockState::Submitted => false,
        };
        (!is_right).then(|| format!("on the best chain: {on_chain}; {block:?}"))
    }

    /// Every block that is a share of the ledger is one of its blocks, and each of these is settled.
    async fn check_blocks(&self) {
        self.network.node.generate(LEFT_BEHIND);
        let ledger = self.ledger();
        let mut found = HashSet::new();
        for log in ledger.logs().await.expect("the ledger can be read") {
            let shares = ledger.shares(log.epoch, 0, usize::MAX >> 1).await;
            let shares = shares.expect("the ledger can be read").into_iter();
            found.extend(
                shares
                    .filter(|share| share.is_block)
                    .map(|share| share.hash),
            );
        }
        let faults = async || {
            let blocks = ledger.blocks(usize::MAX >> 1).await;
            let blocks = blocks.expect("the ledger can be read");
            let known: HashSet<BlockHash> = blocks.iter().map(|block| block.hash).collect();
            let unknown = found
                .difference(&known)
                .map(|hash| format!("not known: {hash}"));
            let faults = blocks.iter().filter_map(|block| self.fault(block));
            (faults.chain(unknown).collect::<Vec<_>>(), blocks)
        };
        let mut last = Vec::new();
        let settled = tokio::time::timeout(DEADLINE, async {
            wait_for("every block has its outcome", DEADLINE * 2, async || {
                let (faults, blocks) = faults().await;
                last = faults;
                last.is_empty().then_some(blocks)
            })
            .await
        });
        let settled = settled.await;
        let blocks = settled.unwrap_or_else(|_| panic!("blocks without an outcome: {last:#?}"));
        let count = |state| blocks.iter().filter(|block| block.state == state).count();
        crate::say(&format!(
            "{} blocks: {} on the chain, {} rejected, {} orphaned",
            blocks.len(),
            count(BlockState::Accepted),
            count(BlockState::Rejected),
            count(BlockState::Orphaned),
        ));
        assert!(count(BlockState::Accepted) > 0);
        check_orphans(&blocks, &self.lacks);
    }
}

/// None lost its place to a block that was found later, but for one that was found while a node that had forgotten the first was being
/// given what it lacked.
fn check_orphans(blocks: &[BlockRow], lacks: &[Lack]) {
    let of_state = |state| blocks.iter().filter(move |block| block.state == state);
    for orphan in of_state(BlockState::Orphaned) {
        let winner = of_state(BlockState::Accepted).find(|block| block.height == orphan.height);
        let is_fair = |winner: &BlockRow| {
            winner.found_at_ms <= orphan.found_at_ms + RACE_MS
                || lacks.iter().any(|lack| lack.contains(&winner.found_at_ms))
        };
        // Without one of ours in its place the first block of the chain is there, or one of this test's.
        assert!(winner.is_none_or(is_fair), "{orphan:?} for {winner:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_is_killed_at_random() {
    let seed = match std::env::var("HH_CRASH_SEED") {
        Ok(seed) => seed.parse().expect("HH_CRASH_SEED is a number"),
        Err(_) => rand::random(),
    };
    crate::say(&format!("HH_CRASH_SEED={seed}"));
    let Some(mut site) = Site::start(seed).await else {
        return;
    };
    // Its first block is no pool's.
    site.network.node.flush();
    for round in 0..if hh_tests::all() { 50 } else { 5 } {
        site.round(round).await;
    }
    let told = block_in_place(|| site.load.end());
    let codes: HashSet<&str> = told.refused.iter().map(|(_, code)| &**code).collect();
    let known = HashSet::from(["stale-share"]);
    assert!(codes.is_subset(&known), "{codes:?}");
    site.network.wait_until_shipped().await;
    let status = site.network.pool.pool().await.status(within(CALL)).await;
    let status = status.expect("hh-pool answers");
    assert_eq!(status.ledger.last_error, None);
    let (acknowledged, in_flight) = (told.acknowledged.len(), told.in_flight.len());
    crate::say(&format!(
        "{acknowledged} shares acknowledged, {in_flight} cut off"
    ));
    // The share of a block that was refused, because its job was stale, may be logged when the block is accepted all the same.
    let refused = told.refused.iter().map(|(hash, _)| *hash);
    let may_be_there: Vec<BlockHash> = told.in_flight.into_iter().chain(refused).collect();
    check_ledger(&site.ledger(), &told.acknowledged, &may_be_there).await;
    site.check_blocks().await;
}
