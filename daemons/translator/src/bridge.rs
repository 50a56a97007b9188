//! SV2 job to SV1 notify, and SV1 submit to SV2 share: the mapping alone, without a socket or a clock.
//!
//! The extranonce is what makes the two fit. SV2 splits it into a prefix that the pool sets when the channel opens and the
//! rest, which is the miner's; SV1 wants to know its extranonce1 before it says who it is. So the prefix is made part of
//! coinb1, and what SV1 calls extranonce1 is our own, cut off the miner's rest: `subscribe` can be answered at once, and a new
//! prefix is simply a new job (docs/adr/0006-sv1-extranonce.md).

mod rejection;
#[cfg(test)]
pub(crate) mod sample;

pub use rejection::Rejection;

use crate::sv1::message::{Submit, notification};
use hh_mining::share::{ROLLABLE_VERSION_BITS, ShareTarget, ShareTerms, check};
use hh_mining::{BlockHash, CheckedShare, CompactError, Target, merkle_root_of};
use hh_sv2::message::{NewExtendedMiningJob, SetNewPrevHash};
use std::sync::Arc;

/// The version bits that SV1 firmware knows to roll (BIP320). BIP323, which SV2 has, allows more.
pub const BIP320_VERSION_BITS: u32 = 0x1FFF_E000;

/// Bytes of extranonce1 where there is room for them; it is never empty, which some firmware takes for an error.
const EXTRANONCE1_SIZE_MAX: usize = 4;

/// Bytes of extranonce2 where there is room for them. Marketplaces ask for 4 to 7; none asks for more than 8.
const EXTRANONCE2_SIZE_MAX: usize = 8;

/// What a channel offers to roll if we don't know better: extranonce1 of one byte, extranonce2 of seven.
const ROOM_DEFAULT: usize = 8;

/// An integer difficulty that is harder than the target by less than this part is sent instead of the exact one: some
/// firmware reads integers only, and the miner's loss is not measurable.
const ROUNDING_LOSS_MAX: f64 = 1e-4;

/// How the miner's part of the extranonce is cut for one SV1 session. Fixed when `subscribe` is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtranonceSplit {
    /// Our own bytes, as `subscribe` gave them.
    pub extranonce1: Vec<u8>,
    /// What is left to the miner, in bytes.
    pub extranonce2_size: usize,
}

impl ExtranonceSplit {
    /// For a channel that lets `room` bytes be rolled, if that is known from another channel of the upstream, of which
    /// `lease_size` (at most 6) tell the miners apart that share it. `session` makes extranonce1 differ between sessions, which
    /// SV1 tools like to see; nothing depends on it.
    pub fn new(room: Option<usize>, lease_size: usize, session: u64) -> Self {
        let room = room.unwrap_or(ROOM_DEFAULT).max(ROOM_DEFAULT);
        let room = room.saturating_sub(lease_size).max(2);
        let extranonce1_size = room
            .saturating_sub(EXTRANONCE2_SIZE_MAX)
            .clamp(1, EXTRANONCE1_SIZE_MAX);
        let session = session.to_be_bytes();
        Self {
            extranonce1: session[session.len() - extranonce1_size..].to_vec(),
            extranonce2_size: (room - extranonce1_size).min(EXTRANONCE2_SIZE_MAX),
        }
    }

    /// Bytes that the channel must let be rolled: `OpenExtendedMiningChannel.min_extranonce_size`.
    pub fn size(&self) -> usize {
        self.extranonce1.len() + self.extranonce2_size
    }
}

/// The bytes of the extranonce before extranonce1: the prefix that the pool set, the lease where miners share a channel, and
/// zeros for what the channel lets be rolled beyond what the session was promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtranonceFixed {
    bytes: Arc<[u8]>,
    /// Of the prefix.
    prefix_size: usize,
}

impl ExtranonceFixed {
    /// `prefix` and `rollable_size` as in OpenExtendedMiningChannel.Success, `lease` the first of the rollable bytes; none if
    /// the channel has less room than the `promised` bytes that the miner rolls.
    pub fn new(prefix: &[u8], rollable_size: usize, lease: &[u8], promised: usize) -> Option<Self> {
        let ours = rollable_size.checked_sub(promised)?;
        if ours < lease.len() {
            return None;
        }
        let mut bytes = [prefix, lease].concat();
        bytes.resize(prefix.len() + ours, 0);
        Some(Self {
            bytes: bytes.into(),
            prefix_size: prefix.len(),
        })
    }

    /// The same with another prefix (SetExtranoncePrefix).
    #[must_use]
    pub fn with_prefix(&self, prefix: &[u8]) -> Self {
        Self {
            bytes: [prefix, &self.bytes[self.prefix_size..]].concat().into(),
            prefix_size: prefix.len(),
        }
    }

