//! Small daemons in this process: the services of all four with fixed answers.

mod treasury;

use hh_ipc::api::pool::{
    Ban, BanPage, BanRequest, Banned, Block, BlockSelector, BlockState, CoinbaseDetail, CurrentJob,
    DoorStatus, HyperNodePage, KickRequest, Kicked, Lane, LedgerStatus, Miner, MinerPage,
    MinerQuery, Pool, PoolStatus, RetireRequest, Retired, RevokeNodeRequest, RevokedNode,
    RoundDetail, RoundPage, RoundSelector, ShareLogStatus, SharePage, ShareQuery, ShareStats,
    UnbanRequest, VardiffChange, VardiffChanged, VardiffSettings, WorkerPage, WorkerQuery,
};
use hh_ipc::api::template_provider::{
    NodeCondition, NodeStatus, TemplateDetail, TemplateProvider, TemplateProviderStatus,
    TemplateSummary,
};
use hh_ipc::api::translator::{
    AddressBan, AddressBanPage, BanAddress, BannedAddress, DownstreamDetail, DownstreamPage,
    DownstreamQuery, KickDownstreams, KickedDownstreams, LaneDetail, PauseLane, SwitchUpstream,
    SwitchedUpstream, Translator, TranslatorStatus, UnbanAddress, Upstream, UpstreamTest,
};
use hh_ipc::api::treasury::Treasury;
use hh_ipc::api::{Hello, JournalPage, JournalQuery, LinkState, LinkStatus, ShareCounts};
use hh_ipc::locate::{DEVNET_CONTEXT_FILE, Daemon};
use hh_ipc::server::{self, Connection};
use hh_ipc::{ApiError, Context, ErrorKind};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;

/// A folder with a devnet's context file and its runtime directory.
pub(crate) struct Checkout(tempfile::TempDir);

impl Checkout {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join(DEVNET_CONTEXT_FILE);
        std::fs::create_dir(context.parent().unwrap()).unwrap();
        let runtime_dir = dir.path().join("run");
        for daemon in Daemon::ALL {
            std::fs::create_dir_all(runtime_dir.join(daemon.program())).unwrap();
        }
        let text = format!("name = \"devnet\"\nruntime_dir = {runtime_dir:?}\n");
        std::fs::write(context, text).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn socket(&self, daemon: Daemon, file: &str) -> PathBuf {
        self.path().join("run").join(daemon.program()).join(file)
    }
}

/// Daemons that run until this is dropped; their sockets stay behind, as after a kill.
pub(crate) struct Daemons {
    _runtime: Runtime,
}

impl Daemons {
    pub(crate) fn start(checkout: &Checkout) -> Self {
        Self::start_these(checkout, &Daemon::ALL, answer_pool)
    }

    pub(crate) fn start_all_but_translator(checkout: &Checkout) -> Self {
        Self::start_these(checkout, &[Daemon::Tp, Daemon::Pool], answer_pool)
    }

    /// A pool with [`MANY_MINERS`].
    pub(crate) fn start_crowded(checkout: &Checkout) -> Self {
        Self::start_these(checkout, &Daemon::ALL, answer_crowded_pool)
    }

    fn start_these(
        checkout: &Checkout,
        daemons: &[Daemon],
        answer_pool: fn(UnixStream) -> Connection,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        for daemon in daemons {
            // hh-pool is found by its view socket, the others by the one they fall back to.
            let file = if *daemon == Daemon::Pool {
                "view.sock"
            } else {
                "control.sock"
            };
            if *daemon == Daemon::Pool {
                listen(checkout, &runtime, *daemon, "control.sock", answer_operator);
            }
            let answer = match daemon {
                Daemon::Tp => answer_tp as fn(UnixStream) -> Connection,
                Daemon::Pool => answer_pool,
                Daemon::Translator => answer_translator,
                Daemon::Treasury => answer_treasury,
                Daemon::Core | Daemon::NodeAgent => {
                    unreachable!("the screens are those of Daemon::ALL")
                }
            };
            listen(checkout, &runtime, *daemon, file, answer);
        }
        Self { _runtime: runtime }
    }
}

