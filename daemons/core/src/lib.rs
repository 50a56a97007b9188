//! hyperhash-core: nodes enrol here, report here, and take signed commands from here.
//!
//! It owns which nodes there are, what was ordered of them and what came of it, and the audit log. It is behind the miner, never in
//! front of one: without it nodes mine on with what they have. It can order and can't force: a node carries out what its own policy
//! allows, and no key of core's spends a node's money.
//!
//! ```text
//!  a new node ── TLS, token ──► enrolment ──► a certificate of a day
//!  people, programs ── TLS, token ──► rest ──► control, and hh-pool and hh-treasury by their view sockets
//!  hh-treasury ── TLS, certificate ──► payout_inbox: what nodes are owed, their invoices ◄──► session
//!  node ── TLS, certificate ──► session: Talk, one per node ◄── wake ── operations ◄── control ◄── hhctl
//!                            ├► telemetry: one writer for all            │
//!                            └► relay: blocks of one node to the rest    │
//!  other daemons' view sockets ── journals ──► audit log ── checkpoints ──► session: nodes are witnesses
//!                       store: core.db, or a PostgreSQL that replicas share ◄────┘
//! ```

mod api_token;
mod asker;
mod audit;
mod authority;
mod checkpoint;
pub mod config;
mod control;
mod door;
mod enrolment;
mod fleet;
mod grpc;
mod inventory;
mod journals;
mod lease;
mod listener;
mod metrics_export;
mod node;
mod operation;
mod operations;
mod payout_inbox;
mod permission;
mod record;
mod relay;
mod report;
mod rest;
mod session;
mod store;
mod telemetry;
mod token;
mod upkeep;

use authority::Authority;
use checkpoint::Checkpoints;
use config::{CoreConfig, RestConfig};
use control::Control;
use door::Door;
use enrolment::Enrolment;
use fleet::Fleet;
use hh_daemon::{Context, Failure};
use hh_ledger::Location;
use journals::Journal;
use listener::{Listener, Service};
use operations::Operations;
use payout_inbox::PayoutInbox;
use relay::Relay;
use rustls::ServerConfig;
use session::Sessions;
use std::sync::Arc;
use store::Store;
use tokio::net::TcpListener;
use upkeep::Upkeep;

/// Connections of REST at a time: an answer takes milliseconds, and a connection that is kept some kB.
const REST_CONNECTIONS_MAX: usize = 1_000;

/// Of these, of one address: a browser opens six.
const REST_CONNECTIONS_OF_ADDRESS_MAX: usize = 64;

/// Starts everything, in this order, and returns when nodes can connect.
///
/// # Errors
/// A key or certificate, the database, a port or a control socket that can't be used.
pub async fn start(config: CoreConfig, context: Context) -> Result<(), Failure> {
    let authority = Arc::new(Authority::load(&config)?);
    let enrolment_socket =
        hh_daemon::listen("enrolment.listen_address", config.enrolment.listen_address).await?;
    let session_socket =
        hh_daemon::listen("sessions.listen_address", config.sessions.listen_address).await?;
    let enrolment_address = enrolment_socket.local_addr()?;
    let session_address = session_socket.local_addr()?;
    let rest_socket = match &config.rest {
        Some(rest) => Some(hh_daemon::listen("rest.listen_address", rest.listen_address).await?),
        None => None,
    };
    metrics_export::describe();
    let store = open(&config, &context).await?;

    let fleet = Fleet::default();
    let operations = Operations::new(store.clone(), Arc::clone(&authority));
    let telemetry = keepers(&context, &authority, &store, &fleet);
    let checkpoints = auditors(&context, &config, &authority, &store);

    let ports = Ports::new(&config, &context);
    let enrolment = Enrolment::new(
        Arc::clone(&authority),
        store.clone(),
        config.sessions.public_address.clone(),
    );
    let tls = hh_trust::pki::enrolment_server(&authority.enrolment_slot)?;
    ports.open("enrolment", enrolment_socket, tls, enrolment);
    let sessions = Sessions {
        authority: Arc::clone(&authority),
        store: store.clone(),
        fleet: fleet.clone(),
        operations: operations.clone(),
        inbox: PayoutInbox::new(store.clone()),
        telemetry,
        relay: block_relay(&config, &context, &store),
        checkpoints: checkpoints.clone(),
        tasks: context.tasks.clone(),
    };
    let tls = hh_trust::pki::session_server(&authority.session_slot, &authority.gate)?;
    ports.open("sessions", session_socket, tls, sessions);
    tracing::info!(%enrolment_address, %session_address, "listening for nodes");

    let upkeep = Upkeep {
        context: context.clone(),
        store: store.clone(),
        fleet: fleet.clone(),
        operations: operations.clone(),
    };
    let control = Arc::new(Control {
        context: context.clone(),
        authority,
        store,
        fleet,
        operations,
        checkpoints,
        enrolment_address,
        session_address,
        enrolment_url: config.enrolment.url.clone(),
    });
    if let (Some(rest), Some(socket)) = (&config.rest, rest_socket) {
        ports.open_rest(rest, socket, Arc::clone(&control))?;
    }
    control.serve()?;
    spawn(&context, "upkeep", upkeep.run());
    context.set_ready(true);
    Ok(())
}

