//! The calls of `hh_ipc::api::pool`, answered from the directory, the links and the ledger; and the conversion of our
//! types to those of the wire, which go no further than this file.

mod ban;
mod door;
mod hyper_node;
mod job;
mod kick;
mod retire;
mod round;
mod share;
mod vardiff;
mod worker;

use crate::admission::Admission;
use crate::difficulty::DifficultyBoard;
use crate::directory::{ChannelView, Counters, LaneView};
use crate::links::{Link, LinkState, Links};
use crate::rate::{ONE_MINUTE, TEN_MINUTES};
use crate::session::Shared;
use crate::share_log::Health;
use crate::shipper::{Lost, Shipping};
use crate::tail::ShareTail;
use crate::work::FutureTemplates;
use bitcoin::Network;
use hh_daemon::{Caller, Context, Failure};
use hh_ipc::api::pool::{
    AccountShares, Ban, BanPage, BanRequest, Banned, Block, BlockSelector, BlockState,
    CoinbaseDetail, CurrentJob, CurrentWork, HyperNodePage, KickRequest, Kicked, Lane,
    LedgerStatus, LostRecords, Miner, MinerPage, MinerQuery, Pool, PoolStatus, RetireRequest,
    Retired, RevokeNodeRequest, RevokedNode, RoundDetail, RoundPage, RoundSelector, ShareLogStatus,
    SharePage, ShareQuery, ShareStats, SubmissionPath, UnbanRequest, VardiffChange, VardiffChanged,
    VardiffSettings, WorkerPage, WorkerQuery,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery, LinkStatus, ShareCounts};
use hh_ipc::{ApiError, Context as Call, ErrorKind};
use hh_ledger::{BlockRow, Ledger, LedgerError, Location};
use hh_mining::Account;
use hh_sv2::AuthorityPublicKey;
use hh_trust::ChangeJournal;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// Longest list that is answered: a thousand miners are a tenth of a frame.
const MAX_LISTED: usize = 1_000;

/// What the status waits for the ledger: it is asked for when something is wrong.
const LEDGER_GRACE: Duration = Duration::from_secs(1);

/// What the answers are made from.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub context: Context,
    pub shared: Arc<Shared>,
    pub admission: Arc<Admission>,
    pub difficulty: Arc<DifficultyBoard>,
    pub chain: Network,
    pub server_id: u16,
    pub authority_public_key: AuthorityPublicKey,
    pub providers: Links,
    pub future_templates: FutureTemplates,
    pub nodes: Links,
    pub shipping: watch::Receiver<Shipping>,
    pub tail: ShareTail,
    /// Changes that operators make go through it.
    pub journal: ChangeJournal,
    pub ledger: Ledger,
    pub ledger_location: Location,
}

#[derive(Clone)]
struct Answers {
    control: Control,
    caller: Caller,
}

impl Control {
    /// Answers on both sockets until the daemon stops.
    ///
    /// # Errors
    /// The sockets can't be made.
    pub(crate) fn serve(self) -> Result<(), Failure> {
        self.context.clone().serve_control(move |caller, stream| {
            let control = self.clone();
            let answers = Answers { control, caller };
            Box::pin(hh_ipc::server::answer(stream, answers.serve()))
        })
    }
}

impl Pool for Answers {
    async fn hello(self, _: Call) -> Hello {
        self.control.context.hello(self.caller.read_only)
    }

    async fn status(self, _: Call) -> PoolStatus {
        self.control.status().await
    }

    async fn current_job(self, _: Call) -> Result<CurrentJob, ApiError> {
        self.control.current_job()
    }

    async fn coinbase(self, _: Call) -> Result<CoinbaseDetail, ApiError> {
        self.control.coinbase()
    }

    async fn miners(self, _: Call, query: MinerQuery) -> MinerPage {
        self.control.miners(&query)
    }

    async fn miner(self, _: Call, id: u32) -> Result<Miner, ApiError> {
        self.control.miner(id)
    }

    async fn kick(self, _: Call, request: KickRequest) -> Result<Kicked, ApiError> {
        self.control.kick(&self.caller, request).await
    }

    async fn ban(self, _: Call, request: BanRequest) -> Result<Banned, ApiError> {
        self.control.ban(&self.caller, request).await
    }

    async fn unban(self, _: Call, request: UnbanRequest) -> Result<Ban, ApiError> {
        self.control.unban(&self.caller, request).await
    }

    async fn bans(self, _: Call) -> BanPage {
        self.control.bans()
    }

    async fn hyper_nodes(self, _: Call) -> HyperNodePage {
        self.control.hyper_nodes()
    }

