//! The Bitcoin Core nodes, in the order of preference: what is known of each, and which one templates come from.
//!
//! Owns: the sources, the newest template of every class of every node (also of those that stand by, so that one can take
//! over within a moment), and the choice. Part of the templates task. Never: numbers a template or gives it to a client.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Network};
use hh_bitcoin::{
    NodeInfo, NodeTemplate, Reservation, Rpc, RpcError, SourceConfig, SourceError, SourceEvent,
    TemplateSource,
};
use hh_daemon::{Chain, Tasks};
use hh_ipc::api::LinkState;
use jiff::Timestamp;
use metrics::{counter, gauge};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use crate::exported::{self, PREFERRED};
use choice::{Choice, Facts, Serving};
use probe::Probe;

pub(crate) use choice::Condition;
pub(crate) use view::{Link, NodeView};

mod choice;
mod probe;
mod refusal;
mod view;

/// Answers that wait: one a node, every two seconds.
const REPORTS_MAX: usize = 64;

/// A node as the configuration has it.
#[derive(Debug, Clone)]
pub(crate) struct NodeSetup {
    pub(crate) name: Arc<str>,
    pub(crate) rpc: Rpc,
    pub(crate) source: SourceConfig,
}

/// What was asked for by JSON-RPC, and has come.
#[derive(Debug)]
pub(crate) enum Report {
    Probe(Probe),
    /// Whether a node refuses the chain whose tip this is.
    Refusal {
        node: usize,
        tip: BlockHash,
        result: Result<bool, RpcError>,
    },
}

/// A node.
struct Node {
    view: NodeView,
    rpc: Rpc,
    ipc: bool,
    source: TemplateSource,
    events: mpsc::Receiver<SourceEvent>,
    /// The newest of each class, since it was connected.
    newest: BTreeMap<Reservation, NodeTemplate>,
    /// When the newest of the default class came, and what it builds on.
    templated: Option<(Instant, BlockHash)>,
    answered_at: Option<Instant>,
    /// When it said what is in `info`.
    asked_at: Option<Instant>,
    /// The tip that it was last asked about.
    compared: Option<BlockHash>,
    refuses: Option<BlockHash>,
}

/// A change of the active node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// There are templates from this one now.
    To(usize),
    /// There are none any more.
    Lost,
}

/// All nodes.
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    choice: Choice,
    reports: mpsc::Sender<Report>,
    tasks: Tasks,
    publish: watch::Sender<Vec<NodeView>>,
}

impl Nodes {
    /// Connects to all nodes, and goes on doing so until the daemon stops. The reports are to be given back to
    /// [`Self::on_report`].
    ///
    /// # Errors
    /// A thread can't be started.
    pub(crate) fn start(
        setups: Vec<NodeSetup>,
        return_after: Duration,
        tasks: &Tasks,
    ) -> Result<(Self, mpsc::Receiver<Report>), SourceError> {
        exported::describe(setups.iter().map(|setup| setup.name.as_ref()));
        let (reports, reported) = mpsc::channel(REPORTS_MAX);
        let mut nodes = Vec::new();
        for (index, setup) in setups.into_iter().enumerate() {
            let probe = probe::probe(
                index,
                setup.rpc.clone(),
                setup.source.chain,
                reports.clone(),
            );
            let stop = tasks.token().clone();
            tasks.spawn_session("node probe", async move {
                stop.run_until_cancelled(probe).await;
            });
            nodes.push(Node::start(setup, tasks)?);
        }
        let choice = Choice::new(nodes.len(), return_after, Instant::now());
        let views = nodes.iter().map(|node| node.view.clone()).collect();
        let (publish, _) = watch::channel(views);
        let nodes = Self {
            nodes,
            choice,
            reports,
            tasks: tasks.clone(),
            publish,
        };
        Ok((nodes, reported))
    }

    /// What is known of them, in order.
    pub(crate) fn views(&self) -> watch::Receiver<Vec<NodeView>> {
        self.publish.subscribe()
    }