fn listen(
    checkout: &Checkout,
    runtime: &Runtime,
    daemon: Daemon,
    file: &str,
    answer: fn(UnixStream) -> Connection,
) {
    let path = checkout.socket(daemon, file);
    std::fs::remove_file(&path).ok();
    let listener = {
        let _context = runtime.enter();
        UnixListener::bind(&path).unwrap()
    };
    runtime.spawn(server::serve(listener, move |_, stream| {
        Some(answer(stream))
    }));
}

fn answer_tp(stream: UnixStream) -> Connection {
    Box::pin(server::answer(stream, TemplateProvider::serve(Fake)))
}

fn answer_pool(stream: UnixStream) -> Connection {
    Box::pin(server::answer(stream, FakePool::to_look(1).serve()))
}

fn answer_crowded_pool(stream: UnixStream) -> Connection {
    let pool = FakePool::to_look(MANY_MINERS);
    Box::pin(server::answer(stream, pool.serve()))
}

/// On the control socket.
fn answer_operator(stream: UnixStream) -> Connection {
    let pool = FakePool {
        read_only: false,
        ..FakePool::to_look(1)
    };
    Box::pin(server::answer(stream, pool.serve()))
}

fn answer_translator(stream: UnixStream) -> Connection {
    Box::pin(server::answer(stream, Translator::serve(Fake)))
}

fn answer_treasury(stream: UnixStream) -> Connection {
    Box::pin(server::answer(stream, Treasury::serve(Fake)))
}

/// More than hhtui asks for in one call.
pub(crate) const MANY_MINERS: u32 = 450;

#[derive(Clone)]
struct Fake;

#[derive(Clone)]
struct FakePool {
    miners: u32,
    read_only: bool,
}

impl FakePool {
    fn to_look(miners: u32) -> Self {
        Self {
            miners,
            read_only: true,
        }
    }
}

fn hello(daemon: Daemon, read_only: bool) -> Hello {
    Hello {
        protocol: hh_ipc::PROTOCOL,
        daemon: daemon.program().into(),
        version: "0.1.0".into(),
        pid: std::process::id(),
        started_at: Timestamp::now(),
        read_only,
    }
}

fn up(address: &str) -> LinkStatus {
    LinkStatus {
        address: address.into(),
        state: LinkState::Up,
        since_at: Timestamp::now(),
        last_error: None,
    }
}

fn shares() -> ShareCounts {
    ShareCounts {
        accepted: 1842,
        rejected: [("stale-share".to_owned(), 7)].into(),
    }
}

fn miner(id: u32) -> Miner {
    Miner {
        id,
        account: "alice".into(),
        worker: format!("rig{id}"),
        node: "core".into(),
        lane: "default".into(),
        peer: "192.0.2.1:50112".into(),
        channel: "extended".into(),
        device: "cpuminer 1.0".into(),
        connected_at: Timestamp::now(),
        difficulty: 0.000_244_140_625,
        nominal_hashrate_hs: 5e5,
        hashrate_1m_hs: 5e5,
        hashrate_10m_hs: 5e5,
        shares: shares(),
        last_share_at: Some(Timestamp::now()),
        best_difficulty: 0.25,
    }
}

fn block() -> Block {
    Block {
        height: 210,
        hash: "000000a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d".into(),
        state: BlockState::Accepted,
        reason: None,
        confirmations: Some(2),
        account: "alice".into(),
        worker: "rig1".into(),
        node: "core".into(),
        lane: "default".into(),
        found_at: Timestamp::now(),
        value_sat: 5_000_001_234,
        paths: Vec::new(),
    }
}

/// A screen that shows asks for nothing else.
fn unasked() -> ApiError {
    ApiError::new(ErrorKind::Failed, "HH0000", "nobody asks for this")
}

impl Pool for FakePool {
    async fn hello(self, _: Context) -> Hello {
        hello(Daemon::Pool, self.read_only)
    }

