//! hh-translator: SV1 and SV2 miners in, SV2 extended channels out, one channel for each miner.
//!
//! It never invents and never drops a share: a miner is told that a share is accepted when the pool has said so. It holds no
//! accounts and judges no work; what it checks, the pool would refuse for the same reason.
//!
//! ```text
//!  SV1 miners ──► listener ──► downstream: Session, one per miner ──── commands ───► upstream: one per lane ──► SV2 pool
//!                                 │   ▲                                                  │
//!                        sv1, bridge  └── events: jobs, tips, targets, settled shares ◄──┘
//!  SV2 miners ──► listener ──► proxy: ProxySession, one per connection; the same commands and events for each of its channels
//! ```
//!
//! On an aggregated lane `aggregate` stands between the two, and lets many miners share a channel.

mod aggregate;
mod bans;
pub mod bridge;
mod certificate;
pub mod config;
mod control;
mod credential;
mod difficulty;
mod downstream;
mod hashrate;
mod listener;
mod miners;
mod proxy;
mod stream;
pub mod sv1;
mod upstream;

use aggregate::task::Aggregator;
use aggregate::{ClassRange, ClassView, LEASE_SIZE};
use bans::Bans;
use certificate::LaneCertificate;
use config::{LaneChannels, LaneConfig, LaneProtocol, TranslatorConfig};
use control::Control;
use credential::CredentialFile;
use downstream::UpstreamHandle;
use hh_daemon::{Context, Failure, ProxyProtocol};
use hh_trust::ChangeJournal;
use listener::{Door, Listener};
use miners::{Lane, Miners};
use proxy::Entrance;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use upstream::link::{Link, Upstreams};
use upstream::standing::Introduction;
use upstream::{COMMAND_QUEUE, Command, Upstream};

/// Starts everything, in this order, and returns when miners can connect. The pool may come later: it is tried for ever.
///
/// # Errors
/// A certificate, an authority key, a port or a control socket that can't be used.
pub async fn start(config: TranslatorConfig, context: Context) -> Result<(), Failure> {
    let stop = context.tasks.token();
    let certificates = certificates(&config)?;
    let entrance = entrance(&config)?;
    let sockets = bind(&config).await?;
    let mut lanes = Vec::new();
    for (lane, socket) in config.lanes.iter().zip(&sockets) {
        lanes.push((lane.clone(), socket.local_addr()?));
    }
    let miners = Miners::new(&lanes, &config.limits);
    spawn(
        &context,
        "exported metrics",
        miners.clone().export(stop.clone()),
    );

    if let Some(entrance) = entrance.clone() {
        spawn(&context, "handshakes", entrance.keep_stocked(stop.clone()));
    }
    let bans = Bans::open(&config)?;
    let shared = Shared {
        miners: miners.clone(),
        bans: bans.clone(),
        proxies: Arc::new(config.proxy_protocol.clone()),
        entrance: entrance.clone(),
        credential: CredentialFile::open(config.credential.as_ref()),
    };
    let mut upstreams = Vec::new();
    let mut upstream_commands = Vec::new();
    let mut classes = Vec::new();
    let lanes = miners.lanes().iter().zip(&config.lanes);
    for (lane, door) in lanes.zip(sockets.into_iter().zip(certificates)) {
        let started = start_lane(&context, &config, &shared, lane, door);
        upstreams.push(started.upstreams);
        upstream_commands.push(started.commands);
        classes.push(started.classes);
    }
    let credential = shared.credential.follow(stop.clone());
    spawn(&context, "credential", credential);

    let control = Control {
        context: context.clone(),
        miners,
        bans,
        upstreams,
        commands: upstream_commands,
        classes,
        configs: config.upstreams.clone(),
        authority_public_key: entrance.map(|entrance| entrance.public_key()),
        journal: ChangeJournal::new(config.journal_path(), context.name),
    };
    control.serve()?;
    context.set_ready(true);
    Ok(())
}

/// What all lanes have in common.
struct Shared {
    miners: Miners,
    bans: Bans,
    proxies: Arc<ProxyProtocol>,
    entrance: Option<Entrance>,
    credential: CredentialFile,
}

/// What control has of a lane that runs.
struct StartedLane {
    upstreams: Upstreams,
    commands: mpsc::Sender<Command>,
    /// Where miners share channels.
    classes: Option<watch::Receiver<Vec<ClassView>>>,
}

