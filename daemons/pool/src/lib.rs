//! hh-pool: SV2 mining sessions, share validation, difficulty, jobs, the coinbase, block submission and the share log.
//!
//! It never decides who is paid and holds no key to money. A share is acknowledged when it is durable in the share log;
//! the ledger may be away for hours. A found block goes out before anything is written about it for long.
//!
//! ```text
//!  template provider ── TDP ──► template_client ──► work (watch) ──► session, one per connection ◄── miners
//!          ▲                                                          │ append      ▲ durable
//!          │ SubmitSolution                                           ▼             │
//!        blocks ◄────────────────── found block ───────────────── session      share_log (thread, fdatasync)
//!          │ submitblock on every node                                              │ durable records
//!          ▼                                                                        ▼
//!     Bitcoin Core                                        ledger           ◄──── shipper
//! ```

mod admission;
mod blocks;
mod channel;
mod claim;
mod config;
mod control;
mod difficulty;
mod directory;
mod disconnect;
mod exported;
mod group;
mod hyper_nodes;
mod kick;
mod links;
mod listener;
mod node_watch;
mod pruner;
mod rate;
mod record_watch;
mod rejects;
mod rounds;
#[cfg(test)]
mod sample;
mod session;
pub mod share_log;
mod shipper;
mod tail;
mod template_client;
mod work;
mod zeroed_file;

use admission::Admission;
use blocks::{BlockKeeper, Journal, Paths};
use claim::{ClaimError, ServerIdClaim};
use config::PoolConfig;
use control::Control;
use difficulty::DifficultyBoard;
use directory::{Clock, Directory};
use hh_bitcoin::BlockSubmitter;
use hh_daemon::ban::BanBook;
use hh_daemon::{Context, Failure, StateFile};
use hh_ledger::Ledger;
use hh_mining::{ExtranoncePrefix, PrefixAllocator, ServerId};
use hh_sv2::Authority;
use hh_sv2::authority::CERTIFICATE_VALIDITY;
use hh_trust::{ChangeJournal, PoolAuthority};
use hyper_nodes::HyperNodes;
use links::Links;
use listener::{Door, Listener};
use node_watch::Nodes;
use pruner::Pruner;
use rand::Rng;
use rejects::Rejects;
use session::Shared;
use share_log::{Recovered, ShareLog};
use shipper::{Shipper, ShipperError, Shipping};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tail::ShareTail;
use template_client::TemplateClient;
use tokio::net::TcpListener;
use tokio::sync::watch;
use work::WorkBoard;

/// Starts everything, in this order, and returns when there is work for miners.
///
/// # Errors
/// A mistake in the configuration; a port, a share log or a journal that can't be used; a server id that is another
/// log's; no template provider within the start timeout.
pub async fn start(config: PoolConfig, context: Context) -> Result<(), Failure> {
    let stop = context.tasks.token();
    let authority = Arc::new(authority(&config)?);
    let nodes = Nodes::new(&config.nodes, config.chain)?;
    nodes.check().await?;
    let sockets = listener::bind(&config.lanes).await?;

    let (log, recovered) = open_log(&config).await?;
    let ledger_location = config.ledger_location()?;
    let ledger = Ledger::open(&ledger_location, &config.pool_name())?;
    let claim = claim(&config, &ledger, &log);
    claim.hold(&context).await.map_err(ClaimError::failure)?;
    let clock = Clock::start();
    let directory = Directory::new(clock, listener::bound(&config.lanes, &sockets)?);

    let providers = Links::new(config.template_providers.iter().map(|p| p.address.clone()));
    let template_client = template_client(&config, providers.clone(), clock)?;
    let work = template_client.work();
    let shipper = shipper(&config, log.clone(), &ledger);
    let stores = (&ledger, &log, &shipper);
    let (blocks, keeper) = block_keeper(&config, &context, &nodes, stores, &work).await?;
    let difficulty = Arc::new(difficulty_board(&config)?);
    let bans = Arc::new(ban_book(&config)?);
    let shared = Arc::new(Shared {
        network: config.chain,
        directory,
        log: log.clone(),
        prefixes: Mutex::new(prefixes(config.server_id, &recovered)),
        blocks,
        rejects: Rejects::default(),
        bans: Arc::clone(&bans),
        hyper_nodes: Arc::new(hyper_nodes(&config, &authority, &context)?),
        work: work.clone(),
        difficulty: difficulty.subscribe(),
        limits: config.limits.clone(),
        reconnect_on_stop: config.reconnect_on_stop.clone(),
        stop: stop.clone(),
    });
    let admission = Arc::new(Admission::new(&config.limits, bans, clock, stop.clone()));
    let tail = share_tail(&context, log, &shared);
    let control = Control {
        context: context.clone(),
        shared: Arc::clone(&shared),
        admission: Arc::clone(&admission),
        difficulty,
        chain: config.chain,
        server_id: config.server_id,
        authority_public_key: authority.public_key(),
        providers: providers.clone(),
        future_templates: template_client.future_templates(),
        nodes: nodes.links.clone(),
        shipping: shipper.status(),
        tail,
        journal: ChangeJournal::new(config.journal_path(), context.name),
        ledger: ledger.clone(),
        ledger_location,
    };

    spawn(
        &context,
        "template client",
        template_client.run(context.tasks.clone()),
    );
    let watchers = Watchers::new(&config, nodes, &ledger, &keeper, &shipper);
    watchers.spawn(&context, &shared, &admission);
    spawn(&context, "block keeper", keeper.run());
    spawn_shipper(&context, shipper, &admission);
    control.serve()?;
    listen(&config, sockets, &shared, &authority, &admission, &context);
    template_client::wait_for_work(work, &providers, context.start_deadline()).await?;
    context.set_ready(true);
    Ok(())
}

