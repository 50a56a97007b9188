//! hh-tp: block templates of Bitcoin Core nodes for clients of SV2 Template Distribution.
//!
//! It holds no accounts and talks to no miner. A block that a client found goes to all nodes by every path at once.
//!
//! ```text
//!  bitcoin-node, one or more ══ mining IPC or RPC ══ hh_bitcoin::TemplateSource (thread each)
//!       ▲                                  │ events, probes
//!       │                                  ▼
//!       │                         templates, nodes (one task) ── board (watch) ──► session, one per client ◄── hh-pool
//!       │ submitSolution, submitblock                                                 │ SubmitSolution
//!       └────────────────────────────── solution ◄────────────────────────────────────┘
//!                                          └── journal (a file per block)
//! ```

mod clients;
mod config;
mod control;
mod exported;
mod listener;
mod nodes;
mod served;
mod session;
mod solution;
mod templates;

use std::sync::Arc;
use std::time::Duration;

use hh_bitcoin::SourceConfig;
use hh_daemon::{Context, Failure};
use hh_ipc::api::LinkState;
use hh_ipc::api::template_provider::TemplateProvider;
use hh_sv2::authority::CERTIFICATE_VALIDITY;
use hh_sv2::{Authority, AuthoritySecretKey};
use tokio::sync::watch;
use tracing::info;

use clients::Clients;
use config::{CoreConfig, TpConfig};
use control::Control;
use nodes::{NodeSetup, NodeView, Nodes};
use session::Shared;
use solution::{Journal, Solutions};
use templates::TemplatesTask;

/// Starts everything, in this order, and returns when a node has answered.
///
/// # Errors
/// A mistake in the configuration; a port, a control socket or a journal that can't be used; no usable node within the
/// start timeout.
pub async fn start(config: TpConfig, context: Context) -> Result<(), Failure> {
    let tasks = &context.tasks;
    let authority = Arc::new(authority(&config)?);
    let journal = Journal::open(config.data_dir.join("blocks")).map_err(Failure::config)?;
    let setups = node_setups(&config)?;
    let listener = hh_daemon::listen("listen_address", config.listen_address).await?;
    let listen_address = listener.local_addr()?;

    let rpcs = setups
        .iter()
        .map(|setup| (setup.name.to_string(), setup.rpc.clone()));
    let solutions = Solutions::new(tasks.clone(), journal, rpcs.collect());
    let return_after = Duration::from_secs(config.return_after_seconds);
    let (nodes, reports) = Nodes::start(setups, return_after, tasks)?;
    let views = nodes.views();
    let (task, templates) = TemplatesTask::new(context.clone(), nodes, reports);
    tasks.spawn("templates", task.run());

    let clients = Clients::new(config.max_clients, config.max_clients_per_address);
    let control = Control {
        daemon: context.clone(),
        read_only: false,
        chain: config.chain,
        listen_address,
        authority_public_key: authority.public_key(),
        nodes: views.clone(),
        templates: templates.clone(),
        clients: clients.clone(),
        solutions: solutions.clone(),
    };
    context.serve_control(move |caller, stream| {
        let control = Control {
            read_only: caller.read_only,
            ..control.clone()
        };
        Box::pin(hh_ipc::server::answer(stream, control.serve()))
    })?;

    info!(address = %listen_address, authority_public_key = %authority.public_key(), "listening for clients");
    let shared = Shared {
        authority,
        templates,
        solutions: solutions.clone(),
        stop: tasks.token().clone(),
    };
    tasks.spawn(
        "listener",
        listener::accept(tasks.clone(), listener, clients, shared),
    );
    wait_for_node(views, &context).await?;
    solutions.resume();
    Ok(())
}

fn node_setups(config: &TpConfig) -> Result<Vec<NodeSetup>, Failure> {
    let setup = |node: &CoreConfig| {
        let rpc = node.rpc().map_err(Failure::config)?;
        Ok(NodeSetup {
            name: Arc::from(node.name()),
            rpc: rpc.clone(),
            source: SourceConfig {
                socket: node.ipc_socket.clone(),
                rpc,
                chain: config.chain,
                fee_delta_sats: config.fee_delta_sats,
                refresh_interval: Duration::from_secs(config.template_interval_seconds),
            },
        })
    };
    config.nodes.iter().map(setup).collect()
}

/// From the secret key that the configuration refers to.
fn authority(config: &TpConfig) -> Result<Authority, Failure> {
    let secret = config
        .authority_secret_key
        .read()
        .map_err(Failure::secret)?;
    let key: AuthoritySecretKey = secret.expose().parse().map_err(|source| {
        Failure::config(AuthorityKeyError {
            reference: config.authority_secret_key.to_string(),
            source,
        })
    })?;
    Ok(Authority::new(key, CERTIFICATE_VALIDITY))
}

#[derive(Debug, thiserror::Error)]
#[error(
    "authority_secret_key {reference} is not usable; make one with `hhctl identity generate PATH`"
)]
struct AuthorityKeyError {
    reference: String,
    source: hh_sv2::KeyError,
}

/// No node can be used, for these reasons.
#[derive(Debug, thiserror::Error)]
#[error("no usable Bitcoin Core node within {seconds} s: {reasons}")]
struct NoNode {
    seconds: u64,
    reasons: String,
}

/// One node is enough, and what is wrong with the others is in the log; where none can ever be used, so it is said at once.
async fn wait_for_node(
    mut views: watch::Receiver<Vec<NodeView>>,
    context: &Context,
) -> Result<(), Failure> {
    let refused = |view: &NodeView| view.error.as_ref().is_some_and(|error| error.is_config());
    let connected = async {
        loop {
            {
                let views = views.borrow_and_update();
                if views
                    .iter()
                    .any(|view| view.templates.state == LinkState::Up)
                {
                    return Ok(());
                }
                if let Some(error) = views.first().and_then(|view| view.error.clone())
                    && views.iter().all(refused)
                {
                    return Err(Failure::config(error));
                }
            }
            views.changed().await?;
        }
    };
    if let Ok(result) = tokio::time::timeout_at(context.start_deadline(), connected).await {
        return result;
    }
    let seconds = context.settings.start_timeout_seconds;
    let views = views.borrow();
    let reasons = views.iter().map(|view| {
        let error = view.templates.last_error.as_deref();
        format!("{}: {}", view.name, error.unwrap_or("it does not answer"))
    });
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    Err(Failure::unavailable(NoNode { seconds, reasons }))
}
