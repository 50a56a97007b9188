//! hh-node-agent: one Hyper Node's agent.
//!
//! It keeps the node's services running, carries out what core orders and the node's own policy allows, and reports every five seconds.
//! It dials core; nobody dials it. Without core the services run on.
//!
//! ```text
//!  core ◄── TLS, certificate ── link: joins, one session at a time ── orders ──► worker: checks, journals, does, signs
//!                                   ▲                                              │
//!  telemetry: samples into a spool ─┘                 supervisor: a keeper per service ◄──┘
//! ```

mod backoff;
pub mod config;
mod database;
mod dial;
mod enrol;
mod identity;
mod journal;
mod link;
mod policy;
mod supervisor;
mod telemetry;
mod worker;

use config::AgentConfig;
use hh_daemon::{Context, Failure};
use identity::Identity;
use journal::Journal;
use link::Link;
use std::sync::Arc;
use supervisor::Supervisor;
use telemetry::Telemetry;
use tokio::sync::{Notify, watch};
use worker::{ClockOffset, Parts, Worker};

/// Starts everything, in this order, and returns when the services are looked after. Core may come later: it is dialled for ever.
///
/// # Errors
/// The policy, the identity, the journal or the spool can't be used.
pub async fn start(config: AgentConfig, context: Context) -> Result<(), Failure> {
    let stop = context.tasks.token();
    let policy = policy::load(&config.policy_file).map_err(Failure::config)?;
    let identity = Identity::open(&config)?;
    let journal = Journal::open(&config.data_dir.join("journal.db"))?;
    let services_dir = config.data_dir.join("services");
    let supervisor = Supervisor::start(&config.services, &services_dir, &context.tasks)?;

    let (channel, connected) = watch::channel(None);
    let telemetry = Telemetry::open(&config.data_dir, supervisor.clone(), connected).await?;
    context
        .tasks
        .spawn("telemetry", telemetry.run(stop.clone()));
    let (enrolled, known) = watch::channel(identity.enrolled().cloned());
    let (clock, renew) = (ClockOffset::default(), Arc::new(Notify::new()));
    let (worker, ends) = Worker::new(Parts {
        journal,
        policy,
        supervisor: supervisor.clone(),
        node_key: identity.node_key(),
        enrolled: known,
        clock: clock.clone(),
        renew: Arc::clone(&renew),
    });
    context.tasks.spawn("worker", worker.run(stop.clone()));
    let link = Link {
        identity,
        token_file: config.token_file.clone(),
        tasks: context.tasks.clone(),
        worker: ends,
        supervisor,
        clock,
        renew,
        enrolled,
        channel,
    };
    context.tasks.spawn("link", link.run(stop.clone()));
    context.set_ready(true);
    Ok(())
}