    async fn revoke_node(
        self,
        _: Call,
        request: RevokeNodeRequest,
    ) -> Result<RevokedNode, ApiError> {
        self.control.revoke_node(&self.caller, request).await
    }

    async fn journal(self, _: Call, query: JournalQuery) -> Result<JournalPage, ApiError> {
        self.control.journal.page(query).await
    }

    async fn vardiff(self, _: Call) -> VardiffSettings {
        self.control.vardiff()
    }

    async fn set_vardiff(self, _: Call, change: VardiffChange) -> Result<VardiffChanged, ApiError> {
        self.control.set_vardiff(&self.caller, change).await
    }

    async fn retire(self, _: Call, request: RetireRequest) -> Result<Retired, ApiError> {
        self.control.retire(&self.caller, request).await
    }

    async fn workers(self, _: Call, query: WorkerQuery) -> Result<WorkerPage, ApiError> {
        self.control.workers(query).await
    }

    async fn shares_since(self, _: Call, query: ShareQuery) -> Result<SharePage, ApiError> {
        self.control.shares_since(query).await
    }

    async fn share_stats(self, _: Call) -> Result<ShareStats, ApiError> {
        self.control.share_stats().await
    }

    async fn blocks(self, _: Call, limit: u32) -> Result<Vec<Block>, ApiError> {
        self.control.blocks(limit as usize).await
    }

    async fn block(self, _: Call, block: BlockSelector) -> Result<Block, ApiError> {
        self.control.block(&block).await
    }

    async fn rounds(self, _: Call, limit: u32) -> Result<RoundPage, ApiError> {
        self.control.rounds(limit as usize).await
    }

    async fn round(self, _: Call, round: RoundSelector) -> Result<RoundDetail, ApiError> {
        self.control.round(round).await
    }
}

impl Control {
    async fn status(&self) -> PoolStatus {
        let directory = &self.shared.directory;
        let lanes: Vec<Lane> = directory
            .lanes()
            .iter()
            .map(|view| self.lane(view))
            .collect();
        // A ledger that is away or slow has no last block to show; its error stands beside.
        let last_block = tokio::time::timeout(LEDGER_GRACE, self.blocks(1)).await;
        let last_block = match last_block {
            Ok(Ok(mut blocks)) => blocks.pop(),
            Ok(Err(_)) | Err(_) => None,
        };
        PoolStatus {
            chain: chain_name(self.chain),
            authority_public_key: self.authority_public_key.to_string(),
            server_id: self.server_id,
            active_template_provider: self.providers.active(),
            template_providers: self.providers.snapshot().into_iter().map(link).collect(),
            nodes: self.nodes.snapshot().into_iter().map(link).collect(),
            work: self.work(),
            connections: lanes.iter().map(|lane| lane.connections).sum(),
            channels: lanes.iter().map(|lane| lane.channels).sum(),
            hashrate_10m_hs: lanes.iter().map(|lane| lane.hashrate_10m_hs).sum(),
            shares: self.share_counts(),
            share_log: self.share_log(),
            ledger: self.ledger_status(),
            blocks_found: self.shared.blocks.count(),
            lanes,
            last_block,
            door: self.door(),
        }
    }

    fn lane(&self, view: &LaneView) -> Lane {
        let now_ms = self.shared.directory.clock().now_ms();
        Lane {
            name: view.name.clone(),
            listen_address: view.listen_address.to_string(),
            connections: view.connections.load(Ordering::Relaxed),
            channels: view.channels.load(Ordering::Relaxed),
            hashrate_10m_hs: view.counters().rate.rate(now_ms, TEN_MINUTES),
        }
    }

    fn work(&self) -> Option<CurrentWork> {
        let work = self.shared.work.borrow().clone()?;
        let template = &work.job.template;
        Some(CurrentWork {
            height: template.height,
            prev_hash: hh_mining::BlockHash::from_byte_array(work.tip.tip.prev_hash).to_string(),
            template_id: template.template.template_id,
            job_id: work.job.id,
            value_sat: work.job.job.reward().to_sat(),
            network_difficulty: work.tip.tip.target.difficulty(),
            received_at: timestamp(self.received_ms(template)),
        })
    }

    fn share_counts(&self) -> ShareCounts {
        let mut sum = ShareCounts::default();
        for lane in self.shared.directory.lanes() {
            let counts = counts(&lane.counters());
            sum.accepted += counts.accepted;
            for (code, count) in counts.rejected {
                *sum.rejected.entry(code).or_default() += count;
            }
        }
        sum
    }

