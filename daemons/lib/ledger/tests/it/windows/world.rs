//! Shares of several logs and blocks among them, and a walk over them that knows nothing of minutes.

use std::sync::Arc;

use hh_ledger::{BlockRow, BlockState, Epoch, Origin, ShareRow, Shipment};
use hh_mining::{BlockHash, Score, ShareId, SharePosition, WindowSize, Work};
use proptest::prelude::*;

use crate::{NOW_MS, Site, share};

/// The start of a minute.
pub(crate) const START_MS: i64 = NOW_MS - NOW_MS % 60_000;

/// Two of them are a pool's that began a new log.
const LOGS: [(&str, Epoch); 3] = [
    ("pool-1", [9; 16]),
    ("pool-1", [3; 16]),
    ("pool-2", [5; 16]),
];

/// Before and after a retarget: difficulty 1, and some 3.
const NBITS: [u32; 2] = [0x1d00_ffff, 0x1c55_5500];

const ORIGINS: [[&str; 4]; 6] = [
    ["alice", "", "core", "main"],
    ["alice", "rig1", "edge-1", "main"],
    ["alice", "rig2", "core", "farm"],
    ["bob", "", "edge-2", "main"],
    ["carol@example.com", "rig/1", "edge-1", "main"],
    ["carol@example.com", "rig/1", "core", "main"],
];

/// What is mined next.
#[derive(Debug, Clone)]
pub(crate) struct Mined {
    log: usize,
    after_ms: i64,
    who: usize,
    work: u128,
    retarget: bool,
    /// It is a block, which was found so much earlier; or a block is found now that no log has.
    block: Option<(i64, bool)>,
}

pub(crate) fn mined() -> impl Strategy<Value = Mined> {
    let after_ms = prop_oneof![Just(0), 0..20_i64, 0..9_000_i64, 0..200_000_i64];
    let earlier_ms = prop_oneof![Just(0), 0..1_500_i64];
    let block = prop::option::weighted(0.05, (earlier_ms, prop::bool::weighted(0.2)));
    let retarget = prop::bool::weighted(0.02);
    (
        0..3_usize,
        after_ms,
        0..6_usize,
        1..1_000_u128,
        retarget,
        block,
    )
        .prop_map(|(log, after_ms, who, work, retarget, block)| Mined {
            log,
            after_ms,
            who,
            work,
            retarget,
            block,
        })
}

pub(crate) struct Log {
    pub pool: &'static str,
    pub epoch: Epoch,
    pub shares: Vec<ShareRow>,
}

pub(crate) struct World {
    pub logs: Vec<Log>,
    /// In the order in which they were found.
    pub blocks: Vec<BlockRow>,
    now_ms: i64,
    last: Option<(usize, usize)>,
}

/// A share of a window.
pub(crate) struct Counted<'a> {
    pub pool: &'a str,
    pub epoch: Epoch,
    pub share: &'a ShareRow,
    pub counted: u128,
}

impl World {
    pub(crate) fn new() -> Self {
        let log = |(pool, epoch)| Log {
            pool,
            epoch,
            shares: Vec::new(),
        };
        Self {
            logs: LOGS.map(log).into(),
            blocks: Vec::new(),
            now_ms: START_MS,
            last: None,
        }
    }

    /// With a block at its end.
    pub(crate) fn of(mined: &[Mined]) -> Self {
        let (mut world, mut nbits) = (Self::new(), 0);
        for next in mined {
            nbits = (nbits + usize::from(next.retarget)) % NBITS.len();
            let [account, worker, node, lane] = ORIGINS[next.who];
            let origin = Arc::new(Origin::new(account, worker, node, lane).unwrap());
            let hash = world.mine_work(next.log, next.after_ms, &origin, (next.work, NBITS[nbits]));
            match next.block {
                Some((_, true)) => drop(world.found_in_no_log(&hash)),
                Some((earlier_ms, false)) => world.found_earlier(&hash, earlier_ms),
                None => {}
            }
        }
        let last = world.last();
        if world.blocks.last().is_none_or(|block| block.hash != last) {
            world.found(&last);
        }
        world
    }

    /// A share of this score; gives its hash.
    pub(crate) fn mine(
        &mut self,
        log: usize,
        after_ms: i64,
        origin: &Arc<Origin>,
        score: u128,
    ) -> BlockHash {
        let hash = self.mine_work(log, after_ms, origin, (score, NBITS[0]));
        let last = self.logs[log].shares.last_mut().unwrap();
        last.score = score;
        hash
    }

    /// A share of this work at this nBits.
    pub(crate) fn mine_work(
        &mut self,
        log: usize,
        after_ms: i64,
        origin: &Arc<Origin>,
        (work, nbits): (u128, u32),
    ) -> BlockHash {
        self.now_ms += after_ms;
        let epoch = self.logs[log].epoch;
        let shares = &mut self.logs[log].shares;
        let seq = shares.last().map_or(1, |share| share.seq + 1);
        let mut hash = [epoch[0]; 32];
        hash[..8].copy_from_slice(&seq.to_le_bytes());
        let hash = BlockHash::from_byte_array(hash);
        shares.push(ShareRow {
            accepted_at_ms: self.now_ms,
            hash,
            work,
            score: Score::of(Work(work), nbits).unwrap().0,
            nbits,
            ..share(seq, origin)
        });
        self.last = Some((log, shares.len() - 1));
        hash
    }

    /// The last share's hash.
    pub(crate) fn last(&self) -> BlockHash {
        let (log, index) = self.last.unwrap();
        self.logs[log].shares[index].hash
    }