/// What looks on: nodes, blocks, counters. No share waits for any of them.
struct Watchers {
    nodes: Nodes,
    ledger: Ledger,
    in_hand: blocks::InHand,
    pruner: Pruner,
    shipping: watch::Receiver<Shipping>,
}

impl Watchers {
    fn new(
        config: &PoolConfig,
        nodes: Nodes,
        ledger: &Ledger,
        keeper: &BlockKeeper,
        shipper: &Shipper,
    ) -> Self {
        Self {
            nodes,
            ledger: ledger.clone(),
            in_hand: keeper.in_hand(),
            pruner: Pruner::new(ledger, &config.ledger),
            shipping: shipper.status(),
        }
    }

    fn spawn(self, context: &Context, shared: &Arc<Shared>, admission: &Arc<Admission>) {
        let (stop, ledger) = (context.tasks.token(), self.ledger);
        let (named, work) = (self.nodes.named.clone(), shared.work.clone());
        let follow = blocks::follow(ledger.clone(), named, self.in_hand, work, stop.clone());
        spawn(context, "block follower", follow);
        spawn(context, "node watch", self.nodes.watch(stop.clone()));
        let rejects = shared.rejects.clone().keep(ledger.clone(), stop.clone());
        spawn(context, "rejects", rejects);
        let rounds = rounds::keep(ledger, stop.clone());
        spawn(context, "rounds", rounds);
        spawn(context, "pruner", self.pruner.run(stop.clone()));
        let (of, admitted) = (Arc::clone(shared), Arc::clone(admission));
        let watching = record_watch::watch(of, admitted, stop.clone());
        spawn(context, "record watch", watching);
        let (shared, admission) = (Arc::clone(shared), Arc::clone(admission));
        let exported = exported::keep(shared, admission, self.shipping, stop.clone());
        spawn(context, "exported metrics", exported);
    }
}

/// It outlives the connections, so that what they make durable at a stop is shipped.
fn spawn_shipper(context: &Context, shipper: Shipper, admission: &Arc<Admission>) {
    let (stop, admission) = (context.tasks.token().clone(), Arc::clone(admission));
    context.tasks.spawn("shipper", async move {
        let shipped = shipper.run(stop, admission.emptied()).await;
        shipped.map_err(ShipperError::failure)
    });
}

/// What operators follow shares with, and the task that lets go of what nobody follows any more.
fn share_tail(context: &Context, log: ShareLog, shared: &Shared) -> ShareTail {
    let tail = ShareTail::new(log, shared.rejects.clone());
    let tidy = tail.clone().tidy(context.tasks.token().clone());
    spawn(context, "share tail", tidy);
    tail
}

/// A listener for each lane.
fn listen(
    config: &PoolConfig,
    sockets: Vec<TcpListener>,
    shared: &Arc<Shared>,
    authority: &Arc<Authority>,
    admission: &Arc<Admission>,
    context: &Context,
) {
    let stock = listener::keep_stocked(Arc::clone(authority), context.tasks.token().clone());
    spawn(context, "handshake stock", stock);
    let proxies = Arc::new(config.proxy_protocol.clone());
    for (socket, lane) in sockets.into_iter().zip(shared.directory.lanes()) {
        let door = Door {
            lane: Arc::clone(lane),
            shared: Arc::clone(shared),
            authority: Arc::clone(authority),
            admission: Arc::clone(admission),
            proxies: Arc::clone(&proxies),
            limits: listener::CONNECTION_LIMITS,
        };
        let tasks = context.tasks.clone();
        let listener = Listener {
            socket,
            door,
            tasks,
        };
        spawn(context, "listener", listener.run());
    }
}

/// Spawns a task that the daemon can't do without and that has no error of its own.
fn spawn(context: &Context, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    context.tasks.spawn(name, async move {
        task.await;
        Ok::<_, Failure>(())
    });
}

