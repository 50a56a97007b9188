//! The ledger through its public interface, on real files.
#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod blocks;
mod files;
mod shipping;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hh_ledger::{BindingRow, Epoch, Ledger, LedgerReader, Origin, ShareRow, Shipment};
use hh_mining::BlockHash;
use tempfile::TempDir;

const EPOCH: Epoch = [7; 16];
const NOW_MS: i64 = 1_700_000_000_000;

/// A ledger in a directory of its own.
struct Site {
    dir: TempDir,
    ledger: Ledger,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("pool.db"), "pool-1").unwrap();
        Self { dir, ledger }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("pool.db")
    }

    fn reader(&self) -> LedgerReader {
        reader(&self.path())
    }
}

fn reader(path: &Path) -> LedgerReader {
    LedgerReader::open(path).unwrap()
}

fn origin(account: &str, worker: &str) -> Arc<Origin> {
    Arc::new(Origin::new(account, worker, "core", "main").unwrap())
}

fn share(seq: u64, origin: &Arc<Origin>) -> ShareRow {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&seq.to_le_bytes());
    ShareRow {
        seq,
        accepted_at_ms: NOW_MS + i64::try_from(seq).unwrap() * 7,
        origin: Arc::clone(origin),
        hash: BlockHash::from_byte_array(hash),
        extranonce_prefix: [0, 7, 0, 0, 0, 0, 0, 1],
        channel_id: u32::MAX,
        job_id: 2,
        nbits: 0x1d00_ffff,
        ntime: u32::MAX,
        nonce: u32::MAX,
        version: u32::MAX,
        work: u128::from(seq) << 80,
        score: u128::from(seq) << 90,
        is_block: seq.is_multiple_of(5),
    }
}

fn binding(seq: u64, prefix: u64, origin: &Arc<Origin>) -> BindingRow {
    BindingRow {
        seq,
        bound_at_ms: NOW_MS,
        extranonce_prefix: prefix.to_be_bytes(),
        origin: Arc::clone(origin),
    }
}

/// A shipment of these shares, which have no gap between them.
fn shipment(shares: Vec<ShareRow>) -> Shipment {
    Shipment {
        epoch: EPOCH,
        first_seq: shares.first().unwrap().seq,
        last_seq: shares.last().unwrap().seq,
        shares,
        bindings: Vec::new(),
        watermark_ms: None,
    }
}
