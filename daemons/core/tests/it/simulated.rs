//! Nodes that are no processes, some hundred of them in a test: each has keys of its own, joins by a token from an address of its own,
//! has a session, pushes what it measures until core has it, and carries each order out once, into a journal in memory.

mod relay;
mod treasury;
pub(crate) mod wire;

pub(crate) use relay::{RelayStream, Told};

use crate::site::{PATIENCE, Site};
use futures::future::join_all;
use hh_ipc::agent::{
    self, Command, CommandTaken, EnrolRequest, EnrolResponse, Heartbeat, Inventory, LaneReport,
    NodeHello, NodeMessage, PollRequest, PollResponse, Sample, ServiceReport, TelemetryAck,
    TelemetryBatch, core_message, node_message, path,
};
use hh_ipc::api::core::CreateToken;
use hh_ipc::client;
use hh_trust::command::Digest;
use hh_trust::command_result::{CommandResult, Outcome};
use hh_trust::enrolment::{EnrolmentToken, Possession};
use hh_trust::pki::{KeySlot, LeafKey, TrustDomain};
use hh_trust::{NodeId, NodeSecretKey};
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use wire::{Channel, WireError};

/// As core tells nodes.
const PERIOD: Duration = Duration::from_secs(5);

/// Before a node that has no session tries again, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// Those that join at once.
const JOINING: usize = 16;

/// Samples of a push, as of hh-node-agent.
const BATCH: usize = 64;

/// What a node's two lanes do together, in hashes a second.
pub(crate) const HASHRATE_HS: f64 = 1e14;

/// And the connections of miners to both.
pub(crate) const MINERS: u64 = 20;

/// All of them.
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Arc<Node>>,
    running: Vec<JoinHandle<()>>,
}

/// One of them.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) source: Ipv4Addr,
    key: NodeSecretKey,
    pub(crate) joined: Joined,
    kept: Mutex<Kept>,
    /// There is something to push.
    measured: Notify,
    is_quiet: AtomicBool,
}

/// What core gave it when it joined.
pub(crate) struct Joined {
    id: NodeId,
    pub(crate) domain: TrustDomain,
    pub(crate) epoch: u64,
    pub(crate) address: String,
    pub(crate) tls: Arc<ClientConfig>,
}

#[derive(Default)]
struct Kept {
    /// What came of each order.
    results: BTreeMap<String, String>,
    /// Orders that came again after they were done.
    repeated: u64,
    samples: VecDeque<Sample>,
    last_seq: u64,
    sessions: u64,
}

impl Fleet {
    /// As many nodes join, and begin their sessions.
    pub(crate) async fn join(site: &Site, count: usize) -> Self {
        let mut nodes = Vec::new();
        let numbers: Vec<usize> = (0..count).collect();
        for some in numbers.chunks(JOINING) {
            let joining = some.iter().map(|number| Node::join(site, *number));
            nodes.extend(join_all(joining).await.into_iter().map(Arc::new));
        }
        let running = nodes.iter().enumerate().map(|(number, node)| {
            // As nodes that were not started together.
            let phase = PERIOD * u32::try_from(number).unwrap() / u32::try_from(count).unwrap();
            begin(Arc::clone(node).run(phase))
        });
        let running = running.collect();
        Self { nodes, running }
    }

