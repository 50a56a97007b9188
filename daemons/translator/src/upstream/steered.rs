//! An upstream's channels where their difficulty is ours: as long as the pool credits their work to a node.
//!
//! What a pool does with a channel when a credential begins to hold is to keep the target that was asked for last. So the target that
//! the channel has is asked for before a credential is presented, and no miner is flooded with work that is too easy for it.

use super::command::Route;
use super::steering::Steering;
use super::{Channel, ChannelWish, Upstream};
use hh_mining::Target;
use hh_sv2::extensions::CredentialAnswer;
use hh_sv2::message::UpdateChannel;
use hh_sv2::setup::printable;
use hh_sv2::{ConnectionError, Message};

impl Upstream {
    /// What to ask for a session's channel: what its miner takes, or, where the difficulty is ours, where that begins: at `start`,
    /// or at what the miner is said to do.
    pub(super) fn steer(&mut self, session: u64, start: Option<Target>) -> Target {
        let (now_ms, hardest) = (self.now_ms(), self.hardest);
        let is_ours = self.link.is_ours();
        let Some(wanted) = self.sessions.get_mut(&session) else {
            return Target::MAX;
        };
        let ChannelWish {
            terms, is_exact, ..
        } = &*wanted.wish;
        let steering = || Steering::new(terms, hardest, start, now_ms);
        wanted.steering = (is_ours && !is_exact).then(steering);
        let steering = wanted.steering.as_ref();
        steering.map_or(terms.max_target, Steering::target)
    }

    /// Asks for a target, on the channel of a session if it has one.
    pub(super) fn ask(&mut self, session: u64, max_target: Target) -> Result<(), ConnectionError> {
        let Some(wanted) = self.sessions.get(&session) else {
            return Ok(());
        };
        let nominal_hash_rate = wanted.wish.terms.nominal_hash_rate;
        match wanted.channel {
            Some(channel) => self.update(channel, nominal_hash_rate, max_target),
            None => Ok(()),
        }
    }

    /// The pool has set a channel's target.
    pub(super) fn on_channel_target(&mut self, route: Route, target: Target) {
        let now_ms = self.now_ms();
        let session = self.channels.get(&route);
        let Some(wanted) = session.and_then(|session| self.sessions.get_mut(session)) else {
            return;
        };
        let channel = wanted.channel.as_mut();
        let Some(channel) = channel.filter(|channel| channel.route == route) else {
            return;
        };
        channel.target = target;
        if let Some(steering) = &mut wanted.steering {
            steering.on_target(target, now_ms);
        }
    }

    /// A miner has found a share.
    pub(super) fn on_share(&mut self, route: Route, hashes: u128) {
        let session = self.channels.get(&route);
        let wanted = session.and_then(|session| self.sessions.get_mut(session));
        if let Some(steering) = wanted.and_then(|wanted| wanted.steering.as_mut()) {
            steering.on_share(hashes);
        }
    }

    pub(super) fn on_tick(&mut self) -> Result<(), ConnectionError> {
        if self.link.has_ended() {
            return self.hand_back();
        }
        if !self.link.is_ours() {
            return Ok(());
        }
        let now_ms = self.now_ms();
        let sessions = self.sessions.iter_mut();
        let open = sessions.filter(|(_, wanted)| wanted.channel.is_some());
        let changed = open.filter_map(|(&session, wanted)| {
            let target = wanted.steering.as_mut()?.tick(now_ms)?;
            Some((session, target))
        });
        for (session, target) in changed.collect::<Vec<_>>() {
            self.ask(session, target)?;
        }
        Ok(())
    }

    /// There may be another credential. The pool is to leave the difficulty to us from where it is.
    pub(super) fn on_credential(&mut self) -> Result<(), ConnectionError> {
        let was_ours = self.link.is_ours();
        let Some(message) = self.link.take_credential() else {
            return Ok(());
        };
        if !was_ours {
            let sessions = self.sessions.iter();
            let sessions = sessions.filter(|(_, wanted)| !wanted.wish.is_exact);
            let open = sessions.filter_map(|(&session, wanted)| Some((session, wanted.channel?)));
            for (session, channel) in open.collect::<Vec<_>>() {
                let target = self.steer(session, Some(channel.target));
                self.ask(session, target)?;
            }
        }
        self.link.queue(message)
    }

    /// The pool has said what it thinks of a credential.
    pub(super) fn on_credential_answer(
        &mut self,
        message: &Message,
    ) -> Result<(), ConnectionError> {
        let answer = match message {
            Message::PresentCredentialError(error) => {
                CredentialAnswer::Refused(printable(error.error_code.as_bytes()))
            }
            _ => CredentialAnswer::Taken,
        };
        self.link.on_credential_answer(answer);
        if self.link.is_ours() {
            return Ok(());
        }
        self.hand_back()
    }

    /// The difficulty of all channels is the pool's again, which goes on from where they are.
    fn hand_back(&mut self) -> Result<(), ConnectionError> {
        let mut steered = Vec::new();
        for wanted in self.sessions.values_mut() {
            let was_steered = wanted.steering.take().is_some();
            if let Some(channel) = wanted.channel.filter(|_| was_steered) {
                steered.push((channel, wanted.wish.terms.max_target));
            }
        }
        for (channel, max_target) in steered {
            self.update(channel, hashrate(channel.target), max_target)?;
        }
        Ok(())
    }

    fn update(
        &mut self,
        channel: Channel,
        nominal_hash_rate: f32,
        max_target: Target,
    ) -> Result<(), ConnectionError> {
        let update = UpdateChannel {
            channel_id: channel.route.channel_id,
            nominal_hash_rate,
            maximum_target: max_target.to_le_bytes().into(),
        };
        self.link.queue_on(channel.route.link, update)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What a miner does that has the wanted rate of shares at `target`.
fn hashrate(target: Target) -> f32 {
    let hashrate = target.hashrate(hh_mining::vardiff::DEFAULT_SHARES_PER_MINUTE.into());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an estimate; SV2 carries it as f32"
    )]
    let hashrate = hashrate as f32;
    hashrate.clamp(1.0, f32::MAX)
}