    /// The next word of any source; `None` if a source's thread has ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> (usize, Option<SourceEvent>) {
        poll_fn(|context| {
            for (index, node) in self.nodes.iter_mut().enumerate() {
                if let Poll::Ready(event) = node.events.poll_recv(context) {
                    return Poll::Ready((index, event));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Makes every node build templates of this class.
    pub(crate) fn follow(&self, reservation: Reservation) {
        for node in &self.nodes {
            node.source.follow(reservation);
        }
    }

    /// Lets go of a class.
    pub(crate) fn unfollow(&mut self, reservation: Reservation) {
        for node in &mut self.nodes {
            node.source.unfollow(reservation);
            node.newest.remove(&reservation);
        }
    }

    pub(crate) fn is_active(&self, index: usize) -> bool {
        self.choice.active == Some(index)
    }

    pub(crate) fn name(&self, index: usize) -> Arc<str> {
        Arc::clone(&self.nodes[index].view.name)
    }

    /// Whether its templates come by mining IPC.
    pub(crate) fn has_ipc(&self, index: usize) -> bool {
        self.nodes[index].ipc
    }

    /// The newest template of each class that a node has given.
    pub(crate) fn newest(&self, index: usize) -> Vec<NodeTemplate> {
        self.nodes[index].newest.values().cloned().collect()
    }

    pub(crate) fn on_connected(&mut self, index: usize, info: NodeInfo) {
        self.nodes[index].connected(info);
    }

    pub(crate) fn on_unavailable(&mut self, index: usize, error: SourceError) {
        self.nodes[index].lost(error);
    }

    pub(crate) fn on_template(&mut self, index: usize, template: &NodeTemplate) {
        let node = &mut self.nodes[index];
        node.newest.insert(template.reservation, template.clone());
        let tip = BlockHash::from_byte_array(template.tip.prev_hash);
        if template.reservation == Reservation::default() {
            node.templated = Some((Instant::now(), tip));
        }
        node.view.tip = Some((template.height.saturating_sub(1), tip));
    }

    pub(crate) fn on_report(&mut self, report: Report) {
        match report {
            Report::Probe(probe) => self.on_probe(probe),
            Report::Refusal { node, tip, result } => self.nodes[node].compared(tip, result),
        }
    }

    fn on_probe(&mut self, probe: Probe) {
        let index = probe.node;
        self.nodes[index].probed(probe);
        if self.is_active(index)
            && let Some(info) = &self.nodes[index].view.info
        {
            gauge!("hyperhash_chain_headers_height").set(info.headers);
            gauge!("hyperhash_chain_peers").set(info.peers);
            gauge!("hyperhash_chain_tip_timestamp_seconds").set(info.tip_time);
        }
    }

    /// Looks at all of them anew, and publishes what is known.
    pub(crate) fn decide(&mut self) -> Change {
        let before = self.choice.active;
        let facts: Vec<Facts> = self.nodes.iter().map(Node::facts).collect();
        self.choice.decide(&facts, Instant::now());
        let active = self.choice.active;
        self.compare(&facts);
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.judged(
                self.choice.standings[index].condition,
                active == Some(index),
            );
        }
        let change = match (before, active) {
            (before, active) if before == active => Change::None,
            (_, Some(active)) => Change::To(active),
            (_, None) => Change::Lost,
        };
        if change != Change::None {
            self.tell(before, active);
        }
        self.publish
            .send_replace(self.nodes.iter().map(|node| node.view.clone()).collect());
        change
    }

    /// Asks each node that is behind whether it lags, or refuses the chain that has more work.
    fn compare(&mut self, facts: &[Facts]) {
        let healthy = |index: &usize| {
            self.choice.standings[*index].condition == Condition::Healthy
                && facts[*index].chain.is_some()
        };
        let ahead = (0..self.nodes.len())
            .filter(healthy)
            .max_by_key(|index| facts[*index].chain.map(|(work, _)| work));
        let Some((ahead, (_, tip))) = ahead.and_then(|index| Some((index, facts[index].chain?)))
        else {
            return;
        };
        let other = self.nodes[ahead].rpc.clone();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if !self.choice.is_behind(index) || node.compared == Some(tip) {
                continue;
            }
            node.compared = Some(tip);
            let (rpc, other, reports) = (node.rpc.clone(), other.clone(), self.reports.clone());
            self.tasks.spawn_session("node comparison", async move {
                let result = refusal::refuses(&rpc, &other).await;
                let report = Report::Refusal {
                    node: index,
                    tip,
                    result,
                };
                // The daemon stops.
                drop(reports.send(report).await);
            });
        }
    }

    /// Tells people and Prometheus of a change.
    fn tell(&self, before: Option<usize>, active: Option<usize>) {
        let name = |index: usize| self.nodes[index].view.name.as_ref();
        for (index, node) in self.nodes.iter().enumerate() {
            let active = f64::from(u8::from(active == Some(index)));
            gauge!("hyperhash_template_node_active", "upstream" => node.view.name.to_string())
                .set(active);
        }
        let left = before.map(|before| self.choice.standings[before].condition);
        match (before.zip(left), active) {
            (None, Some(active)) => info!(node = name(active), "templates come from this node"),
            (Some((before, Condition::Healthy)), Some(active)) => {
                counter!("hyperhash_template_node_switches_total", "reason" => PREFERRED)
                    .increment(1);
                info!(
                    node = name(active),
                    left = name(before),
                    "templates come from the preferred node again"
                );
            }
            (Some((before, condition)), active) => {
                let reason = condition.as_str();
                counter!("hyperhash_template_node_switches_total", "reason" => reason).increment(1);
                match active {
                    Some(active) => warn!(
                        node = name(active),
                        left = name(before),
                        reason,
                        "node left for another"
                    ),
                    None => error!(
                        left = name(before),
                        reason, "no node gives templates, they are not renewed"
                    ),
                }
            }
            (None, None) => {}
        }
    }
}

impl Node {
    fn start(setup: NodeSetup, tasks: &Tasks) -> Result<Self, SourceError> {
        let rpc_url = setup.rpc.url().to_owned();
        let socket = setup.source.socket.as_ref();
        let address = socket.map_or_else(|| rpc_url.clone(), |path| path.display().to_string());
        let ipc = socket.is_some();
        // The thread ends with the token; the process does not wait for it, since it may be in a call to the node.
        let (source, events, _thread) = TemplateSource::start(setup.source, tasks.token().clone())?;
        let view = NodeView {
            name: setup.name,
            active: false,
            condition: Condition::Connecting,
            since_at: Timestamp::now(),
            templates: Link::new(address),
            error: None,
            rpc: Link::new(rpc_url),
            latency: None,
            info: None,
            tip: None,
            refuses: None,
        };
        Ok(Self {
            view,
            rpc: setup.rpc,
            ipc,
            source,
            events,
            newest: BTreeMap::new(),
            templated: None,
            answered_at: None,
            asked_at: None,
            compared: None,
            refuses: None,
        })
    }

    fn facts(&self) -> Facts {
        let info = self.view.info.as_ref();
        let serving = match self.view.templates.state {
            LinkState::Down => Serving::No,
            _ if self.newest.contains_key(&Reservation::default()) => Serving::Yes,
            LinkState::Connecting | LinkState::Up => Serving::NotYet,
        };
        let tip = self.templated.map(|(_, tip)| tip);
        let stands_still = info.is_some_and(|info| tip != Some(info.best_block_hash))
            && self.templated.map(|(at, _)| at) < self.asked_at;
        Facts {
            serving,
            answered_at: self.answered_at,
            // Test chains stand still for days, and a node there says that it is downloading: mining ends that.
            initial_download: info
                .is_some_and(|info| info.initial_block_download && info.chain == Network::Bitcoin),
            chain: info.map(|info| (info.chain_work, info.best_block_hash)),
            refuses: self.refuses,
            on_own_tip: !stands_still,
        }
    }

    fn judged(&mut self, condition: Condition, active: bool) {
        if self.view.condition != condition {
            self.view.since_at = Timestamp::now();
            debug!(
                node = self.view.name.as_ref(),
                condition = condition.as_str(),
                "condition of a node"
            );
        }
        self.view.condition = condition;
        self.view.active = active;
    }

    fn connected(&mut self, info: NodeInfo) {
        info!(
            node = self.view.name.as_ref(),
            version = info.version,
            subversion = info.subversion,
            height = info.blocks,
            initial_block_download = info.initial_block_download,
            "node connected"
        );
        if info.initial_block_download && info.chain == Network::Bitcoin {
            warn!(
                node = self.view.name.as_ref(),
                "node is in initial block download, it gives no templates before the end of it"
            );
        }
        self.newest.clear();
        self.view.templates.set(LinkState::Up);
        self.answered(Instant::now(), info);
    }

    fn lost(&mut self, error: SourceError) {
        counter!("hyperhash_template_failures_total", "reason" => error.reason()).increment(1);
        let text = Chain(&error).to_string();
        let node = self.view.name.as_ref();
        let was_up = self.view.templates.state == LinkState::Up;
        let link = &mut self.view.templates;
        // It is tried again every few seconds: one line for each thing that is wrong.
        let again = link.state == LinkState::Down && link.last_error.as_ref() == Some(&text);
        if again {
            debug!(node, error = text, "node still unavailable");
        } else if was_up || self.view.info.is_some() {
            warn!(node, error = text, "node lost");
        } else {
            warn!(node, error = text, "node not reached yet");
        }
        link.set(LinkState::Down);
        link.last_error = Some(text);
        self.view.error = Some(Arc::new(error));
        // Their handles are dead, and the node will come back with others.
        self.newest.clear();
    }

    fn compared(&mut self, tip: BlockHash, result: Result<bool, RpcError>) {
        let node = self.view.name.as_ref();
        match result {
            Ok(true) => {
                error!(
                    node, %tip,
                    "node refuses the chain that another node follows: find out at once which of them is right"
                );
                self.refuses = Some(tip);
            }
            Ok(false) => self.refuses = None,
            Err(error) => {
                debug!(node, error = %Chain(&error), "node not compared with the one ahead");
                // Again at the next look.
                self.compared = None;
            }
        }
        self.view.refuses = self.refuses;
    }

    fn answered(&mut self, asked_at: Instant, info: NodeInfo) {
        self.answered_at = Some(Instant::now());
        self.asked_at = Some(asked_at);
        // Its newest template may be of later.
        if self.templated.map(|(at, _)| at) < self.asked_at {
            self.view.tip = Some((info.blocks, info.best_block_hash));
        }
        self.view.info = Some(info);
        let name = self.view.name.as_ref();
        if self.view.rpc.set(LinkState::Up) {
            info!(node = name, "node's RPC answers");
        }
    }

    fn probed(&mut self, probe: Probe) {
        match probe.result {
            Ok(info) => {
                self.view.latency = Some(probe.latency);
                self.answered(probe.asked_at, info);
            }
            Err(error) => {
                let text = Chain(&error).to_string();
                if self.view.rpc.set(LinkState::Down) {
                    let node = self.view.name.as_ref();
                    warn!(node, error = text, "node's RPC does not answer");
                }
                self.view.rpc.last_error = Some(text);
            }
        }
    }
}
