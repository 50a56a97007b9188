//! The services with fixed answers, on the sockets of a devnet in a temporary folder.

pub(crate) mod core;
mod job;
pub(crate) mod node_agent;
mod pool;
mod round;
mod tail;
pub(crate) mod translator;
pub(crate) mod treasury;
mod worker;

use hh_ipc::api::core::Core;
use hh_ipc::api::node_agent::NodeAgent;
use hh_ipc::api::pool::{
    AccountShares, Ban, Block, BlockState, CoinbaseDetail, CurrentJob, CurrentWork, DoorStatus,
    HyperNode, Lane, LedgerStatus, Miner, Pool, PoolStatus, Retired, RoundAccount, RoundPage,
    ShareEvent, ShareLogStatus, ShareStats, SubmissionPath, VardiffSettings, Worker,
};
use hh_ipc::api::template_provider::{
    CoinbaseOutput, NodeCondition, NodeStatus, Solution, TemplateClient, TemplateDetail,
    TemplateProvider, TemplateProviderStatus, TemplateSummary, TemplateValidity,
};
use hh_ipc::api::translator::{AddressBan, LaneDetail, Translator, TranslatorStatus};
use hh_ipc::api::treasury::Treasury;
use hh_ipc::api::{Hello, JournalPage, JournalQuery, LinkState, LinkStatus, ShareCounts};
use hh_ipc::locate::Daemon;
use hh_ipc::server::{Connection, answer, serve};
use hh_ipc::{ApiError, Context, ErrorKind};
use hh_trust::{Chain, Event};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use treasury::TreasuryAnswers;

/// The time at which every test looks.
pub(crate) fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn seconds_ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// What the daemons answer; a test changes what it is about.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) protocol: u32,
    pub(crate) version: String,
    pub(crate) tp: TemplateProviderStatus,
    pub(crate) templates: Vec<TemplateSummary>,
    pub(crate) pool: PoolStatus,
    /// None while no template has come.
    pub(crate) job: Option<CurrentJob>,
    pub(crate) coinbase: Option<CoinbaseDetail>,
    pub(crate) miners: Vec<Miner>,
    pub(crate) stats: ShareStats,
    pub(crate) workers: Vec<Worker>,
    /// What comes in, the oldest first.
    pub(crate) shares: Vec<ShareEvent>,
    pub(crate) vardiff: VardiffSettings,
    /// Server ids that pools hold.
    pub(crate) server_ids: Vec<Retired>,
    pub(crate) bans: Vec<Ban>,
    pub(crate) hyper_nodes: Vec<HyperNode>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) rounds: RoundPage,
    pub(crate) round_accounts: Vec<RoundAccount>,
    /// Lines of the pool's journal of changes.
    pub(crate) journal: Vec<String>,
    pub(crate) translator: TranslatorStatus,
    /// Lines of the translator's.
    pub(crate) translator_journal: Vec<String>,
    pub(crate) address_bans: Vec<AddressBan>,
    pub(crate) lanes: Vec<LaneDetail>,
    pub(crate) treasury: TreasuryAnswers,
    pub(crate) audit_is_whole: bool,
}

/// A devnet: a checkout with a context file, and the daemons' sockets. All of it ends when this is dropped.
pub(crate) struct Devnet {
    pub(crate) dir: tempfile::TempDir,
    /// What the daemons were told to change, in words.
    changes: Changes,
    tasks: JoinSet<()>,
}

type Changes = Arc<Mutex<Vec<String>>>;