    /// All of them: what an SV2 miner takes for the prefix that the pool set.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A job of the upstream, made once and shared by every session that gets it.
#[derive(Clone, Debug)]
pub struct UpstreamJob {
    pub job_id: u32,
    /// None for a future job, which SetNewPrevHash makes active.
    pub min_ntime: Option<u32>,
    pub version_rolling_allowed: bool,
    pub version: u32,
    pub coinbase_tx_prefix: Vec<u8>,
    pub coinbase_tx_suffix: Vec<u8>,
    pub merkle_path: Vec<[u8; 32]>,
    /// coinb2, the merkle branches and the version, as they stand in every notify.
    notify_middle: String,
}

impl From<NewExtendedMiningJob> for UpstreamJob {
    fn from(message: NewExtendedMiningJob) -> Self {
        let merkle_path: Vec<[u8; 32]> = message
            .merkle_path
            .into_inner()
            .into_iter()
            .map(|hash| hash.to_array())
            .collect();
        let branches: Vec<String> = merkle_path.iter().map(hex_json).collect();
        let coinb2 = hex_json(message.coinbase_tx_suffix.as_bytes());
        Self {
            job_id: message.job_id,
            min_ntime: message.min_ntime.into_inner(),
            version_rolling_allowed: message.version_rolling_allowed,
            version: message.version,
            notify_middle: format!(
                "{coinb2},[{}],\"{:08x}\"",
                branches.join(","),
                message.version
            ),
            coinbase_tx_prefix: message.coinbase_tx_prefix.as_bytes().to_vec(),
            coinbase_tx_suffix: message.coinbase_tx_suffix.as_bytes().to_vec(),
            merkle_path,
        }
    }
}

impl UpstreamJob {
    /// The merkle root with this whole extranonce in the coinbase.
    pub fn merkle_root(&self, extranonce: &[u8]) -> [u8; 32] {
        merkle_root_of(
            &self.coinbase_tx_prefix,
            extranonce,
            &self.coinbase_tx_suffix,
            &self.merkle_path,
        )
    }

    /// This future job once `tip` has made it active, for those who have not had it before.
    #[must_use]
    pub fn activated_by(&self, tip: &Tip) -> Self {
        Self {
            min_ntime: Some(tip.min_ntime),
            ..self.clone()
        }
    }
}

/// The block to build on, made once and shared like the jobs.
#[derive(Debug)]
pub struct Tip {
    /// The future job that becomes active with it.
    pub job_id: u32,
    pub prev_hash: [u8; 32],
    pub min_ntime: u32,
    pub nbits: u32,
    network_target: Target,
    /// prevhash as it stands in every notify.
    notify_prev_hash: String,
}

impl TryFrom<SetNewPrevHash> for Tip {
    type Error = CompactError;

    fn try_from(message: SetNewPrevHash) -> Result<Self, CompactError> {
        let prev_hash = message.prev_hash.to_array();
        Ok(Self {
            job_id: message.job_id,
            prev_hash,
            min_ntime: message.min_ntime,
            nbits: message.nbits,
            network_target: Target::from_compact(message.nbits)?,
            notify_prev_hash: hex_json(sv1_prev_hash(prev_hash)),
        })
    }
}

/// SV1 sends prevhash as eight 32-bit words, each in the byte order of the miner's registers: the bytes of the header,
/// reversed in groups of four.
fn sv1_prev_hash(mut prev_hash: [u8; 32]) -> [u8; 32] {
    for word in prev_hash.chunks_exact_mut(4) {
        word.reverse();
    }
    prev_hash
}

/// A job as one miner has it: with the extranonce and the target that were its channel's when it was sent.
#[derive(Clone, Debug)]
pub struct MinerJob {
    /// The job id of SV1, in hex there; never used twice in a session.
    pub id: u64,
    job: Arc<UpstreamJob>,
    tip: Arc<Tip>,
    fixed: ExtranonceFixed,
    target: ShareTarget,
    ntime: u32,
}

impl MinerJob {
    /// `job` on `tip`, for a channel whose target is `target` now.
    ///
    /// # Errors
    /// If the tip's nBits are no target.
    pub fn new(
        id: u64,
        job: Arc<UpstreamJob>,
        tip: Arc<Tip>,
        fixed: ExtranonceFixed,
        target: Target,
    ) -> Result<Self, CompactError> {
        Ok(Self {
            id,
            ntime: job.min_ntime.unwrap_or(tip.min_ntime),
            target: ShareTarget::new(target, tip.nbits)?,
            job,
            tip,
            fixed,
        })
    }

    /// The target that shares on it must meet.
    pub fn target(&self) -> Target {
        self.target.target()
    }

    /// Whether the miner may roll version bits on it.
    pub fn version_rolling_allowed(&self) -> bool {
        self.job.version_rolling_allowed
    }

