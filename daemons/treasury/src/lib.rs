//! hh-treasury: splits what blocks of ours brought, keeps the books of who is owed what, and pays it over Lightning.
//!
//! It accepts no shares and stands in front of nobody: miners mine on while it is down. What a block brought it reads from Bitcoin
//! Core, what everybody did from the pool's ledger; what it owes and what became of every payment is in its own books, and a commit
//! there comes before every step that can't be taken back.
//!
//! ```text
//!  Bitcoin Core ──► follower (one task) ── split, maturity, reversal ──► Books ◄── control ◄── hhctl
//!  pool's ledger ──────┘  └─ tip (watch)                                  ▲ │
//!                                                                        │ ▼ due
//!  wallet (ldk-node, lnd, cln) ◄── session, one per payout ◄── engine (one task): rules, who is in hand, what is looked up
//!      └── events ──► Books        audit: books beside wallet; fees, what is unexplained, freezes
//!  hyperhash-core ◄── node dues: what nodes are owed out, their invoices in, each checked as if an operator had brought it
//! ```

mod actor;
mod advice;
mod audit;
mod chain;
mod clock;
mod closing;
mod config;
mod control;
mod core_link;
mod crash;
mod destination;
mod earnings;
mod exported;
mod follower;
mod funding;
mod lightning;
mod links;
mod node_dues;
mod operators;
mod payouts;
mod rebalances;
mod reward_address;
mod solvency;
mod tip;
mod withdrawals;

use audit::Audit;
use bitcoin::{Address, Amount};
use chain::Chain;
use config::TreasuryConfig;
use control::Control;
use core_link::CoreLink;
use destination::Destinations;
use follower::{Follower, Splitter};
use funding::Funding;
use hh_daemon::{Context, Failure, StateFile};
use hh_ledger::LedgerReader;
use hh_ledger::books::Books;
use hh_trust::directory_feed::DirectoryFeed;
use hh_trust::node_directory::Directory;
use hh_trust::{ChangeJournal, ReportKey, SaltSecret};
use lightning::WalletLink;
use links::Link;
use node_dues::NodeDues;
use operators::Operators;
use payouts::{Engine, Nudge, Opener, Payer, Waits};
use rebalances::Rebalancer;
use reward_address::reward_address;
use std::sync::Arc;
use std::time::Duration;
use tip::Tip;
use tokio::sync::{mpsc, watch};
use withdrawals::Withdrawer;

