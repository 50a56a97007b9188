//! A session by polls: what is said waits for the next call, and what core says comes with its answer. For who has the session it is as
//! a stream.
//!
//! A poll waits at core for a command. Something to report does not wait for its end: that poll is left, and another one takes its
//! place. What was said is said again until a poll that had it was answered; core takes each report once.

use crate::dial::{Channel, DialError};
use hh_ipc::agent::{
    CoreMessage, Heartbeat, HeartbeatAnswer, MAX_POLL_MESSAGES, NodeHello, NodeMessage, POLL_BYTES,
    PollRequest, PollResponse, Welcome, core_message, node_message, path,
};
use jiff::Timestamp;
use prost::Message;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Core waits for so long: what cuts streams cuts what is silent, and what it has no way to say in this poll it says in the next one.
const WAIT_SECONDS: u32 = 3;

/// A poll that was to wait and was answered with nothing sooner is not repeated before this.
const ROUND_MIN: Duration = Duration::from_secs(1);

/// Reports that wait for a poll: those of some hundred commands. For what finds no room core is asked for its commands again.
const QUEUED_MAX: usize = 512;

pub(super) struct Poller {
    channel: Channel,
    hello: NodeHello,
    /// The last one; its inventory stays until an answered poll had it.
    heartbeat: Heartbeat,
    /// What the session says.
    said: mpsc::Receiver<NodeMessage>,
    /// What it hears.
    heard: mpsc::Sender<Result<CoreMessage, DialError>>,
    /// When it is over.
    until: Instant,
    /// Reports that no answered poll had.
    queued: VecDeque<NodeMessage>,
    /// The last command that came.
    after: String,
}

/// What came of a poll.
enum Round {
    Answered(Vec<CoreMessage>),
    /// There is something to report.
    Left,
    Failed(DialError),
    /// Nobody has the session any more.
    Gone,
}

impl Poller {
    pub(super) fn new(
        channel: Channel,
        hello: NodeHello,
        said: mpsc::Receiver<NodeMessage>,
        heard: mpsc::Sender<Result<CoreMessage, DialError>>,
        until: Instant,
    ) -> Self {
        let heartbeat = Heartbeat {
            services: hello.services.clone(),
            audit: hello.audit.clone(),
            ..Heartbeat::default()
        };
        Self {
            channel,
            hello,
            heartbeat,
            said,
            heard,
            until,
            queued: VecDeque::new(),
            after: String::new(),
        }
    }

    /// The first poll, which does not wait: whether core answers at all.
    ///
    /// # Errors
    /// It does not, or refuses.
    pub(super) async fn first(&mut self) -> Result<Vec<CoreMessage>, DialError> {
        let (request, _) = self.request(0);
        let began = Instant::now();
        let response: PollResponse = self.channel.unary(path::POLL, request).await?;
        Ok(self.taken(response, began))
    }

    /// Polls until the session is given up, a poll fails, or it is time to try a stream.
    pub(super) async fn run(mut self, first: Vec<CoreMessage>) {
        let mut messages = first;
        loop {
            for message in std::mem::take(&mut messages) {
                if !self.tell(message).await {
                    return;
                }
            }
            if Instant::now() >= self.until {
                return;
            }
            match self.round().await {
                Round::Answered(answer) => messages = answer,
                Round::Left => {}
                Round::Failed(error) => {
                    self.heard.send(Err(error)).await.ok();
                    return;
                }
                Round::Gone => return,
            }
        }
    }

    /// Tells the session, which may have to say something first. False if there is none any more.
    async fn tell(&mut self, message: CoreMessage) -> bool {
        let heard = self.heard.clone();
        loop {
            tokio::select! {
                room = heard.reserve() => {
                    let Ok(room) = room else { return false };
                    room.send(Ok(message));
                    return true;
                }
                said = self.said.recv() => {
                    let Some(said) = said else { return false };
                    self.keep(said);
                }
            }
        }
    }

