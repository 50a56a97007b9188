//! The task of an aggregated lane: between its sessions and its upstream.

use super::{Aggregate, ClassRange, ClassView, Output, Submitted};
use crate::upstream::link::Upstreams;
use crate::upstream::{Command, Event, EventSink, LaneSink};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How often vardiff looks at each miner.
const TICK: Duration = Duration::from_secs(1);

/// Events of all channels that wait. A new block is two for each channel, of which every miner has one while no credential holds: ten
/// thousand miners, several times over. A channel whose event does not fit is closed with its miners.
const EVENTS_MAX: usize = 128 * 1024;

/// Commands and events handled in a row: bounds the latency of the first of them.
const HANDLED_AT_ONCE: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Aggregator {
    aggregate: Aggregate,
    commands: mpsc::Receiver<Command>,
    upstream: mpsc::Sender<Command>,
    upstreams: Upstreams,
    events: mpsc::Receiver<(u64, Event)>,
    sink: LaneSink,
    sessions: HashMap<u64, EventSink>,
    /// What operators see, as of the last tick.
    classes: watch::Sender<Vec<ClassView>>,
    started_at: Instant,
}

/// The upstream has stopped, and the daemon with it.
struct Stopped;

impl Aggregator {
    /// Between the sessions that send `commands` and the `upstream`, of which `upstreams` tells what it is.
    pub(crate) fn new(
        range: ClassRange,
        commands: mpsc::Receiver<Command>,
        upstream: mpsc::Sender<Command>,
        upstreams: Upstreams,
    ) -> Self {
        let (queue, events) = mpsc::channel(EVENTS_MAX);
        Self {
            aggregate: Aggregate::new(range, 0),
            commands,
            upstream,
            upstreams,
            events,
            sink: LaneSink::new(queue),
            sessions: HashMap::new(),
            classes: watch::Sender::default(),
            started_at: Instant::now(),
        }
    }

    /// The classes that its miners are in, a second old at most.
    pub(crate) fn classes(&self) -> watch::Receiver<Vec<ClassView>> {
        self.classes.subscribe()
    }

    /// Serves until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A new block before the shares of the old one.
                biased;
                () = stop.cancelled() => return,
                _ = tick.tick() => self.on_tick(),
                Some((key, event)) = self.events.recv() => self.aggregate.on_event(key, event),
                Some(command) = self.commands.recv() => self.on_command(command),
            }
            for _ in 0..HANDLED_AT_ONCE {
                if let Ok((key, event)) = self.events.try_recv() {
                    self.aggregate.on_event(key, event);
                } else if let Ok(command) = self.commands.try_recv() {
                    self.on_command(command);
                } else {
                    break;
                }
            }
            if self.perform().await.is_err() {
                return;
            }
        }
    }

    fn on_tick(&mut self) {
        for key in self.sink.take_dropped() {
            tracing::warn!(
                key,
                limit = EVENTS_MAX,
                "a channel fell behind and is closed"
            );
            let reason = "fell behind the pool's messages";
            self.aggregate.on_event(key, Event::Closed(reason.into()));
        }
        self.follow_standing();
        let now_ms = self.started_at.elapsed().as_millis();
        self.aggregate
            .on_tick(u64::try_from(now_ms).unwrap_or(u64::MAX));
        let classes = self.aggregate.classes();
        self.classes.send_if_modified(|shown| {
            let differ = *shown != classes;
            *shown = classes;
            differ
        });
    }

    /// What the lane is to its pool may have changed. While the pool is away nobody knows.
    fn follow_standing(&mut self) {
        if let Some(is_ours) = self.upstreams.leaves_difficulty() {
            self.aggregate.set_ours(is_ours);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Open {
                session,
                wish,
                events,
            } => {
                // So that it does not come to a channel that it would have to leave at once.
                self.follow_standing();
                self.sessions.insert(session, events);
                self.aggregate.on_open(session, &wish);
            }
            Command::Update { session, terms } => self.aggregate.on_update(session, terms),
            Command::Submit {
                session,
                route,
                sequence_number,
                share,
                worker,
            } => {
                let submit = Submitted {
                    route,
                    sequence_number,
                    share,
                    worker,
                };
                self.aggregate.on_submit(session, submit);
            }
            Command::Close { session } => {
                self.sessions.remove(&session);
                self.aggregate.on_close(session);
            }
            // Operators' commands go to the upstream itself.
            Command::Switch { .. } => {}
        }
    }

    async fn perform(&mut self) -> Result<(), Stopped> {
        // Dropping a session makes outputs as well.
        loop {
            let outputs = self.aggregate.take_outputs();
            if outputs.is_empty() {
                return Ok(());
            }
            for output in outputs {
                match output {
                    Output::Open { key, wish } => {
                        let events = EventSink::Lane(self.sink.for_key(key));
                        let command = Command::Open {
                            session: key,
                            wish: Box::new(wish),
                            events,
                        };
                        self.tell_upstream(command).await?;
                    }
                    Output::Update { key, terms } => {
                        let session = key;
                        let command = Command::Update { session, terms };
                        self.tell_upstream(command).await?;
                    }
                    Output::Submit(submit) => self.tell_upstream(submit).await?,
                    Output::Close { key } => {
                        self.tell_upstream(Command::Close { session: key }).await?;
                    }
                    Output::Tell { session, event } => self.tell(session, event),
                }
            }
        }
    }

    async fn tell_upstream(&self, command: Command) -> Result<(), Stopped> {
        self.upstream.send(command).await.map_err(|_closed| Stopped)
    }

    /// Hands an event over without waiting. A session that is too far behind or has ended is dropped.
    fn tell(&mut self, session: u64, event: Event) {
        let Some(events) = self.sessions.get(&session) else {
            return;
        };
        let undelivered = match events.try_send(event) {
            Ok(()) => return,
            Err(undelivered) => undelivered,
        };
        if matches!(undelivered, TrySendError::Full(())) {
            tracing::warn!(session, "session is stuck and is dropped");
        }
        self.sessions.remove(&session);
        self.aggregate.on_close(session);
    }
}
