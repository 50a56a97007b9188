//! The connection to the upstream of a lane: one that is in use, tried for ever with growing pauses; one beside it, where a better
//! upstream may have come back; and one that is being left, on which shares are still settled.
//!
//! Knows nothing of channels. What it learns about the upstreams can be read by everybody ([`Upstreams`]).

use super::backoff::pause;
use super::choice::{Choice, Next};
use super::command::LinkNumber;
use super::dial::{Dial, DialError, DialEvent};
pub(crate) use super::known::{LinkState, LinkView, Upstreams};
pub(crate) use super::probe::Switched;
use super::probe::{Probe, ProbeEvent, Purpose, UpstreamAt};
use super::reconnect::{Destination, destination};
use super::standing::{Introduction, Standing, Wire};
use crate::config::UpstreamConfig;
use hh_daemon::Chain;
use hh_sv2::extensions::CredentialAnswer;
use hh_sv2::message::{PresentCredential, Reconnect};
use hh_sv2::setup::printable;
use hh_sv2::{ConnectionError, Message};
use std::fmt;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

/// A connection that lived this long was a good one: the pauses start anew.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// How long an upstream may settle shares after miners have been moved to another. Far more than a share log takes.
const LEAVING_FOR: Duration = Duration::from_secs(10);

/// The upstream that was in use before.
struct Leaving {
    connection: Box<Wire>,
    number: LinkNumber,
    until: Pin<Box<Sleep>>,
}

/// See the module.
pub(crate) struct Link {
    configs: Vec<UpstreamConfig>,
    return_after: Duration,
    upstreams: Upstreams,
    introduction: Introduction,
    /// The same, to wait for changes with.
    news: Introduction,
    choice: Choice,
    dial: Dial,
    /// Which of `configs` is in use or tried next.
    index: usize,
    number: LinkNumber,
    up_since: Instant,
    /// Connections in a row that ended, or asked us to connect again, before they were good.
    short_lived: u32,
    probe: Option<Probe>,
    leaving: Option<Leaving>,
}

/// What happened to the link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// Another attempt, or another pause.
    Changed,
    /// There is a new connection. One that there was before is being left, and one that was being left is `gone`.
    Up {
        gone: Option<LinkNumber>,
    },
    Message(Result<Message, ConnectionError>),
    /// From the connection that is being left.
    Late(LinkNumber, Message),
    /// The connection that was being left is gone.
    Left(LinkNumber),
    /// There may be another credential to present.
    Credential,
}

enum Step {
    Dial(DialEvent),
    Probe(ProbeEvent),
    Leaving(LinkNumber, Option<Message>),
    Credential,
}

impl Link {
    /// `configs` is not empty; the first is preferred. One that is better than the one in use gets the miners back when it has
    /// been healthy for `return_after`.
    pub(crate) fn new(
        configs: Vec<UpstreamConfig>,
        return_after: Duration,
        upstreams: Upstreams,
        introduction: Introduction,
    ) -> Self {
        upstreams.set(0, LinkState::Connecting, None);
        Self {
            return_after,
            upstreams,
            news: introduction.clone(),
            introduction,
            choice: Choice::new(configs.len()),
            configs,
            dial: Dial::after(Duration::ZERO),
            index: 0,
            number: 0,
            up_since: Instant::now(),
            short_lived: 0,
            probe: None,
            leaving: None,
        }
    }

    /// Counts connections; another number is another connection.
    pub(crate) fn number(&self) -> LinkNumber {
        self.number
    }

    pub(crate) fn is_up(&self) -> bool {
        self.dial.is_up()
    }

