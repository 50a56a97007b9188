//! Rounds, from blocks and shares of several pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use hh_ledger::{
    BlockRow, BlockState, Epoch, Ledger, Origin, RetireWhere, Retirement, Round, RoundAccount,
    ShareRow, Shipment, Sum,
};
use hh_mining::BlockHash;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::{NOW_MS, Place, Site, origin, share};

on_both_engines!(
    a_round_ends_with_an_accepted_block_and_goes_on_over_any_other,
    a_round_has_no_sum_until_every_pool_has_shipped_it,
    a_block_whose_share_no_log_has_ends_its_round_with_its_millisecond,
    without_a_block_there_is_one_round,
    rounds_are_the_shares_between_blocks_whatever_happens_to_rows_and_blocks,
);

/// Later than any share of these tests, by more than what a block has to wait for.
const LATER_MS: i64 = NOW_MS + 1_000_000_000;

/// A pool and its log.
struct Pool {
    name: String,
    epoch: Epoch,
    ledger: Ledger,
    shares: Vec<ShareRow>,
    shipped: usize,
}

impl Pool {
    async fn new(site: &Site, number: u8) -> Self {
        let name = format!("pool-{number}");
        let ledger = site.ledger_of(&name);
        let epoch = [9 - number; 16];
        let claim = ledger.claim_server_id(number.into(), epoch, NOW_MS);
        claim.await.unwrap();
        Self {
            name,
            epoch,
            ledger,
            shares: Vec::new(),
            shipped: 0,
        }
    }

    /// A share of its log, `after_ms` after the one before.
    fn mine(&mut self, after_ms: i64, origin: &Arc<Origin>, work: u128) -> ShareRow {
        let last = self.shares.last();
        // Between them lie the records of watermarks.
        let seq = last.map_or(2, |share| share.seq + 2);
        let mut hash = [self.epoch[0]; 32];
        hash[..8].copy_from_slice(&seq.to_le_bytes());
        let share = ShareRow {
            accepted_at_ms: last.map_or(NOW_MS, |share| share.accepted_at_ms) + after_ms,
            hash: BlockHash::from_byte_array(hash),
            work,
            score: work << 9,
            ..share(seq, origin)
        };
        self.shares.push(share.clone());
        share
    }

    /// Ships up to so many shares more, and a watermark that says that all up to there came.
    async fn ship(&mut self, count: usize) {
        let end = self.shares.len().min(self.shipped.saturating_add(count));
        let shares = self.shares[self.shipped..end].to_vec();
        let next = self.shares.get(end).map(|share| share.accepted_at_ms);
        let last_seq = |shipped: usize| self.shares[..shipped].last().map_or(0, |share| share.seq);
        let shipment = Shipment {
            epoch: self.epoch,
            first_seq: last_seq(self.shipped) + 1,
            last_seq: last_seq(end) + 1,
            shares,
            bindings: Vec::new(),
            watermark_ms: Some(next.unwrap_or(LATER_MS)),
        };
        self.shipped = end;
        self.ledger.ship(Arc::new(shipment)).await.unwrap();
    }
}

fn block(hash: BlockHash, height: u32, found_at_ms: i64, state: BlockState) -> BlockRow {
    BlockRow {
        hash,
        height,
        state,
        reason: None,
        account: "alice".to_owned(),
        worker: "rig1".to_owned(),
        node: "core".to_owned(),
        lane: "main".to_owned(),
        found_at_ms,
        value_sat: 5_000_000_000,
        extranonce_prefix: "0007000000000001".to_owned(),
        paths: Vec::new(),
    }
}

fn block_of(share: &ShareRow, height: u32) -> BlockRow {
    block(
        share.hash,
        height,
        share.accepted_at_ms,
        BlockState::Accepted,
    )
}

fn sum_of<'a>(shares: impl IntoIterator<Item = &'a ShareRow>) -> Sum {
    shares.into_iter().fold(Sum::default(), |sum, share| Sum {
        shares: sum.shares + 1,
        work: sum.work + share.work,
        score: sum.score + share.score,
    })
}

/// Heights of the blocks that ended the rounds, newest first, and how many shares these have.
fn outline(rounds: &[Round]) -> Vec<(Option<u32>, Option<u64>)> {
    let line = |round: &Round| {
        let height = round.block.as_ref().map(|block| block.height);
        (height, round.sum.map(|sum| sum.shares))
    };
    rounds.iter().map(line).collect()
}

