//! Why a share is not accepted, in the three vocabularies that name it: SV2's, SV1's and our metrics'.

use crate::sv1::message::RejectCode;
use hh_mining::ShareError;
use thiserror::Error;

/// Why a share is not accepted, by us or by the pool. `Display` is what the miner's operator reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Rejection {
    #[error("stale: the job is for an older block")]
    Stale,
    #[error("job not found")]
    UnknownJob,
    #[error("duplicate share")]
    Duplicate,
    #[error("low difficulty share")]
    LowDifficulty,
    #[error("extranonce2 has another size than subscribe gave")]
    BadExtranonceSize,
    #[error("version rolling is not allowed on this job")]
    VersionRolling,
    #[error("version bits outside the mask")]
    NonRollableVersionBit,
    #[error("invalid share")]
    Invalid,
    #[error("user name is not authorized on this connection")]
    Unauthorized,
    #[error("not subscribed")]
    NotSubscribed,
    #[error("the pool can't be reached now, the share was not sent")]
    NoUpstream,
    /// hh-pool's code for a good share that it could not make durable.
    #[error("the pool could not store the share, it is not credited")]
    NotStored,
    /// The pool gave a code that we don't know.
    #[error("refused by the pool")]
    Other,
}

impl Rejection {
    /// From the error code of SubmitShares.Error.
    pub fn from_sv2_code(code: &str) -> Self {
        match code {
            "stale-share" => Self::Stale,
            "invalid-job-id" => Self::UnknownJob,
            "duplicate-share" => Self::Duplicate,
            "difficulty-too-low" => Self::LowDifficulty,
            "bad-extranonce-size" => Self::BadExtranonceSize,
            "version-rolling-not-allowed" => Self::VersionRolling,
            "invalid-non-rollable-version-bit" => Self::NonRollableVersionBit,
            "invalid-share" => Self::Invalid,
            "share-not-stored" => Self::NotStored,
            _ => Self::Other,
        }
    }

    /// The error code of the SV2 specification, or a word of ours in its style where SV2 has none.
    pub fn sv2_code(self) -> &'static str {
        match self {
            Self::Stale => "stale-share",
            Self::UnknownJob => "invalid-job-id",
            Self::Duplicate => "duplicate-share",
            Self::LowDifficulty => "difficulty-too-low",
            Self::BadExtranonceSize => "bad-extranonce-size",
            Self::VersionRolling => "version-rolling-not-allowed",
            Self::NonRollableVersionBit => "invalid-non-rollable-version-bit",
            Self::Invalid => "invalid-share",
            Self::Unauthorized => "unauthorized",
            Self::NotSubscribed => "not-subscribed",
            Self::NoUpstream => "no-upstream",
            Self::NotStored => "share-not-stored",
            Self::Other => "other",
        }
    }

    /// The code of SV1's error array.
    pub fn sv1_code(self) -> RejectCode {
        match self {
            Self::Stale | Self::UnknownJob => RejectCode::JobNotFound,
            Self::Duplicate => RejectCode::Duplicate,
            Self::LowDifficulty => RejectCode::LowDifficulty,
            Self::Unauthorized => RejectCode::Unauthorized,
            Self::NotSubscribed => RejectCode::NotSubscribed,
            Self::BadExtranonceSize
            | Self::VersionRolling
            | Self::NonRollableVersionBit
            | Self::Invalid
            | Self::NoUpstream
            | Self::NotStored
            | Self::Other => RejectCode::Other,
        }
    }

    /// The label `result` of `hyperhash_shares_total`.
    pub fn metric_label(self) -> &'static str {
        match self {
            Self::Stale | Self::UnknownJob => "stale",
            Self::Duplicate => "duplicate",
            Self::LowDifficulty => "low_difficulty",
            Self::Unauthorized | Self::NotSubscribed => "unauthorized",
            Self::NoUpstream | Self::NotStored => "unsettled",
            Self::BadExtranonceSize
            | Self::VersionRolling
            | Self::NonRollableVersionBit
            | Self::Invalid
            | Self::Other => "invalid",
        }
    }
}

impl From<ShareError> for Rejection {
    fn from(error: ShareError) -> Self {
        match error {
            ShareError::DifficultyTooLow { .. } => Self::LowDifficulty,
            ShareError::Ntime { .. } => Self::Invalid,
            ShareError::VersionRollingNotAllowed { .. } => Self::VersionRolling,
            ShareError::NonRollableVersionBit { .. } => Self::NonRollableVersionBit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sv2_code_comes_back_as_itself() {
        for code in [
            "stale-share",
            "invalid-job-id",
            "duplicate-share",
            "difficulty-too-low",
            "bad-extranonce-size",
            "version-rolling-not-allowed",
            "invalid-non-rollable-version-bit",
            "invalid-share",
            "share-not-stored",
        ] {
            assert_eq!(Rejection::from_sv2_code(code).sv2_code(), code);
        }
        assert_eq!(Rejection::from_sv2_code("something-new"), Rejection::Other);
    }
}