/// Starts the tasks of a lane: to its upstream, for its certificate, and its listener.
fn start_lane(
    context: &Context,
    config: &TranslatorConfig,
    shared: &Shared,
    (lane, lane_config): (&Arc<Lane>, &LaneConfig),
    (socket, certificate): (TcpListener, Option<LaneCertificate>),
) -> StartedLane {
    let known = Upstreams::new(&config.upstreams);
    let lane_of = (&**lane, lane_config);
    let commands = start_upstream(context, config, lane_of, known.clone(), &shared.credential);
    let (upstream, classes) =
        upstream_handle(context, lane_config, commands.clone(), known.clone());

    tracing::info!(lane = lane.name, address = %lane.listen_address, "listening for miners");
    let entrance = shared.entrance.clone();
    let door = Door {
        lane: lane.clone(),
        miners: shared.miners.clone(),
        bans: shared.bans.clone(),
        upstream,
        proxies: Arc::clone(&shared.proxies),
        tls: certificate.as_ref().map(LaneCertificate::server_config),
        entrance: entrance.filter(|_| lane.protocol == LaneProtocol::Sv2),
    };
    if let Some(certificate) = certificate {
        let follow = certificate.follow(context.tasks.token().clone());
        spawn(context, "certificate", follow);
    }
    let listener = Listener {
        socket,
        door,
        tasks: context.tasks.clone(),
    };
    spawn(context, "listener", listener.run());
    StartedLane {
        upstreams: known,
        commands,
        classes,
    }
}

/// Starts the task that keeps a lane's connection to its upstream.
fn start_upstream(
    context: &Context,
    config: &TranslatorConfig,
    (lane, lane_config): (&Lane, &LaneConfig),
    known: Upstreams,
    credential: &CredentialFile,
) -> mpsc::Sender<Command> {
    let introduction = Introduction::new(&lane.name, credential.subscribe());
    let introduction = match lane_config.channels {
        LaneChannels::Separate => introduction,
        LaneChannels::Aggregated => introduction.for_shared_channels(),
    };
    let return_after = Duration::from_secs(config.return_after_seconds);
    let link = Link::new(config.upstreams.clone(), return_after, known, introduction);
    let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
    let upstream = Upstream::new(link, receiver, lane.difficulty.hardest());
    let stop = context.tasks.token().clone();
    spawn(context, "upstream", upstream.run(stop));
    commands
}

/// The way of a lane's sessions to its upstream: straight, or through the task that lets them share channels, and then with what
/// classes there are.
fn upstream_handle(
    context: &Context,
    lane: &LaneConfig,
    upstream: mpsc::Sender<Command>,
    upstreams: Upstreams,
) -> (UpstreamHandle, Option<watch::Receiver<Vec<ClassView>>>) {
    if lane.channels == LaneChannels::Separate {
        let straight = UpstreamHandle {
            commands: upstream,
            upstreams,
            lease_size: 0,
        };
        return (straight, None);
    }
    let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
    let range = ClassRange::new(lane.min_difficulty, lane.max_difficulty);
    let aggregator = Aggregator::new(range, receiver, upstream, upstreams.clone());
    let stop = context.tasks.token().clone();
    let classes = aggregator.classes();
    spawn(context, "aggregator", aggregator.run(stop));
    let shared = UpstreamHandle {
        commands,
        upstreams,
        lease_size: LEASE_SIZE.into(),
    };
    (shared, Some(classes))
}

/// Of each lane, none where it speaks no TLS.
fn certificates(config: &TranslatorConfig) -> Result<Vec<Option<LaneCertificate>>, Failure> {
    let loaded: Result<_, _> = config.lanes.iter().map(LaneCertificate::load).collect();
    loaded.map_err(|error| match error.is_unavailable() {
        true => Failure::unavailable(error),
        false => Failure::config(error),
    })
}

/// What SV2 lanes let miners in with, where there is a key for them.
fn entrance(config: &TranslatorConfig) -> Result<Option<Entrance>, Failure> {
    let Some(reference) = &config.authority_secret_key else {
        return Ok(None);
    };
    let secret = reference.read().map_err(Failure::secret)?;
    let secret = secret.expose().trim().parse().map_err(Failure::config)?;
    Ok(Some(Entrance::new(secret, &config.limits)))
}

async fn bind(config: &TranslatorConfig) -> Result<Vec<TcpListener>, Failure> {
    let mut sockets = Vec::new();
    for (index, lane) in config.lanes.iter().enumerate() {
        let key = format!("lanes.{index}.listen_address");
        sockets.push(hh_daemon::listen(&key, lane.listen_address).await?);
    }
    Ok(sockets)
}

/// Spawns a task that the daemon can't do without and that has no error of its own.
fn spawn(context: &Context, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    context.tasks.spawn(name, async move {
        task.await;
        Ok::<_, Failure>(())
    });
}