impl Devnet {
    /// A devnet without daemons.
    pub(crate) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".devnet")).unwrap();
        let context = format!("name = \"devnet\"\nruntime_dir = {:?}\n", dir.path());
        std::fs::write(dir.path().join(".devnet/context.toml"), context).unwrap();
        Self {
            dir,
            changes: Changes::default(),
            tasks: JoinSet::new(),
        }
    }

    /// A devnet with all daemons.
    pub(crate) fn start(answers: Answers) -> Self {
        Self::start_some(answers, &Daemon::ALL)
    }

    pub(crate) fn start_some(answers: Answers, daemons: &[Daemon]) -> Self {
        Self::empty().with(answers, daemons)
    }

    /// This devnet with `daemons` started.
    pub(crate) fn with(self, answers: Answers, daemons: &[Daemon]) -> Self {
        let mut devnet = self;
        let answers = Arc::new(answers);
        for daemon in daemons {
            let view = devnet.listen(*daemon);
            let dir = devnet.dir.path().join(daemon.program());
            let control = UnixListener::bind(dir.join("control.sock")).unwrap();
            for (listener, read_only) in [(view, true), (control, false)] {
                let fake = Fake {
                    program: daemon.program(),
                    answers: Arc::clone(&answers),
                    changes: Arc::clone(&devnet.changes),
                    read_only,
                };
                let daemon = *daemon;
                let connection = move |stream| fake.clone().answer(daemon, stream);
                devnet
                    .tasks
                    .spawn(serve(listener, move |_, stream| Some(connection(stream))));
            }
        }
        devnet
    }

    /// What the daemons were told to change since the last time this was asked.
    pub(crate) fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.changes.lock().unwrap())
    }

    /// Listens as `daemon`; answers nothing by itself.
    pub(crate) fn listen(&self, daemon: Daemon) -> UnixListener {
        let dir = self.dir.path().join(daemon.program());
        std::fs::create_dir(&dir).unwrap();
        UnixListener::bind(dir.join("view.sock")).unwrap()
    }

    pub(crate) fn context_file(&self) -> PathBuf {
        self.dir.path().join(".devnet/context.toml")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

#[derive(Clone)]
struct Fake {
    program: &'static str,
    answers: Arc<Answers>,
    changes: Changes,
    read_only: bool,
}

impl Fake {
    /// Notes a change; refused on a view socket, as a daemon does.
    fn change(&self, what: String) -> Result<(), ApiError> {
        if self.read_only {
            let message = "this is a view socket, which changes nothing";
            return Err(ApiError::new(ErrorKind::Permission, "HH0201", message));
        }
        self.changes.lock().unwrap().push(what);
        Ok(())
    }

    fn answer(self, daemon: Daemon, stream: UnixStream) -> Connection {
        match daemon {
            Daemon::Tp => Box::pin(answer(stream, TemplateProvider::serve(self))),
            Daemon::Pool => Box::pin(answer(stream, Pool::serve(self))),
            Daemon::Translator => Box::pin(answer(stream, Translator::serve(self))),
            Daemon::Treasury => Box::pin(answer(stream, Treasury::serve(self))),
            Daemon::Core => Box::pin(answer(stream, Core::serve(self))),
            Daemon::NodeAgent => Box::pin(answer(stream, NodeAgent::serve(self))),
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            protocol: self.answers.protocol,
            daemon: self.program.to_owned(),
            version: self.answers.version.clone(),
            pid: 4321,
            started_at: seconds_ago(7500),
            read_only: self.read_only,
        }
    }
}

impl TemplateProvider for Fake {
    async fn hello(self, _: Context) -> Hello {
        Self::hello(&self)
    }

    async fn status(self, _: Context) -> TemplateProviderStatus {
        self.answers.tp.clone()
    }

    async fn templates(self, _: Context, limit: u32) -> Vec<TemplateSummary> {
        let templates = self.answers.templates.iter().cloned();
        templates.take(usize::try_from(limit).unwrap()).collect()
    }

    async fn template(self, _: Context, id: u64) -> Result<TemplateDetail, ApiError> {
        let mut templates = self.answers.templates.iter();
        let found = templates.find(|template| template.template_id == id);
        found.map(detail).ok_or_else(|| {
            let message = format!("template {id} is not kept any more, or never was");
            ApiError::new(ErrorKind::NotFound, "HH1001", message)
        })
    }
}

impl Answers {
    /// A network that works.
    pub(crate) fn good() -> Self {
        let template = template();
        let older = TemplateSummary {
            template_id: 41,
            trigger: "mempool".to_owned(),
            transactions: 11,
            created_at: seconds_ago(42),
            ..template.clone()
        };
        Self {
            protocol: hh_ipc::PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tp: tp_status(&template),
            templates: vec![template, older],
            pool: pool_status(),
            job: Some(job::current()),
            coinbase: Some(job::coinbase()),
            miners: vec![
                miner(3, "alice", "rig1", 812_400.0),
                miner(7, "bob", "", 1250.0),
            ],
            stats: share_stats(),
            workers: worker::list(),
            shares: tail::shares(),
            vardiff: pool::vardiff(),
            server_ids: pool::server_ids(),
            bans: pool::bans(),
            hyper_nodes: pool::hyper_nodes(),
            blocks: vec![block(), refused_block()],
            rounds: round::page(),
            round_accounts: round::accounts(),
            journal: journal(),
            translator: translator::status(),
            translator_journal: translator::journal(),
            address_bans: translator::bans(),
            lanes: translator::lanes(),
            treasury: TreasuryAnswers::good(),
            audit_is_whole: true,
        }
    }
}

/// Somebody wants to change something, so many seconds ago.
fn intent(
    seconds: i64,
    (uid, user): (u32, Option<&str>),
    call: &str,
    arguments: serde_json::Value,
) -> (Timestamp, Event) {
    let event = Event::Intent {
        uid,
        user: user.map(str::to_owned),
        pid: Some(4242),
        call: call.to_owned(),
        arguments,
    };
    (seconds_ago(seconds), event)
}

/// What came of the intent with the number `of`.
fn outcome(seconds: i64, of: u64, refused: Option<&str>) -> (Timestamp, Event) {
    let refused = refused.map(str::to_owned);
    (seconds_ago(seconds), Event::Outcome { of, refused })
}

/// The journal of a daemon with these lines.
fn chained(daemon: &str, events: impl IntoIterator<Item = (Timestamp, Event)>) -> Vec<String> {
    let mut chain = Chain::new();
    let line = |(at, event)| {
        let line = serde_json::to_string(&chain.next(at, daemon, event)).unwrap();
        chain.follow(&line).unwrap();
        line
    };
    events.into_iter().map(line).collect()
}

/// The part of a journal that is asked for.
fn journal_page(lines: &[String], query: JournalQuery, path: &str) -> JournalPage {
    let limit = match usize::try_from(query.limit).unwrap() {
        0 => 200,
        limit => limit,
    };
    let from = usize::try_from(query.after_seq).unwrap_or(usize::MAX);
    JournalPage {
        lines: lines.iter().skip(from).take(limit).cloned().collect(),
        last_seq: u64::try_from(lines.len()).unwrap(),
        path: path.to_owned(),
    }
}

/// What operators changed: a kick, one that was refused, and one of which nobody knows what came.
fn journal() -> Vec<String> {
    let kick = |arguments| intent(90_000, (1000, Some("alice")), "miner.kick", arguments);
    let events = [
        kick(serde_json::json!({"account": "bob"})),
        outcome(90_000, 1, None),
        kick(serde_json::json!({"channel": 7})),
        outcome(89_999, 3, Some("no channel with id 7 is open")),
        intent(
            60,
            (1001, None),
            "pool.retire",
            serde_json::json!({"server_id": 3}),
        ),
    ];
    chained("hh-pool", events)
}

pub(crate) fn up(address: &str) -> LinkStatus {
    LinkStatus {
        address: address.to_owned(),
        state: LinkState::Up,
        since_at: seconds_ago(7200),
        last_error: None,
    }
}

pub(crate) fn down(address: &str, reason: &str) -> LinkStatus {
    LinkStatus {
        address: address.to_owned(),
        state: LinkState::Down,
        since_at: seconds_ago(65),
        last_error: Some(reason.to_owned()),
    }
}

fn counts(accepted: u64, rejected: &[(&str, u64)]) -> ShareCounts {
    let rejected = rejected
        .iter()
        .map(|(reason, count)| ((*reason).to_owned(), *count));
    ShareCounts {
        accepted,
        rejected: rejected.collect::<BTreeMap<_, _>>(),
    }
}

pub(crate) const TIP: &str = "0000013c1f1e0a4f8a4c4bd9e2bd8a1f4fb2e4f43f4b6a7a3c9d1e5f60718293";
pub(crate) const HASH: &str = "000002a7d0c1b2a3948576675849302112f3e4d5c6b7a8998a7b6c5d4e3f2011";

fn template() -> TemplateSummary {
    TemplateSummary {
        template_id: 42,
        height: 1204,
        prev_hash: TIP.to_owned(),
        trigger: "new_block".to_owned(),
        node: "near".to_owned(),
        transactions: 12,
        fees_sat: 3456,
        value_sat: 5_000_003_456,
        weight_wu: 9876,
        generation_seconds: 0.00234,
        created_at: seconds_ago(12),
    }
}

/// The node that templates come from.
fn near() -> NodeStatus {
    NodeStatus {
        name: "near".to_owned(),
        active: true,
        condition: NodeCondition::Healthy,
        since_at: seconds_ago(7200),
        reason: None,
        templates: up("/data/signet/node.sock"),
        rpc: up("http://127.0.0.1:38332"),
        version: Some(310_000),
        height: Some(1203),
        tip_hash: Some(TIP.to_owned()),
        initial_block_download: Some(false),
        latency_seconds: Some(0.001_23),
    }
}

/// The node that stands by.
fn far() -> NodeStatus {
    NodeStatus {
        name: "far".to_owned(),
        active: false,
        since_at: seconds_ago(600),
        templates: up("http://10.0.0.2:38332"),
        rpc: up("http://10.0.0.2:38332"),
        version: Some(300_200),
        latency_seconds: Some(0.0154),
        ..near()
    }
}

fn detail(summary: &TemplateSummary) -> TemplateDetail {
    TemplateDetail {
        summary: summary.clone(),
        validity: TemplateValidity::Valid,
        version: 0x2000_0000,
        nbits: "1e0377ae".to_owned(),
        header_timestamp: 1_764_071_000,
        coinbase_prefix_hex: "02b404".to_owned(),
        coinbase_outputs: vec![CoinbaseOutput {
            value_sat: 0,
            script_hex:
                "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9"
                    .to_owned(),
        }],
        merkle_path_length: 4,
        reserved_weight_wu: 2000,
        reserved_sigops: 400,
    }
}

fn tp_status(template: &TemplateSummary) -> TemplateProviderStatus {
    TemplateProviderStatus {
        chain: "signet".to_owned(),
        listen_address: "127.0.0.1:34250".to_owned(),
        authority_public_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".to_owned(),
        nodes: vec![near(), far()],
        clients: vec![TemplateClient {
            peer: "127.0.0.1:51234".to_owned(),
            connected_at: seconds_ago(7100),
            coinbase_output_max_additional_size_bytes: Some(43),
            coinbase_output_max_additional_sigops: Some(0),
        }],
        templates_total: 42,
        last_template: Some(template.clone()),
        solutions: vec![Solution {
            template_id: 37,
            hash: HASH.to_owned(),
            height: 1203,
            received_at: seconds_ago(95),
            outcomes: vec![
                ("near ipc".to_owned(), "inconclusive".to_owned()),
                ("near rpc".to_owned(), "duplicate".to_owned()),
                ("far rpc".to_owned(), "accepted".to_owned()),
                ("chain".to_owned(), "on the best chain".to_owned()),
            ],
        }],
    }
}

fn block() -> Block {
    Block {
        height: 1203,
        hash: HASH.to_owned(),
        state: BlockState::Accepted,
        reason: None,
        confirmations: Some(1),
        account: "alice".to_owned(),
        worker: "rig1".to_owned(),
        node: "core".to_owned(),
        lane: "main".to_owned(),
        found_at: seconds_ago(95),
        value_sat: 5_000_001_234,
        paths: vec![SubmissionPath {
            path: "node http://127.0.0.1:38332".to_owned(),
            outcome: "duplicate".to_owned(),
            at: seconds_ago(94),
        }],
    }
}

fn refused_block() -> Block {
    Block {
        height: 1101,
        hash: TIP.to_owned(),
        state: BlockState::Rejected,
        reason: Some("bad-txns-nonfinal".to_owned()),
        confirmations: None,
        account: "bob".to_owned(),
        worker: String::new(),
        found_at: seconds_ago(90_000),
        ..block()
    }
}

fn pool_status() -> PoolStatus {
    PoolStatus {
        chain: "signet".to_owned(),
        authority_public_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".to_owned(),
        server_id: 1,
        lanes: vec![Lane {
            name: "main".to_owned(),
            listen_address: "0.0.0.0:34254".to_owned(),
            connections: 2,
            channels: 2,
            hashrate_10m_hs: 813_650.0,
        }],
        template_providers: vec![up("127.0.0.1:34250")],
        active_template_provider: Some("127.0.0.1:34250".to_owned()),
        nodes: vec![up("http://127.0.0.1:38332")],
        work: Some(CurrentWork {
            height: 1204,
            prev_hash: TIP.to_owned(),
            template_id: 42,
            job_id: 77,
            value_sat: 5_000_003_456,
            network_difficulty: 0.001_126_515_3,
            received_at: seconds_ago(12),
        }),
        connections: 2,
        channels: 2,
        hashrate_10m_hs: 813_650.0,
        shares: counts(12_345, &[("stale-share", 17), ("duplicate-share", 3)]),
        share_log: ShareLogStatus {
            epoch: "00112233445566778899aabbccddeeff".to_owned(),
            durable_seq: 12_350,
            shipped_seq: 12_347,
            last_error: None,
            warning: None,
            waiting_records: 0,
            disk_bytes: 134_221_824,
            kept_from_at: Some(seconds_ago(50_000)),
            lost: None,
        },
        ledger: LedgerStatus {
            path: "/proc/hyperhash/pool.db".to_owned(),
            last_error: None,
            last_shipped_at: Some(seconds_ago(1)),
            oldest_waiting_at: None,
        },
        blocks_found: 2,
        last_block: Some(block()),
        door: DoorStatus {
            half_open: 2,
            turned_away: [("banned".to_owned(), 1_204)].into(),
            dropped: BTreeMap::from([("not_set_up".to_owned(), 7), ("slow_reader".to_owned(), 1)]),
            bans: 3,
        },
    }
}

fn miner(id: u32, account: &str, worker: &str, hashrate_hs: f64) -> Miner {
    Miner {
        id,
        account: account.to_owned(),
        worker: worker.to_owned(),
        node: "core".to_owned(),
        lane: "main".to_owned(),
        peer: "192.0.2.7:40000".to_owned(),
        channel: "extended".to_owned(),
        device: "Bitaxe BM1370 v2.9".to_owned(),
        connected_at: seconds_ago(3725),
        difficulty: 0.000_234_5,
        nominal_hashrate_hs: 900_000.0,
        hashrate_1m_hs: hashrate_hs * 1.1,
        hashrate_10m_hs: hashrate_hs,
        shares: counts(1120, &[("stale-share", 2)]),
        last_share_at: Some(seconds_ago(3)),
        best_difficulty: 0.25,
    }
}

fn share_stats() -> ShareStats {
    let account = |account: &str, shares, work: &str| AccountShares {
        account: account.to_owned(),
        shares,
        work: work.to_owned(),
        last_share_at: Some(seconds_ago(3)),
    };
    ShareStats {
        since_start_at: seconds_ago(7500),
        since_start: counts(12_345, &[("stale-share", 17)]),
        hashrate_1m_hs: 840_000.0,
        hashrate_10m_hs: 813_650.0,
        accounts: vec![
            account("alice", 1_112_345, "4722366482869645213696"),
            account("bob", 12, "12345678"),
        ],
    }
}
