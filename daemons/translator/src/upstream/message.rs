//! What is said to a pool, in its words.

use crate::bridge::Share;
use hh_sv2::message::{CloseChannel, Str0255, SubmitSharesExtended};

/// A share on a channel.
pub(super) fn submit_message(
    channel_id: u32,
    sequence_number: u32,
    share: Share,
) -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id,
        sequence_number,
        job_id: share.job_id,
        nonce: share.nonce,
        ntime: share.ntime,
        version: share.version,
        extranonce: share
            .extranonce
            .try_into()
            .expect("a channel's extranonce was read from a B0_32"),
    }
}

/// Nobody wants the channel any more.
pub(super) fn close_message(channel_id: u32) -> CloseChannel {
    CloseChannel {
        channel_id,
        reason_code: text("miner-left"),
    }
}

pub(super) fn text(value: &str) -> Str0255 {
    value
        .try_into()
        .expect("the parser takes no user name longer than a STR0_255")
}
