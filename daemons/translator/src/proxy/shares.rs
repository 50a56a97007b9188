//! Shares of an SV2 miner: checked here, forwarded, and answered by what the upstream says.

use super::channel::{Channel, ChannelKind, Submission, Unsettled};
use super::{ProxyEnd, ProxySession, text};
use crate::bridge::Rejection;
use crate::upstream::{Command, Route};
use hh_sv2::message::{
    SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess,
    USER_IDENTITY_BYTES_MAX,
};

/// What a miner is told of shares that nobody will ever settle: SV2 can't resume a channel. The specification has no code for
/// it.
const LOST: &str = "upstream-lost";

/// For shares on a channel that is not open, or takes the other kind of shares.
const NO_CHANNEL: &str = "invalid-channel-id";

impl ProxySession {
    pub(super) async fn on_submit_standard(
        &mut self,
        share: &SubmitSharesStandard,
    ) -> Result<(), ProxyEnd> {
        let submission = Submission {
            sequence_number: share.sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            rolled: Vec::new(),
        };
        self.on_submission(share.channel_id, ChannelKind::Standard, &submission, None)
            .await
    }

    pub(super) async fn on_submit_extended(
        &mut self,
        share: &SubmitSharesExtended,
        worker: Option<String>,
    ) -> Result<(), ProxyEnd> {
        let submission = Submission {
            sequence_number: share.sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            rolled: share.extranonce.as_bytes().to_vec(),
        };
        // A longer one is none (extension 0x0002).
        let worker = worker.filter(|name| name.len() <= USER_IDENTITY_BYTES_MAX);
        self.on_submission(share.channel_id, ChannelKind::Extended, &submission, worker)
            .await
    }

    async fn on_submission(
        &mut self,
        channel_id: u32,
        kind: ChannelKind,
        submission: &Submission,
        worker: Option<String>,
    ) -> Result<(), ProxyEnd> {
        let channel = self.channels.get_mut(&channel_id);
        let Some(channel) = channel.filter(|channel| channel.is_open() && channel.kind == kind)
        else {
            return self.refuse(channel_id, submission.sequence_number, NO_CHANNEL);
        };
        match channel.submit(submission) {
            Ok(forwarded) => {
                channel.row.miner.on_forwarded();
                self.unsettled += 1;
                let session = channel.row.miner.id;
                self.tell_upstream(Command::Submit {
                    session,
                    route: forwarded.route,
                    sequence_number: forwarded.sequence_number,
                    share: Box::new(forwarded.share),
                    worker,
                })
                .await
            }
            Err(reason) => {
                channel.row.miner.on_rejected(reason, false);
                self.refuse(channel_id, submission.sequence_number, reason.sv2_code())
            }
        }
    }

    /// The upstream has accepted every share on its channel up to `last` that it has not rejected.
    pub(super) fn on_accepted(
        &mut self,
        id: u32,
        route: Route,
        last: u32,
        count: u32,
    ) -> Result<(), ProxyEnd> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let accepted = channel.accept(route, last);
        for share in &accepted {
            record_settled(channel, share);
            channel.row.miner.on_accepted(share.hashes);
        }
        let accepted = u32::try_from(accepted.len()).unwrap_or(u32::MAX);
        self.flood.on_accepted(accepted);
        if accepted != count {
            // The specification has the sequence number decide; the counts are for statistics.
            tracing::debug!(
                channel_id = id,
                accepted,
                count,
                "upstream counts accepted shares differently"
            );
        }
        self.tell_settled(id)
    }

    /// SubmitShares.Success for what no other share is in the way of any more.
    fn tell_settled(&mut self, id: u32) -> Result<(), ProxyEnd> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let Some(settled) = channel.take_settled() else {
            return Ok(());
        };
        self.unsettled -= settled.count as usize;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float to integer cast saturates; the sum is of positive numbers"
        )]
        let new_shares_sum = settled.difficulty as u64;
        Ok(self.connection.queue(SubmitSharesSuccess {
            channel_id: id,
            last_sequence_number: settled.last_sequence_number,
            new_submits_accepted_count: settled.count,
            new_shares_sum,
        })?)
    }

    /// The upstream has refused a share; the miner is given its own word.
    pub(super) fn on_rejected(
        &mut self,
        id: u32,
        (route, upstream_number): (Route, u32),
        reason: Rejection,
        code: &str,
    ) -> Result<(), ProxyEnd> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let Some(share) = channel.refuse(route, upstream_number) else {
            return Ok(());
        };
        self.unsettled -= 1;
        record_settled(channel, &share);
        channel.row.miner.on_rejected(reason, true);
        self.refuse(id, share.sequence_number, code)?;
        self.tell_settled(id)
    }

    /// The upstream will never settle these.
    pub(super) fn tell_lost(&mut self, id: u32, lost: &[Unsettled]) -> Result<(), ProxyEnd> {
        self.unsettled -= lost.len();
        if let Some(channel) = self.channels.get(&id) {
            channel.row.miner.on_unsettled(lost.len() as u64);
        }
        for share in lost {
            self.connection.queue(SubmitSharesError {
                channel_id: id,
                sequence_number: share.sequence_number,
                error_code: text(LOST),
            })?;
        }
        self.tell_settled(id)
    }

    fn refuse(
        &mut self,
        channel_id: u32,
        sequence_number: u32,
        code: &str,
    ) -> Result<(), ProxyEnd> {
        self.connection.queue(SubmitSharesError {
            channel_id,
            sequence_number,
            error_code: text(code),
        })?;
        // While there is no upstream every share is refused, the best ones too.
        if code != Rejection::NoUpstream.sv2_code() {
            self.flood.on_rejected(code);
        }
        if self.flood.is_flood(self.now_ms()) {
            return Err(ProxyEnd::ShareFlood);
        }
        Ok(())
    }
}

fn record_settled(channel: &Channel, share: &Unsettled) {
    let lane = &channel.row.miner.lane;
    lane.settle_seconds.record(share.submitted_at.elapsed());
}