    async fn status(self, _: Context) -> PoolStatus {
        PoolStatus {
            chain: "signet".into(),
            authority_public_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".into(),
            server_id: 7,
            lanes: vec![Lane {
                name: "default".into(),
                listen_address: "127.0.0.1:34254".into(),
                connections: 1,
                channels: 1,
                hashrate_10m_hs: 5.12e5,
            }],
            template_providers: vec![up("127.0.0.1:34250")],
            active_template_provider: Some("127.0.0.1:34250".into()),
            nodes: vec![up("http://127.0.0.1:38332")],
            work: None,
            connections: 1,
            channels: self.miners,
            hashrate_10m_hs: 5.12e5,
            shares: shares(),
            share_log: ShareLogStatus {
                epoch: "000102030405060708090a0b0c0d0e0f".into(),
                durable_seq: 1842,
                shipped_seq: 1842,
                last_error: None,
                warning: None,
                waiting_records: 0,
                disk_bytes: 134_221_824,
                kept_from_at: None,
                lost: None,
            },
            ledger: LedgerStatus {
                path: "/var/lib/hyperhash/hh-pool/pool.db".into(),
                last_error: None,
                last_shipped_at: Some(Timestamp::now()),
                oldest_waiting_at: None,
            },
            blocks_found: 1,
            last_block: Some(block()),
            door: DoorStatus::default(),
        }
    }

    async fn current_job(self, _: Context) -> Result<CurrentJob, ApiError> {
        Err(unasked())
    }

    async fn coinbase(self, _: Context) -> Result<CoinbaseDetail, ApiError> {
        Err(unasked())
    }

    async fn miners(self, _: Context, query: MinerQuery) -> MinerPage {
        let ids = query.offset + 1..=self.miners.min(query.offset + query.limit);
        MinerPage {
            miners: ids.map(miner).collect(),
            total: self.miners,
        }
    }

    async fn miner(self, _: Context, id: u32) -> Result<Miner, ApiError> {
        Ok(miner(id))
    }

    async fn journal(self, _: Context, _: JournalQuery) -> Result<JournalPage, ApiError> {
        Ok(JournalPage::default())
    }

    /// Nobody is gone by it: what is tested is the way to it.
    async fn kick(self, _: Context, request: KickRequest) -> Result<Kicked, ApiError> {
        Ok(Kicked {
            connections: 1,
            channels: if request.dry_run { 3 } else { 4 },
            miners: Vec::new(),
        })
    }

    async fn ban(self, _: Context, _: BanRequest) -> Result<Banned, ApiError> {
        Err(unasked())
    }

    async fn unban(self, _: Context, _: UnbanRequest) -> Result<Ban, ApiError> {
        Err(unasked())
    }

    async fn bans(self, _: Context) -> BanPage {
        BanPage::default()
    }

    async fn hyper_nodes(self, _: Context) -> HyperNodePage {
        HyperNodePage::default()
    }

    async fn revoke_node(self, _: Context, _: RevokeNodeRequest) -> Result<RevokedNode, ApiError> {
        Err(unasked())
    }

    async fn vardiff(self, _: Context) -> VardiffSettings {
        unreachable!("nobody asks for this")
    }

    async fn set_vardiff(self, _: Context, _: VardiffChange) -> Result<VardiffChanged, ApiError> {
        Err(unasked())
    }

    async fn retire(self, _: Context, _: RetireRequest) -> Result<Retired, ApiError> {
        Err(unasked())
    }

    async fn workers(self, _: Context, _: WorkerQuery) -> Result<WorkerPage, ApiError> {
        Err(unasked())
    }

    async fn shares_since(self, _: Context, _: ShareQuery) -> Result<SharePage, ApiError> {
        Err(unasked())
    }

    async fn share_stats(self, _: Context) -> Result<ShareStats, ApiError> {
        Err(ApiError::new(ErrorKind::Failed, "HH2000", "not asked for"))
    }

    async fn rounds(self, _: Context, _: u32) -> Result<RoundPage, ApiError> {
        Err(ApiError::new(ErrorKind::Failed, "HH2000", "no rounds here"))
    }

