//! One session: orders to the worker, its reports and heartbeats to core.

use super::chain;
use super::poller::Poller;
use crate::dial::{Channel, DialError};
use crate::identity::Identity;
use crate::report::Reporter;
use crate::witness::Seen;
use crate::worker::{ClockOffset, Ends};
use futures::stream;
use hh_daemon::Tasks;
use hh_ipc::agent::{
    AuditCheckpoint, AuditSeen, CoreMessage, Heartbeat, Inventory, NodeAccount, NodeHello,
    NodeMessage, REVOKED, core_message, node_message, path,
};
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::Streaming;

/// Messages to core that wait for the connection.
const OUTGOING_QUEUE: usize = 64;

/// Messages of core's polls that wait for the worker.
const HEARD_QUEUE: usize = 16;

/// Until core says otherwise.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Heartbeats are no rarer than this, whatever core says: they are how both ends find out that the other is gone.
const HEARTBEAT_SECONDS_MAX: u32 = 60;

/// Core answers every heartbeat; three that it does not are a connection that is none.
const SILENCE: u32 = 3;

pub(super) struct Session {
    incoming: Incoming,
    outgoing: mpsc::Sender<NodeMessage>,
    heartbeat: Interval,
    heard: Instant,
    reporter: Reporter,
    /// As core was told it in this session.
    told: Option<Inventory>,
    audit: watch::Receiver<Seen>,
}

/// Where core's messages come from.
enum Incoming {
    Stream(Box<Streaming<CoreMessage>>),
    Polls(mpsc::Receiver<Result<CoreMessage, DialError>>),
}

impl Incoming {
    async fn message(&mut self) -> Result<CoreMessage, End> {
        match self {
            Self::Stream(stream) => match stream.message().await {
                Ok(Some(message)) => Ok(message),
                Ok(None) => Err(End::Closed),
                Err(status) => Err(End::Lost(chain(&status))),
            },
            Self::Polls(heard) => match heard.recv().await {
                Some(Ok(message)) => Ok(message),
                Some(Err(error)) if error.is_revoked() => Err(End::Revoked),
                Some(Err(error)) => Err(End::Lost(chain(&error))),
                None => Err(End::PollsOver),
            },
        }
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("core has closed it")]
    Closed,
    #[error("core has said goodbye: {0}")]
    Goodbye(String),
    #[error("core has revoked this node")]
    Revoked,
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("core was not heard")]
    Silent,
    #[error("core was polled for long enough; a stream is tried again")]
    PollsOver,
    #[error("the agent stops")]
    Stopping,
}

impl End {
    /// The connection has ended it, and neither core nor this node.
    pub(super) fn is_of_the_connection(&self) -> bool {
        matches!(self, Self::Closed | Self::Lost(_) | Self::Silent)
    }
}

/// What the owner of a session has to see to.
pub(super) enum Step {
    End(End),
    /// Core's keys.
    KeySet(String),
    /// How far core's audit log goes.
    Audit(AuditCheckpoint),
    /// What the node is owed.
    Account(NodeAccount),
    /// The certificate is to be renewed.
    Renew,
}

/// When the certificate is to be renewed.
#[derive(Clone, Copy)]
pub(super) struct Due<'a> {
    /// In Unix seconds.
    pub(super) renew_at: i64,
    /// Now, because core has ordered it.
    pub(super) renew: &'a Notify,
}

impl Due<'_> {
    async fn is_due(self) {
        let left = self.renew_at.saturating_sub(Timestamp::now().as_second());
        let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = self.renew.notified() => {}
        }
    }
}

/// Who has the session, and what he tells in it.
pub(super) struct Speaker<'a> {
    pub(super) identity: &'a Identity,
    pub(super) reporter: Reporter,
    pub(super) audit: watch::Receiver<Seen>,
}

impl Speaker<'_> {
    fn hello(&self) -> NodeHello {
        NodeHello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self
                .identity
                .enrolled()
                .map_or(0, |enrolled| enrolled.epoch),
            last_seq: 0,
            services: self.reporter.services(),
            audit: Some(seen(&self.audit)),
        }
    }
}

impl Session {
    /// Opens a session, and says who is here.
    pub(super) async fn open(channel: &Channel, speaker: Speaker<'_>) -> Result<Self, DialError> {
        let (outgoing, messages) = mpsc::channel(OUTGOING_QUEUE);
        let hello = node_message::Body::Hello(speaker.hello());
        // There is room: it is the first.
        outgoing.try_send(NodeMessage { body: Some(hello) }).ok();
        let messages = stream::unfold(messages, |mut messages| async move {
            let message = messages.recv().await?;
            Some((message, messages))
        });
        let incoming = channel.streaming(path::SESSION, messages).await?;
        tracing::info!("session with core begun");
        Ok(Self::new(
            Incoming::Stream(Box::new(incoming)),
            outgoing,
            speaker,
        ))
    }