async fn a_round_ends_with_an_accepted_block_and_goes_on_over_any_other(site: Site) {
    let alice = origin("alice", "rig1");
    let mut pool = Pool::new(&site, 1).await;
    let shares: Vec<_> = (0..12).map(|_| pool.mine(1_000, &alice, 1)).collect();
    pool.ship(usize::MAX).await;
    for (index, height) in [(2, 101), (5, 102), (8, 103)] {
        let block = block_of(&shares[index], height);
        site.ledger.put_block(block).await.unwrap();
    }
    assert_eq!(site.ledger.cut_blocks().await.unwrap(), 3);
    assert_eq!(site.ledger.cut_blocks().await.unwrap(), 0);
    let reader = site.reader();
    let rounds = reader.rounds(10).await.unwrap();
    let each = [
        (None, Some(3)),
        (Some(103), Some(3)),
        (Some(102), Some(3)),
        (Some(101), Some(3)),
    ];
    assert_eq!(outline(&rounds), each);
    assert_eq!(rounds[1].previous, Some(shares[5].hash));
    assert_eq!(rounds[1].started_at_ms, Some(shares[5].accepted_at_ms));
    assert_eq!(rounds[1].ended_at_ms, Some(shares[8].accepted_at_ms));
    assert_eq!(rounds[3].started_at_ms, Some(shares[0].accepted_at_ms));
    let last = reader.rounds(1).await.unwrap();
    assert_eq!(outline(&last), each[..2]);
    assert_eq!(outline(&reader.rounds(0).await.unwrap()), each[..1]);

    let mut orphan = block_of(&shares[5], 102);
    orphan.state = BlockState::Orphaned;
    site.ledger.put_block(orphan.clone()).await.unwrap();
    let rounds = reader.rounds(10).await.unwrap();
    let joined = [(None, Some(3)), (Some(103), Some(6)), (Some(101), Some(3))];
    assert_eq!(outline(&rounds), joined);
    assert_eq!(rounds[1].other_blocks, [orphan]);
    // And back.
    site.ledger
        .put_block(block_of(&shares[5], 102))
        .await
        .unwrap();
    assert_eq!(outline(&reader.rounds(10).await.unwrap()), each);
}

async fn a_round_has_no_sum_until_every_pool_has_shipped_it(site: Site) {
    let alice = origin("alice", "rig1");
    let mut ours = Pool::new(&site, 1).await;
    let mut theirs = Pool::new(&site, 2).await;
    let won = ours.mine(1_000, &alice, 5);
    ours.mine(5, &alice, 7);
    for after_ms in [400, 600, 1] {
        theirs.mine(after_ms, &alice, 1);
    }
    ours.ship(usize::MAX).await;
    site.ledger.put_block(block_of(&won, 101)).await.unwrap();
    let reader = site.reader();
    // Their log is not in the ledger yet; then it is, but lags.
    for _ in 0..2 {
        assert_eq!(site.ledger.cut_blocks().await.unwrap(), 0);
        let rounds = reader.rounds(10).await.unwrap();
        assert_eq!(outline(&rounds), [(None, None), (Some(101), None)]);
        let accounts = reader.round_accounts(None, Some(won.hash), 10).await;
        assert_eq!(accounts.unwrap(), None);
        // Rows from which the sum is still to be made are not pruned.
        assert_eq!(site.ledger.prune_before(i64::MAX).await.unwrap(), 0);
        theirs.ship(1).await;
    }
    theirs.ship(usize::MAX).await;
    assert_eq!(site.ledger.cut_blocks().await.unwrap(), 1);
    // Of theirs, the one of the same millisecond lies behind ours: pools are in the order of their names.
    let rounds = reader.rounds(10).await.unwrap();
    assert_eq!(outline(&rounds), [(None, Some(3)), (Some(101), Some(2))]);
    assert_eq!(rounds[1].sum.unwrap().work, 6);

    // A pool that was retired is not waited for.
    let won = ours.mine(10_000, &alice, 1);
    ours.ship(usize::MAX).await;
    let silent = Pool::new(&site, 3).await;
    site.ledger.put_block(block_of(&won, 102)).await.unwrap();
    assert_eq!(site.ledger.cut_blocks().await.unwrap(), 0);
    let retire = site
        .ledger
        .retire_server_id(3, silent.epoch, RetireWhere::Replaced);
    let retired = retire.await.unwrap();
    assert!(
        matches!(retired, Retirement::Retired(_)),
        "{} held its id",
        silent.name
    );
    assert_eq!(site.ledger.cut_blocks().await.unwrap(), 1);
}