/// What goes on beside the nodes' calls. Gives where their telemetry goes.
fn keepers(
    context: &Context,
    authority: &Arc<Authority>,
    store: &Store,
    fleet: &Fleet,
) -> telemetry::Intake {
    let stop = context.tasks.token();
    let (intake, telemetry) = telemetry::channel(store.clone());
    context
        .tasks
        .spawn("telemetry", telemetry.run(stop.clone()));
    let certificates = Arc::clone(authority).keep(stop.clone());
    spawn(context, "certificates", certificates);
    let leases = fleet.clone().remember(store.clone(), stop.clone());
    spawn(context, "leases", leases);
    let exported = metrics_export::Exporter {
        store: store.clone(),
        fleet: fleet.clone(),
        authority: Arc::clone(authority),
        passing: context.passing_metrics.clone(),
    };
    spawn(context, "exported metrics", exported.run(stop.clone()));
    intake
}

/// Block relay, unless it is off.
fn block_relay(config: &CoreConfig, context: &Context, store: &Store) -> Option<Relay> {
    if !config.relay.enabled {
        return None;
    }
    let relay = Relay::new(config.relay.chain, context.tasks.clone());
    let stop = context.tasks.token().clone();
    spawn(
        context,
        "block relay",
        relay.clone().admit(store.clone(), stop),
    );
    Some(relay)
}

/// What is signed of the audit log, and what goes into it from other daemons.
fn auditors(
    context: &Context,
    config: &CoreConfig,
    authority: &Arc<Authority>,
    store: &Store,
) -> Checkpoints {
    let stop = context.tasks.token();
    for journal in &config.audit.journals {
        let journal = Journal {
            store: store.clone(),
            core: authority.replica.clone(),
            config: journal.clone(),
        };
        spawn(context, "journals", journal.run(stop.clone()));
    }
    let checkpoints = Checkpoints::new(store.clone(), Arc::clone(authority));
    let signing = checkpoints.clone().run(stop.clone());
    spawn(context, "checkpoints", signing);
    checkpoints
}

/// The database, once it answers.
async fn open(config: &CoreConfig, context: &Context) -> Result<Store, Failure> {
    let store = match config.database_location()? {
        Location::Sqlite(path) => Store::open(&path)?,
        Location::Postgres(server) => Store::on(server)?,
    };
    upkeep::reach(&store, context).await?;
    lease::forget_former(&store).await?;
    let (notices, stop) = (store.clone(), context.tasks.token().clone());
    spawn(context, "notices", async move {
        stop.run_until_cancelled(notices.listen()).await;
    });
    Ok(store)
}

/// What both ports have in common.
struct Ports {
    door: Door,
    /// Of its own: who looks at figures keeps no node out.
    rest_door: Door,
    tasks: hh_daemon::Tasks,
}

impl Ports {
    fn new(config: &CoreConfig, context: &Context) -> Self {
        let (limits, proxies) = (&config.limits, &config.proxy_protocol);
        let door = |total, of_address| Door::new(total, of_address, proxies.clone());
        Self {
            door: door(limits.max_connections, limits.max_connections_per_address),
            rest_door: door(REST_CONNECTIONS_MAX, REST_CONNECTIONS_OF_ADDRESS_MAX),
            tasks: context.tasks.clone(),
        }
    }

    fn open(
        &self,
        name: &'static str,
        socket: TcpListener,
        tls: ServerConfig,
        service: impl Service,
    ) {
        let listener = Listener {
            socket,
            tls: Arc::new(tls),
            door: self.door.clone(),
            tasks: self.tasks.clone(),
            service: Arc::new(service),
        };
        self.tasks.spawn(name, listener.run());
    }
}

impl Ports {
    /// REST: by the network's own certificate, or plain on loopback.
    fn open_rest(
        &self,
        config: &RestConfig,
        socket: TcpListener,
        control: Arc<Control>,
    ) -> Result<(), Failure> {
        let address = socket.local_addr()?;
        let tls = match config.plain {
            true => None,
            false => Some(hh_trust::pki::rest_server(&control.authority.session_slot)?),
        };
        let server = rest::Server {
            socket,
            tls: tls.map(Arc::new),
            door: self.rest_door.clone(),
            tasks: self.tasks.clone(),
            router: rest::router(control, config),
        };
        self.tasks.spawn("rest", server.run());
        tracing::info!(%address, plain = config.plain, "listening for operators and everybody");
        Ok(())
    }
}

/// Spawns a task that the daemon can't do without and that has no error of its own.
fn spawn(context: &Context, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    context.tasks.spawn(name, async move {
        task.await;
        Ok::<_, Failure>(())
    });
}