    /// The next thing that happens. Cancel-safe.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        let is_up = self.dial.is_up();
        let (upstreams, introduction) = (&self.upstreams, &self.introduction);
        let step = tokio::select! {
            event = self.dial.next() => Step::Dial(event),
            event = next_of_probe(&mut self.probe, upstreams, introduction) => Step::Probe(event),
            () = self.news.changed(), if is_up => Step::Credential,
            (number, message) = next_of_leaving(&mut self.leaving) => Step::Leaving(number, message),
        };
        match step {
            Step::Dial(event) => self.on_dial(event),
            Step::Probe(event) => self.on_probe(event),
            Step::Credential => LinkEvent::Credential,
            Step::Leaving(number, Some(message)) => LinkEvent::Late(number, message),
            Step::Leaving(number, None) => {
                self.leaving = None;
                LinkEvent::Left(number)
            }
        }
    }

    /// The next message that is there already; none without a connection.
    pub(crate) fn try_recv(&mut self) -> Result<Option<Message>, ConnectionError> {
        match self.dial.connection() {
            Some(connection) => connection.try_recv(),
            None => Ok(None),
        }
    }

    /// Queues a message; without a connection it goes nowhere, and whoever waits for its answer is told of the loss.
    pub(crate) fn queue(&mut self, message: impl Into<Message>) -> Result<(), ConnectionError> {
        match self.dial.connection() {
            Some(connection) => connection.queue(message),
            None => Ok(()),
        }
    }

    /// Queues a message on the connection of that number, which may be the one that is being left.
    pub(crate) fn queue_on(
        &mut self,
        number: LinkNumber,
        message: impl Into<Message>,
    ) -> Result<(), ConnectionError> {
        if number == self.number {
            return self.queue(message);
        }
        if let Some(leaving) = self.leaving.as_mut().filter(|old| old.number == number)
            && leaving.connection.queue(message).is_err()
        {
            leaving.end_now();
        }
        Ok(())
    }

    /// Whether a share on the connection of that number may name its worker.
    pub(crate) fn names_workers(&mut self, number: LinkNumber) -> bool {
        let in_use = self.dial.connection().filter(|_| number == self.number);
        let leaving = self.leaving.as_ref().filter(|old| old.number == number);
        in_use.is_some_and(|wire| wire.names_workers)
            || leaving.is_some_and(|old| old.connection.names_workers)
    }

    /// Writes what is queued.
    pub(crate) async fn flush(&mut self) -> Result<(), ConnectionError> {
        if let Some(connection) = self.dial.connection() {
            connection.flush().await?;
        }
        if let Some(leaving) = &mut self.leaving
            && leaving.connection.flush().await.is_err()
        {
            leaving.end_now();
        }
        Ok(())
    }

    /// Whether the pool has no vardiff on the connection in use and leaves it to us, or is about to.
    pub(crate) fn is_ours(&mut self) -> bool {
        self.dial.connection().is_some_and(|wire| wire.is_ours())
    }

    /// What there is to present now, if anything; the caller queues it.
    pub(crate) fn take_credential(&mut self) -> Option<PresentCredential> {
        let pool = self.configs[self.index].authority_public_key;
        let message = self
            .dial
            .connection()?
            .take_credential(&self.introduction, &pool);
        self.show_standing();
        message
    }

    /// The pool's answer to the oldest credential that it has not answered.
    pub(crate) fn on_credential_answer(&mut self, answer: CredentialAnswer) {
        if let Some(wire) = self.dial.connection() {
            wire.on_answer(answer);
        }
        self.show_standing();
    }

    /// Whether the credential that was taken has ended now: from here on the pool credits `core`.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.dial.connection().is_some_and(Wire::has_ended);
        if ended {
            self.show_standing();
        }
        ended
    }

    /// Tells operators what the connection in use is to its pool.
    fn show_standing(&mut self) {
        let wire = self.dial.connection();
        let wire = wire.map(|wire| (wire.standing.clone(), wire.names_workers));
        let (standing, names_workers) = wire.unwrap_or((Standing::Away, false));
        self.introduction.export(&standing);
        self.upstreams.learn_standing(standing, names_workers);
    }

    /// What a channel lets be rolled; none if what was known turned out wrong.
    pub(crate) fn learn_room(&self, room: Option<usize>) {
        self.upstreams.learn_room(self.index, room);
    }

    pub(crate) fn learn_version_rolling(&self, allowed: bool) {
        self.upstreams.learn_version_rolling(allowed);
    }

    /// The upstream wants us to connect again. Miners stay where they are until the new connection is set up.
    pub(crate) fn on_reconnect_asked(&mut self, asked: &Reconnect) {
        let new_host = printable(asked.new_host.as_bytes());
        let upstream = &self.configs[self.index].address;
        let mut config = self.configs[self.index].clone();
        let mut index = self.index;
        match destination(&new_host, asked.new_port, &self.configs, self.index) {
            Destination::Configured(other) => {
                tracing::info!(
                    upstream,
                    new_host,
                    asked.new_port,
                    "upstream asks us to connect again"
                );
                config = self.configs[other].clone();
                index = other;
            }
            Destination::OtherPort(port) => {
                tracing::info!(
                    upstream,
                    new_host,
                    port,
                    "upstream asks us to connect to another port"
                );
                let (host, _) = self.configs[self.index].host_and_port();
                config.address = format!("{host}:{port}");
            }
            Destination::Refused => {
                tracing::warn!(
                    upstream,
                    new_host,
                    asked.new_port,
                    "upstream sends us to a host that is not configured: we connect to the configured one again"
                );
            }
        }
        let wait = if self.is_good() {
            Duration::ZERO
        } else {
            pause(self.short_lived.saturating_add(1))
        };
        let candidates = vec![UpstreamAt { index, config }];
        let probe = Probe::new(Purpose::Reconnect, candidates, wait, Duration::ZERO);
        self.replace_probe(Some(probe));
    }

    /// An operator wants the upstream at `index` before all others. It is connected to first, and told to `done`: where that
    /// fails nothing changes.
    pub(crate) fn switch_to(&mut self, index: usize, done: oneshot::Sender<Switched>) {
        if self.is_up() && self.index == index {
            self.choose(index);
            self.replace_probe(None);
            self.look_for_better();
            done.send(Ok(())).ok();
            return;
        }
        let candidates = vec![self.at(index)];
        let purpose = Purpose::Switch(done);
        let probe = Probe::new(purpose, candidates, Duration::ZERO, Duration::ZERO);
        self.replace_probe(Some(probe));
    }

    /// The connection failed. Gives its number. If there was a second one, that is in use now.
    pub(crate) fn on_lost(&mut self, error: &ConnectionError) -> LinkNumber {
        let lost = self.number;
        let was_good = self.is_good();
        self.count_life(was_good);
        let error = Chain(error).to_string();
        let upstream = &self.configs[self.index].address;
        tracing::warn!(upstream, error, "upstream lost");
        self.upstreams.set(self.index, LinkState::Down, Some(error));
        match self.probe.take().map(Probe::into_connection) {
            Some(Ok((connection, index, purpose))) => {
                self.dial = Dial::after(Duration::ZERO);
                self.on_ready(connection, index, purpose);
                return lost;
            }
            // The order of the list has it all the same.
            Some(Err(probe)) if matches!(probe.purpose, Purpose::Return) => {}
            Some(Err(probe)) => self.probe = Some(probe),
            None => {}
        }
        let next = self.choice.on_lost(self.index, was_good);
        self.follow(next);
        self.show_standing();
        lost
    }

    fn on_dial(&mut self, event: DialEvent) -> LinkEvent {
        match event {
            DialEvent::Due => {
                self.upstreams.set(self.index, LinkState::Connecting, None);
                let config = self.configs[self.index].clone();
                self.dial = Dial::connect(config, self.introduction.clone());
                LinkEvent::Changed
            }
            DialEvent::Connected(connection) => self.on_connected(connection, self.index),
            DialEvent::Failed(error) => {
                self.on_failed(&error);
                LinkEvent::Changed
            }
            DialEvent::Message(message) => LinkEvent::Message(message),
        }
    }

    fn on_probe(&mut self, event: ProbeEvent) -> LinkEvent {
        match event {
            ProbeEvent::Changed => LinkEvent::Changed,
            ProbeEvent::Ready => match self.probe.take().map(Probe::into_connection) {
                Some(Ok((connection, index, purpose))) => self.on_ready(connection, index, purpose),
                Some(Err(probe)) => {
                    self.probe = Some(probe);
                    LinkEvent::Changed
                }
                None => LinkEvent::Changed,
            },
            ProbeEvent::GivenUp(error) => {
                if let Some(Probe {
                    purpose: Purpose::Switch(done),
                    ..
                }) = self.probe.take()
                {
                    done.send(Err(error)).ok();
                }
                self.look_for_better();
                LinkEvent::Changed
            }
        }
    }

    /// A second connection takes the place of the one in use.
    fn on_ready(&mut self, connection: Box<Wire>, index: usize, purpose: Purpose) -> LinkEvent {
        if let Purpose::Switch(done) = purpose {
            self.choose(index);
            done.send(Ok(())).ok();
        }
        if self.is_up() {
            let good = self.is_good();
            self.count_life(good);
        }
        self.on_connected(connection, index)
    }

    fn on_connected(&mut self, connection: Box<Wire>, index: usize) -> LinkEvent {
        let upstream = &self.configs[index].address;
        tracing::info!(upstream, "upstream connected");
        metrics::counter!("hyperhash_translator_upstream_switches_total", "upstream" => upstream.clone())
            .increment(1);
        let before = std::mem::replace(&mut self.dial, Dial::Up(connection));
        let gone = match before {
            Dial::Up(connection) => self.leave(connection, index),
            Dial::Waiting(_) | Dial::Connecting(_) => None,
        };
        self.index = index;
        self.number = self.number.wrapping_add(1);
        self.up_since = Instant::now();
        self.upstreams.set(index, LinkState::Up, None);
        // It may be another pool.
        self.learn_room(None);
        self.show_standing();
        self.news.mark_changed();
        self.look_for_better();
        LinkEvent::Up { gone }
    }

    /// Keeps the connection for as long as its shares may take to be settled. Gives the one that was kept until now.
    fn leave(&mut self, connection: Box<Wire>, for_index: usize) -> Option<LinkNumber> {
        if self.index != for_index {
            self.upstreams.set(self.index, LinkState::Standby, None);
        }
        let leaving = Leaving {
            connection,
            number: self.number,
            until: Box::pin(tokio::time::sleep(LEAVING_FOR)),
        };
        let before = self.leaving.replace(leaving);
        before.map(|before| before.number)
    }

    fn on_failed(&mut self, error: &DialError) {
        let error = Chain(error).to_string();
        let upstream = self.configs[self.index].address.clone();
        self.upstreams
            .set(self.index, LinkState::Down, Some(error.clone()));
        let next = self.choice.on_failed(self.index);
        let retry_in_ms = u64::try_from(self.follow(next).as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            upstream,
            error,
            retry_in_ms,
            "no connection to the upstream"
        );
    }

    fn follow(&mut self, next: Next) -> Duration {
        let (index, wait) = match next {
            Next::Now(index) => (index, Duration::ZERO),
            Next::AfterPause { index, rounds } => (index, pause(rounds)),
        };
        self.index = index;
        self.dial = Dial::after(wait);
        wait
    }

    /// Watches those that are preferred to the one in use, and no other.
    fn look_for_better(&mut self) {
        if !self.is_up() || self.probe.is_some() {
            return;
        }
        let better = self.choice.better_than(self.index);
        for index in 0..self.configs.len() {
            if index != self.index && !better.contains(&index) {
                self.upstreams.rest(index);
            }
        }
        if better.is_empty() {
            return;
        }
        let candidates = better.into_iter().map(|index| self.at(index)).collect();
        let wait = pause(1);
        let probe = Probe::new(Purpose::Return, candidates, wait, self.return_after);
        self.probe = Some(probe);
    }

    /// The operator who waits for a switch that is given up for another one learns that.
    fn replace_probe(&mut self, probe: Option<Probe>) {
        let before = std::mem::replace(&mut self.probe, probe);
        if let Some(Probe {
            purpose: Purpose::Switch(done),
            ..
        }) = before
        {
            let why =
                "another switch, or the upstream itself, asked for another connection meanwhile";
            done.send(Err(why.to_owned())).ok();
        }
    }

    fn choose(&mut self, index: usize) {
        self.choice.switch_to(index);
        self.upstreams.learn_switch(index);
    }

    fn at(&self, index: usize) -> UpstreamAt {
        UpstreamAt {
            index,
            config: self.configs[index].clone(),
        }
    }

    fn is_good(&self) -> bool {
        self.up_since.elapsed() >= GOOD_AFTER
    }

    fn count_life(&mut self, was_good: bool) {
        self.short_lived = if was_good {
            0
        } else {
            self.short_lived.saturating_add(1)
        };
    }
}

impl Leaving {
    fn end_now(&mut self) {
        self.until = Box::pin(tokio::time::sleep(Duration::ZERO));
    }
}

/// Never completes where there is none.
async fn next_of_probe(
    probe: &mut Option<Probe>,
    upstreams: &Upstreams,
    introduction: &Introduction,
) -> ProbeEvent {
    match probe {
        Some(probe) => probe.next(upstreams, introduction).await,
        None => std::future::pending().await,
    }
}

/// The next message; none once the connection is gone or its time is over. Never completes where there is none.
async fn next_of_leaving(leaving: &mut Option<Leaving>) -> (LinkNumber, Option<Message>) {
    match leaving {
        Some(leaving) => tokio::select! {
            message = leaving.connection.recv() => (leaving.number, message.ok()),
            () = &mut leaving.until => (leaving.number, None),
        },
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("upstream", &self.configs[self.index].address)
            .field("number", &self.number)
            .field("is_up", &self.is_up())
            .finish_non_exhaustive()
    }
}
