//! The templates that clients have, or may still come back with.
//!
//! Owns: the ids (strictly increasing, also over restarts), which template is current in each reservation class, how long a
//! stale one is kept, and the [`Nodes`] that they come from. One task; everybody else looks at the [`Board`] it publishes.
//! Never: remembers what was sent to whom, each session does that for itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hh_bitcoin::{NodeTemplate, Reservation, SourceEvent, TemplateBlock};
use hh_daemon::{Chain, Context, Failure};
use hh_ipc::api::template_provider::{TemplateDetail, TemplateValidity};
use jiff::Timestamp;
use metrics::{counter, gauge, histogram};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::exported::{FAILOVER, STAGES};
use crate::nodes::{Change, Nodes, Report};
use crate::served::{Origin, ServedTemplate, TipKey};

/// A solution or a request may be under way when the tip changes (SV2 specification: at least 10 s).
const STALE_KEPT: Duration = Duration::from_secs(12);
/// On one tip: at the default interval the last eight minutes. A miner is on the newest within seconds.
const LIVE_MAX: usize = 16;
/// Blocks come faster than this many in [`STALE_KEPT`] only where they are free, on regtest.
const STALE_MAX: usize = 64;
/// What `hhctl template list` can show.
const HISTORY_MAX: usize = 50;
/// Each makes the node build its own templates. Pools with sane coinbases need the default class only.
const CLASSES_MAX: usize = 8;
/// How often stale templates and unused classes are looked for.
const SWEEP: Duration = Duration::from_secs(2);
/// A client joins a class once, at its setup.
const JOINS_MAX: usize = 64;

/// What everybody may see of the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    /// The newest template of each class.
    pub(crate) current: BTreeMap<Reservation, Arc<ServedTemplate>>,
    /// Every template that still has a meaning, by id.
    pub(crate) known: BTreeMap<u64, Arc<ServedTemplate>>,
    pub(crate) templates_total: u64,
}

impl Board {
    /// Whether the template's tip is not that of its class any more.
    pub(crate) fn is_stale(&self, served: &ServedTemplate) -> bool {
        self.current
            .get(&served.node.reservation)
            .is_none_or(|current| current.tip() != served.tip())
    }

    /// What a block on this template would be worth.
    pub(crate) fn validity(&self, template_id: u64) -> TemplateValidity {
        let Some(served) = self.known.get(&template_id) else {
            return TemplateValidity::Gone;
        };
        let current = self.current.get(&served.node.reservation);
        if current.is_some_and(|current| current.id() == template_id) {
            TemplateValidity::Current
        } else if self.is_stale(served) {
            TemplateValidity::Stale
        } else {
            TemplateValidity::Valid
        }
    }
}