/// Starts everything, in this order, and returns when the wallet is there.
///
/// # Errors
/// A mistake in the configuration; a secret that can't be read; a wallet that does not start within the start timeout; a control
/// socket that can't be made.
#[expect(
    clippy::too_many_lines,
    reason = "it only wires: each part is named once, in the order in which they start"
)]
pub async fn start(config: TreasuryConfig, context: Context) -> Result<(), Failure> {
    hh_daemon::hide_memory()?;
    std::fs::create_dir_all(&config.data_dir)?;
    let chain = Chain::new(&config)?;
    chain.check().await?;
    let report_key = Arc::new(report_key(&config)?);
    let salts = Arc::new(salts(&config)?);
    let (feed, directory) = directory(&config)?;
    let destinations = Destinations::new(&config)?.beside(directory.clone());
    let core = CoreLink::of(&config, &context)?;
    let stores = Stores::open(&config, &context).await?;
    let reward_address = reward_address(&config, stores.wallet.wallet()).await?;
    let (tip, tips) = watch::channel(None);
    let (nudges, nudged) = mpsc::channel(payouts::NUDGES_MAX);
    let (waits, waiting) = watch::channel(Waits::new());
    let operators = Operators::new(&config.trust(), config.chain.to_core_arg(), directory);
    let payer = payer(&config, &stores, (&destinations, &operators), tips.clone());
    let rebalancer = rebalancer(&config, &stores, tips.clone());
    let audit = Audit::new(stores.books.clone(), stores.wallet.clone(), tips.clone());
    let withdrawer = withdrawer(&config, &stores, (&chain, &audit));
    let engine = Engine {
        verified: audit.verified(),
        payer: payer.clone(),
        opener: opener(&config, &stores),
        tasks: context.tasks.clone(),
        nudges: nudged,
        waits,
    };
    let (books, wallet) = (stores.books.clone(), stores.wallet.clone());
    let funding = Funding::new(&config.channels, books, wallet).map_err(Failure::config)?;
    let splitter = splitter(&config, &stores, &reward_address, (&report_key, &salts));
    let follower = follower(splitter, &stores, chain.clone(), (tip, nudges.clone()));
    let control = Control {
        context: context.clone(),
        chain: config.chain,
        nodes: chain,
        stores: stores.clone(),
        tip: tips,
        opener: opener(&config, &stores),
        payer: payer.clone(),
        rebalancer: rebalancer.clone(),
        withdrawer: withdrawer.clone(),
        destinations,
        operators,
        audit: audit.clone(),
        waiting,
        nudges: nudges.clone(),
        report_key: report_key.public_key(),
        reward_address,
        salts,
        channel_reserve_sat: config.channels.reserve_sat,
        cooling_off: Duration::from_secs(config.payouts.cooling_off_seconds),
        journal: ChangeJournal::new(config.journal_path(), context.name),
    };

    let stop = context.tasks.token();
    spawn(&context, "follower", follower.run(stop.clone()));
    spawn_feed(&context, feed);
    let events = lightning::follow(stores.wallet.clone(), payer, nudges, stop.clone());
    spawn(&context, "wallet events", events);
    let forwards = lightning::read_forwards(stores.clone(), stop.clone());
    spawn(&context, "forwards", forwards);
    spawn(&context, "payouts", engine.run());
    spawn(&context, "rebalances", rebalancer.run(stop.clone()));
    spawn(&context, "withdrawals", withdrawer.run(stop.clone()));
    let exported = exported::keep(stores.clone(), audit.clone(), stop.clone());
    spawn(&context, "exported metrics", exported);
    spawn(&context, "audit", audit.run(stop.clone()));
    spawn(&context, "channel funding", funding.run(stop.clone()));
    if let Some(core) = core {
        let dues = NodeDues::new(control.clone(), core);
        spawn(&context, "node dues", dues.run(stop.clone()));
    }
    spawn_stop(&context, stores);
    control.serve()?;
    context.set_ready(true);
    Ok(())
}

/// What is kept, and by whom: databases and the wallet, with what is known of each. Clones share them.
#[derive(Clone, Debug)]
struct Stores {
    books: Books,
    books_link: Link,
    /// The pool's.
    ledger: LedgerReader,
    ledger_link: Link,
    wallet: WalletLink,
}

impl Stores {
    async fn open(config: &TreasuryConfig, context: &Context) -> Result<Self, Failure> {
        let books_location = config.books_location()?;
        let ledger_location = config.pool_ledger_location()?;
        Ok(Self {
            books: Books::open(&books_location, &config.witness_path())?,
            books_link: Link::new(books_location.to_string()),
            ledger: LedgerReader::new(&ledger_location),
            ledger_link: Link::new(ledger_location.to_string()),
            wallet: WalletLink::start(config, context).await?,
        })
    }
}

/// Keeps the directory of nodes up to date, where the configuration says whom to ask.
fn spawn_feed(context: &Context, feed: Option<DirectoryFeed>) {
    if let Some(feed) = feed {
        spawn(
            context,
            "directory",
            feed.run(context.tasks.token().clone()),
        );
    }
}

/// Spawns a task that the daemon can't do without and that has no error of its own.
fn spawn(context: &Context, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    context.tasks.spawn(name, async move {
        task.await;
        Ok::<_, Failure>(())
    });
}

