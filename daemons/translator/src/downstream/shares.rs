//! Shares: checked here, forwarded, and answered by what the pool says.

use super::{Session, SessionEnd, worker};
use crate::bridge::{Rejection, Share};
use crate::sv1::message::{BadParameters, Id, RejectCode, Submit, answer};
use crate::upstream::{Command, LinkNumber, Route};
use std::collections::VecDeque;
use tokio::time::Instant;

/// Headers that are remembered to tell duplicates without the pool. It tells them in any case.
const SEEN_MAX: usize = 16 * 1024;

/// Shortest that firmware truncates names to: Avalon's 63 bytes; others have 79 and 127.
const TRUNCATED_BYTES_MIN: usize = 63;

/// What a miner is told of shares that nobody will ever settle: SV2 can't resume a channel.
const LOST: &str = "the connection to the pool was lost before it settled the share";

/// A share that was forwarded.
#[derive(Debug)]
pub(super) struct Unsettled {
    route: Route,
    sequence_number: u32,
    id: Id,
    hashes: u128,
    submitted_at: Instant,
}

impl Session {
    pub(super) async fn on_submit(&mut self, id: Id, submit: &Submit) -> Result<(), SessionEnd> {
        match self.check(submit) {
            Ok((route, share)) => {
                // The channel's own worker needs no name.
                let is_first = self.users.first() == Some(&submit.user_name);
                let worker = (!is_first).then(|| worker(&submit.user_name).to_owned());
                self.forward(id, route, share, worker).await
            }
            Err(reason) => {
                self.miner().on_rejected(reason, false);
                self.reject(&id, reason);
                Ok(())
            }
        }
    }

    /// A share that can't be read is one all the same.
    pub(super) fn on_unreadable_share(&mut self, id: &Id, error: BadParameters) {
        self.miner().on_rejected(Rejection::Invalid, false);
        self.refuse(id, RejectCode::Other, &error.to_string());
    }

    /// What can be told without the pool, and where the share goes.
    fn check(&self, submit: &Submit) -> Result<(Route, Share), Rejection> {
        let Some(split) = self.split.as_ref().filter(|_| self.subscribed) else {
            return Err(Rejection::NotSubscribed);
        };
        if !self
            .users
            .iter()
            .any(|user| is_meant(user, &submit.user_name))
        {
            return Err(Rejection::Unauthorized);
        }
        if self.channel.is_none() {
            return Err(Rejection::NoUpstream);
        }
        let sent = self
            .jobs
            .iter()
            .find(|sent| Some(sent.job.id) == submit.job_id)
            .ok_or(Rejection::UnknownJob)?;
        let share = sent
            .job
            .share(split, self.version_mask.unwrap_or(0), submit)?;
        if self.seen.contains(&share.hash) {
            return Err(Rejection::Duplicate);
        }
        Ok((sent.route, share))
    }

    async fn forward(
        &mut self,
        id: Id,
        route: Route,
        share: Share,
        worker: Option<String>,
    ) -> Result<(), SessionEnd> {
        self.last_sequence_number = self.last_sequence_number.wrapping_add(1);
        let command = Command::Submit {
            session: self.miner().id,
            route,
            sequence_number: self.last_sequence_number,
            share: Box::new(share.clone()),
            worker,
        };
        if self.seen.len() < SEEN_MAX {
            self.seen.insert(share.hash);
        }
        self.unsettled.push_back(Unsettled {
            route,
            sequence_number: self.last_sequence_number,
            id,
            hashes: share.hashes,
            submitted_at: Instant::now(),
        });
        self.miner().on_forwarded();
        self.tell_upstream(command).await
    }

    /// The pool has accepted every share of the channel up to `last` that it has not rejected.
    pub(super) fn on_accepted(&mut self, route: Route, last: u32, count: u32) {
        let mut settled = 0;
        // Mostly all of them are of one channel, and the first ones are taken. What another channel owes stays.
        let mut index = 0;
        while let Some(share) = self.unsettled.get(index) {
            if share.route != route {
                index += 1;
            } else if is_after(share.sequence_number, last) {
                break;
            } else if let Some(share) = self.unsettled.remove(index) {
                settled += 1;
                self.accept(&share);
            }
        }
        if settled != count {
            // The specification has the sequence number decide; the counts are for statistics.
            tracing::debug!(
                session = self.miner().id,
                settled,
                count,
                "upstream counts accepted shares differently"
            );
        }
    }

    fn accept(&mut self, share: &Unsettled) {
        let miner = self.miner();
        miner
            .lane
            .settle_seconds
            .record(share.submitted_at.elapsed());
        miner.on_accepted(share.hashes);
        self.say(&answer(&share.id, "true"));
    }

    pub(super) fn on_rejected(&mut self, route: Route, sequence_number: u32, reason: Rejection) {
        let position = self
            .unsettled
            .iter()
            .position(|share| share.route == route && share.sequence_number == sequence_number);
        let Some(share) = position.and_then(|position| self.unsettled.remove(position)) else {
            return;
        };
        let miner = self.miner();
        miner
            .lane
            .settle_seconds
            .record(share.submitted_at.elapsed());
        miner.on_rejected(reason, true);
        self.reject(&share.id, reason);
    }

    /// Nothing that was forwarded on the connection will be settled any more.
    pub(super) fn settle_none(&mut self, link: LinkNumber) {
        let all = std::mem::take(&mut self.unsettled);
        let (lost, kept): (VecDeque<_>, VecDeque<_>) =
            all.into_iter().partition(|share| share.route.link == link);
        self.unsettled = kept;
        self.miner().on_unsettled(lost.len() as u64);
        for share in lost {
            self.refuse(&share.id, RejectCode::Other, LOST);
        }
    }

    fn reject(&mut self, id: &Id, reason: Rejection) {
        self.refuse(id, reason.sv1_code(), &reason.to_string());
    }
}

/// Whether firmware that authorized as `user` means it by `name`: some keeps fewer bytes of a long name for its shares. It is the
/// connection's account in any case.
fn is_meant(user: &str, name: &str) -> bool {
    user == name || (name.len() >= TRUNCATED_BYTES_MIN && user.starts_with(name))
}

/// Whether `number` comes after `other`, in numbers that wrap.
fn is_after(number: u32, other: u32) -> bool {
    let distance = number.wrapping_sub(other);
    distance != 0 && distance < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_may_be_cut_and_a_short_one_may_not() {
        let long = "x".repeat(70);
        for (name, expected) in [(70, true), (69, true), (63, true), (62, false), (71, false)] {
            assert_eq!(is_meant(&long, &"x".repeat(name)), expected, "{name}");
        }
        assert!(!is_meant("alice.rig1", "alice"));
        assert!(!is_meant("alice.rig1", ""));
    }

    #[test]
    fn sequence_numbers_may_wrap() {
        assert!(is_after(2, 1));
        assert!(!is_after(1, 1));
        assert!(!is_after(1, 2));
        assert!(is_after(1, u32::MAX));
        assert!(!is_after(u32::MAX, 1));
    }
}