/// While one of these lives, its class is followed.
#[derive(Debug, Clone)]
pub(crate) struct ClassLease(#[expect(dead_code, reason = "it is there to be counted")] Arc<()>);

/// There are as many classes as we let the node build templates for.
#[derive(Debug, thiserror::Error)]
#[error("all {CLASSES_MAX} reservation classes are in use by clients with other coinbase sizes")]
pub(crate) struct TooManyClasses;

struct Join {
    reservation: Reservation,
    above: u64,
    reply: oneshot::Sender<Result<ClassLease, TooManyClasses>>,
}

/// The handle of sessions and control.
#[derive(Debug, Clone)]
pub(crate) struct Templates {
    pub(crate) board: watch::Receiver<Arc<Board>>,
    /// The newest first.
    pub(crate) history: watch::Receiver<VecDeque<TemplateDetail>>,
    joins: mpsc::Sender<Join>,
}

impl Templates {
    /// From now on the board has a template of this class, while the lease lives. Its id will be above that of the template
    /// which the client has, 0 for none: it may change its class, but ids must rise. `None` when the daemon stops.
    pub(crate) async fn join(
        &self,
        reservation: Reservation,
        above: u64,
    ) -> Option<Result<ClassLease, TooManyClasses>> {
        let (reply, answer) = oneshot::channel();
        self.joins
            .send(Join {
                reservation,
                above,
                reply,
            })
            .await
            .ok()?;
        answer.await.ok()
    }
}

/// What the transactions of a template add to its summary.
struct Arrived {
    template_id: u64,
    transactions: u32,
    fees_sats: u64,
    weight: u64,
}

/// The task.
pub(crate) struct TemplatesTask {
    context: Context,
    nodes: Nodes,
    reports: mpsc::Receiver<Report>,
    joins: mpsc::Receiver<Join>,
    publish: watch::Sender<Arc<Board>>,
    history: watch::Sender<VecDeque<TemplateDetail>>,
    board: Board,
    next_id: u64,
    classes: BTreeMap<Reservation, Weak<()>>,
    /// When a template that is kept became stale.
    stale_since: BTreeMap<u64, Instant>,
    arriving: JoinSet<Option<Arrived>>,
}

impl TemplatesTask {
    pub(crate) fn new(
        context: Context,
        nodes: Nodes,
        reports: mpsc::Receiver<Report>,
    ) -> (Self, Templates) {
        let board = Board::default();
        let (publish, published) = watch::channel(Arc::new(board.clone()));
        let (history, past) = watch::channel(VecDeque::new());
        let (joins, joining) = mpsc::channel(JOINS_MAX);
        let task = Self {
            context,
            nodes,
            reports,
            joins: joining,
            publish,
            history,
            board,
            next_id: first_id(),
            classes: BTreeMap::new(),
            stale_since: BTreeMap::new(),
            arriving: JoinSet::new(),
        };
        (
            task,
            Templates {
                board: published,
                history: past,
                joins,
            },
        )
    }

    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        let mut sweep = tokio::time::interval(SWEEP);
        let tasks = self.context.tasks.clone();
        loop {
            tokio::select! {
                () = tasks.cancelled() => return Ok(()),
                (node, event) = self.nodes.next() => match event {
                    Some(event) => self.on_source(node, event),
                    None if tasks.token().is_cancelled() => return Ok(()),
                    None => return Err(Failure::other("the template thread of a node ended")),
                },
                Some(report) = self.reports.recv() => {
                    self.nodes.on_report(report);
                    self.decide(None);
                }
                Some(join) = self.joins.recv() => self.on_join(join),
                Some(arrived) = self.arriving.join_next() => {
                    if let Ok(Some(arrived)) = arrived {
                        self.on_transactions(&arrived);
                    }
                }
                _ = sweep.tick() => {
                    self.decide(None);
                    self.on_sweep();
                }
            }
        }
    }

    fn on_source(&mut self, node: usize, event: SourceEvent) {
        match event {
            SourceEvent::Connected(info) => self.nodes.on_connected(node, info),
            SourceEvent::Unavailable(error) => self.nodes.on_unavailable(node, error),
            SourceEvent::Template(template) => return self.on_template(node, *template),
        }
        self.decide(None);
    }

    fn on_template(&mut self, node: usize, template: NodeTemplate) {
        let reservation = template.reservation;
        if reservation != Reservation::default() && !self.classes.contains_key(&reservation) {
            // It was under way when the class was given up.
            return;
        }
        self.nodes.on_template(node, &template);
        // What makes a node the active one is given out by that.
        if !self.decide(Some(reservation)) && self.nodes.is_active(node) {
            let trigger = template.trigger.as_str();
            self.give_out(node, template, trigger);
        }
    }

    /// Looks at the nodes anew. If another one is to be the active one from now on, gives out its templates, of which that of
    /// the class `fresh` has just come.
    fn decide(&mut self, fresh: Option<Reservation>) -> bool {
        match self.nodes.decide() {
            Change::None => false,
            Change::Lost => {
                self.context.set_ready(false);
                true
            }
            Change::To(node) => {
                for mut template in self.nodes.newest(node) {
                    let mut trigger = template.trigger.as_str();
                    if fresh != Some(template.reservation) {
                        // It may have stood by for long; for clients, this is the moment.
                        trigger = FAILOVER;
                        template.announced_at = Instant::now();
                        template.fetch_time = Duration::ZERO;
                    }
                    self.give_out(node, template, trigger);
                }
                true
            }
        }
    }

    fn give_out(&mut self, node: usize, template: NodeTemplate, trigger: &'static str) {
        let origin = Origin {
            node: self.nodes.name(node),
            ipc: self.nodes.has_ipc(node),
            trigger,
        };
        let Some(served) = self.admit(template, origin) else {
            return;
        };
        // From here on clients have it; what follows may take its time.
        let ready_time = served.node.announced_at.elapsed();
        self.context.set_ready(true);
        self.record(&served, ready_time);
        let (template_id, mut block) = (served.id(), served.node.block.clone());
        self.arriving.spawn(async move {
            let block = block.arrived().await?;
            tokio::task::spawn_blocking(move || arrived(template_id, &block))
                .await
                .ok()?
        });
    }

    /// Gives it the next id and puts it on the board.
    fn admit(&mut self, template: NodeTemplate, origin: Origin) -> Option<Arc<ServedTemplate>> {
        let reservation = template.reservation;
        let served = match ServedTemplate::new(template, origin, self.next_id) {
            Ok(served) => Arc::new(served),
            Err(error) => {
                counter!("hyperhash_template_failures_total", "reason" => "malformed").increment(1);
                error!(error = %Chain(&error), "template cannot be served");
                return None;
            }
        };
        self.next_id += 1;
        self.board.known.insert(served.id(), Arc::clone(&served));
        let before = self.board.current.insert(reservation, Arc::clone(&served));
        self.board.templates_total += 1;
        self.publish();
        self.retire(before.as_deref(), &served);
        Some(served)
    }

    /// Tells people and Prometheus.
    fn record(&self, served: &ServedTemplate, ready_time: Duration) {
        self.history.send_modify(|history| {
            history.push_front(served.detail(ready_time));
            history.truncate(HISTORY_MAX);
        });
        let trigger = served.origin.trigger;
        let fetch_time = served.node.fetch_time;
        let build_time = ready_time.saturating_sub(fetch_time);
        for (stage, time) in STAGES.into_iter().zip([fetch_time, build_time, ready_time]) {
            histogram!("hyperhash_template_generation_seconds", "trigger" => trigger, "stage" => stage)
                .record(time);
        }
        gauge!("hyperhash_template_last_success_timestamp_seconds")
            .set(served.created_at.as_duration().as_secs_f64());
        gauge!("hyperhash_chain_height").set(served.node.height.saturating_sub(1));
        info!(
            template_id = served.id(),
            trigger,
            node = served.origin.node.as_ref(),
            height = served.node.height,
            prev_hash = %served.prev_hash(),
            value_sats = served.node.template.coinbase_tx_value_remaining,
            reserved_weight = served.node.reservation.weight(),
            generation_us = u64::try_from(ready_time.as_micros()).unwrap_or(u64::MAX),
            "template published"
        );
    }

    /// Marks what the new template makes stale, and lets go of the oldest on the same tip.
    fn retire(&mut self, before: Option<&ServedTemplate>, now: &ServedTemplate) {
        let reservation = now.node.reservation;
        let of_class = |served: &&Arc<ServedTemplate>| served.node.reservation == reservation;
        if before.is_some_and(|before| before.tip() != now.tip()) {
            let stale = self.board.known.values().filter(of_class);
            for served in stale.filter(|served| served.tip() != now.tip()) {
                self.stale_since
                    .entry(served.id())
                    .or_insert_with(Instant::now);
            }
        }
        let tip: TipKey = now.tip();
        // A chain that was left for a moment may be come back to.
        let known = &self.board.known;
        self.stale_since
            .retain(|id, _| known.get(id).is_some_and(|served| served.tip() != tip));
        let live: Vec<u64> = (self.board.known.values().filter(of_class))
            .filter(|served| served.tip() == tip)
            .map(|served| served.id())
            .collect();
        for template_id in live.iter().take(live.len().saturating_sub(LIVE_MAX)) {
            self.board.known.remove(template_id);
        }
        while self.stale_since.len() > STALE_MAX {
            if let Some((template_id, _)) = self.stale_since.pop_first() {
                self.board.known.remove(&template_id);
            }
        }
    }

    fn on_transactions(&mut self, arrived: &Arrived) {
        gauge!("hyperhash_template_fees_satoshis").set(as_gauge(arrived.fees_sats));
        gauge!("hyperhash_template_transactions").set(arrived.transactions);
        gauge!("hyperhash_template_weight_units").set(as_gauge(arrived.weight));
        self.history.send_modify(|history| {
            let mut summaries = history.iter_mut().map(|detail| &mut detail.summary);
            if let Some(summary) =
                summaries.find(|summary| summary.template_id == arrived.template_id)
            {
                summary.transactions = arrived.transactions;
                summary.fees_sat = arrived.fees_sats;
                summary.weight_wu = summary.weight_wu.saturating_add(arrived.weight);
            }
        });
    }

    fn on_join(&mut self, join: Join) {
        let class = self.classes.get(&join.reservation).and_then(Weak::upgrade);
        let answer = match class {
            Some(class) => Ok(ClassLease(class)),
            None if self.classes.len() >= CLASSES_MAX => Err(TooManyClasses),
            None => {
                let class = Arc::new(());
                self.classes
                    .insert(join.reservation, Arc::downgrade(&class));
                self.nodes.follow(join.reservation);
                info!(
                    reserved_weight = join.reservation.weight(),
                    "reservation class followed"
                );
                Ok(ClassLease(class))
            }
        };
        let current = self.board.current.get(&join.reservation).cloned();
        if let Some(current) = current.filter(|current| current.id() <= join.above) {
            self.admit(current.node.clone(), current.origin.clone());
        }
        // The session may be gone; then the next sweep takes the class back.
        drop(join.reply.send(answer));
    }

    fn on_sweep(&mut self) {
        let mut changed = false;
        let stale_since = &mut self.stale_since;
        let over = |since: &Instant| since.elapsed() >= STALE_KEPT;
        let before = self.board.known.len();
        self.board
            .known
            .retain(|id, _| !stale_since.get(id).is_some_and(over));
        changed |= self.board.known.len() != before;
        stale_since.retain(|_, since| !over(since));

        let unused: Vec<Reservation> = self
            .classes
            .iter()
            .filter(|(_, class)| class.strong_count() == 0)
            .map(|(reservation, _)| *reservation)
            .collect();
        for reservation in unused {
            self.classes.remove(&reservation);
            if reservation == Reservation::default() {
                continue;
            }
            self.nodes.unfollow(reservation);
            self.board.current.remove(&reservation);
            self.board
                .known
                .retain(|_, served| served.node.reservation != reservation);
            changed = true;
            info!(
                reserved_weight = reservation.weight(),
                "reservation class given up"
            );
        }
        if changed {
            self.publish();
        }
    }

    fn publish(&self) {
        self.publish.send_replace(Arc::new(self.board.clone()));
    }
}

/// The time in milliseconds: a restarted daemon goes on above all ids of before, since it never gives out a thousand
/// templates a second.
fn first_id() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(1)
}

fn arrived(template_id: u64, block: &TemplateBlock) -> Option<Arrived> {
    Some(Arrived {
        template_id,
        transactions: u32::try_from(block.transaction_count()).ok()?,
        fees_sats: block.fees_sats(),
        weight: block.weight().ok()?.to_wu(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a gauge holds a float")]
fn as_gauge(value: u64) -> f64 {
    value as f64
}