/// Stops the wallet cleanly: one that is killed may lose a channel to a close by force.
fn spawn_stop(context: &Context, stores: Stores) {
    let stop = context.tasks.token().clone();
    context.tasks.spawn("stop", async move {
        stop.cancelled().await;
        if let Err(error) = stores.wallet.wallet().stop().await {
            let error = hh_daemon::Chain(&error).to_string();
            tracing::error!(error, "wallet not stopped cleanly");
        }
        if let Err(error) = stores.books.checkpoint().await {
            let error = hh_daemon::Chain(&error).to_string();
            tracing::warn!(error, "books not checkpointed");
        }
        Ok::<_, Failure>(())
    });
}

/// Of nodes and operators, as operators of the configuration have signed it; and what keeps it up to date.
fn directory(
    config: &TreasuryConfig,
) -> Result<(Option<DirectoryFeed>, watch::Receiver<Arc<Directory>>), Failure> {
    let file = StateFile::new(config.directory_path());
    let opened = config.trust().open(config.chain.to_core_arg(), file);
    opened.map_err(Failure::config)
}

fn report_key(config: &TreasuryConfig) -> Result<ReportKey, Failure> {
    let secret = config.report_key.read().map_err(Failure::secret)?;
    secret.expose().trim().parse().map_err(Failure::config)
}

fn salts(config: &TreasuryConfig) -> Result<SaltSecret, Failure> {
    let secret = config.salt_secret.read().map_err(Failure::secret)?;
    secret.expose().trim().parse().map_err(Failure::config)
}

fn splitter(
    config: &TreasuryConfig,
    stores: &Stores,
    reward_address: &Address,
    (key, salts): (&Arc<ReportKey>, &Arc<SaltSecret>),
) -> Splitter {
    Splitter {
        books: stores.books.clone(),
        ledger: stores.ledger.clone(),
        window: config.window,
        network: config.chain,
        scripts: config.reward_scripts(reward_address),
        key: Arc::clone(key),
        salts: Arc::clone(salts),
    }
}

fn follower(
    splitter: Splitter,
    stores: &Stores,
    chain: Chain,
    (tip, nudges): (watch::Sender<Option<Tip>>, mpsc::Sender<Nudge>),
) -> Follower {
    Follower {
        splitter,
        chain,
        books: stores.books.clone(),
        books_link: stores.books_link.clone(),
        ledger: stores.ledger.clone(),
        ledger_link: stores.ledger_link.clone(),
        tip,
        nudges,
    }
}

fn rebalancer(
    config: &TreasuryConfig,
    stores: &Stores,
    tip: watch::Receiver<Option<Tip>>,
) -> Rebalancer {
    Rebalancer {
        books: stores.books.clone(),
        wallet: stores.wallet.clone(),
        tip,
        cltv_limit: config.payouts.cltv_limit_blocks,
    }
}

fn withdrawer(
    config: &TreasuryConfig,
    stores: &Stores,
    (nodes, audit): (&Chain, &Audit),
) -> Withdrawer {
    Withdrawer {
        books: stores.books.clone(),
        wallet: stores.wallet.clone(),
        nodes: nodes.clone(),
        audit: audit.clone(),
        network: config.chain,
        stays: Amount::from_sat(config.channels.reserve_sat),
    }
}

fn opener(config: &TreasuryConfig, stores: &Stores) -> Opener {
    Opener {
        books: stores.books.clone(),
        rules: config.payouts.rules(),
        chain: config.chain,
    }
}

fn payer(
    config: &TreasuryConfig,
    stores: &Stores,
    (destinations, operators): (&Destinations, &Operators),
    tip: watch::Receiver<Option<Tip>>,
) -> Payer {
    let payouts = &config.payouts;
    Payer {
        books: stores.books.clone(),
        wallet: stores.wallet.clone(),
        destinations: destinations.clone(),
        operators: operators.clone(),
        tip,
        chain: config.chain,
        backoff: payouts.backoff(),
        rules: payouts.rules(),
        cltv_limit: payouts.cltv_limit_blocks,
    }
}
