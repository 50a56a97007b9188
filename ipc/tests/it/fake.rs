//! hh-pool's service with fixed answers, on a socket of its own.

use crate::sample;
use hh_ipc::api::pool::{
    Ban, BanPage, BanRequest, Banned, Block, BlockSelector, CoinbaseDetail, CurrentJob,
    HyperNodePage, KickRequest, Kicked, Miner, MinerPage, MinerQuery, Pool, PoolClient, PoolStatus,
    RetireRequest, Retired, RevokeNodeRequest, RevokedNode, RoundDetail, RoundPage, RoundSelector,
    SharePage, ShareQuery, ShareStats, UnbanRequest, VardiffChange, VardiffChanged,
    VardiffSettings, WorkerPage, WorkerQuery,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery};
use hh_ipc::client;
use hh_ipc::server::{self, Connection};
use hh_ipc::{ApiError, Context, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// A call on a good server takes microseconds; this is for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct FakePool;

impl Pool for FakePool {
    async fn hello(self, _: Context) -> Hello {
        sample::hello()
    }

    async fn status(self, _: Context) -> PoolStatus {
        sample::pool_status()
    }

    async fn current_job(self, _: Context) -> Result<CurrentJob, ApiError> {
        Ok(sample::current_job())
    }

    async fn coinbase(self, _: Context) -> Result<CoinbaseDetail, ApiError> {
        Ok(sample::coinbase())
    }

    async fn miners(self, _: Context, query: MinerQuery) -> MinerPage {
        let mut page = sample::miner_page();
        page.miners
            .retain(|miner| query.account.as_ref().is_none_or(|a| *a == miner.account));
        page
    }

    async fn miner(self, _: Context, id: u32) -> Result<Miner, ApiError> {
        let miner = sample::miner();
        if id == miner.id {
            return Ok(miner);
        }
        let message = format!("there is no channel {id}");
        Err(ApiError::new(ErrorKind::NotFound, "HH2001", message))
    }

    async fn journal(self, _: Context, _: JournalQuery) -> Result<JournalPage, ApiError> {
        Ok(sample::journal_page())
    }

    async fn kick(self, _: Context, _request: KickRequest) -> Result<Kicked, ApiError> {
        Ok(sample::kicked())
    }

    async fn ban(self, _: Context, _request: BanRequest) -> Result<Banned, ApiError> {
        Ok(sample::banned())
    }

    async fn unban(self, _: Context, _request: UnbanRequest) -> Result<Ban, ApiError> {
        Ok(sample::banned().ban)
    }

    async fn bans(self, _: Context) -> BanPage {
        sample::ban_page()
    }

    async fn hyper_nodes(self, _: Context) -> HyperNodePage {
        sample::hyper_node_page()
    }

    async fn revoke_node(
        self,
        _: Context,
        _request: RevokeNodeRequest,
    ) -> Result<RevokedNode, ApiError> {
        Ok(sample::revoked_node())
    }

    async fn vardiff(self, _: Context) -> VardiffSettings {
        sample::vardiff_changed().settings
    }

    async fn set_vardiff(
        self,
        _: Context,
        _change: VardiffChange,
    ) -> Result<VardiffChanged, ApiError> {
        Ok(sample::vardiff_changed())
    }

    async fn retire(self, _: Context, _request: RetireRequest) -> Result<Retired, ApiError> {
        Ok(sample::retired())
    }

    async fn workers(self, _: Context, _: WorkerQuery) -> Result<WorkerPage, ApiError> {
        Ok(sample::worker_page())
    }

    async fn shares_since(self, _: Context, _: ShareQuery) -> Result<SharePage, ApiError> {
        Ok(sample::share_page())
    }

    async fn share_stats(self, _: Context) -> Result<ShareStats, ApiError> {
        Ok(sample::share_stats())
    }

    async fn block(self, _: Context, _: BlockSelector) -> Result<Block, ApiError> {
        Ok(sample::block())
    }

    async fn rounds(self, _: Context, _limit: u32) -> Result<RoundPage, ApiError> {
        Ok(sample::round_page())
    }

    async fn round(self, _: Context, _: RoundSelector) -> Result<RoundDetail, ApiError> {
        Ok(sample::round_detail())
    }

    async fn blocks(self, _: Context, limit: u32) -> Result<Vec<Block>, ApiError> {
        // Used to make an answer of any size.
        Ok(vec![sample::block(); usize::try_from(limit).unwrap()])
    }
}

/// What answers one connection to a [`FakePool`].
pub(crate) fn answer(stream: UnixStream) -> Connection {
    Box::pin(server::answer(stream, FakePool.serve()))
}

/// A server in this process; it ends when this is dropped.
pub(crate) struct Server {
    pub(crate) path: PathBuf,
    _dir: tempfile::TempDir,
    _task: JoinSet<()>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut task = JoinSet::new();
        task.spawn(server::serve(listener, |_, stream| Some(answer(stream))));
        Self {
            path,
            _dir: dir,
            _task: task,
        }
    }

    pub(crate) async fn dial(&self) -> UnixStream {
        client::dial(&self.path).await.unwrap()
    }

    pub(crate) async fn client(&self) -> PoolClient {
        client::pool(self.dial().await)
    }

    /// Fails unless a client that behaves is answered.
    #[track_caller]
    pub(crate) fn assert_answers(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.client().await.hello(client::within(PATIENCE)).await;
            assert_eq!(answer.ok(), Some(sample::hello()), "no answer for {caller}");
        }
    }
}