    /// Orders that were carried out, and how often one came again.
    pub(crate) fn orders(&self) -> (usize, u64) {
        let nodes = self.nodes.iter();
        let of = nodes.map(|node| {
            let kept = node.kept.lock().unwrap();
            (kept.results.len(), kept.repeated)
        });
        of.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Samples that were measured, and of these those that core does not have yet.
    pub(crate) fn samples(&self) -> (u64, usize) {
        let nodes = self.nodes.iter();
        let of = nodes.map(|node| {
            let kept = node.kept.lock().unwrap();
            (kept.last_seq, kept.samples.len())
        });
        of.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// They measure no more.
    pub(crate) fn quiet(&self) {
        let nodes = self.nodes.iter();
        nodes.for_each(|node| node.is_quiet.store(true, Ordering::Relaxed));
    }

    /// They are gone.
    pub(crate) async fn stop(&mut self) {
        for task in self.running.drain(..) {
            task.abort();
            task.await.ok();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    /// It joins, and has no session yet.
    pub(crate) async fn join(site: &Site, number: usize) -> Self {
        let name = format!("node-{number}");
        let request = CreateToken {
            node: name.clone(),
            valid_seconds: 3_600,
            replace: false,
            public: false,
        };
        let client = site.client().await;
        let made = client.create_token(client::within(PATIENCE), request).await;
        let secret = made.unwrap().unwrap().secret;
        // One address of this machine for each, as the limits are by address.
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        let source = Ipv4Addr::new(127, 1, high, low.max(1));
        let (key, tls_key) = (
            NodeSecretKey::generate().unwrap(),
            LeafKey::generate().unwrap(),
        );
        let tried = Instant::now();
        let joined = loop {
            match enrol(source, &secret, &key, &tls_key).await {
                Ok(joined) => break joined,
                // The rate of all enrolments; and a node tries again where it is not let in at once.
                Err(error)
                    if tried.elapsed() < PATIENCE
                        && (error.to_string().contains("too-many")
                            || error.to_string().contains("no connection")) =>
                {
                    tokio::time::sleep(PAUSES[1]).await;
                }
                Err(error) => panic!("{name} does not join: {error}"),
            }
        };
        Self {
            name,
            source,
            key,
            joined,
            kept: Mutex::default(),
            measured: Notify::new(),
            is_quiet: AtomicBool::new(false),
        }
    }

    /// One long poll, on a connection of its own, and what core said.
    ///
    /// # Errors
    /// Core's words.
    pub(crate) async fn poll(
        &self,
        said: Vec<node_message::Body>,
        wait_seconds: u32,
        after: &str,
    ) -> Result<Vec<core_message::Body>, String> {
        let joined = &self.joined;
        let (address, tls) = (&joined.address, &joined.tls);
        let polling = async {
            let channel = Channel::dial(self.source, address, &joined.domain, tls).await?;
            let messages = said
                .into_iter()
                .map(|body| NodeMessage { body: Some(body) });
            let request = PollRequest {
                messages: messages.collect(),
                wait_seconds,
                after_command: after.to_owned(),
            };
            let answer: PollResponse = channel.unary(path::POLL, request).await?;
            Ok::<_, WireError>(answer.messages)
        };
        let messages = polling.await.map_err(|error| error.to_string())?;
        let bodies = messages.into_iter().filter_map(|message| message.body);
        Ok(bodies.collect())
    }

    /// Who is here.
    pub(crate) fn hello(&self) -> node_message::Body {
        node_message::Body::Hello(NodeHello {
            agent_version: "0.1.0".to_owned(),
            epoch: self.joined.epoch,
            last_seq: 0,
            services: services(),
            audit: None,
        })
    }

    /// That it has carried an order out.
    pub(crate) fn done(&self, id: &str, seq: u64) -> node_message::Body {
        let jws = self.result(id, seq).sign(&self.key);
        node_message::Body::Result(agent::CommandResult { jws })
    }

    /// Whether core does not have all that it measured.
    pub(crate) fn holds_any(&self) -> bool {
        !self.kept.lock().unwrap().samples.is_empty()
    }

    async fn run(self: Arc<Self>, phase: Duration) {
        tokio::time::sleep(phase).await;
        let linked = async {
            let mut pause = PAUSES[0];
            loop {
                let begun = self.kept.lock().unwrap().sessions;
                self.link().await.ok();
                let is_new = self.kept.lock().unwrap().sessions > begun;
                pause = if is_new {
                    PAUSES[0]
                } else {
                    (pause * 2).min(PAUSES[1])
                };
                tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            }
        };
        tokio::join!(self.measure(), linked);
    }

    async fn measure(&self) {
        let mut interval = tokio::time::interval(PERIOD);
        loop {
            interval.tick().await;
            if self.is_quiet.load(Ordering::Relaxed) {
                return;
            }
            let mut kept = self.kept.lock().unwrap();
            kept.last_seq += 1;
            let sample = Sample {
                seq: kept.last_seq,
                at_unix_ms: now_ms(),
                uptime_seconds: 86_400,
                load_1m_milli: 250,
                memory_total_bytes: 8 << 30,
                memory_available_bytes: 4 << 30,
                disk_total_bytes: 500 << 30,
                disk_available_bytes: 100 << 30,
                services: services(),
                lanes: lanes(),
            };
            kept.samples.push_back(sample);
            self.measured.notify_one();
        }
    }

    async fn link(&self) -> Result<(), WireError> {
        let joined = &self.joined;
        let channel =
            Channel::dial(self.source, &joined.address, &joined.domain, &joined.tls).await?;
        let (outgoing, messages) = mpsc::channel(64);
        let hello = node_message::Body::Hello(NodeHello {
            agent_version: "0.1.0".to_owned(),
            epoch: joined.epoch,
            last_seq: 0,
            services: services(),
            audit: None,
        });
        say(&outgoing, hello).await?;
        let mut incoming = channel.session(messages).await?;
        let hearing = async {
            while let Some(message) = incoming.message().await? {
                match message.body {
                    Some(core_message::Body::Welcome(_)) => {
                        self.kept.lock().unwrap().sessions += 1;
                    }
                    Some(core_message::Body::Command(command)) => {
                        self.obey(command, &outgoing).await?;
                    }
                    Some(core_message::Body::Goodbye(_)) => return Ok(()),
                    _ => {}
                }
            }
            Ok::<(), WireError>(())
        };
        tokio::select! {
            ended = hearing => ended,
            ended = beat(&outgoing) => ended,
            ended = self.push(&channel) => ended,
        }
    }

    /// Carries an order out, unless that was done; tells what came of it in any case.
    async fn obey(
        &self,
        command: Command,
        outgoing: &mpsc::Sender<NodeMessage>,
    ) -> Result<(), WireError> {
        let command_id = command.command_id;
        let jws = {
            let mut kept = self.kept.lock().unwrap();
            match kept.results.get(&command_id).cloned() {
                Some(known) => {
                    kept.repeated += 1;
                    known
                }
                None => {
                    let seq = u64::try_from(kept.results.len()).unwrap() + 1;
                    let jws = self.result(&command_id, seq).sign(&self.key);
                    kept.results.insert(command_id.clone(), jws.clone());
                    jws
                }
            }
        };
        let taken = node_message::Body::Taken(CommandTaken { command_id });
        say(outgoing, taken).await?;
        let result = node_message::Body::Result(agent::CommandResult { jws });
        say(outgoing, result).await
    }

    fn result(&self, id: &str, seq: u64) -> CommandResult {
        CommandResult {
            domain: self.joined.domain.clone(),
            node: self.joined.id.clone(),
            id: id.parse().unwrap(),
            seq,
            epoch: self.joined.epoch,
            outcome: Outcome::Ok,
            code: "ok".to_owned(),
            started_ms: now_ms(),
            finished_ms: now_ms(),
            output: String::new(),
            previous: Digest([0; 32]),
        }
    }

    /// Pushes what is held, and forgets what core has.
    async fn push(&self, channel: &Channel) -> Result<(), WireError> {
        loop {
            let samples: Vec<Sample> = {
                let kept = self.kept.lock().unwrap();
                kept.samples.iter().take(BATCH).cloned().collect()
            };
            if samples.is_empty() {
                self.measured.notified().await;
                continue;
            }
            let batch = TelemetryBatch {
                stream: 1,
                samples,
                dropped_total: 0,
            };
            let ack: TelemetryAck = channel.unary(path::PUSH_TELEMETRY, batch).await?;
            let mut kept = self.kept.lock().unwrap();
            kept.samples.retain(|sample| sample.seq > ack.through_seq);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nodes are on their own, as the machines they stand for"
)]
fn begin(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

async fn enrol(
    source: Ipv4Addr,
    secret: &str,
    key: &NodeSecretKey,
    tls_key: &LeafKey,
) -> Result<Joined, WireError> {
    let token = EnrolmentToken::read_unverified(secret.trim()).unwrap();
    let address = token.url.trim_start_matches("https://").to_owned();
    let tls = Arc::new(hh_trust::pki::enrolment_client(token.ca).unwrap());
    let channel = Channel::dial(source, &address, &token.domain, &tls).await?;
    let csr_der = tls_key.request().unwrap();
    let possession = Possession::Enrol(token.jti);
    let request = EnrolRequest {
        token: secret.trim().to_owned(),
        node_key: key.public_key().to_string(),
        proof: key.prove(possession, &channel.binding, &csr_der).to_vec(),
        csr_der,
        agent_version: "0.1.0".to_owned(),
    };
    let answer: EnrolResponse = channel.unary(path::ENROL, request).await?;
    let chain = answer.certificates_der.into_iter();
    let chain = chain.map(CertificateDer::from).collect();
    let slot = Arc::new(KeySlot::new(chain, tls_key).unwrap());
    let root = CertificateDer::from(answer.root_der);
    Ok(Joined {
        id: token.node,
        domain: token.domain,
        epoch: answer.epoch,
        address: answer.session_address,
        tls: Arc::new(hh_trust::pki::session_client(&root, &slot).unwrap()),
    })
}

async fn beat(outgoing: &mpsc::Sender<NodeMessage>) -> Result<(), WireError> {
    let mut interval = tokio::time::interval(PERIOD);
    let mut inventory = Some(Inventory {
        os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        cpus: 4,
        ..Inventory::default()
    });
    loop {
        interval.tick().await;
        let heartbeat = Heartbeat {
            sent_at_unix_ms: now_ms(),
            services: services(),
            lanes: lanes(),
            inventory: inventory.take(),
            audit: None,
        };
        say(outgoing, node_message::Body::Heartbeat(heartbeat)).await?;
    }
}

async fn say(
    outgoing: &mpsc::Sender<NodeMessage>,
    body: node_message::Body,
) -> Result<(), WireError> {
    let sent = outgoing.send(NodeMessage { body: Some(body) }).await;
    sent.map_err(|_gone| WireError::Closed)
}

/// As a node with a template provider, a translator and a Bitcoin Core reports.
fn services() -> Vec<ServiceReport> {
    let service = |name: &str| ServiceReport {
        name: name.to_owned(),
        state: "running".to_owned(),
        since_unix_ms: 1_700_000_000_000,
        pid: 4_711,
        memory_bytes: 200 << 20,
        ..ServiceReport::default()
    };
    ["hh-tp", "hh-translator", "bitcoin-node"]
        .map(service)
        .to_vec()
}

/// As its translator has them.
fn lanes() -> Vec<LaneReport> {
    let lane = |name: &str| LaneReport {
        name: name.to_owned(),
        hashrate_10m_hs: HASHRATE_HS / 2.0,
        miners: u32::try_from(MINERS / 2).unwrap(),
        shares_accepted: 81_204,
        shares_rejected: 7,
    };
    ["sv1", "sv2"].map(lane).to_vec()
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