    /// A share is a block.
    pub(crate) fn found(&mut self, hash: &BlockHash) {
        self.found_earlier(hash, 0);
    }

    fn found_earlier(&mut self, hash: &BlockHash, earlier_ms: i64) {
        let at_ms = self.share(hash).unwrap().share.accepted_at_ms;
        self.add_block(*hash, at_ms - earlier_ms);
    }

    /// A block at the time of this share, whose own is in no log; gives its hash.
    pub(crate) fn found_in_no_log(&mut self, at: &BlockHash) -> BlockHash {
        let mut hash = at.to_byte_array();
        hash[31] ^= 0xff;
        let hash = BlockHash::from_byte_array(hash);
        let at_ms = self.share(at).unwrap().share.accepted_at_ms;
        self.add_block(hash, at_ms);
        hash
    }

    fn add_block(&mut self, hash: BlockHash, found_at_ms: i64) {
        let height = 100 + u32::try_from(self.blocks.len()).unwrap();
        self.blocks.push(BlockRow {
            hash,
            height,
            state: BlockState::Accepted,
            reason: None,
            account: "alice".to_owned(),
            worker: String::new(),
            node: "core".to_owned(),
            lane: "main".to_owned(),
            found_at_ms,
            value_sat: 5_000_000_000,
            extranonce_prefix: "0007000000000001".to_owned(),
            paths: Vec::new(),
        });
    }

    /// Puts all of it into a ledger, logs in this order, and makes the cuts.
    pub(crate) async fn put_into(&self, site: &Site, order: [usize; 3]) {
        self.ship(site, order).await;
        for block in &self.blocks {
            site.ledger.put_block(block.clone()).await.unwrap();
        }
        site.ledger.cut_blocks().await.unwrap();
    }

    pub(crate) async fn ship(&self, site: &Site, order: [usize; 3]) {
        for log in order.map(|log| &self.logs[log]) {
            let Some(last) = log.shares.last() else {
                continue;
            };
            let shipment = Shipment {
                epoch: log.epoch,
                first_seq: 1,
                last_seq: last.seq,
                shares: log.shares.clone(),
                bindings: Vec::new(),
                watermark_ms: Some(self.now_ms + 3_600_000),
            };
            let ledger = site.ledger_of(log.pool);
            ledger.ship(Arc::new(shipment)).await.unwrap();
        }
    }

    pub(crate) fn score(&self) -> u128 {
        self.in_order().iter().map(|row| row.share.score).sum()
    }

    pub(crate) fn accounts(&self) -> Vec<&str> {
        let rows = self.in_order().into_iter();
        let mut accounts: Vec<_> = rows.map(|row| row.share.origin.account()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        accounts
    }

    /// All shares in their order.
    pub(crate) fn in_order(&self) -> Vec<Counted<'_>> {
        let rows = self.logs.iter().flat_map(|log| {
            log.shares.iter().map(|share| Counted {
                pool: log.pool,
                epoch: log.epoch,
                share,
                counted: share.score,
            })
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| (row.share.accepted_at_ms, row.pool, row.epoch, row.share.seq));
        rows
    }

    fn share(&self, hash: &BlockHash) -> Option<Counted<'_>> {
        let mut rows = self.in_order().into_iter();
        rows.find(|row| row.share.hash == *hash)
    }

    /// Where a block's winning share is.
    pub(crate) fn place_of(&self, block: usize) -> SharePosition {
        let block = &self.blocks[block];
        match self.share(&block.hash) {
            Some(row) => SharePosition {
                at_ms: row.share.accepted_at_ms,
                share: Some(ShareId {
                    pool: row.pool.to_owned(),
                    epoch: row.epoch,
                    seq: row.share.seq,
                }),
            },
            None => SharePosition {
                at_ms: block.found_at_ms,
                share: None,
            },
        }
    }

    /// The last block that lies before another one.
    pub(crate) fn block_before(&self, block: usize) -> Option<BlockHash> {
        let others = (0..self.blocks.len()).filter(|other| *other != block);
        let before = others.filter(|other| self.up_to(*other) < self.up_to(block));
        let last = before.max_by_key(|other| self.up_to(*other));
        last.map(|last| self.blocks[last].hash)
    }

    /// Whether a log has the winning share of a block.
    pub(crate) fn has_share(&self, hash: &BlockHash) -> bool {
        self.share(hash).is_some()
    }

    /// How many shares lie up to a block's winning share.
    fn up_to(&self, block: usize) -> usize {
        let place = self.place_of(block);
        let rows = self.in_order();
        let lies_before = |row: &Counted<'_>| {
            let (pool, epoch, seq) = (row.pool.to_owned(), row.epoch, row.share.seq);
            place.includes(row.share.accepted_at_ms, &ShareId { pool, epoch, seq })
        };
        rows.iter().filter(|row| lies_before(row)).count()
    }

    /// A block's window, newest first: share after share back from the winning one.
    pub(crate) fn walk_back(&self, block: usize, size: WindowSize) -> Vec<Counted<'_>> {
        let mut rows = self.in_order();
        rows.truncate(self.up_to(block));
        let mut left = match size {
            WindowSize::Pplns { score } => score.0,
            WindowSize::Round { previous } => {
                if let Some(hash) = previous {
                    let before = self.blocks.iter().position(|block| block.hash == hash);
                    rows.drain(..self.up_to(before.unwrap()));
                }
                u128::MAX
            }
        };
        let mut window = Vec::new();
        for mut row in rows.into_iter().rev() {
            if left == 0 {
                break;
            }
            row.counted = row.share.score.min(left);
            left -= row.counted;
            window.push(row);
        }
        window
    }
}
