//! Work for tests: jobs and blocks to build on, at which a header is a share of an easy target at the first try.

use super::{Tip, UpstreamJob};
use hh_sv2::message::{NewExtendedMiningJob, Seq0255, SetNewPrevHash, Sv2Option};
use std::sync::Arc;

/// Of every job.
pub(crate) const VERSION: u32 = 0x2000_0000;

/// From when on shares may be.
pub(crate) const NTIME: u32 = 1_700_000_000;

/// Without `min_ntime` it is a future job.
pub(crate) fn job(job_id: u32, min_ntime: Option<u32>) -> Arc<UpstreamJob> {
    let message = NewExtendedMiningJob {
        channel_id: 1,
        job_id,
        min_ntime: Sv2Option::new(min_ntime),
        version: VERSION,
        version_rolling_allowed: true,
        merkle_path: Seq0255::new(Vec::new()).unwrap(),
        coinbase_tx_prefix: vec![1; 50].try_into().unwrap(),
        coinbase_tx_suffix: vec![2; 50].try_into().unwrap(),
    };
    Arc::new(message.into())
}

/// A block whose hash is `byte` over and over, which makes the future job `job_id` active.
pub(crate) fn tip(job_id: u32, byte: u8) -> Arc<Tip> {
    let message = SetNewPrevHash {
        channel_id: 1,
        job_id,
        prev_hash: [byte; 32].into(),
        min_ntime: NTIME,
        nbits: 0x207f_ffff,
    };
    Arc::new(message.try_into().unwrap())
}