    /// Has a session by polls, until then at the latest.
    pub(super) async fn poll(
        channel: &Channel,
        speaker: Speaker<'_>,
        tasks: &Tasks,
        until: Instant,
    ) -> Result<Self, DialError> {
        let (outgoing, said) = mpsc::channel(OUTGOING_QUEUE);
        let (heard, incoming) = mpsc::channel(HEARD_QUEUE);
        let mut poller = Poller::new(channel.clone(), speaker.hello(), said, heard, until);
        let first = poller.first().await?;
        let stopped = tasks.token().clone();
        tasks.spawn_session("polls of core", async move {
            stopped.run_until_cancelled(poller.run(first)).await;
        });
        tracing::info!("polling core");
        Ok(Self::new(Incoming::Polls(incoming), outgoing, speaker))
    }

    fn new(incoming: Incoming, outgoing: mpsc::Sender<NodeMessage>, speaker: Speaker<'_>) -> Self {
        Self {
            incoming,
            outgoing,
            heartbeat: interval(HEARTBEAT),
            heard: Instant::now(),
            reporter: speaker.reporter,
            told: None,
            audit: speaker.audit,
        }
    }

    /// Goes on until there is something to see to. What has come is dealt with before it returns.
    pub(super) async fn run(
        &mut self,
        worker: &mut Ends,
        clock: &ClockOffset,
        due: Due<'_>,
    ) -> Step {
        loop {
            let step = tokio::select! {
                message = self.incoming.message() => match message {
                    Ok(message) => self.hear(message, worker, clock).await,
                    Err(end) => Some(Step::End(end)),
                },
                report = worker.reports.recv() => match report {
                    Some(report) => self.say(report).await,
                    None => Some(Step::End(End::Stopping)),
                },
                _ = self.heartbeat.tick() => self.beat().await,
                () = due.is_due() => Some(Step::Renew),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    async fn hear(
        &mut self,
        message: CoreMessage,
        worker: &mut Ends,
        clock: &ClockOffset,
    ) -> Option<Step> {
        self.heard = Instant::now();
        match message.body {
            Some(core_message::Body::Welcome(welcome)) => {
                clock.set(now_ms().saturating_sub(welcome.core_unix_ms));
                let seconds = welcome.heartbeat_seconds.clamp(1, HEARTBEAT_SECONDS_MAX);
                self.heartbeat = interval(Duration::from_secs(seconds.into()));
                Some(Step::KeySet(welcome.key_set))
            }
            Some(core_message::Body::Command(command)) => {
                let sent = worker.orders.send(command).await;
                sent.is_err().then_some(Step::End(End::Stopping))
            }
            Some(core_message::Body::Heartbeat(answer)) => {
                // Half of the way there and back lies between core's word and now.
                let now = now_ms();
                let way = now.saturating_sub(answer.sent_at_unix_ms).clamp(0, 60_000);
                clock.set(
                    now.saturating_sub(answer.core_unix_ms)
                        .saturating_sub(way / 2),
                );
                None
            }
            Some(core_message::Body::Audit(shown)) => Some(Step::Audit(shown)),
            Some(core_message::Body::Goodbye(goodbye)) => {
                Some(Step::End(match goodbye.code.as_str() {
                    REVOKED => End::Revoked,
                    _ => End::Goodbye(goodbye.reason),
                }))
            }
            Some(core_message::Body::Account(account)) => Some(Step::Account(account)),
            // It need not be told again; the journal keeps it all the same.
            Some(core_message::Body::ResultTaken(_)) => None,
            // Something that a newer core says.
            None => None,
        }
    }

    async fn beat(&mut self) -> Option<Step> {
        if self.heard.elapsed() > self.heartbeat.period() * SILENCE {
            return Some(Step::End(End::Silent));
        }
        let inventory = Some(self.reporter.inventory());
        let is_news = inventory != self.told;
        if is_news {
            self.told.clone_from(&inventory);
        }
        let heartbeat = Heartbeat {
            sent_at_unix_ms: now_ms(),
            services: self.reporter.services(),
            lanes: self.reporter.lanes(),
            inventory: inventory.filter(|_inventory| is_news),
            audit: Some(seen(&self.audit)),
        };
        self.say(node_message::Body::Heartbeat(heartbeat)).await
    }

    async fn say(&mut self, body: node_message::Body) -> Option<Step> {
        let sent = self.outgoing.send(NodeMessage { body: Some(body) }).await;
        sent.is_err().then_some(Step::End(End::Closed))
    }
}

/// What was seen of the audit log, as core is told.
fn seen(audit: &watch::Receiver<Seen>) -> AuditSeen {
    let seen = audit.borrow();
    AuditSeen {
        size: seen.lines,
        root: seen.root.map_or_else(Vec::new, |root| root.0.to_vec()),
        fault: seen.fault.clone().unwrap_or_default(),
    }
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
