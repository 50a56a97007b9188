//! hh-tp: block templates of a Bitcoin Core node for clients of SV2 Template Distribution.
//!
//! It holds no accounts and talks to no miner. A block that a client found goes to the node by every path at once.
//!
//! ```text
//!  bitcoin-node ══ mining IPC ══ hh_bitcoin::TemplateSource (thread)
//!       ▲                                  │ events
//!       │                                  ▼
//!       │                             templates (task) ── board (watch) ──► session, one per client ◄── hh-pool
//!       │ submitSolution, submitblock                                             │ SubmitSolution
//!       └────────────────────────────── solution ◄────────────────────────────────┘
//!                                          └── journal (a file per block)
//! ```

mod config;
mod control;
mod listener;
mod node_watch;
mod served;
mod session;
mod solution;
mod templates;

use std::sync::Arc;

use hh_bitcoin::{SourceConfig, SourceError, TemplateSource};
use hh_daemon::{Context, Failure};
use hh_ipc::api::LinkState;
use hh_ipc::api::template_provider::TemplateProvider;
use hh_sv2::authority::CERTIFICATE_VALIDITY;
use hh_sv2::{Authority, AuthoritySecretKey};
use tracing::info;

use config::TpConfig;
use control::Control;
use node_watch::NodeWatch;
use session::{Clients, Shared};
use solution::{Journal, Solutions};
use templates::{Templates, TemplatesTask};

/// Starts everything, in this order, and returns when the node has answered.
///
/// # Errors
/// A mistake in the configuration; a port, a control socket or a journal that can't be used; no usable node within the
/// start timeout.
pub async fn start(config: TpConfig, context: Context) -> Result<(), Failure> {
    let tasks = &context.tasks;
    let authority = Arc::new(authority(&config)?);
    let journal = Journal::open(config.data_dir.join("blocks")).map_err(Failure::config)?;
    let rpc = config.node.rpc().map_err(Failure::config)?;
    let listener = hh_daemon::listen("listen_address", config.listen_address).await?;
    let listen_address = listener.local_addr()?;

    let source_config = SourceConfig {
        socket: Some(config.node.ipc_socket.clone()),
        rpc: rpc.clone(),
        chain: config.chain,
        fee_delta_sats: config.fee_delta_sats,
        refresh_interval: std::time::Duration::from_secs(config.template_interval_seconds),
    };
    // The thread ends with the token; the process does not wait for it, since it may be in a call to the node.
    let (source, events, _thread) = TemplateSource::start(source_config, tasks.token().clone())?;
    let (task, templates) = TemplatesTask::new(context.clone(), source, events);
    tasks.spawn("templates", task.run());
    let (node_watch, rpc_link) = NodeWatch::new(rpc.clone(), config.chain);
    let stop = tasks.token().clone();
    tasks.spawn_session("node watch", async move {
        stop.run_until_cancelled(node_watch.run()).await;
    });

    let solutions = Solutions::new(tasks.clone(), journal, rpc.clone());
    let clients = Clients::default();
    let control = Control {
        daemon: context.clone(),
        read_only: false,
        chain: config.chain,
        listen_address,
        authority_public_key: authority.public_key(),
        ipc_socket: config.node.ipc_socket,
        rpc_url: rpc.url().to_owned(),
        rpc_link,
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
        templates: templates.clone(),
        solutions: solutions.clone(),
        clients,
        stop: tasks.token().clone(),
    };
    tasks.spawn(
        "listener",
        listener::accept(tasks.clone(), listener, shared, config.max_clients),
    );
    wait_for_node(templates, &context).await?;
    solutions.resume();
    Ok(())
}

/// From the secret key that the configuration refers to.
fn authority(config: &TpConfig) -> Result<Authority, Failure> {
    let secret = config
        .authority_secret_key
        .read()
        .map_err(Failure::config)?;
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

/// No node answered in time.
#[derive(Debug, thiserror::Error)]
#[error("no usable Bitcoin Core node within {seconds} s")]
struct NoNode {
    seconds: u64,
    source: Arc<SourceError>,
}

async fn wait_for_node(mut templates: Templates, context: &Context) -> Result<(), Failure> {
    let connected = async {
        loop {
            {
                let board = templates.board.borrow_and_update();
                if board.link.state == LinkState::Up {
                    return Ok(());
                }
                if let Some(error) = &board.link.last_error
                    && error.is_config()
                {
                    return Err(Failure::config(Arc::clone(error)));
                }
            }
            templates.board.changed().await?;
        }
    };
    if let Ok(result) = tokio::time::timeout_at(context.start_deadline(), connected).await {
        return result;
    }
    let seconds = context.settings.start_timeout_seconds;
    let last = templates.board.borrow().link.last_error.clone();
    let source = last.unwrap_or_else(|| Arc::new(SourceError::Lost));
    Err(Failure::unavailable(NoNode { seconds, source }))
}