    fn share_log(&self) -> ShareLogStatus {
        let log = &self.shared.log;
        let said = |error| Some(hh_daemon::Chain(error).to_string());
        let (last_error, warning) = match &*log.health().borrow() {
            Health::Writable => (None, None),
            Health::LastSegment(error) => (None, said(error)),
            Health::Unwritable(error) => (said(error), None),
            Health::Closed => (Some("closed".to_owned()), None),
        };
        let stuck = |since: Duration| {
            let seconds = since.as_secs();
            format!("the disk has not answered a sync for {seconds} s")
        };
        ShareLogStatus {
            epoch: hex::encode(log.epoch()),
            durable_seq: *log.durable().borrow(),
            shipped_seq: self.shipping.borrow().shipped_seq,
            last_error: last_error.or_else(|| log.stuck_for().map(stuck)),
            warning,
            waiting_records: log.waiting_records() as u64,
            disk_bytes: self.shipping.borrow().log_bytes,
            kept_from_at: log.kept_from_ms().map(timestamp),
            lost: self.shipping.borrow().lost.clone().map(lost),
        }
    }

    fn ledger_status(&self) -> LedgerStatus {
        let shipping = self.shipping.borrow();
        LedgerStatus {
            path: self.ledger_location.to_string(),
            last_error: shipping.last_error.clone(),
            last_shipped_at: shipping.last_shipped_at_ms.map(timestamp),
            oldest_waiting_at: shipping.oldest_waiting_ms.map(timestamp),
        }
    }

    fn miners(&self, query: &MinerQuery) -> MinerPage {
        let mut channels = self.shared.directory.channels();
        if let Some(account) = &query.account {
            channels.retain(|view| view.origin().account() == account);
        }
        channels.sort_by_cached_key(|view| {
            let origin = view.origin();
            (
                origin.account().to_owned(),
                origin.worker().to_owned(),
                view.id,
            )
        });
        let page = channels.iter().skip(query.offset as usize);
        let page = page.take(page_rows(query.limit));
        MinerPage {
            total: count(channels.len()),
            miners: page.map(|view| self.row(view)).collect(),
        }
    }

    fn miner(&self, id: u32) -> Result<Miner, ApiError> {
        match self.shared.directory.channel(id) {
            Some(view) => Ok(self.row(&view)),
            None => Err(ApiError::new(
                ErrorKind::NotFound,
                "HH2004",
                format!("no channel with id {id} is open"),
            )),
        }
    }

    fn row(&self, view: &ChannelView) -> Miner {
        let now_ms = self.shared.directory.clock().now_ms();
        let live = view.live();
        Miner {
            id: view.id,
            account: live.origin.account().to_owned(),
            worker: live.origin.worker().to_owned(),
            node: live.origin.node().to_owned(),
            lane: live.origin.lane().to_owned(),
            peer: view.connection.peer.to_string(),
            channel: view.kind.to_owned(),
            device: view.device.to_string(),
            connected_at: timestamp(view.connected_at_ms),
            difficulty: live.target.difficulty(),
            nominal_hashrate_hs: view.nominal_hashrate_hs,
            hashrate_1m_hs: live.counters.rate.rate(now_ms, ONE_MINUTE),
            hashrate_10m_hs: live.counters.rate.rate(now_ms, TEN_MINUTES),
            shares: counts(&live.counters),
            last_share_at: live.last_share_at_ms.map(timestamp),
            best_difficulty: live.best_difficulty,
        }
    }

    async fn share_stats(&self) -> Result<ShareStats, ApiError> {
        let now_ms = self.shared.directory.clock().now_ms();
        let lanes = self.shared.directory.lanes();
        let rate = |window| {
            lanes
                .iter()
                .map(|lane| lane.counters().rate.rate(now_ms, window))
                .sum()
        };
        let sums = self
            .ledger
            .account_sums(MAX_LISTED)
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(ShareStats {
            since_start_at: self.context.started_at(),
            since_start: self.share_counts(),
            hashrate_1m_hs: rate(ONE_MINUTE),
            hashrate_10m_hs: rate(TEN_MINUTES),
            accounts: sums
                .into_iter()
                .map(|sum| AccountShares {
                    account: sum.account,
                    shares: sum.shares,
                    work: sum.work.to_string(),
                    last_share_at: sum.last_share_at_ms.map(timestamp),
                })
                .collect(),
        })
    }

    /// Height of the block that is being mined.
    fn next_height(&self) -> Option<u32> {
        let work = self.shared.work.borrow();
        work.as_ref().map(|work| work.job.template.height)
    }

    async fn blocks(&self, limit: usize) -> Result<Vec<Block>, ApiError> {
        let rows = self.ledger.blocks(limit.clamp(1, MAX_LISTED)).await;
        let rows = rows.map_err(|error| unavailable(&error))?;
        let next_height = self.next_height();
        let block = |row| block(row, next_height);
        Ok(rows.into_iter().map(block).collect())
    }

