//! The check of a share, and what it is credited. The only place where work is granted.
//!
//! Which job a share belongs to, whether it is stale or a duplicate, the caller knows; everything that follows from the job
//! and the submitted fields is decided here.

use crate::{BlockHash, CompactError, Header, Score, Target, Work};

/// The version bits that a miner may roll (BIP323); all others must be as in the job.
pub const ROLLABLE_VERSION_BITS: u32 = 0x1FFF_FFE0;

/// The target a job was sent with, and what a share that meets it is credited: made once when the job becomes active, kept
/// together so that no share can be credited more than it proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareTarget {
    target: Target,
    nbits: u32,
    work: Work,
    score: Score,
}

impl ShareTarget {
    /// `target` is the channel's when the job was sent, `nbits` that of the job's header.
    ///
    /// # Errors
    /// If `nbits` is no target.
    pub fn new(target: Target, nbits: u32) -> Result<Self, CompactError> {
        let work = target.work();
        Ok(Self {
            target,
            nbits,
            work,
            score: Score::of(work, nbits)?,
        })
    }

    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The nBits of the job's header.
    #[must_use]
    pub const fn nbits(&self) -> u32 {
        self.nbits
    }

    /// What each share on the job is credited.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }

    /// What each share on the job counts for in a reward.
    #[must_use]
    pub const fn score(&self) -> Score {
        self.score
    }
}

/// What a share on a job is measured against.
#[derive(Clone, Copy, Debug)]
pub struct ShareTerms {
    pub target: ShareTarget,
    pub job_version: u32,
    pub version_rolling_allowed: bool,
    /// The `min_ntime` of the mining protocol's SetNewPrevHash.
    pub min_ntime: u32,
    /// The job's header timestamp and the seconds since; the caller has the clock.
    pub max_ntime: u32,
    pub prev_hash: [u8; 32],
    /// What a hash must meet to be a block: [`crate::Tip::target`].
    pub network_target: Target,
}

/// A share that keeps its terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedShare {
    pub hash: BlockHash,
    pub work: Work,
    pub score: Score,
    /// The hash is good enough for a block.
    pub meets_network: bool,
}

/// A share that does not keep its terms. Its hash can be good enough for a block all the same, which is then submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("share {hash} is refused")]
pub struct RejectedShare {
    pub hash: BlockHash,
    /// The hash is good enough for a block.
    pub meets_network: bool,
    #[source]
    pub reason: ShareError,
}

/// Checks version bits, time and hash of a submitted share, in this order.
///
/// `merkle_root` is of the coinbase with the share's extranonce; `version`, `ntime` and `nonce` are as submitted.
///
/// # Errors
/// The first term that the share breaks.
pub fn check(
    terms: &ShareTerms,
    merkle_root: [u8; 32],
    version: u32,
    ntime: u32,
    nonce: u32,
) -> Result<CheckedShare, RejectedShare> {
    let header = Header {
        version,
        prev_hash: terms.prev_hash,
        merkle_root,
        ntime,
        nbits: terms.target.nbits,
        nonce,
    };
    let hash = header.hash();
    let meets_network = terms.network_target.is_met_by(&hash);
    check_version(terms, version)
        .and_then(|()| check_ntime(terms, ntime))
        .and_then(|()| check_hash(terms, &hash))
        .map_err(|reason| RejectedShare {
            hash,
            meets_network,
            reason,
        })?;
    Ok(CheckedShare {
        hash,
        work: terms.target.work,
        score: terms.target.score,
        meets_network,
    })
}

fn check_version(terms: &ShareTerms, version: u32) -> Result<(), ShareError> {
    let job_version = terms.job_version;
    let rolled = version ^ job_version;
    if rolled != 0 && !terms.version_rolling_allowed {
        return Err(ShareError::VersionRollingNotAllowed {
            version,
            job_version,
        });
    }
    if rolled & !ROLLABLE_VERSION_BITS != 0 {
        return Err(ShareError::NonRollableVersionBit {
            version,
            job_version,
        });
    }
    Ok(())
}

fn check_ntime(terms: &ShareTerms, ntime: u32) -> Result<(), ShareError> {
    let (min, max) = (terms.min_ntime, terms.max_ntime);
    if (min..=max).contains(&ntime) {
        Ok(())
    } else {
        Err(ShareError::Ntime { ntime, min, max })
    }
}

fn check_hash(terms: &ShareTerms, hash: &BlockHash) -> Result<(), ShareError> {
    let target = terms.target.target;
    if target.is_met_by(hash) {
        Ok(())
    } else {
        Err(ShareError::DifficultyTooLow { target })
    }
}

/// Which term a share breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    #[error("the hash is above the target {target}")]
    DifficultyTooLow { target: Target },
    #[error("the time {ntime} is not within {min} and {max}")]
    Ntime { ntime: u32, min: u32, max: u32 },
    #[error(
        "the version {version:#010x} is not the job's {job_version:#010x}, and rolling is not allowed"
    )]
    VersionRollingNotAllowed { version: u32, job_version: u32 },
    #[error(
        "the version {version:#010x} differs from the job's {job_version:#010x} outside the BIP323 bits"
    )]
    NonRollableVersionBit { version: u32, job_version: u32 },
}

impl ShareError {
    /// The error code of `SubmitShares.Error` (SV2 Mining Protocol).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DifficultyTooLow { .. } => "difficulty-too-low",
            Self::Ntime { .. } => "invalid-share",
            Self::VersionRollingNotAllowed { .. } => "version-rolling-not-allowed",
            Self::NonRollableVersionBit { .. } => "invalid-non-rollable-version-bit",
        }
    }
}

#[cfg(test)]
mod tests;
