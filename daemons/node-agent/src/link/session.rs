//! One session: orders to the worker, its reports and heartbeats to core.

use super::chain;
use crate::dial::{Channel, DialError};
use crate::identity::Identity;
use crate::supervisor::Supervisor;
use crate::worker::{ClockOffset, Ends};
use futures::stream;
use hh_ipc::agent::{
    CoreMessage, Heartbeat, NodeAccount, NodeHello, NodeMessage, core_message, node_message, path,
};
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::Streaming;

/// Messages to core that wait for the connection.
const OUTGOING_QUEUE: usize = 64;

/// Until core says otherwise.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Heartbeats are no rarer than this, whatever core says: they are how both ends find out that the other is gone.
const HEARTBEAT_SECONDS_MAX: u32 = 60;

/// Core answers every heartbeat; three that it does not are a connection that is none.
const SILENCE: u32 = 3;

pub(super) struct Session {
    incoming: Streaming<CoreMessage>,
    outgoing: mpsc::Sender<NodeMessage>,
    heartbeat: Interval,
    heard: Instant,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("core has closed it")]
    Closed,
    #[error("core has said goodbye: {0}")]
    Goodbye(String),
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("core was not heard")]
    Silent,
    #[error("the agent stops")]
    Stopping,
}

/// What the owner of a session has to see to.
pub(super) enum Step {
    End(End),
    /// Core's keys.
    KeySet(String),
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

impl Session {
    /// Opens a session, and says who is here.
    pub(super) async fn open(
        channel: &Channel,
        identity: &Identity,
        supervisor: &Supervisor,
    ) -> Result<Self, DialError> {
        let (outgoing, messages) = mpsc::channel(OUTGOING_QUEUE);
        let hello = NodeHello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: identity.enrolled().map_or(0, |enrolled| enrolled.epoch),
            last_seq: 0,
            services: supervisor.report(),
        };
        let hello = node_message::Body::Hello(hello);
        // There is room: it is the first.
        outgoing.try_send(NodeMessage { body: Some(hello) }).ok();
        let messages = stream::unfold(messages, |mut messages| async move {
            let message = messages.recv().await?;
            Some((message, messages))
        });
        let incoming = channel.streaming(path::SESSION, messages).await?;
        tracing::info!("session with core begun");
        Ok(Self {
            incoming,
            outgoing,
            heartbeat: interval(HEARTBEAT),
            heard: Instant::now(),
        })
    }

    /// Goes on until there is something to see to. What has come is dealt with before it returns.
    pub(super) async fn run(
        &mut self,
        worker: &mut Ends,
        clock: &ClockOffset,
        supervisor: &Supervisor,
        due: Due<'_>,
    ) -> Step {
        loop {
            let step = tokio::select! {
                message = self.incoming.message() => match message {
                    Ok(Some(message)) => self.hear(message, worker, clock).await,
                    Ok(None) => Some(Step::End(End::Closed)),
                    Err(status) => Some(Step::End(End::Lost(chain(&status)))),
                },
                report = worker.reports.recv() => match report {
                    Some(report) => self.say(report).await,
                    None => Some(Step::End(End::Stopping)),
                },
                _ = self.heartbeat.tick() => self.beat(supervisor).await,
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
            Some(core_message::Body::Goodbye(goodbye)) => {
                Some(Step::End(End::Goodbye(goodbye.reason)))
            }
            Some(core_message::Body::Account(account)) => Some(Step::Account(account)),
            // It need not be told again; the journal keeps it all the same.
            Some(core_message::Body::ResultTaken(_)) => None,
            // Something that a newer core says.
            None => None,
        }
    }

    async fn beat(&mut self, supervisor: &Supervisor) -> Option<Step> {
        if self.heard.elapsed() > self.heartbeat.period() * SILENCE {
            return Some(Step::End(End::Silent));
        }
        let heartbeat = Heartbeat {
            sent_at_unix_ms: now_ms(),
            services: supervisor.report(),
        };
        self.say(node_message::Body::Heartbeat(heartbeat)).await
    }

    async fn say(&mut self, body: node_message::Body) -> Option<Step> {
        let sent = self.outgoing.send(NodeMessage { body: Some(body) }).await;
        sent.is_err().then_some(Step::End(End::Closed))
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