    async fn block(&self, selector: &BlockSelector) -> Result<Block, ApiError> {
        let rows = self.ledger.blocks(usize::MAX).await;
        let rows = rows.map_err(|error| unavailable(&error))?;
        let is_meant = |row: &BlockRow| match selector {
            BlockSelector::Height(height) => row.height == *height,
            BlockSelector::Hash(hash) => row.hash.to_string() == *hash,
        };
        let found = rows.into_iter().find(is_meant);
        let found = found.ok_or_else(|| no_such_block(selector))?;
        Ok(block(found, self.next_height()))
    }
}

/// The name of an account as an operator wrote it: one that no miner can have is a mistake of typing.
fn check_account(account: &str, chain: Network) -> Result<(), ApiError> {
    match Account::parse(account, chain) {
        Ok(parsed) if parsed.to_string() == account => Ok(()),
        Ok(parsed) => Err(wrong_account(format!("{account:?} is written {parsed}"))),
        Err(error) => Err(wrong_account(error.to_string())),
    }
}

fn wrong_account(message: String) -> ApiError {
    ApiError::new(ErrorKind::Usage, "HH2008", message)
}

fn no_such_block(selector: &BlockSelector) -> ApiError {
    let which = match selector {
        BlockSelector::Height(height) => format!("at height {height}"),
        BlockSelector::Hash(hash) => format!("with the hash {hash}"),
    };
    let message = format!("there is no block of ours {which}");
    ApiError::new(ErrorKind::NotFound, "HH2014", message)
}

/// For tables: what is counted here is far below 2^32.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Rows of a page of which `limit` were asked for; 0 asks for as many as there may be.
fn page_rows(limit: u32) -> usize {
    match limit as usize {
        0 => MAX_LISTED,
        limit => limit.min(MAX_LISTED),
    }
}

/// Something that should have worked.
fn failed(message: String) -> ApiError {
    ApiError::new(ErrorKind::Failed, "HH2007", message)
}

fn unavailable(error: &LedgerError) -> ApiError {
    let message = format!("the ledger does not answer: {}", hh_daemon::Chain(error));
    ApiError::new(ErrorKind::Unavailable, "HH2001", message)
}

fn lost(lost: Lost) -> LostRecords {
    LostRecords {
        first_seq: lost.first_seq,
        last_seq: lost.last_seq,
        after: lost.after_ms.map(timestamp),
        until: lost.until_ms.map(timestamp),
    }
}

fn counts(counters: &Counters) -> ShareCounts {
    let rejected = counters
        .rejected
        .iter()
        .map(|(code, n)| ((*code).to_owned(), *n));
    ShareCounts {
        accepted: counters.accepted,
        rejected: rejected.collect(),
    }
}

fn link(link: Link) -> LinkStatus {
    LinkStatus {
        address: link.address,
        state: match link.state {
            LinkState::Connecting => hh_ipc::api::LinkState::Connecting,
            LinkState::Up => hh_ipc::api::LinkState::Up,
            LinkState::Down => hh_ipc::api::LinkState::Down,
        },
        since_at: timestamp(link.since_ms),
        last_error: link.last_error,
    }
}

fn block(row: BlockRow, next_height: Option<u32>) -> Block {
    let is_accepted = row.state == hh_ledger::BlockState::Accepted;
    let confirmations = next_height.and_then(|next| next.checked_sub(row.height));
    let path = |path: hh_ledger::BlockPath| SubmissionPath {
        path: path.path,
        outcome: path.outcome,
        at: timestamp(path.at_ms),
    };
    Block {
        height: row.height,
        hash: row.hash.to_string(),
        state: match row.state {
            hh_ledger::BlockState::Found => BlockState::Found,
            hh_ledger::BlockState::Submitted => BlockState::Submitted,
            hh_ledger::BlockState::Accepted => BlockState::Accepted,
            hh_ledger::BlockState::Rejected => BlockState::Rejected,
            hh_ledger::BlockState::Orphaned => BlockState::Orphaned,
        },
        reason: row.reason,
        confirmations: confirmations.filter(|count| is_accepted && *count > 0),
        account: row.account,
        worker: row.worker,
        node: row.node,
        lane: row.lane,
        found_at: timestamp(row.found_at_ms),
        value_sat: row.value_sat,
        paths: row.paths.into_iter().map(path).collect(),
    }
}

/// Times of ours are of this century; one that is not shows as the epoch.
fn timestamp(unix_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_ms).unwrap_or_default()
}

fn chain_name(chain: Network) -> String {
    chain.to_core_arg().to_owned()
}
