//! Shares of an aggregated lane: from a session to the channel that its job is of, and what became of them back to the session.

use super::{Aggregate, Output, Submitted};
use crate::bridge::Rejection;
use crate::upstream::{Command, Event, Route};

impl Aggregate {
    /// A miner's share goes to the channel that its job is of.
    pub(crate) fn on_submit(&mut self, session: u64, submit: Submitted) {
        let Submitted {
            route,
            sequence_number,
            share,
            worker,
        } = submit;
        let Some(shares) = self.pending.get_mut(&route) else {
            // Closed since; if its connection is gone, the session knows.
            self.tell(
                session,
                Event::Rejected {
                    route,
                    sequence_number,
                    reason: Rejection::Stale,
                    code: Rejection::Stale.sv2_code().into(),
                },
            );
            return;
        };
        let member = self.members.get(&session);
        let own = || member.and_then(|member| member.worker.as_deref());
        let worker = worker.as_deref().or_else(own).map(str::to_owned);
        let sequence_number = shares.push(session, sequence_number);
        self.out.push(Output::Submit(Command::Submit {
            session,
            route,
            sequence_number,
            share,
            worker,
        }));
    }

    pub(super) fn on_accepted(&mut self, route: Route, last: u32) {
        let Some(shares) = self.pending.get_mut(&route) else {
            return;
        };
        let key = shares.key;
        let settled = shares.accept(last);
        let channel = self.channels.get(&key);
        let target = channel.and_then(|channel| channel.open.as_ref().map(|open| open.target));
        for settled in settled {
            if let Some(member) = self.members.get_mut(&settled.session)
                && let Some(target) = target
            {
                for _ in 0..settled.count {
                    member.vardiff.on_share(target);
                }
            }
            self.tell(
                settled.session,
                Event::Accepted {
                    route,
                    last_sequence_number: settled.last_sequence_number,
                    count: settled.count,
                },
            );
        }
    }

    pub(super) fn on_rejected(
        &mut self,
        route: Route,
        sequence_number: u32,
        reason: Rejection,
        code: Box<str>,
    ) {
        let shares = self.pending.get_mut(&route);
        let Some(share) = shares.and_then(|shares| shares.reject(sequence_number)) else {
            return;
        };
        self.tell(
            share.session,
            Event::Rejected {
                route,
                sequence_number: share.session_sequence_number,
                reason,
                code,
            },
        );
    }
}
