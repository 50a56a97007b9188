//! hh-node-agent: one Hyper Node's agent.
//!
//! It keeps the node's services running, carries out what core orders and the node's own policy allows, and reports every five seconds.
//! It dials core; nobody dials it. Without core the services run on.
//!
//! ```text
//!  core ◄── TLS, certificate ── link: joins, one session at a time ── orders ──► worker: checks, journals, does, signs
//!                                   ▲ │                      owner's word ──►       │
//!  telemetry: samples into a spool ─┘ │               supervisor: a keeper per service ◄──┘
//!       ▲ report ◄── figures: asks the node's own daemons, by their view sockets
//!  wallet: looked at, makes invoices ─┘◄── dues: what core says that the node is owed
//!  core ◄── a connection of its own ── relay: new blocks to and from the node's Bitcoin Core
//! ```

mod backoff;
pub mod config;
mod config_change;
mod config_file;
mod control;
mod database;
mod dial;
mod drain;
mod enrol;
mod figures;
mod identity;
mod journal;
mod link;
mod policy;
mod recovery;
mod relay;
mod report;
mod supervisor;
mod telemetry;
mod wallet;
mod witness;
mod worker;

use config::AgentConfig;
use config_file::ConfigFile;
use control::Control;
use drain::Drain;
use figures::Asking;
use hh_daemon::{Context, Failure};
use hh_ipc::agent::{NodeAccount, node_message};
use hh_mining::Msat;
use hh_trust::{ChangeJournal, NodeSecretKey};
use identity::{Enrolled, Identity};
use journal::Journal;
use link::Link;
use relay::Relay;
use report::Reporter;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use supervisor::Supervisor;
use telemetry::Telemetry;
use tokio::sync::{Notify, mpsc, watch};
use wallet::{Dues, WalletHandle};
use witness::LogWitness;
use worker::{ClockOffset, Parts, Worker};

/// Starts everything, in this order, and returns when the services are looked after. Core may come later: it is dialled for ever.
///
/// # Errors
/// The policy, the identity, the journal or the spool can't be used.
#[expect(
    clippy::too_many_lines,
    reason = "it only wires: each part is named once, in the order in which they start"
)]
pub async fn start(config: AgentConfig, context: Context) -> Result<(), Failure> {
    let stop = context.tasks.token();
    let policy = policy::load(&config.policy_file).map_err(Failure::config)?;
    let identity = Identity::open(&config)?;
    let journal = Journal::open(&config.data_dir.join("journal.db"))?;
    let witness = LogWitness::open(&config.data_dir)?;
    let services_dir = config.data_dir.join("services");
    let supervisor = Supervisor::start(&config.services, &policy, &services_dir, &context.tasks)?;

    let wallet = open_wallet(&config, &context)?;
    let (channel, connected) = watch::channel(None);
    let (asking, figures) = Asking::new(&context.settings.runtime_dir);
    context.tasks.spawn("figures", asking.run(stop.clone()));
    let reporter = Reporter::new(supervisor.clone(), figures);
    let telemetry = Telemetry::open(&config.data_dir, reporter.clone(), connected.clone()).await?;
    context
        .tasks
        .spawn("telemetry", telemetry.run(stop.clone()));
    let (enrolled, known) = watch::channel(identity.enrolled().cloned());
    let (clock, renew) = (ClockOffset::default(), Arc::new(Notify::new()));
    let config_files = config.config_files.iter();
    let config_files = config_files.map(|one| (one.service.clone(), ConfigFile::new(one)));
    let config_files: Arc<BTreeMap<_, _>> = Arc::new(config_files.collect());
    let (worker, ends, decisions) = Worker::new(Parts {
        journal: journal.clone(),
        policy,
        supervisor: supervisor.clone(),
        node_key: identity.node_key(),
        enrolled: known.clone(),
        clock: clock.clone(),
        renew: Arc::clone(&renew),
        config_files: Arc::clone(&config_files),
        drain: Drain::new(&context.settings.runtime_dir),
        wallet: wallet.clone(),
    });
    let (account, said) = watch::channel(None);
    let waits_for = watch::Sender::new(None);
    let claims = Claims {
        node_key: identity.node_key(),
        enrolled: known.clone(),
        channel: connected.clone(),
        account: said.clone(),
        reports: worker.reports(),
        waits_for: waits_for.clone(),
    };
    claims.spawn(&config, wallet.clone(), &context);
    context.tasks.spawn("worker", worker.run(stop.clone()));
    let control = Control {
        context: context.clone(),
        changes: ChangeJournal::new(config.data_dir.join("changes.jsonl"), context.name),
        journal,
        decisions,
        config_files,
        supervisor,
        enrolled: known,
        channel: connected,
        clock: clock.clone(),
        audit: witness.seen(),
        wallet,
        account: said,
        waits_for: waits_for.subscribe(),
    };
    control.serve()?;
    let (target, reached) = watch::channel(None);
    if let Some(node) = config.bitcoin.as_ref().filter(|_| config.relay_blocks) {
        Relay::start(node, reached, &context.tasks)?;
    }
    let link = Link {
        identity,
        witness,
        token_file: config.token_file.clone(),
        tasks: context.tasks.clone(),
        worker: ends,
        reporter,
        clock,
        renew,
        enrolled,
        channel,
        target,
        is_revoked: false,
        way: link::Way::default(),
        account,
    };
    context.tasks.spawn("link", link.run(stop.clone()));
    context.set_ready(true);
    Ok(())
}

/// The wallet, where there is one. It may come later: the node mines without.
fn open_wallet(config: &AgentConfig, context: &Context) -> Result<Option<WalletHandle>, Failure> {
    let Some(wallet) = &config.wallet else {
        tracing::info!("no [wallet] in the configuration: nobody is asked for the node's dues");
        return Ok(None);
    };
    let (keeper, handle) = wallet::open(wallet, &config.data_dir, &context.tasks)?;
    let stop = context.tasks.token().clone();
    context.tasks.spawn("wallet", keeper.run(stop));
    Ok(Some(handle))
}

/// What the node's dues are claimed with.
struct Claims {
    node_key: Arc<NodeSecretKey>,
    enrolled: watch::Receiver<Option<Enrolled>>,
    channel: watch::Receiver<Option<dial::Channel>>,
    account: watch::Receiver<Option<NodeAccount>>,
    reports: mpsc::Sender<node_message::Body>,
    waits_for: watch::Sender<Option<wallet::NoInvoice>>,
}

impl Claims {
    /// Claims them by the wallet, where there is one.
    fn spawn(self, config: &AgentConfig, wallet: Option<WalletHandle>, context: &Context) {
        let (Some(settings), Some(wallet)) = (&config.wallet, wallet) else {
            return;
        };
        let dues = Dues {
            wallet,
            node_key: self.node_key,
            enrolled: self.enrolled,
            channel: self.channel,
            account: self.account,
            reports: self.reports,
            from: Msat(settings.invoice_from_sat.saturating_mul(1_000)),
            expiry: Duration::from_secs(settings.invoice_hours * 3_600),
            waits_for: self.waits_for,
        };
        let stop = context.tasks.token().clone();
        context.tasks.spawn("dues", dues.run(stop));
    }
}