    async fn round(&mut self) -> Round {
        while let Ok(message) = self.said.try_recv() {
            self.keep(message);
        }
        let waits = self.queued.is_empty();
        let wait_seconds = if waits { WAIT_SECONDS } else { 0 };
        let (request, reports) = self.request(wait_seconds);
        let told = self.heartbeat.inventory.clone();
        let began = Instant::now();
        let channel = self.channel.clone();
        let mut polling = Box::pin(channel.unary(path::POLL, request));
        let answered: Result<PollResponse, DialError> = loop {
            tokio::select! {
                answered = polling.as_mut() => break answered,
                said = self.said.recv() => {
                    let Some(said) = said else { return Round::Gone };
                    let is_report = self.keep(said);
                    if is_report && waits {
                        return Round::Left;
                    }
                }
            }
        };
        let response = match answered {
            Ok(response) => response,
            Err(error) => return Round::Failed(error),
        };
        self.queued.drain(..reports);
        // Another one may have come meanwhile.
        if self.heartbeat.inventory == told {
            self.heartbeat.inventory = None;
        }
        let messages = self.taken(response, began);
        if waits && !messages.iter().any(is_command) {
            tokio::time::sleep_until(began + ROUND_MIN).await;
        }
        Round::Answered(messages)
    }

    /// Keeps what is said for the next poll, which has a heartbeat of its own. True if it is a report, which is not to wait.
    fn keep(&mut self, message: NodeMessage) -> bool {
        if let Some(node_message::Body::Heartbeat(mut heartbeat)) = message.body {
            let untold = self.heartbeat.inventory.take();
            heartbeat.inventory = heartbeat.inventory.or(untold);
            self.hello.services.clone_from(&heartbeat.services);
            self.hello.audit.clone_from(&heartbeat.audit);
            self.heartbeat = heartbeat;
            return false;
        }
        match self.queued.len() < QUEUED_MAX {
            true => self.queued.push_back(message),
            // What came of it is told again when it comes again.
            false => self.after.clear(),
        }
        true
    }

    /// The next poll, and how many of the reports it has.
    fn request(&self, wait_seconds: u32) -> (PollRequest, usize) {
        let hello = self.hello.clone();
        let heartbeat = Heartbeat {
            sent_at_unix_ms: now_ms(),
            ..self.heartbeat.clone()
        };
        let others = [
            node_message::Body::Hello(hello),
            node_message::Body::Heartbeat(heartbeat),
        ];
        let others = others.map(|body| NodeMessage { body: Some(body) });
        let (count, mut messages) = (others.len(), others.to_vec());
        let mut bytes = 0;
        for report in &self.queued {
            if messages.len() == MAX_POLL_MESSAGES || bytes >= POLL_BYTES {
                break;
            }
            bytes += report.encoded_len();
            messages.push(report.clone());
        }
        let reports = messages.len() - count;
        let request = PollRequest {
            messages,
            wait_seconds,
            after_command: self.after.clone(),
        };
        (request, reports)
    }

    /// What core has said, with its times as of now: they are of when the poll came.
    fn taken(&mut self, response: PollResponse, began: Instant) -> Vec<CoreMessage> {
        let took_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mut messages = response.messages;
        for message in &mut messages {
            match &mut message.body {
                Some(core_message::Body::Command(command)) => {
                    self.after.clone_from(&command.command_id);
                }
                Some(core_message::Body::Welcome(Welcome { core_unix_ms, .. })) => {
                    *core_unix_ms = core_unix_ms.saturating_add(took_ms);
                }
                Some(core_message::Body::Heartbeat(HeartbeatAnswer {
                    sent_at_unix_ms,
                    core_unix_ms,
                })) => {
                    *sent_at_unix_ms = now_ms();
                    *core_unix_ms = core_unix_ms.saturating_add(took_ms);
                }
                _ => {}
            }
        }
        messages
    }
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn is_command(message: &CoreMessage) -> bool {
    matches!(message.body, Some(core_message::Body::Command(_)))
}
