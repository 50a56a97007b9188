//! Shares of a connection: checked, logged in batches, and answered when they are durable.

use super::{AfterAppend, MAX_APPENDS, Session, SessionError, text};
use crate::blocks::Found;
use crate::channel::{Accepted, Channel, ChannelKind, Submission, Verdict};
use crate::directory::unix_ms;
use crate::share_log::{
    Appended, BATCH_RECORDS_MAX, LogError, NotTakenReason, Record, ShareRecord,
};
use hh_mining::extranonce::ROLLABLE_SIZE;
use hh_mining::{Target, Work};
use hh_sv2::message::{
    SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess,
};
use std::sync::Arc;

/// Told to a miner whose share is good but could not be stored: it is not credited, and nobody says that it was. The
/// specification has no code for it.
const NOT_STORED: &str = "share-not-stored";

/// Shares that one connection keeps beside its appends while the disk owes an answer: some seconds of a proxy for a
/// thousand miners, and some 200 kB.
const BATCH_MAX: usize = 1_024;
const _: () = assert!(BATCH_MAX <= BATCH_RECORDS_MAX);

/// Shares of one channel that one append makes durable.
#[derive(Debug)]
pub(super) struct Ack {
    channel_id: u32,
    sequence_numbers: Vec<u32>,
    /// Sum of the difficulties.
    difficulty: f64,
    /// Sum of the work.
    work: Work,
    /// The highest difficulty of a hash.
    best_difficulty: f64,
}

/// Shares that are checked and not yet given to the log.
#[derive(Debug, Default)]
pub(super) struct Batch {
    records: Vec<Record>,
    acks: Vec<Ack>,
    stalled: bool,
}

impl Batch {
    /// The log had no room for it.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// It takes no more shares.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= BATCH_MAX
    }

    fn add(&mut self, record: ShareRecord, sequence_number: u32, accepted: &Accepted) {
        let channel_id = record.channel_id;
        self.records.push(Record::Share(record));
        let mut acks = self.acks.iter();
        let ack = match acks.position(|ack| ack.channel_id == channel_id) {
            Some(known) => &mut self.acks[known],
            None => self.acks.push_mut(Ack::new(channel_id)),
        };
        ack.add(sequence_number, accepted);
    }
}

impl Ack {
    fn new(channel_id: u32) -> Self {
        Self {
            channel_id,
            sequence_numbers: Vec::new(),
            difficulty: 0.0,
            work: Work(0),
            best_difficulty: 0.0,
        }
    }

    fn add(&mut self, sequence_number: u32, accepted: &Accepted) {
        let Accepted { share, target } = accepted;
        self.sequence_numbers.push(sequence_number);
        self.difficulty += target.target().difficulty();
        self.work.0 = self.work.0.saturating_add(share.work.0);
        let difficulty = Target::from_hash_le(&share.hash).difficulty();
        self.best_difficulty = self.best_difficulty.max(difficulty);
    }

    fn count(&self) -> u32 {
        u32::try_from(self.sequence_numbers.len()).unwrap_or(u32::MAX)
    }
}

impl Session {
    pub(super) fn on_submit_standard(
        &mut self,
        share: SubmitSharesStandard,
    ) -> Result<(), SessionError> {
        let SubmitSharesStandard {
            channel_id,
            sequence_number,
            job_id,
            nonce,
            ntime,
            version,
        } = share;
        let Some(channel) = self.channel(channel_id, ChannelKind::Standard) else {
            return self.reject(channel_id, sequence_number, "invalid-channel-id");
        };
        let extranonce = channel.standard_extranonce();
        let submission = Submission {
            sequence_number,
            job_id,
            nonce,
            ntime,
            version,
            extranonce,
        };
        self.on_submission(channel_id, &submission, None)
    }

    pub(super) fn on_submit_extended(
        &mut self,
        share: SubmitSharesExtended,
        worker: Option<&str>,
    ) -> Result<(), SessionError> {
        let SubmitSharesExtended {
            channel_id,
            sequence_number,
            job_id,
            nonce,
            ntime,
            version,
            ..
        } = share;
        let Some(channel) = self.channel(channel_id, ChannelKind::Extended) else {
            return self.reject(channel_id, sequence_number, "invalid-channel-id");
        };
        let Ok(rolled) = <[u8; ROLLABLE_SIZE]>::try_from(share.extranonce.as_ref()) else {
            return self.reject(channel_id, sequence_number, "bad-extranonce-size");
        };
        let extranonce = channel.prefix.extranonce(rolled);
        let submission = Submission {
            sequence_number,
            job_id,
            nonce,
            ntime,
            version,
            extranonce,
        };
        self.on_submission(channel_id, &submission, worker)
    }

    /// The channel, if shares of this kind belong on it: each kind has a message of its own.
    fn channel(&self, channel_id: u32, kind: ChannelKind) -> Option<&Channel> {
        let channel = self.channels.get(&channel_id).map(Box::as_ref);
        channel.filter(|channel| channel.kind == kind)
    }

