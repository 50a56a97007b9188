//! The loop: what happens goes through `update`, what changed is drawn, at most ten times a second.
//!
//! It ends by a key, by a signal, or with the terminal; never because a daemon is away.

use crate::act::Operation;
use crate::feed::{Event, Feed, Pace};
use crate::model::{Effect, Model, Msg, update};
use crate::reach::{ControlReach, Line, Reach};
use crate::terminal::Screen;
use crate::view::view;
use anyhow::{Context as _, Result, bail};
use crossterm::event::{Event as TerminalEvent, EventStream, KeyEventKind};
use futures::StreamExt;
use hh_ipc::locate::Daemon;
use jiff::Timestamp;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// What the daemons said and the loop has not taken yet: an answer each, and some to spare.
const EVENTS: usize = 8;

/// Ages are in seconds; a quarter of one makes them change on time.
const TICK: Duration = Duration::from_millis(250);

/// From one frame to the next: a slow line and a key held down must not pile up frames.
const FRAME: Duration = Duration::from_millis(100);

/// The ways to the daemons.
pub(crate) struct Ways {
    /// To look.
    pub(crate) reach: Reach,
    /// What carries that to another machine.
    pub(crate) line: Option<Line>,
    /// To change something.
    pub(crate) control: ControlReach,
}

/// Shows `model` and follows the daemons that `ways` lead to, until the user leaves.
pub(crate) async fn run(mut model: Model, ways: Ways) -> Result<()> {
    let mut signals = Signals::new()?;
    let (sender, mut events) = mpsc::channel(EVENTS);
    let (pace, _) = watch::channel(Pace::default());
    let mut feeds = JoinSet::new();
    for daemon in Daemon::ALL {
        let feed = Feed {
            daemon,
            reach: ways.reach.clone(),
            events: sender.clone(),
            pace: pace.subscribe(),
        };
        feeds.spawn(feed.run());
    }
    if let Some(line) = ways.line {
        feeds.spawn(line.run());
    }
    let mut acts = JoinSet::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut screen = Screen::take().context("can't take the terminal")?;
    let mut terminal_events = EventStream::new();
    let mut next_frame = Instant::now();
    loop {
        let msg = tokio::select! {
            () = sleep_until(next_frame), if model.dirty => {
                screen.draw(|frame| view(&model, frame)).context("can't draw")?;
                model.dirty = false;
                next_frame = Instant::now() + FRAME;
                continue;
            }
            event = terminal_events.next() => match event {
                Some(event) => match message(event.context("can't read the terminal")?) {
                    Some(msg) => msg,
                    None => continue,
                },
                None => return Ok(()),
            },
            Some(event) = events.recv() => heard(event),
            _ = tick.tick() => Msg::Tick(Timestamp::now()),
            () = signals.any() => return Ok(()),
            Some(acted) = acts.join_next() => acted.context("an operation ended")?,
            // A feed ends only by a panic, whose hook has given the terminal back already.
            ended = feeds.join_next() => bail!("a feed ended: {ended:?}"),
        };
        match update(&mut model, msg) {
            None => {}
            Some(Effect::Quit) => return Ok(()),
            Some(Effect::Refresh) => pace.send_modify(|pace| pace.refreshes += 1),
            Some(Effect::Pause(paused)) => pace.send_modify(|pace| pace.paused = paused),
            Some(Effect::Act { operation, dry_run }) => {
                acts.spawn(act(ways.control.clone(), operation, dry_run));
            }
        }
    }
}

async fn act(control: ControlReach, operation: Operation, dry_run: bool) -> Msg {
    let outcome = operation.run(&control, dry_run).await;
    Msg::Acted {
        operation,
        dry_run,
        outcome,
    }
}

fn heard(event: Event) -> Msg {
    let at = Timestamp::now();
    Msg::Feed { event, at }
}

fn message(event: TerminalEvent) -> Option<Msg> {
    match event {
        TerminalEvent::Key(key) if key.kind == KeyEventKind::Press => Some(Msg::Key(key)),
        TerminalEvent::Resize(..) => Some(Msg::Resize),
        TerminalEvent::Key(_)
        | TerminalEvent::FocusGained
        | TerminalEvent::FocusLost
        | TerminalEvent::Mouse(_)
        | TerminalEvent::Paste(_) => None,
    }
}

/// The signals that ask a program to end.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> Result<Self> {
        let of = |kind| signal(kind).context("can't listen for signals");
        Ok(Self([
            of(SignalKind::terminate())?,
            of(SignalKind::hangup())?,
            of(SignalKind::interrupt())?,
        ]))
    }

    async fn any(&mut self) {
        let [terminate, hangup, interrupt] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