async fn a_block_whose_share_no_log_has_ends_its_round_with_its_millisecond(site: Site) {
    let alice = origin("alice", "rig1");
    let mut pool = Pool::new(&site, 1).await;
    let times = [1_000, 1_000, 0, 0, 1, 60_000];
    let shares = times.map(|after_ms| pool.mine(after_ms, &alice, 1));
    pool.ship(usize::MAX).await;
    let hash = BlockHash::from_byte_array([1; 32]);
    let stale = block(hash, 101, shares[1].accepted_at_ms, BlockState::Accepted);
    site.ledger.put_block(stale).await.unwrap();
    // Written when the disk took writes again, a minute later: the block's time stands.
    site.ledger
        .put_block(BlockRow {
            found_at_ms: shares[4].accepted_at_ms,
            ..block_of(&shares[5], 102)
        })
        .await
        .unwrap();
    site.ledger.cut_blocks().await.unwrap();
    let rounds = site.reader().rounds(10).await.unwrap();
    let expected = [(None, Some(1)), (Some(102), Some(1)), (Some(101), Some(4))];
    assert_eq!(outline(&rounds), expected);
}

async fn without_a_block_there_is_one_round(site: Site) {
    let mut pool = Pool::new(&site, 1).await;
    let reader = site.reader();
    let rounds = reader.rounds(10).await.unwrap();
    assert_eq!(outline(&rounds), [(None, Some(0))]);
    assert_eq!(rounds[0].started_at_ms, None);
    pool.mine(0, &origin("alice", ""), 3);
    pool.ship(1).await;
    let rounds = reader.rounds(10).await.unwrap();
    assert_eq!(outline(&rounds), [(None, Some(1))]);
    assert_eq!(rounds[0].started_at_ms, Some(NOW_MS));
    let accounts = reader.round_accounts(None, None, 10).await.unwrap();
    assert_eq!(accounts.unwrap()[0].sum.work, 3);
}

/// One share of a pool, and what becomes of it if it is a block.
#[derive(Debug, Clone)]
struct Mined {
    pool: usize,
    after_ms: i64,
    account: usize,
    work: u128,
    block: Option<(BlockState, i64)>,
}

/// Also shares that lie in one millisecond, and rounds of many minutes.
fn mined() -> impl Strategy<Value = Mined> {
    let state = prop_oneof![
        3 => Just(BlockState::Accepted),
        1 => Just(BlockState::Orphaned),
        1 => Just(BlockState::Rejected),
    ];
    // A winning share may be a little later in the log than its block.
    let block = prop::option::weighted(0.15, (state, prop_oneof![Just(0), 0..1_500_i64]));
    let after_ms = prop_oneof![Just(0), 0..20_i64, 0..200_000_i64];
    (0..3_usize, after_ms, 0..4_usize, 1..1_000_u128, block).prop_map(
        |(pool, after_ms, account, work, block)| Mined {
            pool,
            after_ms,
            account,
            work,
            block,
        },
    )
}

/// A second way to the same rounds: all shares in their order, cut after each winning share of an accepted block.
fn rounds_of(pools: &[Pool], blocks: &[BlockRow]) -> Vec<(Option<BlockHash>, Vec<ShareRow>)> {
    let with_names = pools.iter().flat_map(|pool| {
        let share = |share: &ShareRow| (share.accepted_at_ms, &*pool.name, pool.epoch, share.seq);
        pool.shares.iter().map(move |s| (share(s), s))
    });
    let mut shares: Vec<_> = with_names.collect();
    shares.sort_by_key(|(key, _)| *key);
    let mut rounds = Vec::new();
    let mut round = Vec::new();
    for (_, share) in shares {
        round.push(share.clone());
        let ended =
            |block: &&BlockRow| block.hash == share.hash && block.state == BlockState::Accepted;
        if let Some(block) = blocks.iter().find(ended) {
            rounds.push((Some(block.hash), std::mem::take(&mut round)));
        }
    }
    rounds.push((None, round));
    rounds.reverse();
    rounds
}