    async fn round(self, _: Context, _: RoundSelector) -> Result<RoundDetail, ApiError> {
        Err(ApiError::new(ErrorKind::Failed, "HH2000", "no rounds here"))
    }

    async fn block(self, _: Context, _: BlockSelector) -> Result<Block, ApiError> {
        Ok(block())
    }

    async fn blocks(self, _: Context, _: u32) -> Result<Vec<Block>, ApiError> {
        Ok(vec![block()])
    }
}

impl TemplateProvider for Fake {
    async fn hello(self, _: Context) -> Hello {
        hello(Daemon::Tp, false)
    }

    async fn status(self, _: Context) -> TemplateProviderStatus {
        TemplateProviderStatus {
            chain: "signet".into(),
            listen_address: "127.0.0.1:34250".into(),
            authority_public_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".into(),
            nodes: vec![NodeStatus {
                name: "near".into(),
                active: true,
                condition: NodeCondition::Healthy,
                since_at: Timestamp::now(),
                reason: None,
                templates: up("/var/lib/bitcoin/node.sock"),
                rpc: up("http://127.0.0.1:38332"),
                version: Some(310_000),
                height: Some(210),
                tip_hash: Some(block().hash),
                initial_block_download: Some(false),
                latency_seconds: None,
            }],
            clients: Vec::new(),
            templates_total: 1,
            last_template: None,
            solutions: Vec::new(),
        }
    }

    async fn templates(self, _: Context, _: u32) -> Vec<TemplateSummary> {
        Vec::new()
    }

    async fn template(self, _: Context, _: u64) -> Result<TemplateDetail, ApiError> {
        Err(ApiError::new(
            ErrorKind::NotFound,
            "HH1001",
            "there is none",
        ))
    }
}

impl Translator for Fake {
    async fn hello(self, _: Context) -> Hello {
        hello(Daemon::Translator, false)
    }

    async fn status(self, _: Context) -> TranslatorStatus {
        TranslatorStatus {
            lanes: Vec::new(),
            upstreams: vec![up("127.0.0.1:34254")],
            miners: Vec::new(),
            connections: 1,
            shares: shares(),
            shares_in_flight: 0,
            shares_unsettled: 0,
            authority_public_key: None,
            credentials: Vec::new(),
            classes: Vec::new(),
        }
    }

    async fn downstreams(self, _: Context, _: DownstreamQuery) -> DownstreamPage {
        DownstreamPage::default()
    }

    async fn downstream(self, _: Context, _: u64) -> Result<DownstreamDetail, ApiError> {
        Err(unasked())
    }

    async fn kick_downstreams(
        self,
        _: Context,
        _: KickDownstreams,
    ) -> Result<KickedDownstreams, ApiError> {
        Err(unasked())
    }

    async fn ban(self, _: Context, _: BanAddress) -> Result<BannedAddress, ApiError> {
        Err(unasked())
    }

    async fn unban(self, _: Context, _: UnbanAddress) -> Result<AddressBan, ApiError> {
        Err(unasked())
    }

    async fn bans(self, _: Context) -> AddressBanPage {
        AddressBanPage::default()
    }

    async fn lanes(self, _: Context) -> Vec<LaneDetail> {
        Vec::new()
    }

    async fn lane(self, _: Context, _: String) -> Result<LaneDetail, ApiError> {
        Err(unasked())
    }

    async fn pause_lane(self, _: Context, _: PauseLane) -> Result<LaneDetail, ApiError> {
        Err(unasked())
    }

    async fn upstreams(self, _: Context) -> Vec<Upstream> {
        Vec::new()
    }

    async fn switch_upstream(
        self,
        _: Context,
        _: SwitchUpstream,
    ) -> Result<SwitchedUpstream, ApiError> {
        Err(unasked())
    }

    async fn test_upstreams(
        self,
        _: Context,
        _: Option<String>,
    ) -> Result<Vec<UpstreamTest>, ApiError> {
        Err(unasked())
    }

    async fn journal(self, _: Context, _: JournalQuery) -> Result<JournalPage, ApiError> {
        Err(unasked())
    }
}
