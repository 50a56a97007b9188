//! A second connection beside the one in use: to an upstream that is preferred to it, to one that an operator wants, or to where
//! the upstream asks us to connect again. It is set up in full; miners are moved when it has been healthy for long enough.

use super::backoff::pause;
use super::dial::{Dial, DialError, DialEvent};
use super::known::{LinkState, Upstreams};
use super::standing::{Introduction, Wire};
use crate::config::UpstreamConfig;
use hh_daemon::Chain;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// What became of a switch: why the upstream can't be used, if it can't.
pub(crate) type Switched = Result<(), String>;

/// Who wants the second connection.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Going back to a better upstream; tried for as long as it takes.
    Return,
    /// An operator's switch; tried once.
    Switch(oneshot::Sender<Switched>),
    /// The upstream has asked for it; tried once.
    Reconnect,
}

/// See the module.
pub(super) struct Probe {
    pub purpose: Purpose,
    /// The upstreams that it may be, the best first.
    candidates: Vec<UpstreamAt>,
    /// Which of them is tried now.
    position: usize,
    dial: Dial,
    /// Rounds that failed.
    failures: u32,
    /// How long it must stay healthy.
    hold: Duration,
    held: Option<Pin<Box<Sleep>>>,
}

/// An upstream of the configuration.
#[derive(Clone, Debug)]
pub(super) struct UpstreamAt {
    pub index: usize,
    pub config: UpstreamConfig,
}

/// What became of it.
pub(super) enum ProbeEvent {
    /// Nothing to do yet.
    Changed,
    /// Miners may be moved to it.
    Ready,
    /// It was tried once and failed.
    GivenUp(String),
}

enum Step {
    Dial(DialEvent),
    Held,
}

impl Probe {
    /// To the first of `candidates` (there is one at least) that stays healthy for `hold`, from `wait` on.
    pub(super) fn new(
        purpose: Purpose,
        candidates: Vec<UpstreamAt>,
        wait: Duration,
        hold: Duration,
    ) -> Self {
        Self {
            purpose,
            candidates,
            position: 0,
            dial: Dial::after(wait),
            failures: 0,
            hold,
            held: None,
        }
    }

    /// The upstream that is tried now.
    pub(super) fn index(&self) -> usize {
        self.candidates[self.position].index
    }

    /// The connection, if it is set up, whether or not it has been held for long enough.
    pub(super) fn into_connection(self) -> Result<(Box<Wire>, usize, Purpose), Self> {
        let index = self.index();
        match self.dial {
            Dial::Up(connection) => Ok((connection, index, self.purpose)),
            Dial::Waiting(_) | Dial::Connecting(_) => Err(self),
        }
    }

    /// The next thing that happens. Cancel-safe.
    pub(super) async fn next(
        &mut self,
        upstreams: &Upstreams,
        introduction: &Introduction,
    ) -> ProbeEvent {
        let step = tokio::select! {
            event = self.dial.next() => Step::Dial(event),
            () = held(&mut self.held) => Step::Held,
        };
        match step {
            Step::Held => ProbeEvent::Ready,
            Step::Dial(DialEvent::Due) => {
                let UpstreamAt { index, config } = &self.candidates[self.position];
                upstreams.set_beside(*index, LinkState::Connecting, None);
                self.dial = Dial::connect(config.clone(), introduction.clone());
                ProbeEvent::Changed
            }
            Step::Dial(DialEvent::Connected(connection)) => {
                upstreams.set_beside(self.index(), LinkState::Returning, None);
                self.dial = Dial::Up(connection);
                self.held = Some(Box::pin(tokio::time::sleep(self.hold)));
                ProbeEvent::Changed
            }
            Step::Dial(DialEvent::Failed(error)) => self.on_failed(&error, upstreams),
            // There is no channel for it to be about.
            Step::Dial(DialEvent::Message(Ok(_))) => ProbeEvent::Changed,
            Step::Dial(DialEvent::Message(Err(error))) => self.on_failed(&error.into(), upstreams),
        }
    }

    fn on_failed(&mut self, error: &DialError, upstreams: &Upstreams) -> ProbeEvent {
        let error = Chain(error).to_string();
        let UpstreamAt { index, config } = &self.candidates[self.position];
        upstreams.set_beside(*index, LinkState::Down, Some(error.clone()));
        tracing::debug!(upstream = config.address, error, "no second connection");
        self.held = None;
        if !matches!(self.purpose, Purpose::Return) {
            return ProbeEvent::GivenUp(error);
        }
        self.position = (self.position + 1) % self.candidates.len();
        if self.position == 0 {
            self.failures = self.failures.saturating_add(1);
            self.dial = Dial::after(pause(self.failures));
        } else {
            self.dial = Dial::after(Duration::ZERO);
        }
        ProbeEvent::Changed
    }
}

async fn held(held: &mut Option<Pin<Box<Sleep>>>) {
    match held {
        Some(held) => held.await,
        None => std::future::pending().await,
    }
}