    fn on_submission(
        &mut self,
        channel_id: u32,
        submission: &Submission,
        worker: Option<&str>,
    ) -> Result<(), SessionError> {
        let now_unix_ms = unix_ms();
        self.expire_passage(now_unix_ms / 1000)?;
        let now_unix = u32::try_from(now_unix_ms / 1000).unwrap_or(u32::MAX);
        let Some(channel) = self.channels.get_mut(&channel_id) else {
            return self.reject(channel_id, submission.sequence_number, "invalid-channel-id");
        };
        let Verdict { share, block } = channel.check(submission, now_unix);
        if let Some(candidate) = block {
            // Before anything else: a block is worth more than all that follows.
            let share = candidate.share();
            self.shared.blocks.found(Found {
                share: record(channel, submission, &share, worker, now_unix_ms),
                candidate,
                origin: Arc::clone(&channel.origin),
            });
        }
        match share {
            Ok(accepted) => {
                channel.vardiff.on_share(accepted.target.target());
                let record = record(channel, submission, &accepted, worker, now_unix_ms);
                self.accept(submission.sequence_number, &accepted, record)
            }
            Err(code) => self.reject(channel_id, submission.sequence_number, code),
        }
    }

    /// A good share waits for its append; it counts when it is durable.
    fn accept(
        &mut self,
        sequence_number: u32,
        accepted: &Accepted,
        record: ShareRecord,
    ) -> Result<(), SessionError> {
        if self.batch.is_full() && self.shared.log.is_failing() {
            return self.reject(record.channel_id, sequence_number, NOT_STORED);
        }
        self.batch.add(record, sequence_number, accepted);
        Ok(())
    }

    fn reject(
        &mut self,
        channel_id: u32,
        sequence_number: u32,
        code: &'static str,
    ) -> Result<(), SessionError> {
        self.lane.reject(code);
        self.flood.on_rejected(code);
        if let Some(channel) = self.channels.get(&channel_id) {
            channel.view.reject(code);
            self.shared.rejects.count(channel_id, &channel.origin, code);
        }
        let error_code = text(code);
        Ok(self.connection.queue(SubmitSharesError {
            channel_id,
            sequence_number,
            error_code,
        })?)
    }

    /// Gives what was checked to the log. Where this connection has many appends under way the batch waits for one of them;
    /// where the log has no room it waits for that, unless the log fails.
    pub(super) fn append_batch(&mut self) -> Result<(), SessionError> {
        self.batch.stalled = false;
        if self.batch.records.is_empty() || self.appends.len() >= MAX_APPENDS {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        match self.shared.log.try_append(batch.records) {
            Ok(appending) => {
                let after = AfterAppend::Settle(batch.acks);
                self.appends.push_back((appending, after));
                Ok(())
            }
            Err(refused)
                if refused.reason == NotTakenReason::Full && !self.shared.log.is_failing() =>
            {
                self.batch = Batch {
                    records: refused.records,
                    acks: batch.acks,
                    stalled: true,
                };
                Ok(())
            }
            Err(refused) => {
                tracing::debug!(reason = ?refused.reason, "the share log took no shares");
                self.not_stored(batch.acks)
            }
        }
    }

    /// The oldest append has resolved.
    pub(super) fn on_appended(
        &mut self,
        result: Result<Appended, LogError>,
    ) -> Result<(), SessionError> {
        let Some((_, after)) = self.appends.pop_front() else {
            return Ok(());
        };
        match (result, after) {
            (Ok(_), AfterAppend::Settle(acks)) => self.settle(acks),
            (Ok(_), AfterAppend::Open(opening)) => self.on_bound(*opening),
            (Err(_), AfterAppend::Settle(acks)) => self.not_stored(acks),
            (Err(_), AfterAppend::Open(opening)) => self.on_not_bound(&opening),
        }
    }

    /// SubmitShares.Success for shares that are on the disk.
    fn settle(&mut self, acks: Vec<Ack>) -> Result<(), SessionError> {
        let now_ms = self.shared.directory.clock().now_ms();
        for ack in acks {
            let Some(last) = ack.sequence_numbers.last() else {
                continue;
            };
            let count = ack.count();
            self.lane.accept(now_ms, count, ack.work);
            self.flood.on_accepted(count);
            if let Some(channel) = self.channels.get(&ack.channel_id) {
                channel
                    .view
                    .accept(now_ms, count, ack.work, ack.best_difficulty);
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a float to integer cast saturates; the sum is of positive numbers"
            )]
            let new_shares_sum = ack.difficulty as u64;
            self.connection.queue(SubmitSharesSuccess {
                channel_id: ack.channel_id,
                last_sequence_number: *last,
                new_submits_accepted_count: count,
                new_shares_sum,
            })?;
        }
        Ok(())
    }

    fn not_stored(&mut self, acks: Vec<Ack>) -> Result<(), SessionError> {
        for ack in acks {
            for sequence_number in ack.sequence_numbers {
                self.reject(ack.channel_id, sequence_number, NOT_STORED)?;
            }
        }
        Ok(())
    }
}

fn record(
    channel: &mut Channel,
    submission: &Submission,
    accepted: &Accepted,
    worker: Option<&str>,
    accepted_at_ms: i64,
) -> ShareRecord {
    let Accepted { share, target } = accepted;
    ShareRecord {
        accepted_at_ms,
        hash: share.hash.to_byte_array(),
        extranonce_prefix: channel.prefix.to_bytes(),
        channel_id: channel.id,
        job_id: submission.job_id,
        nbits: target.nbits(),
        ntime: submission.ntime,
        nonce: submission.nonce,
        version: submission.version,
        work: share.work.0,
        score: share.score.0,
        is_block: share.meets_network,
        origin: channel.origin_of(worker),
    }
}