    /// The `mining.notify` line. `clean` tells the miner to drop all earlier jobs.
    pub fn notify(&self, clean: bool) -> String {
        let coinb1 = [&self.job.coinbase_tx_prefix[..], &self.fixed.bytes].concat();
        notification(
            "mining.notify",
            &format!(
                "\"{:x}\",{},{},{},\"{:08x}\",\"{:08x}\",{clean}",
                self.id,
                self.tip.notify_prev_hash,
                hex_json(coinb1),
                self.job.notify_middle,
                self.tip.nbits,
                self.ntime,
            ),
        )
    }

    /// What the pool is to be sent for `submit`, if it has a chance there. `version_mask` is what the miner was granted.
    ///
    /// # Errors
    /// What is wrong with the share.
    pub fn share(
        &self,
        split: &ExtranonceSplit,
        version_mask: u32,
        submit: &Submit,
    ) -> Result<Share, Rejection> {
        if submit.extranonce2.len() != split.extranonce2_size {
            return Err(Rejection::BadExtranonceSize);
        }
        let version = rolled_version(self.job.version, version_mask, submit.version_bits)
            .ok_or(Rejection::NonRollableVersionBit)?;
        let rolled = [&split.extranonce1[..], &submit.extranonce2].concat();
        self.check(&rolled, version, submit.ntime, submit.nonce)
    }

    /// What the pool is to be sent for a header with these fields, if it has a chance there. `rolled` are the bytes of the
    /// extranonce that the miner was promised; that there are so many is the caller's to see.
    ///
    /// # Errors
    /// What is wrong with the share.
    pub fn check(
        &self,
        rolled: &[u8],
        version: u32,
        ntime: u32,
        nonce: u32,
    ) -> Result<Share, Rejection> {
        let full = [&self.fixed.bytes[..], rolled].concat();
        let merkle_root = self.job.merkle_root(&full);
        let CheckedShare { hash, work, .. } =
            check(&self.terms(), merkle_root, version, ntime, nonce)
                .map_err(|refused| Rejection::from(refused.reason))?;
        Ok(Share {
            job_id: self.job.job_id,
            version,
            ntime,
            nonce,
            extranonce: full[self.fixed.prefix_size..].to_vec(),
            hash,
            hashes: work.0,
        })
    }

    /// The rules that follow from the job. How far time may be rolled depends on the pool's clock, so it decides that.
    fn terms(&self) -> ShareTerms {
        ShareTerms {
            target: self.target,
            job_version: self.job.version,
            version_rolling_allowed: self.job.version_rolling_allowed,
            min_ntime: self.tip.min_ntime,
            max_ntime: u32::MAX,
            prev_hash: self.tip.prev_hash,
            network_target: self.tip.network_target,
        }
    }
}

/// A share that keeps the rules we can check: the fields of SubmitSharesExtended but the channel's, and what it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub job_id: u32,
    pub version: u32,
    pub ntime: u32,
    pub nonce: u32,
    /// The channel's rollable bytes.
    pub extranonce: Vec<u8>,
    pub hash: BlockHash,
    /// Expected hashes of the job's target.
    pub hashes: u128,
}

/// The mask granted to a miner that asks for `asked`. One that asks for bits which nobody may roll (all ones, mostly) does
/// not know what it asks for and is given the sixteen bits of BIP320, which all firmware can handle.
pub fn granted_version_mask(asked: u32) -> u32 {
    let asks_within_bip323 = asked & !ROLLABLE_VERSION_BITS == 0;
    if asks_within_bip323 {
        asked
    } else {
        asked & BIP320_VERSION_BITS
    }
}

/// The header's version: the job's, with the bits inside `mask` replaced (BIP310). Some firmware sends the whole version,
/// which has the job's bits outside the mask. None for any other bit outside it: masking it away would make another header
/// than the one that was hashed.
fn rolled_version(job_version: u32, mask: u32, bits: Option<u32>) -> Option<u32> {
    let Some(bits) = bits else {
        return Some(job_version);
    };
    let outside = bits & !mask;
    (outside == 0 || outside == job_version & !mask)
        .then_some((job_version & !mask) | (bits & mask))
}

/// The difficulty to send for `target`: never one whose target, as computed by a miner in floating point, is easier.
pub fn sv1_difficulty(target: Target) -> f64 {
    let exact = target.difficulty();
    let whole = exact.ceil();
    let is_whole_near = whole - exact <= exact * ROUNDING_LOSS_MAX;
    let mut difficulty = if is_whole_near { whole } else { exact };
    while Target::from_difficulty(difficulty) > target {
        difficulty = difficulty.next_up();
    }
    difficulty
}

fn hex_json(bytes: impl AsRef<[u8]>) -> String {
    format!("\"{}\"", hex::encode(bytes))
}

#[cfg(test)]
mod tests;
