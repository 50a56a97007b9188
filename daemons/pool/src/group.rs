//! Job messages, and those that are the same on every connection: a connection's group channel has the same id on all of
//! them, so what is said to the group is encoded once per template.

use crate::work::PoolJob;
use hh_mining::{Extranonce, Tip};
use hh_sv2::Encoded;
use hh_sv2::message::{
    B032, MessageError, NewExtendedMiningJob, NewMiningJob, Seq0255, SetNewPrevHash, Sv2Option,
    U256,
};

/// Id of the group channel on every connection. Channel ids of a connection start after it.
pub(crate) const GROUP_CHANNEL_ID: u32 = 1;

/// A message of ours that no frame can hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("a field of {message} is too long")]
    Field { message: &'static str },
    #[error(transparent)]
    Frame(#[from] MessageError),
}

/// What a group is told about new work.
#[derive(Debug)]
pub(crate) struct GroupMessages {
    /// NewExtendedMiningJob as a future job: what SetNewPrevHash needs before it.
    pub future_job: Encoded,
    pub set_new_prev_hash: Encoded,
    /// NewExtendedMiningJob that is valid at once: a new template on the tip that the connection has already.
    pub job: Encoded,
}

impl GroupMessages {
    /// Encodes them for `job` on `tip`.
    ///
    /// # Errors
    /// The job does not fit the messages.
    pub(crate) fn new(tip: &Tip, job: &PoolJob) -> Result<Self, EncodeError> {
        let now = Some(tip.header_timestamp);
        Ok(Self {
            future_job: Encoded::new(extended_job(GROUP_CHANNEL_ID, job, None)?)?,
            set_new_prev_hash: Encoded::new(set_new_prev_hash(GROUP_CHANNEL_ID, job.id, tip))?,
            job: Encoded::new(extended_job(GROUP_CHANNEL_ID, job, now)?)?,
        })
    }
}

/// NewExtendedMiningJob for a channel or a group; `min_ntime` none makes it a future job (SV2 specification 5.3.16).
///
/// # Errors
/// The coinbase or the merkle path is too long for the message.
pub(crate) fn extended_job(
    channel_id: u32,
    job: &PoolJob,
    min_ntime: Option<u32>,
) -> Result<NewExtendedMiningJob, EncodeError> {
    let field = |_| EncodeError::Field {
        message: "NewExtendedMiningJob",
    };
    let path: Vec<U256> = job
        .job
        .merkle_path()
        .iter()
        .map(|hash| u256(*hash))
        .collect();
    Ok(NewExtendedMiningJob {
        channel_id,
        job_id: job.id,
        min_ntime: Sv2Option::new(min_ntime),
        version: job.template.template.version,
        version_rolling_allowed: true,
        merkle_path: Seq0255::new(path).map_err(field)?,
        coinbase_tx_prefix: job
            .job
            .coinbase_tx_prefix()
            .to_vec()
            .try_into()
            .map_err(field)?,
        coinbase_tx_suffix: job
            .job
            .coinbase_tx_suffix()
            .to_vec()
            .try_into()
            .map_err(field)?,
    })
}

/// NewMiningJob for a standard channel with this whole `extranonce` (SV2 specification 5.3.15).
pub(crate) fn standard_job(
    channel_id: u32,
    job: &PoolJob,
    extranonce: &Extranonce,
    min_ntime: Option<u32>,
) -> NewMiningJob {
    NewMiningJob {
        channel_id,
        job_id: job.id,
        min_ntime: Sv2Option::new(min_ntime),
        version: job.template.template.version,
        merkle_root: u256(job.job.merkle_root(extranonce)),
    }
}

/// SetNewPrevHash that makes the future job `job_id` current (SV2 specification 5.3.17).
pub(crate) fn set_new_prev_hash(channel_id: u32, job_id: u32, tip: &Tip) -> SetNewPrevHash {
    SetNewPrevHash {
        channel_id,
        job_id,
        prev_hash: u256(tip.prev_hash),
        min_ntime: tip.header_timestamp,
        nbits: tip.nbits,
    }
}

/// Bytes as they are on the wire: little-endian, which is a hash's internal order.
pub(crate) fn u256(bytes: [u8; 32]) -> U256 {
    U256::from(bytes)
}

/// The bytes of a U256 as they are on the wire.
pub(crate) fn bytes(value: &U256) -> [u8; 32] {
    value.as_ref().try_into().expect("a U256 has 32 bytes")
}

/// An extranonce or a part of one.
pub(crate) fn b032(bytes: &[u8]) -> B032 {
    bytes
        .to_vec()
        .try_into()
        .expect("an extranonce has 16 bytes, the field takes 32")
}
