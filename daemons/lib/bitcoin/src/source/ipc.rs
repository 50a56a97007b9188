//! Templates by mining IPC (Cap'n Proto over a Unix socket).
//!
//! Owns: the connection, and a follower for each reservation class. Never: reconnects, the source does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;

use bitcoin::Network;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Source, SourceError, SourceEvent};
use crate::node::{IpcSchema, NodeInfo};
use crate::template::Reservation;

use connection::Connection;
use follow::Follower;

mod connection;
mod follow;
mod kept;
mod read;
mod schema;

/// One connection, until it is lost.
pub(super) async fn session(
    source: &mut Source,
    socket: &Path,
    info: NodeInfo,
    connected: &mut bool,
) -> Result<Infallible, SourceError> {
    let schema = IpcSchema::of(&info, source.config.rpc.url())?;
    let connection = Rc::new(Connection::open(socket, schema).await?);
    *connected = true;
    drop(source.events.send(SourceEvent::Connected(info)).await);

    let mut followers = JoinSet::new();
    let mut stops = BTreeMap::new();
    loop {
        converge(source, &connection, &mut stops, &mut followers);
        tokio::select! {
            // An error where nobody can ask any more; what is followed goes on.
            Ok(()) = source.followed.changed() => {}
            ended = followers.join_next(), if !followers.is_empty() => match ended {
                Some(Ok(Ok(()))) => debug!("a reservation class is no longer followed"),
                ended => return Err(joined(ended)),
            },
        }
    }
}

/// Starts and stops followers until they are those that are wanted.
fn converge(
    source: &Source,
    connection: &Rc<Connection>,
    stops: &mut BTreeMap<Reservation, CancellationToken>,
    followers: &mut JoinSet<Result<(), SourceError>>,
) {
    let followed = source.followed.borrow().clone();
    stops.retain(|reservation, stop| {
        let wanted = followed.contains(reservation);
        if !wanted {
            stop.cancel();
        }
        wanted
    });
    for reservation in followed {
        if stops.contains_key(&reservation) {
            continue;
        }
        let stop = CancellationToken::new();
        stops.insert(reservation, stop.clone());
        let follower = Follower {
            connection: Rc::clone(connection),
            rpc: source.config.rpc.clone(),
            reservation,
            // Waiting for the end of the initial download makes sense only where others mine too.
            cooldown: source.config.chain == Network::Bitcoin,
            fee_delta_sats: source.config.fee_delta_sats,
            refresh_interval: source.config.refresh_interval,
            events: source.events.clone(),
            stop,
        };
        followers.spawn_local(follower.run());
    }
}

/// What ended a session whose follower ended so.
fn joined(ended: Option<Result<Result<(), SourceError>, JoinError>>) -> SourceError {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Ok(Ok(()))) | Some(Err(_)) | None => SourceError::Lost,
    }
}