fn authority(config: &PoolConfig) -> Result<Authority, Failure> {
    let secret = config
        .authority_secret_key
        .read()
        .map_err(Failure::secret)?;
    let secret = secret.expose().trim().parse().map_err(Failure::config)?;
    Ok(Authority::new(secret, CERTIFICATE_VALIDITY))
}

fn ban_book(config: &PoolConfig) -> Result<BanBook, Failure> {
    let file = StateFile::new(config.bans_path());
    let book = BanBook::open(config.auto_ban.clone(), file, directory::unix_ms());
    book.map_err(Failure::config)
}

/// With the directory beside the configuration, which is kept up to date from now on.
fn hyper_nodes(
    config: &PoolConfig,
    authority: &Authority,
    context: &Context,
) -> Result<HyperNodes, Failure> {
    let pool = PoolAuthority::from_bytes(authority.public_key().to_bytes());
    let file = StateFile::new(config.nodes_path());
    let nodes = HyperNodes::open(pool, &config.hyper_nodes, file).map_err(Failure::config)?;
    let nodes = nodes.with_private(&config.private_nodes);
    let file = StateFile::new(config.directory_path());
    let opened = config.trust().open(config.chain.to_core_arg(), file);
    let (feed, directory) = opened.map_err(Failure::config)?;
    if let Some(feed) = feed {
        spawn(
            context,
            "directory",
            feed.run(context.tasks.token().clone()),
        );
    }
    Ok(nodes.beside(directory))
}

async fn open_log(config: &PoolConfig) -> Result<(ShareLog, Recovered), Failure> {
    let dir = config.share_log_dir();
    let identity = share_log::Identity {
        pool: config.pool_name(),
        server_id: config.server_id,
    };
    let options = config.share_log_options();
    let opening = move || ShareLog::open(&dir, &identity, &options);
    Ok(tokio::task::spawn_blocking(opening).await??)
}

fn claim(config: &PoolConfig, ledger: &Ledger, log: &ShareLog) -> ServerIdClaim {
    ServerIdClaim {
        ledger: ledger.clone(),
        server_id: config.server_id,
        epoch: log.epoch(),
        file: StateFile::new(config.claim_path()),
        check_interval: claim::CHECK_INTERVAL,
    }
}

fn shipper(config: &PoolConfig, log: ShareLog, ledger: &Ledger) -> Shipper {
    let place = StateFile::new(config.shipped_path());
    Shipper::new(log, ledger.clone(), config.retention(), place)
}

fn template_client(
    config: &PoolConfig,
    links: Links,
    clock: Clock,
) -> Result<TemplateClient, Failure> {
    let reward_script = config.reward_script().map_err(Failure::config)?;
    let constraints = template_client::constraints(&reward_script)?;
    // Job ids that differ from run to run keep shares for an earlier process's jobs from meeting jobs of this one.
    let first_template = rand::rng().random();
    let providers = config.template_providers.clone();
    let return_after = Duration::from_secs(config.template_provider_return_after_seconds);
    let board = WorkBoard::new(
        reward_script,
        &config.coinbase_tag,
        first_template,
        providers.len(),
        return_after,
    );
    Ok(TemplateClient::new(
        providers,
        board,
        constraints,
        links,
        clock,
    ))
}

async fn block_keeper(
    config: &PoolConfig,
    context: &Context,
    nodes: &Nodes,
    (ledger, log, shipper): (&Ledger, &ShareLog, &Shipper),
    work: &work::Receiver,
) -> Result<(blocks::Blocks, BlockKeeper), Failure> {
    let tasks = &context.tasks;
    let dir = config.block_journal_dir();
    let (journal, left) = tokio::task::spawn_blocking(move || Journal::open(dir)).await??;
    let (named, tracker) = (nodes.named.clone(), tasks.tracker().clone());
    let paths = Paths {
        journal,
        ledger: ledger.clone(),
        submitter: BlockSubmitter::new(named.clone(), tracker, tasks.token().clone()),
        nodes: named,
        work: work.clone(),
        log: log.clone(),
        shipping: shipper.status(),
    };
    Ok(BlockKeeper::new(paths, left, tasks.clone()))
}

fn difficulty_board(config: &PoolConfig) -> Result<DifficultyBoard, Failure> {
    let file = StateFile::new(config.vardiff_path());
    DifficultyBoard::open(config.vardiff.clone(), file).map_err(Failure::config)
}

/// Prefixes from the one after the highest that this log's epoch has bound.
fn prefixes(server_id: u16, recovered: &Recovered) -> PrefixAllocator {
    let next = recovered.highest_prefix.map_or(0, |prefix| {
        ExtranoncePrefix::from_bytes(prefix).channel_index() + 1
    });
    PrefixAllocator::new(ServerId(server_id), next)
}