fn accounts_of(shares: &[ShareRow]) -> Vec<RoundAccount> {
    let mut accounts = BTreeMap::<&str, Vec<&ShareRow>>::new();
    for share in shares {
        let of_account = accounts.entry(share.origin.account()).or_default();
        of_account.push(share);
    }
    let account = |(account, shares): (&str, Vec<&ShareRow>)| RoundAccount {
        account: account.to_owned(),
        sum: sum_of(shares),
    };
    let mut accounts: Vec<_> = accounts.into_iter().map(account).collect();
    accounts.sort_by_key(|account| std::cmp::Reverse(account.sum.work));
    accounts
}

async fn check_rounds(site: &Site, expected: &[(Option<BlockHash>, Vec<ShareRow>)]) {
    let reader = site.reader();
    let rounds = reader.rounds(usize::MAX).await.unwrap();
    assert_eq!(rounds.len(), expected.len());
    for (round, (hash, shares)) in rounds.iter().zip(expected) {
        let block = round.block.as_ref().map(|block| block.hash);
        assert_eq!(block, *hash);
        assert_eq!(round.sum, Some(sum_of(shares)));
        let accounts = reader.round_accounts(round.previous, block, 10).await;
        assert_eq!(accounts.unwrap().unwrap(), accounts_of(shares));
    }
    let some = reader.rounds(2).await.unwrap();
    assert_eq!(some, rounds[..rounds.len().min(3)]);
}

/// Whatever the pools' times and shipments, whenever rounds are summed up and rows pruned, and whatever becomes of a block.
async fn rounds_are_the_shares_between_blocks_whatever_happens_to_rows_and_blocks(site: Site) {
    // A case takes PostgreSQL some seconds: for each there is a database, and a commit for each step.
    let count = match &site.place {
        Place::Directory(_) => 25,
        Place::Database(_) => 4,
    };
    let mut runner = TestRunner::default();
    let cases = (
        prop::collection::vec(mined(), 1..120),
        prop::collection::vec((0..3_usize, 0..30_usize, any::<bool>()), 0..20),
    );
    for _ in 0..count {
        let (mined, steps) = cases.new_tree(&mut runner).unwrap().current();
        let site = site.another();
        let mut pools = Vec::new();
        for number in 1..=3 {
            pools.push(Pool::new(&site, number).await);
        }
        let origins = [("alice", ""), ("alice", "rig1"), ("bob", ""), ("carol", "")];
        let origins = origins.map(|(account, worker)| origin(account, worker));
        let mut blocks = Vec::new();
        for Mined {
            pool,
            after_ms,
            account,
            work,
            block: found,
        } in mined
        {
            let share = pools[pool].mine(after_ms, &origins[account], work);
            if let Some((state, earlier_ms)) = found {
                let height = 100 + u32::try_from(blocks.len()).unwrap();
                let found_at_ms = share.accepted_at_ms - earlier_ms;
                blocks.push(block(share.hash, height, found_at_ms, state));
            }
        }
        for block in &blocks {
            site.ledger.put_block(block.clone()).await.unwrap();
        }
        for (pool, count, prune) in steps {
            pools[pool].ship(count).await;
            site.ledger.cut_blocks().await.unwrap();
            if prune {
                site.ledger.prune_before(i64::MAX).await.unwrap();
            }
        }
        for pool in &mut pools {
            pool.ship(usize::MAX).await;
        }
        site.ledger.cut_blocks().await.unwrap();
        check_rounds(&site, &rounds_of(&pools, &blocks)).await;
        site.ledger.prune_before(i64::MAX).await.unwrap();
        assert_eq!(site.reader().share_count().await.unwrap(), 0);
        check_rounds(&site, &rounds_of(&pools, &blocks)).await;
        for block in &mut blocks {
            block.state = match block.state {
                BlockState::Accepted => BlockState::Orphaned,
                _ => BlockState::Accepted,
            };
            site.ledger.put_block(block.clone()).await.unwrap();
        }
        check_rounds(&site, &rounds_of(&pools, &blocks)).await;
    }
}
