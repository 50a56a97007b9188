//! The task that has all payouts under way: it opens what is due, hands a session to each that may be sent, and looks after
//! attempts whose outcome is open. Who is in hand, it alone knows; everything else is in the books.

use super::session::Pause;
use super::{Opener, Payer, session};
use crate::clock::unix_ms;
use hh_daemon::{Chain, Tasks};
use hh_ledger::books::{AttemptId, AttemptState, BooksError, PayoutId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Payouts in hand at once: each may take an HTLC slot of the same channel, of which there are 50 to 483.
const IN_HAND_MAX: usize = 16;

/// How often due payouts are looked for when nobody asks.
const TICK: Duration = Duration::from_secs(1);

/// How often the rules are gone through: their intervals are minutes.
const RULES_INTERVAL: Duration = Duration::from_secs(5);

/// How often an attempt is looked up that nobody follows any more.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(5);

/// Attempts that are looked up at once while no session follows them: a wallet that does not answer takes a minute to say so.
const LOOK_UPS_MAX: usize = 8;

/// Due payouts that are looked through for those that can be sent now.
const DUE_MAX: u32 = 500;

/// Nudges that may wait: they say that there is something to do, and one is as good as many.
pub(crate) const NUDGES_MAX: usize = 64;

/// Balances, payouts, the freeze or the wallet have changed: look before the next tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nudge;

enum Event {
    Tick,
    Nudged,
    Done(Done),
    Stopped,
}

/// What was in hand is not any more.
enum Done {
    Session {
        payout: PayoutId,
        /// Why it is to be left alone, and for how long.
        pause: Option<Pause>,
    },
    LookUp {
        payout: PayoutId,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Engine {
    pub payer: Payer,
    pub opener: Opener,
    pub tasks: Tasks,
    pub nudges: mpsc::Receiver<Nudge>,
    /// Whether books and wallet have been found to agree since the start; nothing is sent before.
    pub verified: watch::Receiver<bool>,
    /// Where others read what due payouts wait for.
    pub waits: watch::Sender<Waits>,
}

/// What payouts wait for that are due and could not be sent, with the way out.
pub(crate) type Waits = BTreeMap<PayoutId, String>;

struct Running {
    engine: Engine,
    stop: CancellationToken,
    /// Payouts that a session has, with who is paid.
    in_hand: BTreeMap<PayoutId, String>,
    /// Payouts whose attempt is being looked up.
    looked_up: BTreeSet<PayoutId>,
    /// The attempt that was looked up last: the next turn begins after it.
    last_look_up: AttemptId,
    /// Payouts that could not be paid, until when they are left alone.
    waiting: BTreeMap<PayoutId, Instant>,
    done: mpsc::Sender<Done>,
    ended: mpsc::Receiver<Done>,
    rules_at: Instant,
    look_up_at: Instant,
}

impl Engine {
    /// Pays until the daemon stops.
    pub(crate) async fn run(self) {
        let (done, ended) = mpsc::channel(IN_HAND_MAX + LOOK_UPS_MAX);
        let mut running = Running {
            stop: self.tasks.token().clone(),
            engine: self,
            in_hand: BTreeMap::new(),
            looked_up: BTreeSet::new(),
            last_look_up: AttemptId(0),
            waiting: BTreeMap::new(),
            done,
            ended,
            rules_at: Instant::now(),
            look_up_at: Instant::now(),
        };
        running.start().await;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                () = running.stop.cancelled() => Event::Stopped,
                Some(done) = running.ended.recv() => Event::Done(done),
                Some(Nudge) = running.engine.nudges.recv() => Event::Nudged,
                _ = tick.tick() => Event::Tick,
            };
            match event {
                Event::Stopped => return,
                Event::Done(done) => running.done(&done),
                Event::Nudged => running.rules_at = Instant::now(),
                Event::Tick => {}
            }
            running.act().await;
        }
    }
}

impl Running {
    /// Nobody knows what became of what was under way when the last process ended.
    async fn start(&mut self) {
        let books = &self.engine.payer.books;
        loop {
            let marked = async {
                for attempt in books.open_attempts().await? {
                    let was_under_way = matches!(
                        attempt.state,
                        AttemptState::Dispatched | AttemptState::InFlight
                    );
                    if was_under_way {
                        let why = "hh-treasury was started again".to_owned();
                        books.unknown(attempt.id, why, unix_ms()).await?;
                    }
                }
                Ok::<_, BooksError>(())
            };
            match marked.await {
                Ok(()) => return,
                Err(error) => tell("open attempts not read", &error),
            }
            let pause = tokio::time::sleep(TICK);
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    fn done(&mut self, done: &Done) {
        match done {
            Done::Session { payout, pause } => {
                self.in_hand.remove(payout);
                if let Some(Pause { time, why }) = pause {
                    self.waiting.insert(*payout, Instant::now() + *time);
                    let why = why.clone();
                    self.engine
                        .waits
                        .send_modify(|waits| drop(waits.insert(*payout, why)));
                }
            }
            Done::LookUp { payout } => drop(self.looked_up.remove(payout)),
        }
    }

    async fn act(&mut self) {
        if !*self.engine.verified.borrow() {
            return;
        }
        let now = Instant::now();
        if now >= self.rules_at {
            self.rules_at = now + RULES_INTERVAL;
            if let Err(error) = self.engine.opener.open_due(unix_ms()).await {
                tell("rules not gone through", &error);
            }
        }
        if now >= self.look_up_at {
            self.look_up_at = now + LOOK_UP_INTERVAL;
            if let Err(error) = self.look_up().await {
                tell("open attempts not looked up", &error);
            }
        }
        if let Err(error) = self.hand_out().await {
            tell("due payouts not read", &error);
        }
    }

    /// Gives each due payout to a session, one to a payee.
    async fn hand_out(&mut self) -> Result<(), BooksError> {
        let room = IN_HAND_MAX.saturating_sub(self.in_hand.len());
        if room == 0 || self.stop.is_cancelled() {
            return Ok(());
        }
        let now = Instant::now();
        self.waiting.retain(|_, until| *until > now);
        let payer = &self.engine.payer;
        let due = payer.books.due_payouts(unix_ms(), DUE_MAX).await?;
        // One that is under way, or has ended, waits no more.
        let ids: BTreeSet<PayoutId> = due.iter().map(|payout| payout.id).collect();
        self.engine.waits.send_if_modified(|waits| {
            let before = waits.len();
            waits.retain(|id, _| ids.contains(id));
            waits.len() != before
        });
        for payout in due {
            let payee = payout.payee.to_string();
            let is_taken = self.in_hand.contains_key(&payout.id)
                || self.looked_up.contains(&payout.id)
                || self.waiting.contains_key(&payout.id)
                || self.in_hand.values().any(|in_hand| *in_hand == payee);
            if is_taken {
                continue;
            }
            if self.in_hand.len() >= IN_HAND_MAX {
                break;
            }
            self.in_hand.insert(payout.id, payee);
            let (id, done) = (payout.id, self.done.clone());
            let session = session::run(payer.clone(), payout, self.stop.clone());
            self.engine.tasks.spawn_session("payout", async move {
                let pause = session.await;
                let ended = Done::Session { payout: id, pause };
                // The engine is gone when the daemon stops.
                done.send(ended).await.ok();
            });
        }
        Ok(())
    }

    /// Looks up what no session follows, each beside the others.
    async fn look_up(&mut self) -> Result<(), BooksError> {
        let payer = &self.engine.payer;
        let mut open = payer.books.open_attempts().await?;
        let done_before = open.partition_point(|attempt| attempt.id.0 <= self.last_look_up.0);
        open.rotate_left(done_before);
        for attempt in open {
            let payout = attempt.payout;
            if self.stop.is_cancelled() || self.looked_up.len() >= LOOK_UPS_MAX {
                return Ok(());
            }
            if self.in_hand.contains_key(&payout) || !self.looked_up.insert(payout) {
                continue;
            }
            self.last_look_up = attempt.id;
            let (looked_up, done) = (session::look_up(payer.clone(), attempt), self.done.clone());
            self.engine.tasks.spawn_session("look-up", async move {
                looked_up.await;
                // The engine is gone when the daemon stops.
                done.send(Done::LookUp { payout }).await.ok();
            });
        }
        Ok(())
    }
}

fn tell(what: &'static str, error: &BooksError) {
    let error = Chain(error).to_string();
    tracing::warn!(error, "{what}");
}
